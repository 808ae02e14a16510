"""Judges whether the watchdog itself is set up correctly, from the facts read about its installation.

Each part has a line of detail and, if something is wrong, the command that fixes it. A part that cannot be examined
because another is broken is not a further fault. Receivers are examined in ``doctor.receivers``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from shlex import quote
from typing import Literal, NamedTuple

from monitoring.config.settings import Config
from monitoring.doctor.installation import AUTOMATIONS, LOCK, STATE, Automation, Installation, Kept
from monitoring.messages.words import timestamp
from monitoring.model.prefect import CHECK_FLOW, OWN_FLOWS, TRIGGER_WINDOW, Deployment, WorkPool
from monitoring.notifications.troubles import GRACE, routes_in_trouble
from monitoring.text.durations import humanized

Outcome = Literal["ok", "warning", "fault", "unknown"]

#: The type of a work pool for agents, which send no heartbeats.
_AGENT_POOL = "prefect-agent"
_DEPLOY = "prefect deploy --all"
#: The work pool that ``prefect.yaml`` names as it comes.
USUAL_POOL = "watchdog"
_MAKE_POOL = f"prefect work-pool create {USUAL_POOL} --type process"
#: Creates the automation that watches the watchdog.
WATCH = "watchdog automation deploy --notify TYPE/NAME, with the type and name of a notification block"
_SERVE = "python flows/serve.py"
#: The names of the deployments in ``prefect.yaml``.
_USUAL_NAME = {flow: f"{flow}/{flow.rpartition('-')[2]}" for flow in OWN_FLOWS}
_MAX_MESSAGE = 200
_THEN = "the next check sends what waits"


class Examined(NamedTuple):
    """One part of the installation, and its state."""

    name: str
    #: ``unknown``: it could not be examined, which is not a fault of its own.
    outcome: Outcome
    detail: str
    #: The fix, a command if there is one. With ``ok`` it is a recommendation.
    fix: str = ""

    @property
    def recommended(self) -> bool:
        """Whether nothing is wrong and something could be better."""
        return self.outcome == "ok" and bool(self.fix)


def not_examined(name: str, why: str) -> Examined:
    """A part that was not examined."""
    return Examined(name, "unknown", f"not examined: {why}")


def worst(examined: Iterable[Examined]) -> Outcome:
    """The worst outcome. Recommendations do not count, nor do parts that could not be examined."""
    found = {part.outcome for part in examined}
    return "fault" if "fault" in found else "warning" if "warning" in found else "ok"


def examine(found: Installation, config: Config) -> Iterator[Examined]:
    """Judge the server and the watchdog's installation on it."""
    yield from server(found, config)
    yield from deployments(found)
    yield from work_pools(found)
    yield from runners(found, config)
    yield from automations(found)
    yield from last_runs(found, config)
    yield from saved_state(found, config)
    yield lock(found)


def server(found: Installation, config: Config) -> Iterator[Examined]:
    """Judge the server: its answers, our credentials, its version, its clock and its database."""
    state = found.server.state
    rest = ("version", "clock", "database")
    if state.problem and not found.server.rejected:
        fix = "export PREFECT_API_URL=... with the server's address; if no server is running: prefect server start"
        yield Examined("server", "fault", state.problem, fix)
        yield from (not_examined(name, "the server cannot be used") for name in ("credentials", *rest))
        return
    yield Examined("server", "ok", f"{state.api_url} responds")
    if state.problem:
        fix = "export PREFECT_API_KEY=... or PREFECT_API_AUTH_STRING=..., whichever the server requires"
        yield Examined("credentials", "fault", state.problem, fix)
        yield from (not_examined(name, "the server rejects our credentials") for name in rest)
        return
    yield Examined("credentials", "ok", "accepted")
    yield version(state.version, found.server.client)
    yield clock(found.server.clock_offset, config.server.clock_apart)
    yield database(found.server.database)


def version(of_server: str | None, of_client: str) -> Examined:
    """Judge the server's version, beside the client's.

    Prefect's own rule: the same major version, and a server that is no older than its clients
    (prefect/client/orchestration/__init__.py, ``raise_for_api_version_mismatch``).
    """
    theirs, ours = _numbers(of_server or ""), _numbers(of_client)
    if not theirs:
        detail = "the server does not report its version; Prefect Cloud does not either, and is not supported"
        return Examined("version", "unknown", detail)
    fix = f"pip install 'prefect=={of_client}' where the server runs, then restart the server"
    if theirs[0] != ours[0]:
        detail = f"the server is Prefect {of_server}; the watchdog needs Prefect {ours[0]}"
        return Examined("version", "fault", detail, fix)
    if theirs < ours:
        detail = f"the server is Prefect {of_server}, older than {of_client} here, and may not support all our queries"
        return Examined("version", "warning", detail, fix)
    newer = f"; the watchdog is tested with {ours[0]}.{ours[1]}" if theirs[:2] > ours[:2] else ""
    return Examined("version", "ok", f"Prefect {of_server}, {of_client} here{newer}")


def clock(offset: timedelta | None, apart: timedelta) -> Examined:
    """Judge the server's clock, which is ahead of ours by this much; ``apart`` is the longest tolerated difference."""
    if offset is None:
        return Examined("clock", "unknown", "the server does not report its time")
    if abs(offset) <= apart:
        return Examined("clock", "ok", f"within {humanized(apart)} of ours")
    side = "ahead of" if offset > timedelta(0) else "behind"
    detail = f"the server's clock is {humanized(abs(offset))} {side} ours"
    return Examined("clock", "warning", detail, "timedatectl set-ntp true on both machines")


def database(reached: bool | None) -> Examined:
    """Judge whether the server reaches its database."""
    if reached is None:
        return Examined("database", "unknown", "the server does not report whether it can reach its database")
    if reached:
        return Examined("database", "ok", "the server can reach it")
    fix = "start the database in the server's PREFECT_SERVER_DATABASE_CONNECTION_URL; the server's log has details"
    return Examined("database", "fault", "the server cannot reach its database", fix)


def deployments(found: Installation) -> Iterator[Examined]:
    """Judge whether check and digest are deployed and have an active schedule."""
    why = found.unread("flows", "deployments")
    for flow in OWN_FLOWS:
        mine = [deployment for deployment in found.deployments if deployment.flow_name == flow]
        if why:
            yield not_examined(f"deployment {_USUAL_NAME[flow]}", why)
        elif not mine:
            detail = f"the flow {flow} is not deployed"
            yield Examined(f"deployment {_USUAL_NAME[flow]}", "fault", detail, _deploy(found))
        for deployment in mine:
            yield _deployment(deployment, found)
            yield from _time_zone(deployment, found)


def _time_zone(deployment: Deployment, found: Installation) -> Iterator[Examined]:
    """Judge whether a digest is due in the time zone of its days: each is set where the other is not."""
    zones = found.time_zones.get(deployment.id)
    others = [zone for zone in zones.schedules if zone != zones.days] if zones else []
    if zones and others:
        detail = f"it is due by the clock of {', '.join(others)}; its days begin and end in {zones.days}"
        fix = (
            f"set time_zone in prefect.yaml to {zones.days}, or digest.time_zone to {others[0]}; then {_deploy(found)}"
        )
        yield Examined(f"time zone of {deployment.name}", "warning", detail, fix)


def _deploy(found: Installation) -> str:
    """The command that deploys everything again, in the way it was deployed before."""
    if not found.deployments and USUAL_POOL not in found.pools:
        # `prefect deploy` stops where there is no work pool.
        return f"{_MAKE_POOL} && {_DEPLOY}"
    return _SERVE if found.deployments and _served(found) == list(found.deployments) else _DEPLOY


def _served(found: Installation) -> list[Deployment]:
    """The deployments that a process serves, without a work pool."""
    unpooled = [deployment for deployment in found.deployments if not deployment.work_pool]
    return [deployment for deployment in unpooled if deployment.id not in found.for_pools]


def _deployment(deployment: Deployment, found: Installation) -> Examined:
    name = f"deployment {deployment.name}"
    inactive = found.inactive.get(deployment.id, ())
    if deployment.paused:
        fix = f"prefect api POST /deployments/{deployment.id}/resume_deployment"
        return Examined(name, "fault", "it is paused", fix)
    if not deployment.scheduled and inactive:
        fix = f"prefect deployment schedule resume {quote(deployment.name)} {inactive[0]}"
        return Examined(name, "fault", "none of its schedules is active", fix)
    if not deployment.scheduled:
        return Examined(name, "fault", "it has no schedule", _deploy(found))
    if deployment.next_due:
        return Examined(name, "ok", f"next due at {timestamp(deployment.next_due)}")
    if why := found.missing("schedules"):
        return not_examined(name, why)
    return Examined(name, "fault", "its schedules have ended: no run is due within a year", _deploy(found))


def work_pools(found: Installation) -> Iterator[Examined]:
    """Judge the work pools and queues of the deployments, and whether they have live workers."""
    by_pool: dict[str, list[Deployment]] = {}
    for deployment in found.deployments:
        if deployment.work_pool:
            by_pool.setdefault(deployment.work_pool, []).append(deployment)
        elif deployment.id in found.for_pools:
            # With the pool, the server deletes the deployment's reference to it.
            fix = f"{_MAKE_POOL} && {_DEPLOY}"
            yield Examined(f"work pool of {deployment.name}", "fault", "it was deleted", fix)
    if why := found.unread("flows", "deployments"):
        yield not_examined("work pool", why)
    for name, mine in by_pool.items():
        if why := found.unread("work-pools", "work-queues"):
            yield not_examined(f"work pool {name}", why)
        elif pool := found.pools.get(name):
            yield _pool(pool)
            yield from _queues(pool, {deployment.work_queue for deployment in mine})
            yield _worker(pool, found)


def _pool(pool: WorkPool) -> Examined:
    name = f"work pool {pool.name}"
    if pool.paused:
        return Examined(name, "fault", "it is paused", f"prefect work-pool resume {quote(pool.name)}")
    return Examined(name, "ok", f"not paused; type {pool.type}")


def _queues(pool: WorkPool, used: set[str | None]) -> Iterator[Examined]:
    for queue in pool.queues:
        name = f"work queue {pool.name}/{queue.name}"
        if queue.name in used and queue.paused:
            fix = f"prefect work-queue resume {quote(queue.name)} --pool {quote(pool.name)}"
            yield Examined(name, "fault", "it is paused", fix)
        elif queue.name in used:
            yield Examined(name, "ok", "not paused")


def _worker(pool: WorkPool, found: Installation) -> Examined:
    name = f"worker of {pool.name}"
    beat = f"{humanized(found.at - pool.last_heartbeat)} ago" if pool.last_heartbeat else ""
    if pool.live_workers:
        return Examined(name, "ok", f"{pool.live_workers:,} alive; last heartbeat {beat}")
    if pool.live_workers is None:
        if pool.type == _AGENT_POOL:
            return not_examined(name, "agents send no heartbeats")
        if why := found.missing("workers"):
            return not_examined(name, why)
        return Examined(name, "ok", f"work pools of type {pool.type} need no worker")
    last = f"the last heartbeat was {beat}" if beat else "no worker has ever sent a heartbeat"
    fix = f"prefect worker start --pool {quote(pool.name)} --limit 2"
    return Examined(name, "fault", f"no worker is alive: {last}", fix)


def runners(found: Installation, config: Config) -> Iterator[Examined]:
    """Judge whether a process serves the deployments without a work pool."""
    served = _served(found)
    if not served:
        return
    # The server says so a minute after the last poll; earlier versions of Prefect never do.
    if idle := [deployment for deployment in served if deployment.id in found.unpolled]:
        yield Examined(
            "runner", "fault", f"no process serves {', '.join(deployment.name for deployment in idle)}", _SERVE
        )
        return
    if any(found.completed(deployment) and not _late(found, deployment, config) for deployment in served):
        yield Examined("runner", "ok", "runs complete, so a process serves them")
        return
    detail = "the deployments have no work pool, and no completed run shows that a process serves them"
    yield Examined("runner", "unknown", detail, _SERVE)


def automations(found: Installation) -> Iterator[Examined]:
    """Judge the automation that starts a check when a run fails, and the one that fires when no check completes."""
    trigger, watch = "trigger of the check", "watch over the watchdog"
    if why := found.unread("deployments", AUTOMATIONS):
        yield from (not_examined(name, why) for name in (trigger, watch))
        return
    checks = {deployment.id for deployment in found.deployments if deployment.flow_name == CHECK_FLOW}
    if not checks:
        yield not_examined(trigger, "the check is not deployed")
    else:
        triggers = [automation for automation in found.automations if checks.intersection(automation.starts)]
        none = "no automation starts a check when a run fails; only the next scheduled check finds the failure"
        absent = Examined(trigger, "warning", none, _deploy(found))
        examined = _automation(triggers, "a failed run starts a check", absent)
        window = min((automation.within for automation in triggers if automation.enabled), default=timedelta(0))
        if window > TRIGGER_WINDOW:
            # An earlier version deployed it.
            detail = f"failures start at most one check in {humanized(window)}, and others wait for the schedule"
            examined = Examined(trigger, examined.outcome, detail, _deploy(found))
        yield examined
    renamed = next((automation for automation in found.automations if automation.renamed), None)
    if renamed:
        detail = f"the automation {renamed.name} waits for checks of a watchdog with another target.name"
        yield Examined(watch, "fault", detail, WATCH)
        return
    watching = [automation for automation in found.automations if automation.watches]
    absent = Examined(watch, "ok", "no automation notifies when no check completes", WATCH)
    yield _automation(watching, "an automation notifies when no check completes", absent)


def _automation(found: Sequence[Automation], effect: str, absent: Examined) -> Examined:
    if any(automation.enabled for automation in found):
        return Examined(absent.name, "ok", effect)
    if found:
        fix = f"prefect automation resume --id {found[0].id}"
        return Examined(absent.name, absent.outcome, f"the automation {found[0].name} is not enabled", fix)
    return absent


def last_runs(found: Installation, config: Config) -> Iterator[Examined]:
    """Judge the newest runs of check and digest, and how far checks have read the ended runs."""
    for deployment in found.deployments:
        yield _last_run(found, deployment, config)
    yield _read_until(found, config)


def _last_run(found: Installation, deployment: Deployment, config: Config) -> Examined:
    name = f"last run of {deployment.name}"
    if why := found.unread("own-runs"):
        return not_examined(name, why)
    completed, failures = found.completed(deployment), found.failures(deployment)
    last = f"completed at {timestamp(completed)}" if completed else "no run has completed yet"
    if failures:
        outcome: Outcome = "fault" if len(failures) >= config.watchdog.failures else "warning"
        message = " ".join(failures[0].message.split())[:_MAX_MESSAGE]
        count = "the last run" if len(failures) == 1 else f"the last {len(failures)} runs"
        detail = f"{count} failed or crashed, at {timestamp(failures[0].ended_at)}: {failures[0].state_name}: {message}"
        return Examined(name, outcome, detail, f"prefect flow-run logs {failures[0].id}")
    if why := hindered(found, deployment):
        return Examined(name, "unknown", f"not judged, as {why}; {last}")
    if not _late(found, deployment, config):
        return Examined(name, "ok", last)
    keep = config.state.keep_runs
    if completed is None and deployment.flow_name == CHECK_FLOW and deployment.due[0] < found.at - keep:
        return Examined(name, "unknown", f"unknown: runs are deleted after {humanized(keep)}")
    detail = f"{last}; {len(deployment.due)} runs were due since {timestamp(deployment.due[0])}"
    fix = f"prefect deployment run {quote(deployment.name)} --watch" if deployment.work_pool else _SERVE
    return Examined(name, "fault", detail, fix)


def _late(found: Installation, deployment: Deployment, config: Config) -> bool:
    """Whether as many scheduled runs were missed as the configuration tolerates."""
    due = deployment.due
    if len(due) < config.watchdog.missed_fires:
        return False
    # Due times from before the deployment was resumed, or deployed anew, do not count.
    since = max(filter(None, (deployment.created, deployment.scheduled_since, deployment.changed)))
    completed = found.completed(deployment)
    return due[0] >= since and (completed is None or completed < due[0])


def hindered(found: Installation, deployment: Deployment) -> str:
    """The fault of another part that keeps a deployment from running; empty if there is none."""
    parts = [_deployment(deployment, found)]
    if not deployment.work_pool and deployment.id in found.for_pools:
        return "its work pool was deleted"
    if not deployment.work_pool and deployment.id in found.unpolled:
        return "no process serves it"
    if pool := found.pools.get(deployment.work_pool or ""):
        parts += [_pool(pool), *_queues(pool, {deployment.work_queue}), _worker(pool, found)]
    return next((f"{part.name}: {part.detail}" for part in parts if part.outcome == "fault"), "")


def _read_until(found: Installation, config: Config) -> Examined:
    """Judge the cursor, which moves only when all ended runs were read."""
    name = "ended runs"
    if why := found.unread(STATE) or found.kept.problem or _lost(found.kept, "ledger"):
        return not_examined(name, why)
    cursor, limit = found.kept.cursor, config.watchdog.incomplete_for
    if cursor is None:
        return Examined(name, "unknown", "no check has read them yet")
    if found.at - cursor <= limit:
        return Examined(name, "ok", f"read completely until {timestamp(cursor)}")
    detail = f"last read completely {humanized(found.at - cursor)} ago, at {timestamp(cursor)}"
    checks = [deployment for deployment in found.deployments if deployment.flow_name == CHECK_FLOW]
    if not checks or any(_last_run(found, deployment, config).outcome != "ok" for deployment in checks):
        return Examined(name, "unknown", f"not judged, as checks do not complete; {detail}")
    return Examined(name, "warning", detail, "watchdog check, which shows what could not be read, and why")


def saved_state(found: Installation, config: Config) -> Iterator[Examined]:
    """Judge the saved state and the unsent notifications in the outbox."""
    kept = found.kept
    if why := found.unread(STATE):
        yield from (not_examined(name, why) for name in ("state", "outbox"))
        return
    if kept.problem:
        fix = "pip install --upgrade prefect-watchdog here and where the worker runs"
        yield Examined("state", "fault", kept.problem, fix)
        yield not_examined("outbox", "the state cannot be used")
        return
    yield from _documents(found)
    troubles = routes_in_trouble(kept.outbox, config)
    yield _outbox(found, troubles)
    for route, trouble in troubles.items():
        age = found.at - trouble.since
        temporary = not trouble.permanent and age < GRACE
        outcome: Outcome = "fault" if trouble.permanent else "ok" if temporary else "warning"
        detail = f"no delivery succeeded for {humanized(age)}: {trouble.problem}"
        fix = "" if temporary else f"mend this; watchdog notify test shows whether the route works; {_THEN}"
        yield Examined(f"deliveries by {route}", outcome, detail, fix)


def _documents(found: Installation) -> Iterator[Examined]:
    kept = found.kept
    for query in kept.coverage.missing:
        checks = [deployment.name for deployment in found.deployments if deployment.flow_name == CHECK_FLOW]
        run = f"prefect deployment run {quote(checks[0] if checks else _USUAL_NAME[CHECK_FLOW])}"
        fix = f"{run}: the next check sets it aside and starts with an empty document"
        yield Examined("state", "warning", query.detail or query.name, fix)
    for name in kept.aside:
        detail = f"{name} could not be read and was set aside; the watchdog no longer uses its content"
        yield Examined("state", "warning", detail, f"prefect block delete {quote(name)}, once it is no longer needed")
    if kept.coverage.complete and not kept.aside:
        yield Examined("state", "ok", "every document can be read")


def _outbox(found: Installation, troubles: Iterable[str]) -> Examined:
    if why := _lost(found.kept, "outbox"):
        return not_examined("outbox", why)
    queue = [delivery for delivery in found.kept.outbox.queue if delivery.sent_at is None]
    if not queue:
        return Examined("outbox", "ok", "no notification is waiting")
    oldest = min(delivery.queued_at for delivery in queue)
    detail = f"{len(queue):,} waiting, the oldest for {humanized(found.at - oldest)}, since {timestamp(oldest)}"
    if found.at - oldest < GRACE:
        return Examined("outbox", "ok", detail)
    failing = ", ".join(f"deliveries by {route}" for route in troubles)
    fix = f"fix {failing}" if failing else "let checks complete, which send them: see the last runs"
    return Examined("outbox", "warning", detail, f"{fix}; {_THEN}")


def _lost(kept: Kept, document: str) -> str:
    broken = any(query.name == f"state-{document}" for query in kept.coverage.missing)
    return f"the document {document} cannot be read" if broken else ""


def lock(found: Installation) -> Examined:
    """Judge the lock: a held lock is not a fault, and an expired lock is taken over by the next check."""
    if why := found.unread(LOCK):
        return not_examined("lock", why)
    held = found.lock
    if held is None:
        return Examined("lock", "ok", "free")
    holder = f"flow run {held.holder}" if held.holder else "an unknown holder (the variable was edited)"
    if held.expired or held.ended:
        ended = ", which has ended" if held.ended else ""
        renewed = f"last renewed at {timestamp(held.renewed)}"
        detail = f"left behind by {holder}{ended}, {renewed}; the next check takes it over"
        return Examined("lock", "warning", detail, "prefect variable unset watchdog_lock")
    detail = f"held by {holder} since {timestamp(held.since)}, renewed {humanized(found.at - held.renewed)} ago"
    return Examined("lock", "ok", detail)


def _numbers(text: str) -> tuple[int, ...]:
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(map(int, match.groups())) if match else ()
