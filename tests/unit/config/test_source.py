from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from monitoring.checks.late import CHECK as LATE
from monitoring.config.policy import Setting
from monitoring.config.source import find, load_policies
from monitoring.errors import ConfigError, Unreachable


def nothing_pushed() -> str | None:
    return None


def never_asked() -> str | None:
    raise AssertionError("the server was asked though there is a file")


def unreachable() -> str | None:
    raise Unreachable("no answer")


def pushed(text: str) -> Callable[[], str | None]:
    return lambda: text


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def late(minutes: int) -> str:
    return f"late: {{after: {minutes}m}}\n"


def test_the_first_place_that_has_one_wins(folder: Path) -> None:
    (folder / "named.yaml").write_text(late(1))
    (folder / "variable.yaml").write_text(late(2))
    (folder / "watchdog.yaml").write_text(late(3))
    environ = {"WATCHDOG_CONFIG": "variable.yaml"}

    assert find("named.yaml", environ, never_asked).text == late(1)
    assert find(None, environ, never_asked).text == late(2)
    assert find(None, {"WATCHDOG_CONFIG": ""}, never_asked).text == late(3)
    (folder / "watchdog.yaml").unlink()
    assert find(None, {}, pushed(late(4))).text == late(4)
    assert find(None, {}, nothing_pushed).text == ""


def test_each_place_has_a_name() -> None:
    Path("watchdog.yaml").write_text("")

    assert find(None, {}, never_asked).origin == "watchdog.yaml"
    Path("watchdog.yaml").unlink()
    assert find(None, {}, pushed("late: {}")).origin == "pushed configuration"
    assert find(None, {}, nothing_pushed).origin == "defaults"


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_CONFIG": "missing.yaml"}])
def test_a_named_file_that_is_missing_is_no_reason_to_look_further(environ: dict[str, str]) -> None:
    Path("watchdog.yaml").write_text(late(3))
    named = None if environ else "missing.yaml"

    with pytest.raises(ConfigError, match=r"^missing.yaml: cannot be read: No such file or directory; expected"):
        find(named, environ, never_asked)


def test_a_link_that_leads_nowhere_is_an_error() -> None:
    Path("watchdog.yaml").symlink_to("gone.yaml")

    with pytest.raises(ConfigError, match=r"^watchdog.yaml: cannot be read"):
        find(None, {}, never_asked)


@pytest.mark.parametrize("name", [".", "a\0b", "x" * 5000])
def test_what_is_no_file_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        find(name, {}, never_asked)


def test_a_file_without_an_end_is_read_no_further_than_need_be() -> None:
    with pytest.raises(ConfigError, match="longer than"):
        load_policies("/dev/zero", environ={}, read_pushed=never_asked)


@pytest.mark.parametrize(
    ("content", "line"), [(b"late: {}\n# \xff\n", 2), ("late: {}".encode("utf-16"), 1), (b"\xe4", 1)]
)
def test_what_is_not_utf8_is_named_with_its_line(content: bytes, line: int) -> None:
    Path("watchdog.yaml").write_bytes(content)

    with pytest.raises(ConfigError, match=rf"^watchdog.yaml:{line}: not UTF-8; expected text in UTF-8$"):
        find(None, {}, never_asked)


def test_a_mark_at_the_start_and_windows_line_ends_are_fine() -> None:
    Path("watchdog.yaml").write_bytes(b"\xef\xbb\xbflate:\r\n  after: 5m\r\n")

    policies = load_policies(environ={}, read_pushed=never_asked)

    assert policies.settings()["late.after"] == Setting(timedelta(minutes=5), "watchdog.yaml line 2")


def test_a_server_that_cannot_be_read_is_not_hidden() -> None:
    with pytest.raises(Unreachable):
        load_policies(environ={}, read_pushed=unreachable)


def test_a_block_that_somebody_emptied_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^pushed configuration: empty; push it again"):
        load_policies(environ={}, read_pushed=pushed(" \n"))


def test_layers_are_joined_in_their_order() -> None:
    Path("watchdog.yaml").write_text("late: {after: 1m, critical_after: 1h}\nstale: {grace: 1m}\nslack: {channel: a}\n")
    environ = {"WATCHDOG_LATE__AFTER": "2m", "WATCHDOG_STALE__GRACE": "2m"}

    policies = load_policies(
        environ=environ, read_pushed=never_asked, stronger=[{"stale.grace": Setting(timedelta(minutes=3), "parameter")}]
    )

    assert policies.origin == "watchdog.yaml"
    settings = policies.settings()
    assert settings["slack.channel"] == Setting("a", "watchdog.yaml line 3")
    assert settings["late.critical_after"] == Setting(timedelta(hours=1), "watchdog.yaml line 1")
    assert settings["late.after"] == Setting(timedelta(minutes=2), "environment WATCHDOG_LATE__AFTER")
    assert settings["stale.grace"] == Setting(timedelta(minutes=3), "parameter")
    assert LATE.settings(policies.config).after == timedelta(minutes=2)


def test_problems_of_file_and_environment_are_reported_together() -> None:
    Path("watchdog.yaml").write_text("late: {after: 1}\n")

    with pytest.raises(ConfigError) as caught:
        load_policies(environ={"WATCHDOG_LATE__AFTER": "x"}, read_pushed=never_asked)

    first, second = str(caught.value).splitlines()
    assert first.startswith("watchdog.yaml:1: late.after: '1': ")
    assert second.startswith("WATCHDOG_LATE__AFTER: 'x': ")


def test_problems_of_what_was_pushed_name_it() -> None:
    with pytest.raises(ConfigError, match=r"^pushed configuration:1: late.after: "):
        load_policies(environ={}, read_pushed=pushed("late: {after: 1}\n"))


@pytest.mark.parametrize("cron", ["0 99 * * *", "a b c d e", "R R * * *", "@reboot"])
def test_a_cron_expression_that_prefect_cannot_read_is_reported_with_its_line(cron: str) -> None:
    Path("watchdog.yaml").write_text(
        "maintenance:\n"
        "- {match: {tag: x}, cron: '0 2 * * SAT', lasts: 4h}\n"
        "- match: {tag: y}\n"
        f"  cron: '{cron}'\n"
        "  lasts: 4h\n"
    )
    with pytest.raises(ConfigError) as raised:
        load_policies(read_pushed=never_asked, environ={})
    assert str(raised.value) == (
        f"watchdog.yaml:4: maintenance[2].cron: '{cron}': expected a cron expression that Prefect can read, such as "
        "`0 2 * * SAT`"
    )


def test_a_cron_expression_that_prefect_can_read_is_none_of_a_problem() -> None:
    Path("watchdog.yaml").write_text("maintenance: [{match: {tag: x}, cron: '@daily', lasts: 4h, time_zone: UTC}]\n")
    assert load_policies(read_pushed=never_asked, environ={}).config.maintenance[0].cron == "@daily"
