"""From a server that has nothing to deployments on it: what a user types, and what the server holds afterwards."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from pytest_httpserver import HTTPServer

from demo.stack import Process, Server, wait_until
from monitoring.config.settings import Policy
from tests.support.deployed_watchdog import (
    CHECK,
    DIGEST,
    POOL,
    QUICK,
    Deployed,
    at_a_terminal,
    copy_of_the_project,
    foreign_repository,
    pause_schedules,
    prefect,
    run,
    scheduled,
    worker_beside,
)
from tests.support.noise import noise
from tests.support.paths import PROJECT
from tests.support.seeding import Seed

DEPLOY = ("prefect", "deploy", "--all")
GIT = ("git", "-c", "user.name=Jo", "-c", "user.email=jo@example.org", "-c", "init.defaultBranch=main")


@pytest.fixture
def server(prefect_server: Server, seed: Seed) -> Server:
    noise(seed)
    return prefect_server


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_of_the_project(tmp_path / "a project")


def git(folder: Path) -> None:
    """Make a folder a repository with one commit."""
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True)


def make_pool(server: Server, name: str = POOL) -> None:
    prefect(server, "work-pool", "create", name, "--type", "process", cwd=server.home)


def edit(project: Path, old: str, new: str) -> None:
    """Change prefect.yaml in one place."""
    file = project / "prefect.yaml"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def run_from_git(project: Path, repository: Path) -> None:
    """Change prefect.yaml as its own comment says."""
    file = project / "prefect.yaml"
    text = file.read_text()
    [snippet] = re.findall(r"^#   pull:\n(?:#     .*\n)+", text, re.MULTILINE)
    pull = re.sub(r"^#   ", "", snippet, flags=re.MULTILINE)
    pull = re.sub(r"https://\S+", f"file://{repository}", pull)
    text, changed = re.subn(r"^build:\n.*?(?=^deployments:)", pull + "\n", text, flags=re.MULTILINE | re.DOTALL)
    assert changed == 1
    assert yaml.safe_load(text)["pull"] == yaml.safe_load(pull)["pull"]
    file.write_text(text)


def held(server: Server, deployment: str) -> dict[str, Any]:
    return dict(server.request("GET", f"/deployments/name/{deployment}"))


def schedule(deployment: dict[str, Any]) -> tuple[str, str, bool]:
    [only] = deployment["schedules"]
    return only["schedule"]["cron"], only["schedule"]["timezone"], only["active"]


@pytest.mark.parametrize("in_git", [True, False])
def test_deploying_prompts_for_nothing_and_can_be_repeated(
    server: Server, project: Path, tmp_path: Path, in_git: bool
) -> None:
    if in_git:
        git(project)
    make_pool(server)
    status, shown = at_a_terminal(server, *DEPLOY, cwd=project, log=tmp_path / "terminal.log")
    assert status == 0, shown
    assert "?" not in shown, "nothing is asked"
    first = {name: held(server, name) for name in (CHECK, DIGEST)}

    status, shown = at_a_terminal(server, *DEPLOY, cwd=project, log=tmp_path / "terminal.log")
    assert status == 0, shown
    for name, before in first.items():
        after = held(server, name)
        changed = {key for key in before if before[key] != after[key]}
        # Schedules are made anew: their ids and times differ, and what they say is compared.
        assert changed <= {"updated", "schedules"}
        assert schedule(after) == schedule(before)


def test_what_the_server_holds(server: Server, project: Path) -> None:
    make_pool(server)
    prefect(server, "deploy", "--all", cwd=project)
    check, digest = held(server, CHECK), held(server, DIGEST)

    assert schedule(check) == ("*/5 * * * *", "UTC", True)
    assert schedule(digest) == ("0 8 * * *", "UTC", True)
    assert (check["parameters"], digest["parameters"]) == ({}, {"time_zone": "UTC"})
    assert (check["entrypoint"], digest["entrypoint"]) == ("flows/check.py:check", "flows/digest.py:digest")
    for deployment in (check, digest):
        assert deployment["work_pool_name"] == POOL
        assert deployment["tags"] == ["watchdog"]
        assert deployment["paused"] is False
        assert deployment["enforce_parameter_schema"] is True
        assert deployment["description"]
        assert deployment["pull_steps"] == [
            {"prefect.deployments.steps.set_working_directory": {"directory": str(project)}}
        ]
        # A slot would be a lease in the server's memory: one that died with it would hold all later checks up.
        assert deployment["global_concurrency_limit"] is None
        assert deployment["concurrency_options"] is None


def test_the_form_in_the_ui_has_a_field_for_every_setting_with_its_meaning(server: Server, project: Path) -> None:
    make_pool(server)
    prefect(server, "deploy", "--all", cwd=project)
    form = held(server, DIGEST)["parameter_openapi_schema"]
    assert form["properties"]["overrides"]["description"] == "Changes of policy for this run, for every deployment."
    assert "IANA time zone" in form["properties"]["time_zone"]["description"]
    assert not form.get("required")

    changes = form["definitions"]["PolicyChanges"]["properties"]
    assert list(changes) == list(Policy.model_fields)
    for name, section in changes.items():
        assert section["description"]
        if name in ("watch", "owner", "severity", "escalate_after", "expect"):
            assert section["default"] is None
            continue
        fields = form["definitions"][section["$ref"].rpartition("/")[2]]["properties"]
        assert "enabled" in fields
        for field in fields.values():
            assert field["title"]
            assert field["description"]
            # The form sends the defaults that it shows, and an empty field changes nothing.
            assert field["default"] is None
    late = form["definitions"]["LateChanges"]["properties"]["after"]
    assert late["description"] == "How long past its due time a run may wait. Default: 15m."


def test_pool_and_time_zone_are_changed_in_one_place_each(server: Server, project: Path) -> None:
    edit(project, f"    name: {POOL}\n", "    name: ops\n")
    edit(project, "&time_zone UTC", "&time_zone Europe/Berlin")
    make_pool(server, "ops")
    prefect(server, "deploy", "--all", cwd=project)

    check, digest = held(server, CHECK), held(server, DIGEST)
    assert (check["work_pool_name"], digest["work_pool_name"]) == ("ops", "ops")
    assert (schedule(check)[1], schedule(digest)[1]) == ("Europe/Berlin", "Europe/Berlin")
    assert digest["parameters"] == {"time_zone": "Europe/Berlin"}

    wait_until(
        lambda: len(scheduled(server, CHECK)) > 2 and len(scheduled(server, DIGEST)) > 2,
        timeout=120,
        waiting_for="the scheduler to plan runs",
    )
    checks = scheduled(server, CHECK)
    assert {later - sooner for sooner, later in pairwise(checks)} == {timedelta(minutes=5)}
    assert {at.minute % 5 for at in checks} == {0}
    local = [at.astimezone(ZoneInfo("Europe/Berlin")) for at in scheduled(server, DIGEST)]
    assert {(at.hour, at.minute) for at in local} == {(8, 0)}
    assert len({at.date() for at in local}) == len(local)


def test_without_the_pool_prefect_says_so_and_a_second_pool_is_not_made(server: Server, project: Path) -> None:
    without = run(server, *DEPLOY, cwd=project)
    assert without.returncode == 1
    assert "work pool" in (without.stdout + without.stderr).lower()
    assert POOL in without.stdout + without.stderr

    make_pool(server)
    server.request("PATCH", f"/work_pools/{POOL}", {"concurrency_limit": 7})
    again = run(server, "prefect", "work-pool", "create", POOL, "--type", "process", cwd=project)
    assert again.returncode == 1
    assert "already exists" in again.stdout + again.stderr
    assert server.request("GET", f"/work_pools/{POOL}")["concurrency_limit"] == 7


def test_flows_run_from_git_beside_a_repository_that_has_packages_of_our_names(
    server: Server, project: Path, tmp_path: Path
) -> None:
    git(project)
    bare = tmp_path / "watchdog.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", project, bare], check=True, capture_output=True)
    elsewhere = copy_of_the_project(tmp_path / "elsewhere")
    run_from_git(elsewhere, bare)
    make_pool(server)
    prefect(server, "deploy", "--all", cwd=elsewhere)
    pause_schedules(server)
    # What was deployed from is not what runs.
    (elsewhere / "flows" / "check.py").unlink()

    foreign = foreign_repository(tmp_path / "foreign")
    worker = worker_beside(server, foreign)
    worker.start()
    try:
        worker.wait_online()
        installation = Deployed(server, worker)
        for name in (CHECK, DIGEST):
            assert installation.run(name) == ("COMPLETED", "Nothing is wrong.")
        assert "Nothing is wrong." in installation.artifact("watchdog-health")["data"]
    finally:
        worker.stop()


@contextmanager
def served(server: Server, project: Path, foreign: Path, log: Path) -> Iterator[Process]:
    """Serve the deployments from another folder, with somebody else's packages first on the path."""
    process = Process(
        "serve",
        [sys.executable, str(project / "flows" / "serve.py")],
        log=log,
        env=server.client_env({**QUICK, "PYTHONPATH": str(foreign)}),
        cwd=foreign,
    )
    process.start()
    try:
        yield process
        os.kill(process.pid, signal.SIGTERM)
        wait_until(lambda: not process.running, timeout=120, waiting_for="serving to end", log=process.log)
        assert process.status == 0
    finally:
        process.kill()


@pytest.mark.parametrize("deployed_before", [False, True])
def test_both_deployments_are_served_by_one_process(
    server: Server, project: Path, tmp_path: Path, deployed_before: bool
) -> None:
    edit(project, "&time_zone UTC", "&time_zone Asia/Tokyo")
    if deployed_before:
        make_pool(server)
        prefect(server, "deploy", "--all", cwd=copy_of_the_project(tmp_path / "before"))
    foreign = foreign_repository(tmp_path / "foreign")
    with served(server, project, foreign, tmp_path / "serve.log") as process:
        process.wait(
            lambda: "being served" in process.log.read_text(), timeout=180, waiting_for="deployments to be served"
        )
        check, digest = held(server, CHECK), held(server, DIGEST)
        assert schedule(check) == ("*/5 * * * *", "Asia/Tokyo", True)
        assert schedule(digest) == ("0 8 * * *", "Asia/Tokyo", True)
        assert digest["parameters"] == {"time_zone": "Asia/Tokyo"}
        assert (check["tags"], check["work_pool_name"], check["work_queue_name"]) == (["watchdog"], None, None)
        [trigger] = server.request("POST", "/automations/filter", {})
        assert trigger["actions"][0]["deployment_id"] == check["id"]
        installation = Deployed(server, process)
        assert installation.run(CHECK) == ("COMPLETED", "Nothing is wrong.")
        made_by = server.request("GET", f"/flow_runs/{installation.artifact('watchdog-health')['flow_run_id']}")
        assert made_by["deployment_id"] == check["id"]
    # Whoever goes on with a worker finds nothing paused.
    make_pool(server, "later")
    edit(project, f"    name: {POOL}\n", "    name: later\n")
    prefect(server, "deploy", "--all", cwd=project)
    for name in (CHECK, DIGEST):
        assert (held(server, name)["paused"], held(server, name)["work_pool_name"]) == (False, "later")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ({}, "PREFECT_API_URL: not set"),
        ({"PREFECT_API_URL": "http://127.0.0.1:9/api"}, "no answer from http://127.0.0.1:9/api (ConnectError)"),
        ({"PREFECT_API_KEY": "pnu_wrong"}, "{url} refuses the credentials in PREFECT_API_KEY (401)"),
    ],
    ids=["no address", "wrong address", "wrong key"],
)
def test_serving_without_a_server_is_rejected_in_one_line(
    tmp_path: Path, httpserver: HTTPServer, address: dict[str, str], said: str
) -> None:
    httpserver.expect_request(re.compile(".*")).respond_with_data("no", status=401)
    url = httpserver.url_for("/api")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env |= {"PREFECT_HOME": str(tmp_path), "DO_NOT_TRACK": "1"}
    env |= {"PREFECT_API_URL": url, **address} if address else {}
    command = [sys.executable, str(PROJECT / "flows" / "serve.py")]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(said.format(url=url))
    assert done.stderr.count("\n") == 1
