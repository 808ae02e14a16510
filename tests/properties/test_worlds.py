"""What must hold on any server whatever: random servers, judged whole."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.history.ledger import OVERLAP, fold
from monitoring.incidents.lifecycle import advance
from monitoring.messages import findings_table as table
from monitoring.messages.json_contract import check_json
from monitoring.messages.markdown import markdown_page
from monitoring.messages.report_messages import digest_message, health_message
from monitoring.messages.slack_blocks import slack_message
from monitoring.model.coverage import Coverage
from monitoring.model.finding import Finding
from monitoring.model.incident import Incidents
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation
from monitoring.model.prefect import FlowRun
from monitoring.model.report import DigestReport
from monitoring.usecases.assess import health_report
from tests.support.builders import NOW, deployment, found, minutes, observation, policies, run, with_facts
from tests.support.worlds import KEYS, ended_runs, moments, observations, partly

#: Everything on, the baseline too: as nobody has configured it.
UNTOUCHED: dict[str, Any] = {}
ALL_ASKED = ("flows", "deployments", "active-runs", "due-runs", "ended-runs", "work-pools", "work-queues")


def in_short(findings: tuple[Finding, ...]) -> dict[str, tuple[Any, ...]]:
    """What of findings must not depend on how the answer happened to come, by fingerprint."""
    return {
        finding.fingerprint: (
            finding.severity,
            finding.since,
            finding.flow_run_count,
            finding.cause and finding.cause.what,
            finding.symptom_of,
        )
        for finding in findings
    }


@given(observations())
def test_any_server_can_be_judged_and_reported(seen: Observation) -> None:
    findings = found(seen)
    report = health_report(seen, findings, Coverage())

    assert len({finding.fingerprint for finding in findings}) == len(findings)
    assert all(finding.symptom_of != finding.fingerprint for finding in findings)
    assert all(finding.since <= seen.at or finding.check == "ahead" for finding in findings)
    assert all(finding.url for finding in findings)
    assert all(len(finding.evidence) <= 15 for finding in findings)
    check_json(report)
    table.findings(report)
    markdown_page(health_message(report))
    slack_message(digest_message(DigestReport(health=report, time_zone="UTC", day=seen.at.date())))


@given(observations(), st.randoms(use_true_random=False))
def test_the_order_of_rows_never_matters(seen: Observation, random: Any) -> None:
    def shuffled(values: Any) -> Any:
        if isinstance(values, Mapping):
            return dict(shuffled(tuple(values.items())))
        mixed = list(values)
        random.shuffle(mixed)
        return tuple(mixed)

    mixed = with_facts(
        seen,
        deployments=shuffled(seen.deployments),
        active=shuffled(seen.runs.active),
        ended=shuffled(seen.runs.ended),
        heartbeats=shuffled(seen.runs.heartbeats),
        work_pools=shuffled(seen.pools.work_pools),
        upcoming=shuffled(seen.pools.upcoming),
        full=shuffled(seen.limits.full),
        nothing_ahead=shuffled(seen.schedules.nothing_ahead),
    )

    assert in_short(found(mixed)) == in_short(found(seen))


@given(observations(), st.integers(1, 5))
def test_healthy_runs_never_add_a_finding(seen: Observation, count: int) -> None:
    healthy = [deployment(f"healthy/{n}", due=(NOW - minutes(100), NOW - minutes(40))) for n in range(count)]
    ended = [run("COMPLETED", f"of {d.id}", of=d.id, since=NOW - minutes(3), auto_scheduled=True) for d in healthy]
    # Another success of what is there already can end a finding, and never begins one.
    again = [run("COMPLETED", f"again {key}", of=key, since=NOW - minutes(2)) for key in seen.deployments]
    busier = with_facts(
        seen,
        deployments={**seen.deployments, **{d.id: d for d in healthy}},
        ended=(*seen.runs.ended, *ended, *again),
    )
    before = set(in_short(found(seen, slow={"baseline": False})))

    assert set(in_short(found(busier, slow={"baseline": False}))) <= before


@given(observations(), st.integers(-500_000, 500_000))
def test_a_shift_of_every_time_changes_nothing(seen: Observation, shift: int) -> None:
    span = timedelta(minutes=shift)

    def moved(value: Any) -> Any:
        if isinstance(value, datetime):
            return value + span
        if isinstance(value, Mapping):
            return {key: moved(item) for key, item in value.items()}
        return tuple(map(moved, value)) if isinstance(value, (list, tuple)) else value

    later = Observation.model_validate(moved(seen.model_dump()))
    expected = {name: (row[0], row[1] + span, *row[2:]) for name, row in in_short(found(seen)).items()}

    assert in_short(found(later)) == expected


@given(observations(), observations(), st.sets(st.sampled_from(ALL_ASKED), min_size=1))
def test_an_incomplete_answer_never_resolves(before: Observation, after: Observation, missing: set[str]) -> None:
    rules = policies()
    ledger = fold(Ledger(), before)
    opened = advance(Incidents(), (), found(before), before, ledger, rules, complete=True).incidents
    part = after.model_copy(update={"coverage": partly(after.coverage, sorted(missing)), "at": NOW + minutes(5)})
    report = health_report(part, (), Coverage())
    moved = advance(opened, (), found(part, ledger), part, fold(ledger, part), rules, complete=report.coverage.complete)

    assert set(moved.open) >= set(opened.open)
    assert [move for move in moved.transitions if move.step.to == "resolved"] == []


START = NOW - timedelta(hours=10)


@st.composite
def histories(draw: st.DrawFn) -> list[FlowRun]:
    ends = moments(START + minutes(1), NOW)
    return [draw(ended_runs(f"run {number}", ends)) for number in range(draw(st.integers(0, 12)))]


@given(histories(), st.lists(moments(START + minutes(1), NOW - minutes(1)), max_size=6))
@settings(max_examples=200)
def test_history_read_in_one_window_or_in_many_is_the_same_ledger(runs: list[FlowRun], cuts: list[datetime]) -> None:
    deployments = [deployment(key) for key in KEYS]

    def read(until: list[datetime]) -> Ledger:
        # One check has been there before: what it found, nobody counts.
        ledger = Ledger(cursor=START)
        for at in until:
            since = ledger.cursor - OVERLAP if ledger.cursor else START
            window = [run for run in runs if run.end_time and since <= run.end_time <= at]
            seen = observation(*window, deployments=deployments, at=at, since=since)
            ledger = fold(ledger, seen)
        # All but when one looked, which differs by what is asked here.
        return ledger.model_copy(update={"cursor_before": None})

    assert read([*sorted(set(cuts)), NOW]) == read([NOW])


def test_the_windows_overlap_at_all() -> None:
    """A run that ends within the overlap is read twice, and counted once."""
    at = datetime(2026, 11, 23, 11, 55, tzinfo=timezone.utc)
    failed = run("FAILED", "twice", since=at - minutes(2))
    ledger = fold(Ledger(), observation(failed, at=at))
    again = fold(ledger, observation(failed, at=NOW))

    streak = again.records["etl/nightly"].streak
    assert streak is not None
    assert streak.length == 1
