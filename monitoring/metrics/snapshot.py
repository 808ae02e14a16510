"""What is measured, as values, whatever system it goes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import AwareDatetime, Field

from monitoring.model.base import Value

Kind = Literal["gauge", "counter", "histogram"]


class Metric(Value):
    """Something that is measured, as Prometheus has it."""

    #: Without the suffix that a counter's samples have.
    name: str
    kind: Kind
    #: One sentence, for people.
    help: str
    labels: tuple[str, ...] = ()
    #: Upper bounds of a histogram's buckets, ascending, without the infinite one.
    buckets: tuple[float, ...] = ()


class Distribution(Value):
    """What a histogram counts."""

    #: How many were at most as large as each of the metric's bounds, and how many there are in all.
    cumulative: tuple[int, ...]
    sum: float


class Sample(Value):
    """One number, and what it is about."""

    #: In the order of the metric's labels; hostile text.
    labels: tuple[str, ...] = ()
    value: float | Distribution


class Snapshot(Value):
    """All that one check has measured. What it could not see is left out: unknown is not zero."""

    target: str
    at: AwareDatetime
    #: By the metric's name; one without samples is not there.
    samples: Mapping[str, tuple[Sample, ...]] = Field(default_factory=dict)
