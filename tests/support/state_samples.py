"""Saved states: of every document something, and the documents as an earlier version saved them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from monitoring.model.finding import Finding, Subject
from monitoring.model.incident import Incident, Incidents
from monitoring.model.ledger import EndedRun, Ledger, Record
from monitoring.model.outbox import Delivery, Notification, Outbox, Suppression, SuppressionReason
from monitoring.model.request import Silences
from monitoring.model.saved_state import Published, PublishedArtifact, SavedState
from monitoring.model.silence import Silence

NOW = datetime(2026, 3, 15, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)
_FOLDER = Path(__file__).parent / "documents_before"


def documents_before() -> dict[str, str]:
    """The bodies by the name of their document."""
    return {file.stem: file.read_text() for file in sorted(_FOLDER.iterdir()) if file.name != "README.md"}


def incident(name: str, *, opened: datetime = NOW - DAY, resolved: datetime | None = None) -> Incident:
    finding = Finding(
        fingerprint=f"prefect/failed/deployment/{name}",
        check="failed",
        severity="warning",
        subject=Subject(kind="deployment", id=name, name=f"flow/{name}"),
        flow_run_ids=("a", "b"),
        flow_run_count=2,
        summary="the latest run failed",
        observed="FAILED: \0 é | `x`",
        expected="COMPLETED",
        since=opened,
    )
    return Incident(
        finding=finding,
        opened_at=opened,
        resolved_at=resolved,
        resolution="succeeded" if resolved else None,
    )


def a_state(*, cursor: datetime = NOW, open_: str = "open", closed: tuple[Incident, ...] = ()) -> SavedState:
    run = EndedRun(
        id="r", name="n", state_type="FAILED", state_name="Failed", ended=NOW, run_time=timedelta(seconds=1.5)
    )
    version = Published(id="v", created=NOW)
    return SavedState(
        ledger=Ledger(since=NOW - DAY, cursor=cursor, recent={"r": NOW}, records={"d": Record(last_ended=run)}),
        incidents=Incidents(
            open={open_: incident(open_)}, next_number=7, began_at=NOW, baselined_at=NOW, target_id="prefect"
        ),
        silences=Silences(known=(Silence(id="S-1", check="late", starts_at=NOW, ends_at=NOW + DAY),), next_number=2),
        outbox=Outbox(
            queue=(Delivery(id="prod-1", kind="post", route="default", notification=1, queued_at=NOW),),
            notifications=(
                Notification(number=1, route="default", group="check failed", posted_at=NOW, changed_at=NOW),
            ),
            suppressed={7: Suppression(reason=SuppressionReason.SILENCED, by="S-1", note="known", until=NOW)},
            events_until=NOW,
            summarised=True,
        ),
        closed=closed,
        artifacts={"watchdog-health": PublishedArtifact(identity="i", versions=(version,))},
    )
