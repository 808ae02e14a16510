"""What the watchdog does when somebody has deleted or broken a document that it cannot do without."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from itertools import chain

from monitoring.model.finding import identity_in
from monitoring.model.incident import Incident, Incidents
from monitoring.model.ledger import Ledger
from monitoring.model.outbox import Outbox


def find_lost(unread: Collection[str], incidents: Incidents, ledger: Ledger) -> set[str]:
    """Which of the documents ``incidents`` and ``outbox`` are lost, and not only not written yet.

    The ledger is written last: with a cursor in it, a whole check has been saved. The outbox of a check that has found
    nothing is not written.

    Args:
        unread: The documents that do not exist or cannot be read.
        incidents: The open incidents, if they were read.
        ledger: The ledger.
    """
    if ledger.cursor is None:
        return set()
    lost = {"incidents"}.intersection(unread)
    if lost or any(incident.number and not incident.preexisting for incident in incidents.open.values()):
        lost |= {"outbox"}.intersection(unread)
    return lost


def recover(
    incidents: Incidents, outbox: Outbox, closed: Iterable[Incident], lost: Collection[str], now: datetime
) -> tuple[Incidents, Outbox]:
    """Go on without what is lost: no number is used twice, the server keeps its id, and nothing open is preexisting.

    What people were notified of is not known any more, so they are notified of all that is open once more, in one
    notification: ``lost_at`` makes it a group.

    Args:
        incidents: The open incidents; empty if they are lost.
        outbox: The outbox; empty if it is lost.
        closed: The recently closed incidents, newest first.
        lost: The names of the lost documents.
        now: The time of the check.
    """
    members = chain.from_iterable(notification.members for notification in outbox.notifications)
    closed = tuple(closed)
    used = max((*(incident.number for incident in closed), *(member.number for member in members)), default=0)
    changes: dict[str, object] = {"next_number": max(incidents.next_number, used + 1)}
    if not incidents.target_id and closed:
        changes["target_id"] = identity_in(closed[0].finding.fingerprint)
    if lost:
        changes["lost_at"] = now
    if "incidents" in lost:
        changes |= {"began_at": now, "baselined_at": now}
    if "outbox" in lost:
        # Slack has the ids of earlier deliveries, so these must be new: there were fewer than one a second.
        outbox = outbox.model_copy(update={"summarised": True, "next_delivery": int(now.timestamp())})
    return incidents.model_copy(update=changes), outbox
