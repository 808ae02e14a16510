"""What a delivery says, whatever it is about."""

from __future__ import annotations

from monitoring.config.alert_settings import DIGEST_ROUTE
from monitoring.messages.alert_message import alert_message
from monitoring.messages.tables import cut
from monitoring.model.message import Message, Table
from monitoring.model.outbox import Delivery
from monitoring.text.limits import PLAIN, SLACK

_NESTED = max(SLACK.nested, PLAIN.nested)
#: Slack counts a row with its nested rows as one.
_ROWS = max(SLACK.rows * (1 + _NESTED), PLAIN.rows)


def delivery_message(delivery: Delivery, *, whole: bool = False) -> Message:
    """The message of a notification or a digest; ``whole`` for receivers without threads for the details."""
    if delivery.digest is not None:
        # Whom a fallback mentions for alerts must not be mentioned every day.
        return delivery.digest.message.model_copy(update={"mentions": delivery.route == DIGEST_ROUTE})
    assert delivery.content is not None, "events have no message"
    return alert_message(delivery.content, whole=whole)


def bounded(message: Message) -> Message:
    """The message without the rows that no receiver shows: an outbox is read and written often."""
    elements = (cut(element, _ROWS, _NESTED) if isinstance(element, Table) else element for element in message.elements)
    return message.model_copy(update={"elements": tuple(elements)})
