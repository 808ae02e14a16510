"""Whether the watchdog itself is set up as it should be: judgements of what was read of its installation.

Each says one line, and where something is wrong the command that mends it. What cannot be examined because something
else is broken is no further fault. How alerts leave the house is judged in ``doctor_alerts``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from shlex import quote
from typing import Literal

from monitoring.config.settings import Config
from monitoring.doctor.installation import AUTOMATIONS, LOCK, STATE, Automation, Installation, Kept
from monitoring.model.base import Value
from monitoring.model.prefect import CHECK_FLOW, OWN_FLOWS, Deployment, WorkPool
from monitoring.notifications.failing_routes import GRACE
from monitoring.text.durations import spoken

Outcome = Literal["ok", "warning", "fault", "unknown"]

#: Its agents send no heartbeats.
_AGENT_POOL = "prefect-agent"
_DEPLOY = "prefect deploy --all"
#: Makes the automation that watches the watchdog.
WATCH = "watchdog automation deploy --notify TYPE/NAME, of a notification block"
_SERVE = "python flows/serve.py"
#: What the flows of ``prefect.yaml`` are deployed as.
_USUAL_NAME = {flow: f"{flow}/{flow.rpartition('-')[2]}" for flow in OWN_FLOWS}
_MAX_MESSAGE = 200


class Examined(Value):
    """One part of the installation, and how it does."""

    name: str
    #: ``unknown``: it could not be examined, which is no fault of its own.
    outcome: Outcome
    said: str
    #: What mends it, a command where there is one. Beside ``ok`` it is a recommendation.
    mend: str = ""

    @property
    def recommended(self) -> bool:
        """Whether all is well and could be better."""
        return self.outcome == "ok" and bool(self.mend)


def not_examined(name: str, why: str) -> Examined:
    """Say that a part was not examined."""
    return Examined(name=name, outcome="unknown", said=f"not examined: {why}")


def worst(examined: Iterable[Examined]) -> Outcome:
    """The worst of it. Recommendations do not count, nor does what could not be examined."""
    found = {one.outcome for one in examined}
    return "fault" if "fault" in found else "warning" if "warning" in found else "ok"


def examine(found: Installation, config: Config) -> Iterator[Examined]:
    """Judge what was read of the server and what the watchdog has on it.

    Args:
        found: What was read.
        config: What is allowed.
    """
    yield from server(found, config)
    yield from deployments(found)
    yield from places(found)
    yield from runners(found, config)
    yield from automations(found)
    yield from last_runs(found, config)
    yield from memory(found, config)
    yield lock(found)


# --- the server -----------------------------------------------------------------------------------------


def server(found: Installation, config: Config) -> Iterator[Examined]:
    """Judge the server: whether it answers, takes our key, is of a version that works, has the time and a database."""
    state = found.server.state
    rest = ("version", "clock", "database")
    if state.problem and not found.server.refused:
        mend = "export PREFECT_API_URL=... with its address; where it does not run: prefect server start"
        yield Examined(name="server", outcome="fault", said=state.problem, mend=mend)
        yield from (not_examined(name, "the server cannot be used") for name in ("credentials", *rest))
        return
    yield Examined(name="server", outcome="ok", said=f"{state.api_url} answers")
    if state.problem:
        mend = "export PREFECT_API_KEY=..., or PREFECT_API_AUTH_STRING=..., as the server asks for it"
        yield Examined(name="credentials", outcome="fault", said=state.problem, mend=mend)
        yield from (not_examined(name, "the server refuses our credentials") for name in rest)
        return
    yield Examined(name="credentials", outcome="ok", said="accepted")
    yield version(state.version, found.server.client)
    yield clock(found.server.clock_offset, config.server.clock_apart)
    yield database(found.server.database)


def version(of_server: str | None, of_client: str) -> Examined:
    """Judge the server's version.

    Prefect's own rule: the same major version, and a server that is no older than its clients
    (prefect/client/orchestration/__init__.py, ``raise_for_api_version_mismatch``).

    Args:
        of_server: Prefect's version there; None where it does not say.
        of_client: Prefect's version here.
    """
    theirs, ours = _numbers(of_server or ""), _numbers(of_client)
    if not theirs:
        said = "the server does not say its version; Prefect Cloud does not, and is not what this is made for"
        return Examined(name="version", outcome="unknown", said=said)
    mend = f"pip install 'prefect=={of_client}' where the server runs, and start it again"
    if theirs[0] != ours[0]:
        said = f"the server is Prefect {of_server}; the watchdog needs Prefect {ours[0]}"
        return Examined(name="version", outcome="fault", said=said, mend=mend)
    if theirs < ours:
        said = f"the server is Prefect {of_server}, older than the {of_client} here, and may not know what it is asked"
        return Examined(name="version", outcome="warning", said=said, mend=mend)
    newer = f"; the watchdog is tried with {ours[0]}.{ours[1]}" if theirs[:2] > ours[:2] else ""
    return Examined(name="version", outcome="ok", said=f"Prefect {of_server}, {of_client} here{newer}")


def clock(offset: timedelta | None, apart: timedelta) -> Examined:
    """Judge the server's clock.

    Args:
        offset: The server's clock less ours.
        apart: How much they may differ.
    """
    if offset is None:
        return Examined(name="clock", outcome="unknown", said="the server does not say what time it has")
    if abs(offset) <= apart:
        return Examined(name="clock", outcome="ok", said=f"within {spoken(apart)} of ours")
    side = "ahead of" if offset > timedelta(0) else "behind"
    said = f"the server's clock is {spoken(abs(offset))} {side} ours"
    return Examined(name="clock", outcome="warning", said=said, mend="timedatectl set-ntp true, on both machines")


def database(reached: bool | None) -> Examined:
    """Judge whether the server reaches its database."""
    if reached is None:
        return Examined(name="database", outcome="unknown", said="the server does not say whether it reaches it")
    if reached:
        return Examined(name="database", outcome="ok", said="the server reaches it")
    mend = "start the database that PREFECT_SERVER_DATABASE_CONNECTION_URL names there; the server's log says more"
    return Examined(name="database", outcome="fault", said="the server does not reach its database", mend=mend)


# --- what runs the checks -------------------------------------------------------------------------------


def deployments(found: Installation) -> Iterator[Examined]:
    """Judge whether check and digest are deployed, and run by themselves."""
    why = found.unread("flows", "deployments")
    for flow in OWN_FLOWS:
        mine = [deployment for deployment in found.deployments if deployment.flow_name == flow]
        if why:
            yield not_examined(f"deployment {_USUAL_NAME[flow]}", why)
        elif not mine:
            said = f"the flow {flow} is not deployed"
            yield Examined(name=f"deployment {_USUAL_NAME[flow]}", outcome="fault", said=said, mend=_deploy(found))
        yield from (_deployment(one, found) for one in mine)


def _deploy(found: Installation) -> str:
    """What deploys all anew, in the way in which it was deployed."""
    return _SERVE if found.deployments and _served(found) == list(found.deployments) else _DEPLOY


def _served(found: Installation) -> list[Deployment]:
    """The deployments that one process serves, without a pool."""
    return [one for one in found.deployments if not one.work_pool and one.id not in found.for_pools]


def _deployment(deployment: Deployment, found: Installation) -> Examined:
    name = f"deployment {deployment.name}"
    inactive = found.inactive.get(deployment.id, ())
    if deployment.paused:
        mend = f"prefect api POST /deployments/{deployment.id}/resume_deployment"
        return Examined(name=name, outcome="fault", said="it is paused", mend=mend)
    if not deployment.scheduled and inactive:
        mend = f"prefect deployment schedule resume {quote(deployment.name)} {inactive[0]}"
        return Examined(name=name, outcome="fault", said="none of its schedules is active", mend=mend)
    if not deployment.scheduled:
        return Examined(name=name, outcome="fault", said="it has no schedule", mend=_deploy(found))
    if deployment.next_due:
        return Examined(name=name, outcome="ok", said=f"next due at {_moment(deployment.next_due)}")
    if why := found.missing("schedules"):
        return not_examined(name, why)
    said = "its schedules are over: nothing is due within a year"
    return Examined(name=name, outcome="fault", said=said, mend=_deploy(found))


def places(found: Installation) -> Iterator[Examined]:
    """Judge the work pools and queues of the deployments, and whether workers live there."""
    placed: dict[str, list[Deployment]] = {}
    for deployment in found.deployments:
        if deployment.work_pool:
            placed.setdefault(deployment.work_pool, []).append(deployment)
        elif deployment.id in found.for_pools:
            # With the pool, the server deletes the deployment's tie to it.
            mend = f"prefect work-pool create watchdog --type process && {_DEPLOY}"
            said = "there is none: it was deleted"
            yield Examined(name=f"work pool of {deployment.name}", outcome="fault", said=said, mend=mend)
    if why := found.unread("flows", "deployments"):
        yield not_examined("work pool", why)
    for name, mine in placed.items():
        if why := found.unread("work-pools", "work-queues"):
            yield not_examined(f"work pool {name}", why)
        elif pool := found.pools.get(name):
            yield _pool(pool)
            yield from _queues(pool, {deployment.work_queue for deployment in mine})
            yield _worker(pool, found)


def _pool(pool: WorkPool) -> Examined:
    name = f"work pool {pool.name}"
    if pool.paused:
        mend = f"prefect work-pool resume {quote(pool.name)}"
        return Examined(name=name, outcome="fault", said="it is paused", mend=mend)
    return Examined(name=name, outcome="ok", said=f"not paused; of the type {pool.type}")


def _queues(pool: WorkPool, used: set[str | None]) -> Iterator[Examined]:
    for queue in pool.queues:
        if queue.name in used and queue.paused:
            mend = f"prefect work-queue resume {quote(queue.name)} --pool {quote(pool.name)}"
            yield Examined(name=f"work queue {pool.name}/{queue.name}", outcome="fault", said="it is paused", mend=mend)
        elif queue.name in used:
            yield Examined(name=f"work queue {pool.name}/{queue.name}", outcome="ok", said="not paused")


def _worker(pool: WorkPool, found: Installation) -> Examined:
    name = f"worker of {pool.name}"
    beat = f"{spoken(found.at - pool.last_heartbeat)} ago" if pool.last_heartbeat else ""
    if pool.live_workers:
        number = "1 lives" if pool.live_workers == 1 else f"{pool.live_workers:,} live"
        return Examined(name=name, outcome="ok", said=f"{number}; last heartbeat {beat}")
    if pool.live_workers is None:
        if pool.type == _AGENT_POOL:
            return not_examined(name, "agents send no heartbeats")
        if unseen := found.missing("workers"):
            return not_examined(name, unseen)
        return Examined(name=name, outcome="ok", said=f"pools of the type {pool.type} need none")
    last = f"the last heartbeat was {beat}" if beat else "there never was one"
    mend = f"prefect worker start --pool {quote(pool.name)} --limit 2"
    return Examined(name=name, outcome="fault", said=f"none is alive: {last}", mend=mend)


def runners(found: Installation, config: Config) -> Iterator[Examined]:
    """Judge whether a process serves the deployments that are in no work pool: only their runs can tell."""
    served = _served(found)
    if not served:
        return
    if any(found.completed(one) and not _late(found, one, config) for one in served):
        yield Examined(name="runner", outcome="ok", said="runs complete, so a process serves them")
        return
    said = "the deployments are in no work pool, and no completed run shows that a process serves them"
    yield Examined(name="runner", outcome="unknown", said=said, mend=_SERVE)


def automations(found: Installation) -> Iterator[Examined]:
    """Judge what starts a check when a run fails, and what notices that no check completes."""
    names = "trigger of the check", "watch over the watchdog"
    if why := found.unread("deployments", AUTOMATIONS):
        yield from (not_examined(name, why) for name in names)
        return
    checks = {one.id for one in found.deployments if one.flow_name == CHECK_FLOW}
    triggers = [one for one in found.automations if checks.intersection(one.starts)]
    watching = [one for one in found.automations if one.watches]
    if not checks:
        yield not_examined(names[0], "the check is not deployed")
    elif not triggers:
        said = "no automation starts a check when a run fails: it is heard of with the next scheduled one"
        yield Examined(name=names[0], outcome="warning", said=said, mend=_deploy(found))
    elif not any(one.enabled for one in triggers):
        said = f"the automation {triggers[0].name} is not enabled"
        yield Examined(name=names[0], outcome="warning", said=said, mend=_resume(triggers[0]))
    else:
        yield Examined(name=names[0], outcome="ok", said="a failed run starts a check")
    if not watching:
        said = "no automation notices that no check completes"
        yield Examined(name=names[1], outcome="ok", said=said, mend=WATCH)
    elif not any(one.enabled for one in watching):
        said = f"the automation {watching[0].name} is not enabled"
        yield Examined(name=names[1], outcome="ok", said=said, mend=_resume(watching[0]))
    else:
        yield Examined(name=names[1], outcome="ok", said="an automation notices that no check completes")


def _resume(automation: Automation) -> str:
    return f"prefect automation resume --id {automation.id}"


# --- how the checks go ----------------------------------------------------------------------------------


def last_runs(found: Installation, config: Config) -> Iterator[Examined]:
    """Judge the newest runs of check and digest, and how far the checks have read."""
    for deployment in found.deployments:
        yield _last_run(found, deployment, config)
    yield _read_until(found, config)


def _last_run(found: Installation, deployment: Deployment, config: Config) -> Examined:
    name = f"last run of {deployment.name}"
    if why := found.unread("own-runs"):
        return not_examined(name, why)
    completed, bad = found.completed(deployment), found.ended_badly(deployment)
    last = f"completed at {_moment(completed)}" if completed else "none has completed yet"
    if bad:
        outcome: Outcome = "fault" if len(bad) >= config.watchdog.failures else "warning"
        message = " ".join(bad[0].message.split())[:_MAX_MESSAGE]
        count = "the last run" if len(bad) == 1 else f"the last {len(bad)} runs"
        said = f"{count} ended badly, at {_moment(bad[0].ended_at)}: {bad[0].state_name}: {message}"
        return Examined(name=name, outcome=outcome, said=said, mend=f"prefect flow-run logs {bad[0].id}")
    if why := hindered(found, deployment):
        return Examined(name=name, outcome="unknown", said=f"not judged: {why}; {last}")
    if not _late(found, deployment, config):
        return Examined(name=name, outcome="ok", said=last)
    if completed is None and deployment.flow_name == CHECK_FLOW and deployment.due[0] < _forgotten(found, config):
        said = f"not known: runs are deleted after {spoken(config.state.keep_runs)}"
        return Examined(name=name, outcome="unknown", said=said)
    said = f"{last}, and {len(deployment.due)} were due since {_moment(deployment.due[0])}"
    mend = f"prefect deployment run {quote(deployment.name)} --watch" if deployment.work_pool else _SERVE
    return Examined(name=name, outcome="fault", said=said, mend=mend)


def _late(found: Installation, deployment: Deployment, config: Config) -> bool:
    """Whether so many fires of its schedules have passed without a completed run as the configuration says."""
    due = deployment.due
    if len(due) < config.watchdog.missed_fires:
        return False
    # A fire from before it was resumed, or deployed anew, was none.
    began = max(filter(None, (deployment.created, deployment.scheduled_since, deployment.changed)))
    completed = found.completed(deployment)
    return due[0] >= began and (completed is None or completed < due[0])


def _forgotten(found: Installation, config: Config) -> datetime:
    return found.at - config.state.keep_runs


def hindered(found: Installation, deployment: Deployment) -> str:
    """What else that is broken keeps a deployment from running; empty where nothing does."""
    parts = [_deployment(deployment, found)]
    if not deployment.work_pool and deployment.id in found.for_pools:
        return "its work pool was deleted"
    if pool := found.pools.get(deployment.work_pool or ""):
        parts += [_pool(pool), *_queues(pool, {deployment.work_queue}), _worker(pool, found)]
    return next((f"{part.name}: {part.said}" for part in parts if part.outcome == "fault"), "")


def _read_until(found: Installation, config: Config) -> Examined:
    """The cursor moves only when ended runs were read whole."""
    name = "ended runs"
    if why := found.unread(STATE) or found.kept.problem or _lost(found.kept, "ledger"):
        return not_examined(name, why)
    cursor, longest = found.kept.cursor, config.watchdog.incomplete_for
    if cursor is None:
        return Examined(name=name, outcome="unknown", said="no check has read any yet")
    if found.at - cursor <= longest:
        return Examined(name=name, outcome="ok", said=f"read whole until {_moment(cursor)}")
    said = f"last read whole {spoken(found.at - cursor)} ago, at {_moment(cursor)}"
    checks = [one for one in found.deployments if one.flow_name == CHECK_FLOW]
    if not checks or any(_last_run(found, one, config).outcome != "ok" for one in checks):
        return Examined(name=name, outcome="unknown", said=f"not judged: checks do not complete; {said}")
    mend = "watchdog check, which says what could not be seen, and why"
    return Examined(name=name, outcome="warning", said=said, mend=mend)


# --- what is kept ---------------------------------------------------------------------------------------


def memory(found: Installation, config: Config) -> Iterator[Examined]:
    """Judge what the watchdog remembers, and what it still has to say."""
    kept = found.kept
    why = found.unread(STATE)
    if why or kept.problem:
        yield (
            not_examined("state", why)
            if why
            else Examined(
                name="state",
                outcome="fault",
                said=kept.problem,
                mend="pip install --upgrade prefect-watchdog, here and where the worker runs",
            )
        )
        yield not_examined("outbox", why or "the state cannot be used")
        return
    yield from _documents(found)
    yield _outbox(found)
    for route, trouble in kept.outbox.troubles.items():
        if config.receiver(route) is None:
            continue
        lasting = found.at - trouble.since
        passing = not trouble.permanent and lasting < GRACE
        outcome: Outcome = "fault" if trouble.permanent else "ok" if passing else "warning"
        said = f"nothing was delivered for {spoken(lasting)}: {trouble.problem}"
        mend = "" if passing else "mend what it says; the next check sends what waits"
        yield Examined(name=f"deliveries by {route}", outcome=outcome, said=said, mend=mend)


def _documents(found: Installation) -> Iterator[Examined]:
    kept = found.kept
    for query in kept.coverage.missing:
        checks = [one.name for one in found.deployments if one.flow_name == CHECK_FLOW]
        run = f"prefect deployment run {quote(checks[0] if checks else _USUAL_NAME[CHECK_FLOW])}"
        mend = f"{run}: the next check sets it aside, and begins anew without it"
        yield Examined(name="state", outcome="warning", said=query.detail or query.name, mend=mend)
    for name in kept.aside:
        said = f"{name} could not be read and was set aside: what was in it is forgotten"
        mend = f"prefect block delete {quote(name)}, when nobody needs it any more"
        yield Examined(name="state", outcome="warning", said=said, mend=mend)
    if kept.coverage.complete and not kept.aside:
        yield Examined(name="state", outcome="ok", said="every document can be read")


def _outbox(found: Installation) -> Examined:
    if why := _lost(found.kept, "outbox"):
        return not_examined("outbox", why)
    queue = [delivery for delivery in found.kept.outbox.queue if delivery.sent_at is None]
    if not queue:
        return Examined(name="outbox", outcome="ok", said="nothing waits to be said")
    oldest = min(delivery.queued_at for delivery in queue)
    said = f"{len(queue):,} to be said, the oldest for {spoken(found.at - oldest)}, since {_moment(oldest)}"
    if found.at - oldest < GRACE:
        return Examined(name="outbox", outcome="ok", said=said)
    mend = "mend the routes below, or what keeps checks from completing: each check tries again"
    return Examined(name="outbox", outcome="warning", said=said, mend=mend)


def _lost(kept: Kept, document: str) -> str:
    broken = any(query.name == f"state-{document}" for query in kept.coverage.missing)
    return f"the document {document} cannot be read" if broken else ""


def lock(found: Installation) -> Examined:
    """Judge the lock, of which a held one is no fault, and one that was left behind mends itself."""
    if why := found.unread(LOCK):
        return not_examined("lock", why)
    held = found.lock
    if held is None:
        return Examined(name="lock", outcome="ok", said="free")
    holder = f"flow run {held.holder}" if held.holder else "somebody who has edited it"
    if held.expired:
        said = f"left behind by {holder}, last renewed at {_moment(held.renewed)}: the next check takes it over"
        return Examined(name="lock", outcome="warning", said=said, mend="prefect variable unset watchdog_lock")
    said = f"held by {holder} since {_moment(held.since)}, renewed {spoken(found.at - held.renewed)} ago"
    return Examined(name="lock", outcome="ok", said=said)


def _numbers(text: str) -> tuple[int, ...]:
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(map(int, match.groups())) if match else ()


def _moment(at: datetime) -> str:
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
