"""Several at once, on either database: checks that want the lock, and people who ask for something meanwhile."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Barrier

import pytest

from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.store.action_requests import new_name, submit
from monitoring.errors import ServerProblem
from monitoring.model.policy import ApiSettings as Settings
from monitoring.model.request import Request
from monitoring.model.silence import Silence
from monitoring.model.target import Target
from tests.conftest import ServerFactory
from tests.support.killing import ANOTHER, FINE, Stage, staged
from tests.support.slack import SlackEmulator

ROUNDS = 2
#: SQLite takes one writer at a time: a server answers 503 to others, or stands still for as long as a minute.
PEOPLE = {"sqlite": 4, "postgresql": 10}
BUSY = ("answers 503", "no answer from")


@pytest.fixture(params=["sqlite", "postgresql"])
def stage(
    request: pytest.FixtureRequest, fresh_server: ServerFactory, slack_emulator: SlackEmulator, tmp_path: Path
) -> Iterator[Stage]:
    with staged(fresh_server(database=request.param), slack_emulator, tmp_path, at_once=2) as stage:
        yield stage


def start(stage: Stage) -> None:
    for checks in stage.checks:
        checks.start()


def end(stage: Stage, *, busy: bool = False) -> bool:
    """Wait for all checks that were started; each has worked, or found another at work.

    Returns:
        True; False where the server was too busy for one, which is a failure unless it is said to be ``busy``.
    """
    ended = [checks.end().ended or "" for checks in stage.checks]
    refused = [outcome for outcome in ended if busy and any(sign in outcome for sign in BUSY)]
    assert all(outcome.startswith("COMPLETED") for outcome in ended if outcome not in refused), ended
    assert set(ended) != {ANOTHER}
    return not refused


def ask_at_once(stage: Stage, requests: list[Request]) -> None:
    """Let each be asked by somebody else, who tries again when told that it could not be."""
    together = Barrier(len(requests))

    def leave(request: Request) -> None:
        together.wait(30)
        for _ in range(20):
            # So many writers at once are more than SQLite has patience for; people do not try again in step.
            with suppress(ServerProblem), open_api(Settings(), Target(address=stage.server.api_url)) as api:
                return submit(api, request)
            time.sleep(random.uniform(0, 5))
        raise AssertionError("it could not be asked for")

    with ThreadPoolExecutor(len(requests)) as people:
        list(people.map(leave, requests))


def silence(author: str) -> Request:
    now = datetime.now(timezone.utc)
    asked = Silence(deployment="other/*", starts_at=now, ends_at=now + timedelta(hours=1), author=author)
    return Request(name=new_name(), what="silence", at=now, by=author, note="a race", silence=asked)


def test_of_checks_at_once_each_alert_is_notified_once(stage: Stage) -> None:
    for number in range(ROUNDS):
        expected = stage.news(mend=number % 2 == 1)
        start(stage)
        end(stage)
        assert stage.after(expected) == FINE
    assert stage.unseen() == set()


def test_requests_made_at_once_while_checks_run_are_applied_once_each(stage: Stage) -> None:
    kind = stage.server.database_url.partition("+")[0]
    asked: list[Request] = []
    for number in range(ROUNDS):
        expected = stage.news(mend=number % 2 == 1)
        fresh = [silence(f"person-{number}-{count}") for count in range(PEOPLE[kind])]
        asked += fresh
        start(stage)
        # Each time they come in another part of the checks.
        time.sleep(number * 0.3)
        ask_at_once(stage, fresh)
        if not end(stage, busy=kind == "sqlite"):
            # What a check leaves that the server refuses, the next one does.
            start(stage)
            end(stage)
        assert stage.after(expected) == FINE
    start(stage)
    end(stage)

    state, _ = stage.state()
    assert state.requests == ()
    known = state.silences.known
    assert Counter(silence.request for silence in known) == Counter(request.name for request in asked)
    assert {silence.author for silence in known} == {request.by for request in asked}
    assert sorted(int(silence.id.removeprefix("S-")) for silence in known) == list(range(1, len(asked) + 1))
