"""Baselines: how long a deployment's runs usually take, learned from completed runs.

Run times spread by factors, not by minutes, so everything is measured on their logarithms; with median and MAD (the
median distance from the median), because a few outliers move neither.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date, timedelta, timezone
from hashlib import blake2b
from statistics import median

from pydantic import Field

from monitoring.model.base import Value
from monitoring.model.fields import Count, Section, Span
from monitoring.model.ledger import EndedRun, RunTimes
from monitoring.model.prefect import FlowRun
from monitoring.text.durations import MAX_DURATION, humanized

#: A run is judged by this many earlier runs. ``BaselineSettings.min_samples`` cannot require more.
SAMPLE = 30
#: How many of the newest runs are kept: the judged run may be among them.
MAX_RECENT = SAMPLE + 1
#: Fewer completed runs do not show how long the longest is.
MIN_FOR_LONGEST = 3
#: How many months are kept, and how many runs of each: enough for medians that show drift.
MAX_MONTHS = 4
MAX_PER_MONTH = 7
#: The median of fewer runs says nothing about drift.
_MIN_FOR_DRIFT = 5
#: A smaller change of the median is not drift.
_DRIFT = 1.5
#: Converts a MAD to the standard deviation of normally distributed logarithms.
_DEVIATION = 1.4826
#: A run time that two of the runs reached is not unusual, nor is a fifth more. That tolerates what happens every week,
#: or to one run in ten, which median and MAD do not show (docs/baselines.md).
_SEEN_BEFORE = 2
_LEEWAY = 1.2
#: In seconds: what usually takes less may as well take no time.
_MIN_FOR_QUICK = 60
_QUICK_DEVIATIONS = 3
#: Up to this many minutes, time is granted in steps of this many minutes; the last step is for all longer times.
_STEPS = ((10, 1), (60, 5), (4 * 60, 15), (24 * 60, 60), (math.inf, 6 * 60))
#: In seconds: run times are rounded to a tenth, and must have a logarithm.
_SHORTEST = 0.1


class BaselineSettings(Section):
    """How many runs a baseline needs, and how far from their median a run may be."""

    min_samples: Count = Field(10, ge=5, le=30, description="Completed runs that a baseline needs.")
    deviations: float = Field(
        3.0,
        ge=1,
        le=20,
        description="How many robust standard deviations (of the logarithm) above the median a run may take.",
    )
    min_ratio: float = Field(2.0, ge=1, le=100, description="Ratio of run time to median below which nothing is slow.")
    floor: Span = Field(timedelta(minutes=5), description="Run time above the median below which nothing is slow.")


class Baseline(Value):
    """The usual run time of a deployment, and the run time beyond which a run is slow, or up to which it is quick."""

    #: The number of completed runs that it was learned from.
    samples: int
    median: timedelta
    limit: timedelta


def with_run(known: RunTimes, run: FlowRun) -> RunTimes:
    """Add a completed run to the sample; the order of runs does not matter, and repeated runs count once.

    A run that never started (it was marked, or ended before its start) took no time, and is left out.
    """
    end = run.end_time
    if end is None or run.start_time is None or run.start_time >= end or not run.total_run_time:
        return known
    seconds = _seconds(run.total_run_time)
    recent = {*known.recent, (int(end.timestamp()), seconds)}
    month = f"{end.astimezone(timezone.utc):%Y-%m}"
    of_month = {*known.months.get(month, ()), (_rank(run.id), seconds)}
    months = {**known.months, month: tuple(sorted(of_month)[:MAX_PER_MONTH])}
    return RunTimes(
        recent=tuple(sorted(recent, reverse=True)[:MAX_RECENT]),
        months={name: months[name] for name in sorted(months)[-MAX_MONTHS:]},
    )


def without_run(known: RunTimes, run: EndedRun) -> RunTimes:
    """Remove a run from the newest runs: no run is judged by itself."""
    own = (int(run.ended.timestamp()), _seconds(run.run_time))
    return known.model_copy(update={"recent": tuple(entry for entry in known.recent if entry != own)})


def longest(known: RunTimes, more: Iterable[FlowRun] = ()) -> timedelta | None:
    """The longest of the newest completed runs, and of more runs; None if there are fewer than ``MIN_FOR_LONGEST``."""
    times = [seconds for _, seconds in known.recent]
    times += [_seconds(run.total_run_time) for run in more if run.state_type == "COMPLETED"]
    return timedelta(seconds=max(times)) if len(times) >= MIN_FOR_LONGEST else None


def typical(known: RunTimes) -> timedelta | None:
    """The typical run time: the median of the newest completed runs, however few; None without any."""
    return timedelta(seconds=median(seconds for _, seconds in known.recent)) if known.recent else None


def granted(known: RunTimes) -> timedelta:
    """The time that a run may take before its success is missed: the typical one, in coarse steps; 0 if unknown.

    With the steps, deployments that share a schedule also share its due times, whatever their run times are.
    """
    return coarse(typical(known) or timedelta(0))


def coarse(span: timedelta) -> timedelta:
    """Round a span up: to minutes, and beyond ten minutes, an hour, four hours and a day to longer steps."""
    minutes = math.ceil(span / timedelta(minutes=1))
    step = next(step for limit, step in _STEPS if minutes <= limit)
    return timedelta(minutes=math.ceil(minutes / step) * step)


def baseline(known: RunTimes, settings: BaselineSettings) -> Baseline | None:
    """Learn the baseline from a sample without the judged run; None if fewer than ``min_samples`` runs are known.

    A run is slow if it takes longer than all of these: the median and ``deviations`` robust standard deviations of the
    logarithm, the median times ``min_ratio``, the median and ``floor``, and a fifth more than the second longest run.
    """
    if len(known.recent) < settings.min_samples:
        return None
    run_times = sorted(seconds for _, seconds in known.recent[:SAMPLE])
    usual = median(run_times)
    deviation = _DEVIATION * median(abs(math.log(seconds / usual)) for seconds in run_times)
    limit = max(
        usual * math.exp(settings.deviations * deviation),
        usual * settings.min_ratio,
        usual + settings.floor.total_seconds(),
        run_times[-_SEEN_BEFORE] * _LEEWAY,
    )
    # A limit beyond all reason would not fit a timestamp.
    limit = min(limit, MAX_DURATION.total_seconds())
    return Baseline(samples=len(run_times), median=timedelta(seconds=usual), limit=timedelta(seconds=limit))


def quickest(known: RunTimes, min_samples: int, ratio: float) -> Baseline | None:
    """The run time up to which a run is unusually quick, from a sample without it; None if too few runs are known.

    As for slow runs: the median by ``ratio``, three robust standard deviations of the logarithm below the median, and
    a sixth less than the second shortest run. Short runs are not judged: a median below a minute makes no limit.
    """
    if len(known.recent) < min_samples:
        return None
    run_times = sorted(seconds for _, seconds in known.recent[:SAMPLE])
    usual = median(run_times)
    if usual < _MIN_FOR_QUICK:
        return None
    deviation = _DEVIATION * median(abs(math.log(seconds / usual)) for seconds in run_times)
    limit = min(usual / ratio, usual * math.exp(-_QUICK_DEVIATIONS * deviation), run_times[_SEEN_BEFORE - 1] / _LEEWAY)
    return Baseline(samples=len(run_times), median=timedelta(seconds=usual), limit=timedelta(seconds=limit))


def monthly(known: RunTimes) -> dict[str, timedelta]:
    """The median run time of each month (``2026-06``, UTC) with enough known runs, oldest first."""
    return {
        month: timedelta(seconds=median(seconds for _, seconds in runs))
        for month, runs in sorted(known.months.items())
        if len(runs) >= _MIN_FOR_DRIFT
    }


def drift(known: RunTimes) -> str | None:
    """Describe the drift of run times: ``median 4 min in June 2026, 9 min now``; None without any.

    The newest completed runs are compared with the oldest month whose median differs by half or more.
    """
    now = typical(known)
    if now is None or len(known.recent) < _MIN_FOR_DRIFT:
        return None
    for month, then in monthly(known).items():
        if max(now, then) >= _DRIFT * min(now, then):
            return f"median {humanized(then)} in {date.fromisoformat(f'{month}-01'):%B %Y}, {humanized(now)} now"
    return None


def _seconds(run_time: timedelta) -> float:
    return max(_SHORTEST, round(run_time.total_seconds(), 1))


def _rank(run_id: str) -> int:
    """A random rank of a run, the same on every draw."""
    return int.from_bytes(blake2b(run_id.encode(), digest_size=3).digest(), "big")
