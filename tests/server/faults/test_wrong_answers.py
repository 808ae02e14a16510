"""Answers that look right and are wrong: nothing is resolved by them, and nothing is called healthy."""

from __future__ import annotations

import pytest

from demo.stack import Server
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.incidents.lifecycle import advance
from monitoring.model.incident import Incidents
from tests.server.faults.proxy import Handler, misbehaving
from tests.support.assessment import assess_server
from tests.support.seed_values import HOUR
from tests.support.seeding import Seed


def nothing(handler: Handler, _: bytes) -> None:
    handler.answer(b"[]")


@pytest.mark.parametrize(
    ("path", "query"),
    [("/deployments/filter", "deployments"), ("/flow_runs/filter", "ended-runs"), ("/work_pools/filter", "work-pools")],
)
def test_an_empty_list_of_what_the_server_counts(prefect_server: Server, world: Seed, path: str, query: str) -> None:
    """As a proxy answers that must not say no, or a key with a narrower view."""
    world.run(world.deployment("etl/nightly", pool=world.pool("workers")), "FAILED", ended=world.now - HOUR)
    policies = Policies(Config())
    good = assess_server(world.now).assessment
    incidents = advance(Incidents(), (), good.findings, good.observation, good.ledger, policies, True).incidents
    assert len(incidents.open) == 1

    with misbehaving(prefect_server.ui_url, {path: nothing}) as (address, _):
        seen = assess_server(world.now, at=address)
    assert seen.status == "unknown"
    assert seen.missing[query] == "partial"
    empty = seen.assessment
    moved = advance(incidents, (), empty.findings, empty.observation, empty.ledger, policies, False)
    assert moved.open.keys() == incidents.open.keys()


def test_an_empty_server_is_counted_and_complete(prefect_server: Server, world: Seed) -> None:
    seen = assess_server(world.now)
    assert (seen.status, dict(seen.missing)) == ("ok", {})
