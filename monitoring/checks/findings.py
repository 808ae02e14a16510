"""What all checks share: how a finding about a deployment is put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from monitoring.config import Policy
from monitoring.links import deployment_url, flow_run_url, flow_url
from monitoring.model import (
    MOST_RUN_IDS,
    Cause,
    CheckName,
    Deployment,
    Finding,
    FlowRun,
    Observation,
    Severity,
    Subject,
    fingerprint,
)
from monitoring.policy import Policies


def deployment_finding(
    observation: Observation,
    check: CheckName,
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
) -> Finding:
    """Put together a finding about one deployment (or flow).

    It links to the run when there is one only or when one stands for all (the first of ``run_ids`` of a
    failure), else to the deployment.
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
        flow_run_ids=tuple(run_ids[:MOST_RUN_IDS]),
        flow_run_count=run_count,
        summary=summary,
        observed=observed,
        expected=expected,
        since=since,
        url=flow_run_url(server.ui_url, run_ids[0]) if run_count == 1 else own_page(server.ui_url, deployment.id),
        cause=cause,
    )


def by_deployment(
    observation: Observation, policies: Policies, runs: Iterable[FlowRun]
) -> Iterator[tuple[Deployment, Policy, list[FlowRun]]]:
    """Group runs by what they belong to, with its policy; runs of what cannot be named are left out."""
    groups: dict[str, list[FlowRun]] = {}
    for run in runs:
        groups.setdefault(run.key, []).append(run)
    for key, group in groups.items():
        if deployment := observation.deployments.get(key):
            yield deployment, policies.of(deployment.name, deployment.tags, deployment.work_pool), group


def runs_text(count: int) -> str:
    """Count runs in words: ``1 run``, ``3 runs``."""
    return "1 run" if count == 1 else f"{count:,} runs"
