"""Policy that teams set on their own deployments, as tags."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.checks.slow import CHECK as SLOW
from monitoring.config.policy import Policies, Setting
from monitoring.config.policy_tags import is_policy_tag, read_tags, shown
from monitoring.config.settings import Config, Policy, Rule
from monitoring.model.finding import Severity

HOURS_2 = timedelta(hours=2)


def values(*tags: str) -> dict[str, Any]:
    return {field: value for field, (value, _) in read_tags(tags).values.items()}


def why(*tags: str) -> list[str]:
    return [problem.why for problem in read_tags(tags).problems]


@pytest.mark.parametrize(
    ("tag", "field", "value"),
    [
        ("watchdog:off", "watch", False),
        ("watchdog:owner=data", "owner", "data"),
        ("watchdog:owner=Data & Co., Berlin = us", "owner", "Data & Co., Berlin = us"),
        ("watchdog:owner=42", "owner", "42"),
        ("watchdog:owner=null", "owner", "null"),
        ("watchdog:max-run-time=2h", "slow.limit", HOURS_2),
        ("watchdog:max-run-time=1h30m", "slow.limit", timedelta(minutes=90)),
        ("watchdog:fresh-within=26h", "stale.within", timedelta(hours=26)),
        *((f"watchdog:severity={severity}", "severity", severity) for severity in get_args(Severity)),
        ("watchdog:expect=failure", "expect", "failure"),
        ("watchdog:expect=success", "expect", "success"),
        # Case and spaces of what is ours do not count.
        ("Watchdog:OFF", "watch", False),
        ("  watchdog:off  ", "watch", False),
        ("WATCHDOG: Max-Run-Time = 2H ", "slow.limit", HOURS_2),
        ("watchdog:\towner\t=\tdata\t", "owner", "data"),
    ],
)
def test_every_key_sets_its_field(tag: str, field: str, value: Any) -> None:
    assert values(tag) == {field: value}
    assert why(tag) == []
    assert read_tags((tag,)).values[field][1] == tag


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("watchdog:", "expected one of watchdog:off, watchdog:owner"),
        ("watchdog:=", "expected one of"),
        ("watchdog:something", "expected one of"),
        ("watchdog:oof", "did you mean watchdog:off?"),
        ("watchdog:max-runtime=2h", "did you mean watchdog:max-run-time?"),
        ("watchdog:ownr=data", "did you mean watchdog:owner?"),
        ("watchdog:off=true", "expected watchdog:off without a value"),
        ("watchdog:off=", "expected watchdog:off without a value"),
        ("watchdog:owner", "expected a value"),
        ("watchdog:owner=  ", "expected a value"),
        ("watchdog:owner=" + "x" * 81, "at most 80 characters"),
        ("watchdog:max-run-time=2", "expected a duration"),
        ("watchdog:max-run-time=0s", "1s"),
        ("watchdog:max-run-time=-2h", "expected a duration"),
        ("watchdog:fresh-within=soon", "expected a duration"),
        ("watchdog:fresh-within=999999999w", "duration of at most"),
        ("watchdog:severity=CRITICAL", "expected"),
        ("watchdog:severity=huge", "expected"),
        ("watchdog:expect=cancelled", "expected"),
    ],
)
def test_what_cannot_be_read_changes_nothing_and_says_why(tag: str, reason: str) -> None:
    read = read_tags((tag, "watchdog:owner=data", "gold"))

    assert {field: value for field, (value, _) in read.values.items()} == {"owner": "data"}
    (problem,) = read.problems
    assert problem.tag == tag
    assert reason in problem.why


@pytest.mark.parametrize("tag", ["", "gold", "watchdog", "watchdogs:off", "my-watchdog:off", "owner=data", "watch:off"])
def test_tags_of_others_are_left_alone(tag: str) -> None:
    assert read_tags((tag,)) == ({}, ())


@pytest.mark.parametrize(
    "tag",
    [
        "watchdog:slack.channel=#mine",
        "watchdog:slack.token_secret=mine",
        "watchdog:ping.url_secret=mine",
        "watchdog:redact.patterns=x",
        "watchdog:target.name=x",
        "watchdog:late.after=9h",
        "watchdog:slow.limit=9h",
        "watchdog:watch=false",
        "watchdog:stale=off",
        "watchdog:__class__=x",
    ],
)
def test_tags_reach_nothing_else(tag: str) -> None:
    assert values(tag) == {}
    assert len(why(tag)) == 1
    assert Policies(Config()).of("etl/nightly", (tag,)) == Policy()


def test_two_that_contradict_each_other_both_fall() -> None:
    read = read_tags(("watchdog:owner=a", "watchdog:max-run-time=2h", "watchdog:owner=b", "watchdog:owner=c"))

    assert {field: value for field, (value, _) in read.values.items()} == {"slow.limit": HOURS_2}
    assert [problem.tag for problem in read.problems] == ["watchdog:owner=b", "watchdog:owner=c"]
    assert read.problems[0].why == "contradicts 'watchdog:owner=a'; neither counts"


def test_a_field_that_two_contradicted_stays_open_however_often_it_comes() -> None:
    assert values("watchdog:owner=a", "watchdog:owner=b", "watchdog:owner=a") == {}
    assert values("watchdog:owner=a", "watchdog:owner=b", "WATCHDOG:owner=a") == {}


def test_two_that_say_the_same_agree() -> None:
    assert values("watchdog:max-run-time=2h", "Watchdog:max-run-time=120m", "watchdog:max-run-time=2h") == {
        "slow.limit": HOURS_2
    }
    assert why("watchdog:max-run-time=2h", "Watchdog:max-run-time=120m") == []


# --- strength ----------------------------------------------------------------------------------------


def test_tags_are_stronger_than_the_file_and_its_rules() -> None:
    rule = Rule.model_validate(
        {"match": {"deployment": "*"}, "slow": {"limit": "9h"}, "owner": "rule", "severity": "info"}
    )
    policies = Policies(Config(owner="file", rules=(rule,)))
    tags = ("watchdog:owner=tag", "watchdog:max-run-time=2h")
    policy = policies.of("etl/nightly", tags)

    assert (policy.owner, SLOW.settings(policy).limit, policy.severity) == ("tag", HOURS_2, "info")
    explained = policies.explain("etl/nightly", tags)
    assert explained["owner"] == Setting("tag", "tag watchdog:owner=tag")
    assert explained["severity"].source == "configuration rule 1 (deployment *)"


def test_tags_are_weaker_than_the_environment_and_parameters() -> None:
    environment = {"owner": Setting("environment", "environment"), "watch": Setting(True, "environment")}
    parameters = {"slow.limit": Setting(timedelta(hours=1), "parameter")}
    policies = Policies(Config(), stronger=[environment, parameters])
    policy = policies.of("etl/nightly", ("watchdog:off", "watchdog:owner=tag", "watchdog:max-run-time=2h"))

    assert (policy.watch, policy.owner, SLOW.settings(policy).limit) == (True, "environment", timedelta(hours=1))


def test_tags_hold_for_the_deployment_that_has_them() -> None:
    policies = Policies(Config())

    assert policies.of("etl/nightly", ("watchdog:off",)).watch is False
    assert policies.of("etl/nightly", ("gold",)).watch is True
    assert policies.of("etl/nightly").watch is True


def test_a_rule_can_match_a_policy_tag() -> None:
    rule = Rule.model_validate({"match": {"tag": "watchdog:owner=data"}, "slow": {"limit": "2h"}})

    assert SLOW.settings(Policies(Config(rules=(rule,))).of("a/b", ("watchdog:owner=data",))).limit == HOURS_2


# --- what others may write ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tag",
    [
        "watchdog:owner=xoxb-1234-secret",
        "watchdog:owner=https://me:secret@host/",
        "watchdog:fresh-within=Bearer secret",
        "watchdog:xoxb-1234-secret=2h",
        "watchdog:https://me:secret@host=x=y",
    ],
)
def test_a_secret_is_rejected_and_not_shown(tag: str) -> None:
    assert values(tag) == {}
    assert "secret" not in shown(tag).replace("watchdog", "")
    assert len(why(tag, "watchdog:owner=data")) == 1
    assert not any("1234" in reason or "me:" in reason for reason in why(tag))


def test_a_tag_is_shown_on_one_short_line() -> None:
    assert shown("watchdog:owner=\n\x1b[2J") == r"'watchdog:owner=\n\x1b[2J'"
    assert len(shown("watchdog:" + "x" * 1_000_000)) < 80


def test_ten_thousand_tags_are_read_quickly() -> None:
    tags = tuple(
        tag
        for n in range(2_500)
        for tag in (f"tag-{n}", f"watchdog:{n}", f"watchdog:owner={n}", f"watchdog:max-run-time={n}h")
    )
    policies = Policies(Config())
    started = time.process_time()
    read = read_tags(tags)

    for _ in range(20):
        assert policies.of("etl/nightly", tags).watch is True
    assert read.values == {}
    # The first two of each kind could have been right.
    assert len(read.problems) == 2_500 + 2_499 + 2_499
    assert time.process_time() - started < 10


@given(st.lists(st.text(max_size=40) | st.text(max_size=40).map(lambda text: f"watchdog:{text}"), max_size=6))
def test_no_text_breaks_it(tags: list[str]) -> None:
    read = read_tags(tuple(tags))

    assert all(is_policy_tag(problem.tag) for problem in read.problems)
    assert all(len(problem.why) < 300 and problem.why.isprintable() for problem in read.problems)
    assert set(read.values) <= {"watch", "owner", "slow.limit", "stale.within", "severity", "expect"}
    assert isinstance(Policies(Config()).of("a/b", tuple(tags)), Policy)
