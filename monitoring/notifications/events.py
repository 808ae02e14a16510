"""Steps of incidents as Prefect events, on which people's own automations can act.

A trigger sees the labels of an event's resources and not its payload, so whatever somebody may want to match is a
label. Names are in labels as they are: patterns are in triggers, never in labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import NAMESPACE_URL, uuid5

from monitoring.model.finding import Finding
from monitoring.model.incident import Incident, Incidents, Step
from monitoring.model.observation import Observation
from monitoring.model.outbox import Delivery, Event, Outbox
from monitoring.model.report import HealthReport

#: Related resources that a server takes (prefect/settings/models/server/events.py, ``maximum_related_resources``).
MAX_RELATED = 100
#: Characters of a label or of a text in the payload: a server drops an event of more than 1.5 MB without an error
#: (prefect/server/events/messaging.py), and a hundred resources have a name each.
MAX_TEXT = 1_000
#: Longer tags are left out: they are part of a resource's id, and PostgreSQL has an index on those that refuses 2.7 kB
#: and with it the events of everybody that the server was about to store.
MAX_TAG = 200
#: Runs related to all events of one check, and to each however many there are: a queue of thousands is written often.
MAX_RUNS = 5_000
MIN_RUNS = 5
#: So many tags come before the runs.
MAX_TAGS = 20

CHECK_COMPLETED = "watchdog.check.completed"
OPENED = "watchdog.incident.opened"
_NAMES = {"firing": OPENED, "updated": "watchdog.incident.updated", "resolved": "watchdog.incident.resolved"}
_NAMESPACE = uuid5(NAMESPACE_URL, "prefect-watchdog")


def with_events(outbox: Outbox, incidents: Incidents, closed: Sequence[Incident], observation: Observation) -> Outbox:
    """Queue an event for each step that incidents have taken since the last check.

    Args:
        outbox: Knows the time up to which steps have become events.
        incidents: The open incidents.
        closed: The incidents that were closed recently.
        observation: Its time is that of the newest steps.
    """
    now, until = observation.at, outbox.events_until
    # Where the clock was set back, some are queued again, which changes nothing as their ids are the same.
    since = None if until is None else min(until, now)
    steps = [
        (step.at, incident.number, incident, step)
        for incident in (*closed, *incidents.open.values())
        for step in incident.history
        if incident.number and step.to in _NAMES and (since is None or step.at > since or step.at == now)
    ]
    if not steps:
        return outbox
    steps.sort(key=lambda row: (row[0], row[1]))
    known = {delivery.id for delivery in outbox.queue}
    max_runs = max(MIN_RUNS, MAX_RUNS // len(steps))
    fresh: dict[str, Delivery] = {}
    for _, _, incident, step in steps:
        event = incident_event(incident, step, observation, max_runs)
        if event.id not in known:
            fresh.setdefault(event.id, Delivery(id=event.id, kind="event", event=event, queued_at=now))
    return outbox.model_copy(update={"queue": (*outbox.queue, *fresh.values()), "events_until": now})


def incident_event(incident: Incident, step: Step, observation: Observation, max_runs: int = MAX_RELATED) -> Event:
    """The event of one step; the same step always gives the same id.

    Args:
        incident: As it is now.
        step: One of its steps.
        observation: Knows the ids of flow and work pool.
        max_runs: How many runs are related to it; the rest is counted.
    """
    finding, target = incident.finding, observation.target
    places, runs = list(_places(incident, observation)), list(finding.flow_run_ids[:max_runs])
    tags = [tag for tag in incident.tags if len(tag) <= MAX_TAG]
    first = [*places, *(_resource("tag", _text(tag)) for tag in tags[:MAX_TAGS])]
    related = [*first, *(_resource("flow-run", run) for run in runs)][:MAX_RELATED]
    shown = len(related) - len(first)
    return Event(
        id=str(uuid5(_NAMESPACE, f"{target}/{incident.id}/{step.at.isoformat()}/{step.to}/{step.reason}")),
        name=_NAMES[step.to],
        at=step.at,
        resource={
            "prefect.resource.id": f"watchdog.incident.{target}.{incident.id}",
            "prefect.resource.name": incident.id,
            "watchdog.target": target,
            "watchdog.check": finding.check,
            "watchdog.severity": finding.severity,
            "watchdog.reason": step.reason,
            "watchdog.known-before": _truth(incident.preexisting),
            "watchdog.symptom": _truth(finding.symptom_of is not None),
            **_named("watchdog.deployment", finding.deployment),
            **_named("watchdog.flow", finding.flow),
            **_named("watchdog.work-pool", incident.pool),
            **_named("watchdog.owner", finding.owner),
        },
        related=tuple(related),
        payload={
            "incident": incident.id,
            "reason": step.reason,
            "check": finding.check,
            "severity": finding.severity,
            "subject": _text(finding.subject.name),
            "summary": _text(finding.summary),
            "owner": finding.owner and _text(finding.owner),
            "url": finding.url and _text(finding.url),
            "since": finding.since.isoformat(),
            "known_before": incident.preexisting,
            "symptom": finding.symptom_of is not None,
            "flow_run_count": finding.flow_run_count,
            "flow_runs_left_out": max(finding.flow_run_count, len(finding.flow_run_ids)) - shown,
        },
    )


def _places(incident: Incident, observation: Observation) -> Iterator[dict[str, str]]:
    """What the incident is about, under the names and ids that Prefect's own events have (server/models/events.py)."""
    finding, subject = incident.finding, incident.finding.subject
    deployment = observation.deployments.get(subject.key)
    if subject.kind == "deployment":
        yield _resource("deployment", subject.id, _own_name(finding))
    flow_id = subject.id if subject.kind == "flow" else deployment.flow_id if deployment else None
    if flow_id and finding.flow:
        yield _resource("flow", flow_id, finding.flow)
    if subject.kind == "work-queue":
        yield _resource("work-queue", subject.id, subject.name.rpartition("/")[2])
    pool = observation.pools.work_pools.get(incident.pool or "")
    if pool is not None:
        yield _resource("work-pool", pool.id, pool.name)
    elif subject.kind == "work-pool":
        yield _resource("work-pool", subject.id, subject.name)
    if subject.kind == "global-concurrency-limit":
        yield _resource("concurrency-limit", subject.id, subject.name)


def _own_name(finding: Finding) -> str:
    """A deployment's name without its flow's."""
    return finding.subject.name.removeprefix(f"{finding.flow}/")


def _resource(role: str, resource_id: str, name: str | None = None) -> dict[str, str]:
    labels = {"prefect.resource.id": f"prefect.{role}.{resource_id}", "prefect.resource.role": role}
    return {**labels, **_named("prefect.resource.name", name)}


def _named(label: str, name: str | None) -> dict[str, str]:
    return {label: _text(name)} if name else {}


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _text(text: str) -> str:
    """Text of a bounded length that PostgreSQL can store."""
    return text[:MAX_TEXT].replace("\0", "")


def check_completed(report: HealthReport, run_id: str) -> Event:
    """The event by which others see that the watchdog works.

    Args:
        report: The report of the check.
        run_id: The check's own flow run.
    """
    return Event(
        id=str(uuid5(_NAMESPACE, f"{report.target}/check/{run_id}")),
        name=CHECK_COMPLETED,
        at=report.at,
        resource={
            "prefect.resource.id": check_resource(report.target),
            "prefect.resource.name": report.target,
            "watchdog.target": report.target,
            "watchdog.status": report.status,
        },
        related=(_resource("flow-run", run_id),),
        payload={
            "status": report.status,
            "complete": report.coverage.complete,
            "findings": len(report.findings),
            "incidents": len(report.incidents),
        },
    )


def check_resource(target: str) -> str:
    """The id of the resource that ``watchdog.check.completed`` is about: the check of one target."""
    return f"watchdog.check.{target}"
