"""What deployments are read with: their due times, and what it takes to find them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from monitoring.adapters.prefect.client.api import Api
from monitoring.adapters.prefect.read import schedules
from monitoring.adapters.prefect.read import work_pools as places
from monitoring.adapters.prefect.read.collection import Collection
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.model.ledger import Ledger, Record, RunTimes
from tests.support.builders import NOW, hours, minutes

DAILY = {"cron": "0 6 * * *", "timezone": "UTC"}


class Server:
    """A server with many deployments of one flow, all of them on one schedule."""

    def __init__(self, count: int) -> None:
        made = {"created": (NOW - hours(5_000)).isoformat()}
        plan = [{"active": True, "schedule": DAILY, **made}]
        self._rows = [
            {"id": f"d{n}", "name": f"d{n}", "flow_id": "flow", "schedules": plan, **made} for n in range(count)
        ]

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        rows = self._rows if path == "/deployments/filter" else [{"id": "flow", "name": "etl"}]
        return rows[body["offset"] : body["offset"] + body["limit"]]


def test_deployments_that_share_a_schedule_share_its_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    expanded = []
    expand = schedules._all_between

    def counted(*args: Any) -> Any:
        expanded.append(args)
        return expand(*args)

    schedules._newest.cache_clear()
    monkeypatch.setattr(schedules, "_all_between", counted)
    # From some seconds to five hours, all of them different.
    records = {f"d{n}": Record(run_times=RunTimes(recent=((0, 3.1 + 18.0 * n),))) for n in range(1_000)}
    settings = Config()
    collection = Collection(cast(Api, Server(1_000)), settings, lambda text: text, NOW, Policies(settings))
    found = places.deployments(collection, Ledger(records=records)).deployments

    assert len(found) == 1_000
    # Its last fire was six hours ago.
    assert {pool.due[-1] for pool in found.values()} == {NOW - hours(6)}
    assert 0 < len(expanded) < 150


@pytest.mark.parametrize(("took", "due"), [(hours(5.5) - minutes(30), hours(6)), (hours(5.5), hours(30))])
def test_a_run_has_its_usual_time_and_the_grace(took: Any, due: Any) -> None:
    settings = Config()
    collection = Collection(cast(Api, Server(1)), settings, lambda text: text, NOW, Policies(settings))
    ledger = Ledger(records={"d0": Record(run_times=RunTimes(recent=((0, took.total_seconds()),)))})

    assert places.deployments(collection, ledger).deployments["d0"].due[-1] == NOW - due
