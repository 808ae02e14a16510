"""The commands for tuning, in a process of their own, on a real server with a past."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from demo.stack import Server, prefect_env
from tests.support.command_line import CommandResult, watchdog
from tests.support.seed_values import DAY, HOUR, MINUTE, Run
from tests.support.seeding import Seed


def run(server: Server, folder: Path, *words: str) -> CommandResult:
    return watchdog(*words, env=prefect_env(folder, server.api_url), cwd=folder)


def lines(printed: CommandResult, *words: str) -> list[str]:
    """The lines of stdout that hold all the words, in their order."""
    pattern = ".*".join(map(re.escape, words))
    return [line for line in printed.stdout.splitlines() if re.search(pattern, line)]


# --- check --at --------------------------------------------------------------------------------------


def test_another_clock_judges_what_waits_now_and_what_had_ended_by_then(
    prefect_server: Server, world: Seed, tmp_path: Path
) -> None:
    world.run(world.deployment("etl/failed"), "FAILED", ended=world.now - HOUR)
    then = (world.now - 2 * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = run(prefect_server, tmp_path, "check", "--at", then)
    now = run(prefect_server, tmp_path, "check")

    assert lines(now, "warning", "etl/failed")
    assert not lines(before, "warning", "etl/failed")
    assert (world.now - 2 * HOUR).strftime("%Y-%m-%d %H:%M UTC") in before.stdout
    assert "Traceback" not in before.text


# --- backtest ----------------------------------------------------------------------------------------


def history(world: Seed) -> None:
    """Three days: a failure that was mended, a run that came late, and one that is slow for some."""
    etl = world.deployment("etl/nightly", schedule="0 0 1 1 *", tags=["watchdog:owner=data"])
    world.run(etl, "FAILED", ended=world.now - 2 * DAY, message="ValueError: password=hunter2")
    world.run(etl, ended=world.now - 2 * DAY + 3 * HOUR)
    late = world.deployment("late/once")
    due = world.now - DAY
    world.run(late, due=due, started=due + HOUR, ended=due + HOUR + MINUTE)
    slow = world.deployment("slow/once")
    world.run(slow, due=due, started=due, ended=due + 2 * HOUR)
    own = world.deployment("watchdog-check/default")
    world.run(own, "FAILED", ended=world.now - DAY)


def test_the_past_is_replayed(prefect_server: Server, world: Seed, tmp_path: Path) -> None:
    history(world)
    printed = run(prefect_server, tmp_path, "backtest", "--days", "3")

    assert (printed.status, printed.stderr) == (0, "")
    assert printed.stdout.startswith("Backtest of prefect: ")
    [failed] = lines(printed, "UTC", "UTC", "3 h", "warning", "failed", "etl/nightly")
    assert "failed.tolerate 0" in failed
    [late] = lines(printed, "UTC", "UTC", "45 min", "warning", "late", "late/once")
    assert "late.after 15m" in late
    # The noise has a past as well: it failed 50 hours ago, and had no success before that.
    assert "defaults: 3 alerts, 1.0 a day (1 already there at the start)" in printed.stdout
    assert len([line for line in lines(printed, "noise") if not line.startswith("  ")]) == 2
    assert "watchdog-check" not in printed.stdout
    assert "hunter2" not in printed.stdout
    assert "zombie, ghost: heartbeats are events" in printed.stdout


def test_two_configurations_are_compared(prefect_server: Server, world: Seed, tmp_path: Path) -> None:
    history(world)
    (tmp_path / "watchdog.yaml").write_text("late:\n  after: 20m\n")
    (tmp_path / "other.yaml").write_text("late:\n  enabled: false\nslow:\n  limit: 1h\n")
    printed = run(prefect_server, tmp_path, "backtest", "--days", "3", "--config", "other.yaml")

    assert (printed.status, printed.stderr) == (0, "")
    assert "other.yaml against watchdog.yaml: 1 no longer opened, 1 new, 0 at other times" in printed.stdout
    assert lines(printed, "gone", "late", "late/once", "watchdog.yaml line 2")
    assert lines(printed, "new", "slow", "slow/once", "other.yaml line 4")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        pytest.param(["backtest", "--days", "0"], "days", id="no-days"),
        pytest.param(["backtest", "--days", "91"], "days", id="too-many"),
        pytest.param(["backtest", "--config", "missing.yaml"], "missing.yaml: cannot be read", id="no-file"),
    ],
)
def test_what_cannot_be_replayed_is_said(tmp_path: Path, words: list[str], line: str) -> None:
    (tmp_path / "watchdog.yaml").write_text("")
    printed = watchdog(*words, env=prefect_env(tmp_path, "http://127.0.0.1:1/api"), cwd=tmp_path)

    assert printed.status == 3
    assert line in printed.text
    assert "Traceback" not in printed.text


def test_a_server_that_is_gone_has_no_past(tmp_path: Path) -> None:
    (tmp_path / "watchdog.yaml").write_text("")
    printed = watchdog("backtest", env=prefect_env(tmp_path, "http://127.0.0.1:1/api"), cwd=tmp_path)

    assert (printed.status, printed.stdout) == (3, "")
    assert "no answer from http://127.0.0.1:1/api" in printed.stderr
    assert "Traceback" not in printed.text


def test_many_runs_of_many_days(prefect_server: Server, world: Seed, tmp_path: Path) -> None:
    busy = [world.deployment(f"busy/number-{n}") for n in range(20)]
    world.many(
        Run(deployment=row, due=at, started=at, ended=at + timedelta(minutes=4), history=())
        for row in busy
        for at in (world.now - n * HOUR for n in range(1, 5 * 24))
    )
    printed = run(prefect_server, tmp_path, "backtest", "--days", "4")

    assert printed.status == 0
    assert "defaults: 1 alert, 0.2 a day" in printed.stdout
    assert "busy" not in printed.stdout
    assert lines(printed, "2,4", "runs of")


# --- explain -----------------------------------------------------------------------------------------


def section(printed: CommandResult, check: str) -> str:
    """What was said of one check."""
    return next(part for part in printed.stdout.split("\n\n") if part.lstrip().startswith(f"{check}: "))


def test_every_check_shows_what_it_compared(prefect_server: Server, world: Seed, tmp_path: Path) -> None:
    (tmp_path / "watchdog.yaml").write_text("late:\n  after: 2h\n")
    deployment = world.deployment("etl/nightly", tags=["watchdog:max-run-time=90s", "watchdog:owner=data"])
    world.many(
        Run(deployment=deployment, started=world.now - n * HOUR, ended=world.now - n * HOUR + n * MINUTE)
        for n in range(2, 14)
    )
    world.run(deployment, "Late", due=world.now - HOUR)
    printed = run(prefect_server, tmp_path, "explain", "etl/nightly")

    assert (printed.status, printed.stderr) == (0, "")
    assert printed.stdout.startswith("etl/nightly (")
    assert "/deployments/deployment/" in printed.stdout
    assert "late: nothing found: no run has been due for too long" in section(printed, "late")
    assert "due for 1 h; limit: 2 h" in section(printed, "late")
    assert "late.after 2h (watchdog.yaml line 2)" in section(printed, "late")
    assert section(printed, "slow").startswith("slow: found")
    assert "slow.limit 90s" in section(printed, "slow") or "slow.limit 1m30s" in section(printed, "slow")
    assert "(tag watchdog:max-run-time=90s)" in section(printed, "slow")
    assert re.search(r"^Owner +data *$", section(printed, "slow"), re.MULTILINE)
    assert "failed: nothing found: the last ended run has not failed" in printed.stdout
    assert "Run times of its newest 12 completed runs:" in printed.stdout
    assert "median" in printed.stdout
    assert "█" in printed.stdout


def test_a_plot_without_unicode(prefect_server: Server, world: Seed, tmp_path: Path) -> None:
    deployment = world.deployment("etl/nightly")
    world.many(Run(deployment=deployment, ended=world.now - n * HOUR) for n in range(1, 14))
    env = prefect_env(tmp_path, prefect_server.api_url, {"PYTHONIOENCODING": "ascii"})
    printed = watchdog("explain", "etl/nightly", env=env, cwd=tmp_path)

    assert (printed.status, printed.stderr) == (0, "")
    assert printed.stdout.isascii()
    assert re.search(r"#{10,} +13 runs <- median 1 min", printed.stdout)


def test_a_failed_run_beside_the_last_good_one(prefect_server: Server, world: Seed, tmp_path: Path) -> None:
    deployment = world.deployment("etl/nightly")
    ended = world.now - 3 * HOUR
    good = world.run(
        deployment,
        started=ended - HOUR,
        ended=ended,
        parameters={"day": "2026-01-01", "password": "hunter2", "same": [1, 2]},
        columns={"deployment_version": "v1", "infrastructure_pid": "4711", "work_queue_name": "default"},
    )
    for name in ("extract", "load", "report"):
        world.task_run(good, name, at=ended, started=ended - MINUTE)
    bad = world.run(
        deployment,
        "FAILED",
        started=world.now - 2 * HOUR,
        ended=world.now - HOUR,
        message="ValueError: token=abc123",
        parameters={"day": "2026-01-02", "password": "hunter3", "same": [1, 2]},
        columns={"deployment_version": "v2", "infrastructure_pid": "4712"},
    )
    world.task_run(bad, "extract", at=world.now - HOUR, started=world.now - 2 * HOUR)
    world.task_run(bad, "load", state="FAILED", at=world.now - HOUR, started=world.now - HOUR - MINUTE)
    for flow_run, worker in ((good, "left"), (bad, "right")):
        resource = {"prefect.resource.id": f"prefect.worker.process.{worker}", "prefect.resource.name": worker}
        related = [{"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.role": "flow-run"}]
        world.events("prefect.worker.submitted-flow-run", resource, [flow_run.ended or world.now], related=related)
    printed = run(prefect_server, tmp_path, "explain", str(bad.id))

    assert (printed.status, printed.stderr) == (0, "")
    assert section(printed, "failed").startswith("failed: found")
    text = printed.stdout.partition("Compared with the last good run")[2]
    assert re.search(r'parameter day +"2026-01-02" +"2026-01-01"', text)
    assert re.search(r'parameter password +"REDACTED" \(a different value\) +"REDACTED"', text)
    assert re.search(r"deployment version +v2 +v1", text)
    assert re.search(r"worker +right +left", text)
    assert re.search(r"task extract +Completed in 1 h +Completed in 1 min", text)
    assert re.search(r"task load +Failed in 1 min +Completed in 1 min", text)
    assert re.search(r"task report +not reached +Completed in 1 min", text)
    assert "same" not in text
    assert "infrastructure" not in text
    assert "hunter" not in printed.text
    assert "abc123" not in printed.text


def test_a_run_that_is_well_is_compared_with_none(prefect_server: Server, world: Seed, tmp_path: Path) -> None:
    done = world.run(world.deployment("etl/nightly"), ended=world.now - HOUR)
    first = world.run(world.deployment("etl/first"), "CRASHED", ended=world.now - HOUR)

    assert "The run has not failed" in run(prefect_server, tmp_path, "explain", str(done.id)).stdout
    assert "No earlier run completed" in run(prefect_server, tmp_path, "explain", str(first.id)).stdout


def test_what_cannot_be_explained_is_said(prefect_server: Server, world: Seed, tmp_path: Path) -> None:
    own = world.deployment("watchdog-check/default")
    loose = world.run(None, ended=world.now - HOUR)
    nobody = "00000000-0000-4000-8000-000000000000"
    for name, line in (
        ("etl/none", "etl/none: no such deployment"),
        (nobody, f"{nobody}: no such flow run"),
        ("nightly", "nightly: expected FLOW/DEPLOYMENT"),
        (own.full_name, "not watched: it belongs to the watchdog"),
        (str(loose.id), "target.runs_without_deployment is false"),
    ):
        printed = run(prefect_server, tmp_path, "explain", name)
        assert (printed.status, printed.stdout) == (3, "")
        assert line in printed.stderr.replace("\n", " ")
        assert "Traceback" not in printed.text
