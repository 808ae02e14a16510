"""The time from a failure to its message, with everything real from the worker to Slack's API.

    python -m benchmarks.latency --failures 20

A Prefect server, a Slack emulator, and a worker with Prefect's own settings run on this machine. Deployments of a
failing flow run one after the other, more than a minute apart, because the trigger starts at most one check a minute;
schedules are paused. The time is measured from the Failed state to the message. Twenty failures take half an hour or
more.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from demo.stack import Server, Worker, wait_until
from tests.support.deployed_watchdog import CHECK, POOL, Deployed, copy_of_the_project, pause_schedules, prefect
from tests.support.servers import start_server
from tests.support.slack import TOKEN, SlackEmulator

#: Seconds between two failures; the trigger starts one check a minute.
APART = 70.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the time from a failure to the message about it.")
    parser.add_argument("--failures", type=int, default=20, help="how many failures, 70 s apart (default: 20)")
    failures = parser.parse_args().failures
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        slack = SlackEmulator(folder / "slack")
        slack.start()
        try:
            server = start_server(folder / "server")
            try:
                _report([_one(*here) for here in _watched(server, slack, folder, failures)])
            finally:
                server.stop()
        finally:
            slack.stop()


def _watched(
    server: Server, slack: SlackEmulator, folder: Path, failures: int
) -> Iterator[tuple[Deployed, SlackEmulator, int]]:
    project = copy_of_the_project(folder / "project")
    # Each failure of its own deployment is a message of its own.
    (project / "watchdog.yaml").write_text(f"slack:\n  channel: alerts\n  api_url: {slack.base_url}\n")
    prefect(server, "work-pool", "create", POOL, "--type", "process", cwd=server.home)
    prefect(server, "deploy", "--all", cwd=project)
    pause_schedules(server, triggers=False)
    worker = Worker(server, POOL, cwd=folder, env={"WATCHDOG_SLACK_TOKEN": TOKEN})
    worker.start()
    try:
        installation = Deployed(server, worker)
        installation.workload(folder)
        assert installation.run("etl/nightly")[0] == "COMPLETED"
        assert installation.run(CHECK)[0] == "COMPLETED"
        for number in range(failures):
            yield installation, slack, number
            # The failure was before its message; the next run fails after it starts.
            time.sleep(APART)
    finally:
        worker.stop()


def _one(installation: Deployed, slack: SlackEmulator, number: int) -> float:
    """Let one run fail, and return the seconds from its failure to the message."""
    flow = installation.server.request("GET", "/deployments/name/etl/nightly")
    name = f"load-{number}"
    body = {key: flow[key] for key in ("flow_id", "work_pool_name", "entrypoint", "pull_steps")}
    installation.server.request("POST", "/deployments/", {**body, "name": name})
    run_id = installation.start(f"etl/{name}", {"fail": True})
    installation.wait(run_id)
    failed = datetime.fromisoformat(
        installation.server.request("GET", f"/flow_runs/{run_id}")["state"]["timestamp"].replace("Z", "+00:00")
    )
    told: list[float] = []

    def is_told() -> bool:
        # Without a pause, the emulator rejects requests.
        time.sleep(1)
        told[:] = [float(said["ts"]) for said in _said(slack) if f"etl/{name}" in str(said)]
        return bool(told)

    wait_until(is_told, timeout=300, waiting_for=f"the message about {name}")
    seconds = min(at for at in told if at > failed.timestamp()) - failed.timestamp()
    print(f"{name}: {seconds:.1f} s", flush=True)
    # Three failures with one error would be one problem, notified once.
    installation.run(f"etl/{name}")
    return seconds


def _said(slack: SlackEmulator) -> list[dict[str, Any]]:
    """All messages and replies: an incident that joins a message is a reply that is shown in the channel."""
    messages = slack.messages("alerts")
    threads = [slack.replies("alerts", one["ts"])[1:] for one in messages if one.get("reply_count")]
    # An edited message keeps the time at which it was posted, and may name what joined it later.
    return [*(reply for thread in threads for reply in thread), *(one for one in messages if not one.get("edited"))]


def _report(seconds: list[float]) -> None:
    print(f"{len(seconds)} failures: median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s")


if __name__ == "__main__":
    main()
