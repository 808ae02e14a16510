"""A digest to send."""

from __future__ import annotations

from monitoring.messages.report_messages import digest_message
from monitoring.model.outbox import Delivery, DigestContent, Outbox
from monitoring.model.report import DigestReport
from monitoring.notifications.outbox import queue_digest


def digest_content(report: DigestReport) -> DigestContent:
    """What is sent of a report."""
    return DigestContent(target=report.health.target, day=report.day, message=digest_message(report))


def digest_delivery(report: DigestReport) -> Delivery:
    """The delivery of a report."""
    (delivery,) = queue_digest(Outbox(), digest_content(report), report.health.at).queue
    return delivery
