"""watchdog: its own deployments and runs on a real server, and its teams' tags."""

from __future__ import annotations

from datetime import timedelta

import pytest
from werkzeug import Response

from demo.stack import Server
from monitoring.model.ledger import Ledger
from tests.support.assessment import Assessed, assess_server
from tests.support.relay import relayed
from tests.support.seed_values import DAY, HOUR, MINUTE, SECOND, Deployment
from tests.support.seeding import Seed

CHECK, DIGEST = "watchdog-check/check", "watchdog-digest/digest"


def own(looked: Assessed) -> dict[str, str]:
    """What is found of the watchdog itself, by subject."""
    return {
        finding.subject.name: finding.summary for finding in looked.assessment.findings if finding.check == "watchdog"
    }


@pytest.fixture
def check(world: Seed) -> Deployment:
    # Nobody has touched it for long: after a change, fires count from then.
    return world.deployment(CHECK, pool=world.pool("watchdog"), schedule="*/5 * * * *", updated=world.now - 30 * DAY)


def on_the_hour(seed: Seed) -> timedelta:
    """From the seed's now to two minutes after a fire that is still to come."""
    past = timedelta(minutes=seed.now.minute % 5, seconds=seed.now.second, microseconds=seed.now.microsecond)
    return 7 * MINUTE - past


def test_a_check_whose_runs_do_not_complete(prefect_server: Server, world: Seed, check: Deployment) -> None:
    at = world.now + on_the_hour(world)
    # The fires that count are of 12, 7 and 2 minutes ago; the last of them just so.
    world.run(check, started=at - 13 * MINUTE, ended=at - 12 * MINUTE)
    world.run(check, "RUNNING", started=at - 2 * MINUTE)

    assert own(assess_server(at)) == {}
    late = assess_server(at + 5 * MINUTE)
    assert own(late) == {CHECK: f"{CHECK}: no run of the watchdog itself has completed for 17 min"}
    assert late.found["watchdog", CHECK].severity == "warning"
    assert own(assess_server(at + 5 * MINUTE - SECOND)) == {}


def test_a_digest_of_days_ago_is_found_and_nothing_was_read_for_it(prefect_server: Server, world: Seed) -> None:
    pool, old = world.pool("watchdog"), world.now - 30 * DAY
    digest = world.deployment(DIGEST, pool=pool, schedule="0 8 * * *", updated=old)
    eight = world.now.replace(hour=8, minute=0, second=0, microsecond=0) - DAY
    world.run(digest, started=eight - 2 * DAY, ended=eight - 2 * DAY + MINUTE)
    recent = Ledger(cursor=world.now - 5 * MINUTE)

    assert own(assess_server(eight + HOUR, ledger=Ledger(cursor=eight + HOUR - 5 * MINUTE))) == {}
    assert set(own(assess_server(eight + DAY + 3 * MINUTE, ledger=recent))) == {DIGEST}


def test_checks_that_fail_in_a_row(prefect_server: Server, world: Seed, check: Deployment) -> None:
    world.run(check, ended=world.now - 20 * MINUTE)
    world.run(check, "FAILED", ended=world.now - 6 * MINUTE, message="StateError: token=hunter2")
    once = assess_server(world.now)
    world.run(check, "CRASHED", ended=world.now - MINUTE, message="token=hunter2")
    twice = assess_server(world.now)

    assert all("ended badly" not in summary for summary in own(once).values())
    assert own(twice) == {CHECK: f"{CHECK}: the last 2 runs of the watchdog itself failed or crashed"}
    assert "hunter2" not in twice.found["watchdog", CHECK].model_dump_json()
    # Own runs appear nowhere else.
    assert {name for name, _ in twice.found} == {"watchdog"}


def test_a_check_that_somebody_has_paused(prefect_server: Server, world: Seed) -> None:
    world.deployment(CHECK, pool=world.pool("watchdog"), schedule="*/5 * * * *", paused=True)
    looked = assess_server(world.now)

    assert own(looked) == {CHECK: f"{CHECK}: this part of the watchdog is paused"}
    assert looked.found["watchdog", CHECK].severity == "info"
    assert looked.status == "ok"


def test_ended_runs_that_cannot_be_read_for_long(prefect_server: Server, world: Seed) -> None:
    def broken(request: object) -> Response | None:
        body = getattr(request, "body", None) or {}
        ended = getattr(request, "path", "") == "/flow_runs/filter" and "after_" in str(body.get("flow_runs", {}))
        return Response("boom", 500) if ended else None

    with relayed(prefect_server.ui_url) as relay:
        relay.answer = broken
        fresh = assess_server(world.now, at=relay.url, ledger=Ledger(cursor=world.now - 30 * MINUTE))
        old = assess_server(world.now, at=relay.url, ledger=Ledger(cursor=world.now - 31 * MINUTE))

    assert own(fresh) == {}
    assert own(old) == {"prefect": "prefect: ended runs have not been read completely for 31 min"}
    assert any(line.startswith("ended-runs: ") for line in old.found["watchdog", "prefect"].evidence)


def test_policy_in_tags(prefect_server: Server, world: Seed) -> None:
    now = world.now

    def plant(name: str, *tags: str) -> None:
        deployment = world.deployment(f"team/{name}", tags=["gold", *tags])
        world.run(deployment, "FAILED", ended=now - MINUTE)
        world.heartbeats(world.run(deployment, "RUNNING", started=now - 3 * HOUR), [now - SECOND])

    plant("plain")
    plant("off", "watchdog:off")
    plant("loud", "watchdog:severity=critical", "watchdog:owner=data")
    plant("fails", "watchdog:expect=failure", "watchdog:max-run-time=2h")
    plant("misspelt", "watchdog:ownr=data")
    looked = assess_server(now)

    assert own(looked) == {"team/misspelt": "team/misspelt: tag 'watchdog:ownr=data' cannot be read and has no effect"}
    assert {(check, name): finding.severity for (check, name), finding in looked.found.items()} == {
        ("failed", "team/plain"): "warning",
        ("failed", "team/loud"): "critical",
        ("slow", "team/fails"): "warning",
        ("failed", "team/misspelt"): "warning",
        ("watchdog", "team/misspelt"): "warning",
    }
    assert looked.found["failed", "team/loud"].owner == "data"


def test_how_old_the_newest_plan_for_a_check_is(prefect_server: Server, world: Seed, check: Deployment) -> None:
    digest = world.deployment(DIGEST, pool=check.pool, schedule="0 8 * * *", updated=world.now - 30 * DAY)
    now = world.now
    assert assess_server(now).assessment.observation.own.planned_at is None
    for ahead in range(5, 65, 5):
        world.run(check, "SCHEDULED", due=now + ahead * MINUTE, created=now - (66 - ahead) * MINUTE)
    for days in (1, 2, 3):
        world.run(digest, "SCHEDULED", due=now + days * DAY, created=now - (4 - days) * DAY)
    # Somebody has one run made by hand, and another deployment has one made just now.
    world.run(check, "SCHEDULED", due=now + DAY, created=now - MINUTE, columns={"auto_scheduled": False})
    world.run(world.deployment("etl/other", schedule="0 * * * *"), "SCHEDULED", due=now + HOUR, created=now - SECOND)
    assert assess_server(now).assessment.observation.own.planned_at == now - 6 * MINUTE
