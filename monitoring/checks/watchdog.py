"""watchdog: its own runs are late, fail or are skipped, or cannot read everything; and policy tags it cannot read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile

from pydantic import Field

from monitoring.checks.base import Check
from monitoring.checks.facts.cases import Case, deployment_case, subject_of
from monitoring.checks.facts.situation import Situation
from monitoring.checks.findings import Compared, Found, Verdict, nothing, runs_text
from monitoring.model.fields import CheckSettings, Count, Span
from monitoring.model.finding import Subject
from monitoring.model.prefect import CHECK_FLOW, SKIPPED, SUPERSEDED, Deployment, FlowRun
from monitoring.text.durations import humanized

_MAX_LINES = 5
_MAX_TAGS = 10
_MAX_MESSAGE = 200


class Watchdog(CheckSettings):
    """When the watchdog itself does not do its work."""

    missed_fires: Count = Field(
        3, ge=2, description="Scheduled times of its own that may pass without a completed run."
    )
    failures: Count = Field(2, ge=1, description="Consecutive runs of its own that must fail, crash or be skipped.")
    incomplete_for: Span = Field(
        timedelta(minutes=30), description="How long ended runs may go unread because responses were incomplete."
    )


#: Judges one part of the watchdog's work.
Part = Callable[[Situation, Watchdog], Verdict]


def cases(situation: Situation) -> Iterator[Case[Part]]:
    """The watchdog's own deployments, what it could not read, and every deployment with tags that may be policy."""
    observation = situation.observation
    for deployment in observation.own.deployments:
        part = partial(_judge_own, deployment=deployment)
        deciding = ("missed_fires", "failures")
        yield Case(subject_of(deployment), part, deciding=deciding, deployment=deployment)
    server = Subject(kind="server", id=observation.identity, name=observation.target)
    yield Case(server, _judge_coverage, deciding=("incomplete_for",))
    for deployment in observation.deployments.values():
        if deployment.tags:
            yield deployment_case(deployment, partial(_judge_tags, deployment=deployment))


def judge(situation: Situation, part: Part, settings: Watchdog) -> Verdict:
    """Judge one part of the watchdog's work."""
    return part(situation, settings)


def _judge_own(situation: Situation, settings: Watchdog, deployment: Deployment) -> Verdict:
    """Judge one of the watchdog's own deployments as one problem: failing runs explain why no run completed."""
    ended = [run for run in situation.observation.own.ended if run.deployment_id == deployment.id]
    failing = _judge_failures(situation, settings, deployment, ended)
    if isinstance(failing, Found):
        return failing
    late = _judge_lateness(situation, settings, deployment, ended)
    compared = (*failing.compared, *late.compared)
    if isinstance(late, Found) or deployment.inactive_since is None:
        return replace(late, compared=compared)
    return Found(
        compared,
        severity="info",
        summary=f"{deployment.name}: this part of the watchdog is paused",
        observed="the deployment is paused" if deployment.paused else "none of its schedules is active",
        expected="an active schedule",
        since=deployment.inactive_since,
    )


def _judge_failures(
    situation: Situation, settings: Watchdog, deployment: Deployment, ended: Sequence[FlowRun]
) -> Verdict:
    # A run that took too long ends after those that were skipped meanwhile.
    newest_first = sorted((run for run in ended if _shows_health(run)), key=_due, reverse=True)
    skipped = list(takewhile(_was_skipped, newest_first))
    # A check that dies blocks the next for as long as its lock lasts: one that is skipped after it is no failure more.
    checked = (run for run in newest_first if not _was_skipped(run))
    failed = list(takewhile(lambda run: run.state_type in ("FAILED", "CRASHED"), checked))
    streak = skipped if len(skipped) >= settings.failures else failed
    compared = [
        Compared("own runs that failed or crashed in a row:", len(failed), settings.failures),
        Compared("own runs that were skipped in a row:", len(skipped), settings.failures),
    ]
    if len(streak) < settings.failures:
        return nothing("too few of its runs failed, crashed or were skipped in a row", *compared)
    newest, first = streak[0], streak[-1]
    what = "were skipped: another check was running" if streak is skipped else "failed or crashed"
    return Found(
        compared,
        severity="warning",
        run_ids=[run.id for run in streak],
        summary=f"{deployment.name}: the last {runs_text(len(streak))} of the watchdog itself {what}",
        observed=f"{newest.name}: {newest.state_name}: {newest.message[:_MAX_MESSAGE]}",
        expected=f"fewer than {runs_text(settings.failures)} in a row that fail, crash or are skipped",
        since=first.ended_at,
    )


def _shows_health(run: FlowRun) -> bool:
    """Whether a run shows how the watchdog is: not if somebody cancelled it, or another check covers it."""
    return run.state_type != "CANCELLED" and not (run.state_type == "COMPLETED" and run.message == SUPERSEDED)


def _was_skipped(run: FlowRun) -> bool:
    """Whether a run did not get the lock: it completes, without having checked anything."""
    return run.state_type == "COMPLETED" and run.message == SKIPPED


def _completed(run: FlowRun) -> bool:
    return run.state_type == "COMPLETED" and run.message not in (SKIPPED, SUPERSEDED)


def _judge_lateness(
    situation: Situation, settings: Watchdog, deployment: Deployment, ended: Sequence[FlowRun]
) -> Verdict:
    """Judge when a run completed last. The check that is running has not completed, and proves nothing."""
    observation, due = situation.observation, deployment.due
    if not deployment.scheduled or len(due) < settings.missed_fires:
        return nothing("it has no active schedule, or too few scheduled times have passed")
    if not observation.coverage.has("own-runs"):
        return nothing("its runs could not be read")
    # Scheduled times from before it was resumed or deployed again do not count.
    began = max(filter(None, (deployment.created, deployment.scheduled_since, deployment.changed)))
    completed = max((run.ended_at for run in ended if _completed(run)), default=None)
    compared = Compared("last completed run at", completed or "none", due[0])
    if due[0] < began or (completed and completed >= due[0]):
        return nothing("a run of it completed in time, or it was deployed or resumed since", compared)
    # The check deletes its own old runs.
    kept_since = situation.now - situation.policies.keep_runs
    if completed is None and deployment.flow_name == CHECK_FLOW and due[0] < kept_since:
        return nothing("its runs of that time have been deleted", compared)
    since = completed or began
    own = (run for run in observation.own.active if run.deployment_id == deployment.id)
    waiting = sorted((run for run in own if _due(run) <= due[-1]), key=_due)
    late = [run for run in waiting if run.state_type == "SCHEDULED"]
    last = f"the last completed run ended {since:%Y-%m-%d %H:%M} UTC" if completed else "no completed run"
    silence = humanized(situation.now - since)
    return Found(
        [compared],
        severity="warning",
        run_ids=[run.id for run in waiting],
        summary=f"{deployment.name}: no run of the watchdog itself has completed for {silence}",
        observed=f"{last}; at least {len(due)} scheduled times have passed since",
        expected=f"a completed run since {due[0]:%Y-%m-%d %H:%M} UTC",
        since=since,
        cause=situation.causes.waiting(deployment, late) if late else None,
        evidence=[f"{run.name}: {run.state_name}, due {_due(run):%Y-%m-%d %H:%M} UTC" for run in waiting[:_MAX_LINES]],
    )


def _judge_coverage(situation: Situation, settings: Watchdog) -> Verdict:
    """Judge the cursor, which moves only when all ended runs were read; a check by hand has none."""
    observation, cursor = situation.observation, situation.ledger.cursor
    if observation.server.state.problem or observation.coverage.has("ended-runs") or cursor is None:
        return nothing("the ended runs were read, or the server cannot be used, or nothing was read before")
    unread = situation.now - cursor
    compared = Compared("ended runs last read completely, ago", unread, settings.incomplete_for, cursor)
    if unread <= settings.incomplete_for:
        return nothing("the ended runs have not been unread for long", compared)
    why = [f"{query.name}: {query.detail or query.outcome}" for query in observation.coverage.missing]
    return Found(
        [compared],
        severity="warning",
        summary=f"{observation.target}: ended runs have not been read completely for {humanized(unread)}",
        observed=f"read up to {cursor:%Y-%m-%d %H:%M} UTC",
        expected=f"a complete answer at least every {humanized(settings.incomplete_for)}",
        since=cursor,
        evidence=why[:_MAX_LINES],
    )


def _judge_tags(situation: Situation, settings: Watchdog, deployment: Deployment) -> Verdict:
    problems = situation.policies.unreadable_tags(deployment.tags)
    if not problems:
        return nothing("its policy tags can be read")
    lines = [f"{tag}: {reason}" for tag, reason in problems[:_MAX_TAGS]]
    more = f" and {len(problems) - 1:,} more" if len(problems) > 1 else ""
    return Found(
        [Compared("policy tags that cannot be read:", len(problems), 0)],
        severity="warning",
        summary=f"{deployment.name}: tag {problems[0][0]}{more} cannot be read and has no effect",
        observed=lines[0],
        expected="tags such as watchdog:off, watchdog:owner=data, watchdog:max-run-time=2h",
        since=situation.now,
        evidence=lines,
    )


def _due(run: FlowRun) -> datetime:
    return run.next_scheduled_start_time or run.expected_start_time or run.state_timestamp


CHECK = Check(
    name="watchdog",
    section=Watchdog,
    about="When the watchdog itself does not do its work.",
    heading="The watchdog itself",
    predicate="of the watchdog itself do not work",
    cases=cases,
    judge=judge,
    deciding=lambda settings: ("missed_fires", "failures", "incomplete_for"),
    not_replayed="the watchdog's own runs are deleted after a day",
    whole=True,
    shows_only_now=True,
)
