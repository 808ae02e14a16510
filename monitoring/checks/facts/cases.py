"""The subjects that checks judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from monitoring.model.finding import Subject
from monitoring.model.observation import ConcurrencyLimit
from monitoring.model.policy import PolicyKey, policy_key
from monitoring.model.prefect import Deployment, WorkPool, WorkQueue

T = TypeVar("T")


class Queue(NamedTuple):
    """A work queue with its pool."""

    pool: WorkPool
    queue: WorkQueue


@dataclass(frozen=True)
class Case(Generic[T]):
    """One subject that a check judges.

    Args:
        subject: What a finding would be about.
        thing: The argument of the judging function: the deployment, the work pool, the limit.
        policy: The policy that applies; None for settings of the watchdog as a whole.
        deciding: The fields of the check's section that decide this case; None if the check's own fields do.
        deployment: The deployment or flow that the subject is, if it is one.
    """

    subject: Subject
    thing: T
    policy: PolicyKey | None = None
    deciding: tuple[str, ...] | None = None
    deployment: Deployment | None = None


def full_name(pool: WorkPool, queue: WorkQueue) -> str:
    """Name a work queue: its own name is unique only within its pool."""
    return f"{pool.name}/{queue.name}"


def subject_of(thing: Deployment | WorkPool | Queue | ConcurrencyLimit) -> Subject:
    """The subject of findings about one of Prefect's objects."""
    match thing:
        case Deployment():
            return Subject(kind=thing.kind, id=thing.id, name=thing.name)
        case WorkPool():
            return Subject(kind="work-pool", id=thing.id, name=thing.name)
        case Queue():
            return Subject(kind="work-queue", id=thing.queue.id, name=full_name(*thing))
        case ConcurrencyLimit():
            return Subject(kind=thing.kind, id=thing.name if thing.kind == "tag" else thing.id, name=thing.name)


def deployment_case(deployment: Deployment, thing: T) -> Case[T]:
    """A deployment or flow as a case, with the argument of the judging function."""
    return Case(subject_of(deployment), thing, policy_key(deployment), deployment=deployment)


def place_case(place: WorkPool | Queue, thing: T) -> Case[T]:
    """A work pool or queue as a case, with the argument of the judging function."""
    pool = place.pool if isinstance(place, Queue) else place
    return Case(subject_of(place), thing, PolicyKey(pool=pool.name))
