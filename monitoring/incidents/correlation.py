"""Turns symptoms into causes: what is told once, under the thing that explains it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from monitoring.incidents.shared_errors import with_common_errors
from monitoring.model.finding import CauseKind, CauseReason, CheckName, Finding
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation

#: What explains all that names the same cause: it is the cause.
_HEADS: frozenset[CheckName] = frozenset({"work-pool", "work-queue", "concurrency", "server"})
#: What waits, or does not come, for a cause that lies elsewhere.
_WAITING: frozenset[CheckName] = frozenset({"late", "stuck", "slow", "stale", "unscheduled", "ahead"})
_ENDED_BADLY: tuple[CheckName, ...] = ("failed", "crashed")
#: A deployment that is stale while one of these holds is stale because of it; the first that holds explains it.
_EXPLAIN_STALE: tuple[CheckName, ...] = ("zombie", "stuck", "late", "crashed", "failed", "unscheduled")


def correlate(findings: Iterable[Finding], observation: Observation, ledger: Ledger) -> tuple[Finding, ...]:
    """Mark symptoms with the fingerprint of their cause, and drop what another finding says better.

    Args:
        findings: What the checks found.
        observation: What was seen.
        ledger: Names the failed children of failed parents.
    """
    everything = tuple(findings)
    unreachable = [f for f in everything if f.check == "server" and f.cause and f.cause.reason == "unreachable"]
    if unreachable:
        return tuple(unreachable)
    problems = [finding for finding in everything if finding.severity != "info"]
    by_subject: dict[tuple[str, CheckName], Finding] = {(f.subject.id, f.check): f for f in problems}
    by_cause = {f.cause.what: f for f in problems if f.check in _HEADS and f.cause}
    kept = (finding for finding in everything if not _said_by_zombie(finding, by_subject))
    explained = [_explained(finding, by_subject, by_cause, ledger) for finding in kept]
    return tuple(with_common_errors(explained, observation, ledger))


def _said_by_zombie(finding: Finding, by_subject: Mapping[tuple[str, CheckName], Finding]) -> bool:
    """A dead run is no slow one."""
    zombie = by_subject.get((finding.subject.id, "zombie"))
    return finding.check == "slow" and zombie is not None and set(finding.flow_run_ids) <= set(zombie.flow_run_ids)


def _explained(
    finding: Finding,
    by_subject: Mapping[tuple[str, CheckName], Finding],
    by_cause: Mapping[tuple[CauseKind, str, CauseReason], Finding],
    ledger: Ledger,
) -> Finding:
    cause: Finding | None = None
    if finding.check == "stale" and finding.severity != "info":
        cause = next((f for check in _EXPLAIN_STALE if (f := by_subject.get((finding.subject.id, check)))), None)
        if cause and finding.cause is None:
            finding = finding.model_copy(update={"cause": cause.cause})
    elif finding.check in _ENDED_BADLY:
        cause = _failed_child(finding, by_subject, ledger)
    if finding.check in _WAITING and cause is None and finding.cause:
        cause = by_cause.get(finding.cause.what)
    return finding.model_copy(update={"symptom_of": cause.fingerprint}) if cause else finding


def _failed_child(
    finding: Finding, by_subject: Mapping[tuple[str, CheckName], Finding], ledger: Ledger
) -> Finding | None:
    """The finding about the deployment that the deepest failed run below is a run of, or one on the way there."""
    record = ledger.records.get(finding.subject.key)
    failure = record.last_ended.failure if record and record.last_ended else None
    below = [child.deployment_id for child in reversed(failure.path) if child.deployment_id] if failure else []
    found = (by_subject.get((key, check)) for key in below for check in _ENDED_BADLY)
    return next((child for child in found if child and child.subject.id != finding.subject.id), None)
