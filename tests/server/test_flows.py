"""The way through it all: real runs, a real worker, what the server holds afterwards, and what Slack got."""

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
from monitoring.adapters.slack.bot import DIGEST_EVENT_TYPE
from tests.support.deployed_watchdog import (
    CHECK,
    DIGEST,
    POOL,
    Deployed,
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
def _deployed(tmp_path_factory: pytest.TempPathFactory, foreign: Path) -> Iterator[tuple[Deployed, Emptier]]:
    server = start_server(tmp_path_factory.mktemp("installation"))
    worker = worker_beside(server, foreign)
    try:
        prefect(server, "work-pool", "create", POOL, "--type", "process", cwd=PROJECT)
        prefect(server, "deploy", "--all", cwd=PROJECT)
        pause_schedules(server)
        worker.start()
        worker.wait_online()
        yield Deployed(server, worker), Emptier(server)
    finally:
        worker.stop()
        server.stop()


@pytest.fixture
def installation(_deployed: tuple[Deployed, Emptier]) -> Deployed:
    """The watchdog deployed among healthy things, and nothing remembered."""
    found, empty = _deployed
    empty()
    noise(Seed(found.server.database_url))
    return found


def slack_at(address: str, token: str | None = TOKEN) -> dict[str, str]:
    env = {"WATCHDOG_SLACK__API_URL": address, "WATCHDOG_SLACK__CHANNEL": "digest"}
    return env | ({"WATCHDOG_SLACK_TOKEN": token} if token else {})


def events(installation: Deployed, run: str, target: str | None = "prefect") -> list[str]:
    """The events that a run with its logs as JSON has written, each with the run's id and the target's name."""
    installation.log(run)
    written = [json.loads(line) for line in installation.worker.log.read_text().splitlines() if line.startswith("{")]
    lines = [line for line in written if line["run"] == run]
    assert {line.get("target") for line in lines} == {target}
    return [line["event"] for line in lines]


def blocks(message: dict[str, Any]) -> str:
    return json.dumps(message["blocks"], ensure_ascii=False)


def test_a_failure_is_found_saved_published_resolved_and_notified(
    installation: Deployed, tmp_path: Path, slack_emulator: SlackEmulator
) -> None:
    installation.workload(tmp_path)
    assert installation.run("etl/nightly", {"fail": True})[0] == "FAILED"

    state, message = installation.run(CHECK)
    assert state == "COMPLETED", message
    assert "1 warning" in message
    [found] = installation.findings()
    assert (found["check"], found["severity"], found["subject"]) == ("failed", "warning", "deployment etl/nightly")
    health = installation.artifact("watchdog-health")
    assert "etl/nightly" in health["data"]
    assert "noise" not in health["data"]
    [incident] = installation.documents()["incidents"]["data"]["open"].values()
    assert incident["number"] == 1
    assert incident["finding"]["subject"]["name"] == "etl/nightly"
    assert "hunter2" not in json.dumps(installation.documents()) + json.dumps(health) + json.dumps(
        installation.findings()
    )

    installation.run(CHECK)
    assert installation.artifact("watchdog-health")["id"] == health["id"]
    assert installation.artifact("watchdog-health")["data"] != health["data"], "when it was made has changed"
    assert installation.versions("watchdog-findings") == 1

    assert installation.run("etl/nightly", {"fail": False})[0] == "COMPLETED"
    installation.run(CHECK)
    assert installation.findings() == []
    assert installation.artifact("watchdog-health")["id"] != health["id"]
    documents = installation.documents()
    assert documents["incidents"]["data"]["open"] == {}
    [month] = [name for name in documents if name.startswith("closed-")]
    [closed] = documents[month]["data"]
    assert (closed["finding"]["subject"]["name"], closed["resolution"]) == ("etl/nightly", "succeeded")

    state, message = installation.run(DIGEST, env=slack_at(slack_emulator.base_url, slack_emulator.token))
    assert state == "COMPLETED", message
    [posted] = slack_emulator.messages("digest")
    assert "OK" in posted["text"]
    assert posted["metadata"]["event_type"] == DIGEST_EVENT_TYPE
    assert "etl/nightly" in blocks(posted)
    assert "succeeded" in blocks(posted)
    assert "etl/nightly" in installation.artifact("watchdog-digest")["data"]


def test_a_green_day_is_posted_with_the_token_of_a_secret_block(
    installation: Deployed, slack_emulator: SlackEmulator
) -> None:
    with connected(installation.server):
        Secret(value=slack_emulator.token).save("watchdog-slack-token")

    state, message = installation.run(DIGEST, env=slack_at(slack_emulator.base_url, token=None))

    assert (state, message) == ("COMPLETED", "Nothing is wrong.")
    [posted] = slack_emulator.messages("digest")
    assert posted["blocks"][0]["type"] == "header"
    assert "Nothing is wrong." in blocks(posted)
    assert "Days begin and end in UTC" in blocks(posted)


def test_without_a_token_the_digest_is_an_artifact_and_says_so_once(
    installation: Deployed, httpserver: HTTPServer
) -> None:
    run = installation.start(DIGEST, env=slack_at(httpserver.url_for("/api/"), token=None) | JSON_LOGS)
    assert installation.wait(run) == ("COMPLETED", "Nothing is wrong.")
    [line] = [
        line for line in installation.log(run) if line.startswith("digest not posted: there is no Slack token; set ")
    ]
    assert "WATCHDOG_SLACK_TOKEN" in line
    assert "watchdog-slack-token" in line
    assert events(installation, run) == ["digest not posted", "digest completed"]
    assert "Nothing is wrong." in installation.artifact("watchdog-digest")["data"]
    assert httpserver.log == []


def test_a_rejected_token_fails_the_run_in_one_line_and_shows_nowhere(
    installation: Deployed, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/api/chat.postMessage").respond_with_json({"ok": False, "error": "invalid_auth"})
    said_before = len(installation.worker.log.read_text())
    run = installation.start(DIGEST, env=slack_at(httpserver.url_for("/api/")) | JSON_LOGS)
    state, message = installation.wait(run)
    assert state == "FAILED"
    assert "invalid_auth" in message
    assert "WATCHDOG_SLACK_TOKEN" in message
    log = installation.log(run)
    lines = [line for line in log if "invalid_auth" in line and not line.startswith("Finished in state")]
    assert lines[1:] == [f"digest failed: {message}"]
    assert lines[0].endswith(f": {message}")
    assert events(installation, run) == ["alert not delivered", "digest failed"]
    assert "Traceback" not in "\n".join(log) + installation.worker.log.read_text()[said_before:]
    assert "Nothing is wrong." in installation.artifact("watchdog-digest")["data"]
    assert len(httpserver.log) == 1, "a refused token is refused again"

    # The token was in the run's own settings; the server shows those, and nothing else does.
    held = installation.everything()
    shown = json.dumps(installation.server.request("GET", f"/flow_runs/{run}")["job_variables"])
    assert TOKEN in shown
    assert held.count(TOKEN) == shown.count(TOKEN)


def test_a_digest_that_slack_cannot_take_now_is_sent_once_by_a_check(
    installation: Deployed, httpserver: HTTPServer
) -> None:
    httpserver.expect_ordered_request("/api/chat.postMessage").respond_with_data("upstream is down", status=503)
    httpserver.expect_ordered_request("/api/chat.postMessage").respond_with_json({"ok": True, "ts": "1.2"})
    env = slack_at(httpserver.url_for("/api/")) | JSON_LOGS | {"WATCHDOG_DIGEST__TIME_ZONE": "Asia/Tokyo"}
    run = installation.start(DIGEST, env=env)
    assert installation.wait(run) == ("COMPLETED", "Nothing is wrong.")
    assert "Days begin and end in Asia/Tokyo" in installation.artifact("watchdog-digest")["data"], "not prefect.yaml's"
    assert events(installation, run) == ["alert not delivered", "digest completed"]
    assert installation.versions("watchdog-digest") == 1
    installation.no_longer_wait()
    check = installation.start(CHECK, env=env)
    assert installation.wait(check)[0] == "COMPLETED"
    assert installation.run(DIGEST, env=env)[0] == "COMPLETED"
    assert [response.status_code for _, response in httpserver.log] == [503, 200]
    assert "alert delivered" in events(installation, check)


def test_parameters_change_the_outcome(installation: Deployed, tmp_path: Path) -> None:
    installation.workload(tmp_path)
    failed = installation.start("etl/nightly", {"fail": True})
    # Two days begin and end apart from each other somewhere on earth at any time.
    far = installation.start(DIGEST, {"time_zone": "Pacific/Kiritimati"})
    assert installation.wait(failed)[0] == "FAILED"

    assert installation.run(CHECK, {"overrides": {"failed": {"enabled": False}}}) == ("COMPLETED", "Nothing is wrong.")
    assert installation.findings() == []
    installation.run(CHECK, {"overrides": {"failed": {"critical_after": 1}}})
    assert [found["severity"] for found in installation.findings()] == ["critical"]

    with pytest.raises(httpx.HTTPStatusError, match="409"):
        installation.start(CHECK, {"overrides": {"failed": {"critical_aftr": 1}}})

    assert installation.wait(far)[0] == "COMPLETED"
    assert "Days begin and end in Pacific/Kiritimati" in installation.artifact("watchdog-digest")["data"]


def test_the_watchdogs_own_runs_are_neither_found_nor_counted(installation: Deployed) -> None:
    assert installation.run(CHECK)[0] == "COMPLETED"
    health = installation.artifact("watchdog-health")
    runs = [installation.start(flow, env={"WATCHDOG_LATE__AFTER": "soon", **JSON_LOGS}) for flow in (CHECK, DIGEST)]
    for run, failed in zip(runs, ("check failed", "digest failed"), strict=True):
        state, message = installation.wait(run)
        assert state == "FAILED"
        assert "WATCHDOG_LATE__AFTER" in message
        assert "Traceback" not in "\n".join(installation.log(run))
        assert events(installation, run, target=None) == [failed]

    assert installation.run(CHECK) == ("COMPLETED", "Nothing is wrong.")
    again = installation.artifact("watchdog-health")
    assert again["id"] == health["id"]
    made = re.compile(r"Made .*|ended since .*|.* runs? that ended.*")
    assert made.sub("", again["data"]) == made.sub("", health["data"])

    installation.run(DIGEST)
    digest = installation.artifact("watchdog-digest")["data"]
    assert re.search(r"\| Today so far \| [^|]*\| \d+ \| \d+ \| 0 \| 0 \| 0 \|", digest), digest
    # That the tests have paused it is information; of what its runs did, nothing is said.
    problems, heading, _ = digest.partition("## For information")
    assert heading
    assert "watchdog-check" not in problems


def test_a_dead_mans_switch_hears_of_success_and_of_failure(installation: Deployed, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/ping/secret-id").respond_with_data("OK")
    httpserver.expect_request("/ping/secret-id/fail").respond_with_data("OK")
    httpserver.expect_request("/ping/secret-id/start").respond_with_data("OK")
    env = {"WATCHDOG_PING_URL": httpserver.url_for("/ping/secret-id")}

    assert installation.run(CHECK, env=env)[0] == "COMPLETED"
    installation.spoil("ledger")
    assert installation.run(CHECK, env=env)[0] == "COMPLETED"

    requests = [request for request, _ in httpserver.log]
    paths = [request.path.removeprefix("/ping/secret-id") for request in requests]
    assert paths == ["/start", "", "/start", "/fail"]
    good, bad = requests[1], requests[3]
    assert "Nothing is wrong." in good.get_data(as_text=True)
    assert "ledger" in bad.get_data(as_text=True)
    assert "secret-id" not in installation.artifact("watchdog-health")["data"]


def test_a_dead_mans_switch_that_is_dead_itself_leaves_the_check_completed(installation: Deployed) -> None:
    address = f"127.0.0.1:{free_port()}"
    run = installation.start(CHECK, env={"WATCHDOG_PING_URL": f"http://{address}/secret-id"})
    assert installation.wait(run) == ("COMPLETED", "Nothing is wrong.")
    log = "\n".join(installation.log(run))
    assert "ping failed about=end: " in log
    assert "secret-id" not in log
    assert address not in log


def test_a_healthy_check_is_one_line_in_its_log(installation: Deployed) -> None:
    installation.run(CHECK)
    said_before = len(installation.worker.log.read_text())
    run = installation.start(CHECK, env={**JSON_LOGS, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"})
    assert installation.wait(run) == ("COMPLETED", "Nothing is wrong.")
    body = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"}
    assert any(line.startswith("Beginning flow run") for line in installation.log(run))
    assert events(installation, run) == ["check completed"]
    assert "Beginning flow run" not in installation.worker.log.read_text()[said_before:], (
        "docs/logs.md says how to be quiet"
    )
    lines = [
        row for row in installation.server.request("POST", "/logs/filter", body) if row["name"].startswith("monitoring")
    ]
    [line] = lines
    assert line["level"] == logging.INFO
    assert line["message"].startswith("check completed status=ok complete=True ")
    assert line["message"].endswith(": Nothing is wrong.")


def test_the_worker_would_have_found_somebody_elses_packages(installation: Deployed, foreign: Path) -> None:
    # What the other tests of this module run beside is a trap that works.
    env = installation.server.client_env({"PYTHONPATH": str(foreign)})
    command = [sys.executable, "-c", "import monitoring"]
    done = subprocess.run(command, cwd=foreign, env=env, capture_output=True, text=True, check=False)
    assert "this is not the watchdog" in done.stderr


def test_a_digest_that_was_due_days_ago_is_not_posted(installation: Deployed, slack_emulator: SlackEmulator) -> None:
    """After days without a worker, one digest is enough."""
    now = datetime.now(timezone.utc)
    env = slack_at(slack_emulator.base_url, slack_emulator.token)
    old = installation.start(DIGEST, env=env, due=now - timedelta(hours=25))
    young = installation.start(DIGEST, env=env, due=now - timedelta(hours=23))

    assert installation.wait(old) == ("COMPLETED", "Not posted: a newer digest is due")
    assert installation.wait(young)[0] == "COMPLETED"
    assert len(slack_emulator.messages("digest")) == 1


def test_a_ping_block_that_cannot_be_used_stops_no_check(installation: Deployed) -> None:
    with connected(installation.server):
        Secret(value={"url": "hunter2"}).save("watchdog-ping-url", overwrite=True)
    run = installation.start(CHECK)

    assert installation.wait(run)[0] == "COMPLETED"
    log = "\n".join(installation.log(run))
    assert "watchdog-ping-url" in log
    assert "hunter2" not in log
    assert installation.versions("watchdog-health") == 1
