"""Builds findings about deployments, work pools, limits and the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from monitoring.model.finding import MAX_RUN_IDS, Cause, Finding, Severity, Subject, fingerprint
from monitoring.model.observation import Observation
from monitoring.model.policy import BasePolicy, Policies
from monitoring.model.prefect import Deployment, FlowRun
from monitoring.text.links import deployment_url, flow_run_url, flow_url


def deployment_finding(
    observation: Observation,
    check: str,
    deployment: Deployment,
    *,
    severity: Severity,
    run_ids: Sequence[str],
    run_count: int,
    summary: str,
    observed: str,
    expected: str,
    since: datetime,
    cause: Cause | None = None,
    evidence: Sequence[str] = (),
    unknown: bool = False,
) -> Finding:
    """Build a finding about one deployment (or flow).

    It links to the run if it is about a single run, else to the deployment.
    """
    server = observation.server
    own_page = flow_url if deployment.kind == "flow" else deployment_url
    return Finding(
        fingerprint=fingerprint(observation.target, check, deployment.kind, deployment.id),
        check=check,
        severity=severity,
        subject=Subject(kind=deployment.kind, id=deployment.id, name=deployment.name),
        flow=deployment.flow_name,
        deployment=deployment.name if deployment.kind == "deployment" else None,
        flow_run_ids=tuple(run_ids[:MAX_RUN_IDS]),
        flow_run_count=run_count,
        summary=summary,
        observed=observed,
        expected=expected,
        since=since,
        url=flow_run_url(server.state.ui_url, run_ids[0])
        if run_count == 1
        else own_page(server.state.ui_url, deployment.id),
        cause=cause,
        evidence=tuple(evidence),
        unknown=unknown,
    )


def place_finding(
    observation: Observation,
    check: str,
    subject: Subject,
    *,
    severity: Severity,
    summary: str,
    observed: str,
    expected: str,
    since: datetime,
    url: str | None,
    run_ids: Sequence[str] = (),
    run_count: int | None = None,
    cause: Cause | None = None,
    evidence: Sequence[str] = (),
) -> Finding:
    """Build a finding about a subject other than a deployment: a work pool, a limit, the server.

    Args:
        observation: What was observed.
        check: The name of the check.
        subject: The subject; its id identifies the finding over time.
        severity: The severity.
        summary: One sentence; it begins with the subject's name and a colon.
        observed: The observation, with units.
        expected: The expectation.
        since: When it began.
        url: The page of the subject.
        run_ids: The runs that show it.
        run_count: The number of runs, if more than their ids.
        cause: The cause. Symptoms elsewhere that name the same cause are shown under this finding.
        evidence: The evidence, in lines.
    """
    return Finding(
        fingerprint=fingerprint(observation.target, check, subject.kind, subject.id),
        check=check,
        severity=severity,
        subject=subject,
        flow_run_ids=tuple(run_ids[:MAX_RUN_IDS]),
        flow_run_count=len(run_ids) if run_count is None else run_count,
        summary=summary,
        observed=observed,
        expected=expected,
        since=since,
        url=url,
        cause=cause,
        evidence=tuple(evidence),
    )


def by_deployment(
    observation: Observation, policies: Policies, runs: Iterable[FlowRun]
) -> Iterator[tuple[Deployment, BasePolicy, list[FlowRun]]]:
    """Group runs by deployment, with its policy; runs of unknown deployments are left out."""
    groups: dict[str, list[FlowRun]] = {}
    for run in runs:
        groups.setdefault(run.key, []).append(run)
    for key, group in groups.items():
        if deployment := observation.deployments.get(key):
            yield deployment, policy_of(deployment, policies), group


def policy_of(deployment: Deployment, policies: Policies) -> BasePolicy:
    """The policy of a deployment."""
    return policies.of(deployment.name, deployment.tags, deployment.work_pool)


def whose_runs(deployments: Iterable[str]) -> list[str]:
    """Count runs by deployment, a line for each of the five deployments with most runs: ``etl/nightly: 3 runs``.

    Args:
        deployments: The name of each run's deployment.
    """
    most = sorted(Counter(deployments).items(), key=lambda item: (-item[1], item[0]))[:5]
    return [f"{name}: {runs_text(count)}" for name, count in most]


def runs_text(count: int) -> str:
    """Count runs in words: ``1 run``, ``3 runs``."""
    return "1 run" if count == 1 else f"{count:,} runs"
