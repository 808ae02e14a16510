"""Metrics as datagrams in the DogStatsD protocol, for a Datadog agent or any other DogStatsD receiver.

Rules: https://docs.datadoghq.com/extend/dogstatsd/datagram_shell (the datagrams) and
https://docs.datadoghq.com/getting_started/tagging/ (at most 200 characters of a tag, its key included, and no colon at
the end). The protocol has no escaping. Datadog itself converts tags to lower case and replaces characters other than
letters, digits and ``_-:./`` by underscores.

Counters are sent as gauges of their totals: the protocol's own counters are increments, and a lost or repeated
increment stays wrong forever, while the next gauge is right again. Datadog's ``monotonic_diff()`` gives the increase
(https://docs.datadoghq.com/dashboards/functions/rate/).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from monitoring.metrics.catalog import METRICS
from monitoring.metrics.labels import harmless, label_names, label_values
from monitoring.metrics.snapshot import Distribution, Metric, Sample, Snapshot

#: Bytes of a datagram that most networks do not fragment, and of a datagram that an agent reads from its Unix socket
#: (https://docs.datadoghq.com/extend/dogstatsd/high_throughput, ``dogstatsd_buffer_size``).
UDP_SIZE, UNIX_SIZE = 1_432, 8_192

_MAX_TAG = 200
#: Characters that end a tag or the list of tags, and the character that no tag may end with.
_UNSAFE = re.compile(r"[,|]|:\Z")


def datagrams(snapshot: Snapshot, definitions: Iterable[Metric] = METRICS, size: int = UDP_SIZE) -> list[bytes]:
    """Render these metrics of a snapshot in their order; a line longer than ``size`` bytes gets a datagram of its own.

    A histogram is two gauges, ``.count`` and ``.sum``: the protocol has no histograms that are already counted.
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
    """The numbers of a value, with the names under which they are sent."""
    if isinstance(value, Distribution):
        yield f"{metric.name}.count", value.cumulative[-1]
        yield f"{metric.name}.sum", value.sum
    else:
        yield f"{metric.name}_total" if metric.kind == "counter" else metric.name, value


def _tags(metric: Metric, snapshot: Snapshot, sample: Sample) -> str:
    pairs = zip(label_names(metric), label_values(metric, snapshot, sample), strict=True)
    tags = [f"{name}:{harmless(value, _MAX_TAG - len(name) - 1, _UNSAFE)}" for name, value in pairs if value]
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
