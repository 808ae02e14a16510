from __future__ import annotations

from datetime import timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.history.cadence import MIN_GAPS, learned

MINUTE, HOUR, DAY = 60, 3_600, 86_400


def ends(*gaps: int) -> list[int]:
    """When runs ended, with these gaps between them."""
    return list(accumulate(gaps, initial=1_700_000_000))


@pytest.mark.parametrize(("gaps", "known"), [(MIN_GAPS - 1, False), (MIN_GAPS, True), (29, True)])
def test_enough_even_gaps_make_a_rhythm(gaps: int, known: bool) -> None:
    assert (learned(ends(*[DAY] * gaps)) is not None) is known


@pytest.mark.parametrize(
    ("gaps", "known"),
    [
        pytest.param([DAY, DAY + HOUR, DAY - HOUR] * 4, True, id="every day, an hour earlier or later"),
        pytest.param([DAY] * 4 + [3 * DAY] + [DAY] * 4, True, id="workdays"),
        pytest.param([DAY] * 5 + [14 * DAY] + [DAY] * 5, True, id="a holiday"),
        pytest.param([DAY] * 5 + [60, 60] + [DAY] * 5, True, id="by hand besides"),
        pytest.param([0, 0, DAY] * 9, True, id="three at once"),
        pytest.param([HOUR, DAY] * 6, False, id="now and then"),
        pytest.param([1, 10, 100, 1_000, 10_000, 100_000, 5, 50, 500], False, id="any time"),
        pytest.param([100, 124, 81] * 3, True, id="uneven by a quarter"),
        pytest.param([100, 126, 79] * 3, False, id="uneven by more"),
    ],
)
def test_what_is_regular(gaps: list[int], known: bool) -> None:
    assert (learned(ends(*gaps)) is not None) is known


@pytest.mark.parametrize(
    ("gaps", "longest"),
    [
        pytest.param([DAY] * 10, timedelta(days=3), id="three times the usual"),
        pytest.param([DAY] * 4 + [3 * DAY] + [DAY] * 4, timedelta(days=4.5), id="beyond a weekend"),
        pytest.param([5 * MINUTE] * 20, timedelta(hours=1), id="an hour at the least"),
    ],
)
def test_what_is_silence(gaps: list[int], longest: timedelta) -> None:
    rhythm = learned(ends(*gaps))

    assert rhythm is not None
    assert rhythm.longest == longest
    assert rhythm.lasted == timedelta(seconds=sum(gaps))


MOMENTS = st.lists(st.integers(0, 2**31), max_size=40)


@given(MOMENTS, st.randoms())
def test_the_order_never_matters(moments: list[int], random: object) -> None:
    shuffled = sorted(moments, key=lambda _: random.random())  # type: ignore[attr-defined]

    assert learned(shuffled) == learned(moments)


@given(MOMENTS)
def test_no_gap_that_was_seen_is_silence(moments: list[int]) -> None:
    rhythm = learned(moments)
    gaps = [later - earlier for earlier, later in zip(sorted(moments), sorted(moments)[1:], strict=False)]

    assert rhythm is None or rhythm.longest > timedelta(seconds=max(gaps))


@given(MOMENTS, st.integers(-(2**30), 2**30))
def test_a_shift_changes_nothing(moments: list[int], shift: int) -> None:
    assert learned([moment + shift for moment in moments]) == learned(moments)
