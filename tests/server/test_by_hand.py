"""A check by hand beside a deployed watchdog: it knows what that one knows, and changes nothing of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from werkzeug import Response

from demo.stack import Server, prefect_env
from monitoring.adapters.prefect.client.api import Api, open_api
from monitoring.adapters.prefect.store.documents import Documents
from monitoring.adapters.prefect.store.state import BlockState
from monitoring.config.general_settings import State as Settings
from monitoring.model.policy import ApiSettings
from tests.support.command_line import CommandResult, watchdog
from tests.support.killing import Checks
from tests.support.paths import PROJECT
from tests.support.relay import Relay, relayed
from tests.support.seed_values import HOUR, MINUTE, Run
from tests.support.seeding import Seed

SCHEMA = json.loads((PROJECT / "monitoring" / "messages" / "check.schema.json").read_text())
DAY = 24 * HOUR
#: Seeded history has no events, and its late runs were not marked. The channel has no token: the route fails.
SETTINGS = {
    "WATCHDOG_SERVER__LATE_MARKING": "36500d",
    "WATCHDOG_SERVER__EVENTS_MISSING": "36500d",
    "WATCHDOG_SLACK__CHANNEL": "alerts",
}


class Watched:
    """A server with background noise and a deployed watchdog, whose checks run here."""

    def __init__(self, server: Server, world: Seed, folder: Path, api: Api) -> None:
        self.server, self.world, self.folder, self.api = server, world, folder, api
        self._checks = Checks(server, folder / "checks", SETTINGS)

    def rename(self, name: str) -> None:
        """Give the server another name in the configuration of the deployed watchdog."""
        self.stop()
        self._checks = Checks(self.server, self.folder / "checks", {**SETTINGS, "WATCHDOG_TARGET__NAME": name})

    def check(self) -> None:
        """Let the deployed watchdog check."""
        ended = self._checks.run().ended
        assert (ended or "").startswith("COMPLETED"), ended

    def rows(self) -> dict[str, dict[str, Any]]:
        """What the deployed check found, by fingerprint."""
        key = {"artifacts": {"key": {"any_": ["watchdog-findings"]}}, "sort": "CREATED_DESC", "limit": 1}
        [artifact] = self.api.post("/artifacts/filter", key)
        return {row["fingerprint"]: row for row in json.loads(artifact["data"])}

    def run(self, *words: str, url: str | None = None, **env: str) -> CommandResult:
        """Run a command by hand, perhaps through a relay."""
        place = prefect_env(self.folder, url or self.server.api_url, {**SETTINGS, **env})
        return watchdog(*words, env=place, cwd=self.folder)

    def by_hand(self, *words: str, url: str | None = None, **env: str) -> dict[str, Any]:
        """The JSON of a check by hand."""
        result = self.run("check", "--json", *words, url=url, **env)
        report: dict[str, Any] = result.report
        jsonschema.validate(report, SCHEMA)
        return report

    def shown(self, *words: str) -> str:
        """What a command prints where no cell of a table is wrapped, in one line."""
        return " ".join(self.run(*words, COLUMNS="500").stdout.split())

    def documents(self) -> dict[str, str | None]:
        """Every document that the watchdog keeps, except requests."""
        documents = Documents(self.api)
        return {name: documents.read(name) for name in documents.names()}

    def age(self, by: timedelta, now: datetime) -> None:
        """Let the last check have been so long ago."""
        state = BlockState(Documents(self.api), Settings(), now)
        before, _ = state.load()
        ledger = before.ledger.model_copy(update={"cursor": now - by})
        state.save(before, before.model_copy(update={"ledger": ledger}))

    def stop(self) -> None:
        """End the process that runs the checks."""
        self._checks.stop()


@pytest.fixture
def api(prefect_server: Server) -> Iterator[Api]:
    with open_api(ApiSettings()) as api:
        yield api


@pytest.fixture
def watched(prefect_server: Server, world: Seed, tmp_path: Path, api: Api) -> Iterator[Watched]:
    watched = Watched(prefect_server, world, tmp_path, api)
    yield watched
    watched.stop()


def reads(relay: Relay) -> int:
    """How many requests passed; the client's own for a CSRF token are no reads."""
    return sum(request.path != "/csrf-token" for request in relay.requests)


def test_a_failure_that_nobody_mended_does_not_become_a_success(watched: Watched) -> None:
    world, closed = watched.world, "paused while failing"
    broken = world.deployment("etl/nightly", schedule="0 2 * * *")
    world.run(broken, ended=world.now - 22 * HOUR)
    for ago in (20, 10, 2):
        world.run(broken, "FAILED", ended=world.now - ago * HOUR)
    # Its process has ended, before a scheduled time.
    gone = world.now - 2 * HOUR
    world.deployment("etl/served", schedule="0 * * * *", paused=True, updated=gone, polled=gone)
    world.deployment("etl/by-a-person", schedule="0 * * * *", paused=True, updated=gone, polled=gone + HOUR)
    watched.check()
    found = {(row["check"], row["subject"]): row["incident"] for row in watched.rows().values()}
    number = found["failed", "deployment etl/nightly"]
    assert found["paused", "deployment etl/served"]
    assert ("paused", "deployment etl/by-a-person") not in found

    watched.api.request("POST", f"/deployments/{broken.id}/pause_deployment")
    watched.check()
    report = watched.by_hand()
    assert {(finding["check"], finding["deployment"]) for finding in report["findings"] if finding["incident"]} == {
        ("paused", "etl/served"),
        ("watchdog", None),
    }
    for words in (("list", "--all"), ("show", number)):
        assert f"({closed})" in watched.shown("incidents", *words)
        assert "resolved" not in watched.shown("incidents", *words)
    kept = watched.run("incidents", "show", number, "--json").report
    assert (kept["resolution"], kept["time_to_resolve"]) == ("paused-while-failing", None)
    digest = watched.shown("digest")
    assert "1 incident was closed though nobody mended anything." in digest
    assert "Closed without being mended in the last 24 hours (1)" in digest


def test_agrees_with_the_deployed_check(watched: Watched) -> None:
    world = watched.world
    broken = world.deployment("etl/nightly")
    world.run(broken, ended=world.now - 30 * HOUR)
    for ago in (20, 10, 2):
        world.run(broken, "FAILED", ended=world.now - ago * HOUR, message="ValueError: no rows")
    ghost = world.run(world.deployment("etl/ghost"), "CANCELLED", ended=world.now - HOUR, run_count=1)
    world.heartbeats(ghost, [world.now - MINUTE])
    quick = world.deployment("etl/quick")
    world.many(
        Run(deployment=quick, started=end - HOUR, ended=end) for end in (world.now - n * HOUR for n in range(2, 12))
    )
    world.run(quick, ended=world.now - HOUR)
    # It ran every six hours until it was paused three weeks ago.
    resumed = world.deployment("etl/resumed", schedule="0 */6 * * *", paused=True, created=world.now - 60 * DAY)
    world.run(resumed, ended=world.now - 21 * DAY, due=world.now - 21 * DAY)
    watched.check()
    watched.api.request("PATCH", f"/deployments/{resumed.id}", json={"paused": False})
    [number] = [row["incident"] for row in watched.rows().values() if row["check"] == "failed"]
    assert watched.run("incidents", "ack", number, "--by", "ana").status == 0
    assert (
        watched.run("silence", "add", "--check", "watchdog", "--for", "2h", "--by", "bo", "--reason", "x").status == 0
    )
    # The first check finds that the route fails, the second that it still does, and applies what was requested.
    watched.check()
    watched.check()
    deployed, before = watched.rows(), watched.documents()
    with relayed(watched.server.ui_url) as relay:
        report = watched.by_hand(url=relay.url)
        later = reads(relay)
    found = {finding["fingerprint"]: finding for finding in report["findings"]}

    assert {(row["check"], row["severity"], row["subject"]) for row in deployed.values()} >= {
        ("failed", "critical", "deployment etl/nightly"),
        ("ghost", "warning", "deployment etl/ghost"),
        ("suspicious", "info", "deployment etl/quick"),
        ("watchdog", "critical", "route default"),
    }
    assert not [row for row in deployed.values() if "etl/resumed" in row["subject"] and row["severity"] != "info"]
    same = ("check", "severity", "incident", "symptom_of")
    assert {key: [row[name] for name in same] for key, row in found.items()} == {
        key: [row[name] for name in same] for key, row in deployed.items()
    }
    assert {key: row["flow_run_count"] for key, row in found.items()} == {
        key: row["runs"] for key, row in deployed.items()
    }
    assert {key: row["since"][:16].replace("T", " ") + " UTC" for key, row in found.items()} == {
        key: row["since"] for key, row in deployed.items()
    }
    [failed] = [finding for finding in found.values() if finding["check"] == "failed"]
    [route] = [finding for finding in found.values() if finding["check"] == "watchdog"]
    assert (failed["incident"], failed["acknowledged_by"], failed["silenced_until"]) == (number, "ana", None)
    assert route["silenced_until"] is not None
    assert (report["saved_state"]["use"], report["saved_state"]["detail"]) == ("used", None)

    # Without the saved state, a deployment's history is searched again.
    with relayed(watched.server.ui_url) as relay:
        fresh = watched.by_hand("--fresh", url=relay.url)
        assert later < reads(relay)
        assert not [request for request in relay.requests if "ledger" in str(request.body)]
    assert (fresh["saved_state"]["use"], fresh["saved_state"]["detail"]) == ("fresh", "--fresh")
    assert {finding["incident"] for finding in fresh["findings"]} == {None}
    assert "watchdog" not in {finding["check"] for finding in fresh["findings"]}

    table = watched.shown("check")
    assert f"{number} etl/nightly" in table
    assert "acknowledged by ana" in table
    assert "silenced by S-1 until" in table
    assert ", with the saved state of the check " in table
    assert ", without saved state: --fresh." in watched.shown("check", "--fresh")
    digest = watched.shown("digest")
    assert f"{number} etl/nightly" in digest
    assert "acknowledged by ana" in digest
    assert "with the saved state of the check" in digest
    assert "without saved state: --fresh" in watched.shown("digest", "--fresh")
    explained = watched.shown("explain", "etl/resumed")
    assert "Explained with the saved state of the check" in explained
    assert "Explained without saved state: --fresh." in watched.shown("explain", "etl/resumed", "--fresh")
    assert watched.documents() == before


@pytest.mark.parametrize("words", [("--window", "3h"), ("--at", "2026-03-10T02:00:00Z")])
def test_another_period_is_looked_at_without_the_saved_state(watched: Watched, words: tuple[str, str]) -> None:
    watched.world.run(watched.world.deployment("etl/nightly"), "FAILED", ended=watched.world.now - HOUR)
    watched.check()
    report = watched.by_hand(*words)
    assert report["saved_state"] == {"use": "fresh", "checked_at": None, "detail": words[0]}
    assert {finding["incident"] for finding in report["findings"]} <= {None}


def test_none_is_saved(watched: Watched) -> None:
    watched.world.run(watched.world.deployment("etl/nightly"), "FAILED", ended=watched.world.now - HOUR)
    assert watched.by_hand()["saved_state"] == {"use": "none", "checked_at": None, "detail": None}
    assert "without saved state: none is saved." in watched.shown("check")


def _of_a_newer_version(documents: Documents) -> None:
    documents.write("ledger", json.dumps({"schema": 99, "data": {}}))


def _truncated(documents: Documents) -> None:
    body = documents.read("ledger")
    assert body
    documents.write("ledger", body[: len(body) // 2])


@pytest.mark.parametrize(
    ("harm", "why", "complete"),
    [
        # What a newer watchdog knows, this one does not; what it sees is all the same right.
        pytest.param(_of_a_newer_version, "was written by a newer watchdog (schema 99", True, id="newer"),
        # The next deployed check sets it aside, and says that its status is unknown.
        pytest.param(_truncated, "watchdog-document/ledger cannot be read", False, id="broken"),
    ],
)
def test_state_that_cannot_be_read(
    watched: Watched, harm: Callable[[Documents], None], why: str, complete: bool
) -> None:
    watched.world.run(watched.world.deployment("etl/nightly"), "FAILED", ended=watched.world.now - HOUR)
    watched.check()
    harm(Documents(watched.api))
    before = watched.documents()
    result = watched.run("check", "--json")
    report = result.report
    jsonschema.validate(report, SCHEMA)
    assert [finding["check"] for finding in report["findings"] if finding["deployment"]] == ["failed"]
    assert report["saved_state"]["use"] == "unreadable"
    assert why in report["saved_state"]["detail"]
    assert result.stderr.startswith("The saved state cannot be read: ")
    assert why in result.stderr
    assert report["coverage"]["complete"] == complete
    assert "without saved state: it cannot be read: " in watched.shown("check")
    assert watched.run("digest").status == 0
    assert watched.run("explain", "etl/nightly").status == 0
    assert watched.documents() == before


def test_a_key_that_may_not_read_blocks(watched: Watched) -> None:
    watched.world.run(watched.world.deployment("etl/nightly"), "FAILED", ended=watched.world.now - HOUR)
    watched.check()
    with relayed(watched.server.ui_url) as relay:
        relay.answer = lambda request: Response("{}", 403) if request.path.startswith("/block_documents") else None
        # The configuration in a file: a pushed one could not be read either.
        (watched.folder / "watchdog.yaml").write_text("late: {after: 10m}\n")
        report = watched.by_hand(url=relay.url)
    assert report["coverage"]["complete"]
    assert report["saved_state"]["use"] == "unreadable"
    assert "refuses requests without credentials (403)" in report["saved_state"]["detail"]


def test_checks_that_stopped_days_ago(watched: Watched) -> None:
    """To continue where they stopped would mean to read all that has ended since."""
    world = watched.world
    broken = world.deployment("etl/nightly")
    world.run(broken, "FAILED", ended=world.now - HOUR)
    watched.check()
    [number] = [row["incident"] for row in watched.rows().values() if row["check"] == "failed"]
    world.run(world.deployment("etl/long-ago"), "FAILED", ended=world.now - 3 * DAY)
    watched.age(5 * DAY, world.now)
    report = watched.by_hand()
    assert report["saved_state"]["use"] == "old"
    # The incidents are still open.
    assert [(found["deployment"], found["incident"]) for found in report["findings"] if found["check"] == "failed"] == [
        ("etl/nightly", number)
    ]
    line = watched.shown("check")
    assert "without saved state: it is of the check 5 d ago, " in line
    assert "longer ago than target.window" in line
    # Within the window it is continued.
    assert watched.by_hand(WATCHDOG_TARGET__WINDOW="6d")["saved_state"]["use"] == "used"


def test_another_name_for_the_server_changes_no_incident(watched: Watched) -> None:
    world = watched.world
    world.run(world.deployment("etl/nightly"), "FAILED", ended=world.now - HOUR)
    world.run(world.deployment("late/nobody", pool=world.pool("nobody")), "Late", due=world.now - HOUR)
    # Neither has the route that fails an id in Prefect.
    watched.check()
    watched.check()
    before = watched.rows()
    watched.rename("prod")
    watched.check()
    after = watched.rows()

    def kept(rows: dict[str, dict[str, Any]]) -> dict[str, list[Any]]:
        return {key: [row[name] for name in ("incident", "since", "symptom_of")] for key, row in rows.items()}

    assert kept(after) == kept(before)
    assert len([row for row in after.values() if row["incident"]]) >= 3
    listed = json.loads(watched.run("incidents", "list", "--all", "--json").stdout)
    assert {incident["status"] for incident in listed["incidents"]} == {"firing"}
    # By hand too, whatever it is called there.
    for name in ("prod", "third"):
        report = watched.by_hand(WATCHDOG_TARGET__NAME=name)
        assert report["target"] == name
        assert {found["fingerprint"]: found["incident"] for found in report["findings"]} == {
            key: row["incident"] for key, row in after.items()
        }


def test_a_wiped_server_is_another_one(watched: Watched) -> None:
    """At the same address, under the same name, and with the same deployments."""
    watched.world.run(watched.world.deployment("etl/nightly"), "FAILED", ended=watched.world.now - HOUR)
    watched.check()
    [before] = [key for key, row in watched.rows().items() if row["check"] == "failed"]
    documents = Documents(watched.api)
    for name in documents.names():
        documents.delete(name)
    watched.check()
    [after] = [key for key, row in watched.rows().items() if row["check"] == "failed"]
    identity, _, what = after.partition("/")
    assert before.partition("/")[2] == what
    assert identity != before.partition("/")[0]


def test_a_server_that_is_not_there(watched: Watched) -> None:
    (watched.folder / "watchdog.yaml").write_text("late: {after: 10m}\n")
    result = watched.run("check", "--json", url="http://127.0.0.1:1/api")
    assert result.status == 2
    assert result.stderr == ""
    assert [finding["check"] for finding in result.report["findings"]] == ["server"]
    assert result.report["saved_state"] is None
    assert watched.run("digest", url="http://127.0.0.1:1/api").status == 3
