"""Folds observations into the ledger, so that ended runs are read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial, reduce

from monitoring.failures.error_names import failure_of, one_line
from monitoring.failures.paths import failing_path
from monitoring.history.baselines import with_run as with_run_time
from monitoring.history.counts import counted
from monitoring.history.stopped import with_stopped
from monitoring.history.traces import with_traces
from monitoring.model.failure import FailedChild
from monitoring.model.ledger import (
    MAX_MESSAGE,
    MAX_STREAK_IDS,
    CancelledRuns,
    EndedRun,
    Ledger,
    Outcome,
    Record,
    ScheduleRecord,
    Streak,
)
from monitoring.model.observation import Observation
from monitoring.model.prefect import Deployment, FlowRun, ScheduleParameters

#: The server stamps ends by its own clock, which may differ from ours, and a long transaction shows an end late: each
#: check reads this much of the window of the check before again.
OVERLAP = timedelta(minutes=10)
#: Characters kept of the names on a failure's path.
_MAX_NAME = 100


def fold(ledger: Ledger, observation: Observation, overlap: timedelta = OVERLAP) -> Ledger:
    """Return the ledger with an observation folded in.

    The cursor moves only if all ended runs were read: otherwise the next check reads the window again.
    """
    if observation.server.state.problem:
        return ledger
    complete = observation.coverage.has("ended-runs")
    # A partial window is read again, and would count runs twice; runs from before the first check are history.
    counting = complete and ledger.cursor is not None
    records = dict(ledger.records)
    for key, record in ledger.records.items():
        records[key] = _corrected(record, observation.history.read_again)
    for run in sorted(observation.runs.ended, key=lambda run: (run.ended_at, run.id)):
        if run.end_time and ledger.recent.get(run.id) != run.end_time:
            record = _with_parameters(_with_run(records.get(run.key, Record()), run, observation), run, observation)
            records[run.key] = counted(record, run) if counting else record
        elif run.id in observation.failures.reasons and run.key in records:
            records[run.key] = _with_reason(records[run.key], run, observation)
    for key, traces in observation.runs.traces.items():
        records[key] = with_traces(records.get(key, Record()), traces)
    for key, sampled in observation.history.samples.items():
        records[key] = _with_samples(records.get(key, Record()), sampled, observation.deployments.get(key))
    for key, success in observation.history.last_success.items():
        records[key] = _with_search(records.get(key, Record()), success)
    for key, deployment in observation.deployments.items():
        records[key] = _with_schedule(records.get(key, Record()), deployment, observation)
    if observation.coverage.has("deployments", "flows"):
        records = {key: record for key, record in records.items() if key in observation.deployments}
    return ledger.model_copy(
        update={
            "cursor": observation.at if complete else ledger.cursor,
            "cursor_before": ledger.cursor if complete else ledger.cursor_before,
            "recent": _recent(ledger.recent, observation, overlap) if complete else ledger.recent,
            "stopped": with_stopped(ledger.stopped, observation.runs.ended, observation.at),
            "records": records,
        }
    )


def _recent(before: Mapping[str, datetime], observation: Observation, overlap: timedelta) -> dict[str, datetime]:
    horizon = observation.at - overlap
    seen = dict(before) | {run.id: run.end_time for run in observation.runs.ended if run.end_time}
    return {run_id: end for run_id, end in seen.items() if end >= horizon}


def _with_run(record: Record, run: FlowRun, observation: Observation) -> Record:
    if run.cancelled_for_slot:
        return record.model_copy(update={"rejected": _with_cancelled(record.rejected, run)})
    if run.not_served:
        return record.model_copy(update={"not_served": _with_cancelled(record.not_served, run)})
    if run.cancelled_before_start:
        # It was not due yet: somebody had changed their mind.
        return record
    record = _without_cancelled(record, run)
    if run.skipped and _newer(skipped := _plain(run), record.last_skipped):
        record = record.model_copy(update={"last_skipped": skipped})
    if run.state_type == "CANCELLED":
        return record
    ended = _ended(run, observation)
    if run.state_type == "COMPLETED":
        record = record.model_copy(update={"run_times": with_run_time(record.run_times, run)})
    last = record.last_ended
    if last and (ended.ended, ended.id) < (last.ended, last.id):
        # It arrived after a newer run that is already counted: it may still be the newest success, or failure.
        if run.state_type == "COMPLETED" and _newer(ended, record.last_success):
            return record.model_copy(update={"last_success": ended})
        return _with_failed(record, ended)
    if last and last.id != run.id:
        record = _with_failed(record, last)
    success = {"last_success": ended} if run.state_type == "COMPLETED" else {}
    return record.model_copy(update={**dict(_with_end(record.outcome, ended)), **success})


def _with_parameters(record: Record, run: FlowRun, observation: Observation) -> Record:
    """Count an ended run among those with the same of the schedules' parameters, too."""
    deployment = observation.deployments.get(run.key)
    own = deployment.parameters_of(run) if deployment else None
    if own is None or (run.state_type == "CANCELLED" and not run.skipped):
        return record
    before, ended = record.by_parameters.get(own.key, ScheduleRecord()), _ended(run, observation)
    changes: dict[str, object] = {"last_skipped": ended} if run.skipped else dict(_with_end(before, ended))
    if run.state_type == "COMPLETED":
        changes["run_times"] = with_run_time(before.run_times, run)
        changes["last_success"] = ended if _newer(ended, before.last_success) else before.last_success
    after = before.model_copy(update=changes)
    return record.model_copy(update={"by_parameters": {**record.by_parameters, own.key: after}})


def _with_end(before: Outcome, ended: EndedRun) -> Outcome:
    last = before.last_ended
    if last and (ended.ended, ended.id) < (last.ended, last.id):
        return Outcome(last_ended=last, streak=before.streak)
    if ended.state_type == "COMPLETED":
        return Outcome(last_ended=ended)
    return Outcome(last_ended=ended, streak=_longer(before.streak, last, ended))


def _with_cancelled(before: CancelledRuns | None, run: FlowRun) -> CancelledRuns:
    """The consecutive cancelled runs with another one, which counts once."""
    due, ended = run.expected_start_time or run.created, run.ended_at
    if before is None:
        return CancelledRuns(since=due, until=ended, run_ids=(run.id,))
    if run.id in before.run_ids:
        return before
    ids = (run.id, *before.run_ids)[:MAX_STREAK_IDS]
    return CancelledRuns(
        since=min(due, before.since), until=max(ended, before.until), count=before.count + 1, run_ids=ids
    )


def _without_cancelled(record: Record, run: FlowRun) -> Record:
    """End what was consecutive until a run ended that had started."""
    kept = {"rejected": record.rejected, "not_served": record.not_served}
    over = {name: None for name, runs in kept.items() if runs and runs.until <= run.ended_at}
    return record.model_copy(update=over) if over else record


def _longer(before: Streak | None, last: EndedRun | None, ended: EndedRun) -> Streak:
    """The streak with another run that failed or crashed."""
    streak = before or Streak(since=ended.ended)
    # A run that was restarted and failed or crashed again counts once.
    again = ended.id in streak.run_ids
    alike = before is not None and last is not None and last.state_type == ended.state_type
    return Streak(
        since=streak.since,
        failed=streak.failed + (ended.state_type == "FAILED" and not again),
        crashed=streak.crashed + (ended.state_type == "CRASHED" and not again),
        run_ids=(ended.id, *(run_id for run_id in streak.run_ids if run_id != ended.id))[:MAX_STREAK_IDS],
        alike=streak.alike + (ended.id not in streak.run_ids[: streak.alike]) if alike else 1,
        alike_since=streak.alike_since if alike else ended.ended,
    )


def _with_failed(record: Record, ended: EndedRun) -> Record:
    """Keep the newest failed run, without its reason: only the last ended run needs one."""
    if ended.state_type != "FAILED" or not _newer(ended, record.last_failed):
        return record
    return record.model_copy(update={"last_failed": ended.model_copy(update={"message": "", "failure": None})})


def _newer(ended: EndedRun, known: EndedRun | None) -> bool:
    return known is None or known.ended < ended.ended


def _with_reason(record: Record, run: FlowRun, observation: Observation) -> Record:
    """Add the reason to a failed run that was counted before: its logs may arrive after its end."""
    ended = _ended(run, observation)

    def explained(found: Outcome) -> Outcome:
        same = found.last_ended and found.last_ended.id == run.id
        return found.model_copy(update={"last_ended": ended}) if same else found

    return _with_outcomes(record, explained)


def _with_samples(record: Record, sampled: tuple[FlowRun, ...], deployment: Deployment | None) -> Record:
    """Learn run times from runs that ended before the ledger began; known runs count once."""
    run_times, by_parameters = reduce(with_run_time, sampled, record.run_times), dict(record.by_parameters)
    for run in sampled:
        if deployment and (own := deployment.parameters_of(run)):
            known = by_parameters.get(own.key, ScheduleRecord())
            changes = {"run_times": with_run_time(known.run_times, run)}
            by_parameters[own.key] = known.model_copy(update=changes)
    return record.model_copy(
        update={"run_times": run_times, "run_times_searched": True, "by_parameters": by_parameters}
    )


def _with_search(record: Record, success: FlowRun | None) -> Record:
    found = _plain(success) if success else None
    if found and found.state_type != "COMPLETED":
        # If failures are expected, a failed run is a success.
        last = record.last_ended or found
        searched = record.model_copy(update={"last_ended": last, "success_searched": True})
        return searched if last.id == found.id else _with_failed(searched, found)
    return record.model_copy(update={"last_success": record.last_success or found, "success_searched": True})


def _with_outcomes(record: Record, change: Callable[[Outcome], Outcome]) -> Record:
    """The record with every outcome changed alike."""
    changed = {key: found.model_copy(update=dict(change(found))) for key, found in record.by_parameters.items()}
    return record.model_copy(update={**dict(change(record.outcome)), "by_parameters": changed})


def _corrected(record: Record, read_again: Mapping[str, FlowRun | None]) -> Record:
    """The record after somebody has marked, rerun or deleted the runs of its latest failures."""
    failed = {found.last_ended.id for found in record.failing if found.last_ended}
    if not failed & read_again.keys():
        return record
    last = read_again.get(record.last_ended.id) if record.streak and record.last_ended else None
    success = {"last_success": _plain(last)} if last and last.state_type == "COMPLETED" else {}
    record = _with_outcomes(record, partial(_corrected_outcome, read_again))
    return record.model_copy(update=success)


def _corrected_outcome(read_again: Mapping[str, FlowRun | None], found: Outcome) -> Outcome:
    if found.streak is None or found.last_ended is None or found.last_ended.id not in read_again:
        return found
    run = read_again[found.last_ended.id]
    if run and run.state_type == "COMPLETED":
        return Outcome(last_ended=_plain(run))
    gone = run is None or run.state_type not in ("FAILED", "CRASHED")
    return Outcome() if gone and found.streak.length == 1 else found


def _with_schedule(record: Record, deployment: Deployment, observation: Observation) -> Record:
    """Keep since when a deployment has had its present schedules."""
    inactive = [since for since in (record.inactive_since, deployment.inactive_since) if since]
    record = record.model_copy(
        update={
            "inactive_since": min(inactive) if deployment.inactive_since is not None else None,
            "resumed_at": _resumed_at(record, deployment, observation),
            "by_parameters": {
                own.key: _known_since(record.by_parameters.get(own.key, ScheduleRecord()), own, observation)
                for own in deployment.schedule_parameters
            },
        }
    )
    if record.schedule == deployment.schedule:
        return record
    since = observation.at if record.schedule is not None else _first_seen_schedule(deployment, observation)
    return record.model_copy(update={"schedule": deployment.schedule, "scheduled_since": since})


def _known_since(found: ScheduleRecord, own: ScheduleParameters, observation: Observation) -> ScheduleRecord:
    """Note since when runs with these parameters are counted: before a change, they may not have been scheduled."""
    if found.known_since is not None or not observation.coverage.has("ended-runs"):
        return found
    since = max(filter(None, (observation.since, own.changed)))
    return found.model_copy(update={"known_since": since})


def _resumed_at(record: Record, deployment: Deployment, observation: Observation) -> datetime | None:
    if record.inactive_since and deployment.inactive_since is None:
        return deployment.changed or observation.at
    return observation.schedules.resumed.get(deployment.key, record.resumed_at)


def _first_seen_schedule(deployment: Deployment, observation: Observation) -> datetime | None:
    """Since when a new deployment has had its schedules; None for always.

    Every ``prefect deploy`` creates schedules anew, so that they look young. Runs that were due before, or a success
    that a schedule created, show that there were schedules before.
    """
    if resumed := observation.schedules.resumed.get(deployment.key):
        return resumed
    since = deployment.scheduled_since
    if since is None:
        return None
    success = observation.history.last_success.get(deployment.id)
    # A success that is older than the deployment shows that creation times prove nothing (a restored database).
    shown = success and (success.auto_scheduled or success.created < deployment.created)
    older = any(
        run.deployment_id == deployment.id and (run.expected_start_time or run.created) < since
        for run in (*observation.runs.ended, *observation.runs.active)
    )
    return None if older or shown else since


def _ended(run: FlowRun, observation: Observation) -> EndedRun:
    """The run as it is kept, with the reason if it failed or crashed."""
    ended = _plain(run)
    if run.state_type not in ("FAILED", "CRASHED"):
        return ended
    path = failing_path(run, observation.failures.children)
    # If no logs were read, the message of the run, or of the run that made it fail, is the reason.
    failure = observation.failures.reasons.get(run.id) or failure_of((path[-1] if path else run).message)
    below = tuple(
        FailedChild(
            id=child.id,
            name=one_line(child.name, _MAX_NAME),
            flow_name=one_line(observation.failures.flow_names.get(child.flow_id, child.name), _MAX_NAME),
            deployment_id=child.deployment_id,
        )
        for child in path
    )
    return ended.model_copy(update={"failure": failure.model_copy(update={"path": below})})


def _plain(run: FlowRun) -> EndedRun:
    return EndedRun(
        id=run.id,
        name=run.name,
        state_type=run.state_type,
        state_name=run.state_name,
        message=run.message[:MAX_MESSAGE],
        ended=run.ended_at,
        run_time=run.total_run_time,
    )
