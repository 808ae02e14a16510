"""The rhythm in which a deployment without schedules ran, where it had one: by hand, an event, or a cron outside.

Gaps between runs are compared by factors, hence by their logarithms; median and MAD, because a holiday or a run by
hand moves neither.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise
from statistics import median
from typing import NamedTuple

#: Of fewer gaps, regularity is a coincidence.
MIN_GAPS = 8
#: The most that a typical gap may differ from the median one: by a quarter.
_MAX_SPREAD = math.log(1.25)
#: What counts as silence: so many times the median gap, the longest one known with half of it on top, and an hour.
_TIMES_MEDIAN = 3
_TIMES_LONGEST = 1.5
_SHORTEST = timedelta(hours=1)


class Rhythm(NamedTuple):
    """A rhythm that was kept.

    Args:
        gap: The usual time from one run to the next.
        longest: How long nothing may come before it is out of rhythm.
        lasted: How long it was kept, as far as is known. After as long a silence, it is over.
        runs: How many runs it was learned from.
    """

    gap: timedelta
    longest: timedelta
    lasted: timedelta
    runs: int


def learned(ends: Iterable[int]) -> Rhythm | None:
    """Learn a rhythm; None where the runs came too seldom or too irregularly to expect any.

    Args:
        ends: When runs ended, in seconds since the epoch, in any order.
    """
    moments = sorted(ends)
    # Runs that end together are one beat.
    gaps = [later - earlier for earlier, later in pairwise(moments) if later > earlier]
    if len(gaps) < MIN_GAPS:
        return None
    usual = median(gaps)
    spread = median(abs(math.log(gap / usual)) for gap in gaps)
    if spread > _MAX_SPREAD:
        return None
    longest = timedelta(seconds=max(_TIMES_MEDIAN * usual, _TIMES_LONGEST * max(gaps)))
    return Rhythm(
        gap=timedelta(seconds=usual),
        longest=max(longest, _SHORTEST),
        lasted=timedelta(seconds=moments[-1] - moments[0]),
        runs=len(moments),
    )
