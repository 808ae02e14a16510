"""The line through the whole house: real runs, a real worker, what the server holds afterwards, and what Slack got."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.blocks.system import Secret
from pytest_httpserver import HTTPServer

from demo.stack import free_port
from monitoring.adapters.slack.digest import EVENT_TYPE
from tests.support.house import (
    CHECK,
    DIGEST,
    POOL,
    House,
    foreign_repository,
    pause_schedules,
    prefect,
    worker_beside,
)
from tests.support.noise import noise
from tests.support.paths import PROJECT
from tests.support.seeding import Seed
from tests.support.servers import Emptier, connected, start_server
from tests.support.slack import SlackEmulator

TOKEN = "xoxb-very-secret-token"
JSON_LOGS = {"WATCHDOG_LOGS__FORMAT": "json"}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign_repository(tmp_path_factory.mktemp("foreign") / "repository")


@pytest.fixture(scope="module")
def _deployed(tmp_path_factory: pytest.TempPathFactory, foreign: Path) -> Iterator[tuple[House, Emptier]]:
    server = start_server(tmp_path_factory.mktemp("house"))
    worker = worker_beside(server, foreign)
    try:
        prefect(server, "work-pool", "create", POOL, "--type", "process", cwd=PROJECT)
        prefect(server, "deploy", "--all", cwd=PROJECT)
        pause_schedules(server)
        worker.start()
        worker.wait_online()
        yield House(server, worker), Emptier(server)
    finally:
        worker.stop()
        server.stop()


@pytest.fixture
def house(_deployed: tuple[House, Emptier]) -> House:
    """The watchdog deployed among healthy things, and nothing remembered."""
    found, empty = _deployed
    empty()
    noise(Seed(found.server.database_url))
    return found


def slack_at(address: str, token: str | None = TOKEN) -> dict[str, str]:
    env = {"WATCHDOG_SLACK__API_URL": address, "WATCHDOG_SLACK__CHANNEL": "digest"}
    return env | ({"WATCHDOG_SLACK_TOKEN": token} if token else {})


def events(house: House, run: str, target: str | None = "prefect") -> list[str]:
    """The events that a run with its logs as JSON has written, each with the run's id and the target's name."""
    house.log(run)
    written = [json.loads(line) for line in house.worker.log.read_text().splitlines() if line.startswith("{")]
    lines = [line for line in written if line["run"] == run]
    assert {line.get("target") for line in lines} == {target}
    return [line["event"] for line in lines]


def blocks(message: dict[str, Any]) -> str:
    return json.dumps(message["blocks"], ensure_ascii=False)


def test_a_failure_is_found_kept_published_resolved_and_told(
    house: House, tmp_path: Path, slack_emulator: SlackEmulator
) -> None:
    house.workload(tmp_path)
    assert house.run("etl/nightly", {"fail": True})[0] == "FAILED"

    state, message = house.run(CHECK)
    assert state == "COMPLETED", message
    assert "1 warning" in message
    [found] = house.findings()
    assert (found["check"], found["severity"], found["subject"]) == ("failed", "warning", "deployment etl/nightly")
    health = house.artifact("watchdog-health")
    assert "etl/nightly" in health["data"]
    assert "noise" not in health["data"]
    [incident] = house.documents()["incidents"]["data"]["open"].values()
    assert incident["number"] == 1
    assert incident["finding"]["subject"]["name"] == "etl/nightly"
    assert "hunter2" not in json.dumps(house.documents()) + json.dumps(health) + json.dumps(house.findings())

    house.run(CHECK)
    assert house.artifact("watchdog-health")["id"] == health["id"]
    assert house.artifact("watchdog-health")["data"] != health["data"], "when it was made has changed"
    assert house.versions("watchdog-findings") == 1

    assert house.run("etl/nightly", {"fail": False})[0] == "COMPLETED"
    house.run(CHECK)
    assert house.findings() == []
    assert house.artifact("watchdog-health")["id"] != health["id"]
    documents = house.documents()
    assert documents["incidents"]["data"]["open"] == {}
    [month] = [name for name in documents if name.startswith("closed-")]
    [closed] = documents[month]["data"]
    assert (closed["finding"]["subject"]["name"], closed["resolution"]) == ("etl/nightly", "succeeded")

    state, message = house.run(DIGEST, env=slack_at(slack_emulator.base_url, slack_emulator.token))
    assert state == "COMPLETED", message
    [posted] = slack_emulator.messages("digest")
    assert "OK" in posted["text"]
    assert posted["metadata"]["event_type"] == EVENT_TYPE
    assert "etl/nightly" in blocks(posted)
    assert "succeeded" in blocks(posted)
    assert "etl/nightly" in house.artifact("watchdog-digest")["data"]


def test_a_green_day_is_posted_with_the_token_of_a_secret_block(house: House, slack_emulator: SlackEmulator) -> None:
    with connected(house.server):
        Secret(value=slack_emulator.token).save("watchdog-slack-token")

    state, message = house.run(DIGEST, env=slack_at(slack_emulator.base_url, token=None))

    assert (state, message) == ("COMPLETED", "Nothing is wrong.")
    [posted] = slack_emulator.messages("digest")
    assert posted["blocks"][0]["type"] == "header"
    assert "Nothing is wrong." in blocks(posted)
    assert "Days begin and end in UTC" in blocks(posted)


def test_without_a_token_the_digest_is_an_artifact_and_says_so_once(house: House, httpserver: HTTPServer) -> None:
    run = house.start(DIGEST, env=slack_at(httpserver.url_for("/api/"), token=None) | JSON_LOGS)
    assert house.wait(run) == ("COMPLETED", "Nothing is wrong.")
    [line] = [line for line in house.log(run) if line.startswith("digest not posted: no Slack token")]
    assert "WATCHDOG_SLACK_TOKEN" in line
    assert "watchdog-slack-token" in line
    assert events(house, run) == ["digest not posted", "digest completed"]
    assert "Nothing is wrong." in house.artifact("watchdog-digest")["data"]
    assert httpserver.log == []


def test_a_refused_token_fails_the_run_in_one_line_and_shows_nowhere(house: House, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/api/chat.postMessage").respond_with_json({"ok": False, "error": "invalid_auth"})
    said_before = len(house.worker.log.read_text())
    run = house.start(DIGEST, env=slack_at(httpserver.url_for("/api/")) | JSON_LOGS)
    state, message = house.wait(run)
    assert state == "FAILED"
    assert "invalid_auth" in message
    assert "WATCHDOG_SLACK_TOKEN" in message
    log = house.log(run)
    said = [line for line in log if "invalid_auth" in line and not line.startswith("Finished in state")]
    assert said == [f"digest failed: {message}"]
    assert events(house, run) == ["digest failed"]
    assert "Traceback" not in "\n".join(log) + house.worker.log.read_text()[said_before:]
    assert "Nothing is wrong." in house.artifact("watchdog-digest")["data"]
    assert len(httpserver.log) == 1, "a refused token is refused again"

    # The token was in the run's own settings; the server shows those, and nothing else does.
    held = house.everything()
    shown = json.dumps(house.server.request("GET", f"/flow_runs/{run}")["job_variables"])
    assert TOKEN in shown
    assert held.count(TOKEN) == shown.count(TOKEN)


def test_a_busy_slack_is_tried_again_and_told_once(house: House, httpserver: HTTPServer) -> None:
    httpserver.expect_ordered_request("/api/chat.postMessage").respond_with_data("upstream is down", status=503)
    httpserver.expect_ordered_request("/api/chat.postMessage").respond_with_json({"ok": True, "ts": "1.2"})
    run = house.start(DIGEST, env=slack_at(httpserver.url_for("/api/")) | JSON_LOGS)
    assert house.wait(run) == ("COMPLETED", "Nothing is wrong.")
    assert [response.status_code for _, response in httpserver.log] == [503, 200]
    assert [line for line in house.log(run) if line.startswith("digest post failed retry_seconds=5: Slack")]
    assert events(house, run) == ["digest post failed", "digest completed"]
    assert house.versions("watchdog-digest") == 1


def test_parameters_change_the_outcome(house: House, tmp_path: Path) -> None:
    house.workload(tmp_path)
    failed = house.start("etl/nightly", {"fail": True})
    # Two days begin and end apart from each other somewhere on earth at any time.
    far = house.start(DIGEST, {"time_zone": "Pacific/Kiritimati"})
    assert house.wait(failed)[0] == "FAILED"

    assert house.run(CHECK, {"overrides": {"failed": {"enabled": False}}}) == ("COMPLETED", "Nothing is wrong.")
    assert house.findings() == []
    house.run(CHECK, {"overrides": {"failed": {"critical_after": 1}}})
    assert [found["severity"] for found in house.findings()] == ["critical"]

    with pytest.raises(httpx.HTTPStatusError, match="409"):
        house.start(CHECK, {"overrides": {"failed": {"critical_aftr": 1}}})

    assert house.wait(far)[0] == "COMPLETED"
    assert "Days begin and end in Pacific/Kiritimati" in house.artifact("watchdog-digest")["data"]


def test_the_watchdogs_own_runs_are_neither_found_nor_counted(house: House) -> None:
    assert house.run(CHECK)[0] == "COMPLETED"
    health = house.artifact("watchdog-health")
    runs = [house.start(flow, env={"WATCHDOG_LATE__AFTER": "soon", **JSON_LOGS}) for flow in (CHECK, DIGEST)]
    for run, failed in zip(runs, ("check failed", "digest failed"), strict=True):
        state, message = house.wait(run)
        assert state == "FAILED"
        assert "WATCHDOG_LATE__AFTER" in message
        assert "Traceback" not in "\n".join(house.log(run))
        assert events(house, run, target=None) == [failed]

    assert house.run(CHECK) == ("COMPLETED", "Nothing is wrong.")
    again = house.artifact("watchdog-health")
    assert again["id"] == health["id"]
    made = re.compile(r"Made .*|ended since .*|.* runs? that ended.*")
    assert made.sub("", again["data"]) == made.sub("", health["data"])

    house.run(DIGEST)
    digest = house.artifact("watchdog-digest")["data"]
    assert re.search(r"\| Today so far \| [^|]*\| \d+ \| \d+ \| 0 \| 0 \| 0 \|", digest), digest
    # That the tests have paused it is information; of what its runs did, nothing is said.
    problems, heading, _ = digest.partition("## For information")
    assert heading
    assert "watchdog-check" not in problems


def test_a_dead_mans_switch_hears_of_success_and_of_failure(house: House, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/ping/secret-id").respond_with_data("OK")
    httpserver.expect_request("/ping/secret-id/fail").respond_with_data("OK")
    httpserver.expect_request("/ping/secret-id/start").respond_with_data("OK")
    env = {"WATCHDOG_PING_URL": httpserver.url_for("/ping/secret-id")}

    assert house.run(CHECK, env=env)[0] == "COMPLETED"
    house.spoil("ledger")
    assert house.run(CHECK, env=env)[0] == "COMPLETED"

    asked = [request for request, _ in httpserver.log]
    paths = [request.path.removeprefix("/ping/secret-id") for request in asked]
    assert paths == ["/start", "", "/start", "/fail"]
    good, bad = asked[1], asked[3]
    assert "Nothing is wrong." in good.get_data(as_text=True)
    assert "ledger" in bad.get_data(as_text=True)
    assert "secret-id" not in house.artifact("watchdog-health")["data"]


def test_a_dead_mans_switch_that_is_dead_itself_leaves_the_check_completed(house: House) -> None:
    address = f"127.0.0.1:{free_port()}"
    run = house.start(CHECK, env={"WATCHDOG_PING_URL": f"http://{address}/secret-id"})
    assert house.wait(run) == ("COMPLETED", "Nothing is wrong.")
    log = "\n".join(house.log(run))
    assert "ping failed about=end: " in log
    assert "secret-id" not in log
    assert address not in log


def test_a_healthy_check_is_one_line_in_its_log(house: House) -> None:
    house.run(CHECK)
    said_before = len(house.worker.log.read_text())
    run = house.start(CHECK, env={**JSON_LOGS, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"})
    assert house.wait(run) == ("COMPLETED", "Nothing is wrong.")
    body = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"}
    assert any(line.startswith("Beginning flow run") for line in house.log(run))
    assert events(house, run) == ["check completed"]
    assert "Beginning flow run" not in house.worker.log.read_text()[said_before:], "docs/logs.md says how to be quiet"
    lines = [row for row in house.server.request("POST", "/logs/filter", body) if row["name"].startswith("monitoring")]
    [line] = lines
    assert line["level"] == logging.INFO
    assert line["message"].startswith("check completed status=ok complete=True ")
    assert line["message"].endswith(": Nothing is wrong.")


def test_the_worker_would_have_found_somebody_elses_packages(house: House, foreign: Path) -> None:
    # What the other tests of this module run beside is a trap that works.
    env = house.server.client_env({"PYTHONPATH": str(foreign)})
    command = [sys.executable, "-c", "import monitoring"]
    done = subprocess.run(command, cwd=foreign, env=env, capture_output=True, text=True, check=False)
    assert "this is not the watchdog" in done.stderr


def test_a_digest_that_was_due_days_ago_is_not_posted(house: House, slack_emulator: SlackEmulator) -> None:
    """After days without a worker, one digest is enough."""
    now = datetime.now(timezone.utc)
    env = slack_at(slack_emulator.base_url, slack_emulator.token)
    old = house.start(DIGEST, env=env, due=now - timedelta(hours=25))
    young = house.start(DIGEST, env=env, due=now - timedelta(hours=23))

    assert house.wait(old) == ("COMPLETED", "Not posted: a newer digest is due")
    assert house.wait(young)[0] == "COMPLETED"
    assert len(slack_emulator.messages("digest")) == 1


def test_a_ping_block_that_cannot_be_used_stops_no_check(house: House) -> None:
    with connected(house.server):
        Secret(value={"url": "hunter2"}).save("watchdog-ping-url", overwrite=True)
    run = house.start(CHECK)

    assert house.wait(run)[0] == "COMPLETED"
    log = "\n".join(house.log(run))
    assert "watchdog-ping-url" in log
    assert "hunter2" not in log
    assert house.versions("watchdog-health") == 1
