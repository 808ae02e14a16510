"""The whole demo, as its command runs it: every planted fault is reported, nothing else is, and nothing stays running.

Its logs are JSON: every line is valid and tied to the others, and none gives a secret away. Slack is busy when the
digest is first posted, and repeats the token as it says so: the watchdog logs that answer.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from demo.stack import Server, stop_leftovers
from demo.stage import WATCHDOG_POOL, Stage
from demo.workloads import RATES_URL
from monitoring.adapters.slack.bot import ALERT_EVENT_TYPE, DIGEST_EVENT_TYPE
from tests.support.deployed_watchdog import copy_of_the_project
from tests.support.measured_server import lines
from tests.support.paths import PROJECT
from tests.support.relay import Answerer, ApiRequest, relayed
from tests.support.servers import start_server
from tests.support.slack import SlackEmulator

#: The demo waits for the faults to ripen, and longer on a slow machine: it has bounds of its own.
pytestmark = pytest.mark.timeout(1800)

IN_A_BLOCK, IN_THE_ENVIRONMENT, IN_A_MESSAGE = "xoxb-3141592653-planted", "ping-planted-in-environment", "open-sesame"
Line = dict[str, Any]


def busy() -> Answerer:
    """A Slack that takes the digest only at the third time: slack_sdk itself tries twice before anything is logged."""
    left = 2

    def answer(request: ApiRequest) -> Response | None:
        nonlocal left
        if not left or (request.body or {}).get("metadata", {}).get("event_type") != DIGEST_EVENT_TYPE:
            return None
        left -= 1
        refusal = {"ok": False, "error": f"busy:{request.headers['Authorization'].removeprefix('Bearer ')}"}
        return Response(json.dumps(refusal), 429, {"Retry-After": "1"}, content_type="application/json")

    return answer


@dataclass(frozen=True)
class Demo:
    """What a demo has left to look at; its server is up again, and nothing else is."""

    stage: Stage
    status: int
    printed: str
    #: How many of its processes were still running when it had ended.
    left_running: int
    #: All that the watchdog's worker, its checks and its digest have written until the digest was complete.
    log: str
    lines: list[Line]
    #: The ids of the watchdog's flow runs that were completed by then.
    runs: frozenset[str]
    #: What stands in the Slack channel.
    posted: list[dict[str, Any]]

    def named(self, event: str) -> list[Line]:
        """The lines with this event, of runs that were completed."""
        return [line for line in self.lines if line["event"] == event and line["run"] in self.runs]

    def in_the_ui(self) -> dict[str, list[str]]:
        """What stands in the logs of the watchdog's runs in the UI, by the run's id."""
        found: dict[str, list[str]] = {}
        for run in self.runs:
            body = {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200}
            found[run] = [row["message"] for row in self.stage.server.request("POST", "/logs/filter", body)]
        return found


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlackEmulator]:
    """A Slack workspace of the demo's own: what it posts with its planted token, no other may delete."""
    slack = SlackEmulator(tmp_path_factory.mktemp("demo-slack"))
    try:
        slack.start()
        yield slack
    finally:
        slack.stop()


def prepare(home: Path) -> None:
    """Put a Slack token in a Secret block on the demo's server, as somebody does who has run the demo before."""
    server = start_server(home)
    kind = server.request("GET", "/block_types/slug/secret")
    schemas = {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}}
    [schema] = server.request("POST", "/block_schemas/filter", schemas)[:1]
    block = {
        "name": "watchdog-slack-token",
        "block_type_id": kind["id"],
        "block_schema_id": schema["id"],
        "data": {"value": IN_A_BLOCK},
    }
    server.request("POST", "/block_documents/", block)
    server.stop()


def run_once(project: Path, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run what ``make demo ARGS=--once`` runs, in a copy of the project."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("WATCHDOG_")} | dict(settings)
    command = [sys.executable, "-m", "demo", "--once"]
    return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, workspace: SlackEmulator) -> Iterator[Demo]:
    project = copy_of_the_project(tmp_path_factory.mktemp("demo") / "project", "demo")
    home = project / ".demo"
    prepare(home)
    with HTTPServer(host="127.0.0.1") as dead_mans_switch, relayed(workspace.url) as slack:
        slack.answer = busy()
        dead_mans_switch.expect_request(f"/{IN_THE_ENVIRONMENT}", method="POST").respond_with_data("OK")
        dead_mans_switch.expect_request(f"/{IN_THE_ENVIRONMENT}/start", method="POST").respond_with_data("OK")
        settings = {
            "WATCHDOG_LOGS__FORMAT": "json",
            "WATCHDOG_LOGS__LEVEL": "DEBUG",
            "WATCHDOG_SLACK__API_URL": slack.url,
            "WATCHDOG_SLACK__CHANNEL": "alerts",
            "WATCHDOG_PING_URL": dead_mans_switch.url_for(f"/{IN_THE_ENVIRONMENT}"),
        }
        try:
            ended = run_once(project, settings)
        finally:
            left_running = stop_leftovers(home)
    server = Server(home)
    server.start()
    try:
        server.wait_ready()
        stage = Stage(server)
        log = until_the_digest(stage.workers[WATCHDOG_POOL].log.read_text())
        posted = workspace.messages("alerts")
        printed = ended.stdout + ended.stderr
        yield Demo(stage, ended.returncode, printed, left_running, log, lines(log), runs(stage), posted)
    finally:
        server.stop()


def until_the_digest(log: str) -> str:
    """What was written before the demo stopped everything, which may cut a check of the schedule's short."""
    before, event, after = log.rpartition('"digest completed"')
    return before + event + after.partition("\n")[0]


def runs(stage: Stage) -> frozenset[str]:
    deployments = {"name": {"any_": ["check", "digest"]}}
    states = {"state": {"type": {"any_": ["COMPLETED"]}}}
    rows = stage.server.request("POST", "/flow_runs/filter", {"deployments": deployments, "flow_runs": states})
    return frozenset(row["id"] for row in rows)


def test_every_planted_fault_is_reported_and_nothing_else(demo: Demo) -> None:
    assert demo.status == 0, demo.printed
    assert "MISSED" not in demo.printed
    assert "NOT PLANTED" not in demo.printed
    assert "expected findings were reported, and nothing else." in demo.printed


def test_it_ends_with_what_was_found_on_one_screen(demo: Demo) -> None:
    _, heading, end = demo.printed.partition("What the watchdog found")
    assert heading
    assert len(end.splitlines()) <= 40
    assert "deployment fails/demo" in end
    assert re.search(r"http://127\.0\.0\.1:\d+/artifacts/key/watchdog-health", end)


def test_it_stops_all_that_it_has_started(demo: Demo) -> None:
    assert demo.left_running == 0


def test_the_command_in_the_readme_runs_this_demo() -> None:
    dry = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "demo", "ARGS=--once"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert dry.stdout.splitlines()[-1] == ".venv/bin/python -m demo --once", dry.stderr


def test_every_line_is_valid_and_none_is_an_error(demo: Demo) -> None:
    assert {line["level"] for line in demo.lines} <= {"debug", "info", "warning"}
    assert demo.named("check completed")
    assert demo.named("digest completed")


def test_the_lines_of_a_check_a_finding_an_incident_and_a_message_are_tied_by_their_ids(demo: Demo) -> None:
    assert {line["run"] for line in demo.lines} >= demo.runs > set()
    assert {line["target"] for line in demo.lines} == {"demo"}
    found = {row["fingerprint"]: row for row in json.loads(demo.stage.artifact("watchdog-findings"))}
    opened = {line["incident"]: line for line in demo.named("incident moved") if line["to"] == "firing"}
    assert {line["fingerprint"] for line in opened.values()} <= found.keys()
    delivered = demo.named("alert delivered")
    notified = {incident for line in delivered for incident in line["incidents"]}
    assert notified <= opened.keys()
    # Of a symptom that only a later check finds, no notification is sent.
    assert all(found[opened[incident]["fingerprint"]]["symptom_of"] for incident in opened.keys() - notified)
    # Each in the run that also says how the check has ended.
    ended = {line["run"] for line in demo.named("check completed")}
    assert {line["run"] for line in [*opened.values(), *delivered]} <= ended
    metadata = [message["metadata"] for message in demo.posted]
    posted = {entry["event_payload"]["delivery"] for entry in metadata if entry["event_type"] == ALERT_EVENT_TYPE}
    assert {line["delivery"] for line in delivered} >= posted > set()


def test_the_ui_shows_the_same_lines(demo: Demo) -> None:
    shown = demo.in_the_ui()
    for line in demo.named("check completed"):
        [message] = [message for message in shown[line["run"]] if message.startswith("check completed ")]
        assert message.endswith(f": {line['says']}")
    assert any(message.startswith("incident moved") for messages in shown.values() for message in messages)


def test_a_secret_in_what_is_logged_is_taken_out(demo: Demo) -> None:
    [line] = [line for line in demo.named("alert not delivered") if line["about"] == "digest"]
    assert line["problem"].startswith("Slack is busy (busy:REDACTED): ")
    [message] = [text for text in demo.in_the_ui()[line["run"]] if text.startswith("alert not delivered ")]
    assert message.endswith(f": {line['problem']}")


@pytest.mark.parametrize("secret", [IN_A_BLOCK, IN_THE_ENVIRONMENT, IN_A_MESSAGE])
def test_no_secret_is_given_away(demo: Demo, secret: str) -> None:
    assert IN_A_MESSAGE in RATES_URL
    # It was there to be given away: the finding quotes the message that it stood in.
    assert "no exchange rate for GBP" in demo.stage.artifact("watchdog-findings")
    assert secret not in demo.log
    assert secret not in json.dumps(demo.in_the_ui())
    assert secret not in json.dumps(demo.posted)
    for artifact in ("watchdog-health", "watchdog-findings", "watchdog-digest"):
        assert secret not in demo.stage.artifact(artifact)
