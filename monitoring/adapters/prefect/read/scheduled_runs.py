"""Scheduled runs of deployments: which were missed, and which deployments have none scheduled ahead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from pydantic import Field, ValidationError

from monitoring.adapters.prefect.read import rows
from monitoring.adapters.prefect.read.collection import CHUNK, Collection, chunks, count_rows
from monitoring.adapters.prefect.read.rows import Row
from monitoring.adapters.prefect.read.schedules import due_between, newest_due, next_due
from monitoring.checks.stale import CHECK as STALE
from monitoring.checks.stale import fresh_states, last_fresh, success_due_since
from monitoring.checks.unscheduled import CHECK as UNSCHEDULED
from monitoring.errors import BadAnswer, CredentialsRefused
from monitoring.model.base import Value
from monitoring.model.ledger import Ledger
from monitoring.model.observation import MAX_MISSED, MissedRuns
from monitoring.model.prefect import Deployment, FlowRun
from monitoring.text.durations import humanized

#: Missed runs are counted for this many deployments: a thousand dates of a cron line take a tenth of a second.
_MAX_COUNTED = 200
#: Ids in one query for runs ahead. On SQLite with 400,000 runs, 64,000 of them ahead, the query takes 50 to 120 ms of
#: a busy machine, 10 ms for a hundred ids or one; a deployment's row takes 25 ms.
_AHEAD_CHUNK = 1_000
#: The tag that the server's scheduler adds to its runs (prefect/server/models/deployments.py).
_MADE_BY_SCHEDULER = "auto-scheduled"
_AHEAD = "scheduled-ahead"
#: Schedules are made within the request that changes their deployment.
_DEPLOYS_TAKE = timedelta(minutes=1)


class Planning(Value):
    """How the server's scheduler plans; the defaults are Prefect's (server.services.scheduler)."""

    #: It keeps at least this many runs ahead of each schedule, and runs for at least this time ...
    min_runs: int = 3
    min_ahead: timedelta = Field(timedelta(hours=1), alias="min_scheduled_time")
    #: ... but none later than this.
    horizon: timedelta = Field(timedelta(days=100), alias="max_scheduled_time")


class Missed(NamedTuple):
    """Scheduled runs since the last success, by deployment key."""

    #: The runs that were missed.
    runs: dict[str, MissedRuns]
    #: Deployments that seem to have been paused: when they were changed after that.
    resumed: dict[str, datetime]


class Ahead(NamedTuple):
    """Which deployments have runs scheduled ahead."""

    #: Deployments that should have runs ahead and have none, by id: their own newest due time before now.
    nothing: dict[str, datetime]
    #: Other deployments with a schedule and no planned run, rightly so far.
    unplanned: frozenset[str]
    #: All deployments; if any has nothing ahead, with their next due time and when it should be planned.
    deployments: dict[str, Deployment]


def missed(
    collection: Collection,
    deployments: Mapping[str, Deployment],
    schedules: Mapping[str, Sequence[Row]],
    ended: Sequence[FlowRun],
    successes: Mapping[str, FlowRun | None],
    ledger: Ledger,
) -> Missed:
    """The scheduled runs since the last success, for deployments that may be stale.

    ``schedules`` are by deployment id, the ``ended`` runs of the window oldest first, and ``successes`` the results of
    the search for last successes. Times at which a deployment seems to have been paused are left out.
    """
    fresh = {key: fresh_states(collection.policy(deployment).expect) for key, deployment in deployments.items()}
    newest = {run.key: run for run in ended if run.state_type in fresh.get(run.key, ())}
    found = Missed({}, {})
    for key, deployment in deployments.items():
        policy = collection.policy(deployment)
        settings = STALE.settings(policy)
        due_since = success_due_since(deployment, settings, collection.now)
        if not settings.enabled or due_since is None or not deployment.scheduled:
            continue
        record = ledger.record(key)
        recorded = last_fresh(record, policy.expect, skips=settings.within is None)
        success = newest.get(key) or (None if recorded else successes.get(key))
        last = success.ended_at if success else recorded and recorded.ended
        if last and last >= due_since:
            continue
        # Every deploy makes schedules anew: a success that a schedule made shows that there were some before.
        made_by_schedule = success is not None and success.auto_scheduled
        known = record.schedule is not None or made_by_schedule
        since = record.scheduled_since if known else deployment.scheduled_since
        after = max(time for time in (last or deployment.created, since) if time)
        if record.schedule is None and (resumed := _resumed(collection, deployment, schedules.get(key, ()), after)):
            found.resumed[key] = after = resumed
        due = collection.expand(
            deployment, (), due_between, schedules.get(key, ()), after=after, until=collection.now, limit=MAX_MISSED
        )
        if due:
            found.runs[key] = MissedRuns(first=due[0], count=len(due))
        if len(found.runs.keys() | found.resumed) == _MAX_COUNTED:
            break
    return found


def _resumed(
    collection: Collection, deployment: Deployment, schedules: Sequence[Row], after: datetime
) -> datetime | None:
    """When a deployment was last changed, if nothing was scheduled for some time before; None otherwise.

    Prefect keeps no record of pauses. But it creates no runs for a paused deployment, and a change deletes none that
    were due. So if the change came later than scheduled times for which there is no run, it may have ended a pause.
    """
    changed, made = deployment.changed, deployment.scheduled_since
    # A deploy makes the schedules anew, and resumes nothing.
    if changed is None or changed <= after or made is None or changed - made < _DEPLOYS_TAKE:
        return None
    count = STALE.settings(collection.policy(deployment)).missed_fires
    before = collection.expand(deployment, (), newest_due, schedules, until=changed, count=count)
    before = tuple(time for time in before if time > after)
    if not before:
        return None
    due = {"after_": before[0].isoformat(), "before_": changed.isoformat()}
    filters = {"deployment_id": {"any_": [deployment.id]}, "expected_start_time": due}
    runs = collection.first_runs("runs-before-change", {"flow_runs": filters, "limit": 1})
    # Without an answer it is unknown, as the coverage shows.
    return None if runs else changed


def ahead(
    collection: Collection,
    deployments: Mapping[str, Deployment],
    schedules: Mapping[str, Sequence[Row]],
    ledger: Ledger,
) -> Ahead:
    """Find the active deployments without a run scheduled ahead, though a live scheduler would have made one.

    Deployments are left out if they are never due again, or later than the scheduler plans, or if they were changed
    lately: a change deletes the planned runs. The ledger tells when the server was checked before: a scheduler that
    comes up again needs its time, too.
    """
    scheduled = [deployment for deployment in deployments.values() if deployment.scheduled]
    scheduler = _Scheduler(collection, schedules)
    # Deployments with nothing ahead are due very often, if the scheduler is dead, or never again: next to each other,
    # few queries find them.
    queried = sorted(
        filter(scheduler.due_again, scheduled), key=lambda deployment: (_newest(deployment), deployment.id)
    )
    empty = set(collection.query(_AHEAD, (), _without_runs, collection, [deployment.id for deployment in queried]))
    # The scheduler has its time after a change, whenever the next run is due.
    settled = [
        deployment
        for deployment in queried
        if deployment.id in empty and scheduler.had_time(deployment, deployment.changed or deployment.created)
    ]
    plans = {deployment.id: scheduler.planned(deployment) for deployment in settled}
    nothing = {key: scheduler.newest_due(plan) for key, plan in plans.items() if scheduler.late(plan)}
    for key in _changed_meanwhile(collection, [deployments[key] for key in nothing]):
        del nothing[key]
    nothing = _without_restarted(collection, nothing, deployments, ledger)
    if nothing:
        missing_since = min(planned_by for key in nothing if (planned_by := plans[key].planned_by))
        alive = [deployment for deployment in reversed(queried) if deployment.id not in empty]
        plans |= scheduler.planned_since(alive, missing_since)
    planned = {deployment.id for deployment in queried} - empty
    unplanned = {deployment.id for deployment in scheduled} - planned - nothing.keys()
    return Ahead(nothing, frozenset(unplanned), {**deployments, **plans})


class _Scheduler:
    """The server's scheduler, as far as its settings and the deployments' schedules tell what it should have done."""

    def __init__(self, collection: Collection, schedules: Mapping[str, Sequence[Row]]) -> None:
        self._collection = collection
        self._schedules = schedules

    @cached_property
    def _planning(self) -> Planning:
        return self._collection.query("scheduler-settings", Planning(), _planning, self._collection)

    def due_again(self, deployment: Deployment) -> bool:
        """Whether the deployment is due again within the time for which the scheduler plans."""
        now = self._collection.now
        # A deployment that was due lately is queried in any case: to expand its schedule takes longer.
        if deployment.due and deployment.due[-1] > now - Planning().horizon:
            return True
        try:
            return next_due(self._schedules.get(deployment.id, ()), now, self._planning.horizon) is not None
        except ValueError:
            return True

    def had_time(self, deployment: Deployment, since: datetime) -> bool:
        """Whether the scheduler has had the time that the policy grants it, since then."""
        settings = UNSCHEDULED.settings(self._collection.policy(deployment))
        return self._collection.now - since > settings.after

    def planned(self, deployment: Deployment) -> Deployment:
        """The deployment with its next due time, and the time by which a live scheduler has planned that run."""
        return self._collection.expand(deployment, deployment, self._planned, deployment)

    def _planned(self, deployment: Deployment) -> Deployment:
        """The run is among the next ``min_runs`` once the earliest of as many due times before it has passed."""
        schedules, planning, now = self._schedules.get(deployment.id, ()), self._planning, self._collection.now
        coming = next_due(schedules, now, planning.horizon)
        if coming is None:
            return deployment
        before = newest_due(schedules, until=now, count=planning.min_runs)
        by = min(coming - planning.min_ahead, before[0]) if len(before) == planning.min_runs else deployment.created
        by = max(by, deployment.changed or deployment.created, coming - planning.horizon)
        return deployment.model_copy(update={"next_due": coming, "planned_by": by})

    def planned_since(self, newest_first: Iterable[Deployment], since: datetime) -> dict[str, Deployment]:
        """Deployments with their plans, by id, up to the first run that should have been planned after ``since``."""
        plans = {}
        for deployment in newest_first:
            plan = plans[deployment.id] = self.planned(deployment)
            if plan.planned_by and plan.planned_by >= since:
                break
        return plans

    def late(self, plan: Deployment) -> bool:
        """Whether the scheduler should have planned the next run by now."""
        return plan.planned_by is not None and self.had_time(plan, plan.planned_by)

    def newest_due(self, deployment: Deployment) -> datetime:
        """The newest due time before now; without one, when the schedules were made."""
        count = self._planning.min_runs
        due = newest_due(self._schedules[deployment.id], until=self._collection.now, count=count)
        return max(due[-1:] or (deployment.scheduled_since or deployment.created,))


def _without_restarted(
    collection: Collection, nothing: dict[str, datetime], deployments: Mapping[str, Deployment], ledger: Ledger
) -> dict[str, datetime]:
    """Leave out deployments whose runs a scheduler may not have made yet, if it was down while no check ran."""
    gap = _unwatched(collection, ledger)
    after = {key: UNSCHEDULED.settings(collection.policy(deployments[key])).after for key in nothing}
    restarted = {key for key in nothing if gap > after[key]}
    if restarted:
        detail = f"{len(restarted)} deployments not judged before the next check: no check ran for {humanized(gap)}"
        collection.note(_AHEAD, "partial", detail)
    return {key: due for key, due in nothing.items() if key not in restarted}


def _newest(deployment: Deployment) -> datetime:
    return deployment.due[-1] if deployment.due else deployment.created


def _unwatched(collection: Collection, ledger: Ledger) -> timedelta:
    """The time since the last check, if it is much longer than the time between the two before; 0 otherwise.

    After an outage of the server or the watchdog, a scheduler that is alive again may have much to catch up on.
    """
    if ledger.cursor is None:
        return timedelta(0)
    gap = collection.now - ledger.cursor
    usual = ledger.cursor - ledger.cursor_before if ledger.cursor_before else timedelta(0)
    return gap if gap > 2 * usual else timedelta(0)


def _without_runs(collection: Collection, ids: Sequence[str]) -> list[str]:
    """The deployments for which the scheduler has no run after now, found by bisection.

    At worst that is one and a half queries for each, and a query costs the server less than half of what a
    deployment's row costs, all of which have been read.
    """
    found: list[str] = []
    parts = [(part, _count_having_runs(collection, part)) for part in chunks(ids, _AHEAD_CHUNK)]
    while parts:
        part, having = parts.pop()
        if having == 0:
            found += part
        elif having < len(part):
            left, right = part[: len(part) // 2], part[len(part) // 2 :]
            having_left = _count_having_runs(collection, left)
            # The rest needs no query, unless it makes a finding: runs may have come meanwhile.
            having_right = having - having_left
            parts += [(right, having_right if having_right > 0 else _count_having_runs(collection, right))]
            parts += [(left, having_left)]
    return found


def _count_having_runs(collection: Collection, ids: Sequence[str]) -> int:
    """Count those of these deployments that have a run planned after now.

    Only SCHEDULED runs have a next start; with the state's type in the filter as well, SQLite takes 20 times as long.
    A run that awaits a retry or a slot has its next start ahead, too, but was expected before; a run that somebody
    created by hand does not have the scheduler's tag.
    """
    after_now = {"after_": collection.now.isoformat()}
    runs = {"next_scheduled_start_time": after_now, "expected_start_time": after_now}
    body = {
        "deployments": {"id": {"any_": list(ids)}},
        "flow_runs": {**runs, "tags": {"all_": [_MADE_BY_SCHEDULER]}},
    }
    return count_rows(collection.api, "/deployments/count", body)


def _planning(collection: Collection) -> Planning:
    """How the server's scheduler plans; Prefect's defaults if the server does not show its settings, or not to us."""
    try:
        settings = collection.api.get("/admin/settings")["server"]["services"]["scheduler"]
        planning = Planning.model_validate(settings)
    except (BadAnswer, CredentialsRefused, LookupError, TypeError, ValidationError):
        return Planning()
    return planning.model_copy(update={"min_runs": max(1, planning.min_runs)})


def _changed_meanwhile(collection: Collection, found: Sequence[Deployment]) -> set[str]:
    """Read the deployments again: a pause or a deploy between two requests deletes planned runs.

    Many of them at once are no coincidence.
    """
    if not found or len(found) > CHUNK:
        return set()
    ids = [deployment.id for deployment in found]
    present = collection.by_id(_AHEAD, "deployments", ids, lambda row: rows.deployment(row, "", collection.name))
    changed = {deployment.id: deployment.changed for deployment in present}
    return {
        deployment.id
        for deployment in found
        if deployment.id not in changed or changed[deployment.id] != deployment.changed
    }
