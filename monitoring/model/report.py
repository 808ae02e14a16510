"""What a check and a digest report, as values. Every formatter shows one of these and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import date

from pydantic import AwareDatetime, Field

from monitoring.model.base import Value
from monitoring.model.coverage import Coverage, Query
from monitoring.model.finding import Finding, Status, rank
from monitoring.model.incident import Incident
from monitoring.model.observation import ServerState
from monitoring.model.silence import Silence


class HealthReport(Value):
    """How the server stands now. Findings come most severe first, each followed by its symptoms."""

    target: str
    at: AwareDatetime
    status: Status
    server: ServerState
    coverage: Coverage
    #: Start of the window in which ended runs were read for this report.
    since: AwareDatetime
    deployments: int
    active_runs: int
    ended_runs: int
    findings: tuple[Finding, ...] = ()
    #: By fingerprint of what fires: the incident's id. Empty where the saved state was not read.
    incidents: Mapping[str, str] = Field(default_factory=dict)
    #: What nobody is told of now: silences and open maintenance windows.
    silences: tuple[Silence, ...] = ()

    def with_queries(self, *queries: Query) -> HealthReport:
        """The report with more coverage; what was not seen may change its status."""
        coverage = Coverage(queries=(*self.coverage.queries, *queries))
        return self.model_copy(update={"coverage": coverage, "status": status_of(self.findings, coverage)})

    def with_known(self, incidents: Iterable[Incident], silences: Iterable[Silence]) -> HealthReport:
        """The report with the ids of the incidents that fire, and the silences and windows that hold."""
        return self.model_copy(
            update={
                "incidents": {one.finding.fingerprint: one.id for one in incidents if one.firing},
                "silences": tuple(one for one in silences if one.active(self.at)),
            }
        )

    @property
    def identity(self) -> str:
        """A digest of all that matters in the report: it stays the same while nothing but the time changes.

        What was observed and expected is told in words that move with the clock, and left out; so are the
        queries that were answered, as some are asked only while something runs or waits.
        """
        parts = [self.target, self.status, str(self.deployments)]
        parts += [f"{query.name}={query.outcome}" for query in self.coverage.missing]
        parts += [*sorted(self.incidents.values()), *map(str, self.silences)]
        for finding in self.findings:
            parts += [
                finding.fingerprint,
                finding.severity,
                finding.since.isoformat(),
                str(finding.flow_run_count),
                *finding.flow_run_ids,
                str(finding.cause),
                str(finding.symptom_of),
                str(finding.url),
                str(finding.owner),
            ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class Totals(Value):
    """How the runs ended that ended in ``[start, end)``; the watchdog's own are left out."""

    start: AwareDatetime
    end: AwareDatetime
    completed: int = 0
    failed: int = 0
    crashed: int = 0
    cancelled: int = 0

    @property
    def ended(self) -> int:
        """All that ended."""
        return self.completed + self.failed + self.crashed + self.cancelled

    @property
    def success_rate(self) -> float | None:
        """Completed among those that were left to end by themselves; None when there are none.

        A cancelled run says nothing about success: somebody wanted it gone.
        """
        judged = self.completed + self.failed + self.crashed
        return self.completed / judged if judged else None


class DigestReport(Value):
    """How the server stands this morning, and how yesterday went."""

    health: HealthReport
    time_zone: str
    #: The digest's own day, in its time zone.
    day: date
    #: None where the server did not answer: unknown, and not zero.
    today: Totals | None = None
    yesterday: Totals | None = None
    day_before: Totals | None = None
    #: Incidents that were resolved in the 24 hours before the digest, newest first.
    resolved: tuple[Incident, ...] = ()


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Put findings in the order in which they are shown: causes by severity and age, each before its symptoms.

    A symptom of a symptom stands with the cause of both; one whose cause is not among them stands for itself.
    """
    everything = {finding.fingerprint: finding for finding in findings}

    def place(finding: Finding) -> tuple[int, str, str]:
        return (-rank(finding.severity), finding.since.isoformat(), finding.fingerprint)

    def root(finding: Finding) -> Finding:
        passed = {finding.fingerprint}
        while (cause := everything.get(finding.symptom_of or "")) and cause.fingerprint not in passed:
            finding = cause
            passed.add(finding.fingerprint)
        return finding

    roots = {fingerprint: root(finding) for fingerprint, finding in everything.items()}

    def shown(finding: Finding) -> tuple[tuple[int, str, str], bool, tuple[int, str, str]]:
        head = roots[finding.fingerprint]
        return (place(head), finding is not head, place(finding))

    return tuple(sorted(everything.values(), key=shown))


def status_of(findings: Iterable[Finding], coverage: Coverage) -> Status:
    """Judge the whole: critical if any finding is; else unknown if something was not seen; else warning; else ok."""
    severities = {finding.severity for finding in findings}
    if "critical" in severities:
        return "critical"
    if not coverage.complete:
        return "unknown"
    return "warning" if "warning" in severities else "ok"
