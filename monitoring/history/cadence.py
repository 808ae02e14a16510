"""The cadence of a deployment without schedules that runs by hand, by events, or by an external cron.

Gaps between runs are compared by factors, hence by their logarithms; with median and MAD, because a holiday or an extra
run moves neither.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise
from statistics import median
from typing import NamedTuple

#: The regularity of fewer gaps is a coincidence.
MIN_GAPS = 8
#: A typical gap may differ from the median gap by up to a quarter.
_MAX_SPREAD = math.log(1.25)
#: The longest normal gap: three times the median gap, one and a half times the longest known gap, or an hour.
_TIMES_MEDIAN = 3
_TIMES_LONGEST = 1.5
_SHORTEST = timedelta(hours=1)


class Cadence(NamedTuple):
    """A regular cadence of runs.

    Args:
        gap: The usual time from one run to the next.
        longest: The longest normal gap.
        lasted: How long it was kept, as far as known. After a gap of that length, it has ended.
        runs: The number of runs that it was learned from.
    """

    gap: timedelta
    longest: timedelta
    lasted: timedelta
    runs: int


def learned(ends: Iterable[int]) -> Cadence | None:
    """Learn a cadence from the ends of runs in epoch seconds; None if they are too few or too irregular."""
    times = sorted(ends)
    # Runs that end together count once.
    gaps = [later - earlier for earlier, later in pairwise(times) if later > earlier]
    if len(gaps) < MIN_GAPS:
        return None
    usual = median(gaps)
    spread = median(abs(math.log(gap / usual)) for gap in gaps)
    if spread > _MAX_SPREAD:
        return None
    longest = timedelta(seconds=max(_TIMES_MEDIAN * usual, _TIMES_LONGEST * max(gaps)))
    return Cadence(
        gap=timedelta(seconds=usual),
        longest=max(longest, _SHORTEST),
        lasted=timedelta(seconds=times[-1] - times[0]),
        runs=len(times),
    )
