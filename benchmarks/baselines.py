"""How well the learned baseline distinguishes slow runs from usual ones, beside two simpler rules.

    python -m benchmarks.baselines

Generates deployments whose run times follow patterns from practice, plants slow runs among them, and judges each run
by the 30 runs before it: by the baseline with its default settings, through the function that the check uses; by
multiples of the mean; and by the mean plus three standard deviations. Prints the table of docs/baselines.md. The random
numbers have a fixed seed, so the table is the same each time.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median, stdev

from monitoring.checks.slow import Slow
from monitoring.history.baselines import SAMPLE, baseline
from monitoring.model.ledger import RunTimes

DEPLOYMENTS = 60
RUNS = 150
#: One run in this many is slowed down by one of these factors, or hangs until it is killed.
ONE_IN = 30
FACTORS = (1.5, 2.0, 3.0, 5.0)
HANGS = math.inf
#: The range of usual run times, in seconds; ``Slow.floor`` excludes much shorter ones.
SHORTEST, LONGEST = 10 * 60, 2 * 60 * 60

Rule = Callable[[Sequence[float]], float]
Pattern = Callable[[random.Random, int], float]


def steady(chance: random.Random, run: int) -> float:
    """A few hundredths up and down."""
    return chance.lognormvariate(0, 0.05)


def log_normal(chance: random.Random, run: int) -> float:
    """One run in three is off by half or more."""
    return chance.lognormvariate(0, 0.4)


def _two_peaked(chance: random.Random, share: float) -> float:
    return chance.lognormvariate(0, 0.1) * (4 if chance.random() < share else 1)


def two_peaked(chance: random.Random, run: int) -> float:
    """One run in three takes four times as long, because there is something to do."""
    return _two_peaked(chance, 1 / 3)


def rarely_long(chance: random.Random, run: int) -> float:
    """One run in ten takes four times as long."""
    return _two_peaked(chance, 1 / 10)


def trending(chance: random.Random, run: int) -> float:
    """A hundredth longer every time: three times as long by the end."""
    return chance.lognormvariate(0, 0.15) * 1.01**run


def weekly(chance: random.Random, run: int) -> float:
    """A run a day; every seventh takes three times as long."""
    return chance.lognormvariate(0, 0.1) * (3 if run % 7 == 6 else 1)


PATTERNS: Mapping[str, Pattern] = {
    "steady": steady,
    "log-normal": log_normal,
    "two-peaked, 1 in 3": two_peaked,
    "two-peaked, 1 in 10": rarely_long,
    "trending": trending,
    "weekly": weekly,
}


def ours(before: Sequence[float]) -> float:
    """The longest run time that is not slow, by the learned baseline with its default settings."""
    learned = baseline(RunTimes(recent=tuple((0, seconds) for seconds in before)), Slow())
    return learned.limit.total_seconds() if learned else math.inf


OURS = "baseline"
RULES: Mapping[str, Rule] = {
    OURS: ours,
    "2 x mean": lambda before: 2 * fmean(before),
    "3 x mean": lambda before: 3 * fmean(before),
    "mean + 3 SD": lambda before: fmean(before) + 3 * stdev(before),
}


@dataclass
class Score:
    """The score of a rule on one pattern."""

    healthy: int = 0
    false_alarms: int = 0
    #: By factor: how many slow runs were planted, and how many of them were found.
    planted: dict[float, int] = field(default_factory=lambda: dict.fromkeys(FACTORS, 0))
    found: dict[float, int] = field(default_factory=lambda: dict.fromkeys(FACTORS, 0))
    #: For each run that hung: after which multiple of its usual run time it was noticed.
    noticed: list[float] = field(default_factory=list)

    def add(self, factor: float, seconds: float, limit: float) -> None:
        """Count one judgement.

        Args:
            factor: By how much the run was slowed down; 1 for a healthy run.
            seconds: What it took; what it would have taken, if it hung.
            limit: Beyond which it is called slow.
        """
        if factor == HANGS:
            self.noticed.append(limit / seconds)
        elif factor == 1:
            self.healthy += 1
            self.false_alarms += seconds > limit
        else:
            self.planted[factor] += 1
            self.found[factor] += seconds > limit

    def __add__(self, other: Score) -> Score:
        """Add two scores."""
        return Score(
            self.healthy + other.healthy,
            self.false_alarms + other.false_alarms,
            {factor: count + other.planted[factor] for factor, count in self.planted.items()},
            {factor: count + other.found[factor] for factor, count in self.found.items()},
            self.noticed + other.noticed,
        )

    @property
    def false_alarm_rate(self) -> float:
        """False alarms in a thousand healthy runs."""
        return 1000 * self.false_alarms / self.healthy

    def detection_rate(self, *factors: float) -> float:
        """The share of the runs planted with these factors that were found, in percent."""
        return 100 * sum(self.found[f] for f in factors) / sum(self.planted[f] for f in factors)


def judged(pattern: str) -> dict[str, Score]:
    """Run deployments of one pattern, and score every rule on the same runs.

    Slow runs that completed become part of the sample for later runs, as in practice; a run that hung never completes.
    """
    chance = random.Random(pattern)
    scores = {rule: Score() for rule in RULES}
    for _ in range(DEPLOYMENTS):
        usual = SHORTEST * (LONGEST / SHORTEST) ** chance.random()
        before: list[float] = []
        for run in range(RUNS):
            seconds = usual * PATTERNS[pattern](chance, run)
            judge = len(before) >= SAMPLE
            factor = chance.choice((*FACTORS, HANGS)) if judge and chance.randrange(ONE_IN) == 0 else 1
            took = seconds if factor == HANGS else seconds * factor
            for rule, score in scores.items() if judge else ():
                score.add(factor, took, RULES[rule](before))
            if factor != HANGS:
                before = [*before, took][-SAMPLE:]
    return scores


def study() -> dict[str, dict[str, Score]]:
    """The scores of every rule, by pattern; ``all`` is all of them together."""
    by_pattern = {pattern: judged(pattern) for pattern in PATTERNS}
    by_pattern["all"] = {rule: sum((scores[rule] for scores in by_pattern.values()), start=Score()) for rule in RULES}
    return by_pattern


def table(scores: Mapping[str, Mapping[str, Score]]) -> str:
    """The table, in Markdown."""
    return "\n".join(_lines(scores))


def _lines(scores: Mapping[str, Mapping[str, Score]]) -> Iterator[str]:
    factors = " | ".join(f"x{factor:g} found" for factor in FACTORS)
    yield f"| run times | rule | false alarms in 1,000 | {factors} | a hang noticed after |"
    yield "|---|---|---:|" + "---:|" * len(FACTORS) + "---:|"
    for pattern, by_rule in scores.items():
        for rule, score in by_rule.items():
            found = " | ".join(f"{score.detection_rate(factor):.0f} %" for factor in FACTORS)
            yield f"| {pattern} | {rule} | {score.false_alarm_rate:.1f} | {found} | x{median(score.noticed):.1f} |"


def main() -> None:
    """Print the table."""
    print(table(study()))


if __name__ == "__main__":
    main()
