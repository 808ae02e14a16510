"""watchdog: its own checks are late, fail, or do not see everything; and policy in tags that it cannot read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import takewhile

from monitoring.checks.facts.causes import Causes
from monitoring.checks.findings import deployment_finding, place_finding, runs_text
from monitoring.config.policy import Policies
from monitoring.config.policy_tags import read_tags, shown
from monitoring.config.settings import Watchdog
from monitoring.model.finding import Finding, Subject
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation
from monitoring.model.prefect import CHECK_FLOW, Deployment, FlowRun
from monitoring.text.durations import spoken
from monitoring.text.redaction import Redactor

_MOST_LINES = 5
_MOST_TAGS = 10
_MOST_MESSAGE = 200


def check(observation: Observation, ledger: Ledger, policies: Policies) -> Iterable[Finding]:
    """Find what is the matter with the watchdog itself; where it is not deployed, nothing is.

    One deployment is one problem: that it fails says why no run of it has completed.
    """
    settings = policies.config.watchdog
    if not settings.enabled:
        return
    kept_since = observation.at - policies.config.state.keep_runs
    for deployment in observation.own.deployments:
        ended = [run for run in observation.own.ended if run.deployment_id == deployment.id]
        finding = (
            _failing(observation, deployment, ended, settings)
            or _late(observation, deployment, ended, settings, kept_since)
            or _paused(observation, deployment)
        )
        if finding:
            yield finding
    yield from _incomplete(observation, ledger, settings)
    yield from _tags(observation, policies)


def _failing(
    observation: Observation, deployment: Deployment, ended: Sequence[FlowRun], settings: Watchdog
) -> Finding | None:
    judged = [run for run in ended if run.state_type != "CANCELLED"]
    bad = list(takewhile(lambda run: run.state_type in ("FAILED", "CRASHED"), reversed(judged)))
    if len(bad) < settings.failures:
        return None
    newest, first = bad[0], bad[-1]
    return deployment_finding(
        observation,
        "watchdog",
        deployment,
        severity="warning",
        run_ids=[run.id for run in bad],
        run_count=len(bad),
        summary=f"{deployment.name}: the last {runs_text(len(bad))} of the watchdog itself ended badly",
        observed=f"{newest.name}: {newest.state_name}: {newest.message[:_MOST_MESSAGE]}",
        expected=f"fewer than {runs_text(settings.failures)} in a row that fail or crash",
        since=first.ended_at,
    )


def _late(
    observation: Observation,
    deployment: Deployment,
    ended: Sequence[FlowRun],
    settings: Watchdog,
    kept_since: datetime,
) -> Finding | None:
    """The check that looks has not completed, and proves nothing."""
    due = deployment.due
    if not deployment.scheduled or len(due) < settings.missed_fires or not observation.coverage.has("own-runs"):
        return None
    # A fire from before it was resumed, or deployed anew, was none.
    began = max(filter(None, (deployment.created, deployment.scheduled_since, deployment.changed)))
    completed = max((run.ended_at for run in ended if run.state_type == "COMPLETED"), default=None)
    if due[0] < began or (completed and completed >= due[0]):
        return None
    # The check deletes its own runs when they are old, and then nobody knows.
    if completed is None and deployment.flow_name == CHECK_FLOW and due[0] < kept_since:
        return None
    since = completed or began
    waiting = sorted(
        (run for run in observation.own.active if run.deployment_id == deployment.id and _due(run) <= due[-1]), key=_due
    )
    late = [run for run in waiting if run.state_type == "SCHEDULED"]
    last = f"the last completed run ended {since:%Y-%m-%d %H:%M} UTC" if completed else "no completed run"
    return deployment_finding(
        observation,
        "watchdog",
        deployment,
        severity="warning",
        run_ids=[run.id for run in waiting],
        run_count=len(waiting),
        summary=f"{deployment.name}: no run of the watchdog itself has completed for {spoken(observation.at - since)}",
        observed=f"{last}, {len(due)} fires of its schedule ago or more",
        expected=f"a completed run since {due[0]:%Y-%m-%d %H:%M} UTC",
        since=since,
        cause=Causes(observation).waiting(deployment, late) if late else None,
        evidence=[f"{run.name}: {run.state_name}, due {_due(run):%Y-%m-%d %H:%M} UTC" for run in waiting[:_MOST_LINES]],
    )


def _paused(observation: Observation, deployment: Deployment) -> Finding | None:
    if deployment.inactive_since is None:
        return None
    return deployment_finding(
        observation,
        "watchdog",
        deployment,
        severity="info",
        run_ids=[],
        run_count=0,
        summary=f"{deployment.name}: this part of the watchdog is paused",
        observed="the deployment is paused" if deployment.paused else "none of its schedules is active",
        expected="an active schedule",
        since=deployment.inactive_since,
    )


def _incomplete(observation: Observation, ledger: Ledger, settings: Watchdog) -> Iterator[Finding]:
    """The cursor moves only when ended runs were read whole; a check by hand has none."""
    cursor, target = ledger.cursor, observation.target
    if observation.server.state.problem or observation.coverage.has("ended-runs") or cursor is None:
        return
    if observation.at - cursor <= settings.incomplete_for:
        return
    why = [f"{query.name}: {query.detail or query.outcome}" for query in observation.coverage.missing]
    yield place_finding(
        observation,
        "watchdog",
        Subject(kind="server", id=target, name=target),
        severity="warning",
        summary=f"{target}: runs that ended have not been read whole for {spoken(observation.at - cursor)}",
        observed=f"read up to {cursor:%Y-%m-%d %H:%M} UTC",
        expected=f"a whole answer at least every {spoken(settings.incomplete_for)}",
        since=cursor,
        url=observation.server.state.ui_url,
        evidence=why[:_MOST_LINES],
    )


def _tags(observation: Observation, policies: Policies) -> Iterator[Finding]:
    redact = Redactor(policies.config.redact.patterns).redact
    for deployment in observation.deployments.values():
        problems = read_tags(deployment.tags).problems
        if not problems:
            continue
        lines = [f"{redact(shown(problem.tag))}: {redact(problem.why)}" for problem in problems[:_MOST_TAGS]]
        more = f" and {len(problems) - 1:,} more" if len(problems) > 1 else ""
        yield deployment_finding(
            observation,
            "watchdog",
            deployment,
            severity="warning",
            run_ids=[],
            run_count=0,
            summary=f"{deployment.name}: tag {redact(shown(problems[0].tag))}{more} cannot be read and changes nothing",
            observed=lines[0],
            expected="tags such as watchdog:off, watchdog:owner=data, watchdog:max-run-time=2h",
            since=observation.at,
            evidence=lines,
        )


def _due(run: FlowRun) -> datetime:
    return run.next_scheduled_start_time or run.expected_start_time or run.state_timestamp
