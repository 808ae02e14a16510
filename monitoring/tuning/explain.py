"""Explains how the checks judge a deployment: the verdicts that concern it, and the settings that decided."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from monitoring.checks.base import Judged
from monitoring.checks.facts.run_times import bound
from monitoring.checks.findings import Verdict, nothing, runs_text
from monitoring.checks.registry import CHECKS
from monitoring.checks.slow import CHECK as SLOW
from monitoring.config.policy import Layer, Policies, format_value
from monitoring.history.baselines import typical
from monitoring.model.base import Value
from monitoring.model.finding import Finding, Subject
from monitoring.model.ledger import Ledger, Record
from monitoring.model.message import Bar
from monitoring.model.observation import Observation
from monitoring.model.policy import BasePolicy, policy_key
from monitoring.model.prefect import Deployment
from monitoring.text.durations import humanized

_MAX_BARS = 8
_GENERAL = ("watch", "owner", "severity", "expect")


class Limit(Value):
    """A setting that decides, as in the file, and where it was set."""

    name: str
    value: str
    source: str


@dataclass(frozen=True)
class Explained:
    """One verdict that concerns a deployment: about itself, its work pool or the server."""

    check: str
    subject: Subject
    verdict: Verdict
    #: Correlated; None if there is none, or another finding covers it.
    finding: Finding | None
    #: The settings that decided.
    limits: tuple[Limit, ...]


@dataclass(frozen=True)
class Explanation:
    """How the checks judge a deployment at some time."""

    deployment: Deployment
    at: datetime
    #: Settings for all its checks: whether it is watched, and its owner.
    general: tuple[Limit, ...]
    verdicts: tuple[Explained, ...]
    #: Run times of its newest completed runs, shortest first; empty without any.
    run_times: tuple[Bar, ...] = ()
    #: Findings elsewhere whose symptoms are the deployment's findings.
    causes: tuple[Finding, ...] = ()


def explain(
    observation: Observation,
    ledger: Ledger,
    policies: Policies,
    judged: Iterable[Judged],
    findings: Iterable[Finding],
    key: str,
) -> Explanation:
    """Explain one deployment: the verdicts of all checks, with their correlated findings."""
    deployment = observation.deployments[key]
    by_fingerprint = {finding.fingerprint: finding for finding in findings}
    general = policies.explain(*policy_key(deployment))
    concerning = [verdict for verdict in judged if _concerns(verdict.case.subject, deployment)]
    explained = [_explained(verdict, policies, by_fingerprint) for verdict in concerning]
    explained += _without_subject(deployment, policies, concerning)
    order = [check.name for check in CHECKS]
    shown = {entry.finding.fingerprint for entry in explained if entry.finding}
    heads = dict.fromkeys(entry.finding.symptom_of for entry in explained if entry.finding)
    return Explanation(
        deployment=deployment,
        at=observation.at,
        general=tuple(_limits(_GENERAL, general)),
        verdicts=tuple(sorted(explained, key=lambda entry: order.index(entry.check))),
        run_times=tuple(bars(ledger.record(key), policies.of(*policy_key(deployment)))),
        causes=tuple(by_fingerprint[head] for head in heads if head in by_fingerprint and head not in shown),
    )


def _concerns(subject: Subject, deployment: Deployment) -> bool:
    """Whether a subject is a deployment, its work pool or queue, or the server."""
    if subject.kind in ("deployment", "flow"):
        return subject.id == deployment.id
    names = (deployment.work_pool, f"{deployment.work_pool}/{deployment.work_queue}")
    return subject.kind in ("server", "scheduler") or (
        subject.kind in ("work-pool", "work-queue") and subject.name in names
    )


def _explained(judged: Judged, policies: Policies, findings: dict[str, Finding]) -> Explained:
    check, case = judged.check, judged.case
    found = judged.finding
    key = None if check.whole else case.policy
    settings = policies.explain(*key) if key else policies.settings()
    policy = policies.of(*key) if key else policies.config
    names = (f"{check.field}.enabled", *check.deciding_settings(policy, case))
    return Explained(
        check=check.name,
        subject=case.subject,
        verdict=judged.verdict,
        finding=findings.get(found.fingerprint) if found else None,
        limits=tuple(_limits(names, settings)),
    )


def _without_subject(deployment: Deployment, policies: Policies, judged: Iterable[Judged]) -> Iterator[Explained]:
    """The checks that have nothing to judge about a deployment, each with a verdict that states so."""
    subject = Subject(kind=deployment.kind, id=deployment.id, name=deployment.name)
    policy, settings = policies.of(*policy_key(deployment)), policies.explain(*policy_key(deployment))
    with_subject = {verdict.check.name for verdict in judged}
    for check in CHECKS:
        if check.name not in with_subject and not check.whole:
            limits = tuple(_limits((f"{check.field}.enabled", *check.deciding_settings(policy)), settings))
            yield Explained(check.name, subject, nothing("there is nothing to judge"), None, limits)


def _limits(names: Iterable[str], settings: Layer) -> Iterator[Limit]:
    for name in names:
        if name in settings:
            yield Limit(name=name, value=format_value(settings[name].value), source=settings[name].source)


def bars(record: Record, policy: BasePolicy) -> Iterator[Bar]:
    """Count the newest completed runs by run time, on a logarithmic scale, and mark the median and the limit."""
    took = sorted(seconds for _, seconds in record.run_times.recent)
    if not took:
        return
    usual, may = typical(record.run_times), bound(record.run_times, SLOW.settings(policy))
    marked = {"median": usual.total_seconds() if usual else 0.0}
    if may:
        marked["limit"] = may.limit.total_seconds()
    low, high = min(took[0], *marked.values()), max(took[-1], *marked.values())
    count = min(_MAX_BARS, max(1, math.ceil(math.log2(high / low))))
    # The last edge is slightly above the highest value, which thus lies within.
    ratio = (high / low * 1.001) ** (1 / count)
    edges = [low * ratio**n for n in range(count + 1)]
    for start, end in pairwise(edges):
        marks = [f"{name} {_span(value)}" for name, value in marked.items() if start <= value < end]
        count = sum(start <= seconds < end for seconds in took)
        text = runs_text(count) + (f" <- {', '.join(marks)}" if marks else "")
        yield Bar(label=f"up to {end:.1f} s" if end < 10 else f"up to {_span(end)}", value=count, text=text)


def _span(seconds: float) -> str:
    return humanized(timedelta(seconds=seconds))
