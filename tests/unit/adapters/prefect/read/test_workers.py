"""Whose workers are counted on a server with many work pools, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from monitoring.adapters.prefect.client.api import Api
from monitoring.adapters.prefect.read import work_pools as places
from monitoring.adapters.prefect.read.collection import Collection
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.errors import BadAnswer
from tests.support.builders import NOW, deployment

LIVE = [{"id": "worker", "last_heartbeat_time": NOW.isoformat(), "heartbeat_interval_seconds": 30}]


class Server:
    """A server with work pools, by name and what it calls them; all of them have a worker that lives."""

    def __init__(self, statuses: Mapping[str, str | None], upcoming: Any = 0, kind: str = "process") -> None:
        self._pools = [{"id": name, "name": name, "type": kind, "status": is_} for name, is_ in statuses.items()]
        self._upcoming = upcoming
        self.counted: list[Mapping[str, Any]] = []

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        if path == "/flow_runs/count":
            self.counted.append(body)
            if self._upcoming is None:
                raise BadAnswer("no")
            return self._upcoming
        found = {"/work_pools/filter": self._pools, "/work_queues/filter": []}.get(path, LIVE)
        return found[body["offset"] : body["offset"] + body["limit"]]


def pools(server: Server, count: int, **config: Any) -> tuple[set[str], dict[str, str]]:
    """The pools whose workers are known, and what was not answered whole."""
    settings = Config.model_validate(config)
    collection = Collection(cast(Api, server), settings, lambda text: text, NOW, Policies(settings))
    deployments = {f"d/{n}": deployment(f"d/{n}", work_pool=f"pool-{n:03}") for n in range(count)}
    found = places.work_pools(collection, [], deployments)
    known = {name for name, pool in found.items() if pool.live_workers is not None}
    return known, {query.name: query.detail for query in collection.coverage.missing}


def statuses(count: int, ready: int) -> dict[str, str | None]:
    """The first pools are ready, as the server says."""
    return {f"pool-{n:03}": "READY" if n < ready else "NOT_READY" for n in range(count)}


def test_a_big_healthy_server_is_known_whole() -> None:
    server = Server(statuses(500, ready=490))
    known, missing = pools(server, 500)

    assert len(known) == 200
    assert known >= {f"pool-{n:03}" for n in range(490, 500)}
    assert (missing, server.counted) == ({}, [])


@pytest.mark.parametrize(("upcoming", "is_known"), [(0, True), (1, False), (None, False)])
def test_pools_that_are_not_ready_are_unknown_where_work_is_due(upcoming: int | None, is_known: bool) -> None:
    server = Server(statuses(320, ready=0), upcoming)
    known, missing = pools(server, 320)

    assert len(known) == 200
    assert ("workers" not in missing) is is_known
    if not is_known:
        assert missing["workers"] == "counted in 200 of 320 work pools that are not ready"
    counted = [name for body in server.counted for name in body["work_pools"]["id"]["any_"]]
    assert counted[:100] == [f"pool-{n:03}" for n in range(200, 300)]
    assert len(server.counted) == (2 if upcoming == 0 else 1)


def test_a_server_that_calls_no_pool_anything_is_not_taken_for_ready() -> None:
    _, missing = pools(Server(dict.fromkeys(statuses(201, ready=0)), 1), 201)

    assert missing["workers"] == "counted in 200 of 201 work pools that are not ready"


def test_pools_that_have_no_workers_or_are_not_queried_are_left_out() -> None:
    assert pools(Server(statuses(300, ready=0), 1, kind="ecs:push"), 300) == (set(), {})
    assert pools(Server(statuses(300, ready=0), 1), 300, ahead={"enabled": False}) == (set(), {})
