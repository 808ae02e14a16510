"""Findings: a problem of one subject, as a check found it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from monitoring.model.base import Timestamp, Value
from monitoring.model.prefect import flow_key

Severity = Literal["info", "warning", "critical"]

#: From the mildest to the worst.
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")


Status = Literal["ok", "warning", "critical", "unknown"]

#: The name of a check: ``late``. The registry of checks lists them all.
CheckName = str

SubjectKind = Literal[
    "deployment",
    "flow",
    "flow-run",
    "work-pool",
    "work-queue",
    "tag",
    "global-concurrency-limit",
    "error",
    "scheduler",
    "server",
    "route",
    "metrics-outlet",
]

CauseKind = Literal[
    "server",
    "scheduler",
    "work-pool",
    "work-queue",
    "deployment",
    "schedule",
    "tag",
    "global-concurrency-limit",
    "flow-run",
]

CauseReason = Literal[
    "no-live-worker",
    "not-polled",
    "paused",
    "limit-reached",
    "not-scheduling",
    "previous-run-running",
    "failed",
    "unreachable",
]


class Subject(Value):
    """The object that a finding is about."""

    kind: SubjectKind
    id: str
    name: str

    @property
    def key(self) -> str:
        """The key of a deployment or flow: ``Deployment.key``."""
        return flow_key(self.id) if self.kind == "flow" else self.id


class Cause(Value):
    """The cause of a finding, by name and from evidence."""

    kind: CauseKind
    name: str
    reason: CauseReason
    #: The runs that show it, such as those that hold the slots; at most ten.
    flow_run_ids: tuple[str, ...] = ()
    #: The path of a failure: parent, child, task.
    path: tuple[str, ...] = ()

    @property
    def what(self) -> tuple[CauseKind, str, CauseReason]:
        """The fields that are the same for all findings with this cause."""
        return (self.kind, self.name, self.reason)


class Finding(Value):
    """A problem of one subject.

    Findings of severity info open no incident: they inform, or, if ``unknown``, say that there is too little to judge
    by. ``flow_run_ids`` holds at most 1,000 ids, ``flow_run_count`` the number of runs. ``since`` is when the condition
    began, not when it was detected.
    """

    fingerprint: str
    check: CheckName
    severity: Severity
    subject: Subject
    flow: str | None = None
    deployment: str | None = None
    flow_run_ids: tuple[str, ...] = ()
    flow_run_count: int = 0
    summary: str
    observed: str
    expected: str
    since: Timestamp
    url: str | None = None
    #: Who should look, if the policy says so.
    owner: str | None = None
    #: Whether the subject could not be judged.
    unknown: bool = False
    #: Evidence in lines: the end of a traceback, the holders of slots.
    evidence: tuple[str, ...] = ()
    cause: Cause | None = None
    symptom_of: str | None = None

    @property
    def newest_run(self) -> str | None:
        """The id of the newest run that shows it; None without any."""
        return self.flow_run_ids[0] if self.flow_run_ids else None


#: The maximum number of run ids in a finding.
MAX_RUN_IDS = 1000


def fingerprint(identity: str, check: CheckName, kind: SubjectKind, subject_id: str) -> str:
    """The identity of a finding over time, without times, names and addresses; ``identity`` is that of the server."""
    return f"{identity}/{check}/{kind}/{subject_id}"


def identity_in(fingerprint: str) -> str:
    """The identity of the server in a fingerprint."""
    return fingerprint.partition("/")[0]


def rank(severity: Severity) -> int:
    """A severity's place in the order: the worse, the higher."""
    return SEVERITIES.index(severity)


def worst(severities: Iterable[Severity]) -> Severity:
    """The worst of several severities."""
    return max(severities, key=rank)
