"""The command line as somebody at a terminal or a script runs it, in a process of its own, on a real server."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import jsonschema
import pytest

from demo.stack import Server, free_port, prefect_env
from tests.support.command_line import CommandResult, watchdog
from tests.support.paths import PROJECT
from tests.support.relay import relayed
from tests.support.seed_values import HOUR, Run
from tests.support.seeding import Seed

SCHEMA = json.loads((PROJECT / "monitoring" / "messages" / "check.schema.json").read_text())
#: What may be asked by POST: the API's own way to filter and to count.
READS = re.compile(
    r"/(flows|flow_runs|task_runs|deployments|work_pools|work_queues|block_documents)/(filter|count)"
    r"|/work_pools/[^/]+/workers/filter|/events/(filter|count-by/resource)|/logs/filter"
    r"|(/v2)?/concurrency_limits/filter|/ui/flow_runs/count-task-runs"
)
#: Tables into which the server's own services write while a test looks on.
ALIVE = ("flow_run", "flow_run_state", "events", "event_resources", "deployment", "work_pool", "work_queue", "worker")


def run(server: Server, folder: Path, *words: str, **env: str) -> CommandResult:
    return watchdog(*words, env=prefect_env(folder, server.api_url, env), cwd=folder)


def contents(server: Server) -> dict[str, str]:
    """A digest of every table in the server's database but those that its services write to."""
    with closing(sqlite3.connect(server.home / "prefect.db", timeout=60)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: hashlib.sha256(
                repr(sorted(map(repr, database.execute(f"SELECT * FROM {table}")))).encode()
            ).hexdigest()
            for table in tables
            if table not in ALIVE
        }


def test_nothing_is_wrong(prefect_server: Server, world: Seed, tmp_path: Path) -> None:
    result = run(prefect_server, tmp_path, "check")
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout.startswith("OK prefect")
    assert "noise" not in result.stdout


def test_a_warning_and_its_json(prefect_server: Server, world: Seed, tmp_path: Path) -> None:
    deployment = world.deployment("etl|🔥/nightly\nsecond line", schedule="0 0 1 1 *")
    failed = world.run(deployment, "FAILED", ended=world.now - HOUR, message="ValueError: no rows\nin two lines")
    result = run(prefect_server, tmp_path, "check", "--json")
    assert (result.status, result.stderr) == (1, "")
    jsonschema.validate(result.report, SCHEMA)
    [finding] = result.report["findings"]
    assert (finding["check"], finding["severity"]) == ("failed", "warning")
    assert finding["deployment"] == "etl|🔥/nightly\nsecond line"
    assert finding["flow_run_ids"] == [str(failed.id)]
    assert finding["since"] == (world.now - HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert result.stdout.isascii()

    table = run(prefect_server, tmp_path, "check")
    assert (table.status, table.stderr) == (1, "")
    assert table.stdout.startswith("WARNING prefect")
    assert f"{prefect_server.ui_url}/runs/flow-run/{failed.id}" in table.stdout


def test_three_hundred_late_runs_are_one_symptom_of_their_pool(
    prefect_server: Server, world: Seed, tmp_path: Path
) -> None:
    deployment = world.deployment("late/backlog", pool=world.pool("nobody"))
    world.many(Run(deployment=deployment, state="Late", due=world.now - 3 * HOUR, history=()) for _ in range(300))
    result = run(prefect_server, tmp_path, "check", "--json")
    assert result.status == 2
    jsonschema.validate(result.report, SCHEMA)
    [head, finding] = result.report["findings"]
    assert (head["check"], head["severity"], head["symptom_of"]) == ("work-pool", "critical", None)
    assert (finding["check"], finding["symptom_of"]) == ("late", head["fingerprint"])
    assert (finding["flow_run_count"], len(finding["flow_run_ids"])) == (300, 300)
    cause = finding["cause"]
    assert (cause["kind"], cause["name"], cause["reason"]) == ("work-pool", "nobody", "no-live-worker")


def test_the_window_and_the_target_can_be_given(prefect_server: Server, world: Seed, tmp_path: Path) -> None:
    world.run(world.deployment("etl/nightly"), "FAILED", ended=world.now - 3 * HOUR)
    env = prefect_env(tmp_path, f"http://127.0.0.1:{free_port()}/api")
    target = ["--target", prefect_server.api_url]
    for window, status in (("2h", 0), ("4h", 1)):
        result = watchdog("check", *target, "--window", window, env=env, cwd=tmp_path)
        assert (result.status, result.stderr) == (status, ""), result.text


def test_the_command_line_only_reads(prefect_server: Server, world: Seed, tmp_path: Path) -> None:
    failed = world.run(world.deployment("etl/nightly"), "FAILED", ended=world.now - HOUR)
    world.run(world.deployment("late/nobody", pool=world.pool("nobody")), "Late", due=world.now - HOUR)
    before = contents(prefect_server)
    commands = (
        ["check"],
        ["check", "--json"],
        ["digest"],
        ["config", "show", "etl/nightly"],
        ["backtest", "--days", "2"],
        ["explain", "etl/nightly"],
        ["explain", str(failed.id)],
        ["incidents", "list", "--all"],
        ["silence", "list"],
    )
    with relayed(prefect_server.ui_url) as relay:
        env = prefect_env(tmp_path, relay.url)
        statuses = [watchdog(*words, env=env, cwd=tmp_path).status for words in commands]
    # The pool that nobody works for is critical.
    assert statuses == [2, 2, 0, 0, 0, 0, 0, 0, 0]
    assert len(relay.requests) > 30
    other = [(request.method, request.path) for request in relay.requests if request.method != "GET"]
    assert [(method, path) for method, path in other if method != "POST" or not READS.fullmatch(path)] == []
    assert contents(prefect_server) == before
    assert "block_document" in before


def test_the_digest_counts_how_runs_ended(prefect_server: Server, world: Seed, tmp_path: Path) -> None:
    deployment = world.deployment("etl/nightly")
    midnight = world.now.replace(hour=0, minute=0, second=0, microsecond=0)
    for state, count in (("COMPLETED", 30), ("FAILED", 5), ("CRASHED", 3), ("CANCELLED", 2)):
        world.many(Run(deployment=deployment, state=state, ended=midnight - HOUR, history=()) for _ in range(count))
    own = world.deployment("watchdog-check/default")
    world.many(Run(deployment=own, state="FAILED", ended=midnight - HOUR, history=()) for _ in range(9))
    world.many(Run(state="FAILED", ended=midnight - HOUR, history=()) for _ in range(7))
    result = run(prefect_server, tmp_path, "digest")
    assert (result.status, result.stderr) == (0, "")
    yesterday = result.stdout.partition("Yesterday")[2].partition("The day before")[0]
    # The noise's hourly runs are well, and all of yesterday's hours had one or two of them end.
    failed_crashed_cancelled = r" 5 +3 +2 *$"
    assert re.search(failed_crashed_cancelled, yesterday, re.MULTILINE), result.stdout


# --- unable ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "line"),
    [
        pytest.param(["chekc"], "chekc", id="command"),
        pytest.param(["check", "--jsn"], "--jsn", id="option"),
        pytest.param(["check", "--window", "soon"], "--window: 'soon'", id="window"),
        pytest.param(["check", "--at", "2026-03-10T02:00:00"], "expected a time with its zone", id="no-zone"),
        pytest.param(["check", "--at", "yesterday"], "--at: 'yesterday'", id="no-time"),
        pytest.param(["check", "--config", "missing.yaml"], "missing.yaml: cannot be read", id="no-file"),
        pytest.param(["check", "--config", "wrong.yaml"], "wrong.yaml:2", id="unknown-key"),
        pytest.param(["check", "--config", "."], ".: cannot be read", id="a-folder"),
    ],
)
def test_what_cannot_be_understood_is_no_warning(tmp_path: Path, words: list[str], line: str) -> None:
    """A script that knows only the exit status must not take a slip of the pen for a warning of the server's."""
    (tmp_path / "wrong.yaml").write_text("late:\n  aftr: 5m\n")
    result = watchdog(*words, env=prefect_env(tmp_path, "http://127.0.0.1:1/api"), cwd=tmp_path)
    assert result.status == 3
    assert line in result.text
    assert "Traceback" not in result.text


@pytest.mark.parametrize("words", [["check"], ["digest"]])
def test_without_an_address_no_server_is_started(tmp_path: Path, words: list[str]) -> None:
    # Prefect's own default: a client without an address starts a server of its own.
    env = prefect_env(tmp_path, extra={"PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true"})
    result = watchdog(*words, env=env, cwd=tmp_path)
    assert (result.status, result.stdout) == (3, "")
    assert result.stderr.startswith("PREFECT_API_URL: not set; expected the API's address")
    assert not list(tmp_path.rglob("*.db"))


def test_no_digest_of_a_server_that_is_not_there(tmp_path: Path) -> None:
    result = watchdog("digest", env=prefect_env(tmp_path, f"http://127.0.0.1:{free_port()}/api"), cwd=tmp_path)
    assert result.status == 3
    assert "is the server running, and PREFECT_API_URL right?" in result.text
    assert "Traceback" not in result.text


def test_a_broken_pipe_is_no_fault(prefect_server: Server, world: Seed, tmp_path: Path) -> None:
    """``watchdog check | head -1``."""
    program = Path(sys.executable).with_name("watchdog")
    world.many(
        Run(deployment=world.deployment(f"etl/number-{n}"), state="FAILED", ended=world.now - HOUR) for n in range(3)
    )
    piped = subprocess.run(
        ["sh", "-c", f"{program} check | true"],
        env=prefect_env(tmp_path, prefect_server.api_url),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert "Traceback" not in piped.stderr
    assert "BrokenPipe" not in piped.stderr
