"""Reads the installation that ``monitoring.doctor`` examines. Nothing is written, and no secret is returned."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Literal
from urllib.parse import urlsplit

import prefect
from prefect.events.schemas.events import Resource, ResourceSpecification

from monitoring.adapters.prefect.client.api import Api
from monitoring.adapters.prefect.read import rows
from monitoring.adapters.prefect.read.collection import Collection
from monitoring.adapters.prefect.read.own_runs import own_runs
from monitoring.adapters.prefect.read.rows import Row
from monitoring.adapters.prefect.read.schedules import next_due
from monitoring.adapters.prefect.read.subjects import read_subjects
from monitoring.adapters.prefect.read.work_pools import queues_by_pool, workers_of
from monitoring.adapters.prefect.store.lock import holder_ended, read_lock
from monitoring.config.policy import DEFAULT, Policies
from monitoring.config.settings import Config
from monitoring.config.unmatched import parts
from monitoring.doctor.examination import USUAL_POOL
from monitoring.doctor.installation import (
    AUTOMATIONS,
    LOCK,
    STATE,
    Automation,
    Installation,
    Kept,
    Lock,
    Secret,
    Server,
    TimeZones,
)
from monitoring.doctor.receivers import block_query, receivers
from monitoring.doctor.silence_automation import is_ours
from monitoring.errors import BadAnswer, ConfigError, CredentialsRefused, ServerProblem, StateError, WatchdogError
from monitoring.model.observation import ServerState
from monitoring.model.prefect import DIGEST_FLOW, OWN_FLOWS, Deployment, WorkPool
from monitoring.notifications.events import CHECK_COMPLETED, check_resource
from monitoring.usecases.ports import State

_UNAVAILABLE = 503
#: How far ahead the next run of a deployment is computed.
_AHEAD = timedelta(days=366)


def read_installation(
    api: Api, state: State, policies: Policies, redact: Callable[[str], str], now: datetime
) -> Installation:
    """Read everything that can be read; the coverage names what cannot."""
    config = policies.config
    # `doctor` examines the watchdog whether or not its checks watch it.
    awake = config.model_copy(update={"watchdog": config.watchdog.model_copy(update={"enabled": True})})
    collection = Collection(api, awake, redact, now, policies)
    try:
        server = _server(api)
        seen = _seen(collection, server, now)
    except (CredentialsRefused, ServerProblem) as problem:
        return unusable(api.url, now, problem, config)
    missing = next((query for query in collection.coverage.missing if query.name == "flows"), None)
    if missing:
        return unusable(api.url, now, BadAnswer(missing.detail or "the server does not answer"), config)
    blocks = {
        reference: collection.query(block_query(reference), None, _capabilities, api, reference)
        for reference in dict.fromkeys(receiver.block for receiver in receivers(config).values() if receiver.block)
    }
    kept = collection.query(STATE, Kept(), _kept, state, now)
    return seen.model_copy(
        update={
            "server": server.model_copy(update={"clock_offset": api.traffic.clock_offset}),
            "kept": kept,
            "subjects": read_subjects(collection) if any(parts(policies, kept.silences)) else (),
            "secrets": _secrets(config, api),
            "blocks": blocks,
            "coverage": collection.coverage,
        }
    )


def unusable(address: str, now: datetime, problem: WatchdogError, config: Config) -> Installation:
    """Return what is known if the server cannot be used, because of a problem."""
    state = ServerState(api_url=address, problem=str(problem))
    refused = isinstance(problem, CredentialsRefused)
    return Installation(
        at=now,
        server=Server(state=state, client=prefect.__version__, rejected=refused),
        secrets=_secrets(config, None),
    )


def _server(api: Api) -> Server:
    """The server's version and state; Prefect Cloud has neither endpoint, and the key may not read them."""
    try:
        version = api.find("/admin/version")
    except CredentialsRefused:
        version = None
    state = ServerState(api_url=api.url, ui_url=api.ui_url, version=None if version is None else str(version))
    return Server(state=state, client=prefect.__version__, database=_database(api))


def _database(api: Api) -> bool | None:
    try:
        api.get("/ready")
    except CredentialsRefused:
        return None
    except BadAnswer as problem:
        return False if problem.status == _UNAVAILABLE else None
    return True


def _seen(collection: Collection, server: Server, now: datetime) -> Installation:
    found = _deployments(collection)
    schedules = {deployment.id: rows.active_schedules(row) for deployment, row in found}
    own = own_runs(collection, [deployment for deployment, _ in found], schedules, ())
    return Installation(
        at=now,
        server=server,
        deployments=tuple(_with_next(collection, found, schedules[found.id]) for found in own.deployments),
        inactive={deployment.id: _inactive(row) for deployment, row in found},
        time_zones={
            deployment.id: _time_zones(collection.policies, row, schedules[deployment.id])
            for deployment, row in found
            if deployment.flow_name == DIGEST_FLOW
        },
        unpolled=frozenset(deployment.id for deployment, row in found if row.get("status") == "NOT_READY"),
        # A deployment served by a process has none.
        for_pools=frozenset(deployment.id for deployment, row in found if row.get("job_variables")),
        pools=_pools(collection, {row["work_pool_name"] for _, row in found if row.get("work_pool_name")}),
        ended=own.ended,
        automations=tuple(
            collection.read(
                AUTOMATIONS, "/automations/filter", {"sort": "CREATED_DESC"}, partial(_automation, collection)
            )
        ),
        lock=collection.query(LOCK, None, _lock, collection.api, now),
    )


def _deployments(collection: Collection) -> list[tuple[Deployment, Row]]:
    """The watchdog's own deployments, each with its row."""
    ours = {"flows": {"name": {"any_": list(OWN_FLOWS)}}}
    names = dict(collection.read("flows", "/flows/filter", ours, lambda row: (row["id"], collection.name(row["name"]))))

    def deployment(row: Row) -> tuple[Deployment, Row]:
        return rows.deployment(row, names[row["flow_id"]], collection.name), row

    return collection.read("deployments", "/deployments/filter", {**ours, "sort": "CREATED_DESC"}, deployment)


def _inactive(row: Row) -> tuple[str, ...]:
    return tuple(str(entry["id"]) for entry in row.get("schedules") or () if not entry.get("active"))


def _time_zones(policies: Policies, row: Row, schedules: Iterable[Row]) -> TimeZones:
    configured = policies.settings()["digest.time_zone"]
    deployed = (row.get("parameters") or {}).get("time_zone")
    return TimeZones(
        schedules=tuple(dict.fromkeys(schedule.get("timezone") or "UTC" for schedule in schedules)),
        days=str(deployed or configured.value) if configured.source == DEFAULT else configured.value,
    )


def _with_next(collection: Collection, deployment: Deployment, schedules: Iterable[Row]) -> Deployment:
    due = collection.expand(deployment, None, next_due, tuple(schedules), collection.now, _AHEAD)
    return deployment.model_copy(update={"next_due": due})


def _pools(collection: Collection, names: Iterable[str]) -> dict[str, WorkPool]:
    wanted = sorted(names) or [USUAL_POOL]
    only = {"work_pools": {"name": {"any_": wanted}}}
    queues = queues_by_pool(collection)

    def pool(row: Row) -> WorkPool:
        ours = queues.get(collection.name(row["name"]), ())
        return rows.work_pool(row, ours, workers_of(collection, row), collection.now, collection.name)

    return {found.name: found for found in collection.read("work-pools", "/work_pools/filter", only, pool)}


def _automation(collection: Collection, row: Row) -> Automation:
    trigger = row["trigger"]
    waits = trigger.get("posture") == "Proactive" and CHECK_COMPLETED in (trigger.get("expect") or ())
    check = Resource({"prefect.resource.id": check_resource(collection.config.target.name)})
    matches = waits and ResourceSpecification.model_validate(trigger.get("match") or {}).matches(check)
    starting = (action for action in row["actions"] if action.get("type") == "run-deployment")
    return Automation(
        id=row["id"],
        name=collection.name(row["name"]),
        enabled=row["enabled"],
        starts=tuple(str(action["deployment_id"]) for action in starting if action.get("deployment_id")),
        watches=matches,
        renamed=waits and not matches and is_ours(row["name"], row.get("description") or ""),
        within=trigger.get("within") or timedelta(0),
    )


def _lock(api: Api, now: datetime) -> Lock | None:
    variable = read_lock(api)
    if variable is None:
        return None
    return Lock(
        holder=variable.lease.holder if variable.lease else None,
        since=variable.created,
        renewed=variable.updated,
        expired=variable.expired(now),
        ended=holder_ended(api, variable),
    )


def _kept(state: State, now: datetime) -> Kept:
    aside = state.names_set_aside()
    try:
        saved, coverage = state.load()
    except StateError as problem:
        return Kept(problem=str(problem), aside=aside)
    silences = tuple(silence for silence in saved.silences.known if silence.ends_at > now)
    return Kept(coverage=coverage, aside=aside, outbox=saved.outbox, silences=silences, cursor=saved.ledger.cursor)


def _secrets(config: Config, api: Api | None) -> dict[str, Secret]:
    """The secrets by the name of their block, with what the environment holds instead; None for an unusable server."""
    named = {
        config.slack.token_secret: "WATCHDOG_SLACK_TOKEN",
        config.ping.url_secret: "WATCHDOG_PING_URL",
        **{receiver.webhook_secret: "" for receiver in receivers(config).values() if receiver.webhook_secret},
    }
    return {block: _secret(api, block, os.environ.get(variable, "").strip()) for block, variable in named.items()}


def _secret(api: Api | None, block: str, given: str) -> Secret:
    if given:
        return Secret(place="environment", looks=_looks(given))
    if api is None:
        return Secret(place="nowhere", problem=f"the server cannot be used, which may have the Secret block {block}")
    try:
        secret = api.secret(block)
    except ConfigError:
        return Secret(place="block")
    except (ServerProblem, CredentialsRefused) as problem:
        return Secret(place="nowhere", problem=str(problem))
    return Secret(place="nowhere") if secret is None else Secret(place="block", looks=_looks(secret))


def _looks(secret: str) -> Literal["text", "address"]:
    try:
        parts = urlsplit(secret)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and secret.isascii() and " " not in secret
    except ValueError:
        usable = False
    return "address" if usable else "text"


def _capabilities(api: Api, reference: str) -> tuple[str, ...] | None:
    """The capabilities of a block; None if there is no such block."""
    row = api.block(reference)
    if row is None:
        return None
    return rows.parsed("a block", lambda row: tuple(map(str, row["block_schema"]["capabilities"])), row)
