"""``watchdog config`` on a real server: what was pushed is found, and a deployment's own policy is shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from demo.stack import Server
from tests.support.command_line import RULES, ConfigCommand, Outcome


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> ConfigCommand:
    """Run `watchdog config ...` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("WATCHDOG_")]:
        monkeypatch.delenv(name)
    return ConfigCommand(capsys)


def test_what_was_pushed_is_found_where_no_file_is(run: ConfigCommand, prefect_server: Server) -> None:
    assert run("check") == Outcome(
        0, "defaults: valid; there is no watchdog.yaml here, and no pushed configuration\n", ""
    )
    Path("watchdog.yaml").write_text("# for everyone\nlate: {after: 5m}\n", encoding="utf-8")
    url = prefect_server.api_url

    pushed = run("push")

    assert pushed == Outcome(
        0, f"watchdog.yaml: valid, and pushed to {url}; used wherever no watchdog.yaml is found\n", ""
    )
    assert run("push").out == f"watchdog.yaml: valid, and already the pushed configuration on {url}\n"
    Path("watchdog.yaml").rename("mine.yaml")
    assert run("check") == Outcome(0, "pushed configuration: valid\n", "")
    assert run("show").fields["late.after"] == ["5m", "pushed configuration line 2"]

    Path("mine.yaml").write_text("late: {after: 6m}\n")
    assert run("push", "mine.yaml").status == 0
    assert run("show").fields["late.after"] == ["6m", "pushed configuration line 1"]


def test_show_reads_a_real_deployment(run: ConfigCommand, prefect_server: Server) -> None:
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("etl")
        client.create_deployment(flow_id, "night ly", tags=["gold"])
    Path("watchdog.yaml").write_text(RULES)

    shown = run("show", "etl/night ly")

    assert (shown.status, shown.err) == (0, "")
    assert shown.fields["slow.limit"] == ["2m", "watchdog.yaml rule 2 (tag gold)"]
    assert shown.fields["stale.grace"] == ["30m", "default"]
    assert "no such deployment" in run("show", "etl/other").err


def test_check_warns_of_what_matches_nothing_on_a_real_server(
    run: ConfigCommand, prefect_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("etl")
        client.create_deployment(flow_id, "hourly", tags=["silver", "watchdog:owner=sales"])
    Path("watchdog.yaml").write_text(
        "rules:\n- {match: {deployment: 'etl/*'}, watch: true}\n- {match: {deployment: 'elt/*'}, watch: true}\n"
        "routes:\n- {name: owned, match: {owner: sales}, channel: sales}\n"
        "- {name: critical, match: {severity: critical}, channel: pager}\n"
        "- {name: nobody, match: {tag: silver, owner: nobody, check: late}, channel: sales}\n"
        "maintenance:\n- {match: {pool: k8s}, cron: '@daily', lasts: 1h}\n"
    )
    monkeypatch.setenv("PREFECT_API_URL", prefect_server.api_url)

    checked = run("check")

    assert (checked.status, checked.err) == (0, "")
    assert checked.out.splitlines() == [
        "watchdog.yaml: valid",
        "warning: rule 2: matches nothing on the server: there is no deployment elt/*",
        "warning: route nobody: matches nothing on the server: there is no owner nobody",
        "warning: maintenance window 1: matches nothing on the server: there is no pool k8s",
    ]
