"""Events of incidents: each step once, under one id, and in a shape that a server takes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.server.events.schemas.events import Event as ServersEvent
from prefect.settings import PREFECT_EVENTS_MAXIMUM_SIZE_BYTES

from monitoring.model.finding import Finding, Subject
from monitoring.model.incident import Incident, Incidents, Step, StepReason
from monitoring.model.outbox import Event, Outbox
from monitoring.model.prefect import WorkPool
from monitoring.notifications.events import MAX_RELATED, check_completed, incident_event, with_events
from tests.support import samples
from tests.support.builders import NOW, deployment, minutes, observation

POOL = WorkPool(id="pool-id", name="etl-pool", type="process")
SEEN = observation(deployments=[deployment("etl/nightly")], work_pools={"etl-pool": POOL})


def finding(name: str = "etl/nightly", runs: int = 1, **fields: Any) -> Finding:
    values: dict[str, Any] = {
        "fingerprint": f"prod/failed/deployment/{name}",
        "check": "failed",
        "severity": "critical",
        "subject": Subject(kind="deployment", id=name, name=name),
        "flow": name.partition("/")[0],
        "deployment": name,
        "flow_run_ids": tuple(f"run-{number}" for number in range(min(runs, 100))),
        "flow_run_count": runs,
        "summary": f"{name}: failed",
        "observed": "1 run",
        "expected": "none",
        "since": NOW,
    }
    return Finding.model_validate({**values, **fields})


def incident(number: int = 7, *steps: Step, of: Finding | None = None, **fields: Any) -> Incident:
    history = steps or (Step(to="firing", at=NOW, reason="found"),)
    return Incident(
        finding=of or finding(), number=number, opened_at=NOW, fired_at=NOW, history=history, pool="etl-pool", **fields
    )


def opened(of: Incident) -> Event:
    return incident_event(of, of.history[-1], SEEN)


def queued(*incidents: Incident, outbox: Outbox | None = None, at: Any = NOW, closed: Any = ()) -> Outbox:
    known = Incidents(open={str(index): incident for index, incident in enumerate(incidents)})
    return with_events(outbox or Outbox(), known, closed, SEEN.model_copy(update={"at": at}))


def names(outbox: Outbox) -> list[tuple[str, str]]:
    events = [delivery.event for delivery in outbox.queue if delivery.event]
    return [(event.name, str(event.payload["incident"])) for event in events]


def as_the_server_reads_it(event: Event) -> ServersEvent:
    return ServersEvent.model_validate(
        {
            "id": event.id,
            "occurred": event.at,
            "event": event.name,
            "resource": dict(event.resource),
            "related": [dict(resource) for resource in event.related],
            "payload": dict(event.payload),
        }
    )


@pytest.mark.parametrize(
    ("to", "reason", "name"),
    [
        ("firing", "found", "watchdog.incident.opened"),
        ("firing", "reopened", "watchdog.incident.opened"),
        ("updated", "worse", "watchdog.incident.updated"),
        ("resolved", "succeeded", "watchdog.incident.resolved"),
    ],
)
def test_every_step_has_its_event(to: Any, reason: StepReason, name: str) -> None:
    event = opened(incident(7, Step(to=to, at=NOW, reason=reason)))
    assert (event.name, event.resource["watchdog.reason"], event.payload["reason"]) == (name, reason, reason)


def test_a_pending_incident_is_no_news() -> None:
    waiting = Incident(finding=finding(), opened_at=NOW, history=(Step(to="pending", at=NOW, reason="found"),))
    assert queued(waiting).queue == ()


def test_what_somebody_may_choose_by_is_a_label() -> None:
    resource = opened(incident(of=finding(owner="data"))).resource
    assert resource == {
        "prefect.resource.id": "watchdog.incident.prod.W-7",
        "prefect.resource.name": "W-7",
        "watchdog.target": "prod",
        "watchdog.check": "failed",
        "watchdog.severity": "critical",
        "watchdog.reason": "found",
        "watchdog.known-before": "false",
        "watchdog.symptom": "false",
        "watchdog.deployment": "etl/nightly",
        "watchdog.flow": "etl",
        "watchdog.work-pool": "etl-pool",
        "watchdog.owner": "data",
    }


def test_what_was_known_before_and_what_is_a_symptom_can_be_left_out_by_label() -> None:
    resource = opened(incident(of=finding(symptom_of="prod/work-pool/x"), preexisting=True)).resource
    assert (resource["watchdog.known-before"], resource["watchdog.symptom"]) == ("true", "true")


def test_deployment_flow_and_work_pool_are_related_as_in_prefects_own_events() -> None:
    related = opened(incident(tags=("sla", "x" * 300))).related
    assert [dict(resource) for resource in related] == [
        {
            "prefect.resource.id": "prefect.deployment.etl/nightly",
            "prefect.resource.role": "deployment",
            "prefect.resource.name": "nightly",
        },
        {
            "prefect.resource.id": "prefect.flow.flow of etl/nightly",
            "prefect.resource.role": "flow",
            "prefect.resource.name": "etl",
        },
        {
            "prefect.resource.id": "prefect.work-pool.pool-id",
            "prefect.resource.role": "work-pool",
            "prefect.resource.name": "etl-pool",
        },
        {"prefect.resource.id": "prefect.tag.sla", "prefect.resource.role": "tag"},
        {"prefect.resource.id": "prefect.flow-run.run-0", "prefect.resource.role": "flow-run"},
    ]


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("work-pool", "gone", ("prefect.work-pool.the-id", "work-pool", "gone")),
        ("work-queue", "gone/fast", ("prefect.work-queue.the-id", "work-queue", "fast")),
        ("flow", "adhoc", ("prefect.flow.the-id", "flow", "adhoc")),
        ("global-concurrency-limit", "api", ("prefect.concurrency-limit.the-id", "concurrency-limit", "api")),
    ],
)
def test_other_subjects_are_related_too(kind: Any, name: str, expected: tuple[str, str, str]) -> None:
    flow = name if kind == "flow" else None
    about = finding(runs=0, subject=Subject(kind=kind, id="the-id", name=name), deployment=None, flow=flow)
    [resource] = opened(incident(of=about).model_copy(update={"pool": None})).related
    assert tuple(resource[f"prefect.resource.{label}"] for label in ("id", "role", "name")) == expected


@pytest.mark.parametrize(("runs", "tags", "shown"), [(0, 0, 0), (1, 3, 1), (97, 0, 97), (98, 0, 97), (1_500, 50, 77)])
def test_a_hundred_resources_are_related_and_the_runs_that_are_left_out_are_counted(
    runs: int, tags: int, shown: int
) -> None:
    event = opened(incident(of=finding(runs=runs), tags=tuple(f"tag-{number}" for number in range(tags))))
    roles = [resource["prefect.resource.role"] for resource in event.related]
    assert len(roles) <= MAX_RELATED
    assert roles.count("flow-run") == shown
    assert event.payload["flow_run_count"] == runs
    assert event.payload["flow_runs_left_out"] == runs - shown


def test_the_first_run_that_is_related_is_the_findings_first() -> None:
    # Prefect's actions on a flow run take the first one that they meet.
    runs = [
        resource["prefect.resource.id"]
        for resource in opened(incident(of=finding(runs=5))).related
        if "run" in str(resource)
    ]
    assert runs[0] == "prefect.flow-run.run-0"


def test_the_same_step_has_the_same_id_and_others_have_others() -> None:
    first, second = Step(to="firing", at=NOW, reason="found"), Step(to="updated", at=NOW, reason="worse")
    moved = incident(7, first, second)
    later = moved.model_copy(update={"finding": finding(runs=9, severity="warning")})
    ids = [incident_event(moved, step, SEEN).id for step in (first, second)]
    assert incident_event(later, first, SEEN).id == ids[0]
    elsewhere = SEEN.model_copy(update={"target": "staging"})
    others = [incident_event(incident(8, first), first, SEEN).id, incident_event(moved, first, elsewhere).id]
    assert len({*ids, *others}) == 4


def test_steps_are_emitted_once_and_in_their_order() -> None:
    one = incident(1, Step(to="firing", at=NOW, reason="found"))
    outbox = queued(incident(2), one)
    assert names(outbox) == [("watchdog.incident.opened", "W-1"), ("watchdog.incident.opened", "W-2")]
    sent = outbox.model_copy(update={"queue": ()})
    later = NOW + minutes(5)
    assert queued(one, incident(2), outbox=sent, at=later).queue == ()
    resolved = one.moved(Step(to="resolved", at=later, reason="succeeded"), resolved_at=later)
    assert names(queued(incident(2), outbox=sent, at=later, closed=[resolved])) == [
        ("watchdog.incident.resolved", "W-1")
    ]


@pytest.mark.parametrize(("opened_at_once", "shown"), [(1, 98), (51, 98), (52, 96), (100, 50), (1_000, 5), (3_000, 5)])
def test_the_more_is_emitted_at_once_the_fewer_runs_each_has(opened_at_once: int, shown: int) -> None:
    many = [incident(number + 1, of=finding(f"etl/{number}", runs=300)) for number in range(opened_at_once)]
    events = [delivery.event for delivery in queued(*many).queue if delivery.event]
    assert len(events) == opened_at_once
    for event in events:
        assert [resource["prefect.resource.role"] for resource in event.related].count("flow-run") == shown
        assert event.payload["flow_runs_left_out"] == 300 - shown


def test_what_waits_in_the_queue_is_not_put_there_twice() -> None:
    before = queued(incident(1)).model_copy(update={"events_until": None})
    assert len(queued(incident(1), outbox=before).queue) == 1


def test_steps_that_were_saved_before_a_check_died_are_emitted_by_the_next() -> None:
    outbox = queued(at=NOW)
    saved = incident(3, Step(to="firing", at=NOW + minutes(5), reason="found"))
    assert names(queued(saved, outbox=outbox, at=NOW + minutes(10))) == [("watchdog.incident.opened", "W-3")]


def test_no_step_is_lost_when_the_clock_is_set_back() -> None:
    outbox = queued(at=NOW)
    back = NOW - timedelta(hours=1)
    assert names(queued(incident(3, Step(to="firing", at=back, reason="found")), outbox=outbox, at=back)) == [
        ("watchdog.incident.opened", "W-3")
    ]


hostile = st.text(max_size=40) | st.sampled_from([samples.HOSTILE, "x" * 6_000, "a\0b", "*", "!etl", "[a-z]", "‮abc"])


@given(
    name=hostile,
    tags=st.lists(hostile, max_size=150),
    runs=st.integers(0, 300),
    owner=st.none() | hostile,
)
def test_a_server_takes_every_event_whatever_names_there_are(
    name: str, tags: list[str], runs: int, owner: str | None
) -> None:
    subject = Subject(kind="deployment", id="an-id", name=f"{name}/{name}")
    about = finding(f"{name}/{name}", runs=runs, owner=owner, subject=subject)
    event = as_the_server_reads_it(opened(incident(of=about, tags=tuple(tags))))
    assert event.size_bytes < PREFECT_EVENTS_MAXIMUM_SIZE_BYTES.value() / 2
    assert "\\u0000" not in event.model_dump_json()
    # What PostgreSQL can put into an index.
    assert max(len(resource.id.encode()) for resource in event.involved_resources) < 2_000


def test_a_completed_check_says_of_which_target_it_is_and_which_run_made_it() -> None:
    report = samples.bad()
    event = check_completed(report, "run-id")
    assert event.name == "watchdog.check.completed"
    assert event.resource["prefect.resource.id"] == "watchdog.check.prod"
    assert event.resource["watchdog.status"] == report.status
    assert [dict(resource) for resource in event.related] == [
        {"prefect.resource.id": "prefect.flow-run.run-id", "prefect.resource.role": "flow-run"}
    ]
    assert check_completed(report, "run-id").id == event.id != check_completed(report, "another").id
    as_the_server_reads_it(event)
