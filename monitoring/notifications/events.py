"""Transitions of incidents as Prefect events, for people's own automations.

A trigger sees the labels of an event's resources and not its payload, so everything that people may want to match is a
label. Labels have names unchanged: patterns belong in triggers, never in labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import NAMESPACE_URL, uuid5

from monitoring.model.incident import Incident, Incidents, Step
from monitoring.model.observation import Observation
from monitoring.model.outbox import Delivery, Event, Outbox
from monitoring.model.report import HealthReport

#: Related resources that a server accepts (prefect/settings/models/server/events.py, ``maximum_related_resources``).
MAX_RELATED = 100
#: Characters of a label or of a text in the payload: a server drops an event of more than 1.5 MB without an error
#: (prefect/server/events/messaging.py), and a hundred resources each have a name.
MAX_TEXT = 1_000
#: Longer tags are left out: they are part of a resource's id. PostgreSQL's index of these ids rejects 2.7 kB, and with
#: it the whole batch of events that the server is storing.
MAX_TAG = 200
#: Runs related to all events of a check together, and at least to each event: a queue of thousands is written often.
MAX_RUNS = 5_000
MIN_RUNS = 5
#: Tags that come before the runs.
MAX_TAGS = 20

CHECK_COMPLETED = "watchdog.check.completed"
OPENED = "watchdog.incident.opened"
_NAMES = {"firing": OPENED, "updated": "watchdog.incident.updated", "resolved": "watchdog.incident.resolved"}
_NAMESPACE = uuid5(NAMESPACE_URL, "prefect-watchdog")


def with_events(outbox: Outbox, incidents: Incidents, closed: Sequence[Incident], observation: Observation) -> Outbox:
    """Queue an event for each step that open and recently closed incidents have taken since the last check."""
    now, until = observation.at, outbox.events_until
    # If the clock was set back, some are queued again with the same ids, which changes nothing.
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
    """The event of a step; the same step always has the same id. Runs beyond ``max_runs`` are only counted."""
    finding, target = incident.finding, observation.target
    subjects, runs = list(_subjects(incident, observation)), list(finding.flow_run_ids[:max_runs])
    tags = [tag for tag in incident.tags if len(tag) <= MAX_TAG]
    first = [*subjects, *(_resource("tag", _text(tag)) for tag in tags[:MAX_TAGS])]
    related = [*first, *(_resource("flow-run", run) for run in runs)][:MAX_RELATED]
    shown = len(related) - len(first)
    return Event(
        id=str(
            uuid5(_NAMESPACE, f"{observation.identity}/{incident.id}/{step.at.isoformat()}/{step.to}/{step.reason}")
        ),
        name=_NAMES[step.to],
        at=step.at,
        resource={
            "prefect.resource.id": f"watchdog.incident.{observation.identity}.{incident.id}",
            "prefect.resource.name": incident.id,
            "watchdog.target": target,
            "watchdog.check": finding.check,
            "watchdog.severity": finding.severity,
            "watchdog.reason": step.reason,
            "watchdog.known-before": str(incident.preexisting).lower(),
            "watchdog.symptom": str(finding.symptom_of is not None).lower(),
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


def _subjects(incident: Incident, observation: Observation) -> Iterator[dict[str, str]]:
    """The subjects of the incident, with the names and ids of Prefect's own events (server/models/events.py)."""
    finding, subject = incident.finding, incident.finding.subject
    deployment = observation.deployments.get(subject.key)
    if subject.kind == "deployment":
        yield _resource("deployment", subject.id, subject.name.removeprefix(f"{finding.flow}/"))
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


def _resource(role: str, resource_id: str, name: str | None = None) -> dict[str, str]:
    labels = {"prefect.resource.id": f"prefect.{role}.{resource_id}", "prefect.resource.role": role}
    return {**labels, **_named("prefect.resource.name", name)}


def _named(label: str, name: str | None) -> dict[str, str]:
    return {label: _text(name)} if name else {}


def _text(text: str) -> str:
    """Text of a bounded length that PostgreSQL can store."""
    return text[:MAX_TEXT].replace("\0", "")


def check_completed(report: HealthReport, run_id: str) -> Event:
    """The event that shows that the watchdog works; ``run_id`` is the check's own flow run."""
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
    """The resource id of ``watchdog.check.completed``: the check of a target."""
    return f"watchdog.check.{target}"
