"""The whole of a check: names, memory, status, and nothing found where nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from prefect.server.schemas.states import StateType
from werkzeug import Response

from demo.stack import Server
from monitoring.model.ledger import Ledger
from tests.support.assessment import assess_server
from tests.support.noise import NOISE_MAY_BE_STALE
from tests.support.relay import ApiRequest, relayed
from tests.support.seed_values import DAY, HOUR, MINUTE, Run
from tests.support.seeding import Seed


def test_a_server_with_nothing_but_noise_is_ok(prefect_server: Server, world: Seed) -> None:
    seen = assess_server(world.now, stale={"within": "2d"}, slow={"limit": "20m"}, rules=[NOISE_MAY_BE_STALE])
    assert seen.found == {}
    assert (seen.status, seen.missing) == ("ok", {})


def test_awkward_names_are_found_and_distinguished(prefect_server: Server, world: Seed) -> None:
    # Prefect itself refuses / % & < > in names.
    names = ["a|b/c|d", "emoji-🔥/näme", "line\nbreak/x", "[red]/`tick`", "same/default", "other/default"]
    pool = world.pool("pool with 🔥 and spaces")
    for name in names:
        deployment = world.deployment(name, pool=pool)
        world.run(deployment, "FAILED", ended=world.now - HOUR, name=f"run|{name}")
        world.run(deployment, "Late", due=world.now - HOUR)
    found = assess_server(world.now).found
    expected = {(check, name) for check in ("failed", "late") for name in names}
    assert set(found) == expected | {("work-pool", "pool with 🔥 and spaces")}
    assert {finding.cause.name for (check, _), finding in found.items() if check == "late" and finding.cause} == {
        pool.name
    }
    assert len({finding.fingerprint for finding in found.values()}) == len(found)


def test_secrets_in_messages_stay_on_the_server(prefect_server: Server, world: Seed) -> None:
    message = "cannot connect to postgresql://etl:hunter2@db/prod with token=abcd1234efgh"
    world.run(world.deployment("etl/nightly"), "FAILED", ended=world.now - HOUR, message=message)
    seen = assess_server(world.now)
    assert "cannot connect to" in seen.found["failed", "etl/nightly"].observed
    kept = seen.assessment.model_dump_json()
    assert "hunter2" not in kept
    assert "abcd1234efgh" not in kept


def test_a_recorded_streak_is_older_than_the_window(prefect_server: Server, world: Seed) -> None:
    now = world.now
    deployment = world.deployment("etl/nightly", schedule="0 0 1 1 *")
    world.many(Run(deployment=deployment, state="FAILED", ended=now - n * HOUR) for n in (1, 2))
    first = assess_server(now)
    assert first.found["failed", "etl/nightly"].severity == "warning"

    later = now + 3 * DAY
    world.run(deployment, "FAILED", ended=later - HOUR)
    ledger = first.assessment.ledger
    # As the check does, at a day's distance; what it looks at is far from the two first failures.
    second = assess_server(later, ledger=ledger.model_copy(update={"cursor": later - DAY}), **_ONLY_FAILED)
    streak = second.found["failed", "etl/nightly"]
    assert (streak.severity, streak.flow_run_count) == ("critical", 3)
    assert streak.since == now - 2 * HOUR
    forgetful = assess_server(later, ledger=Ledger(), **_ONLY_FAILED).found["failed", "etl/nightly"]
    assert forgetful.flow_run_count == 1


#: The noise lives at the time of the seed; days later it would be late, stale and dead.
_ONLY_FAILED: dict[str, Any] = {name: {"enabled": False} for name in ("late", "stuck", "zombie", "slow", "stale")}


def test_a_run_that_is_retried_by_hand_and_fails_again_is_one_failure(prefect_server: Server, world: Seed) -> None:
    now = world.now
    deployment = world.deployment("etl/nightly")
    run_id = uuid4()
    run = world.run(deployment, "FAILED", ended=now - HOUR, id=run_id)
    first = assess_server(now)
    assert first.found["failed", "etl/nightly"].flow_run_count == 1
    prefect_server.request("DELETE", f"/flow_runs/{run.id}")
    world.run(deployment, "FAILED", ended=now + MINUTE, id=run_id, run_count=2)
    again = assess_server(now + 2 * MINUTE, ledger=first.assessment.ledger).found["failed", "etl/nightly"]
    assert (again.flow_run_count, again.flow_run_ids) == (1, (str(run_id),))


def _critical(world: Seed) -> None:
    pool = world.pool("alive")
    world.worker(pool)
    world.run(world.deployment("status/late", pool=pool), "Late", due=world.now - 3 * HOUR)


def _warning(world: Seed) -> None:
    world.run(world.deployment("status/failed"), "FAILED", ended=world.now - HOUR)


def _info(world: Seed) -> None:
    world.run(world.deployment("status/mute"), "RUNNING", started=world.now - HOUR)


@pytest.mark.parametrize(
    ("planted", "whole", "partial"),
    [
        pytest.param([_info], "ok", "unknown", id="info"),
        pytest.param([_warning, _info], "warning", "unknown", id="warning"),
        pytest.param([_critical, _warning], "critical", "critical", id="critical"),
    ],
)
def test_critical_beats_unknown_beats_warning_beats_ok(
    prefect_server: Server, world: Seed, planted: list[Callable[[Seed], None]], whole: str, partial: str
) -> None:
    for plant in planted:
        plant(world)
    assert assess_server(world.now).status == whole

    def no_queues(request: ApiRequest) -> Response | None:
        return Response("{}", 404) if request.path == "/work_queues/filter" else None

    with relayed(prefect_server.ui_url) as relay:
        relay.answer = no_queues
        seen = assess_server(world.now, at=relay.url)
    assert (seen.status, seen.missing) == (partial, {"work-queues": "failed"})
    assert len(seen.found) == len(planted), "what was read is judged"


def test_a_state_named_freely_is_classified_by_its_type(prefect_server: Server, world: Seed) -> None:
    end = world.now - HOUR
    world.run(world.deployment("free/name"), "No rows today", state_type=StateType.FAILED, ended=end)
    world.run(world.deployment("free/fine"), "Failed softly", state_type=StateType.COMPLETED, ended=end)
    found = assess_server(world.now).found
    assert set(found) == {("failed", "free/name")}
    assert found["failed", "free/name"].observed == "No rows today"
