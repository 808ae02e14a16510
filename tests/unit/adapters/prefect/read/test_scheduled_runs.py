"""Which fires were missed, and how it is found out with few questions what has nothing ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from monitoring.adapters.prefect.client.api import Api
from monitoring.adapters.prefect.read import scheduled_runs as fires
from monitoring.adapters.prefect.read.collection import Collection
from monitoring.checks.facts.scheduler import scheduler_is_dead
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.errors import BadAnswer
from monitoring.model.ledger import EndedRun, Ledger, Record
from monitoring.model.observation import MissedRuns
from monitoring.model.prefect import Deployment, FlowRun
from tests.support.builders import NOW, deployment, hours, minutes, observation, run

HOURLY = {"cron": "0 * * * *", "timezone": "UTC"}
DAILY = {"cron": "0 0 * * *", "timezone": "UTC"}
DUE = (NOW - hours(2), NOW - hours(1))
SECOND = timedelta(seconds=1)


class Server:
    """What a server answers: which deployments have runs ahead, and what they are now."""

    def __init__(self, ahead: Callable[[str], bool] = lambda key: False, settings: Any = None) -> None:
        self._ahead = ahead
        self._settings = settings
        self.questions = 0
        self.changed: dict[str, datetime] = {}

    def get(self, path: str) -> Any:
        assert path == "/admin/settings"
        if self._settings is None:
            raise BadAnswer("not here", status=404)
        return {"server": {"services": {"scheduler": self._settings}}}

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        if path == "/flow_runs/filter":
            return []
        ids: list[str] = list(body["deployments"]["id"]["any_"])
        self.questions += 1
        if path == "/deployments/count":
            return sum(self._ahead(key) for key in ids)
        ids = ids[body["offset"] : body["offset"] + body["limit"]]
        times = {key: self.changed.get(key, NOW - timedelta(days=50)).isoformat() for key in ids}
        fixed = {"flow_id": "flow", "created": (NOW - timedelta(days=100)).isoformat()}
        return [{"id": key, "name": key, "updated": updated, **fixed} for key, updated in times.items()]


def collecting(server: Server, **config: Any) -> Collection:
    settings = Config.model_validate(config)
    return Collection(cast(Api, server), settings, lambda text: text, NOW, Policies(settings))


def of(*ids: str, **fields: Any) -> dict[str, Deployment]:
    """Deployments that nobody has touched for long."""
    return {key: deployment(key, **{"changed": NOW - timedelta(days=50), **fields}) for key in ids}


def nothing_ahead(
    server: Server,
    deployments: dict[str, Deployment],
    schedule: Mapping[str, Any] = HOURLY,
    ledger: Ledger | None = None,
    **config: Any,
) -> fires.Ahead:
    schedules = {key: [schedule] for key in deployments}
    return fires.ahead(collecting(server, **config), deployments, schedules, ledger or Ledger())


def test_everything_ahead_takes_one_question_for_a_thousand() -> None:
    server = Server(ahead=lambda key: True)

    assert nothing_ahead(server, of(*(f"d{n}" for n in range(2_500)))).nothing == {}
    assert server.questions == 3


@pytest.mark.parametrize("empty", [1, 3, 999, 1_000])
def test_those_without_runs_are_found_with_few_questions(empty: int) -> None:
    missing = {f"d{n:04}" for n in range(empty)}
    server = Server(ahead=lambda key: key not in missing)

    assert nothing_ahead(server, of(*(f"d{n:04}" for n in range(1_000)))).nothing.keys() == missing
    assert server.questions < 30


@pytest.mark.parametrize(("apart", "questions"), [(2, 7_500), (10, 2_500), (125, 400)])
def test_a_server_in_pieces_is_seen_whole(apart: int, questions: int) -> None:
    server = Server(ahead=lambda key: int(key[1:]) % apart != 0)
    collection = collecting(server)
    deployments = of(*(f"d{n:04}" for n in range(5_000)))

    found = fires.ahead(collection, deployments, {key: [HOURLY] for key in deployments}, Ledger()).nothing
    assert found.keys() == {f"d{n:04}" for n in range(0, 5_000, apart)}
    assert server.questions <= questions
    assert collection.coverage.complete


def test_a_run_that_is_scheduled_while_we_read_makes_no_finding_of_another() -> None:
    planned: set[str] = {"d2"}
    asked: list[str] = []

    def ahead(key: str) -> bool:
        asked.append(key)
        planned.update({"d1"} if len(asked) == 2 else ())
        return key in planned

    assert nothing_ahead(Server(ahead=ahead), of("d1", "d2")).nothing == {}


def test_what_has_no_scheduled_time_left_is_not_queried() -> None:
    server = Server(ahead=lambda key: True)
    ended = of(*(f"over{n}" for n in range(300)))

    ahead = nothing_ahead(server, ended, {"rrule": "FREQ=DAILY;COUNT=3", "timezone": "UTC"})
    assert not ahead.nothing
    assert ahead.unplanned == ended.keys()
    assert server.questions == 0


def test_an_answer_that_breaks_off_proves_nothing() -> None:
    class Breaking(Server):
        def post(self, path: str, body: Mapping[str, Any]) -> Any:
            if path == "/deployments/filter":
                raise BadAnswer("too much")
            return super().post(path, body)

    collection = collecting(Breaking(ahead=lambda key: key != "d3"))
    deployments = of("d1", "d2", "d3")
    assert fires.ahead(collection, deployments, {key: [HOURLY] for key in deployments}, Ledger()).nothing == {}
    assert [(query.name, query.outcome) for query in collection.coverage.missing] == [("scheduled-ahead", "failed")]


def test_what_has_nothing_ahead_says_when_it_was_due_and_will_be() -> None:
    ahead = nothing_ahead(Server(), of("one"))

    assert ahead.nothing == {"one": NOW}
    assert ahead.deployments["one"].next_due == NOW + hours(1)
    # Three runs are kept ahead: the next one has been among them for so long.
    assert ahead.deployments["one"].planned_by == NOW - hours(2)


@pytest.mark.parametrize(
    ("changed", "found"), [(minutes(15) + SECOND, True), (minutes(15), False), (timedelta(0), False)]
)
def test_the_scheduler_has_its_time_after_a_change(changed: timedelta, found: bool) -> None:
    server = Server()
    server.changed = {"one": NOW - changed}

    assert bool(nothing_ahead(server, of("one", changed=NOW - changed)).nothing) is found


@pytest.mark.parametrize(
    ("settings", "days", "found"),
    [
        # A fire is planned a hundred days before it at the earliest, or as the server is set.
        (None, 101, False),
        (None, 99, True),
        ({"min_runs": 3, "min_scheduled_time": "PT1H", "max_scheduled_time": "P10D"}, 9, True),
        ({"min_runs": 3, "min_scheduled_time": "PT1H", "max_scheduled_time": "P10D"}, 11, False),
        ({"min_runs": 3, "min_scheduled_time": 3600.0, "max_scheduled_time": 864000.0}, 11, False),
        ({"of": "another version"}, 99, True),
    ],
)
def test_nothing_is_planned_beyond_the_schedulers_horizon(settings: Any, days: int, found: bool) -> None:
    fire = NOW + timedelta(days=days) - hours(1)
    yearly = {"interval": 365 * 86_400.0, "anchor_date": fire.isoformat(), "timezone": "UTC"}

    assert bool(nothing_ahead(Server(settings=settings), of("one"), yearly).nothing) is found


@pytest.mark.parametrize(
    "schedule", [{"cron": "0 0 30 2 *"}, {"rrule": "FREQ=DAILY;COUNT=3", "timezone": "UTC"}, {"moon": "full"}]
)
def test_what_has_no_scheduled_time_left_has_nothing_ahead_rightly(schedule: Mapping[str, Any]) -> None:
    assert nothing_ahead(Server(), of("one"), schedule).nothing == {}


def test_what_was_changed_while_we_read_is_queried_again_next_time() -> None:
    server = Server()
    server.changed = {"changed": NOW}

    assert nothing_ahead(server, of("changed", "same")).nothing.keys() == {"same"}


def test_an_answer_that_is_no_number_proves_nothing() -> None:
    class Odd(Server):
        def post(self, path: str, body: Mapping[str, Any]) -> Any:
            return {"count": 0}

    collection = collecting(Odd())
    assert fires.ahead(collection, of("one"), {"one": [HOURLY]}, Ledger()).nothing == {}
    assert [query.outcome for query in collection.coverage.missing] == ["failed"]


def dead(*deployments: str, changed: timedelta) -> bool:
    """Whether a server looks dead whose scheduler plans nothing, and one more deployment was changed so long ago."""
    server = Server()
    server.changed = {"new": NOW - changed}
    ahead = nothing_ahead(server, {**of(*deployments), **of("new", created=NOW - changed, changed=NOW - changed)})
    seen = observation(nothing_ahead=ahead.nothing, unplanned=ahead.unplanned)
    return scheduler_is_dead(seen.model_copy(update={"deployments": ahead.deployments}))


@pytest.mark.parametrize("changed", [timedelta(0), minutes(15), minutes(15) + SECOND])
def test_a_new_deployment_does_not_bring_a_dead_scheduler_to_life(changed: timedelta) -> None:
    assert dead("one", "two", changed=changed)


def test_one_deployment_and_a_new_one_do_not_show_a_dead_scheduler() -> None:
    assert not dead("one", changed=timedelta(0))


@pytest.mark.parametrize(
    ("ago", "before", "judged"),
    [
        pytest.param(None, None, True, id="by hand"),
        pytest.param(minutes(5), minutes(10), True, id="every five minutes"),
        pytest.param(minutes(15), minutes(20), True, id="a check is late"),
        pytest.param(minutes(15) + SECOND, minutes(20), False, id="the first check after an outage"),
        pytest.param(minutes(15) + SECOND, None, False, id="the second check of all"),
        pytest.param(minutes(5), hours(5), True, id="the second check after an outage"),
        pytest.param(hours(1), hours(2), True, id="hourly"),
        pytest.param(hours(2), hours(3), True, id="hourly, and one left out"),
        pytest.param(hours(2) + SECOND, hours(3), False, id="hourly, the first after an outage"),
    ],
)
def test_a_scheduler_has_its_time_after_an_outage(
    ago: timedelta | None, before: timedelta | None, judged: bool
) -> None:
    cursor, cursor_before = NOW - ago if ago else None, NOW - before if before else None
    ledger = Ledger(cursor=cursor, cursor_before=cursor_before)
    collection = collecting(Server())
    ahead = fires.ahead(collection, of("one"), {"one": [HOURLY]}, ledger)

    assert bool(ahead.nothing) is judged
    assert collection.coverage.complete is judged
    assert ahead.unplanned == (set() if judged else {"one"})


def ended(state: str, at: datetime) -> EndedRun:
    return EndedRun.model_validate(
        {"id": "last", "name": "last", "state_type": state, "state_name": state, "ended": at}
    )


def missed(
    known: Deployment,
    *runs: FlowRun,
    success: FlowRun | None = None,
    record: Record | None = None,
    schedules: Sequence[Mapping[str, Any]] = (HOURLY,),
    **config: Any,
) -> MissedRuns | None:
    ledger = Ledger(records={known.id: record} if record else {})
    successes = {known.id: success} if success else {}
    found = fires.missed(
        collecting(Server(), **config), {known.id: known}, {known.id: list(schedules)}, runs, successes, ledger
    )
    return found.runs.get(known.id)


@pytest.mark.parametrize(
    ("changed", "made", "found"),
    [
        pytest.param(NOW - hours(2), NOW - hours(900), NOW - hours(2), id="nothing was due before the change"),
        pytest.param(NOW - hours(2), NOW - hours(2), None, id="a deploy makes the schedules anew"),
        pytest.param(NOW - hours(5.25), NOW - hours(900), None, id="nothing could be due before the change"),
        pytest.param(None, None, None, id="unknown"),
    ],
)
def test_a_change_after_times_without_runs_may_have_ended_a_pause(
    changed: datetime | None, made: datetime | None, found: datetime | None
) -> None:
    known = deployment(due=DUE, changed=changed, scheduled_since=made)
    deployments, schedules = {known.id: known}, {known.id: [HOURLY]}
    success = run("COMPLETED", since=LATE, auto_scheduled=True)

    def resumed(ledger: Ledger) -> Mapping[str, datetime]:
        return fires.missed(collecting(Server()), deployments, schedules, [success], {}, ledger).resumed

    assert resumed(Ledger()).get(known.id) == found
    # With a memory, that is known.
    ledger = Ledger(records={known.id: Record(schedule="daily", last_success=ended("COMPLETED", LATE))})
    assert resumed(ledger) == {}


LATE = NOW - hours(5) - minutes(30)


@pytest.mark.parametrize(
    ("runs", "known"),
    [
        pytest.param([run("COMPLETED", since=LATE)], {}, id="in the window"),
        pytest.param([], {"success": run("COMPLETED", since=LATE, auto_scheduled=True)}, id="found by search"),
        pytest.param([], {"record": Record(last_success=ended("COMPLETED", LATE), schedule="daily")}, id="remembered"),
        pytest.param(
            [run("FAILED", since=NOW - hours(3))],
            {"record": Record(last_success=ended("COMPLETED", LATE), schedule="daily")},
            id="a failure since",
        ),
    ],
)
def test_the_first_fire_after_the_last_success_and_all_since(runs: list[FlowRun], known: dict[str, Any]) -> None:
    assert missed(deployment(due=DUE), *runs, **known) == MissedRuns(first=NOW - hours(5), count=6)


def test_several_schedules_are_counted_together() -> None:
    at = {"cron": "15 9 * * *", "timezone": "Europe/Berlin"}
    found = missed(deployment(due=DUE), run("COMPLETED", since=LATE), schedules=[HOURLY, at, HOURLY])

    assert found == MissedRuns(first=NOW - hours(5), count=7)


@pytest.mark.parametrize("ended_at", [DUE[0], DUE[0] + SECOND, NOW])
def test_what_is_fresh_has_missed_nothing(ended_at: datetime) -> None:
    assert missed(deployment(due=DUE), run("COMPLETED", since=ended_at)) is None


def test_scheduled_times_before_there_were_schedules_are_not_missed() -> None:
    since = NOW - hours(3)
    young = deployment(due=DUE, scheduled_since=since)

    assert missed(young, run("COMPLETED", since=LATE)) == MissedRuns(first=NOW - hours(2), count=3)
    # A run that a schedule made shows that they were only made anew.
    assert missed(young, run("COMPLETED", since=LATE, auto_scheduled=True)) == MissedRuns(first=NOW - hours(5), count=6)
    known = Record(last_success=ended("COMPLETED", LATE), schedule="daily", scheduled_since=since)
    assert missed(young, record=known) == MissedRuns(first=NOW - hours(2), count=3)


def test_where_failures_are_expected_a_failure_is_followed_by_none() -> None:
    failed = run("FAILED", since=NOW - hours(3) - minutes(30))

    assert missed(deployment(due=DUE), failed, expect="failure") == MissedRuns(first=NOW - hours(3), count=4)


def test_no_more_than_a_thousand_are_counted() -> None:
    old = run("COMPLETED", since=NOW - timedelta(days=99))

    assert missed(deployment(due=DUE), old) == MissedRuns(first=NOW - timedelta(days=99) + hours(1), count=1_000)


@pytest.mark.parametrize("fields", [{"scheduled": False}, {"due": ()}], ids=["no schedule", "nothing due"])
def test_nothing_is_missed_where_nothing_was_due(fields: dict[str, Any]) -> None:
    assert missed(deployment(**{"due": DUE, **fields}), run("COMPLETED", since=LATE)) is None
