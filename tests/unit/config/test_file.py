from __future__ import annotations

import textwrap
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.checks.late import CHECK as LATE
from monitoring.checks.slow import CHECK as SLOW
from monitoring.config.file import MAX_TEXT, ConfigFile, parse
from monitoring.config.settings import Config
from monitoring.errors import ConfigError

DURATION = "expected a duration such as 90s, 15m, 2h, 1d or 1h30m, with its unit"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "w.yaml")
    return str(caught.value).splitlines()


NO_VALUE = "no value; expected one, in quotes if it begins with #, or null to leave it unset"


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing yet\n", "---\n", "null\n", "{}\n", "\ufeff# marked\n"])
def test_nothing_is_the_defaults(text: str) -> None:
    assert parse(text, "w.yaml") == ConfigFile(Config(), {})


def test_reads_values_and_their_lines() -> None:
    file = parse(
        textwrap.dedent("""\
            # a comment
            late:
              after: 20m

            slack: {channel: "123",
              timeout: 5s}
            redact:
              patterns:
                - a+
            rules:
              - match: {tag: 2024-01-01}
                slow:
                  limit: null
            """),
        "w.yaml",
    )

    assert LATE.settings(file.config).after == timedelta(minutes=20)
    assert file.config.slack.channel == "123"
    assert file.config.redact.patterns == ("a+",)
    assert file.config.rules[0].match.tag == "2024-01-01"
    assert SLOW.settings(file.config.rules[0]).model_fields_set == {"limit"}
    assert file.lines["late.after"] == 3
    assert file.lines["slack.channel"] == 5
    assert file.lines["slack.timeout"] == 6
    assert file.lines["redact.patterns"] == 8
    assert file.lines["rules[1].slow.limit"] == 13


def test_aliases_stand_for_what_they_name() -> None:
    file = parse("late: &short {after: 5m}\nrules: [{match: {tag: a}, late: *short}]\n", "w.yaml")

    assert LATE.settings(file.config.rules[0]) == LATE.settings(file.config)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("late:\n  after: 15", f"w.yaml:2: late.after: '15': {DURATION}"),
        ("late:\n  after: soon", f"w.yaml:2: late.after: 'soon': {DURATION}"),
        ("late: {after: 1:30}", f"w.yaml:1: late.after: '1:30': {DURATION}"),
        ("late: {after: null}", f"w.yaml:1: late.after: 'null': {DURATION}"),
        ("late: {after: [1m]}", f"w.yaml:1: late.after: {DURATION}"),
        ("late: {after: 0s}", "w.yaml:1: late.after: '0s': expected a duration of at least 1s"),
        ("late: {after: 9999999d}", "w.yaml:1: late.after: '9999999d': expected a duration of at most 36500d"),
        ("late: {after: 2024-13-45}", f"w.yaml:1: late.after: '2024-13-45': {DURATION}"),
        ("late:\n  enabled: maybe", "w.yaml:2: late.enabled: 'maybe': expected true or false"),
        ("failed: {critical_after: few}", "w.yaml:1: failed.critical_after: 'few': expected a whole number"),
        ("failed: {critical_after: yes}", "w.yaml:1: failed.critical_after: 'yes': expected a whole number"),
        ("failed: {critical_after: 1.5}", "w.yaml:1: failed.critical_after: '1.5': expected a whole number"),
        ("failed: {critical_after: .inf}", "w.yaml:1: failed.critical_after: '.inf': expected a whole number"),
        ("failed: {critical_after: !!int x}", "w.yaml:1: failed.critical_after: 'x': expected a whole number"),
        ("failed: {critical_after: 0}", "w.yaml:1: failed.critical_after: '0': expected a number of at least 1"),
        ("server: {attempts: 11}", "w.yaml:1: server.attempts: '11': expected a number of at most 10"),
        (
            "target: {name: -}",
            "w.yaml:1: target.name: '-': expected 1 to 63 letters, digits, dots, dashes and underscores, of "
            "which the first is a letter or digit",
        ),
        (
            "slack: {channel: 123}",
            "w.yaml:1: slack.channel: '123': expected text (what looks like a number or true needs quotes)",
        ),
        ('slack: {channel: "\\ud800"}', "w.yaml:1: slack.channel: '\\ud800': expected text"),
        (
            "digest: {time_zone: Mars}",
            "w.yaml:1: digest.time_zone: 'Mars': expected an IANA time zone such as Europe/Berlin or UTC",
        ),
        ("redact: {patterns: a}", "w.yaml:1: redact.patterns: 'a': expected a list"),
        (
            "redact:\n  patterns:\n  - ok\n  - a*",
            "w.yaml:4: redact.patterns[2]: 'a*': expected a regular expression that does not match empty text: "
            "it would match everywhere",
        ),
        (
            "redact: {patterns: ['a{99999999999999999999}']}",
            "w.yaml:1: redact.patterns[1]: 'a{99999999999999999999}': expected a regular expression as Python's re "
            "and regex modules read it: repeat count too big at position 2",
        ),
        ("slack:\n  channel: #alerts", f"w.yaml:2: slack.channel: {NO_VALUE}"),
        ("owner:", f"w.yaml:1: owner: {NO_VALUE}"),
        ("slow: {limit: }", f"w.yaml:1: slow.limit: {NO_VALUE}"),
        (
            "late: {after: }",
            "w.yaml:1: late.after: '': expected a duration such as 90s, 15m, 2h, 1d or 1h30m, with its unit",
        ),
        ("late: 3", "w.yaml:1: late: '3': expected a section with fields"),
        ("late:\nslow: {}", "w.yaml:1: late: '': expected a section with fields"),
        ("late: [after]", "w.yaml:1: late: expected a section with fields"),
        ("rules: {tag: x}", "w.yaml:1: rules: expected a list"),
        ("rules:\n- late: {}", "w.yaml:2: rules[1].match: is missing"),
        ("rules:\n- match: {}", "w.yaml:2: rules[1].match: expected at least one of deployment, tag, pool"),
        ("rules:\n- match: {tag: ''}", "w.yaml:2: rules[1].match.tag: '': expected text that is not empty"),
        ("\n\nlate:\n  aftr: 5m", "w.yaml:4: late.aftr: unknown key; did you mean after?"),
        (
            "rules:\n- match: {tag: a}\n- match: {tag: a, tags: b}",
            "w.yaml:3: rules[2].match.tags: unknown key; did you mean tag?",
        ),
        (
            "rules: [{match: {tag: a}, slack: {}}]",
            "w.yaml:1: rules[1].slack: not allowed in a rule: it applies to the watchdog as a whole",
        ),
        ("digest: {zzz: 1}", "w.yaml:1: digest.zzz: unknown key; expected one of receiver, time_zone"),
        (
            "late: {<<: {after: 3m}}",
            f"w.yaml:1: late.<<: unknown key; expected one of {', '.join(sorted(LATE.section.model_fields))}",
        ),
    ],
)
def test_says_line_field_value_and_what_was_expected(text: str, expected: str) -> None:
    assert problems(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- late", "w.yaml:1: expected sections such as `late:` with their fields indented under them"),
        ("late", "w.yaml:1: expected sections such as `late:` with their fields indented under them"),
        ("late: {}\nslow: [", "w.yaml:2: not YAML: expected the node content, but found '<stream end>'"),
        ("late: {}\n\tslow: {}", "w.yaml:2: not YAML: found character '\\t' that cannot start any token"),
        (
            "rules:\n- match: {deployment: *}",
            "w.yaml:2: not YAML: expected alphabetic or numeric character, but found '}'",
        ),
        ("a: 1\n---\nb: 1", "w.yaml:2: not YAML: but found another document"),
        ("late: {}\n# \x07", "w.yaml:2: not YAML: the character '\\x07'"),
        (
            "late:\n  after: 1m\n  after: 2m",
            "w.yaml:3: late: 'after' is set a second time, after line 2; expected once",
        ),
        ("late: {}\nlate: {}", "w.yaml:2: 'late' is set a second time, after line 1; expected once"),
        ("? [a]\n: 1", "w.yaml:1: expected the name of a field before the colon"),
        ("late: &a [*a]", "w.yaml:1: too large, nested too deeply, or an alias that contains itself"),
        ("[" * 5_000, "w.yaml: nested too deeply; expected sections with fields"),
    ],
)
def test_says_where_it_is_no_configuration_at_all(text: str, expected: str) -> None:
    assert problems(text) == [expected]


def test_a_tag_brings_no_object_to_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    lines = problems("slack: {channel: !!python/object/apply:os.system [touch made]}\nping: {url_secret: !custom x}")

    assert [line.split(": ")[:2] for line in lines] == [["w.yaml:1", "slack.channel"], ["w.yaml:2", "ping.url_secret"]]
    assert list(tmp_path.iterdir()) == []


def test_aliases_cannot_blow_a_small_text_up() -> None:
    layers = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    layers += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]

    assert problems("\n".join(layers))[-1].endswith("too large, nested too deeply, or an alias that contains itself")


def test_a_text_that_is_far_too_long_is_some_other_file() -> None:
    assert problems("#" * (MAX_TEXT + 1)) == ["w.yaml: longer than 250,000 characters; expected a configuration"]


def test_all_problems_are_reported_at_once_in_the_order_of_their_lines() -> None:
    lines = problems("slow: {limit: 5}\nlate:\n  x: 1\nlate: {}\nfailed: {enabled: 3}\nstuck: 1\n")

    assert [line.split(":")[1] for line in lines] == ["1", "3", "4", "5", "6"]


def test_a_thousand_problems_are_not_a_thousand_lines() -> None:
    lines = problems("".join(f"key{number}: 1\n" for number in range(1000)))

    assert len(lines) == 51
    assert lines[-1] == "w.yaml: 950 more problems"


@pytest.mark.parametrize(
    "text",
    [
        "slack: {token: xoxb-1-SECRET}",
        "token: SECRET",
        "slack: {token_secret: SECRET}",
        "ping: {url_secret: 'https://hc.example/SECRET'}",
        "slack: {api_url: 'ftp://user:SECRET@example.com'}",
        "target: {name: 'https://user:SECRET@example.com'}",
        "late: {after: xoxb-1-SECRET}",
        "late: {after: {token: SECRET}}",
        "late: [SECRET]",
        "rules: [{match: {token: SECRET}}]",
    ],
)
def test_what_may_be_a_secret_is_not_repeated(text: str) -> None:
    assert "SECRET" not in "\n".join(problems(text))


def test_hostile_keys_and_values_stay_on_their_line() -> None:
    lines = problems(
        '"\\e[31mred\\n": 1\n"\\ud800": 1\nlate: {after: "\\e]0;title\\a", enabled: "a\\nb"}\n"' + "k" * 900 + '": 1'
    )

    assert len(lines) == 5
    assert all(line.isprintable() and len(line) < 400 for line in lines)


@given(st.text(alphabet=st.sampled_from("alte:-[]{}&*!?,\n\t '\"#|>%@0123456789mh<~\x00é"), max_size=60))
def test_any_text_is_a_configuration_or_a_clear_error(text: str) -> None:
    problem: str | None = None
    try:
        parse(text, "w.yaml")
    except ConfigError as error:
        problem = str(error)

    assert problem is None or all(line.startswith("w.yaml") for line in problem.splitlines())
