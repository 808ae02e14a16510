"""The demo from its beginning to its end: faults are planted, the watchdog looks, and the two are compared."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Generator

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from demo.expected import Comparison, Finding, compare
from demo.plant import NO_SUCCESS_FOR_DAYS, STORIES
from demo.progress import Progress
from demo.stack import Server, StackError
from demo.stage import ROOT, WATCHDOG_CONFIG, WATCHDOG_POOL, WORKLOAD_POOL, Stage, Steps

CHECK, DIGEST = "watchdog-check/check", "watchdog-digest/digest"
ARTIFACTS = ("watchdog-health", "watchdog-findings", "watchdog-digest")


def play(server: Server, console: Console) -> tuple[Stage, Comparison]:
    """Start everything, plant every fault, let the watchdog look at it through its worker, and show what it said."""
    progress = Progress(console)
    stage = _open(server, progress)
    _plant(stage, progress)
    comparison = _watch(stage, progress)
    _show(stage, console)
    _judge(comparison, console)
    return stage, comparison


def stay(stage: Stage) -> None:
    """Keep the stack up, and one workload without a success, until something ends or interrupts it."""
    while True:
        stage.refresh()
        stage.cancel_what_comes(NO_SUCCESS_FOR_DAYS)
        time.sleep(10)


def _open(server: Server, progress: Progress) -> Stage:
    old = (server.home / "prefect.db").exists()
    progress.say("A Prefect server starts, " + ("on the database of last time" if old else "and makes its database"))
    with progress.waiting("the server starts"):
        server.start()
        server.wait_ready()
    progress.say(f"It is ready: {server.ui_url}")
    stage = Stage(server)
    workloads = [story.workload for story in STORIES]
    stage.clear(workloads)
    stage.deploy(workloads)
    progress.say(f"{len(workloads)} workloads are deployed")
    return stage


def _plant(stage: Stage, progress: Progress) -> None:
    progress.say("The watchdog is being deployed, and the workloads run into trouble: that takes two to three minutes")
    stage.workers[WORKLOAD_POOL].start()
    told = {
        story.workload.flow: f"planted, to be reported as {story.check}" if story.check else "done, nothing to report"
        for story in STORIES
    }
    stories = {story.workload.flow: story.tell(stage, story.workload) for story in STORIES}
    progress.tell(stage.refresh, stories | {"the watchdog": _hire(stage)}, told | {"the watchdog": "deployed"})


def _hire(stage: Stage) -> Steps:
    """Start the watchdog's worker, which makes its work pool, and deploy the watchdog as any user does."""
    yield from stage.online(WATCHDOG_POOL)
    yield from stage.program("deploy", "-m", "prefect", "deploy", "--all")


def _watch(stage: Stage, progress: Progress) -> Comparison:
    """Run the watchdog's deployments and compare what it found with what was planted."""
    progress.say("All is planted. The watchdog's check runs through its worker")
    progress.tell(stage.refresh, {"the check": _look(stage)}, {"the check": "completed"})
    progress.say("Now its digest")
    progress.tell(stage.refresh, {"the digest": _report(stage)}, {"the digest": "completed"})
    rows = json.loads(stage.artifact("watchdog-findings"))
    return compare([finding for story in STORIES for finding in story.findings], map(Finding.from_row, rows))


def _look(stage: Stage) -> Steps:
    """Run the check until it has looked: one that its own schedule started may be at it, and have begun too early."""
    while "another check" in (yield from _complete(stage, CHECK)).lower():
        yield "another check is running, so once more"


def _report(stage: Stage) -> Steps:
    """Run the digest."""
    yield from _complete(stage, DIGEST)


def _complete(stage: Stage, deployment: str) -> Generator[str, None, str]:
    run = yield from stage.begin(deployment)
    yield from stage.state(run, "COMPLETED")
    return run.message


def _show(stage: Stage, console: Console) -> None:
    console.rule("The health summary, as the watchdog's artifact has it")
    console.print(Markdown(stage.artifact("watchdog-health")))
    console.rule("The digest, as Slack would show it")
    env = stage.server.client_env({**WATCHDOG_CONFIG, "COLUMNS": str(console.width)})
    if subprocess.run(["watchdog", "digest"], env=env, cwd=ROOT, check=False).returncode:
        raise StackError("`watchdog digest` failed")
    console.rule("Where to look")
    console.print(f"user interface     {stage.server.ui_url}")
    for key in ARTIFACTS:
        console.print(f"{key:<18} {stage.server.ui_url}/artifacts/key/{key}")


def _judge(comparison: Comparison, console: Console) -> None:
    console.rule("What was planted and what was reported")
    table = Table(box=None)
    for heading in ("", "check", "severity", "subject", "cause"):
        table.add_column(heading)
    marks = (("reported", "green"), ("MISSED", "bold red"), ("NOT PLANTED", "bold red"))
    for findings, (mark, style) in zip(comparison, marks, strict=True):
        for finding in findings:
            table.add_row(mark, finding.check, finding.severity, finding.subject, finding.cause or "-", style=style)
    console.print(table)
    console.print(comparison.verdict, style="bold green" if comparison.is_right else "bold red")
