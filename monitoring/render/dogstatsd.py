"""Numbers as datagrams in the DogStatsD protocol, for a Datadog agent and whatever else listens for it.

Rules: https://docs.datadoghq.com/extend/dogstatsd/datagram_shell (the datagrams) and
https://docs.datadoghq.com/getting_started/tagging/ (at most 200 characters of a tag, its key included, and no colon at
the end). Nothing in the protocol escapes anything. Datadog writes tags in small letters, and an underscore for whatever
is not a letter, a digit or one of ``_-:./``; other receivers do not, so that is left to it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping

from monitoring.metrics.catalog import METRICS
from monitoring.metrics.values import Distribution, Metric, Sample, Snapshot
from monitoring.render.labels import harmless, label_names, label_values

#: Bytes of a datagram that goes through most networks whole, and of one that an agent reads from its Unix socket
#: (https://docs.datadoghq.com/extend/dogstatsd/high_throughput, ``dogstatsd_buffer_size``).
UDP_SIZE, UNIX_SIZE = 1_432, 8_192

_LONGEST_TAG = 200
#: What ends a tag, or the list of them.
_SEPARATORS = re.compile(r"[,|]")


def datagrams(
    snapshot: Snapshot, before: Snapshot | None, definitions: Iterable[Metric] = METRICS, size: int = UDP_SIZE
) -> list[bytes]:
    """Render what is measured now, and how far counters have risen.

    A counter that has no value in ``before`` was unknown then, and one that fell has begun anew: neither tells how far
    it rose. A histogram is two counters, ``.count`` and ``.sum``: the protocol has none that was counted elsewhere.

    Args:
        snapshot: The numbers.
        before: The numbers of the check before.
        definitions: The metrics that are rendered, in this order.
        size: The most bytes of a datagram; a line that alone is longer goes alone.
    """
    return list(_packed(_lines(snapshot, before, definitions), size))


def _lines(snapshot: Snapshot, before: Snapshot | None, definitions: Iterable[Metric]) -> Iterator[str]:
    for metric in definitions:
        known = {one.labels: one.value for one in before.samples.get(metric.name, ())} if before else {}
        for sample in snapshot.samples.get(metric.name, ()):
            tags = _tags(metric, snapshot, sample)
            if metric.kind == "gauge":
                numbers, kind = _numbers(metric, sample.value), "g"
            else:
                numbers, kind = _rises(_numbers(metric, sample.value), _numbers(metric, known.get(sample.labels))), "c"
            for name, number in numbers.items():
                if math.isfinite(number):
                    yield f"{name}:{number:.15g}|{kind}{tags}"


def _numbers(metric: Metric, value: float | Distribution | None) -> dict[str, float]:
    """The numbers that a value is made of, by the names that they are sent under."""
    if value is None:
        return {}
    if isinstance(value, Distribution):
        return {f"{metric.name}.count": value.cumulative[-1], f"{metric.name}.sum": value.sum}
    return {f"{metric.name}_total" if metric.kind == "counter" else metric.name: value}


def _rises(now: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {name: number - before[name] for name, number in now.items() if name in before and number > before[name]}


def _tags(metric: Metric, snapshot: Snapshot, sample: Sample) -> str:
    pairs = zip(label_names(metric), label_values(metric, snapshot, sample), strict=True)
    values = ((name, harmless(value, _LONGEST_TAG - len(name) - 1)) for name, value in pairs)
    safe = ((name, _SEPARATORS.sub("_", value).rstrip(":")) for name, value in values)
    tags = [f"{name}:{value}" for name, value in safe if value]
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
