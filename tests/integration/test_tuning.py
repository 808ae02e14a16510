"""The commands for tuning, in a process of their own, on a real server with a past."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from demo.stack import Server, prefect_env
from tests.support.looking import Said, watchdog
from tests.support.seeding import DAY, HOUR, MINUTE, Run, Seed

pytestmark = pytest.mark.integration


def run(server: Server, folder: Path, *words: str) -> Said:
    return watchdog(*words, env=prefect_env(folder, server.api_url), cwd=folder)


def lines(said: Said, *words: str) -> list[str]:
    """The lines of stdout that hold all the words, in their order."""
    pattern = ".*".join(map(re.escape, words))
    return [line for line in said.stdout.splitlines() if re.search(pattern, line)]


# --- check --at --------------------------------------------------------------------------------------


def test_another_clock_judges_what_waits_now_and_what_had_ended_by_then(
    prefect_server: Server, world: Seed, tmp_path: Path
) -> None:
    world.run(world.deployment("etl/failed"), "FAILED", ended=world.now - HOUR)
    then = (world.now - 2 * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = run(prefect_server, tmp_path, "check", "--at", then)
    now = run(prefect_server, tmp_path, "check")

    assert lines(now, "failed", "etl/failed")
    assert not lines(before, "failed", "etl/failed")
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
    said = run(prefect_server, tmp_path, "backtest", "--days", "3")

    assert (said.status, said.stderr) == (0, "")
    assert said.stdout.startswith("Backtest of prefect: ")
    [failed] = lines(said, "UTC", "UTC", "3 h", "warning", "failed", "etl/nightly")
    assert "failed.tolerate 0" in failed
    assert "(default)" in failed
    [late] = lines(said, "UTC", "UTC", "45 min", "warning", "late", "late/once")
    assert "late.after 15m" in late
    # The noise has a past as well: it failed 50 hours ago, and had no success before that.
    assert "defaults: 3 alerts, 1.0 a day (1 was so before it began)" in said.stdout
    assert len(lines(said, "noise")) == 2
    assert "watchdog-check" not in said.stdout
    assert "hunter2" not in said.stdout
    assert "zombie: heartbeats are events" in said.stdout


def test_two_configurations_are_compared(prefect_server: Server, world: Seed, tmp_path: Path) -> None:
    history(world)
    (tmp_path / "watchdog.yaml").write_text("late:\n  after: 20m\n")
    (tmp_path / "other.yaml").write_text("late:\n  enabled: false\nslow:\n  limit: 1h\n")
    said = run(prefect_server, tmp_path, "backtest", "--days", "3", "--config", "other.yaml")

    assert (said.status, said.stderr) == (0, "")
    assert "other.yaml against watchdog.yaml: 1 no longer opened, 1 new, 0 at other times" in said.stdout
    assert lines(said, "gone", "late", "late/once", "watchdog.yaml line 2")
    assert lines(said, "new", "slow", "slow/once", "other.yaml line 4")


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
    said = watchdog(*words, env=prefect_env(tmp_path, "http://127.0.0.1:1/api"), cwd=tmp_path)

    assert said.status == 3
    assert line in said.text
    assert "Traceback" not in said.text


def test_a_server_that_is_gone_has_no_past(tmp_path: Path) -> None:
    (tmp_path / "watchdog.yaml").write_text("")
    said = watchdog("backtest", env=prefect_env(tmp_path, "http://127.0.0.1:1/api"), cwd=tmp_path)

    assert (said.status, said.stdout) == (3, "")
    assert "no answer from http://127.0.0.1:1/api" in said.stderr
    assert "Traceback" not in said.text


def test_many_runs_of_many_days(prefect_server: Server, world: Seed, tmp_path: Path) -> None:
    busy = [world.deployment(f"busy/number-{n}") for n in range(20)]
    world.many(
        Run(deployment=one, due=at, started=at, ended=at + timedelta(minutes=4), history=())
        for one in busy
        for at in (world.now - n * HOUR for n in range(1, 5 * 24))
    )
    said = run(prefect_server, tmp_path, "backtest", "--days", "4")

    assert said.status == 0
    assert "defaults: 1 alert, 0.2 a day" in said.stdout
    assert "busy" not in said.stdout
    assert lines(said, "2,4", "runs of")
