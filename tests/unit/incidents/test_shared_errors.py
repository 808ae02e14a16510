from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.history.ledger import fold
from monitoring.incidents.lifecycle import advance
from monitoring.model.finding import Finding
from monitoring.model.incident import Incidents
from monitoring.model.ledger import Ledger
from monitoring.model.observation import Observation
from monitoring.model.prefect import FlowRun
from tests.support.builders import (
    NOW,
    deployment,
    found,
    hours,
    minutes,
    names,
    observation,
    policies,
    run,
    with_facts,
)

MESSAGE = "Flow run encountered an exception: ConnectError: no answer from 10.0.0.{}, tried {} times"
ERROR = "ConnectError: no answer from …, tried … times"


def failed(name: str, ago: timedelta, message: str | None = None, state: Any = "FAILED", **fields: Any) -> FlowRun:
    """A run of a deployment that ended badly so long ago; each says the same error with other numbers."""
    text = MESSAGE.format(len(name), name[-1]) if message is None else message
    return run(state, f"run of {name}", of=name, since=NOW - ago, message=text, **fields)


def seen(*runs: FlowRun, **fields: Any) -> Observation:
    """An observation of runs and their deployments."""
    return observation(*runs, deployments=[deployment(name) for name in {r.key: r for r in runs}], **fields)


def heads(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.subject.kind == "error"]


def symptoms(findings: Sequence[Finding]) -> list[str]:
    known = {head.fingerprint for head in heads(findings)}
    return sorted(finding.subject.name for finding in findings if finding.symptom_of in known)


def test_one_new_error_in_three_deployments_is_one_problem() -> None:
    findings = found(seen(*(failed(f"etl/{n}", minutes(10 * n)) for n in (1, 2, 3))))
    [head] = heads(findings)

    assert (head.check, head.severity, head.subject.name) == ("failed", "warning", ERROR)
    assert head.fingerprint == f"prod/failed/error/{head.subject.id}"
    assert head.summary == f"{ERROR}: 3 deployments failed with this error"
    assert head.observed == "etl/3, etl/2, etl/1"
    assert (head.since, head.flow_run_count) == (NOW - minutes(30), 3)
    assert head.url == "http://ui.example/runs/flow-run/run%20of%20etl%2F1"
    assert head.symptom_of is None
    assert symptoms(findings) == ["etl/1", "etl/2", "etl/3"]


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ([minutes(10), minutes(20)], []),
        # The third began an hour after the first, and a second more.
        ([minutes(10), minutes(20), minutes(70)], ["etl/0", "etl/1", "etl/2"]),
        ([minutes(10), minutes(20), minutes(70) + timedelta(seconds=1)], []),
        # It was there before and is nothing new.
        ([minutes(10), minutes(20), minutes(30), hours(9)], ["etl/0", "etl/1", "etl/2"]),
        # It came later, and is the same problem.
        ([minutes(10), hours(5), hours(5), hours(5)], ["etl/0", "etl/1", "etl/2", "etl/3"]),
        # Days later it still is.
        ([hours(100), hours(100), hours(100)], ["etl/0", "etl/1", "etl/2"]),
    ],
)
def test_three_begin_within_an_hour(ages: list[timedelta], expected: list[str]) -> None:
    findings = found(seen(*(failed(f"etl/{n}", age) for n, age in enumerate(ages))))

    assert symptoms(findings) == expected
    assert len(heads(findings)) == bool(expected)


@pytest.mark.parametrize(
    "other",
    [
        failed("etl/3", minutes(3), "Flow run encountered an exception: TimeoutError: no answer from 10.0.0.1"),
        failed("etl/3", minutes(3), state="CRASHED"),
        failed("etl/3", minutes(3), state="COMPLETED"),
        failed("etl/3", minutes(3), message=""),
        # Two runs of one deployment are one deployment.
        failed("etl/2", minutes(3), id="another"),
    ],
)
def test_what_is_another_error_does_not_count(other: FlowRun) -> None:
    runs = [failed("etl/1", minutes(1)), failed("etl/2", minutes(2)), other]

    assert heads(found(seen(*runs))) == []


def test_messages_that_say_nothing_are_not_the_same_error() -> None:
    silent = [failed(f"etl/{n}", minutes(n), message) for message in ("", "1/2 states failed.") for n in (1, 2, 3)]

    assert heads(found(seen(*silent))) == []


def test_a_chain_of_parents_is_not_the_same_error_in_many_deployments() -> None:
    message = "Flow run encountered an exception: ValueError: no rows"
    chain = [failed(f"etl/{n}", minutes(n), message) for n in (1, 2, 3)]
    children = {above.id: (below,) for above, below in pairwise(chain)}
    findings = found(seen(*chain, children=children))

    assert heads(findings) == []
    deepest = next(finding for finding in findings if finding.subject.name == "etl/3")
    assert [finding.symptom_of for finding in findings] == [
        None if finding is deepest else deepest.fingerprint for finding in findings
    ]


def test_crashes_have_an_error_in_common_too_and_the_worst_counts() -> None:
    message = "Flow run infrastructure exited with non-zero status code {}."
    crashes = [failed(f"etl/{n}", minutes(n), message.format(n), "CRASHED") for n in (1, 2, 3)]
    [head] = heads(found(seen(*crashes), crashed={"critical_after": 1}))

    assert (head.check, head.severity) == ("crashed", "critical")


def test_many_deployments_are_counted_and_a_single_owner_is_named() -> None:
    many = seen(*(failed(f"etl/{n}", minutes(1)) for n in range(9)))
    [head] = heads(found(many, owner="data"))
    [mixed] = heads(found(many, rules=[{"match": {"deployment": "etl/1"}, "owner": "web"}]))

    assert head.observed.endswith(" and 4 more")
    assert head.owner == "data"
    assert mixed.owner is None


def test_the_problem_stays_one_until_fewer_than_three_fail_and_is_then_cleared() -> None:
    first = seen(*(failed(f"etl/{n}", minutes(10 * n)) for n in (1, 2, 3)))
    ledger = fold(Ledger(), first)
    opened = advance(Incidents(), (), found(first), first, ledger, policies(), True)
    days_later = with_facts(first, at=NOW + timedelta(days=3), ended=())
    still = advance(opened.incidents, (), found(days_later, ledger), days_later, ledger, policies(), True)

    assert len(opened.transitions) == 4
    assert still.transitions == ()

    recovered = with_facts(days_later, ended=(run("COMPLETED", "good", of="etl/1", since=NOW + hours(1)),))
    after = fold(ledger, recovered)
    moved = advance(still.incidents, (), found(recovered, ledger), recovered, after, policies(), True)
    reasons = {
        move.incident.finding.subject.kind: move.step.reason for move in moved.transitions if move.step.to == "resolved"
    }

    assert reasons == {"error": "cleared", "deployment": "succeeded"}
    assert sorted(incident.finding.subject.name for incident in moved.open.values()) == ["etl/2", "etl/3"]


@given(st.permutations(range(6)), st.integers(0, 10**6))
def test_neither_the_order_of_rows_nor_the_clock_matters(order: list[int], shift: int) -> None:
    runs = [failed(f"etl/{n}", minutes(25 * n)) for n in range(6)]
    moved = timedelta(seconds=shift)
    shifted = [failed(f"etl/{n}", minutes(25 * n) - moved, MESSAGE.format(n, shift)) for n in order]
    later = seen(*shifted, at=NOW + moved)

    assert symptoms(found(later)) == symptoms(found(seen(*runs)))
    assert sorted(names(found(later))) == sorted(names(found(seen(*runs))))
