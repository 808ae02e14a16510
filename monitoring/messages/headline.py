"""The one way in which problems are counted, and the sentence that gives the numbers.

A problem is a finding that is no symptom of another one and more than information. It is counted once: as critical, as
a warning, or by what people did about it, for which no notification is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from monitoring.messages.words import counted, listed
from monitoring.model.finding import Finding
from monitoring.model.report import NO_MARK, DigestReport, HealthReport, Mark, roots


class Groups(NamedTuple):
    """The findings of a report by their part in it, in their order."""

    #: Findings that are no symptoms of another one in the report, and not merely informational.
    problems: list[Finding]
    #: By the fingerprint of the problem that they come from, however many steps away it is.
    symptoms: dict[str, list[Finding]]
    #: What is worth knowing and no problem, and no symptom of one.
    information: list[Finding]
    #: What could not be judged, a finding for each subject.
    unknown: list[Finding]


class Counts(NamedTuple):
    """How many problems there are, each counted once, and what is not counted as one."""

    #: People are notified of these.
    critical: int = 0
    warning: int = 0
    #: Of these no notification is sent: closed by hand, else silenced, else acknowledged.
    closed: int = 0
    silenced: int = 0
    acknowledged: int = 0
    #: Shown with the problem that they come from.
    symptoms: int = 0
    information: int = 0
    unknown: int = 0


def grouped(findings: Iterable[Finding]) -> Groups:
    """Divide findings."""
    known = tuple(findings)
    groups, heads = Groups([], {}, [], []), roots(known)
    for finding in known:
        root = heads[finding.fingerprint]
        if finding.severity == "info" and finding.unknown:
            groups.unknown.append(finding)
        elif root.severity == "info":
            groups.information.append(finding)
        elif root is finding:
            groups.problems.append(finding)
        else:
            groups.symptoms.setdefault(root.fingerprint, []).append(finding)
    return groups


def counts(findings: Iterable[Finding], marks: Mapping[str, Mark]) -> Counts:
    """Count findings with the marks of problems by fingerprint."""
    groups = grouped(findings)
    kinds = [_kind(finding, marks.get(finding.fingerprint, NO_MARK)) for finding in groups.problems]
    return Counts(
        critical=kinds.count("critical"),
        warning=kinds.count("warning"),
        closed=kinds.count("closed"),
        silenced=kinds.count("silenced"),
        acknowledged=kinds.count("acknowledged"),
        symptoms=sum(map(len, groups.symptoms.values())),
        information=len(groups.information),
        unknown=len(groups.unknown),
    )


def _kind(finding: Finding, mark: Mark) -> str:
    if mark.closed:
        return "closed"
    if mark.silence:
        return "silenced"
    return "acknowledged" if mark.acknowledged_by else finding.severity


def problems_text(number: Counts) -> str:
    """Name the numbers of problems: ``1 critical problem, 2 warnings and 1 silenced problem``; empty without any."""
    parts = {
        counted(number.critical, "critical problem"): number.critical,
        counted(number.warning, "warning"): number.warning,
        counted(number.acknowledged, "acknowledged problem"): number.acknowledged,
        counted(number.silenced, "silenced problem"): number.silenced,
        counted(number.closed, "problem closed by hand", "problems closed by hand"): number.closed,
    }
    return listed([part for part, count in parts.items() if count])


def symptoms_text(number: Counts) -> str:
    """The number of symptoms, which is not among the problems; empty without any."""
    if not number.symptoms:
        return ""
    shown = "is" if number.symptoms == 1 else "are"
    return f"{counted(number.symptoms, 'symptom')} of these {shown} shown with the cause, and not counted."


def headline(report: HealthReport) -> str:
    """How the server is doing, in one sentence."""
    number = counts(report.findings, report.marks)
    found = problems_text(number)
    unseen = [] if report.coverage.complete else ["not everything could be seen"]
    unseen += [f"{counted(number.unknown, 'subject')} could not be judged"] if number.unknown else []
    if not unseen:
        return f"{found}." if found else "Nothing is wrong."
    return f"{found}; {' and '.join(unseen)}." if found else f"Nothing wrong was seen, but {' and '.join(unseen)}."


def also(report: HealthReport) -> str:
    """The number of symptoms, which the headline leaves out; empty without any."""
    return symptoms_text(counts(report.findings, report.marks))


def digest_headline(digest: DigestReport) -> str:
    """How the server is doing and did since yesterday, in a sentence or two."""
    now, past = headline(digest.health), []
    if digest.recovered:
        runs = sum(found.failed + found.crashed for found in digest.recovered)
        places = counted(len(digest.recovered), "deployment")
        past.append(f"{counted(runs, 'run')} of {places} failed or crashed since yesterday began")
    if unmended := sum(incident.unmended for incident in digest.resolved):
        past.append(f"{counted(unmended, 'incident was', 'incidents were')} closed though nobody mended anything")
    if not past:
        return now
    return f"{now.replace('Nothing is wrong.', 'Nothing is wrong now, but')} {', and '.join(past)}."
