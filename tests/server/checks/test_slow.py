"""slow: against a given limit, and against what is usual for the deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from demo.stack import Server
from monitoring.adapters.prefect.read import run_times
from tests.support.assessment import assess_server, by_name
from tests.support.relay import ApiRequest, relayed
from tests.support.seed_values import DAY, HOUR, MINUTE, SECOND, Deployment, Run
from tests.support.seeding import Seed

BEAT = timedelta(seconds=180)
TEN = [10 * MINUTE] * 10
#: The noise has a run of which the watchdog does not know yet whether it is slow.
NOT_THE_NOISE = {"match": {"deployment": "noise-*"}, "slow": {"enabled": False}}


def test_slow_counts_time_in_running_and_yields_to_zombie(prefect_server: Server, world: Seed) -> None:
    now = world.now
    limit = 30 * MINUTE

    def running(name: str, took: timedelta, **fields: Any) -> None:
        run = world.run(world.deployment(f"slow/{name}"), "RUNNING", started=now - took, **fields)
        world.heartbeats(run, (now - MINUTE - n * BEAT for n in range(3)))

    running("running-not-yet", limit)
    running("running", limit + SECOND)
    # Two hours since it started, of which 29 minutes were work.
    waited: dict[str, Any] = {"since": now - 10 * MINUTE, "run_count": 2}
    running("retried-not-yet", 2 * HOUR, run_time=20 * MINUTE, **waited)
    running("retried", 2 * HOUR, run_time=20 * MINUTE + SECOND, **waited)

    def ended(name: str, took: timedelta, **fields: Any) -> Deployment:
        deployment = world.deployment(f"slow/{name}")
        end = now - HOUR
        world.run(deployment, ended=end, started=end - took, **fields)
        return deployment

    ended("ended-not-yet", limit)
    ended("ended", limit + SECOND)
    ended("ended-waited", 3 * HOUR, run_time=limit)
    again = ended("ended-quicker-since", HOUR)
    world.run(again, ended=now - MINUTE, started=now - 2 * MINUTE)
    forgiven = world.deployment("slow/forgiven")
    world.run(forgiven, started=now - 26 * HOUR, ended=now - 24 * HOUR)

    zombie = world.run(world.deployment("slow/zombie"), "RUNNING", started=now - 2 * HOUR)
    world.heartbeats(zombie, (now - HOUR - n * BEAT for n in range(3)))

    found = assess_server(now, target={"window": "30h"}, slow={"limit": "30m"}).found
    assert by_name(found, "slow") == dict.fromkeys(("running", "retried", "ended"), "warning")
    assert by_name(found, "zombie") == {"zombie": "critical"}
    assert len(found) == 4
    assert assess_server(now).status == "critical", "without a limit nothing is slow, and the zombie stays"
    assert by_name(assess_server(now).found, "slow") == {}


def practised(world: Seed, name: str, took: Sequence[timedelta] = TEN) -> Deployment:
    """A deployment that ran once a day, up to two days ago; what each run took, newest first."""
    deployment = world.deployment(f"learned/{name}")
    # Two hours between the attempts of each, which count for nothing.
    world.many(
        Run(
            deployment=deployment,
            started=world.now - (n + 2) * DAY - span - 2 * HOUR,
            ended=world.now - (n + 2) * DAY,
            run_time=span,
            run_count=2,
            history=(),
        )
        for n, span in enumerate(took)
    )
    return deployment


def running(world: Seed, deployment: Deployment, took: timedelta, **fields: Any) -> Run:
    """A run that is alive."""
    run = world.run(deployment, "RUNNING", **{"started": world.now - took, **fields})
    world.heartbeats(run, (world.now - MINUTE - n * BEAT for n in range(3)))
    return run


def test_what_is_usual_is_learned_at_the_first_look(prefect_server: Server, world: Seed) -> None:
    limit = 20 * MINUTE

    def plant(name: str, took: timedelta, past: Sequence[timedelta] = TEN, **fields: Any) -> None:
        running(world, practised(world, f"running-{name}", past), took, **fields)
        ended = world.now - HOUR
        attempts: Mapping[str, Any] = {"run_time": took, "run_count": 2} if fields else {}
        started = ended - (9 * HOUR if fields else took)
        world.run(practised(world, f"ended-{name}", past), started=started, ended=ended, **attempts)

    plant("as-usual", 10 * MINUTE)
    plant("not-yet", limit)
    plant("slow", limit + SECOND)
    # Nine hours since they started, twenty minutes of them in two attempts.
    again: Mapping[str, Any] = {"started": world.now - 9 * HOUR, "since": world.now - 5 * MINUTE, "run_count": 2}
    plant("retried-not-yet", limit, **again, run_time=limit - 5 * MINUTE)
    plant("retried-slow", limit + SECOND, **again, run_time=limit + SECOND - 5 * MINUTE)
    # Of runs of a minute, those up to five minutes longer are none.
    plant("below-the-floor", 6 * MINUTE, [MINUTE] * 10)
    plant("above-the-floor", 6 * MINUTE + SECOND, [MINUTE] * 10)
    plant("seen-twice", 36 * MINUTE, [*TEN, 30 * MINUTE, 30 * MINUTE])
    plant("not-seen-twice", 36 * MINUTE + SECOND, [*TEN, 30 * MINUTE, 30 * MINUTE])
    plant("too-few", 9 * HOUR, TEN[1:])

    seen = assess_server(world.now)
    slow = ("slow", "retried-slow", "above-the-floor", "not-seen-twice")
    assert by_name(seen.found, "slow") == {f"{how}-{name}": "info" for how in ("running", "ended") for name in slow}
    assert len(seen.found) == len(slow) * 2
    assert seen.status == "ok", "what is only unusual is information"
    assert seen.missing == {}
    found = seen.found["slow", "learned/running-slow"]
    assert found.expected == "at most 20 min of run time: 10 min is the median of 10 runs"
    assert found.since == world.now - SECOND


def test_history_is_searched_once_and_only_where_it_can_matter(prefect_server: Server, world: Seed) -> None:
    slow = practised(world, "slow")
    running(world, slow, HOUR)
    running(world, practised(world, "short"), 4 * MINUTE)
    running(world, practised(world, "limited"), HOUR)
    never = world.deployment("learned/never-ran")
    running(world, never, HOUR)
    world.run(practised(world, "failed"), "FAILED", started=world.now - 2 * HOUR, ended=world.now - HOUR)
    rules = [NOT_THE_NOISE, {"match": {"deployment": "learned/limited"}, "slow": {"limit": "2h"}}]

    def searched(requests: Sequence[ApiRequest]) -> list[str]:
        newest = [each.body for each in requests if each.path == "/flow_runs/filter" and each.body.get("limit") == 31]
        return [deployment for body in newest for deployment in body["flow_runs"]["deployment_id"]["any_"]]

    with relayed(prefect_server.ui_url) as relay:
        first = assess_server(world.now, at=relay.url, rules=rules)
        assert sorted(searched(relay.requests)) == sorted([str(slow.id), str(never.id)])
        relay.requests.clear()
        again = assess_server(world.now + MINUTE, at=relay.url, rules=rules, ledger=first.assessment.ledger)
        assert searched(relay.requests) == []
    assert by_name(first.found, "slow") == by_name(again.found, "slow") == {"slow": "info"}


def test_more_deployments_than_one_check_may_query_are_learned_by_the_next(
    prefect_server: Server, world: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_times, "_MAX_SEARCHES", 1)
    for name, took in (("one", HOUR), ("two", 2 * HOUR)):
        running(world, practised(world, name), took)

    first = assess_server(world.now, rules=[NOT_THE_NOISE])
    second = assess_server(world.now + MINUTE, rules=[NOT_THE_NOISE], ledger=first.assessment.ledger)

    assert by_name(first.found, "slow") == {"two": "info"}, "the longest first"
    assert first.missing == {}, "what is not learned yet is as new, and nothing of it is unseen"
    assert by_name(second.found, "slow") == {"one": "info", "two": "info"}
    assert second.missing == {}


def test_a_slow_run_may_be_a_problem(prefect_server: Server, world: Seed) -> None:
    running(world, practised(world, "slow"), HOUR)
    running(world, practised(world, "not-judged"), HOUR)
    off = [{"match": {"deployment": "learned/not-judged"}, "slow": {"baseline": False}}]

    seen = assess_server(world.now, slow={"severity": "warning"}, rules=off)

    assert by_name(seen.found, "slow") == {"slow": "warning"}
    assert seen.status == "warning"


def test_drift_is_shown_beside_what_is_slow(prefect_server: Server, world: Seed) -> None:
    running(world, practised(world, "slower-by-the-month", [9 * MINUTE] * 30 + [4 * MINUTE] * 45), HOUR)

    first = assess_server(world.now)
    # The first look asks for the newest thirty; what earlier months were like, it has to see for itself.
    assert first.found["slow", "learned/slower-by-the-month"].evidence == ()

    watched = assess_server(world.now - 40 * DAY, target={"window": "60d"}).assessment.ledger
    later = assess_server(world.now, ledger=watched)
    evidence = later.found["slow", "learned/slower-by-the-month"].evidence
    assert len(evidence) == 1
    assert evidence[0].startswith("median 4 min in ")
    assert evidence[0].endswith(", 9 min now")


def test_runs_without_a_deployment_are_learned_by_their_flow(prefect_server: Server, world: Seed) -> None:
    world.many(
        Run(flow="laptop", started=world.now - n * DAY - 10 * MINUTE, ended=world.now - n * DAY) for n in range(2, 12)
    )
    run = world.run(flow="laptop", state="RUNNING", started=world.now - HOUR)
    world.heartbeats(run, (world.now - MINUTE - n * BEAT for n in range(3)))

    found = assess_server(world.now, target={"runs_without_deployment": True}).found

    assert [(finding.check, finding.subject.kind, finding.subject.name) for finding in found.values()] == [
        ("slow", "flow", "laptop")
    ]
