"""suspicious: runs that completed and look as if they had not done their work."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from werkzeug import Response

from demo.stack import Server
from monitoring.model.ledger import Ledger
from tests.support.assessment import Assessed, assess_server, by_name
from tests.support.relay import relayed
from tests.support.seed_values import HOUR, MINUTE, SECOND, Deployment, Run
from tests.support.seeding import Seed

pytestmark = pytest.mark.usefixtures("prefect_server")

EARLIER = 10


def nightly(
    world: Seed, name: str, *, last: timedelta = 50 * MINUTE, tasks: Iterable[int] = (), **fields: Any
) -> tuple[Deployment, list[Run]]:
    """A deployment with eleven hourly runs, newest first; ``tasks`` are the task runs of each."""
    deployment = world.deployment(f"odd/{name}")
    ends = [world.now - n * HOUR - 5 * MINUTE for n in range(EARLIER + 1)]
    took = [last] + [50 * MINUTE] * EARLIER
    runs = [
        Run(deployment=deployment, started=end - span, ended=end, run_count=1, **(fields if n == 0 else {}))
        for n, (end, span) in enumerate(zip(ends, took, strict=True))
    ]
    world.many(runs)
    for run, count in zip(runs, tasks, strict=False):
        for _ in range(count):
            world.task_run(run, "load", at=ended(run), started=ended(run) - MINUTE)
    return deployment, runs


def ended(run: Run) -> datetime:
    """When a run ended."""
    assert run.ended
    return run.ended


def checked(world: Seed, **config: Any) -> Assessed:
    """What the last of eleven hourly checks finds."""
    ledger = Ledger()
    for n in range(EARLIER, 0, -1):
        ledger = assess_server(world.now - n * HOUR, ledger=ledger, **config).assessment.ledger
    return assess_server(world.now, ledger=ledger, **config)


def error(world: Seed, run: Run, text: str = "could not load: no such table", level: int = 40) -> None:
    """An error in a run's log."""
    world.logs(run, [(ended(run) - SECOND, level, text)])


def test_what_is_unlike_the_other_runs_is_found(world: Seed) -> None:
    """Errors, a fifth of the time, a tenth of the tasks; not what other runs did, too, nor a run that was retried."""
    _, with_error = nightly(world, "errors")
    error(world, with_error[0])
    _, chatty = nightly(world, "always-errors")
    for run in chatty:
        error(world, run)
    _, warned = nightly(world, "warnings")
    error(world, warned[0], level=30)
    _, retried_task = nightly(world, "task-retried")
    error(world, retried_task[0], "Task run failed with exception: ValueError('x') - Retry 1/3 will start immediately")
    deployment, _ = nightly(world, "run-retried")
    again = world.run(deployment, ended=world.now - MINUTE, run_count=2, started=world.now - 51 * MINUTE)
    error(world, again, "failed in the first attempt")
    nightly(world, "quick", last=10 * MINUTE)
    nightly(world, "not-so-quick", last=10 * MINUTE + SECOND)
    nightly(world, "few-tasks", tasks=[1, *[10] * EARLIER])
    nightly(world, "not-so-few", tasks=[2, *[10] * EARLIER])
    nightly(world, "few-at-times", tasks=[0, 0, 10, 10, 0, *[10] * 6])

    seen = checked(world)

    assert by_name(seen.found, "suspicious") == dict.fromkeys(("errors", "quick", "few-tasks"), "info")
    assert {check for check, _ in seen.found} == {"suspicious"}
    assert (seen.status, seen.missing) == ("ok", {})
    errors, quick, few = (seen.found["suspicious", f"odd/{name}"] for name in ("errors", "quick", "few-tasks"))
    assert errors.summary == "odd/errors: the last run completed, but with 1 error in its log"
    assert errors.expected == "as usual: errors in the log of 0 of 10 earlier runs"
    assert errors.evidence == ("could not load: no such table",)
    assert errors.since == ended(with_error[0])
    assert quick.observed.endswith("Completed, in 10 min")
    assert quick.expected == "as usual: 50 min is the median of 10 runs"
    assert few.observed.endswith("Completed, with 1 task run")
    assert few.expected == "as usual: 10 task runs"


def test_errors_that_arrive_after_the_check_are_found_by_the_next(world: Seed) -> None:
    _, runs = nightly(world, "late-log")
    ledger = checked(world).assessment.ledger
    error(world, runs[0])

    later = assess_server(world.now, ledger=ledger)

    assert by_name(later.found, "suspicious") == {"late-log": "info"}


def test_a_server_that_does_not_count_task_runs_is_still_judged_by_the_rest(
    world: Seed, prefect_server: Server
) -> None:
    _, runs = nightly(world, "errors", tasks=[0, *[10] * EARLIER])
    error(world, runs[0])
    ledger = checked(world).assessment.ledger
    with relayed(prefect_server.ui_url) as relay:
        relay.answer = lambda asked: Response(status=404) if "count-task-runs" in asked.path else None
        seen = assess_server(world.now, ledger=ledger, at=relay.url)

    assert seen.missing == {}
    assert seen.found["suspicious", "odd/errors"].summary.endswith("with 1 error in its log")


def test_turned_off_it_asks_for_nothing(world: Seed) -> None:
    nightly(world, "errors")

    on, off = assess_server(world.now), assess_server(world.now, suspicious={"enabled": False})

    # Logs and task runs of the newest runs, in one query each.
    assert len(on.traffic.answers) - len(off.traffic.answers) == 2
