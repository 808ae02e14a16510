"""Turns symptoms into causes: a problem is reported once, under its cause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from monitoring.checks.registry import BY_NAME, CHECKS
from monitoring.incidents.shared_errors import with_common_errors
from monitoring.model.finding import CauseKind, CauseReason, CheckName, Finding
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation

#: The checks that find failed and crashed runs.
_FAILURES = tuple(check.name for check in CHECKS if check.role == "failure")


def correlate(findings: Iterable[Finding], observation: Observation, ledger: Ledger) -> tuple[Finding, ...]:
    """Mark symptoms with the fingerprint of their cause, and drop findings that another one covers."""
    everything = tuple(findings)
    unreachable = [f for f in everything if f.cause and f.cause.reason == "unreachable"]
    if unreachable:
        return tuple(unreachable)
    problems = [finding for finding in everything if finding.severity != "info"]
    by_subject: dict[tuple[str, CheckName], Finding] = {(f.subject.id, f.check): f for f in problems}
    by_cause = {f.cause.what: f for f in problems if BY_NAME[f.check].role == "cause" and f.cause}
    kept = (finding for finding in everything if not _yields(finding, by_subject))
    explained = [_explained(finding, by_subject, by_cause, ledger) for finding in kept]
    return tuple(with_common_errors(explained, observation, ledger))


def _yields(finding: Finding, by_subject: Mapping[tuple[str, CheckName], Finding]) -> bool:
    """Whether another finding about the subject covers all runs of this finding."""
    others = (by_subject.get((finding.subject.id, check)) for check in BY_NAME[finding.check].yields_to)
    return any(other and set(finding.flow_run_ids) <= set(other.flow_run_ids) for other in others)


def _explained(
    finding: Finding,
    by_subject: Mapping[tuple[str, CheckName], Finding],
    by_cause: Mapping[tuple[CauseKind, str, CauseReason], Finding],
    ledger: Ledger,
) -> Finding:
    check = BY_NAME[finding.check]
    cause: Finding | None = None
    if check.explained_by and finding.severity != "info":
        cause = next((f for name in check.explained_by if (f := by_subject.get((finding.subject.id, name)))), None)
        if cause and finding.cause is None:
            finding = finding.model_copy(update={"cause": cause.cause})
    elif check.role == "failure":
        cause = _failed_child(finding, by_subject, ledger)
    if check.role == "waits" and cause is None and finding.cause:
        cause = by_cause.get(finding.cause.what)
    return finding.model_copy(update={"symptom_of": cause.fingerprint}) if cause else finding


def _failed_child(
    finding: Finding, by_subject: Mapping[tuple[str, CheckName], Finding], ledger: Ledger
) -> Finding | None:
    """The finding about the deployment that the deepest failed run below is a run of, or one on the way there."""
    record = ledger.records.get(finding.subject.key)
    found = record.failing_with(finding.flow_run_ids[0]) if record and finding.flow_run_ids else None
    failure = found.last_ended.failure if found and found.last_ended else None
    below = [child.deployment_id for child in reversed(failure.path) if child.deployment_id] if failure else []
    children = (by_subject.get((key, check)) for key in below for check in _FAILURES)
    return next((child for child in children if child and child.subject.id != finding.subject.id), None)
