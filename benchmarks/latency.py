"""The time from a failure to its message, with everything real from the trigger to Slack's API.

    python -m benchmarks.latency --failures 20
    python -m benchmarks.latency --pairs 20

A Prefect server, a Slack emulator, and a worker with Prefect's own settings run on this machine; schedules are paused,
so only failures start checks. A run of a deployment fails, and the time is measured from its Failed state to the
message. With ``--pairs``, another one fails 1 to 59 s later: shortly after the check that the first one has started, or
while it runs. Twenty failures take ten minutes, twenty pairs twenty.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from demo.stack import Server, Worker, wait_until
from tests.support.deployed_watchdog import CHECK, POOL, Deployed, copy_of_the_project, pause_schedules, prefect
from tests.support.servers import start_server
from tests.support.slack import TOKEN, SlackEmulator

#: Seconds after a message until the next failure: whatever the last one has started is over.
PAUSE = 15.0
MAX_GAP = 59.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the time from a failure to the message about it.")
    parser.add_argument("--failures", type=int, default=20, help="how many failures, one at a time (default: 20)")
    parser.add_argument(
        "--pairs", type=int, default=0, help="measure so many pairs of failures, 1 to 59 s apart, instead"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the seconds between the two (default: 1)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        slack = SlackEmulator(folder / "slack")
        slack.start()
        try:
            server = start_server(folder / "server")
            try:
                with _watched(server, slack, folder) as measure:
                    _report(arguments, measure)
            finally:
                server.stop()
        finally:
            slack.stop()


def _report(arguments: argparse.Namespace, measure: Callable[[Sequence[float]], list[float]]) -> None:
    if arguments.pairs:
        chance = random.Random(arguments.seed)
        pairs = [measure([0.0, chance.uniform(1, MAX_GAP)]) for _ in range(arguments.pairs)]
        _print("first of a pair", [first for first, _ in pairs])
        _print("second of a pair", [second for _, second in pairs])
    else:
        _print("failures", [measure([0.0])[0] for _ in range(arguments.failures)])


def _print(what: str, seconds: Sequence[float]) -> None:
    print(
        f"{len(seconds)} x {what}: median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s", flush=True
    )


@contextmanager
def _watched(server: Server, slack: SlackEmulator, folder: Path) -> Iterator[Callable[[Sequence[float]], list[float]]]:
    """Deploy the watchdog; yield what lets failures happen, at seconds from now, and measures the seconds of each."""
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
        # The first check sends no alerts.
        assert installation.run(CHECK)[0] == "COMPLETED"
        yield partial(_measure, server, slack, count())
    finally:
        worker.stop()


def _measure(server: Server, slack: SlackEmulator, numbers: Iterator[int], at: Sequence[float]) -> list[float]:
    start = time.monotonic()
    failed = {}
    for seconds in at:
        time.sleep(max(0.0, start + seconds - time.monotonic()))
        name = f"load-{next(numbers):03}"
        failed[name] = _end(server, name, {"type": "FAILED", "name": "Failed", "message": "ValueError: no rows"})
    sent: dict[str, float] = {}

    def all_sent() -> bool:
        # Without a pause, the emulator rejects requests.
        time.sleep(1)
        messages = _messages(slack)
        for name, failure in failed.items():
            times = [float(message["ts"]) for message in messages if f"etl/{name}" in str(message)]
            if at_once := [time for time in times if time > failure.timestamp()]:
                sent[name] = min(at_once)
        return len(sent) == len(failed)

    wait_until(all_sent, timeout=400, waiting_for=f"the messages about {', '.join(failed)}")
    took = [sent[name] - failure.timestamp() for name, failure in failed.items()]
    for name in failed:
        # Three deployments that fail with one error would be one problem, notified once.
        _end(server, name, {"type": "COMPLETED"})
    apart = f"{at[-1]:.0f} s apart: " if at[-1] else ""
    print(f"{apart}{', '.join(f'{seconds:.1f} s' for seconds in took)}", flush=True)
    time.sleep(PAUSE)
    return took


def _end(server: Server, name: str, state: dict[str, str]) -> datetime:
    """Let a run of a deployment end in a state; return when it did, by the server's clock."""
    flow = server.request("POST", "/flows/", {"name": "etl"})
    deployment = server.request("POST", "/deployments/", {"name": name, "flow_id": flow["id"]})
    body = {"flow_id": flow["id"], "deployment_id": deployment["id"], "state": {"type": "RUNNING"}}
    run = server.request("POST", "/flow_runs/", body)
    server.request("POST", f"/flow_runs/{run['id']}/set_state", {"state": state})
    ended = server.request("GET", f"/flow_runs/{run['id']}")["state"]["timestamp"]
    return datetime.fromisoformat(ended.replace("Z", "+00:00"))


def _messages(slack: SlackEmulator) -> list[dict[str, Any]]:
    """All messages and replies: an incident that joins a message is a reply that is shown in the channel."""
    messages = slack.messages("alerts")
    threads = [slack.replies("alerts", message["ts"])[1:] for message in messages if message.get("reply_count")]
    # An edited message keeps the time at which it was posted, and may name what joined it later.
    posted = [message for message in messages if not message.get("edited")]
    return [*(reply for thread in threads for reply in thread), *posted]


if __name__ == "__main__":
    main()
