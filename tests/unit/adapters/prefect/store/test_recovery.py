"""Lost documents: people are notified once more of what is open, in one notification that says why."""

from __future__ import annotations

from datetime import timedelta

import pytest

from monitoring.adapters.prefect.store.recovery import find_lost, recover
from monitoring.model.incident import Incidents
from monitoring.model.ledger import Ledger
from monitoring.model.outbox import Outbox
from tests.support.builders import NOW, minutes
from tests.support.simulation import POOL, Watchdog, ids, problem

CHECKED = Ledger(cursor=NOW)
OPEN = (
    problem("etl/a", "stuck"),
    problem("etl/b", "late"),
    problem("etl/c", "zombie", severity="critical"),
    problem("gpu", "work-pool", kind="work-pool", severity="critical", cause=POOL),
)


def lose(watchdog: Watchdog, *documents: str) -> None:
    """Go on as the next check does when these documents are gone."""
    incidents = Incidents() if "incidents" in documents else watchdog.incidents
    outbox = Outbox() if "outbox" in documents else watchdog.outbox
    lost = find_lost(documents, incidents, CHECKED)
    assert lost == set(documents)
    now = watchdog.now + minutes(5)
    watchdog.incidents, watchdog.outbox = recover(incidents, outbox, watchdog.closed, lost, now)


@pytest.mark.parametrize("documents", [("incidents",), ("outbox",), ("incidents", "outbox")])
def test_one_notification_says_that_the_saved_state_was_lost(documents: tuple[str, ...]) -> None:
    watchdog = Watchdog()
    gone = problem("etl/gone", "slow")
    watchdog.check(*OPEN, gone)
    watchdog.check(*OPEN)
    before = {incident.id for incident in watchdog.incidents.open.values()}
    posts = len(watchdog.channel.messages)

    lose(watchdog, *documents)
    for _ in range(6):
        watchdog.check(*OPEN)
    [message] = watchdog.channel.messages[posts:]
    assert "saved incidents or notifications were deleted" in message.posted.notes[0]
    assert (message.posted.total, message.posted.severity) == (len(OPEN), "critical")
    after = {incident.id for incident in watchdog.incidents.open.values()}
    if documents == ("outbox",):
        assert after == before
    elif documents == ("incidents",):
        assert not after & before, "numbers go on"
    assert len({delivery.id for delivery in watchdog.channel.log}) == len(watchdog.channel.log)

    # What comes later is news of its own, and what is over is resolved in the notification that people have.
    watchdog.check(*OPEN, problem("etl/new", "failed"))
    assert [ids(new.posted) for new in watchdog.channel.messages[posts + 1 :]] == [
        [watchdog.fires(problem("etl/new", "failed")).id]
    ]
    for _ in range(6):
        watchdog.check(problem("etl/new", "failed"))
    assert message.content.open == 0
    assert [reply.content.about for reply in message.replies if reply.content][-1] == "resolved"


@pytest.mark.parametrize(
    ("unread", "cursor", "lost"),
    [
        # The very first check died before it had saved everything.
        ({"incidents", "outbox"}, None, set()),
        ({"outbox"}, None, set()),
        ({"incidents"}, NOW, {"incidents"}),
        ({"incidents", "outbox"}, NOW, {"incidents", "outbox"}),
        ({"outbox"}, NOW, {"outbox"}),
        (set(), NOW, set()),
    ],
)
def test_a_document_that_is_not_written_yet_is_not_lost(unread: set[str], cursor: object, lost: set[str]) -> None:
    watchdog = Watchdog()
    watchdog.check(*OPEN)
    incidents = Incidents() if "incidents" in unread else watchdog.incidents
    assert find_lost(unread, incidents, Ledger.model_validate({"cursor": cursor})) == lost


def test_an_outbox_without_which_nobody_was_notified_is_not_lost() -> None:
    for incidents in (Incidents(), preexisting()):
        assert find_lost({"outbox"}, incidents, CHECKED) == set()


def preexisting() -> Incidents:
    """What the first check found, with numbers, as an earlier version saved them without an outbox."""
    watchdog = Watchdog(settled=False)
    watchdog.check(*OPEN, after=timedelta(0))
    assert all(incident.preexisting and incident.number for incident in watchdog.incidents.open.values())
    return watchdog.incidents


def test_the_server_keeps_its_id() -> None:
    watchdog = Watchdog()
    watchdog.check(problem("etl/gone", "slow"))
    watchdog.check()
    incidents, _ = recover(Incidents(), Outbox(), watchdog.closed, {"incidents"}, NOW)
    assert incidents.target_id == "prod"
