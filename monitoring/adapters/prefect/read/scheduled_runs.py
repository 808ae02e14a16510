"""When deployments fire: which fires they missed, and which have nothing scheduled ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from monitoring.adapters.prefect.read import rows
from monitoring.adapters.prefect.read.collection import CHUNK, Collection, chunks
from monitoring.adapters.prefect.read.rows import Row
from monitoring.adapters.prefect.read.schedules import due_between, newest_due, next_due
from monitoring.checks.stale import fresh_states, last_fresh, success_due_since
from monitoring.errors import BadAnswer, CredentialsRefused
from monitoring.model.ledger import Ledger, Record
from monitoring.model.observation import MAX_MISSED, MissedRuns
from monitoring.model.prefect import Deployment, FlowRun
from monitoring.text.durations import spoken

#: MissedRuns fires are counted for so many deployments: a thousand dates of a cron line take a tenth of a second.
_MAX_COUNTED = 200
#: Ids in one question whether runs are ahead. On SQLite with 400,000 runs, 64,000 of them ahead, it takes 50 to 120 ms
#: of a busy machine, 10 ms for a hundred ids or one; a deployment's row takes 25 ms.
_AHEAD_CHUNK = 1_000
#: What the server's scheduler puts on its runs (prefect/server/models/deployments.py), besides the deployment's tags.
_MADE_BY_SCHEDULER = "auto-scheduled"
_AHEAD = "scheduled-ahead"
_SPAN = TypeAdapter(timedelta)


class Planning(NamedTuple):
    """How the server's scheduler plans; the values are Prefect's defaults (server.services.scheduler)."""

    #: It keeps so many runs ahead of each schedule, and runs for so long a time ...
    min_runs: int = 3
    min_ahead: timedelta = timedelta(hours=1)
    #: ... but none later than this.
    horizon: timedelta = timedelta(days=100)


class Ahead(NamedTuple):
    """What is scheduled ahead.

    Args:
        nothing: Deployments that should have runs ahead and have none, by id: their own newest due time before now.
        unplanned: Other scheduled deployments that nothing is planned for, or will be soon, rightly so far.
        deployments: All deployments; where any has nothing ahead, with when they fire next and were planned to.
    """

    nothing: dict[str, datetime]
    unplanned: frozenset[str]
    deployments: dict[str, Deployment]


def missed(
    collection: Collection,
    deployments: Mapping[str, Deployment],
    schedules: Mapping[str, Sequence[Row]],
    ended: Sequence[FlowRun],
    successes: Mapping[str, FlowRun | None],
    ledger: Ledger,
) -> dict[str, MissedRuns]:
    """The fires since the last success, of deployments whose freshness is in doubt, by key.

    Args:
        collection: Says what time it is, and how far each deployment is looked at.
        deployments: All deployments.
        schedules: Active schedules by deployment id.
        ended: The runs of the window, oldest first.
        successes: What the search for last successes found.
        ledger: What is remembered.
    """
    fresh = {key: fresh_states(collection.policy(deployment).expect) for key, deployment in deployments.items()}
    newest = {run.key: run for run in ended if run.state_type in fresh.get(run.key, ())}
    found: dict[str, MissedRuns] = {}
    for key, deployment in deployments.items():
        policy = collection.policy(deployment)
        due_since = success_due_since(deployment, policy.stale, collection.now)
        if not policy.stale.enabled or due_since is None or not deployment.scheduled:
            continue
        record = ledger.records.get(key, Record())
        remembered = last_fresh(record, policy.expect)
        success = newest.get(key) or (None if remembered else successes.get(key))
        last = success.ended_at if success else remembered and remembered.ended
        if last and last >= due_since:
            continue
        # Every deploy makes schedules anew: a success that one of them made shows that there were some before.
        made_by_one = success is not None and success.auto_scheduled
        since = record.scheduled_since if record.schedule is not None or made_by_one else deployment.scheduled_since
        begins = [moment for moment in (last or deployment.created, since) if moment]
        fires = _due_between(collection, deployment, schedules, max(begins))
        if fires:
            found[key] = MissedRuns(first=fires[0], count=len(fires))
        if len(found) == _MAX_COUNTED:
            break
    return found


def _due_between(
    collection: Collection, deployment: Deployment, schedules: Mapping[str, Sequence[Row]], after: datetime
) -> tuple[datetime, ...]:
    try:
        return due_between(schedules.get(deployment.id, ()), after=after, until=collection.now, most=MAX_MISSED)
    except ValueError as problem:
        collection.note("schedules", "partial", f"{deployment.name}: {problem}")
        return ()


def ahead(
    collection: Collection,
    deployments: Mapping[str, Deployment],
    schedules: Mapping[str, Sequence[Row]],
    ledger: Ledger,
) -> Ahead:
    """Find the active deployments that nothing is scheduled ahead for, though a scheduler that lives would have.

    Left out are those that never fire again, or later than the scheduler plans, and those that were changed lately:
    a change takes away what was planned before.

    Args:
        collection: Asks the server.
        deployments: All deployments.
        schedules: Active schedules by deployment id.
        ledger: When the server was looked at before: a scheduler that comes up again has its time, too.
    """
    scheduled = [one for one in deployments.values() if one.scheduled]

    @cache
    def planning() -> Planning:
        return collection.ask("scheduler-settings", Planning(), _planning, collection)

    def fires_again(one: Deployment) -> bool:
        # What has fired within as long a time is asked for all the same: to expand its schedule takes longer.
        if one.due and one.due[-1] > collection.now - Planning().horizon:
            return True
        try:
            return next_due(schedules.get(one.id, ()), collection.now, planning().horizon) is not None
        except ValueError:
            return True

    def planned(one: Deployment) -> Deployment:
        try:
            return _planned(one, schedules.get(one.id, ()), planning(), collection.now)
        except ValueError as problem:
            collection.note("schedules", "partial", f"{one.name}: {problem}")
            return one

    def waited_for(one: Deployment, since: datetime) -> bool:
        return collection.now - since > collection.policy(one).unscheduled.after

    # Those that have nothing ahead fire very often, where the scheduler is dead, or never again: side by side, they
    # are found with few questions.
    asked = sorted(filter(fires_again, scheduled), key=lambda one: (_newest(one), one.id))
    empty = set(collection.ask(_AHEAD, (), _without_runs, collection, [one.id for one in asked]))
    # The scheduler has its time after a change, whenever the next fire is.
    settled = [one for one in asked if one.id in empty and waited_for(one, one.changed or one.created)]
    plans = {one.id: planned(one) for one in settled}
    nothing = {}
    for key, one in plans.items():
        if one.planned_by and waited_for(one, one.planned_by):
            due = newest_due(schedules[key], until=collection.now, count=planning().min_runs)
            nothing[key] = max(due[-1:] or (one.scheduled_since or one.created,))
    for key in _changed_meanwhile(collection, [deployments[key] for key in nothing]):
        del nothing[key]
    gap = _unwatched(collection, ledger)
    restarted = {key for key in nothing if gap > collection.policy(deployments[key]).unscheduled.after}
    if restarted:
        detail = f"{len(restarted)} deployments not judged before the next check: nobody has looked for {spoken(gap)}"
        collection.note(_AHEAD, "partial", detail)
        nothing = {key: due for key, due in nothing.items() if key not in restarted}
    if nothing:
        missing_since = min(one.planned_by for key in nothing if (one := plans[key]).planned_by)
        for one in reversed(asked):
            if one.id not in empty:
                plans[one.id] = planned(one)
                if (by := plans[one.id].planned_by) and by >= missing_since:
                    break
    having = {one.id for one in asked} - empty
    unplanned = {one.id for one in scheduled} - having - nothing.keys()
    return Ahead(nothing, frozenset(unplanned), {**deployments, **plans})


def _newest(deployment: Deployment) -> datetime:
    return deployment.due[-1] if deployment.due else deployment.created


def _unwatched(collection: Collection, ledger: Ledger) -> timedelta:
    """How long nobody has looked, where that is much longer than the time between two checks before; 0 otherwise.

    After an outage, of the server or the watchdog, a scheduler that is alive again may have much to make up for.
    """
    if ledger.cursor is None:
        return timedelta(0)
    gap = collection.now - ledger.cursor
    usual = ledger.cursor - ledger.cursor_before if ledger.cursor_before else timedelta(0)
    return gap if gap > 2 * usual else timedelta(0)


def _without_runs(collection: Collection, ids: Sequence[str]) -> list[str]:
    """Those of the deployments for which the scheduler has no run after now; found by halving.

    That is one and a half questions for each at the worst, and a question takes the server less than half of what a
    deployment's row does, all of which have been read.
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
            # What is left over needs no question, unless it makes a finding: runs may have come meanwhile.
            having_right = having - having_left
            parts += [(right, having_right if having_right > 0 else _count_having_runs(collection, right))]
            parts += [(left, having_left)]
    return found


def _planned_for(collection: Collection, ids: Sequence[str]) -> dict[str, Any]:
    """The filter for deployments, of these, that have a run planned after now.

    Only what is SCHEDULED has a next start; asked for the state's type as well, SQLite takes 20 times as long. A run
    that awaits a retry or a slot has its next start ahead, too, but was expected before; one that somebody made by
    hand bears no tag of the scheduler.
    """
    after_now = {"after_": collection.now.isoformat()}
    runs = {"next_scheduled_start_time": after_now, "expected_start_time": after_now}
    return {
        "deployments": {"id": {"any_": list(ids)}},
        "flow_runs": {**runs, "tags": {"all_": [_MADE_BY_SCHEDULER]}},
    }


def _count_having_runs(collection: Collection, ids: Sequence[str]) -> int:
    answer = collection.api.post("/deployments/count", _planned_for(collection, ids))
    if not isinstance(answer, int):
        raise BadAnswer("the server answers /deployments/count with something that is no number")
    return answer


def _planning(collection: Collection) -> Planning:
    """How the server's scheduler plans; Prefect's defaults where the server does not say, or not to everybody."""
    try:
        said = collection.api.get("/admin/settings")["server"]["services"]["scheduler"]
        return Planning(
            min_runs=max(1, int(said["min_runs"])),
            min_ahead=_SPAN.validate_python(said["min_scheduled_time"]),
            horizon=_SPAN.validate_python(said["max_scheduled_time"]),
        )
    except (BadAnswer, CredentialsRefused, LookupError, TypeError, ValueError):
        return Planning()


def _planned(deployment: Deployment, schedules: Sequence[Row], planning: Planning, now: datetime) -> Deployment:
    """The deployment with its next fire, and by when a scheduler that lives has planned it.

    The fire is among the next ``min_runs`` once the earliest of as many fires before it has come.

    Raises:
        ValueError: A schedule that this version of Prefect cannot read.
    """
    coming = next_due(schedules, now, planning.horizon)
    if coming is None:
        return deployment
    before = newest_due(schedules, until=now, count=planning.min_runs)
    by = min(coming - planning.min_ahead, before[0]) if len(before) == planning.min_runs else deployment.created
    by = max(by, deployment.changed or deployment.created, coming - planning.horizon)
    return deployment.model_copy(update={"next_due": coming, "planned_by": by})


def _changed_meanwhile(collection: Collection, found: Sequence[Deployment]) -> set[str]:
    """Read the deployments again: a pause or a deploy between two requests takes planned runs away.

    More than a few are no coincidence.
    """
    if not found or len(found) > CHUNK:
        return set()
    filters = {"deployments": {"id": {"any_": [one.id for one in found]}}}
    again = collection.rows(_AHEAD, "/deployments/filter", filters)
    now = {one.id: one for one in collection.values(_AHEAD, again, lambda row: rows.deployment(row, ""))}
    return {one.id for one in found if one.id not in now or now[one.id].changed != one.changed}
