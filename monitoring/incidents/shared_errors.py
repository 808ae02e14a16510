"""One error in many deployments is one problem: groups the findings that show it under one finding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from monitoring.checks.findings import Found, finding_of
from monitoring.checks.registry import BY_NAME
from monitoring.failures.error_names import normalised, one_line
from monitoring.model.failure import Failure
from monitoring.model.finding import CheckName, Finding, Subject, worst
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation
from monitoring.text.links import flow_run_url

#: Deployments that begin to fail with one error within an hour, and so have it in common.
_MIN_TOGETHER = 3
_WITHIN = timedelta(hours=1)
_MAX_NAME = 80
_MAX_NAMED = 5


class _Member(NamedTuple):
    since: datetime
    finding: Finding
    failure: Failure


def with_common_errors(findings: Sequence[Finding], observation: Observation, ledger: Ledger) -> Sequence[Finding]:
    """Put failures of one new error in several deployments under one finding about the error.

    An error is new if the streaks of three deployments began within an hour of each other; others that begin to fail
    with it later join them. These times are compared with each other and not with the time of the check: one problem
    stays one for as long as three of them fail. A finding that has another cause (a parent whose child's deployment
    failed) does not count.
    """
    by_error: dict[tuple[CheckName, str], list[_Member]] = {}
    for finding in findings:
        if BY_NAME[finding.check].role == "failure" and finding.symptom_of is None and finding.severity != "info":
            failure, since = _failure(finding, ledger)
            if failure and failure.error and since:
                by_error.setdefault((finding.check, failure.error), []).append(_Member(since, finding, failure))
    heads: list[Finding] = []
    head_of: dict[str, str] = {}
    for (check, error), members in by_error.items():
        if together := _together(members):
            head = _head(check, error, together, observation)
            heads.append(head)
            head_of |= {member.finding.fingerprint: head.fingerprint for member in together}
    explained = (
        finding.model_copy(update={"symptom_of": head_of[finding.fingerprint]})
        if finding.fingerprint in head_of
        else finding
        for finding in findings
    )
    return (*heads, *explained)


def _failure(finding: Finding, ledger: Ledger) -> tuple[Failure | None, datetime | None]:
    """Why the latest run of a finding's subject failed, and since when its runs fail."""
    record = ledger.records.get(finding.subject.key)
    found = record.failing_with(finding.flow_run_ids[0]) if record and finding.flow_run_ids else None
    if found is None or found.last_ended is None or found.streak is None:
        return None, None
    return found.last_ended.failure, found.streak.since


def _together(members: Iterable[_Member]) -> list[_Member]:
    """The failures from the first three within an hour on, oldest first; empty if there are no such three."""
    ordered = sorted(members, key=lambda member: (member.since, member.finding.fingerprint))
    for first in range(len(ordered) - _MIN_TOGETHER + 1):
        if ordered[first + _MIN_TOGETHER - 1].since - ordered[first].since <= _WITHIN:
            return ordered[first:]
    return []


def _head(check: CheckName, error: str, members: Sequence[_Member], observation: Observation) -> Finding:
    findings = [member.finding for member in members]
    newest = findings[-1]
    run_ids = [run_id for finding in findings for run_id in finding.flow_run_ids]
    names = [finding.subject.name for finding in findings]
    others = f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else ""
    name = one_line(normalised(members[0].failure.reason), _MAX_NAME)
    owners = {finding.owner for finding in findings}
    found = Found(
        severity=worst(finding.severity for finding in findings),
        summary=f"{name}: {len(findings):,} deployments {check} with this error",
        observed=", ".join(names[:_MAX_NAMED]) + others,
        expected="no error that is new in several deployments at once",
        since=members[0].since,
        url=flow_run_url(observation.server.state.ui_url, newest.flow_run_ids[0]),
        run_ids=run_ids,
        run_count=sum(finding.flow_run_count for finding in findings),
        evidence=members[-1].failure.traceback.splitlines(),
    )
    head = finding_of(observation, check, Subject(kind="error", id=error, name=name), found)
    return head.model_copy(update={"owner": owners.pop() if len(owners) == 1 else None})
