from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.checks.late import CHECK as LATE
from monitoring.checks.late import Late
from monitoring.checks.slow import CHECK as SLOW
from monitoring.checks.slow import Slow
from monitoring.config.match import Match
from monitoring.config.policy import Policies, Setting, format_value, layer, leaves
from monitoring.config.settings import Config, Policy, Rule
from monitoring.model.fields import Section

LATE_5 = Late(after=timedelta(minutes=5))


def rule(match: dict[str, str], **sections: Any) -> Rule:
    return Rule(match=Match(**match), **sections)


def test_without_anything_the_defaults_hold() -> None:
    policies = Policies(Config())

    assert policies.of("etl/nightly") == Policy()
    assert policies.config == Config()
    assert {setting.source for setting in policies.settings().values()} == {"default"}


def test_the_config_holds_where_no_rule_matches() -> None:
    policies = Policies(
        Config.model_validate({"late": LATE_5, "rules": (rule({"tag": "x"}, slow=Slow(limit=timedelta(hours=1))),)})
    )

    assert LATE.settings(policies.of("etl/nightly")) == LATE_5
    assert SLOW.settings(policies.of("etl/nightly")).limit is None
    assert LATE.settings(policies.config) == LATE_5
    assert len(policies.config.rules) == 1


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        ({"deployment": "etl/nightly"}, True),
        ({"deployment": "etl/*"}, True),
        ({"deployment": "*/nightly"}, True),
        ({"deployment": "*"}, True),
        ({"deployment": "e?l/night[lm]y"}, True),
        ({"deployment": "ETL/*"}, False),
        ({"deployment": "nightly"}, False),
        ({"deployment": "etl"}, False),
        ({"tag": "gold"}, True),
        ({"tag": "go*"}, False),
        ({"tag": "Gold"}, False),
        ({"pool": "k8s"}, True),
        ({"pool": "k8"}, False),
        ({"deployment": "etl/*", "tag": "gold", "pool": "k8s"}, True),
        ({"deployment": "etl/*", "tag": "tin", "pool": "k8s"}, False),
        ({"deployment": "etl/*", "tag": "gold", "pool": "docker"}, False),
        ({"deployment": "x/*", "tag": "gold", "pool": "k8s"}, False),
    ],
)
def test_a_rule_matches_when_all_that_it_names_does(match: dict[str, str], matches: bool) -> None:
    policies = Policies(Config(rules=(rule(match, late=LATE_5),)))

    assert (LATE.settings(policies.of("etl/nightly", ("red", "gold"), "k8s")) == LATE_5) is matches


def test_a_rule_by_pool_leaves_deployments_without_one_alone() -> None:
    assert LATE.settings(Policies(Config(rules=(rule({"pool": "k8s"}, late=LATE_5),))).of("etl/nightly")) == Late()


def test_a_pattern_is_for_the_whole_name_even_over_lines() -> None:
    policies = Policies(Config(rules=(rule({"deployment": "a/*"}, late=LATE_5),)))

    assert LATE.settings(policies.of("a/b\nc")) == LATE_5
    assert LATE.settings(policies.of("z\na/b")) == Late()


def test_the_last_matching_rule_wins_field_by_field() -> None:
    first = rule(
        {"deployment": "etl/*"},
        late=Late(after=timedelta(minutes=1), enabled=False),
        slow=Slow(limit=timedelta(hours=1)),
    )
    second = rule({"tag": "gold"}, late=Late(after=timedelta(minutes=2)), slow=Slow(limit=None))
    policies = Policies(Config(rules=(first, second)), origin="watchdog.yaml")

    both = policies.of("etl/nightly", ("gold",))

    assert LATE.settings(both) == Late(after=timedelta(minutes=2), enabled=False)
    assert SLOW.settings(both).limit is None
    explained = policies.explain("etl/nightly", ("gold",))
    assert explained["late.after"].source == "watchdog.yaml rule 2 (tag gold)"
    assert explained["late.enabled"].source == "watchdog.yaml rule 1 (deployment etl/*)"
    assert explained["slow.limit"] == Setting(None, "watchdog.yaml rule 2 (tag gold)")
    assert explained["late.critical_after"].source == "default"


def test_a_setting_knows_its_line() -> None:
    policies = Policies(Config.model_validate({"late": LATE_5}), origin="watchdog.yaml", lines={"late.after": 12})

    assert policies.explain("a/b")["late.after"] == Setting(timedelta(minutes=5), "watchdog.yaml line 12")


def test_stronger_layers_beat_rules_and_each_other() -> None:
    environment = {
        "late.after": Setting(timedelta(minutes=6), "environment"),
        "slack.channel": Setting("x", "environment"),
    }
    parameter = {"late.after": Setting(timedelta(minutes=7), "parameter")}
    config = Config(rules=(rule({"deployment": "*"}, late=Late(after=timedelta(minutes=1), enabled=False)),))
    policies = Policies(config, stronger=[environment, parameter])

    assert LATE.settings(policies.of("a/b")) == Late(after=timedelta(minutes=7), enabled=False)
    assert LATE.settings(policies.config) == Late(after=timedelta(minutes=7))
    assert policies.config.slack.channel == "x"


def test_a_section_that_is_named_and_empty_changes_nothing() -> None:
    policies = Policies(Config.model_validate({"late": LATE_5, "rules": (rule({"tag": "x"}, late=Late()),)}))

    assert LATE.settings(policies.of("a/b", ("x",))) == LATE_5


def test_ten_thousand_deployments_are_cheap() -> None:
    rules = tuple(rule({"deployment": f"flow-{n}/*"}, late=Late(after=timedelta(minutes=n))) for n in range(1, 21))
    policies = Policies(Config(rules=rules))
    started = time.process_time()

    made = {id(policies.of(f"flow-{n % 40}/d-{n}", ("a", "b"), "pool")) for n in range(10_000)}

    assert len(made) == 21
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (timedelta(minutes=90), "1h30m"),
        (True, "true"),
        (None, "null"),
        (3, "3"),
        ("text", "text"),
        ((), "[]"),
        (("a", "ü"), '["a", "ü"]'),
    ],
)
def test_values_are_written_as_in_the_file(value: Any, expected: str) -> None:
    assert format_value(value) == expected


# --- any layers at all ------------------------------------------------------------------------------

POLICY_DEFAULTS = dict(leaves(Policy(), unset=True))


#: Fields that take one of a few words.
_WORDS = {
    "severity": ["info", "warning", "critical"],
    "slow.severity": ["info", "warning", "critical"],
    "suspicious.severity": ["info", "warning", "critical"],
    "expect": ["success", "failure"],
    "owner": ["data", "platform"],
}


def _values(name: str, default: Any) -> st.SearchStrategy[Any]:
    if name in _WORDS:
        return st.sampled_from(_WORDS[name])
    if isinstance(default, bool):
        return st.booleans()
    if name.endswith(".min_samples"):
        return st.integers(5, 20)
    if isinstance(default, float):
        return st.floats(1.5, 20)
    if isinstance(default, int):
        return st.integers(2, 100)
    return st.integers(1, 10_000).map(lambda seconds: timedelta(seconds=seconds))


POLICY_VALUES = {name: _values(name, default) for name, default in POLICY_DEFAULTS.items()}
changes = st.fixed_dictionaries({}, optional=POLICY_VALUES)


def _built(model: type[Section], flat: dict[str, Any], **more: Any) -> Any:
    tree: dict[str, Any] = dict(more)
    for name, value in flat.items():
        section, dot, field = name.partition(".")
        if dot:
            tree.setdefault(section, {})[field] = value
        else:
            tree[name] = value
    return model.model_validate(tree)


@given(st.lists(changes, min_size=5, max_size=5))
def test_the_strongest_layer_that_names_a_field_decides_it(layers: list[dict[str, Any]]) -> None:
    file, first, second, environment, parameter = layers
    rules = (_built(Rule, first, match={"deployment": "a/*"}), _built(Rule, second, match={"tag": "t"}))
    policies = Policies(
        _built(Config, file, rules=rules),
        origin="file",
        stronger=[
            layer(_built(Config, environment), "environment"),
            layer(_built(Config, parameter), "parameter"),
        ],
    )
    names = ["parameter", "environment", "file rule 2 (tag t)", "file rule 1 (deployment a/*)", "file", "default"]
    strongest_first = [parameter, environment, second, first, file, POLICY_DEFAULTS]

    explained = policies.explain("a/b", ("t",))
    effective = dict(leaves(policies.of("a/b", ("t",)), unset=True))

    for field in POLICY_DEFAULTS:
        expected = next(
            (values[field], name) for values, name in zip(strongest_first, names, strict=True) if field in values
        )
        assert (explained[field].value, explained[field].source) == expected
        assert effective[field] == expected[0]
