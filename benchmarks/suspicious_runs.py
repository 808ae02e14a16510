"""How well the check ``suspicious`` distinguishes completed runs that did not do their work from ordinary ones.

Deployments whose run times, error lines and numbers of task runs follow patterns from practice; one run in thirty is
planted. Each run is judged by what the ledger keeps of those before it, planted ones too, through the check itself.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone

from benchmarks.baselines import LONGEST, ONE_IN, PATTERNS, SHORTEST
from monitoring.checks.facts.situation import Situation
from monitoring.checks.findings import Found
from monitoring.checks.suspicious import Suspicious, judge
from monitoring.history.baselines import with_run
from monitoring.history.traces import with_traces
from monitoring.model.ledger import EndedRun, Ledger, Record, Traces
from tests.support.builders import deployment, observation, policies
from tests.support.builders import run as made

DEPLOYMENTS = 20
RUNS = 150
#: Runs of a deployment that are not judged: nothing can be known of them.
LEARNING = 20
START = datetime(2026, 3, 1, tzinfo=timezone.utc)

#: How many of a deployment's runs log errors and complete.
ERRORS: Mapping[str, float] = {"never": 0, "1 in 50": 0.02, "1 in 10": 0.1, "1 in 3": 1 / 3, "always": 1}
#: How many task runs a run has, in multiples of the usual number.
TASKS: Mapping[str, Callable[[random.Random], float]] = {
    "the same": lambda chance: 1,
    "varying by half": lambda chance: chance.lognormvariate(0, 0.4),
    "varying by several times": lambda chance: chance.lognormvariate(0, 1),
    "nothing to do, 1 in 10": lambda chance: float(chance.random() >= 0.1),
    "nothing to do, 1 in 100": lambda chance: float(chance.random() >= 0.01),
}
PLANTED: Mapping[str, str] = {
    "errors": "errors in the log",
    "x5": "a fifth of its usual time",
    "x10": "a tenth of its usual time",
    "x50": "a fiftieth of its usual time",
    "tenth": "a tenth of its usual task runs",
    "none": "no task runs",
}
_OF_ASPECT = {"errors": ("errors",), "run time": ("x5", "x10", "x50"), "task runs": ("tenth", "none")}
ASPECTS: Mapping[str, tuple[str, ...]] = {"errors": (*ERRORS,), "run time": (*PATTERNS,), "task runs": (*TASKS,)}
#: Settings that were compared to choose the defaults, by what they change.
COMPARED: Mapping[str, Suspicious] = {
    "defaults": Suspicious(),
    "quick_ratio 3": Suspicious(quick_ratio=3),
    "quick_ratio 10": Suspicious(quick_ratio=10),
    "task_ratio 4": Suspicious(task_ratio=4),
}


class _Deployment:
    """One deployment of a pattern, with the ledger's record of it."""

    def __init__(self, aspect: str, pattern: str, chance: random.Random, settings: Suspicious) -> None:
        self._aspect, self._pattern, self._chance, self._settings = aspect, pattern, chance, settings
        self._usual = SHORTEST * (LONGEST / SHORTEST) ** chance.random()
        self._tasks = chance.choice((1, 3, 10, 40, 200))
        self._record = Record()

    def run(self, number: int, planted: str) -> bool:
        """Make a run, and judge it; whether there is a finding."""
        chance = self._chance
        seconds = self._usual * PATTERNS[self._pattern if self._aspect == "run time" else "steady"](chance, number)
        errors = int(self._aspect == "errors" and chance.random() < ERRORS[self._pattern])
        tasks = self._tasks * (TASKS[self._pattern](chance) if self._aspect == "task runs" else 1)
        seconds /= int(planted[1:]) if planted.startswith("x") else 1
        errors = 1 if planted == "errors" else errors
        tasks = 0 if planted == "none" else tasks / 10 if planted == "tenth" else tasks
        self._add(f"run-{number}", START + number * timedelta(hours=6), seconds, errors, int(tasks))
        situation = Situation(
            observation(at=START + number * timedelta(hours=6, minutes=1)),
            Ledger(records={"etl/nightly": self._record}),
            _POLICIES,
        )
        return isinstance(judge(situation, _DEPLOYMENT, self._settings), Found)

    def _add(self, run_id: str, ended: datetime, seconds: float, errors: int, tasks: int) -> None:
        took = timedelta(seconds=seconds)
        row = made("COMPLETED", run_id, since=ended, start_time=ended - took, total_run_time=took)
        state = {"state_type": "COMPLETED", "state_name": "Completed", "ended": ended, "run_time": took}
        record = with_traces(self._record, Traces(run_id=run_id, errors=errors, task_runs=tasks))
        last = EndedRun.model_validate({"id": run_id, "name": run_id, **state})
        changes = {"run_times": with_run(record.run_times, row), "last_ended": last}
        self._record = record.model_copy(update=changes)


_DEPLOYMENT = deployment()
_POLICIES = policies()


def judged(number: int, settings: Suspicious) -> dict[str, dict[str, dict[str, int]]]:
    """Run the deployments of a seed, by what varies of them and how: how many runs were ordinary, planted and found."""
    return {
        aspect: {pattern: judged_pattern(number, aspect, pattern, settings) for pattern in patterns}
        for aspect, patterns in ASPECTS.items()
    }


def judged_pattern(
    number: int, aspect: str, pattern: str, settings: Suspicious, deployments: int = DEPLOYMENTS
) -> dict[str, int]:
    """Run the deployments of a seed that vary in one way."""
    chance = random.Random(f"{number} {aspect} {pattern}")
    counts: Counter[str] = Counter()
    for _ in range(deployments):
        one = _Deployment(aspect, pattern, chance, settings)
        for run in range(RUNS):
            known = run >= LEARNING
            planted = chance.choice(_OF_ASPECT[aspect]) if known and chance.randrange(ONE_IN) == 0 else ""
            found = one.run(run, planted)
            if known:
                counts[planted or "ordinary"] += 1
                counts[f"{planted or 'ordinary'} found"] += found
    return dict(sorted(counts.items()))
