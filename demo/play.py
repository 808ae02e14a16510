"""The demo from start to end: plant faults, run the watchdog, and compare its findings with the faults."""

from __future__ import annotations

import json
import time
from collections.abc import Generator

from rich.console import Console

from demo.expected import Comparison, Finding, compare
from demo.plant import NO_SUCCESS_FOR_DAYS, STORIES
from demo.progress import Progress
from demo.stack import Server
from demo.stage import WATCHDOG_POOL, WORKLOAD_POOL, Stage, Steps
from monitoring.adapters.prefect.publish.artifacts import ARTIFACTS
from monitoring.model.prefect import SKIPPED, SUPERSEDED

CHECK, DIGEST = "watchdog-check/check", "watchdog-digest/digest"


def play(server: Server, console: Console) -> tuple[Stage, Comparison]:
    """Start everything, plant every fault, run the watchdog through its worker, and show its reports."""
    progress = Progress(console)
    stage = _open(server, progress)
    _plant(stage, progress)
    comparison = _watch(stage, progress)
    show(stage, comparison, console)
    return stage, comparison


def stay(stage: Stage) -> None:
    """Keep the stack up, and one workload without a success, until something ends or interrupts it."""
    while True:
        stage.refresh()
        stage.cancel_what_comes(NO_SUCCESS_FOR_DAYS)
        time.sleep(10)


def _open(server: Server, progress: Progress) -> Stage:
    old = (server.home / "prefect.db").exists()
    progress.print(
        "Starting a Prefect server " + ("on the database of the last demo" if old else "with a new database")
    )
    with progress.waiting("starting the server"):
        server.start()
        server.wait_ready()
    progress.print(f"The server is ready: {server.ui_url}")
    stage = Stage(server)
    workloads = [story.workload for story in STORIES]
    stage.clear(workloads)
    stage.deploy(workloads)
    progress.print(f"Deployed {len(workloads)} workloads")
    return stage


def _plant(stage: Stage, progress: Progress) -> None:
    progress.print("Deploying the watchdog and planting the faults: this takes two to three minutes")
    stage.workers[WORKLOAD_POOL].start()
    outcomes = {
        story.workload.flow: f"planted, expected as {story.check}" if story.check else "done, no finding expected"
        for story in STORIES
    }
    stories = {story.workload.flow: story.plant(stage, story.workload) for story in STORIES}
    progress.run(
        stage.refresh, stories | {"the watchdog": _deploy_watchdog(stage)}, outcomes | {"the watchdog": "deployed"}
    )


def _deploy_watchdog(stage: Stage) -> Steps:
    """Start the watchdog's worker, which creates its work pool, and deploy the watchdog as a user does."""
    yield from stage.online(WATCHDOG_POOL)
    yield from stage.program("deploy", "-m", "prefect", "deploy", "--all")


def _watch(stage: Stage, progress: Progress) -> Comparison:
    """Run the watchdog's deployments and compare its findings with the planted faults."""
    progress.print("All faults are planted. Running the watchdog's check through its worker")
    progress.run(stage.refresh, {"the check": _check(stage)}, {"the check": "completed"})
    progress.print("Running its digest")
    progress.run(stage.refresh, {"the digest": _digest(stage)}, {"the digest": "completed"})
    rows = json.loads(stage.artifact("watchdog-findings"))
    return compare([finding for story in STORIES for finding in story.findings], map(Finding.from_row, rows))


def _check(stage: Stage) -> Steps:
    """Run the check until it completes itself: a scheduled one may be running that started too early."""
    while (yield from _complete(stage, CHECK)) in (SKIPPED, SUPERSEDED):
        yield "another check is running, trying again"


def _digest(stage: Stage) -> Steps:
    """Run the digest."""
    yield from _complete(stage, DIGEST)


def _complete(stage: Stage, deployment: str) -> Generator[str, None, str]:
    run = yield from stage.begin(deployment)
    yield from stage.state(run, "COMPLETED")
    # It sends its last log lines when its process ends.
    while stage.workers[WATCHDOG_POOL].flow_run_pids(run.id):
        yield "completed, and its process ends"
    return run.message


def show(stage: Stage, comparison: Comparison, console: Console) -> None:
    """Print what was found, beside what was planted, and where to look: on one screen."""
    console.rule("What the watchdog found")
    marks = (("reported", "green"), ("MISSED", "bold red"), ("NOT PLANTED", "bold red"))
    for findings, (mark, style) in zip(comparison, marks, strict=True):
        for finding in findings:
            line = (
                f"{mark:<11}  {finding.check:<11}  {finding.severity:<8}  {finding.subject:<42}  {finding.cause or ''}"
            )
            # A line each, at any width: the rest is in the artifacts.
            console.print(line, style=style, no_wrap=True, overflow="ellipsis")
    console.print(comparison.verdict, style="bold green" if comparison.is_right else "bold red")
    console.rule("Where to look")
    console.print(f"user interface     {stage.server.ui_url}")
    for key in ARTIFACTS:
        console.print(f"{key:<18} {stage.server.ui_url}/artifacts/key/{key}")
    console.print(
        f"at a terminal      PREFECT_API_URL={stage.server.api_url} WATCHDOG_CONFIG=demo/watchdog.yaml watchdog check"
    )
