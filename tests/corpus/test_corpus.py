"""The corpus of labelled servers: all that is planted is found and nothing else, and the corpus notices any change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from monitoring.checks.registry import BY_NAME
from monitoring.model.finding import CheckName
from tests.corpus.__main__ import table
from tests.corpus.bench import Bench, bench
from tests.corpus.judging import Tally, judge, prepare, tallies
from tests.corpus.mutations import Mutation, survivors
from tests.corpus.scenario import Positions, Scenario, World, background, scenarios

ALL = list(scenarios())
AROUND = background()
#: Thresholds at which nothing can stand exactly: the limit in between is no whole second.
NEVER_AT = {"slow.deviations"}


@pytest.fixture(scope="module")
def sqlite() -> Iterator[Bench]:
    with bench("sqlite") as place:
        yield place


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Bench]:
    with bench("postgresql") as place:
        yield place


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.name)
def test_all_that_is_planted_is_found_and_nothing_else(sqlite: Bench, scenario: Scenario) -> None:
    prepare(sqlite, scenario, AROUND)
    assert judge(sqlite, scenario).deviations == []


@pytest.mark.timeout(600)
def test_precision_and_recall_are_one_on_postgresql(postgresql: Bench) -> None:
    verdicts = []
    for scenario in ALL:
        prepare(postgresql, scenario, AROUND)
        verdicts.append(judge(postgresql, scenario))
    assert {verdict.scenario.name: verdict.deviations for verdict in verdicts if verdict.deviations} == {}
    assert {(tally.precision, tally.recall) for tally in tallies(verdicts).values()} == {(1.0, 1.0)}
    assert table(verdicts).splitlines()[-1].endswith("1.00       1.00")


@pytest.mark.timeout(900)
def test_every_check_turned_off_and_every_threshold_moved_by_a_step_is_noticed(sqlite: Bench) -> None:
    assert survivors(sqlite, ALL, AROUND) == []


def test_a_mutation_that_nothing_notices_is_reported(sqlite: Bench) -> None:
    """Without the scenario of a threshold, its steps survive."""
    blind = [scenario for scenario in ALL if "stuck.cancelling_after" not in scenario.thresholds][:3]
    unnoticed = survivors(sqlite, blind, World())
    assert {Mutation("stuck.cancelling_after", "up"), Mutation("stuck.cancelling_after", "down")} <= set(unnoticed)


def test_there_are_enough_scenarios_and_names_are_theirs_alone() -> None:
    assert len(ALL) >= 60
    assert len({scenario.name for scenario in ALL}) == len(ALL)


@pytest.mark.parametrize("check", BY_NAME)
def test_every_check_is_planted_and_has_servers_without_it(check: CheckName) -> None:
    assert [scenario for scenario in ALL if any(expected.check == check for expected in scenario.expect)]
    assert [scenario for scenario in ALL if all(expected.check != check for expected in scenario.expect)]


def _thresholds() -> dict[str, Positions]:
    merged: dict[str, dict[str, str]] = {}
    for scenario in ALL:
        for field, positions in scenario.thresholds.items():
            merged.setdefault(field, {}).update(positions.model_dump(exclude_none=True))
    return {field: Positions.model_validate(positions) for field, positions in merged.items()}


@pytest.mark.parametrize("check", BY_NAME)
def test_every_check_stands_below_at_and_above_a_threshold(check: CheckName) -> None:
    own = {
        field: positions
        for field, positions in _thresholds().items()
        if field.startswith(f"{check.replace('-', '_')}.") and field not in NEVER_AT
    }
    assert own
    assert {field for field, where in own.items() if None in (where.below, where.at, where.above)} == set()


def test_a_deviation_is_counted_as_missed_and_as_false() -> None:
    tally = Tally(planted=4, found=3, missed=1, false=1)
    assert (tally.precision, tally.recall) == (0.75, 0.75)
    assert (Tally().precision, Tally().recall) == (None, None)
