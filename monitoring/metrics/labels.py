"""The labels of a sample, with the names that others chose made harmless for what keeps and shows them."""

from __future__ import annotations

import hashlib
import re

from monitoring.metrics.catalog import PREFIX, TARGET
from monitoring.metrics.snapshot import Metric, Sample, Snapshot
from monitoring.text.escaping import clean

#: Characters of a value. In UTF-8 that is less than any limit that receivers are known to have, 1,024 bytes.
LONGEST = 200
_DIGITS = 8


def label_names(metric: Metric) -> tuple[str, ...]:
    """The names of the labels that samples of a metric have, ``target`` first.

    A metric that bears another exporter's name has that one's labels and no other.
    """
    return (TARGET, *metric.labels) if metric.name.startswith(PREFIX) else metric.labels


def label_values(metric: Metric, snapshot: Snapshot, sample: Sample) -> tuple[str, ...]:
    """The values of these labels, as they were measured: hostile text."""
    return (snapshot.target, *sample.labels) if metric.name.startswith(PREFIX) else sample.labels


def harmless(text: str, limit: int = LONGEST, unsafe: re.Pattern[str] | None = None) -> str:
    """Make a label's value of visible characters; text that is so already stays as it is.

    What had to be changed ends with a digest of the whole, so that two names do not become one.

    Args:
        text: Anything.
        limit: The most characters of the answer.
        unsafe: What the receiver would misread, each to be an underscore.
    """
    safe = unsafe.sub("_", text) if unsafe else text
    if clean(safe, limit) == text:
        return text
    digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:_DIGITS]
    return f"{clean(safe, limit - _DIGITS - 2)} ~{digest}".lstrip()
