"""The labels of a sample; names from the server are made harmless for the systems that keep and show them."""

from __future__ import annotations

import hashlib
import re

from monitoring.metrics.catalog import PREFIX, TARGET
from monitoring.metrics.snapshot import Metric, Sample, Snapshot
from monitoring.text.escaping import clean

#: Characters of a value. In UTF-8, that stays below the lowest known limit of receivers, 1,024 bytes.
MAX_LENGTH = 200
_DIGITS = 8


def label_names(metric: Metric) -> tuple[str, ...]:
    """The names of a metric's labels, ``target`` first.

    A metric with another exporter's name has only that exporter's labels.
    """
    return (TARGET, *metric.labels) if metric.name.startswith(PREFIX) else metric.labels


def label_values(metric: Metric, snapshot: Snapshot, sample: Sample) -> tuple[str, ...]:
    """The values of these labels as measured: hostile text."""
    return (snapshot.target, *sample.labels) if metric.name.startswith(PREFIX) else sample.labels


def harmless(text: str, limit: int = MAX_LENGTH, unsafe: re.Pattern[str] | None = None) -> str:
    """Make a label's value of visible characters; harmless text stays as it is.

    Characters that the receiver would misread (``unsafe``) become underscores. A changed value ends with a digest of
    the original, so that two names do not become one.
    """
    safe = unsafe.sub("_", text) if unsafe else text
    if clean(safe, limit) == text:
        return text
    digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:_DIGITS]
    return f"{clean(safe, limit - _DIGITS - 2)} ~{digest}".lstrip()
