"""A check of a real server measures and logs: the same facts everywhere, tied by ids, and no secrets."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from pytest_httpserver import HTTPServer

from demo.stack import Server, free_port
from monitoring.adapters.prefect.client.api import open_api
from monitoring.config.settings import Config
from monitoring.model.target import Target
from tests.support.measured_server import SECRETS, MeasuredServers, lines, named, series, value
from tests.support.paths import PROJECT


def test_the_same_numbers_are_in_the_file_and_on_the_server(measured_server: MeasuredServers) -> None:
    place = measured_server()
    place.check()
    place.work(3)
    place.break_it()
    place.check()
    printed, file = series(place.print(), openmetrics), series(place.textfile.read_text())
    assert printed == file
    assert value(file, "incidents", check="failed", severity="warning", deployment="etl/bad") == 1
    assert value(file, "incidents", check="failed", severity="warning", deployment="etl/good") is None
    assert value(file, "deployment_runs_total", deployment="etl/good", state="completed") == 3
    assert value(file, "deployment_runs_total", deployment="etl/bad", state="failed") == 1
    assert value(file, "deployment_run_time_seconds_sum", deployment="etl/good") == 270
    assert value(file, "deployment_run_time_seconds_bucket", deployment="etl/good", le="60.0") == 0
    assert value(file, "deployment_run_time_seconds_bucket", deployment="etl/good", le="300.0") == 3
    assert value(file, "server_up") == 1
    assert value(file, "check_queries", outcome="failed") == 0
    assert value(file, "last_check_timestamp_seconds") == value(file, "last_complete_check_timestamp_seconds")


def test_counters_only_rise(measured_server: MeasuredServers) -> None:
    place = measured_server()
    counted = []
    for runs in (0, 3, 0, 3):
        place.work(runs)
        place.check()
        found = series(place.textfile.read_text())
        counted.append(value(found, "deployment_runs_total", deployment="etl/good", state="completed"))
    assert counted == [0, 3, 3, 6]


def test_the_names_of_prefects_exporter_come_by_a_switch(measured_server: MeasuredServers) -> None:
    place = measured_server()
    place.check()
    assert "prefect_deployments_total" not in place.textfile.read_text()
    place.settings["WATCHDOG_METRICS__COMPATIBILITY__ENABLED"] = "true"
    place.check()
    found = series(place.textfile.read_text())
    assert found["prefect_deployments_total", frozenset()] == 2
    assert value(found, "server_up") == 1
    assert series(place.print(), openmetrics)["prefect_deployments_total", frozenset()] == 2


def test_what_does_not_take_the_numbers_is_one_line_and_a_finding_and_the_check_goes_on(
    measured_server: MeasuredServers, prefect_server: Server, tmp_path: Path
) -> None:
    gateway = f"http://127.0.0.1:{free_port()}"
    place = measured_server(WATCHDOG_METRICS__PUSHGATEWAY=gateway)
    place.settings["WATCHDOG_METRICS__DOGSTATSD"] = f"unix://{tmp_path}/nobody.sock"
    found = lines(place.check(2))
    problems = {line["way_out"]: line["problem"] for line in named(found, "numbers not taken")}
    assert problems.keys() == {"metrics.pushgateway", "metrics.dogstatsd"}
    for name, problem in problems.items():
        assert problem.startswith(f"{name}: ")
        assert "\n" not in problem
    assert value(series(place.textfile.read_text()), "server_up") == 1
    with open_api(Config().server, Target(address=prefect_server.api_url)) as api:
        key = {"artifacts": {"key": {"any_": ["watchdog-findings"]}}, "sort": "CREATED_DESC", "limit": 1}
        [artifact] = api.post("/artifacts/filter", key)
    assert "metrics.pushgateway" in artifact["data"]
    assert "metrics.dogstatsd" in artifact["data"]


def test_the_lines_of_a_check_are_valid_tied_together_and_without_secrets(
    measured_server: MeasuredServers, httpserver: HTTPServer
) -> None:
    # A Slack that says the token again as it refuses it.
    refusal = {"ok": False, "error": f"refused:{SECRETS[1]}"}
    httpserver.expect_request("/api/chat.postMessage").respond_with_json(refusal)
    slack = {"WATCHDOG_SLACK__CHANNEL": "alerts", "WATCHDOG_SLACK__API_URL": httpserver.url_for("/api/")}
    place = measured_server(**slack)
    place.check()
    place.break_it()
    log = place.check(1)
    found = lines(log)
    runs = {line["run"] for line in found}
    assert len(runs) == 2
    [moved] = named(found, "incident moved")
    assert (moved["subject"], moved["to"], moved["check"]) == ("etl/bad", "firing", "failed")
    last = [line for line in found if line["run"] == moved["run"]]
    assert [line["event"] for line in last][-1] == "check completed"
    assert {"state loaded", "server observed", "report published", "numbers measured", "ping failed"} <= {
        line["event"] for line in last
    }
    assert {line["target"] for line in last} == {"prefect"}
    [undelivered] = named(last, "alert not delivered")
    assert undelivered["problem"].startswith("Slack rejects a message for alerts (refused:REDACTED)")
    assert undelivered["incidents"] == [moved["incident"]]
    [asked] = [request for request, _ in httpserver.log]
    assert SECRETS[1] in asked.headers["Authorization"]
    for secret in SECRETS:
        assert secret not in log
        assert secret not in place.textfile.read_text()


#: A flow of the watchdog's, with a fault planted in what it calls.
FAULT = """
from flows.{flow} import {flow}
from monitoring.adapters.prefect.read.reader import ServerReader

def observe(*_):
    raise RuntimeError("password={secret} https://u:{secret}@x/\\nand more")

ServerReader.observe = observe
state = {flow}(return_state=True)
print(state.type.value, state.message)
"""


@pytest.mark.parametrize("flow", ["check", "digest"])
def test_a_fault_of_the_watchdogs_own_fails_the_run_in_one_line_without_secrets(
    prefect_server: Server, tmp_path: Path, httpserver: HTTPServer, flow: str
) -> None:
    httpserver.expect_request("/ping/start").respond_with_data("OK")
    program = tmp_path / "faulty.py"
    program.write_text(FAULT.format(flow=flow, secret=SECRETS[0]))
    settings = {"WATCHDOG_LOGS__FORMAT": "json", "WATCHDOG_PING_URL": httpserver.url_for("/ping")}
    env = prefect_server.client_env({**settings, "PYTHONPATH": str(PROJECT)})
    command = [sys.executable, str(program)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    [line] = lines(done.stderr)
    assert (line["event"], line["level"], line["target"]) == (f"{flow} failed", "error", "prefect")
    assert re.fullmatch(
        r"a fault of the watchdog at monitoring\.usecases\.assess:\d+, please report it: "
        r"RuntimeError: password=REDACTED https://REDACTED@x/ and more",
        line["problem"],
    )
    assert done.stdout == f"FAILED {line['problem']}\n"
    held = [prefect_server.request("POST", f"/{rows}/filter", {}) for rows in ("logs", "flow_runs")]
    assert f"{flow} failed: a fault of the watchdog" in json.dumps(held)
    assert SECRETS[0] not in json.dumps(held) + done.stderr
    # The dead-man's switch hears that a check has begun, and no more.
    assert [request.path for request, _ in httpserver.log] == ["/ping/start"] * (flow == "check")


def test_a_healthy_check_is_one_line_at_info(measured_server: MeasuredServers) -> None:
    place = measured_server(WATCHDOG_LOGS__LEVEL="INFO")
    del place.settings["WATCHDOG_PING_URL"]
    found = lines(place.check(2))
    assert [(line["event"], line["status"], line["says"]) for line in found] == [
        ("check completed", "ok", "Nothing is wrong.")
    ] * 2
    assert all(line["requests"] > 0 for line in found)
