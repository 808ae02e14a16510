"""How well the check ``ghost`` distinguishes runs that are alive after their end from ordinary ends.

On a real server, whose database holds runs that ended in the last half hour, with what their processes sent and when
the server received it: clocks that are off, events that a broken network held back, logs that were flushed late,
processes that took their time to stop. Some runs were cancelled or marked as crashed, and their processes go on.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.read.reader import ServerReader
from monitoring.checks.ghost import Ghost
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.model.coverage import Coverage
from monitoring.model.ledger import Ledger
from monitoring.text.redaction import Redactor
from monitoring.usecases.assess import assess
from tests.support.seed_values import Run
from tests.support.seeding import Seed

ORDINARY = 2_000
#: How a ghost is alive, and how many of each are planted.
KINDS = (
    "cancelled, heartbeats",
    "marked as crashed, heartbeats",
    "ended days ago, heartbeats",
    "clock 10 min behind, heartbeats",
    "clock 5 min ahead, heartbeats",
    "older client, a log line every few minutes",
    "older client, a log line every 20 min or so",
    "older client, task runs",
)
OF_A_KIND = 5
#: In minutes; the default is among them.
GRACES = (0.5, 1, 2, 5, 10)
DEPLOYMENTS = 50
_BEAT = timedelta(minutes=3)
_STATES = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def _minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


class _World:
    """Writes one server, and keeps what was planted."""

    def __init__(self, seed: Seed, chance: random.Random) -> None:
        self.seed, self.chance = seed, chance
        self.planted: dict[str, str] = {}
        self.deployments = [seed.deployment(f"flow-{n}/deployment") for n in range(DEPLOYMENTS)]

    def _run(self, state: str, ended: timedelta) -> Run:
        end = self.seed.now - ended
        started = end - _minutes(self.chance.uniform(5, 120))
        deployment = self.chance.choice(self.deployments)
        return Run(deployment=deployment, state=state, started=started, ended=end, run_count=1, history=())

    def _behind(self) -> timedelta:
        """How far a clock is behind: mostly a second, seldom minutes, and as often ahead."""
        spread = self.chance.choices((1, 30, 300), (90, 8, 2))[0]
        return timedelta(seconds=self.chance.gauss(0, spread))

    def write(self, count: int) -> None:
        """Write so many ordinary runs, ghosts, and what was received of them by now."""
        ordinary = [self._run(self.chance.choices(_STATES, (90, 5, 3, 2))[0], self._ago()) for _ in range(count)]
        ghosts = list(self._ghosts())
        with self.seed.together():
            self.seed.many([*ordinary, *(run for run, _ in ghosts)])
            for run in ordinary:
                self._said(run)
            for run, kind in ghosts:
                self.planted[str(run.id)] = kind
                self._alive(run, kind)

    def _ago(self) -> timedelta:
        return _minutes(self.chance.uniform(0, 30))

    def _said(self, run: Run) -> None:
        """The last heartbeats and log lines of an ordinary run: some are held back, and some come after its end."""
        assert run.ended
        assert run.started
        stops = run.ended + timedelta(seconds=self.chance.expovariate(1 / 10) if run.state == "CANCELLED" else 0)
        behind, phase = self._behind(), self.chance.random() * _BEAT
        held_back = _minutes(self.chance.uniform(1, 20)) if self.chance.random() < 0.02 else timedelta(0)
        for sent in (stops - phase - n * _BEAT for n in range(3)):
            late = timedelta(seconds=self.chance.lognormvariate(0, 1)) + held_back
            if sent >= run.started and sent + late <= self.seed.now:
                self.seed.heartbeats(run, [sent + late], behind=behind + late)
        late = timedelta(seconds=self.chance.lognormvariate(0.5, 1)) + held_back
        if stops + late <= self.seed.now:
            self.seed.logs(run, [(stops + late, 20, "the last line")], behind=behind + late)

    def _ghosts(self) -> Iterator[tuple[Run, str]]:
        for kind in KINDS:
            for _ in range(OF_A_KIND):
                ago = _minutes(self.chance.uniform(3 * 24 * 60, 6 * 24 * 60) if "days" in kind else self._hours())
                yield self._run("CRASHED" if "crashed" in kind else "CANCELLED", ago), kind

    def _hours(self) -> float:
        return math.exp(self.chance.uniform(math.log(8), math.log(20 * 60)))

    def _alive(self, run: Run, kind: str) -> None:
        """What the process of a ghost has sent in the last half hour."""
        behind = _minutes(10 if "behind" in kind else -5 if "ahead" in kind else 0)
        gap = _minutes(self.chance.uniform(2, 5) if "few minutes" in kind or "task" in kind else 20)
        gap = _BEAT if "heartbeats" in kind else gap
        times = [self.seed.now - self.chance.random() * gap - n * gap for n in range(10)]
        sent = [at for at in times if run.started and at >= run.started]
        if "heartbeats" in kind:
            self.seed.heartbeats(run, sent, behind=behind)
        elif "log line" in kind:
            self.seed.logs(run, [(at, 20, "still here") for at in sent])
        else:
            for at in sent:
                self.seed.task_run(run, "load", state="RUNNING", at=at)


def judged(seed: Seed, number: int, ordinary: int = ORDINARY) -> dict[str, Any]:
    """Write a server by a seed, with so many ordinary runs, and check it.

    Returns:
        How many ordinary runs there were, and how many ghosts of each kind; by grace, how many of each were found; and
        what the check of the product found with its defaults.
    """
    world = _World(seed, random.Random(number))
    world.write(ordinary)
    config = Config()
    with open_api(config.server) as api:
        reader = ServerReader(api, config, Redactor().redact)
        seen = assess(reader, Ledger(), Policies(config), seed.now, Coverage())
    by_grace = {}
    for grace in GRACES:
        alive = [sign.run.id for sign in seen.observation.runs.later_signs if sign.after_end > _minutes(grace)]
        kinds = Counter(world.planted.get(run_id, "false") for run_id in alive)
        by_grace[f"{grace:g}"] = dict(sorted(kinds.items()))
    found = [run for finding in seen.report.findings if finding.check == "ghost" for run in finding.flow_run_ids]
    assert len(found) == sum(by_grace[f"{Ghost().grace / _minutes(1):g}"].values())
    return {"seed": number, "ordinary": ordinary, "planted": dict(Counter(world.planted.values())), "found": by_grace}
