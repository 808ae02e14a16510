"""Artifacts on a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from demo.stack import Server
from monitoring.adapters.prefect.client.api import Api, open_api
from monitoring.adapters.prefect.publish.artifacts import DIGEST, FINDINGS, HEALTH, PrefectArtifacts
from monitoring.model.coverage import Coverage
from monitoring.model.finding import Finding, Subject
from monitoring.model.observation import ServerState
from monitoring.model.policy import ApiSettings as Settings
from monitoring.model.report import DigestReport, HealthReport
from tests.support.request_log import logged_requests
from tests.support.seeding import Seed

NOW = datetime(2026, 3, 15, 12, tzinfo=timezone.utc)


def report(*, minutes: int = 0, failing: int = 1) -> HealthReport:
    findings = tuple(
        Finding(
            fingerprint=f"prefect/failed/deployment/{n}",
            check="failed",
            severity="warning",
            subject=Subject(kind="deployment", id=str(n), name=f"etl/load-{n}"),
            summary="the latest run failed",
            observed="FAILED",
            expected="COMPLETED",
            since=NOW,
        )
        for n in range(failing)
    )
    return HealthReport(
        target="prefect",
        at=NOW + timedelta(minutes=minutes),
        status="warning",
        server=ServerState(api_url="http://127.0.0.1:4200/api", version="3.8.8"),
        coverage=Coverage(),
        since=NOW - timedelta(hours=24),
        deployments=3,
        active_runs=0,
        ended_runs=1,
        findings=findings,
    )


@pytest.fixture
def api(prefect_server: Server) -> Iterator[Api]:
    with open_api(Settings()) as api:
        yield api


@pytest.fixture
def artifacts(api: Api, seed: Seed) -> PrefectArtifacts:
    return PrefectArtifacts(api, str(seed.run(flow="watchdog-check", state="RUNNING").id))


def stored(api: Api, key: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = api.post("/artifacts/filter", {"artifacts": {"key": {"any_": [key]}}})
    return rows


def latest(api: Api, key: str) -> dict[str, Any]:
    """Return what pages of artifacts show: a copy of the newest version, under an id of its own."""
    (row,) = api.post("/artifacts/latest/filter", {"artifacts": {"key": {"any_": [key]}}})
    return dict(row)


def test_publishes_a_summary_and_a_table_that_belong_to_the_run(api: Api, seed: Seed) -> None:
    run = seed.run(flow="watchdog-check", state="RUNNING")
    published = PrefectArtifacts(api, str(run.id)).publish_health(report(failing=2), {})
    (health,), (findings,) = stored(api, HEALTH), stored(api, FINDINGS)
    assert (health["type"], findings["type"]) == ("markdown", "table")
    assert "etl/load-1" in health["data"]
    assert [row["subject"] for row in json.loads(findings["data"])] == [
        "deployment etl/load-0",
        "deployment etl/load-1",
    ]
    assert all(row["flow_run_id"] == str(run.id) and row["description"] for row in (health, findings))
    assert published.keys() >= {HEALTH, FINDINGS}
    for key, artifact in published.items():
        assert [version.id for version in artifact.versions] == [row["id"] for row in stored(api, key)]
    assert published[HEALTH].versions[0].created == datetime.fromisoformat(health["created"].replace("Z", "+00:00"))


def test_updates_in_place_while_nothing_but_the_time_changes(api: Api, artifacts: PrefectArtifacts) -> None:
    first = artifacts.publish_health(report(), {})
    before, requests = stored(api, HEALTH)[0]["data"], logged_requests(api)
    again = artifacts.publish_health(report(minutes=5), first)
    assert len(requests) == len(first)
    assert again == first
    (health,) = stored(api, HEALTH)
    assert health["data"] != before
    assert latest(api, HEALTH)["data"] == health["data"]
    assert len(stored(api, FINDINGS)) == 1


def test_makes_new_versions_of_both_when_something_changes(api: Api, artifacts: PrefectArtifacts) -> None:
    first = artifacts.publish_health(report(), {"other": artifacts.publish_health(report(), {})[HEALTH]})
    second = artifacts.publish_health(report(failing=2), first)
    for key in (HEALTH, FINDINGS):
        assert second[key].versions[0] == first[key].versions[0]
        assert len(second[key].versions) == 2
        assert latest(api, key)["latest_id"] == second[key].versions[-1].id
    assert second["other"] == first["other"]
    old = api.get(f"/artifacts/{first[HEALTH].versions[0].id}")
    assert "etl/load-1" not in old["data"]


def test_makes_a_new_version_when_somebody_deleted_the_newest(api: Api, artifacts: PrefectArtifacts) -> None:
    first = artifacts.publish_health(report(), {})
    api.request("DELETE", f"/artifacts/{first[HEALTH].versions[0].id}")
    second = artifacts.publish_health(report(minutes=5), first)
    assert [row["id"] for row in stored(api, HEALTH)] == [second[HEALTH].versions[-1].id]
    assert second[FINDINGS] == first[FINDINGS]


def test_every_digest_is_a_new_version(api: Api, artifacts: PrefectArtifacts) -> None:
    digest = DigestReport(health=report(), time_zone="UTC", day=date(2026, 3, 15))
    first = artifacts.publish_digest(digest, {})
    second = artifacts.publish_digest(digest, first)
    assert [version.id for version in second[DIGEST].versions] == [
        first[DIGEST].versions[0].id,
        latest(api, DIGEST)["latest_id"],
    ]
    assert len(stored(api, DIGEST)) == 2
