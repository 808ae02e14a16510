"""What becomes of incidents, as Prefect events: so that people's own automations can act on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from monitoring.alerting.values import Delivery, Event, Outbox
from monitoring.model import Incident, Incidents, Step
from monitoring.report import HealthReport

#: Related resources that a server takes (prefect/settings/models/server/events.py, ``maximum_related_resources``).
MOST_RELATED = 100
CHECK_COMPLETED = "watchdog.check.completed"
_NAMES = {
    "firing": "watchdog.incident.opened",
    "updated": "watchdog.incident.updated",
    "resolved": "watchdog.incident.resolved",
}
_NAMESPACE = uuid5(NAMESPACE_URL, "prefect-watchdog")


def with_events(outbox: Outbox, incidents: Incidents, closed: Sequence[Incident], target: str, now: datetime) -> Outbox:
    """Put an event into the queue for each step that incidents have taken since the last time.

    Args:
        outbox: What is to be said; it knows up to when steps are told.
        incidents: What is open.
        closed: What was closed recently.
        target: The target's configured name.
        now: The time of the check.
    """
    since = outbox.told_until
    steps = [
        (step.at, incident.number, incident, step)
        for incident in (*closed, *incidents.open.values())
        for step in incident.history
        if incident.number and step.to in _NAMES and (since is None or step.at > since)
    ]
    steps.sort(key=lambda row: (row[0], row[1]))
    queued = tuple(
        Delivery(id=event.id, kind="event", event=event, queued_at=now)
        for event in (incident_event(incident, step, target) for _, _, incident, step in steps)
    )
    known = {delivery.id for delivery in outbox.queue}
    fresh = tuple(delivery for delivery in queued if delivery.id not in known)
    return outbox.model_copy(update={"queue": (*outbox.queue, *fresh), "told_until": now})


def incident_event(incident: Incident, step: Step, target: str) -> Event:
    """The event of one step; the same step always gives the same id."""
    finding = incident.finding
    name = _NAMES[step.to]
    related = list(_related(incident))
    return Event(
        id=str(uuid5(_NAMESPACE, f"{target}/{incident.id}/{step.at.isoformat()}/{step.to}/{step.reason}")),
        name=name,
        at=step.at,
        resource={
            "prefect.resource.id": f"watchdog.incident.{target}.{incident.id}",
            "prefect.resource.name": incident.id,
            "watchdog.target": target,
            "watchdog.check": finding.check,
            "watchdog.severity": finding.severity,
        },
        related=tuple(related[:MOST_RELATED]),
        payload={
            "incident": incident.id,
            "reason": step.reason,
            "check": finding.check,
            "severity": finding.severity,
            "subject": finding.subject.name,
            "summary": finding.summary,
            "owner": finding.owner,
            "url": finding.url,
            "since": finding.since.isoformat(),
            "known_before": incident.known_before,
            "symptom": finding.symptom_of is not None,
            "flow_run_count": finding.flow_run_count,
            "related_left_out": max(0, len(related) - MOST_RELATED),
        },
    )


def _related(incident: Incident) -> Iterator[dict[str, str]]:
    finding = incident.finding
    if finding.subject.kind == "deployment":
        yield _resource("deployment", finding.subject.id, finding.subject.name)
    if finding.subject.kind == "work-pool":
        yield _resource("work-pool", finding.subject.id, finding.subject.name)
    for run_id in finding.flow_run_ids:
        yield _resource("flow-run", run_id)


def _resource(role: str, resource_id: str, name: str | None = None) -> dict[str, str]:
    labels = {"prefect.resource.id": f"prefect.{role}.{resource_id}", "prefect.resource.role": role}
    return labels if name is None else {**labels, "prefect.resource.name": name}


def check_completed(report: HealthReport, run_id: str) -> Event:
    """The event by which others see that the watchdog lives.

    Args:
        report: What the check had to say.
        run_id: The check's own flow run.
    """
    return Event(
        id=str(uuid5(_NAMESPACE, f"{report.target}/check/{run_id}")),
        name=CHECK_COMPLETED,
        at=report.at,
        resource={"prefect.resource.id": f"watchdog.check.{report.target}", "prefect.resource.name": report.target},
        related=({"prefect.resource.id": f"prefect.flow-run.{run_id}", "prefect.resource.role": "flow-run"},),
        payload={
            "status": report.status,
            "complete": report.coverage.complete,
            "findings": len(report.findings),
            "incidents": len(report.incidents),
        },
    )


def undelivered(queue: Iterable[Delivery]) -> list[Event]:
    """The events in a queue, in their order."""
    return [delivery.event for delivery in queue if delivery.event is not None]
