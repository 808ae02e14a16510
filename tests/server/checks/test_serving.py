"""Processes that serve deployments, stopped and killed, beside a pause that a person made."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from demo.stack import Server, wait_until
from monitoring.model.finding import Finding
from monitoring.model.ledger import Ledger
from tests.support.assessment import assess_server
from tests.support.seed_values import MINUTE
from tests.support.seeding import Seed

#: Seeded history has no events, and nothing of it was marked late.
QUIET: dict[str, Any] = {"server": {"late_marking": "36500d", "events_missing": "36500d"}}
PROGRAM = """
import sys
from prefect import flow, serve

@flow
def served(): ...

cron, *names = sys.argv[1:]
serve(*(served.to_deployment(name, cron=cron) for name in names))
"""
Serve = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def serve(prefect_server: Server, tmp_path: Path) -> Iterator[Serve]:
    """Starts processes that serve deployments of these names by a cron line."""
    program, started = tmp_path / "program.py", []
    program.write_text(PROGRAM)
    env = prefect_server.client_env({"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_HOME": str(tmp_path / "home")})

    def start(*words: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "serve.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(program), *words],
                stdout=log,
                stderr=log,
                cwd=tmp_path,
                env=env,
                # A shell without job control starts background jobs with interrupts ignored, and tests may be such.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def rows(server: Server) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in server.request("POST", "/deployments/filter", {}) if row["last_polled"]}


def polled(server: Server, name: str, after: datetime | None = None) -> None:
    def seen() -> bool:
        row = rows(server).get(name)
        return row is not None and (after is None or at(row["last_polled"]) > after)

    wait_until(seen, timeout=120, waiting_for=f"a poll for {name}")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def end(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    process.send_signal(how)
    process.wait(timeout=60)


def test_a_schedule_that_ends_with_its_process_is_found_at_the_first_time_it_misses(
    prefect_server: Server, world: Seed, serve: Serve
) -> None:
    due = (world.now + 30 * MINUTE).replace(second=0, microsecond=0)
    hourly = f"{due.minute} * * * *"
    interrupted, killed = serve(hourly, "interrupted"), serve(hourly, "killed")
    terminated = serve(hourly, "terminated", "by-a-person")
    for name in ("interrupted", "by-a-person", "killed"):
        polled(prefect_server, name)
    row = rows(prefect_server)["by-a-person"]
    prefect_server.request("POST", f"/deployments/{row['id']}/pause_deployment", {})
    paused = at(rows(prefect_server)["by-a-person"]["updated"])
    # The process lives on, and is stopped later.
    polled(prefect_server, "by-a-person", after=paused + timedelta(seconds=6))
    before = assess_server(world.now, **QUIET)
    assert not {name for _, name in before.found if name.startswith("served/")}

    end(interrupted, signal.SIGINT)
    end(terminated, signal.SIGTERM)
    end(killed, signal.SIGKILL)
    shown = rows(prefect_server)
    assert {name: shown[name]["paused"] for name in shown} == {
        "interrupted": True,
        "terminated": True,
        "by-a-person": True,
        "killed": False,
    }

    def found(ledger: Ledger, late: timedelta) -> dict[tuple[str, str], Finding]:
        seen = assess_server(due + late, ledger=ledger, **QUIET).found.items()
        return {key: finding for key, finding in seen if key[1].startswith("served/") and not finding.unknown}

    remembered = before.assessment.ledger
    assert found(remembered, 15 * MINUTE) == found(Ledger(), 15 * MINUTE) == {}
    missed = found(remembered, 16 * MINUTE)
    assert {key: finding.severity for key, finding in missed.items()} == {
        ("paused", "served/interrupted"): "warning",
        ("paused", "served/terminated"): "warning",
        ("late", "served/killed"): "warning",
    }
    assert "its serve() process has ended" in missed["paused", "served/interrupted"].summary
    cause = missed["late", "served/killed"].cause
    assert cause
    assert (cause.kind, cause.name, cause.reason) == ("deployment", "served/killed", "not-polled")
    # As it ended, the process paused anew what a person had paused: without memory, nothing shows the first pause.
    assert found(Ledger(), 16 * MINUTE).keys() == {*missed, ("paused", "served/by-a-person")}

    # A process that starts again resumes, and its end is found again, though a check saw the deployment paused before.
    seen_paused = assess_server(due + 16 * MINUTE, ledger=remembered, **QUIET).assessment.ledger
    again = serve(hourly, "interrupted")
    polled(prefect_server, "interrupted", after=at(shown["interrupted"]["last_polled"]))
    end(again, signal.SIGINT)
    assert ("paused", "served/interrupted") in found(seen_paused, 16 * MINUTE)
