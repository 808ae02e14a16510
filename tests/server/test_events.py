"""Events on a real server: stored once, with what is related, and found by what automations choose by."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest

from demo.stack import Server, wait_until
from monitoring.adapters.prefect.client.api import Api, open_api
from monitoring.adapters.prefect.publish.events import PrefectEvents
from monitoring.errors import Unreachable
from monitoring.model.finding import Finding, Subject
from monitoring.model.incident import Incident, Step
from monitoring.model.outbox import Event
from monitoring.model.policy import ApiSettings as Settings
from monitoring.notifications.event_publisher import MAX_AT_ONCE
from monitoring.notifications.events import incident_event
from tests.conftest import ServerFactory
from tests.support.builders import observation
from tests.support.samples import HOSTILE
from tests.support.servers import connected, without_server


@pytest.fixture
def api(prefect_server: Server) -> Iterator[Api]:
    with open_api(Settings()) as api:
        yield api


def event(name: str = "etl/nightly", runs: int = 1, tags: tuple[str, ...] = (), number: int = 7) -> Event:
    now = datetime.now(timezone.utc)
    flow, _, _ = name.rpartition("/")
    finding = Finding(
        fingerprint=f"prod/failed/deployment/{name}",
        check="failed",
        severity="critical",
        subject=Subject(kind="deployment", id=str(uuid4()), name=name),
        flow=flow,
        deployment=name,
        flow_run_ids=tuple(str(uuid4()) for _ in range(min(runs, 100))),
        flow_run_count=runs,
        summary=f"{name}: failed",
        observed="1 run",
        expected="none",
        since=now,
    )
    step = Step(to="firing", at=now, reason="found")
    incident = Incident(finding=finding, number=number, opened_at=now, fired_at=now, history=(step,), tags=tags)
    return incident_event(incident, step, observation())


def stored(api: Api, **criteria: Any) -> list[dict[str, Any]]:
    """The events of the last hour that a filter finds."""
    since = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
    body = {"filter": {"occurred": {"since": since}, "event": {"prefix": ["watchdog."]}, **criteria}}
    return list(api.post("/events/filter", body)["events"])


def wait_for(api: Api, count: int) -> list[dict[str, Any]]:
    wait_until(lambda: len(stored(api)) >= count, timeout=240, waiting_for=f"{count} events to be stored")
    return stored(api)


def test_an_event_that_is_sent_again_is_stored_once(api: Api) -> None:
    events = PrefectEvents(api)
    first, second = event(), event(number=8)
    for batch in ([first], [first], [first, second]):
        events.send(batch)
    # The server stores in the order in which it takes: what came before the second is there when that is.
    found = wait_for(api, 2)
    assert sorted(event["id"] for event in found) == sorted([first.id, second.id])
    sent = next(event for event in found if event["id"] == first.id)
    assert sent["event"] == "watchdog.incident.opened"
    assert sent["resource"] == dict(first.resource)
    assert sent["payload"] == dict(first.payload)


def test_of_150_runs_the_server_takes_those_that_fit_and_knows_how_many_do_not(api: Api) -> None:
    PrefectEvents(api).send([event(runs=150, tags=("sla",))])
    [sent] = wait_for(api, 1)
    roles = [resource["prefect.resource.role"] for resource in sent["related"]]
    assert len(roles) == 100
    assert sent["payload"]["flow_run_count"] == 150
    assert sent["payload"]["flow_runs_left_out"] == 150 - roles.count("flow-run")


def test_events_with_hostile_names_are_found_by_them(api: Api) -> None:
    hostile = event(f"{HOSTILE}/* ‮ [a-z]", tags=(HOSTILE, "x" * 5_000))
    PrefectEvents(api).send([hostile, event("other/nightly", number=8)])
    wait_for(api, 2)
    by_label = stored(api, resource={"labels": {"watchdog.deployment": [f"{HOSTILE}/* ‮ [a-z]"]}})
    assert [event["id"] for event in by_label] == [hostile.id]
    by_tag = stored(api, related={"id": [f"prefect.tag.{HOSTILE}"]})
    assert [event["id"] for event in by_tag] == [hostile.id]


def test_on_postgresql_no_name_stops_other_events_from_being_stored(fresh_server: ServerFactory) -> None:
    server = fresh_server(database="postgresql")
    with connected(server), open_api(Settings()) as api:
        # PostgreSQL would compress what repeats itself.
        signs = "".join(chr(0x4E00 + index * 7_919 % 20_000) for index in range(5_000))
        long = event(f"{signs}/a\0b", tags=(signs, signs[:200], "a\0b"))
        PrefectEvents(api).send([long, event(number=8)])
        assert len(wait_for(api, 2)) == 2


def test_a_server_that_takes_fewer_related_resources_gets_the_events_without(fresh_server: ServerFactory) -> None:
    server = fresh_server({"PREFECT_SERVER_EVENTS_MAXIMUM_RELATED_RESOURCES": "5"})
    with connected(server), open_api(Settings()) as api:
        PrefectEvents(api).send([event(runs=20), event(number=8)])
        found = wait_for(api, 2)
        assert [event["related"] for event in found] == [[], []]
        assert {event["payload"]["flow_run_count"] for event in found} == {20, 1}


def test_a_server_that_dies_before_it_has_written_an_event_down_is_seen_not_to_have_it(
    fresh_server: ServerFactory,
) -> None:
    server = fresh_server()
    with connected(server), open_api(Settings()) as api:
        events = PrefectEvents(api)
        kept, lost = event(), event(number=8)
        events.send([kept])
        wait_for(api, 1)
        events.send([lost])
        server.kill()
        server.start()
        server.wait_ready()
        assert events.kept([kept, lost]) == {kept.id}
        events.send([lost])
        wait_for(api, 2)
        assert events.kept([kept, lost]) == {kept.id, lost.id}
        # As many as are asked for at once.
        many = [event(number=number) for number in range(10, 10 + MAX_AT_ONCE)]
        events.send(many)
        wait_until(lambda: len(events.kept(many)) == MAX_AT_ONCE, timeout=240, waiting_for="the events to be stored")


def test_a_server_that_is_gone_is_an_error() -> None:
    with without_server(), open_api(Settings()) as api, pytest.raises(Unreachable, match="is the server running"):
        PrefectEvents(api).send([event()])
