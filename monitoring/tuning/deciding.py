"""Which settings decide what a check says of a deployment, and where each of them comes from."""

from __future__ import annotations

from collections.abc import Mapping

from monitoring.config.policy import Layer, Policies, written
from monitoring.config.settings import Policy
from monitoring.model.finding import CheckName
from monitoring.model.prefect import Deployment

_SETTINGS: Mapping[CheckName, tuple[str, ...]] = {
    "failed": ("failed.tolerate", "failed.critical_after"),
    "crashed": ("crashed.tolerate", "crashed.critical_after"),
    "late": ("late.after", "late.critical_after"),
    "stuck": ("stuck.pending_after", "stuck.cancelling_after", "stuck.paused_after", "stuck.timeout_grace"),
    "zombie": ("zombie.missed_heartbeats", "zombie.default_interval"),
    "unscheduled": ("unscheduled.after",),
    "paused": ("paused.after",),
}


def deciding_settings(check: CheckName, policy: Policy) -> tuple[str, ...]:
    """The fields of a policy that decide what a check says of a deployment, by dotted name; most decisive first.

    Args:
        check: A check of deployments.
        policy: The deployment's policy: where it gives a limit, what would be learned without one decides nothing.
    """
    if check == "slow":
        learned = ("slow.deviations", "slow.min_ratio", "slow.floor", "slow.min_samples")
        return ("slow.limit",) if policy.slow.limit is not None else learned
    if check == "stale":
        return ("stale.within",) if policy.stale.within is not None else ("stale.missed_fires", "stale.grace")
    return _SETTINGS.get(check, ())


def decided_by(check: CheckName, deployment: Deployment, policies: Policies) -> str:
    """Say in one line what decided, and where that was set: ``late.after 15m (default)``.

    Args:
        check: A check of deployments.
        deployment: Whose policy decides.
        policies: Every layer of the configuration.
    """
    policy = policies.of(deployment.name, deployment.tags, deployment.work_pool)
    settings: Layer = policies.explain(deployment.name, deployment.tags, deployment.work_pool)
    by_source: dict[str, list[str]] = {}
    for name in deciding_settings(check, policy):
        by_source.setdefault(settings[name].source, []).append(f"{name} {written(settings[name].value)}")
    return "; ".join(f"{', '.join(fields)} ({source})" for source, fields in by_source.items())
