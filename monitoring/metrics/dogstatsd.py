"""Numbers as datagrams in the DogStatsD protocol, for a Datadog agent and whatever else listens for it.

Rules: https://docs.datadoghq.com/extend/dogstatsd/datagram_shell (the datagrams) and
https://docs.datadoghq.com/getting_started/tagging/ (at most 200 characters of a tag, its key included, and no colon at
the end). Nothing in the protocol escapes anything. Datadog writes tags in small letters, and an underscore for whatever
is not a letter, a digit or one of ``_-:./``; other receivers do not, so that is left to it.

Counters are gauges here, of what they have risen to: the protocol's own counters are increments, and one that is lost
or sent twice stays wrong for ever, while the next gauge says it all. Datadog's ``monotonic_diff()`` gives the rise
(https://docs.datadoghq.com/dashboards/functions/rate/).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from monitoring.metrics.catalog import METRICS
from monitoring.metrics.labels import harmless, label_names, label_values
from monitoring.metrics.snapshot import Distribution, Metric, Sample, Snapshot

#: Bytes of a datagram that goes through most networks whole, and of one that an agent reads from its Unix socket
#: (https://docs.datadoghq.com/extend/dogstatsd/high_throughput, ``dogstatsd_buffer_size``).
UDP_SIZE, UNIX_SIZE = 1_432, 8_192

_LONGEST_TAG = 200
#: What ends a tag, or the list of them, and what no tag may end with.
_UNSAFE = re.compile(r"[,|]|:\Z")


def datagrams(snapshot: Snapshot, definitions: Iterable[Metric] = METRICS, size: int = UDP_SIZE) -> list[bytes]:
    """Render what is measured.

    A histogram is two gauges, ``.count`` and ``.sum``: the protocol has none that was counted elsewhere.

    Args:
        snapshot: The numbers.
        definitions: The metrics that are rendered, in this order.
        size: The most bytes of a datagram; a line that alone is longer goes alone.
    """
    return list(_packed(_lines(snapshot, definitions), size))


def _lines(snapshot: Snapshot, definitions: Iterable[Metric]) -> Iterator[str]:
    for metric in definitions:
        for sample in snapshot.samples.get(metric.name, ()):
            tags = _tags(metric, snapshot, sample)
            for name, number in _numbers(metric, sample.value):
                if math.isfinite(number):
                    yield f"{name}:{number:.15g}|g{tags}"


def _numbers(metric: Metric, value: float | Distribution) -> Iterator[tuple[str, float]]:
    """The numbers that a value is made of, by the names that they are sent under."""
    if isinstance(value, Distribution):
        yield f"{metric.name}.count", value.cumulative[-1]
        yield f"{metric.name}.sum", value.sum
    else:
        yield f"{metric.name}_total" if metric.kind == "counter" else metric.name, value


def _tags(metric: Metric, snapshot: Snapshot, sample: Sample) -> str:
    pairs = zip(label_names(metric), label_values(metric, snapshot, sample), strict=True)
    tags = [f"{name}:{harmless(value, _LONGEST_TAG - len(name) - 1, _UNSAFE)}" for name, value in pairs if value]
    return f"|#{','.join(tags)}" if tags else ""


def _packed(lines: Iterable[str], size: int) -> Iterator[bytes]:
    packed = b""
    for line in lines:
        encoded = line.encode()
        if packed and len(packed) + 1 + len(encoded) > size:
            yield packed
            packed = encoded
        else:
            packed = packed + b"\n" + encoded if packed else encoded
    if packed:
        yield packed
