"""From a failure to the message in Slack and back: the deployments as a user has them, through a real worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from demo.stack import Worker, wait_until
from tests.conftest import ServerFactory
from tests.support.deployed_watchdog import (
    CHECK,
    POOL,
    QUICK,
    Deployed,
    copy_of_the_project,
    pause_schedules,
    prefect,
)
from tests.support.slack import TOKEN, SlackEmulator


def text(message: dict[str, Any]) -> str:
    return str(message["text"])


def test_a_failure_is_notified_once_and_its_end_in_its_thread(
    fresh_server: ServerFactory, slack_emulator: SlackEmulator, tmp_path: Path
) -> None:
    server, project = fresh_server(), copy_of_the_project(tmp_path / "project")
    (project / "watchdog.yaml").write_text(
        f"slack:\n  channel: alerts\n  api_url: {slack_emulator.base_url}\nalerts:\n  traceback: true\n"
    )
    prefect(server, "work-pool", "create", POOL, "--type", "process", cwd=server.home)
    prefect(server, "deploy", "--all", cwd=project)
    pause_schedules(server, triggers=False)
    worker = Worker(server, POOL, cwd=tmp_path, env={**QUICK, "WATCHDOG_SLACK_TOKEN": TOKEN})
    worker.start()
    try:
        installation = Deployed(server, worker)
        installation.workload(tmp_path)
        assert installation.run("etl/nightly")[0] == "COMPLETED"
        # The first day: nothing is wrong, and nothing is sent.
        assert installation.run(CHECK)[0] == "COMPLETED"
        assert slack_emulator.messages("alerts") == []

        # Nobody starts a check after this.
        assert installation.run("etl/nightly", {"fail": True})[0] == "FAILED"
        wait_until(lambda: bool(slack_emulator.messages("alerts")), timeout=240, waiting_for="the alert")
        (message,) = slack_emulator.messages("alerts")
        assert "etl/nightly" in text(message)
        assert "W-1" in str(message)
        assert "watchdog incidents ack W-1" in str(message)

        # The same failure is not notified twice; its thread says more, and the secret is in neither.
        assert installation.run(CHECK)[0] == "COMPLETED"
        (message,) = slack_emulator.messages("alerts")
        thread = str(slack_emulator.replies("alerts", message["ts"]))
        assert "ValueError" in thread
        assert "hunter2" not in thread

        assert installation.run("etl/nightly")[0] == "COMPLETED"
        assert installation.run(CHECK)[0] == "COMPLETED"
        messages = slack_emulator.messages("alerts")
        assert "✅" in text(messages[0])
        replies = slack_emulator.replies("alerts", message["ts"])[1:]
        assert any("✅" in text(reply) and "W-1" in str(reply) for reply in replies)
    finally:
        worker.stop()
