"""Housekeeping on a real server, beside everything that it must leave alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from demo.stack import Server
from monitoring.adapters.prefect.client.api import Api, open_api
from monitoring.adapters.prefect.publish import housekeeping
from monitoring.adapters.prefect.publish.housekeeping import PrefectHousekeeping
from monitoring.config.general_settings import State as Settings
from monitoring.model.policy import ApiSettings as ServerSettings
from monitoring.model.prefect import CHECK_FLOW, DIGEST_FLOW
from monitoring.model.saved_state import Published, PublishedArtifact
from tests.support.noise import noise
from tests.support.seed_values import HOUR, Run
from tests.support.seeding import Seed

NOW = datetime.now(timezone.utc)
OLD = NOW - timedelta(days=8)


@pytest.fixture
def api(prefect_server: Server) -> Iterator[Api]:
    with open_api(ServerSettings()) as api:
        yield api


def runs(api: Api) -> set[str]:
    found: set[str] = set()
    offset = 0
    # By what was read, not by what was found: the scheduler may add a run meanwhile, and a row come twice.
    while page := api.post("/flow_runs/filter", {"offset": offset, "sort": "NAME_ASC"}):
        found |= {row["id"] for row in page}
        offset += len(page)
    return found


def make_artifact(api: Api, key: str, created: datetime = OLD) -> Published:
    row: dict[str, Any] = api.post("/artifacts/", {"key": key, "type": "markdown", "data": "x"})
    return Published(id=row["id"], created=created)


def tidy(api: Api, published: dict[str, PublishedArtifact] | None = None, run_id: str = "none") -> Any:
    return PrefectHousekeeping(api, Settings(), run_id).tidy(NOW, published or {})


def test_deletes_its_own_old_finished_runs_and_nothing_else(api: Api, seed: Seed) -> None:
    noise(seed)
    check = seed.deployment(f"{CHECK_FLOW}/check")
    long_ago, just_over, just_under = NOW - 400 * HOUR, NOW - 24.1 * HOUR, NOW - 23.9 * HOUR
    states = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
    gone = [seed.run(check, state, ended=ended) for state in states for ended in (long_ago, just_over)]
    by_hand = seed.run(flow=CHECK_FLOW, ended=just_over)
    this = seed.run(check, "COMPLETED", ended=long_ago)

    kept = [seed.run(check, state, ended=just_under) for state in states]
    kept += [seed.run(check, state, since=long_ago) for state in ("RUNNING", "PENDING", "PAUSED", "CANCELLING")]
    kept.append(seed.run(check, "SCHEDULED", due=long_ago))
    for flow in ("load", DIGEST_FLOW, f"{CHECK_FLOW}-2", f"my-{CHECK_FLOW}", CHECK_FLOW.title()):
        other = seed.deployment(f"{flow}/check")
        kept += [seed.run(other, ended=long_ago), seed.run(flow=flow, ended=just_over)]
    child = seed.run(flow="load", ended=just_over, parent=gone[0])

    everything = runs(api)
    expected = everything - {str(run.id) for run in (*gone, by_hand)}
    assert {str(run.id) for run in (*kept, this, child)} <= expected
    # The server's own scheduler adds runs of the noise at any time.
    tidy(api, run_id=str(this.id))
    assert runs(api) & everything == expected
    tidy(api, run_id=str(this.id))
    assert runs(api) & everything == expected


def test_a_server_that_ignores_the_filters_loses_nobody_elses_runs(
    api: Api, seed: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = seed.run(seed.deployment(f"{CHECK_FLOW}/check"), ended=NOW - 30 * HOUR)
    seed.run(seed.deployment(f"{CHECK_FLOW}/other"), ended=NOW - HOUR)
    seed.run(seed.deployment("load/nightly"), ended=NOW - 30 * HOUR)
    everything, post = runs(api), api.post

    def unfiltered(path: str, body: dict[str, Any]) -> Any:
        return post(path, {"sort": body["sort"]} if path == "/flow_runs/filter" else body)

    monkeypatch.setattr(api, "post", unfiltered)
    tidy(api)
    monkeypatch.undo()
    assert runs(api) == everything - {str(gone.id)}


def test_deletes_a_bounded_number_at_a_time(api: Api, seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "MAX_DELETIONS", 5)
    check = seed.deployment(f"{CHECK_FLOW}/check")
    seed.many(Run(deployment=check, ended=NOW - 30 * HOUR - n * HOUR, history=()) for n in range(12))
    left = []
    for _ in range(4):
        tidy(api)
        left.append(len(runs(api)))
    assert left == [7, 2, 0, 0]


def test_on_a_server_without_a_check_there_is_nothing_to_do(api: Api, seed: Seed) -> None:
    noise(seed)
    before = runs(api)
    assert tidy(api) == {}
    assert runs(api) & before == before


def test_deletes_old_versions_that_it_made_and_never_the_newest(api: Api) -> None:
    ours = [make_artifact(api, "watchdog-health", created) for created in (OLD, OLD, NOW - HOUR, NOW)]
    digest = make_artifact(api, "watchdog-digest")
    foreign = [make_artifact(api, key) for key in ("watchdog-health", "watchdog-health-2", "report")]
    published = {
        "watchdog-health": PublishedArtifact(identity="h", versions=tuple(ours)),
        "watchdog-digest": PublishedArtifact(identity="d", versions=(digest,)),
        "watchdog-findings": PublishedArtifact(identity="f", versions=()),
    }
    # Somebody was quicker with one of them.
    api.request("DELETE", f"/artifacts/{ours[0].id}")
    after = tidy(api, published)
    assert after["watchdog-health"] == PublishedArtifact(identity="h", versions=tuple(ours[2:]))
    assert (after["watchdog-digest"], after["watchdog-findings"]) == (
        published["watchdog-digest"],
        published["watchdog-findings"],
    )
    left = {row["id"] for row in api.post("/artifacts/filter", {})}
    assert left == {version.id for version in (*ours[2:], digest, *foreign)}


def test_an_artifact_outlives_the_run_that_made_it(api: Api, seed: Seed) -> None:
    run = seed.run(seed.deployment(f"{CHECK_FLOW}/check"), ended=NOW - 30 * HOUR)
    made = api.post("/artifacts/", {"key": "watchdog-health", "data": "x", "flow_run_id": str(run.id)})
    tidy(api)
    assert runs(api) == set()
    assert api.get(f"/artifacts/{made['id']}")["data"] == "x"
