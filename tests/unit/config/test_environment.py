from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitoring.checks.late import CHECK as LATE
from monitoring.config.environment import RESERVED, environment
from monitoring.config.policy import Policies, Setting, format_value, leaves
from monitoring.config.settings import Config
from monitoring.errors import ConfigError


def settings(**variables: str) -> dict[str, Setting]:
    merged: dict[str, Setting] = {}
    for layer in environment(variables):
        merged.update(layer)
    return merged


def problems(**variables: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        environment(variables)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("name", "raw", "field", "value"),
    [
        ("WATCHDOG_LATE__AFTER", "20m", "late.after", timedelta(minutes=20)),
        ("WATCHDOG_LATE__ENABLED", "false", "late.enabled", False),
        ("WATCHDOG_FAILED__CRITICAL_AFTER", "5", "failed.critical_after", 5),
        ("WATCHDOG_SLACK__CHANNEL", "123", "slack.channel", "123"),
        ("WATCHDOG_SLACK__CHANNEL", "null", "slack.channel", None),
        ("WATCHDOG_SLOW__LIMIT", "null", "slow.limit", None),
        ("WATCHDOG_SLOW__LIMIT", "3m", "slow.limit", timedelta(minutes=3)),
        ("WATCHDOG_TARGET__NAME", "prod", "target.name", "prod"),
        ("WATCHDOG_REDACT__PATTERNS", '["a+", "b"]', "redact.patterns", ("a+", "b")),
        ("WATCHDOG_LATE", '{"after": "8m"}', "late.after", timedelta(minutes=8)),
    ],
)
def test_a_variable_sets_its_field_and_nothing_else(name: str, raw: str, field: str, value: Any) -> None:
    assert settings(**{name: raw}) == {field: Setting(value, f"environment {name}")}


@pytest.mark.parametrize("field", [name for name, _ in leaves(Config(), unset=True)])
def test_every_field_has_a_variable(field: str) -> None:
    default = dict(leaves(Config(), unset=True))[field]
    name = "WATCHDOG_" + field.replace(".", "__").upper()

    assert settings(**{name: format_value(default)}) == {field: Setting(default, f"environment {name}")}


def test_a_field_beats_its_section_however_they_are_ordered() -> None:
    merged = settings(WATCHDOG_LATE__AFTER="5m", WATCHDOG_LATE='{"after": "8m", "enabled": false}')

    assert merged["late.after"] == Setting(timedelta(minutes=5), "environment WATCHDOG_LATE__AFTER")
    assert merged["late.enabled"] == Setting(False, "environment WATCHDOG_LATE")


def test_what_is_reserved_empty_or_somebody_elses_sets_nothing() -> None:
    variables = {
        **dict.fromkeys(RESERVED, "x"),
        "WATCHDOG_LATE__AFTER": "",
        "PATH": "/bin",
        "watchdog_late__after": "1m",
    }

    assert settings(**variables) == {}


def test_beats_the_files_rules() -> None:
    policies = Policies(Config(), stronger=environment({"WATCHDOG_LATE__AFTER": "7m"}))

    assert LATE.settings(policies.of("a/b")).after == timedelta(minutes=7)


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("WATCHDOG_LATE_AFTER", "5m", "WATCHDOG_LATE_AFTER: unknown variable; did you mean WATCHDOG_LATE__AFTER?"),
        ("WATCHDOG_LATE__AFTR", "", "WATCHDOG_LATE__AFTR: unknown variable; did you mean WATCHDOG_LATE__AFTER?"),
        (
            "WATCHDOG_LATE__AFTER__X",
            "5m",
            "WATCHDOG_LATE__AFTER__X: unknown variable; did you mean WATCHDOG_LATE__AFTER?",
        ),
        (
            "WATCHDOG_ZZZZZZZZ",
            "x",
            "WATCHDOG_ZZZZZZZZ: unknown variable; expected section and field, such as WATCHDOG_LATE__AFTER",
        ),
        ("WATCHDOG_RULES", "[]", "WATCHDOG_RULES: rules cannot be set in the environment; set them in the file"),
        (
            "WATCHDOG_RULES__0__LATE",
            "{}",
            "WATCHDOG_RULES__0__LATE: rules cannot be set in the environment; set them in the file",
        ),
        (
            "WATCHDOG_LATE__AFTER",
            "15",
            "WATCHDOG_LATE__AFTER: '15': expected a duration such as 90s, 15m, 2h, 1d or 1h30m, with its unit",
        ),
        ("WATCHDOG_LATE__ENABLED", "maybe", "WATCHDOG_LATE__ENABLED: 'maybe': expected true or false"),
        ("WATCHDOG_REDACT__PATTERNS", "a,b", "WATCHDOG_REDACT__PATTERNS: 'a,b': expected JSON"),
        ("WATCHDOG_LATE", "3", "WATCHDOG_LATE: '3': expected a section with fields"),
        ("WATCHDOG_LATE", "[" * 100_000, f"WATCHDOG_LATE: '{'[' * 60}...': expected JSON"),
        ("WATCHDOG_LATE", '{"aftr": 1}', "WATCHDOG_LATE: late.aftr: unknown key; did you mean after?"),
        (
            "WATCHDOG_SLACK__CHANNEL",
            "\udcff",
            "WATCHDOG_SLACK__CHANNEL: '\\udcff': expected text in the encoding of the locale",
        ),
        (
            "WATCHDOG_PING__URL_SECRET",
            "https://hc.example/SECRET",
            "WATCHDOG_PING__URL_SECRET: (value not shown): expected the name of a Secret block "
            "(lower case, digits, dashes), never the secret itself",
        ),
    ],
)
def test_names_the_variable_that_cannot_be_used(name: str, raw: str, expected: str) -> None:
    assert problems(**{name: raw}) == [expected]


def test_an_unknown_variables_value_is_not_repeated_nor_its_name_obeyed() -> None:
    (line,) = problems(**{"WATCHDOG_\x1b[31m": "hunter2"})

    assert "hunter2" not in line
    assert line.isprintable()


def test_all_problems_are_reported_at_once() -> None:
    assert len(problems(WATCHDOG_X="1", WATCHDOG_LATE__AFTER="1", WATCHDOG_SLOW__LIMIT="x")) == 3
