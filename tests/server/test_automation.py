"""Who watches the watchdog: what the command makes on a real server, and when that speaks up."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from pytest_httpserver import HTTPServer

from demo.stack import Server, wait_until
from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.publish.events import PrefectEvents
from monitoring.cli import app
from monitoring.model.policy import ApiSettings as Settings
from monitoring.notifications.events import check_completed
from tests.support import samples
from tests.support.servers import connected

Command = Callable[..., tuple[int, str]]
NAME = "watchdog-silent-prod"


@pytest.fixture
def command(
    prefect_server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> Command:
    """``watchdog automation``, with its exit status and what it printed, for the target ``prod``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WATCHDOG_TARGET__NAME", "prod")

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            app([*([] if arguments[0] == "doctor" else ["automation"]), *arguments])
        shown = capsys.readouterr()
        return int(str(ended.value.code)), (shown.out + shown.err).strip()

    return run


@pytest.fixture
def check(prefect_server: Server) -> str:
    """A deployed check; its id."""
    flow = prefect_server.request("POST", "/flows/", {"name": "watchdog-check"})
    schedules = [{"schedule": {"cron": "*/5 * * * *", "timezone": "UTC"}, "active": True}]
    body = {"name": "check", "flow_id": flow["id"], "schedules": schedules}
    return str(prefect_server.request("POST", "/deployments/", body)["id"])


@pytest.fixture
def block(prefect_server: Server, httpserver: HTTPServer) -> str:
    httpserver.expect_request("/hook").respond_with_data("ok")
    text = {"subject": "{{subject}}", "body": "{{body}}"}
    address = httpserver.url_for("/hook")
    CustomWebhookNotificationBlock(name="ops", url=address, json_data=text).save("ops", overwrite=True)
    return "custom-webhook/ops"


def automations(prefect_server: Server) -> dict[str, dict[str, Any]]:
    rows = prefect_server.request("POST", "/automations/filter", {})
    assert len({row["name"] for row in rows}) == len(rows)
    return {row["name"]: row for row in rows}


def test_it_is_made_once_changed_when_it_has_to_be_and_removed(
    prefect_server: Server, command: Command, check: str, block: str
) -> None:
    trigger = {"type": "event", "posture": "Reactive", "expect": ["somebody.elses"]}
    others = {"name": f"{NAME}-2", "trigger": trigger, "actions": []}
    prefect_server.request("POST", "/automations/", others)

    status, shown = command("deploy", "--notify", block)
    made = automations(prefect_server)[NAME]
    assert (status, shown) == (
        0,
        f"{NAME}: created; notifies {block} when no check has completed for 15 min: "
        f"{prefect_server.ui_url}/automations/automation/{made['id']}",
    )
    assert made["trigger"]["within"] == 900
    assert f"/deployments/deployment/{check}" in made["actions"][0]["body"]

    status, shown = command("deploy", "--notify", block)
    assert (status, shown.split(";")[0]) == (0, f"{NAME}: unchanged")
    assert automations(prefect_server)[NAME] == made

    prefect_server.request("PATCH", f"/automations/{made['id']}", {"enabled": False})
    status, shown = command("deploy", "--notify", block, "--within", "1h")
    assert (status, shown.split(";")[0]) == (0, f"{NAME}: changed")
    changed = automations(prefect_server)[NAME]
    assert (changed["id"], changed["trigger"]["within"], changed["enabled"]) == (made["id"], 3600, True)

    assert command("remove")[1].startswith(f"{NAME}: removed from ")
    assert command("remove")[1].startswith(f"{NAME}: not found on ")
    assert list(automations(prefect_server)) == [f"{NAME}-2"]


def test_a_target_with_another_name_keeps_its_automation(
    prefect_server: Server, command: Command, check: str, block: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("deploy", "--notify", block)
    made = automations(prefect_server)[NAME]
    # As earlier versions made it.
    trigger = {**made["trigger"], "match": {"prefect.resource.id": "watchdog.check.prod"}}
    definition = {key: made[key] for key in ("name", "description", "enabled", "actions")}
    prefect_server.request("PUT", f"/automations/{made['id']}", {**definition, "trigger": trigger})
    assert watch(command)["outcome"] == "ok"

    monkeypatch.setenv("WATCHDOG_TARGET__NAME", "berlin")
    found = watch(command)
    assert (found["outcome"], found["said"]) == (
        "fault",
        f"the automation {NAME} waits for checks of a watchdog with another target.name",
    )
    assert found["mend"].startswith("watchdog automation deploy --notify")

    assert command("deploy", "--notify", block)[1].startswith("watchdog-silent-berlin: changed")
    assert list(automations(prefect_server)) == ["watchdog-silent-berlin"]
    monkeypatch.setenv("WATCHDOG_TARGET__NAME", "paris")
    assert watch(command)["outcome"] == "ok"
    assert command("remove")[1].startswith("watchdog-silent-berlin: removed from ")
    assert automations(prefect_server) == {}


def watch(command: Command) -> dict[str, Any]:
    """What the doctor says of the automation."""
    report = json.loads(command("doctor", "--json")[1])
    return next(part for part in report["examined"] if part["name"] == "watch over the watchdog")


def test_what_is_missing_is_reported_in_one_line(prefect_server: Server, command: Command, block: str) -> None:
    Secret(value="x").save("ops", overwrite=True)
    for arguments, expected in (
        (["--notify", block], "watchdog-check/check: no such deployment"),
        (["--notify", "slack-webhook/nobody"], "slack-webhook/nobody: no such block"),
        (["--notify", "secret/ops"], "secret/ops: no notification block"),
        (["--notify", "ops"], "--notify: 'ops': expected TYPE/NAME"),
        (["--notify", block, "--within", "5s"], "--within: '5s': expected a duration of at least 10 s"),
    ):
        status, shown = command("deploy", *arguments)
        assert (status, "\n" in shown) == (3, False)
        assert shown.startswith(expected)
    assert automations(prefect_server) == {}


def test_a_check_without_a_schedule_needs_its_interval(
    prefect_server: Server, command: Command, check: str, block: str
) -> None:
    prefect_server.request("PATCH", f"/deployments/{check}", {"schedules": []})
    status, shown = command("deploy", "--notify", block)
    assert status == 3
    assert "pass --within" in shown
    assert command("deploy", "--notify", block, "--within", "15m")[0] == 0


def test_it_is_silent_while_checks_complete_and_speaks_up_again_and_again_when_none_does(
    prefect_server: Server, command: Command, check: str, block: str, httpserver: HTTPServer
) -> None:
    checks = 0

    def completed() -> bool:
        nonlocal checks
        checks += 1
        with connected(prefect_server), open_api(Settings()) as api:
            report = samples.healthy().model_copy(update={"at": datetime.now(timezone.utc)})
            PrefectEvents(api).send([check_completed(report, f"00000000-0000-0000-0000-{checks:012}")])
        return checks > 7

    assert command("deploy", "--notify", block, "--within", "12s")[0] == 0
    # Longer than the automation waits, and than it takes the server to look.
    wait_until(completed, timeout=180, interval=3, waiting_for="checks to complete")
    assert httpserver.log == []
    wait_until(lambda: len(httpserver.log) >= 2, timeout=240, waiting_for="the automation to speak up, and again")
    bodies = [request.get_json() for request, _ in httpserver.log]
    assert {message["subject"] for message in bodies} == {"The watchdog of prod is silent"}
    assert "No check of prod has completed for 12 s" in bodies[-1]["body"]
