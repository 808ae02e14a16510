"""The whole demo with its logs as JSON: every line is valid and tied to the others, and none gives a secret away.

Slack is busy when the digest is first posted, and repeats the token as it says so: the watchdog logs that answer.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from rich.console import Console
from werkzeug import Response

from demo.play import play
from demo.stack import Server, stop_leftovers
from demo.stage import WATCHDOG_POOL, Stage
from demo.workloads import RATES_URL
from monitoring.adapters.slack.bot import EVENT_TYPE
from monitoring.adapters.slack.digest import EVENT_TYPE as DIGEST
from tests.server.test_measured import lines
from tests.support.relay import Answerer, Asked, relayed
from tests.support.slack import SlackEmulator

IN_A_BLOCK, IN_THE_ENVIRONMENT, IN_A_MESSAGE = "xoxb-3141592653-planted", "ping-planted-in-environment", "open-sesame"
Line = dict[str, Any]


class Prepared(Server):
    """The demo's server, with a Slack token in a Secret block as soon as it answers."""

    def wait_ready(self, timeout: float = 90) -> None:
        super().wait_ready(timeout)
        kind = self.request("GET", "/block_types/slug/secret")
        [schema] = self.request(
            "POST", "/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}}
        )[:1]
        self.request(
            "POST",
            "/block_documents/",
            {
                "name": "watchdog-slack-token",
                "block_type_id": kind["id"],
                "block_schema_id": schema["id"],
                "data": {"value": IN_A_BLOCK},
            },
        )


def busy() -> Answerer:
    """A Slack that takes the digest only at the third time: slack_sdk itself tries twice before anything is logged."""
    left = 2

    def answer(asked: Asked) -> Response | None:
        nonlocal left
        if not left or (asked.body or {}).get("metadata", {}).get("event_type") != DIGEST:
            return None
        left -= 1
        refusal = {"ok": False, "error": f"busy:{asked.headers['Authorization'].removeprefix('Bearer ')}"}
        return Response(json.dumps(refusal), 429, {"Retry-After": "1"}, content_type="application/json")

    return answer


@dataclass(frozen=True)
class Demo:
    """What a demo has left to look at."""

    stage: Stage
    #: All that the watchdog's worker, its checks and its digest have written.
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


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, workspace: SlackEmulator) -> Iterator[Demo]:
    home = tmp_path_factory.mktemp("demo")
    with (
        HTTPServer(host="127.0.0.1") as dead_mans_switch,
        relayed(workspace.url) as slack,
        pytest.MonkeyPatch.context() as patch,
    ):
        slack.answer = busy()
        dead_mans_switch.expect_request(f"/{IN_THE_ENVIRONMENT}", method="POST").respond_with_data("OK")
        dead_mans_switch.expect_request(f"/{IN_THE_ENVIRONMENT}/start", method="POST").respond_with_data("OK")
        for name in [name for name in os.environ if name.startswith("WATCHDOG_")]:
            patch.delenv(name)
        patch.setenv("WATCHDOG_LOGS__FORMAT", "json")
        patch.setenv("WATCHDOG_LOGS__LEVEL", "DEBUG")
        patch.setenv("WATCHDOG_SLACK__API_URL", slack.url)
        patch.setenv("WATCHDOG_SLACK__CHANNEL", "alerts")
        patch.setenv("WATCHDOG_PING_URL", dead_mans_switch.url_for(f"/{IN_THE_ENVIRONMENT}"))
        try:
            stage, comparison = play(Prepared(home), Console(file=io.StringIO(), width=200))
            assert comparison.is_right, comparison
            # First: one that its schedule has started may be under way, and have written half of its lines.
            completed = runs(stage)
            log, _, _ = stage.workers[WATCHDOG_POOL].log.read_text().rpartition("\n")
            yield Demo(stage, log, lines(log), completed, workspace.messages("alerts"))
            for process in (*stage.workers.values(), stage.server):
                process.stop()
        finally:
            stop_leftovers(home)


def runs(stage: Stage) -> frozenset[str]:
    deployments = {"name": {"any_": ["check", "digest"]}}
    states = {"state": {"type": {"any_": ["COMPLETED"]}}}
    rows = stage.server.request("POST", "/flow_runs/filter", {"deployments": deployments, "flow_runs": states})
    return frozenset(row["id"] for row in rows)


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
    told = demo.named("alert delivered")
    assert {incident for line in told for incident in line["incidents"]} == opened.keys()
    # Each in the run that also says how the check has ended.
    ended = {line["run"] for line in demo.named("check completed")}
    assert {line["run"] for line in [*opened.values(), *told]} <= ended
    metadata = [message["metadata"] for message in demo.posted]
    posted = {one["event_payload"]["delivery"] for one in metadata if one["event_type"] == EVENT_TYPE}
    assert {line["delivery"] for line in told} >= posted > set()


def test_the_ui_shows_the_same_lines(demo: Demo) -> None:
    shown = demo.in_the_ui()
    for line in demo.named("check completed"):
        [message] = [message for message in shown[line["run"]] if message.startswith("check completed ")]
        assert message.endswith(f": {line['says']}")
    assert any(message.startswith("incident moved") for messages in shown.values() for message in messages)


def test_a_secret_in_what_is_logged_is_taken_out(demo: Demo) -> None:
    [line] = demo.named("digest post failed")
    assert line["problem"].startswith("Slack is busy (busy:REDACTED): ")
    [message] = [one for one in demo.in_the_ui()[line["run"]] if one.startswith("digest post failed ")]
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
