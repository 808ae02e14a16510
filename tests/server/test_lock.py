"""The lock, raced for on real servers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from threading import Barrier
from typing import Any

import pytest
from prefect import State, flow
from prefect.client.orchestration import get_client
from prefect.states import Cancelled, Crashed, Failed, Running

from demo.stack import Server
from monitoring.adapters.prefect.client.api import Api, open_api
from monitoring.adapters.prefect.store.lock import NAME, VariableLock
from monitoring.errors import LockLost
from monitoring.model.policy import ApiSettings as Settings
from monitoring.model.target import Target
from tests.support.request_log import logged_requests

MINUTES = timedelta(minutes=3)
RACERS = 10


class Timer:
    """Seconds, as the test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def in_an_hour() -> datetime:
    return datetime.now(timezone.utc) + timedelta(hours=1)


@pytest.fixture
def api(prefect_server: Server) -> Iterator[Api]:
    with open_api(Settings()) as api:
        yield api


def stored(api: Api) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = api.post("/variables/filter", {"variables": {"name": {"any_": [NAME]}}})
    return rows


def leave(api: Api, value: Any) -> str:
    return str(api.post("/variables/", {"name": NAME, "value": value})["id"])


def race(url: str) -> int:
    """Let ten take the lock at once; return how many got it. Nobody releases it before everybody has tried."""
    start, tried = Barrier(RACERS, timeout=180), Barrier(RACERS, timeout=180)
    # Ten at once are slow on a busy machine.
    patient = Settings(timeout=timedelta(minutes=2))

    def run(number: int) -> bool:
        with open_api(patient, Target(address=url)) as api:
            start.wait()
            with VariableLock(api, str(number), MINUTES).hold() as held:
                tried.wait()
                return held

    with ThreadPoolExecutor(RACERS) as pool:
        return sum(pool.map(run, range(RACERS)))


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_of_ten_racers_one_wins(database: str, request: pytest.FixtureRequest) -> None:
    if database == "sqlite":
        server: Server = request.getfixturevalue("prefect_server")
    else:
        server = request.getfixturevalue("fresh_server")(database=database)
    with open_api(Settings(), Target(address=server.api_url)) as api:
        for _ in range(3):
            assert race(server.api_url) == 1
            assert stored(api) == []
        for left_behind in ({"holder": "dead", "token": "t", "expiry_seconds": 0.001}, "edited by hand"):
            leave(api, left_behind)
            assert race(server.api_url) == 1
            assert stored(api) == []


def test_says_who_holds_it_and_lets_nobody_else_in(api: Api) -> None:
    with VariableLock(api, "run-1", MINUTES).hold() as held:
        assert held
        (variable,) = stored(api)
        assert (variable["value"]["holder"], variable["value"]["expiry_seconds"]) == ("run-1", 180)
        with VariableLock(api, "run-2", MINUTES).hold() as also:
            assert not also
        assert stored(api) == [variable]
    assert stored(api) == []


@pytest.mark.parametrize(
    "value",
    ["rubbish", None, 7, [1], {}, {"holder": "x", "token": "y"}, {"holder": "x", "token": "y", "expiry_seconds": -1}],
)
def test_a_value_edited_by_hand_blocks_nobody(api: Api, value: Any) -> None:
    leave(api, value)
    with VariableLock(api, "run", MINUTES).hold() as held:
        assert held


@pytest.mark.parametrize(
    ("state", "renews", "free"),
    [
        (Crashed(message="killed"), False, True),
        (Cancelled(), False, True),
        (Failed(), False, True),
        (Running(), False, False),
        (Crashed(message="marked by somebody, while its process lives"), True, False),
    ],
    ids=["crashed", "cancelled", "failed", "running", "renewed since"],
)
def test_the_lock_of_a_run_that_has_ended_is_free_at_once(api: Api, state: State, renews: bool, free: bool) -> None:
    timer = Timer()
    with get_client(sync_client=True) as client:
        holder = client.create_flow_run(flow(name="check")(lambda: None), state=Running()).id
        old = VariableLock(api, str(holder), MINUTES, timer=timer)
        with old.hold() as held:
            assert held
            client.set_flow_run_state(holder, state, force=True)
            timer.now = 61 if renews else 0
            old.keep()
            with VariableLock(api, "new", MINUTES).hold() as taken:
                assert taken is free
                if free:
                    with pytest.raises(LockLost):
                        old.confirm()


def test_of_ten_that_find_the_lock_of_an_ended_run_one_wins(api: Api, prefect_server: Server) -> None:
    with get_client(sync_client=True) as client:
        holder = client.create_flow_run(flow(name="check")(lambda: None), state=Running()).id
        leave(api, {"holder": str(holder), "token": "t", "expiry_seconds": 180})
        client.set_flow_run_state(holder, Crashed(), force=True)
    assert race(prefect_server.api_url) == 1
    assert stored(api) == []


def test_the_old_holder_learns_that_it_was_taken_over_and_leaves_the_new_one_alone(api: Api) -> None:
    old = VariableLock(api, "old", MINUTES)
    new = VariableLock(api, "new", MINUTES, clock=in_an_hour)
    with ExitStack() as leaving:
        assert leaving.enter_context(old.hold())
        with new.hold() as held:
            assert held
            with pytest.raises(LockLost):
                old.confirm()
            with pytest.raises(LockLost):
                old.keep()
            leaving.close()
            (variable,) = stored(api)
            assert variable["value"]["holder"] == "new"
            new.confirm()


def test_a_renewal_that_finds_it_gone_says_so(api: Api) -> None:
    timer = Timer()
    lock = VariableLock(api, "run", MINUTES, timer=timer)
    with lock.hold():
        api.request("DELETE", f"/variables/{stored(api)[0]['id']}")
        lock.keep()
        timer.now = 61
        with pytest.raises(LockLost, match="deleted"):
            lock.keep()


def test_renews_in_the_middle_third_only_and_is_cheap_before(api: Api) -> None:
    timer = Timer()
    lock = VariableLock(api, "run", MINUTES, timer=timer)
    requests = logged_requests(api)
    lock.keep()
    assert requests == []
    with lock.hold():
        (taken,) = stored(api)
        requests.clear()
        timer.now = 59
        lock.keep()
        assert requests == []
        timer.now = 61
        lock.keep()
        lock.keep()
        assert len(requests) == 1
        (renewed,) = stored(api)
        assert (renewed["id"], renewed["value"]) == (taken["id"], taken["value"])
        assert renewed["updated"] > taken["updated"]
        timer.now = 61 + 119
        lock.keep()
        timer.now = 61 + 119 + 121
        requests.clear()
        with pytest.raises(LockLost, match="121 s"):
            lock.keep()
        assert requests == []
    assert stored(api) == []
    lock.keep()


def test_keeps_itself_alive_when_called_before_each_request(api: Api) -> None:
    timer = Timer()
    lock = VariableLock(api, "run", MINUTES, timer=timer)
    api.before_request = lock.keep
    with lock.hold() as held:
        assert held
        timer.now = 100
        requests = logged_requests(api)
        api.get("/admin/version")
        assert len(requests) == 2
        timer.now = 1000
        with pytest.raises(LockLost):
            api.get("/admin/version")
    assert api.get("/admin/version")
    assert stored(api) == []


def test_a_creation_whose_answer_was_lost_is_ours(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    post: Callable[[str, Any], Any] = api.post

    def sent_twice(path: str, body: Any) -> Any:
        post(path, body)
        return post(path, body)

    monkeypatch.setattr(api, "post", sent_twice)
    lock = VariableLock(api, "run", MINUTES)
    with lock.hold() as held:
        assert held
        lock.confirm()
    monkeypatch.undo()
    assert stored(api) == []


def test_a_server_that_dies_hides_no_error_and_blocks_for_no_longer_than_the_expiry(
    fresh_server: Callable[[], Server], caplog: pytest.LogCaptureFixture
) -> None:
    server = fresh_server()

    def work(api: Api) -> None:
        with VariableLock(api, "dies", MINUTES).hold():
            server.kill()
            raise ZeroDivisionError

    with open_api(Settings(attempts=1), Target(address=server.api_url)) as api:
        with caplog.at_level(logging.WARNING), pytest.raises(ZeroDivisionError):
            work(api)
        assert "not released" in caplog.text
        server.start()
        server.wait_ready()
        with VariableLock(api, "early", MINUTES).hold() as held:
            assert not held
        with VariableLock(api, "next", MINUTES, clock=in_an_hour).hold() as held:
            assert held
