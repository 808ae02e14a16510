"""Measured values, independent of the exporters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from monitoring.model.base import Timestamp, Value

Kind = Literal["gauge", "counter", "histogram"]


class Metric(Value):
    """The definition of a metric, in Prometheus' terms."""

    #: Without the suffix of a counter's samples.
    name: str
    kind: Kind
    #: One sentence, for people.
    help: str
    labels: tuple[str, ...] = ()
    #: Upper bounds of a histogram's buckets, ascending, without the infinite one.
    buckets: tuple[float, ...] = ()


class Distribution(Value):
    """The counts of a histogram."""

    #: The number of values at most as large as each of the metric's bounds, and the number of all values.
    cumulative: tuple[int, ...]
    sum: float


class Sample(Value):
    """A value with its labels."""

    #: In the order of the metric's labels; hostile text.
    labels: tuple[str, ...] = ()
    value: float | Distribution


class Snapshot(Value):
    """The measurements of one check. Unobserved values are left out: unknown is not zero."""

    target: str
    at: Timestamp
    #: By the metric's name; metrics without samples are left out.
    samples: Mapping[str, tuple[Sample, ...]] = Field(default_factory=dict)
