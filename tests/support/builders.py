"""Small worlds for the tests of the pure middle: one moment, and runs and deployments around it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

from monitoring.checks.registry import run_checks
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.history.ledger import fold
from monitoring.incidents.correlation import correlate
from monitoring.model.base import Value
from monitoring.model.coverage import ALWAYS_QUERIED, Coverage, Query
from monitoring.model.finding import Finding
from monitoring.model.ledger import Ledger
from monitoring.model.observation import (
    FailureFacts,
    HistoryFacts,
    LimitFacts,
    Observation,
    RunFacts,
    ScheduleFacts,
    ServerFacts,
    ServerState,
    Vitals,
    WorkPoolFacts,
)
from monitoring.model.prefect import Deployment, FlowRun, StateType

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
UI = "http://ui.example"
#: History that tests write has no events, and runs that the server had no time to mark as late.
WRITTEN_HISTORY = {"late_marking": "36500d", "events_missing": "36500d"}
_GROUPS: dict[str, type[Value]] = {
    "runs": RunFacts,
    "history": HistoryFacts,
    "failures": FailureFacts,
    "schedules": ScheduleFacts,
    "pools": WorkPoolFacts,
    "limits": LimitFacts,
    "server": ServerFacts,
}
_GROUP_OF = {fact: group for group, facts in _GROUPS.items() for fact in facts.model_fields}
_NAMES: dict[StateType, str] = {"SCHEDULED": "Scheduled", "CRASHED": "Crashed"}


def minutes(count: float) -> timedelta:
    """A span of minutes."""
    return timedelta(minutes=count)


def hours(count: float) -> timedelta:
    """A span of hours."""
    return timedelta(hours=count)


def deployment(name: str = "etl/nightly", **fields: Any) -> Deployment:
    """A deployment; its id is its name."""
    values: dict[str, Any] = {
        "id": name,
        "name": name,
        "flow_id": f"flow of {name}",
        "flow_name": name.split("/")[0],
        "created": NOW - timedelta(days=100),
        "schedule": "daily" if fields.pop("scheduled", True) else "",
    }
    return Deployment.model_validate({**values, **fields})


def run(state: StateType, run_id: str = "run", *, of: str | None = "etl/nightly", **fields: Any) -> FlowRun:
    """A run of a deployment, in a state since an hour ago."""
    since = fields.pop("since", NOW - hours(1))
    ended = state in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
    values: dict[str, Any] = {
        "id": run_id,
        "name": f"name of {run_id}",
        "flow_id": f"flow of {of}",
        "deployment_id": of,
        "state_type": state,
        "state_name": _NAMES.get(state, state.capitalize()),
        "state_timestamp": since,
        "created": since - hours(1),
        "expected_start_time": since,
        "next_scheduled_start_time": since if state == "SCHEDULED" else None,
        "start_time": None if state in ("SCHEDULED", "PENDING") else since,
        "end_time": since if ended else None,
    }
    return FlowRun.model_validate({**values, **fields})


def complete(*names: str) -> Coverage:
    """Coverage in which everything was answered, the named queries too."""
    return Coverage(queries=tuple(Query(name=name, outcome="complete") for name in ("server", *ALWAYS_QUERIED, *names)))


def without(name: str) -> Coverage:
    """Coverage in which everything was answered, and one query only in part."""
    return Coverage(
        queries=tuple(
            query.model_copy(update={"outcome": "partial"}) if query.name == name else query
            for query in complete().queries
        )
    )


def observation(
    *runs: FlowRun, deployments: Iterable[Deployment] = (deployment(),), at: datetime = NOW, **fields: Any
) -> Observation:
    """An observation of runs and deployments, in which everything was answered."""
    ended = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
    values: dict[str, Any] = {
        "target": "prod",
        "at": at,
        "since": at - timedelta(days=1),
        "coverage": complete("heartbeats", "oldest-run", "last-success"),
        "deployments": {d.key: d for d in deployments},
    }
    facts: dict[str, Any] = {
        "active": tuple(r for r in runs if r.state_type not in ended),
        "ended": tuple(sorted((r for r in runs if r.state_type in ended), key=lambda r: r.end_time or r.created)),
        "state": ServerState(api_url="http://api.example/api", ui_url=UI),
        "vitals": Vitals(newest_event=at),
    }
    seen = Observation.model_validate({**values, "server": {"state": facts["state"]}})
    return with_facts(seen, **{**facts, **fields})


def with_facts(seen: Observation, **fields: Any) -> Observation:
    """An observation with other values of its own fields, or of facts in any of its groups, by the fact's name."""
    values: dict[str, Any] = dict(seen)
    for name, value in fields.items():
        if name in values:
            values[name] = value
        else:
            group = _GROUP_OF[name]
            values[group] = type(values[group]).model_validate({**dict(values[group]), name: value})
    return Observation.model_validate(values)


def policies(**settings: Any) -> Policies:
    """Policies of a configuration that changes these settings; the server is expected to hold written history."""
    server = {**WRITTEN_HISTORY, **settings.pop("server", {})}
    return Policies(Config.model_validate({**settings, "server": server}))


def found(seen: Observation, ledger: Ledger | None = None, **settings: Any) -> tuple[Finding, ...]:
    """What the checks find in one observation, correlated."""
    folded = fold(ledger or Ledger(), seen)
    return correlate(run_checks(seen, folded, policies(**settings)), seen, folded)


def names(findings: Iterable[Finding]) -> list[tuple[str, str, str]]:
    """Findings, in short: check, subject and severity."""
    return [(finding.check, finding.subject.name, finding.severity) for finding in findings]
