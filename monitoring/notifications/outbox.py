"""What became of saying something: sent, to be tried again, or refused for good."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from monitoring.config.alert_settings import FALLBACK_ROUTE
from monitoring.config.settings import Config
from monitoring.model.outbox import Delivery, MessageRef, Outbox, Tally, Trouble

#: The first wait before what could not be said is tried again; each further one is twice as long, up to the longest.
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=1)
#: Nobody is waited for any longer, whatever they ask for.
_LONGEST_OF_ALL = timedelta(days=1)


def due(delivery: Delivery, now: datetime) -> bool:
    """Whether something may be tried now. What had to wait until long after now was noted by a clock that was ahead."""
    wait = timedelta(0) if delivery.not_before is None else delivery.not_before - now
    return not timedelta(0) < wait <= _LONGEST_OF_ALL


def sending(outbox: Outbox, delivery: Delivery) -> Outbox:
    """Note that something is about to be sent: should we die now, nobody knows whether it was."""
    return _with(outbox, delivery.model_copy(update={"doubtful": True, "attempts": delivery.attempts + 1}))


def sent(outbox: Outbox, delivery: Delivery, message: MessageRef | None) -> Outbox:
    """Note that something was sent.

    Args:
        outbox: Where it was in the queue.
        delivery: What was sent.
        message: Where it stands now, of a post that can be edited.
    """
    troubles = {route: one for route, one in outbox.troubles.items() if route != delivery.route}
    notices = tuple(
        notice.model_copy(update={"message": message})
        if delivery.kind == "post" and notice.number == delivery.notice
        else notice
        for notice in outbox.notices
    )
    queue = tuple(one for one in outbox.queue if one.id != delivery.id)
    tallies = _tallied(outbox, delivery.route, sent=1)
    return outbox.model_copy(update={"queue": queue, "notices": notices, "troubles": troubles, "tallies": tallies})


def handed_over(outbox: Outbox, events: Iterable[Delivery], now: datetime) -> Outbox:
    """Note that the server has taken these events. They stay until it is known to have kept them."""
    taken = {one.id for one in events}
    queue = tuple(
        one.model_copy(update={"sent_at": now, "attempts": one.attempts + 1}) if one.id in taken else one
        for one in outbox.queue
    )
    return outbox.model_copy(update={"queue": queue})


def all_sent(outbox: Outbox, deliveries: Iterable[Delivery]) -> Outbox:
    """Note that these were sent, which leave nothing that could be edited."""
    gone = {delivery.id for delivery in deliveries}
    return outbox.model_copy(update={"queue": tuple(one for one in outbox.queue if one.id not in gone)})


def failed(
    outbox: Outbox,
    delivery: Delivery,
    problem: str,
    now: datetime,
    config: Config,
    *,
    permanent: bool,
    doubtful: bool,
    retry_after: timedelta | None = None,
) -> Outbox:
    """Note that something could not be said.

    What its route refuses for good goes to the fallback route, with all that belongs to the same message; where there
    is none, or it is the fallback that refuses, it is tried again later, as people do mend their routes.

    Args:
        outbox: Where it is in the queue.
        delivery: What could not be said.
        problem: Why, and what to do, in one line.
        now: The time of the check.
        config: Knows the fallback route.
        permanent: Trying again cannot help.
        doubtful: It may have been said all the same.
        retry_after: When the receiver wants to be asked again.
    """
    troubles = dict(outbox.troubles)
    if delivery.route:
        since = troubles[delivery.route].since if delivery.route in troubles else now
        troubles[delivery.route] = Trouble(since=since, problem=problem, permanent=permanent)
    outbox = outbox.model_copy(update={"troubles": troubles, "tallies": _tallied(outbox, delivery.route, failed=1)})
    fallback = config.alerts.fallback.kind is not None and delivery.route not in ("", FALLBACK_ROUTE)
    if permanent and fallback:
        return _moved(outbox, delivery)
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(delivery.attempts, 10))
    return _with(
        outbox,
        delivery.model_copy(
            update={
                "doubtful": doubtful,
                "refused": permanent,
                "attempts": delivery.attempts + 1,
                "not_before": now + min(_LONGEST_OF_ALL, max(wait, retry_after or timedelta(0))),
            }
        ),
    )


def _moved(outbox: Outbox, refused: Delivery) -> Outbox:
    """Give a message and all that belongs to it to the fallback route, where it begins anew."""
    queue: list[Delivery] = []
    for delivery in outbox.queue:
        mine = delivery.id == refused.id or (refused.notice and delivery.notice == refused.notice)
        if not mine:
            queue.append(delivery)
            continue
        changes: dict[str, object] = {
            "route": FALLBACK_ROUTE,
            "doubtful": False,
            "refused": False,
            "attempts": 0,
            "not_before": None,
        }
        # There is no message there yet that could be edited or replied to.
        if delivery.id == refused.id and delivery.kind != "post":
            changes.update(kind="post", broadcast=False)
        queue.append(delivery.model_copy(update=changes))
    notices = tuple(
        notice.model_copy(update={"route": FALLBACK_ROUTE, "message": None})
        if notice.number == refused.notice
        else notice
        for notice in outbox.notices
    )
    return outbox.model_copy(update={"queue": tuple(queue), "notices": notices})


def _tallied(outbox: Outbox, route: str, *, sent: int = 0, failed: int = 0) -> dict[str, Tally]:
    before = outbox.tallies.get(route, Tally())
    return {**outbox.tallies, route: Tally(sent=before.sent + sent, failed=before.failed + failed)}


def _with(outbox: Outbox, delivery: Delivery) -> Outbox:
    return outbox.model_copy(
        update={"queue": tuple(delivery if one.id == delivery.id else one for one in outbox.queue)}
    )
