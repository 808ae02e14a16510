"""The reports of a check and of a digest. Every formatter shows one of these and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Literal

from pydantic import Field

from monitoring.model.base import Timestamp, Value
from monitoring.model.coverage import Coverage, Query
from monitoring.model.finding import Finding, Status, rank
from monitoring.model.incident import Closed, Incident
from monitoring.model.observation import ServerState
from monitoring.model.silence import Silence

#: What a check by hand did with the saved state: started from it; left it out; found none; found it older than
#: ``target.window``; or could not read it.
BasisUse = Literal["used", "fresh", "none", "old", "unreadable"]


class Basis(Value):
    """Whether a check by hand started from the saved state of the deployed one."""

    use: BasisUse
    #: The time of the check that saved it, if it was read.
    checked_at: Timestamp | None = None
    #: The option that leaves it out, or why it cannot be read.
    detail: str = ""


class Mark(Value):
    """Why no notification is sent of a finding: what people did about its incident."""

    #: Who acknowledged it.
    acknowledged_by: str | None = None
    #: The active silence or maintenance window that matches it.
    silence: Silence | None = None
    #: Its incident was closed by hand, and it shows nothing new since.
    closed: Closed | None = None


#: Notifications of it are sent.
NO_MARK = Mark()


class HealthReport(Value):
    """The health of the server now. Findings are ordered by severity, each followed by its symptoms."""

    target: str
    at: Timestamp
    status: Status
    server: ServerState
    coverage: Coverage
    #: Start of the window in which ended runs were read for this report.
    since: Timestamp
    deployments: int
    active_runs: int
    ended_runs: int
    findings: tuple[Finding, ...] = ()
    #: Ids of firing incidents, by fingerprint. Empty if the saved state was not read.
    incidents: Mapping[str, str] = Field(default_factory=dict)
    #: The marks of problems, by fingerprint; those without a mark are left out.
    marks: Mapping[str, Mark] = Field(default_factory=dict)
    #: Active silences and open maintenance windows.
    silences: tuple[Silence, ...] = ()
    #: None for a deployed check, which always starts from the saved state.
    basis: Basis | None = None

    def with_queries(self, *queries: Query) -> HealthReport:
        """The report with more coverage, which may change its status."""
        return self._judged(coverage=Coverage(queries=(*self.coverage.queries, *queries)))

    def with_known(
        self, incidents: Iterable[Incident], marks: Mapping[str, Mark], silences: Iterable[Silence]
    ) -> HealthReport:
        """The report with the ids of firing incidents, the marks of its findings, which may change its status, and
        active silences and maintenance windows.
        """
        return self._judged(
            incidents={incident.finding.fingerprint: incident.id for incident in incidents if incident.firing},
            marks=marks,
            silences=tuple(silence for silence in silences if silence.active(self.at)),
        )

    def _judged(self, **changes: object) -> HealthReport:
        """The report with these fields changed, and the status that follows from them."""
        changed = self.model_copy(update=changes)
        head = roots(changed.findings)
        closed = {fingerprint for fingerprint, mark in changed.marks.items() if mark.closed}
        judged = (found for found in changed.findings if head[found.fingerprint].fingerprint not in closed)
        return changed.model_copy(update={"status": status_of(judged, changed.coverage)})

    @property
    def identity(self) -> str:
        """A digest of the report's content: it stays the same while only the time changes.

        The texts of what was observed and expected change with the clock, and are left out; so are complete queries, as
        some are made only while something runs or waits.
        """
        parts = [self.target, self.status, str(self.deployments)]
        parts += [f"{query.name}={query.outcome}" for query in self.coverage.missing]
        parts += [*sorted(self.incidents.values()), *map(str, self.silences)]
        parts += [f"{fingerprint}={mark}" for fingerprint, mark in sorted(self.marks.items())]
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
    """Runs that ended in ``[start, end)`` by their final state, without the watchdog's own."""

    start: Timestamp
    end: Timestamp
    completed: int = 0
    failed: int = 0
    crashed: int = 0
    cancelled: int = 0

    @property
    def ended(self) -> int:
        """All runs that ended."""
        return self.completed + self.failed + self.crashed + self.cancelled

    @property
    def success_rate(self) -> float | None:
        """The share of completed runs among those that were not cancelled; None if there are none.

        A cancelled run proves nothing about success: somebody stopped it.
        """
        judged = self.completed + self.failed + self.crashed
        return self.completed / judged if judged else None


class FailedRuns(Value):
    """The failed and crashed runs of one deployment, since yesterday began in the digest's time zone."""

    #: Of the deployment; empty for runs whose deployment is gone.
    name: str
    url: str | None = None
    failed: int = 0
    crashed: int = 0
    #: When the latest of them ended.
    last: Timestamp


class DigestReport(Value):
    """The health of the server in the morning, and the runs of yesterday."""

    health: HealthReport
    time_zone: str
    #: The digest's own day, in its time zone.
    day: date
    #: None if the server did not answer: unknown, and not zero.
    today: Totals | None = None
    yesterday: Totals | None = None
    day_before: Totals | None = None
    #: Where runs failed or crashed since yesterday began, and no finding says so now: the most first.
    recovered: tuple[FailedRuns, ...] = ()
    #: Incidents that were resolved in the 24 hours before the digest, newest first.
    resolved: tuple[Incident, ...] = ()


def roots(findings: Iterable[Finding]) -> Mapping[str, Finding]:
    """By fingerprint the finding at the end of the chain of causes. A problem never comes from what is none."""
    everything = {finding.fingerprint: finding for finding in findings}
    problems = {key: finding for key, finding in everything.items() if finding.severity != "info"}
    found = {}
    for finding in everything.values():
        causes = everything if finding.severity == "info" else problems
        root, seen = finding, {finding.fingerprint}
        while (cause := causes.get(root.symptom_of or "")) and cause.fingerprint not in seen:
            root = cause
            seen.add(cause.fingerprint)
        found[finding.fingerprint] = root
    return found


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Order findings as they are shown: causes by severity and age, each before its symptoms.

    A symptom of a symptom is listed with the cause of both; a symptom without its cause, by itself.
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
    """The status by the findings that count.

    It is critical if any of them is; else unknown if the coverage is incomplete; else warning or ok.
    """
    severities = {finding.severity for finding in findings}
    if "critical" in severities:
        return "critical"
    if not coverage.complete:
        return "unknown"
    return "warning" if "warning" in severities else "ok"
