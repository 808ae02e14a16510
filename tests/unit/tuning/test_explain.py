"""What is explained is what the checks do: never another verdict than theirs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.checks.findings import Compared
from monitoring.checks.registry import CHECKS, findings_of, run_checks, verdicts
from monitoring.checks.slow import Slow
from monitoring.history.ledger import fold
from monitoring.incidents.correlation import correlate
from monitoring.messages import terminal
from monitoring.messages.incident_messages import incident_lines
from monitoring.model.incident import Closed, Incident, Incidents
from monitoring.model.ledger import Ledger, Record, RunTimes
from monitoring.model.message import Bar, Message
from monitoring.model.observation import Observation
from monitoring.model.prefect import WorkPool
from monitoring.tuning.explain import Explained, Explanation, bars, explain
from monitoring.tuning.explain_message import explanation_message, run_message
from monitoring.tuning.run_comparison import Given, RunDetails
from tests.support.builders import NOW, deployment, hours, minutes, observation, policies, run
from tests.support.worlds import observations

CONFIGURATIONS: tuple[dict[str, Any], ...] = (
    {},
    {"watch": False},
    {"expect": "failure", "failed": {"tolerate": 1}, "slow": {"limit": "10m"}, "stale": {"within": "1h"}},
    {"slow": {"min_samples": 5, "floor": "1m"}, "zombie": {"enabled": False}, "stale": {"missed_fires": 1}},
    {"late": {"after": "1m"}, "stuck": {"pending_after": "1m", "paused_after": "5m"}, "paused": {"after": "1h"}},
)


def explained(seen: Observation, key: str = "etl/nightly", **config: Any) -> Explanation:
    ledger = fold(Ledger(), seen)
    rules = policies(**config)
    judged = tuple(verdicts(seen, ledger, rules))
    return explain(seen, ledger, rules, judged, correlate(findings_of(judged), seen, ledger), key)


def of(explanation: Explanation, check: str) -> Explained:
    """The verdict of a check about the deployment itself."""
    return next(
        entry
        for entry in explanation.verdicts
        if entry.check == check and entry.subject.id == explanation.deployment.id
    )


@given(observations(), st.sampled_from(CONFIGURATIONS))
@settings(max_examples=300)
def test_a_check_fires_exactly_where_it_is_said_to(seen: Observation, config: dict[str, Any]) -> None:
    ledger = fold(Ledger(), seen)
    rules = policies(**config)
    judged, found = tuple(verdicts(seen, ledger, rules)), run_checks(seen, ledger, rules)
    fired = {(finding.check, finding.subject.kind, finding.subject.id): finding for finding in found}
    for key in seen.deployments:
        explanation = explain(seen, ledger, rules, judged, found, key)

        for entry in explanation.verdicts:
            assert entry.finding == fired.get((entry.check, entry.subject.kind, entry.subject.id))
            assert bool(entry.verdict.why_not) is (entry.finding is None)
        shown = [entry.finding.fingerprint for entry in explanation.verdicts if entry.finding]
        concerned = {(entry.check, entry.subject.kind, entry.subject.id) for entry in explanation.verdicts}
        assert sorted(shown) == sorted(finding.fingerprint for key, finding in fired.items() if key in concerned)
        assert {entry.check for entry in explanation.verdicts} == {check.name for check in CHECKS}


def test_a_finding_names_its_incident_and_how_it_stands() -> None:
    explanation = explained(observation(run("FAILED")))
    (failed,) = (entry.finding for entry in explanation.verdicts if entry.finding)
    opened = Incident(finding=failed, number=12, opened_at=NOW - hours(1), fired_at=NOW - hours(1))
    closed = Closed(at=NOW, severity="warning", number=12, by="ana")
    since = "2026-11-23 11:00 UTC"
    for incidents, line in (
        (Incidents(open={failed.fingerprint: opened}), f"W-12 firing, since {since}: watchdog incidents show W-12"),
        (
            Incidents(closed_by_hand={failed.fingerprint: closed}),
            "W-12 closed by ana at 2026-11-23 12:00 UTC: watchdog incidents show W-12",
        ),
    ):
        lines = incident_lines(incidents, (), NOW)
        assert f"Incident  {line}\n" in printed(explanation_message(explanation, None, (), incidents=lines))


def test_every_verdict_names_the_settings_that_decided_and_their_sources() -> None:
    waiting = run("SCHEDULED", since=NOW - hours(1), work_pool="etl")
    pool = WorkPool(id="p", name="etl", type="process", live_workers=0, concurrency_limit=3)
    explanation = explained(observation(waiting, deployments=[deployment(work_pool="etl")], work_pools={"etl": pool}))

    for entry in explanation.verdicts:
        deciding = [limit for limit in entry.limits if not limit.name.endswith(".enabled")]
        assert bool(deciding) is (entry.subject.kind != "scheduler"), entry.check
        assert all(limit.name.startswith(entry.check.replace("-", "_")) and limit.source for limit in entry.limits)
    assert {entry.subject.kind for entry in explanation.verdicts} == {"deployment", "work-pool", "server", "scheduler"}


def test_late_shows_the_due_time_and_the_limit() -> None:
    due = NOW - minutes(10)
    waiting = run("SCHEDULED", "waits", since=due)
    early = of(explained(observation(waiting)), "late")
    tagged = deployment(tags=("watchdog:owner=data",))
    strict = of(explained(observation(waiting, deployments=[tagged]), late={"after": "5m"}), "late")

    assert (early.finding, early.verdict.why_not) == (None, "no run has been due for too long")
    assert early.verdict.compared == (Compared("name of waits: due for", minutes(10), minutes(15), due),)
    assert strict.finding
    assert (strict.finding.check, strict.finding.owner) == ("late", "data")
    assert {(limit.name, limit.value, limit.source) for limit in strict.limits} >= {
        ("late.after", "5m", "configuration"),
        ("late.critical_after", "2h", "default"),
    }


def test_runs_that_are_not_listed_are_counted() -> None:
    waiting = [run("SCHEDULED", f"r{n}", since=NOW - minutes(n)) for n in range(1, 8)]
    compared = of(explained(observation(*waiting)), "late").verdict.compared

    assert len(compared) == 6
    assert compared[-1] == Compared("and", "2 more runs")


def test_a_run_beyond_its_own_time_out_is_judged_by_that() -> None:
    paused = run("PAUSED", "asks", since=NOW - hours(2), pause_timeout=NOW - hours(1))
    stuck = of(explained(observation(paused)), "stuck")

    assert stuck.finding
    (compared,) = stuck.verdict.compared
    assert (compared.what, compared.observed) == (
        "name of asks: Paused",
        "for 2 h, its own timeout passed 1 h ago",
    )
    assert compared.limit == "resumed or failed within 15 min of it"


def test_the_source_of_a_tags_limit_is_the_tag() -> None:
    tagged = deployment(tags=("watchdog:max-run-time=2h",))
    limits = of(explained(observation(deployments=[tagged])), "slow").limits

    assert [(limit.name, limit.value, limit.source) for limit in limits] == [
        ("slow.enabled", "true", "default"),
        ("slow.limit", "2h", "tag watchdog:max-run-time=2h"),
    ]


def marks(bars: Iterable[Bar]) -> list[str]:
    """The marks of all bars, in their order."""
    return [mark for bar in bars for mark in bar.text.partition(" <- ")[2].split(", ") if mark]


def test_slow_shows_the_baseline() -> None:
    usual = [
        run("COMPLETED", f"r{n}", since=NOW - hours(n), start_time=NOW - hours(n) - minutes(4), total_run_time=240)
        for n in range(1, 13)
    ]
    explanation = explained(observation(*usual, run("RUNNING", "now", since=NOW - minutes(3))))
    compared = of(explanation, "slow").verdict.compared

    assert compared[0] == Compared("name of now: running for", minutes(3), minutes(9))
    assert compared[-1] == Compared("median of its newest 12 runs:", minutes(4))
    assert sum(bar.value for bar in explanation.run_times) == 12
    assert marks(explanation.run_times) == ["median 4 min", "limit 9 min"]


@given(st.lists(st.floats(0.1, 1e7), min_size=1, max_size=30), st.sampled_from([None, timedelta(hours=2)]))
def test_every_run_and_mark_is_in_one_bar(took: list[float], limit: timedelta | None) -> None:
    times = RunTimes(recent=tuple((n, seconds) for n, seconds in enumerate(took)))
    shown = list(bars(Record(run_times=times), policies(slow={"limit": limit}).config))

    assert 1 <= len(shown) <= 8
    assert sum(bar.value for bar in shown) == len(took)
    assert sorted(mark.split()[0] for mark in marks(shown)) == (
        ["limit", "median"] if limit or len(took) >= Slow().min_samples else ["median"]
    )


def test_without_runs_there_is_no_plot() -> None:
    assert explained(observation()).run_times == ()


@pytest.mark.parametrize(
    ("config", "why"),
    [({"watch": False}, "the deployment is not watched"), ({"failed": {"enabled": False}}, "the check is turned off")],
)
def test_what_is_off_is_said_to_be(config: dict[str, Any], why: str) -> None:
    failed = of(explained(observation(run("FAILED")), **config), "failed")

    assert (failed.verdict.why_not, failed.finding) == (why, None)


def test_the_verdict_about_its_work_pool_is_shown() -> None:
    pool = WorkPool(id="p", name="etl", type="process", paused=True)
    waiting = run("SCHEDULED", since=NOW - hours(1), work_pool="etl")
    explanation = explained(observation(waiting, deployments=[deployment(work_pool="etl")], work_pools={"etl": pool}))
    of_pool = next(entry for entry in explanation.verdicts if entry.check == "work-pool")

    assert of_pool.finding
    assert of_pool.finding.severity == "warning"
    assert of_pool.verdict.compared[0] == Compared("live workers:", "not counted, paused")
    assert explanation.causes == ()


def test_a_cause_elsewhere_is_shown() -> None:
    child = run("FAILED", "child", of="etl/child", message="no rows")
    parent = run("FAILED", "parent", since=NOW - minutes(59), message="no rows")
    both = [deployment(), deployment("etl/child")]
    seen = observation(child, parent, deployments=both, children={"parent": (child,)})

    assert [finding.subject.name for finding in explained(seen).causes] == ["etl/child"]


HOSTILE = "etl/[red]x\x1b[31m\n<!channel>"


def printed(*shown: Message) -> str:
    stream = StringIO()
    for message in shown:
        terminal.show(terminal.console(stream), message)
    return stream.getvalue()


@given(observations(), st.sampled_from(CONFIGURATIONS))
def test_whatever_is_explained_can_be_printed(seen: Observation, config: dict[str, Any]) -> None:
    for key, deployed in seen.deployments.items():
        text = printed(explanation_message(explained(seen, key, **config), "http://ui.example", ()))

        assert all(f"{check.name}: " in text for check in CHECKS)
        assert deployed.name.split("/")[0] in text


def test_hostile_names_do_nothing() -> None:
    named = deployment(HOSTILE, id="etl/nightly", tags=(HOSTILE,))
    bad = run("FAILED", name=HOSTILE, message=HOSTILE)
    parameters = {HOSTILE: Given(shown=HOSTILE, identity="one")}
    text = printed(
        explanation_message(explained(observation(bad, deployments=[named])), None, ()),
        run_message(RunDetails(run=bad, parameters=parameters), RunDetails(run=run("COMPLETED", name=HOSTILE))),
    )

    assert "\x1b" not in text
    assert "etl/[red]x <!channel>" in text
    assert f"parameter {HOSTILE[:9]}" in text
