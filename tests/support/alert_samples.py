"""Alerts to render: of one incident, of a group, of hundreds, over, known before, and hostile throughout."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from monitoring.model.finding import Cause, Finding, Subject
from monitoring.model.incident import Acknowledgement, Incident, ResolutionReason
from monitoring.model.outbox import MAX_SHOWN, About, Content, Delivery
from monitoring.text.links import work_pool_url
from tests.support import samples
from tests.support.samples import NOW, UI

_FINDINGS = {(finding.check, finding.subject.name): finding for finding in samples.bad().findings}


def incident(finding: Finding, number: int = 12, **fields: Any) -> Incident:
    """Make an incident that began when its condition did."""
    values = {"finding": finding, "number": number, "opened_at": finding.since, "fired_at": finding.since}
    return Incident.model_validate({**values, **fields})


def resolved(known: Incident, why: ResolutionReason = "succeeded") -> Incident:
    """The incident, resolved now."""
    return known.model_copy(update={"resolved_at": NOW, "resolution": why})


def content(about: About, *incidents: Incident, **fields: Any) -> Content:
    """Make what a message says of incidents, as it is decided: at most as many as a message shows."""
    firing = [known for known in incidents if known.resolved_at is None]
    values: dict[str, Any] = {
        "about": about,
        "target": "prod",
        "at": NOW,
        "incidents": incidents[:MAX_SHOWN],
        "total": len(incidents),
        "open": len(firing),
        "severity": min(known.finding.severity for known in firing or incidents),
        "ui_url": UI,
    }
    return Content.model_validate({**values, **fields})


def delivery(shown: Content, **fields: Any) -> Delivery:
    """Make a place in the queue for it."""
    return Delivery.model_validate({"id": "prod-7", "kind": "post", "content": shown, "queued_at": NOW, **fields})


#: A deployment that failed three times; a path to its cause, an owner, and a traceback.
FAILED = incident(_FINDINGS["failed", "etl/nightly"])
#: Runs that wait for a work pool, and another deployment's that wait for the same.
LATE = incident(_FINDINGS["late", "reports/daily"], 13, pool="k8s")
ALSO_LATE = incident(_FINDINGS["late", "reports/hourly"].model_copy(update={"symptom_of": None}), 14, pool="k8s")
STALE = incident(_FINDINGS["stale", "etl/nightly"], 15)
HOSTILE = incident(_FINDINGS["crashed", f"ml/{samples.HOSTILE}"], 16)
SCHEDULER = incident(samples.scheduler_finding(), 17)


def _for_long(known: Incident) -> Incident:
    return known.model_copy(update={"opened_at": NOW - timedelta(days=20)})


ACKNOWLEDGED = FAILED.model_copy(
    update={"acknowledged": Acknowledgement(by="ana", at=NOW, note="asked the vendor"), "reopened": 2}
)
POOL = incident(
    Finding(
        fingerprint="prod/work-pool/work-pool/k8s",
        check="work-pool",
        severity="critical",
        subject=Subject(kind="work-pool", id="id-k8s", name="k8s"),
        flow_run_ids=("run-1", "run-2"),
        flow_run_count=37,
        summary="k8s: 37 runs wait, and no worker is alive",
        observed="no worker has ever sent a heartbeat",
        expected="a worker that sends heartbeats",
        since=NOW - timedelta(minutes=20),
        url=work_pool_url(UI, "k8s"),
        cause=Cause(kind="work-pool", name="k8s", reason="no-live-worker"),
    ),
    18,
    pool="k8s",
)


def many(number: int) -> list[Incident]:
    """Deployments that failed, in two pools."""
    return [
        incident(
            samples.finding(
                "failed", f"etl/load-{n}", summary="the last run failed: ValueError: no rows", owner="data"
            ),
            100 + n,
            pool=f"pool-{n % 2}",
        )
        for n in range(number)
    ]


#: What there may be to say, by a name for each.
ALERTS: dict[str, Content] = {
    "one failed": content("opened", FAILED),
    "one late, sent late": content("opened", LATE, notes=("W-13 was suppressed until now: quiet hours",)),
    "acknowledged, inhibited": content("opened", ACKNOWLEDGED, explained_by={"W-12": "W-9"}),
    "a pool": content("opened", POOL),
    "the scheduler": content("risen", SCHEDULER),
    "hundreds": content("opened", *many(300)),
    "a group, one of it resolved": content("opened", *many(3), resolved(FAILED)),
    "of one cause": content("joined", LATE, ALSO_LATE),
    "back": content("reopened", FAILED),
    "still": content("repeated", STALE, FAILED),
    "one resolved": content("resolved", resolved(LATE)),
    "a group, all resolved": content("opened", *map(resolved, many(12))),
    "details": content("details", FAILED, traceback=True),
    "details without traceback": content("details", FAILED, LATE),
    "preexisting": content("preexisting", FAILED, LATE, *map(_for_long, (STALE, HOSTILE)), SCHEDULER),
}
