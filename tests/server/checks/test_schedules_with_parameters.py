"""Schedules with parameters of their own: each is judged for itself, and the digest names every failure."""

from __future__ import annotations

import re
from datetime import timedelta

from prefect.server.schemas.schedules import CronSchedule

from demo.stack import Server
from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.read.reader import ServerReader
from monitoring.adapters.prefect.read.rows import deployment as as_deployment
from monitoring.adapters.prefect.read.rows import flow_run
from monitoring.messages.plain import plain
from monitoring.messages.report_messages import digest_message
from monitoring.model.coverage import Coverage
from monitoring.model.ledger import Ledger
from monitoring.model.report import DigestReport
from monitoring.model.saved_state import SavedState
from monitoring.model.target import Target
from monitoring.text.redaction import Redactor
from monitoring.usecases.digest import digest_report
from tests.support.assessment import assess_server
from tests.support.builders import policies
from tests.support.seed_values import DAY, HOUR, MINUTE, Deployment, Run, Schedule
from tests.support.seeding import Seed

WINDOW = {"window": "14d"}


def regional(world: Seed, name: str) -> Deployment:
    """A deployment that runs twice a night, once for each region."""
    nightly = {region: CronSchedule(cron=f"{minute} 2 * * *", timezone="UTC") for region, minute in _MINUTES.items()}
    schedules = [Schedule(cron, parameters={"region": region}) for region, cron in nightly.items()]
    return world.deployment(name, schedules=schedules, updated=world.now - 30 * DAY)


_MINUTES = {"eu": 0, "us": 5}


def nights(world: Seed, deployment: Deployment, region: str, state: str, count: int, ago: timedelta) -> None:
    """Runs of so many nights, the last one so long ago."""
    world.many(
        Run(deployment=deployment, state=state, ended=world.now - ago - night * DAY, parameters={"region": region})
        for night in range(count)
    )


def digest(world: Seed) -> DigestReport:
    """The digest of a watchdog without a saved state."""
    expected = policies(target=WINDOW)
    with open_api(expected.config.server, Target()) as api:
        reader = ServerReader(api, expected.config, Redactor(()).redact)
        return digest_report(reader, SavedState(), Coverage(), expected, world.now)


def test_the_success_of_one_schedule_does_not_hide_the_failures_of_another(prefect_server: Server, world: Seed) -> None:
    regions = regional(world, "etl/regions")
    nights(world, regions, "eu", "FAILED", 10, 3 * HOUR)
    nights(world, regions, "us", "COMPLETED", 10, 3 * HOUR - 5 * MINUTE)
    found = assess_server(world.now, target=WINDOW).found["failed", "etl/regions"]
    assert (found.severity, found.flow_run_count) == ("critical", 10)
    assert found.since == world.now - 3 * HOUR - 9 * DAY
    assert "the last 10 runs with region=eu failed" in found.summary


def test_a_deployed_watchdog_follows_each_schedule_from_check_to_check(prefect_server: Server, world: Seed) -> None:
    regions = regional(world, "etl/regions")
    nights(world, regions, "eu", "FAILED", 1, 3 * HOUR)
    nights(world, regions, "us", "COMPLETED", 1, 2 * HOUR)
    now, seen = world.now, assess_server(world.now)
    assert seen.found["failed", "etl/regions"].flow_run_count == 1

    # A night later, after a `prefect deploy`, which makes every schedule anew.
    prefect_server.request("DELETE", f"/deployments/{regions.id}/schedules/{_schedule_ids(prefect_server, regions)[0]}")
    again = {"schedule": {"cron": "0 3 * * *", "timezone": "UTC"}, "active": True, "parameters": {"region": "eu"}}
    prefect_server.request("POST", f"/deployments/{regions.id}/schedules", [again])
    world.run(regions, "FAILED", ended=now + MINUTE, parameters={"region": "eu"})
    world.run(regions, ended=now + 2 * MINUTE, parameters={"region": "us"})
    later = assess_server(now + 3 * MINUTE, ledger=_saved(seen.assessment.ledger))
    assert later.found["failed", "etl/regions"].flow_run_count == 2

    world.run(regions, ended=now + 4 * MINUTE, parameters={"region": "eu"})
    mended = assess_server(now + 5 * MINUTE, ledger=_saved(later.assessment.ledger)).found
    assert ("failed", "etl/regions") not in mended


def _saved(ledger: Ledger) -> Ledger:
    return Ledger.model_validate_json(ledger.model_dump_json())


def _schedule_ids(server: Server, deployment: Deployment) -> list[str]:
    rows = server.request("GET", f"/deployments/{deployment.id}")["schedules"]
    return [row["id"] for row in rows if row["parameters"] == {"region": "eu"}]


def test_the_runs_that_the_scheduler_makes_are_known_by_their_parameters(prefect_server: Server, world: Seed) -> None:
    regions = regional(world, "etl/regions")
    prefect_server.request("POST", f"/deployments/{regions.id}/schedule", {})
    row = prefect_server.request("GET", f"/deployments/{regions.id}")
    made = prefect_server.request("POST", "/flow_runs/filter", {"deployments": {"id": {"any_": [str(regions.id)]}}})
    deployment = as_deployment(row, "etl", str)
    names = {}
    for run in made:
        own = deployment.parameters_of(flow_run(run, str, str))
        names[run["parameters"]["region"]] = own and own.name
    assert names == {"eu": "region=eu", "us": "region=us"}


def test_secrets_in_the_parameters_of_schedules_are_not_shown(prefect_server: Server, world: Seed) -> None:
    nightly = CronSchedule(cron="0 2 * * *", timezone="UTC")
    schedules = [Schedule(nightly, parameters={"password": secret}) for secret in ("hunter2", "hunter3")]
    deployment = world.deployment("etl/secret", schedules=schedules)
    world.run(deployment, "FAILED", ended=world.now - HOUR, parameters={"password": "hunter2"})
    found = assess_server(world.now).found["failed", "etl/secret"]
    # What is alike when redacted is told apart by a number.
    assert re.search(r"with password=REDACTED( \(2\))? failed", found.summary)
    assert "hunter" not in found.model_dump_json()


def test_a_digest_names_failures_that_are_over(prefect_server: Server, world: Seed) -> None:
    recovered, failing = world.deployment("etl/recovered"), world.deployment("etl/failing")
    yesterday = world.now - DAY
    for number in range(3):
        world.run(recovered, "FAILED", ended=yesterday + number * MINUTE)
    world.run(recovered, "CRASHED", ended=yesterday + 3 * MINUTE)
    world.run(recovered, ended=yesterday + 4 * MINUTE)
    _, green = plain(digest_message(digest(world)))
    assert "Nothing is wrong now, but 4 runs of 1 deployment failed or crashed since yesterday began." in green
    assert "etl/recovered" in green

    world.run(failing, "FAILED", ended=world.now - HOUR)
    report = digest(world)
    assert [(row.name, row.failed, row.crashed) for row in report.recovered] == [("etl/recovered", 3, 1)]
    assert report.recovered[0].url == f"{prefect_server.ui_url}/deployments/deployment/{recovered.id}"


def test_a_digest_of_a_green_day_asks_for_no_failures(prefect_server: Server, world: Seed) -> None:
    world.run(world.deployment("etl/good"), ended=world.now - HOUR)
    report = digest(world)
    assert report.recovered == ()
    assert "recent-failures" not in {query.name for query in report.health.coverage.queries}
