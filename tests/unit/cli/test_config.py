from __future__ import annotations

import os
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from pytest_httpserver import HTTPServer

from tests.support.command_line import RULES, ConfigCommand, Outcome

#: Nothing listens there: connecting is refused at once.
NOBODY = "http://127.0.0.1:9/api"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> ConfigCommand:
    """Run `watchdog config ...` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("WATCHDOG_")]:
        monkeypatch.delenv(name)
    return ConfigCommand(capsys)


# --- check -------------------------------------------------------------------------------------------


def test_check_says_which_file_is_used(run: ConfigCommand) -> None:
    Path("watchdog.yaml").write_text("late: {after: 5m}\n")
    Path("other.yaml").write_text("")

    assert run("check") == Outcome(0, "watchdog.yaml: valid\n", "")
    assert run("check", "--config", "other.yaml") == Outcome(0, "other.yaml: valid\n", "")


def test_check_shows_every_problem_on_a_line_of_its_own(run: ConfigCommand) -> None:
    Path("watchdog.yaml").write_text("late:\n  after: 15\nslack:\n  token: xoxb-1-SECRET\n")

    assert run("check") == Outcome(
        3,
        "",
        "watchdog.yaml:2: late.after: '15': expected a duration such as 90s, 15m, 2h, 1d or 1h30m, with its unit\n"
        "watchdog.yaml:4: slack.token: unknown key; expected one of api_url, channel, timeout, token_secret\n",
    )


@pytest.mark.parametrize("command", ["check", "push"])
def test_a_pattern_that_may_never_end_is_named_without_its_text(run: ConfigCommand, command: str) -> None:
    Path("watchdog.yaml").write_text("redact:\n  patterns: ['ACME-\\d+', '(A+)+!', '(b+)+!']\n")

    status, out, err = run(command)

    assert (status, out) == (3, "")
    assert [line.partition(": too slow on some long texts")[0] for line in err.splitlines()] == [
        "watchdog.yaml: redact.patterns[2]",
        "watchdog.yaml: redact.patterns[3]",
    ]
    assert "A+)+!" not in err


def test_check_reads_the_environment_too(run: ConfigCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("watchdog.yaml").write_text("")
    monkeypatch.setenv("WATCHDOG_LATE__AFTR", "5m")

    assert run("check") == Outcome(3, "", "WATCHDOG_LATE__AFTR: unknown variable; did you mean WATCHDOG_LATE__AFTER?\n")


def test_check_takes_the_file_as_its_argument(run: ConfigCommand) -> None:
    Path("mine.yaml").write_text("late: {after: 5m}\n")
    assert run("check", "mine.yaml") == Outcome(0, "mine.yaml: valid\n", "")
    assert run("check", "mine.yaml", "--config", "other.yaml").err == (
        "expected one file, but got mine.yaml and --config other.yaml\n"
    )


@pytest.mark.parametrize("rules", ["", RULES])
def test_check_compares_rules_with_the_server_only_where_an_address_is_given(
    run: ConfigCommand, monkeypatch: pytest.MonkeyPatch, rules: str
) -> None:
    Path("watchdog.yaml").write_text(rules)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    hint = "Set PREFECT_API_URL to see whether all rules, routes and windows match something on the server\n"
    assert run("check") == Outcome(0, "watchdog.yaml: valid\n", hint if rules else "")
    status, out, err = run("check", "--target", NOBODY)
    assert (status, out) == (0, "watchdog.yaml: valid\n")
    assert err.startswith(f"Not compared with what is on the server: no answer from {NOBODY}" if rules else "")
    assert err.count("\n") == bool(rules)


def test_a_named_file_that_is_missing_is_an_error(run: ConfigCommand) -> None:
    status, out, err = run("check", "--config", "missing.yaml")

    assert (status, out) == (3, "")
    assert err == "missing.yaml: cannot be read: No such file or directory; expected a configuration file\n"


def test_without_a_file_a_server_that_cannot_be_read_is_an_error(run: ConfigCommand) -> None:
    status, out, err = run("check", "--target", NOBODY)

    assert (status, out) == (3, "")
    assert err.startswith(f"no answer from {NOBODY} (ConnectError)")


def test_without_a_file_an_address_is_needed(run: ConfigCommand) -> None:
    with temporary_settings({PREFECT_API_URL: None}):
        status, out, err = run("check")

    assert (status, out) == (3, "")
    assert err.startswith("PREFECT_API_URL: not set")


def test_a_hostile_name_does_nothing_to_the_terminal(run: ConfigCommand) -> None:
    status, _, err = run("check", "--config", "\x1b[31m[red]x\u202e\x07.yaml")

    assert status == 3
    assert err == "[red]x.yaml: cannot be read: No such file or directory; expected a configuration file\n"


# --- show --------------------------------------------------------------------------------------------


def test_show_prints_every_value_and_its_source(run: ConfigCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("watchdog.yaml").write_text("late:\n  after: 5m\nrules: [{match: {tag: x}, late: {after: 1m}}]\n")
    monkeypatch.setenv("WATCHDOG_SLACK__CHANNEL", "[bold]alerts")

    shown = run("show")

    assert (shown.status, shown.err) == (0, "")
    assert shown.fields["late.after"] == ["5m", "watchdog.yaml line 2"]
    assert shown.fields["slow.limit"] == ["null", "default"]
    assert shown.fields["slack.channel"] == ["[bold]alerts", "environment WATCHDOG_SLACK__CHANNEL"]
    assert "Not shown: the changes by rules." in shown.out


def test_show_says_how_many_routes_and_windows_there_are(run: ConfigCommand) -> None:
    Path("watchdog.yaml").write_text(
        "slack: {channel: ops}\n"
        "routes: [{name: on-call, match: {severity: critical}, channel: calls}]\n"
        "maintenance: [{match: {pool: k8s}, cron: '0 2 * * SAT', lasts: 4h}]\n"
    )

    assert "Not shown: 1 route and 1 maintenance window, see the file" in run("show").out


def test_a_window_that_can_never_open_is_not_pushed(run: ConfigCommand, httpserver: HTTPServer) -> None:
    Path("watchdog.yaml").write_text("maintenance: [{match: {pool: k8s}, cron: '0 99 * * SAT', lasts: 4h}]\n")
    problem = "watchdog.yaml:1: maintenance[1].cron: '0 99 * * SAT': expected a cron expression that Prefect can read"

    assert run("check").err.startswith(problem)
    status, _, err = run("push", "--target", httpserver.url_for("/api"))
    assert status == 3
    assert err.startswith(problem)
    assert httpserver.log == []


def test_an_address_in_the_place_of_a_blocks_name_is_not_repeated(run: ConfigCommand) -> None:
    Path("watchdog.yaml").write_text("alerts: {default: {webhook_secret: https://example.com/SECRET}}\n")

    status, _, err = run("check")
    assert status == 3
    assert "expected the name of a Secret block" in err
    assert "SECRET" not in err


def test_show_does_not_print_what_looks_like_a_secret(run: ConfigCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("watchdog.yaml").write_text("slack: {channel: xoxb-1-SECRET}\n")

    shown = run("show")

    assert shown.status == 0
    assert "SECRET" not in shown.out
    assert "(looks like a secret: not shown)" in shown.out


def test_show_never_cuts_a_value(run: ConfigCommand) -> None:
    Path("watchdog.yaml").write_text(f"target: {{name: {'Q' * 60}}}\nredact: {{patterns: [{'Q' * 200}]}}\n")

    assert run("show").out.count("Q") == 260


def test_show_applies_the_rules_to_a_deployment(run: ConfigCommand, httpserver: HTTPServer) -> None:
    Path("watchdog.yaml").write_text(RULES)
    httpserver.expect_request("/api/deployments/name/etl/night ly").respond_with_json(
        {"name": "night ly", "tags": ["gold"], "work_pool_name": "k8s"}
    )

    shown = run("show", "etl/night ly", "--target", httpserver.url_for("/api"))

    assert (shown.status, shown.err) == (0, "")
    assert shown.fields["late.after"] == ["1m", "watchdog.yaml rule 1 (deployment etl/*)"]
    assert shown.fields["slow.limit"] == ["2m", "watchdog.yaml rule 2 (tag gold)"]
    assert shown.fields["stale.grace"] == ["3m", "watchdog.yaml rule 3 (pool k8s)"]
    assert "slack.channel" not in shown.fields


def test_show_says_what_it_cannot_know_without_the_server(run: ConfigCommand) -> None:
    Path("watchdog.yaml").write_text(RULES + "server: {attempts: 1}\n")

    shown = run("show", "etl/nightly", "--target", NOBODY)

    assert shown.status == 3
    assert shown.fields["late.after"] == ["1m", "watchdog.yaml rule 1 (deployment etl/*)"]
    assert shown.fields["slow.limit"] == ["null", "default"]
    first, second = shown.err.splitlines()
    assert first.startswith(f"no answer from {NOBODY}")
    assert second == ("etl/nightly: its tags and work pool are unknown, so rules by tag or pool are left out above")


@pytest.mark.parametrize("answer", ["[]", '{"tags": 3}', "null", '"x"'])
def test_show_says_so_when_the_answer_is_rubbish(run: ConfigCommand, httpserver: HTTPServer, answer: str) -> None:
    Path("watchdog.yaml").write_text(RULES)
    httpserver.expect_request("/api/deployments/name/etl/nightly").respond_with_data(answer)

    shown = run("show", "etl/nightly", "--target", httpserver.url_for("/api"))

    assert shown.status == 3
    assert "returned an unreadable description of etl/nightly" in shown.err


def test_show_of_a_deployment_that_is_not_there(run: ConfigCommand, httpserver: HTTPServer) -> None:
    Path("watchdog.yaml").write_text(RULES)
    httpserver.expect_request("/api/deployments/name/etl/nightly").respond_with_json({}, status=404)
    url = httpserver.url_for("/api")

    assert run("show", "etl/nightly", "--target", url) == Outcome(
        3, "", f"etl/nightly: no such deployment on {url}; see `prefect deployment ls`\n"
    )


@pytest.mark.parametrize("name", ["etl", "etl/", "/nightly", "a/b/c"])
def test_show_wants_flow_and_deployment(run: ConfigCommand, name: str) -> None:
    Path("watchdog.yaml").write_text(RULES)

    assert run("show", name) == Outcome(3, "", f"{name}: expected FLOW/DEPLOYMENT, such as etl/nightly\n")


# --- push --------------------------------------------------------------------------------------------


def test_push_without_a_file_says_so_and_queries_no_server(run: ConfigCommand) -> None:
    assert run("push", "--target", NOBODY) == Outcome(
        3, "", "watchdog.yaml: not found in this folder; pass the path of the file\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"), [("late: {after: 5}\n", "f.yaml:1: late.after: '5': "), (" \n", "f.yaml: empty; expected ")]
)
def test_push_sends_nothing_that_cannot_be_used(
    run: ConfigCommand, httpserver: HTTPServer, text: str, expected: str
) -> None:
    Path("f.yaml").write_text(text)

    status, out, err = run("push", "f.yaml", "--target", httpserver.url_for("/api"))

    assert (status, out) == (3, "")
    assert err.startswith(expected)
    assert httpserver.log == []
