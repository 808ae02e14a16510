"""Dashboards and rules ask for what there is, show all of it, and are explained."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from monitoring.metrics.catalog import METRICS, TARGET
from tests.support.dashboards import DASHBOARDS, PAGE, Panel, Rule, panels, rules
from tests.support.paths import PROJECT
from tests.support.promql import used

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
PANELS = panels()
RULES = rules()
ALERTS = [rule for rule in RULES if rule.alerts]
RECORDED = [rule for rule in RULES if not rule.alerts]
TESTS = "\n".join(path.read_text() for path in sorted((PROJECT / "tests/rules").glob("*.yml")))


def series() -> dict[str, set[str]]:
    """The labels of all series that there are, by name."""
    found: dict[str, set[str]] = {}
    for metric in METRICS:
        labels = {TARGET, *metric.labels}
        if metric.kind == "histogram":
            found[f"{metric.name}_bucket"] = {*labels, "le"}
            found[f"{metric.name}_sum"] = found[f"{metric.name}_count"] = labels
        else:
            found[f"{metric.name}_total" if metric.kind == "counter" else metric.name] = labels
    for rule in RECORDED:
        # A quantile is over the buckets.
        found[rule.name] = used(rule.query).grouped - {"le"}
    return found


SERIES = series()


def asks_for_what_there_is(query: str) -> None:
    metrics = used(query)
    assert metrics.matched, query
    assert set(metrics.matched) - set(SERIES) == set()
    for name, labels in metrics.matched.items():
        assert labels - SERIES[name] == set(), name
    assert metrics.grouped - set().union(*(SERIES[name] for name in metrics.matched)) == set()


def variables(dashboard: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def test_the_documented_dashboards_exist() -> None:
    assert list(DASHBOARDS) == ["deployment.json", "overview.json", "watchdog.json"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_complete_and_readable(name: str) -> None:
    dashboard = DASHBOARDS[name]
    assert dashboard["schemaVersion"] == 41
    # Exported ones have it, and it would overwrite another dashboard's.
    assert "id" not in dashboard
    assert re.fullmatch(r"prefect-watchdog-[a-z]+", dashboard["uid"])
    assert dashboard["title"].startswith("Prefect Watchdog / ")
    assert dashboard["description"].endswith(".")
    wanted = {"datasource", "target", *(["deployment"] if name == "deployment.json" else [])}
    assert set(variables(dashboard)) == wanted
    assert variables(dashboard)["datasource"]["query"] == "prometheus"
    text = (PROJECT / "dashboards" / name).read_text()
    assert text.startswith('{\n  "uid"')
    assert text.endswith("}\n")


def test_no_two_dashboards_have_the_same_address() -> None:
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_stand_beside_each_other(name: str) -> None:
    bodies = DASHBOARDS[name]["panels"]
    assert len({body["id"] for body in bodies}) == len(bodies)
    taken: set[tuple[int, int]] = set()
    for body in bodies:
        at = body["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, body["title"]
        taken |= cells


@pytest.mark.parametrize("panel", PANELS, ids=str)
def test_a_panel_says_what_it_shows(panel: Panel) -> None:
    assert panel.title
    assert panel.description.endswith(".")
    assert panel.body["fieldConfig"]["defaults"]["unit"]
    assert panel.body["datasource"] == SOURCE
    assert panel.queries
    for target in panel.body["targets"]:
        assert target["datasource"] == SOURCE
        assert "${datasource}" not in target["expr"]
        assert set(re.findall(r"\$(\w+)", target["expr"])) <= {*variables(DASHBOARDS[panel.dashboard]), "__range"}
        # Numbers of another server would be shown as those of the chosen one.
        assert all(TARGET in labels for labels in used(target["expr"]).matched.values())
    shows_recorded = any(rule.name in query for rule in RECORDED for query in panel.queries)
    assert shows_recorded == ("Needs the recording rules." in panel.description)


@pytest.mark.parametrize("panel", PANELS, ids=str)
def test_a_panel_queries_metrics_that_exist(panel: Panel) -> None:
    for query in panel.queries:
        asks_for_what_there_is(query)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_variable_offers_what_there_is(name: str) -> None:
    for variable in variables(DASHBOARDS[name]).values():
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert found
            asks_for_what_there_is(found[1])
            assert {found[2]} <= set().union(*(SERIES[selector] for selector in used(found[1]).matched))


@pytest.mark.parametrize("panel", PANELS, ids=str)
def test_a_link_leads_to_a_dashboard_with_its_variables(panel: Panel) -> None:
    uids = {dashboard["uid"]: dashboard for dashboard in DASHBOARDS.values()}
    for url in re.findall(r'"url": "([^"]+)"', json.dumps(panel.body)):
        path, _, query = url.partition("?")
        uid = path.removeprefix("/d/")
        assert uid in uids
        assert set(re.findall(r"var-(\w+)=", query)) <= set(variables(uids[uid]))
        assert "var-datasource=${datasource}" in query


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_rule_queries_metrics_that_exist(rule: Rule) -> None:
    asks_for_what_there_is(rule.query)


@pytest.mark.parametrize("rule", RECORDED, ids=str)
def test_what_is_recorded_says_by_which_labels_and_is_shown(rule: Rule) -> None:
    level, metric, _ = rule.name.split(":")
    assert set(level.split("_")) == SERIES[rule.name]
    assert metric in {known.name for known in METRICS}
    assert any(rule.name in used(query).matched for panel in PANELS for query in panel.queries)


@pytest.mark.parametrize("rule", ALERTS, ids=str)
def test_an_alert_says_what_is_wrong_and_how_bad(rule: Rule) -> None:
    severity = rule.body.get("labels", {}).get("severity")
    # An incident has its own.
    assert severity in ("critical", "warning") or "severity" in used(rule.query).grouped
    assert set(rule.body["annotations"]) == {"summary", "description"}
    assert len(rule.body["annotations"]["summary"]) <= 120
    assert rule.body["annotations"]["description"].endswith(".")
    usable = {*used(rule.query).grouped, *rule.body.get("labels", {})}
    assert set(re.findall(r"\$labels\.(\w+)", str(rule.body["annotations"]))) <= usable


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_rule_is_tested(rule: Rule) -> None:
    assert (f"alertname: {rule.name}\n" if rule.alerts else rule.name) in TESTS


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: str(metric.name))
def test_what_is_measured_is_seen(metric: Any) -> None:
    queries = [query for panel in PANELS for query in panel.queries] + [rule.query for rule in RULES]
    seen = {name for query in queries for name in used(query).matched}
    assert any(re.fullmatch(rf"{metric.name}(_total|_bucket)?", name) for name in seen)


def test_the_page_explains_every_dashboard_and_rule_and_nothing_else() -> None:
    headings = re.findall(r"^### `([^`]+)`$", PAGE, re.MULTILINE)
    assert sorted(headings) == sorted([*DASHBOARDS, *(rule.name for rule in RULES)])
    named = re.findall(r"`(?:dashboards/)?(\w+\.json|Prefect\w+|\w+:\w+:\w+)`", PAGE)
    assert set(named) == set(headings)


def test_what_is_misread_is_rejected() -> None:
    assert used('sum by (a) (m{b="}", c=~"x"}[5m] offset 1h) > bool 2').matched == {"m": {"b", "c"}}
    with pytest.raises(ValueError, match="unknown function"):
        used("frobnicate(m)")
    with pytest.raises(ValueError, match="cannot be read"):
        used("m @ 3")
