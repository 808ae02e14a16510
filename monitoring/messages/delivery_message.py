"""What a delivery says, whatever it is about."""

from __future__ import annotations

from monitoring.messages.alert_message import alert_message
from monitoring.messages.tables import cut
from monitoring.model.message import Message, Table
from monitoring.model.outbox import Delivery
from monitoring.text.limits import PLAIN, SLACK

_ROWS = max(SLACK.rows, PLAIN.rows)
_NESTED = max(SLACK.nested, PLAIN.nested)


def delivery_message(delivery: Delivery, *, whole: bool = False) -> Message:
    """The message of a notification or a digest.

    Args:
        delivery: No event.
        whole: Whether it says everything, for receivers without threads for the details.
    """
    if delivery.digest is not None:
        return delivery.digest.message
    assert delivery.content is not None, "events have no message"
    return alert_message(delivery.content, whole=whole)


def bounded(message: Message) -> Message:
    """The message without the rows that no receiver shows: an outbox is read and written often."""
    elements = (cut(one, _ROWS, _NESTED) if isinstance(one, Table) else one for one in message.elements)
    return message.model_copy(update={"elements": tuple(elements)})
