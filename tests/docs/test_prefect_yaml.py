"""prefect.yaml: Prefect ignores what it does not know, without a word. What it makes of the rest, a server shows."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest
import yaml
from prefect.events import DeploymentEventTrigger

from monitoring.model.prefect import CHECK_FLOW, DIGEST_FLOW, OWN_FLOWS, TRIGGER_WINDOW
from tests.support.deployed_watchdog import POOL
from tests.support.paths import PROJECT

TEXT = (PROJECT / "prefect.yaml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
DEPLOYMENTS: dict[str, dict[str, Any]] = {entry["name"]: entry for entry in FILE["deployments"]}
CODE = "\n".join(line.partition("#")[0] for line in TEXT.splitlines())

KNOWN = {"name", "description", "entrypoint", "tags", "work_pool", "parameters", "schedules", "triggers"}


def test_there_are_two_deployments_and_nothing_unknown_in_them() -> None:
    assert list(DEPLOYMENTS) == ["check", "digest"]
    for entry in DEPLOYMENTS.values():
        assert set(entry) <= KNOWN
        assert set(entry["work_pool"]) == {"name", "job_variables"}
        for schedule in entry["schedules"]:
            assert set(schedule) == {"cron", "timezone"}


def test_the_environment_of_the_runs_is_the_users_alone() -> None:
    for entry in DEPLOYMENTS.values():
        assert entry["work_pool"]["job_variables"] == {"env": {}}


def test_what_a_user_changes_stands_once() -> None:
    zone = FILE["definitions"]["time_zone"]
    assert len(re.findall(rf"\b{zone}\b", CODE)) == 1
    assert len(re.findall(rf"name: {POOL}$", CODE, re.MULTILINE)) == 1
    for entry in DEPLOYMENTS.values():
        assert entry["work_pool"]["name"] == POOL
        assert [schedule["timezone"] for schedule in entry["schedules"]] == [zone]
    assert DEPLOYMENTS["digest"]["parameters"] == {"time_zone": zone}


def test_the_comment_names_the_command_that_makes_the_pool() -> None:
    assert f"#   prefect work-pool create {POOL} --type process\n" in TEXT


@pytest.mark.parametrize(("deployment", "flow"), [("check", CHECK_FLOW), ("digest", DIGEST_FLOW)])
def test_an_entrypoint_is_a_file_and_its_flow_has_the_name_that_reports_leave_out(deployment: str, flow: str) -> None:
    path, _, function = DEPLOYMENTS[deployment]["entrypoint"].partition(":")
    names = {
        node.name: [ast.unparse(decorator) for decorator in node.decorator_list]
        for node in ast.parse((PROJECT / path).read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    constant = {CHECK_FLOW: "CHECK_FLOW", DIGEST_FLOW: "DIGEST_FLOW"}[flow]
    assert names[function] == [f"flow(name={constant})"]


def test_failures_start_a_check_and_our_own_are_left_out_by_name() -> None:
    [trigger] = DEPLOYMENTS["check"]["triggers"]
    assert "triggers" not in DEPLOYMENTS["digest"]
    assert set(trigger) <= set(DeploymentEventTrigger.model_fields), "Prefect ignores what it does not know"
    left_out = [{"prefect.resource.role": "flow", "prefect.resource.name": f"!{name}"} for name in OWN_FLOWS]
    assert trigger["match_related"] == left_out
    assert (trigger["posture"], trigger["threshold"], trigger["within"]) == (
        "Reactive",
        1,
        TRIGGER_WINDOW.total_seconds(),
    )
