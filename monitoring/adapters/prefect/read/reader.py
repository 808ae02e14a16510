"""Collects an Observation: what is active now, what ended since the cursor, and nothing else.

A query that fails is recorded in the coverage and leaves its part empty; nothing here turns a missing
answer into a healthy one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from monitoring.adapters.prefect.client.api import Api
from monitoring.adapters.prefect.read import backlog, failure_reasons, limits, run_times, runs, scheduled_runs
from monitoring.adapters.prefect.read import work_pools as sources
from monitoring.adapters.prefect.read.collection import Collection
from monitoring.adapters.prefect.read.compatible import collect
from monitoring.adapters.prefect.read.later_signs import later_signs
from monitoring.adapters.prefect.read.maintenance import open_windows
from monitoring.adapters.prefect.read.own_runs import own_runs
from monitoring.adapters.prefect.read.signs_of_life import signs_of_life
from monitoring.adapters.prefect.read.traces import traces
from monitoring.adapters.prefect.read.vitals import read_vitals
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.errors import CredentialsRefused, ServerProblem
from monitoring.history.ledger import OVERLAP
from monitoring.model.coverage import ALWAYS_QUERIED, Query
from monitoring.model.exporter_facts import DeployedFlow, ExporterFacts
from monitoring.model.ledger import Ledger
from monitoring.model.observation import (
    FailureFacts,
    Heartbeats,
    HistoryFacts,
    LaterSign,
    Observation,
    RunFacts,
    ScheduleFacts,
    ServerFacts,
    ServerState,
    WorkPoolFacts,
)
from monitoring.model.prefect import Deployment, FlowRun
from monitoring.model.report import Totals
from monitoring.usecases.assess import unseen


@dataclass
class ServerReader:
    """Reads one Prefect server, as ``ports.Reader``."""

    api: Api
    config: Config
    #: Takes secrets out of text from runs.
    redact: Callable[[str], str]
    #: Whether to collect what the metrics of Prefect's own exporter need, too.
    for_exporter: bool = False

    def observe(self, now: datetime, ledger: Ledger, policies: Policies) -> Observation:
        """Read what is active now, and what ended since the ledger's cursor or in the configured window.

        Raises:
            CredentialsRefused: The server rejects the key.
        """
        with self.api.within(self.config.server.deadline):
            return self._observe(now, ledger, policies)

    def _observe(self, now: datetime, ledger: Ledger, policies: Policies) -> Observation:
        target = self.config.target
        since = ledger.cursor - OVERLAP if ledger.cursor else now - target.window
        collection = Collection(self.api, self.config, self.redact, now, policies)
        state = self._state(collection)
        observation = Observation(
            target=target.name,
            at=now,
            since=since,
            server=ServerFacts(state=state),
            coverage=unseen(state.problem) if state.problem else collection.coverage,
            maintenance=open_windows(self.config.maintenance, now),
        )
        if state.problem:
            return observation
        own_flows = sources.own_flows(collection)
        if not collection.coverage.has("flows"):
            # Without their ids, the watchdog's own runs cannot be distinguished from the user's.
            for name in ALWAYS_QUERIED:
                collection.note(name, "failed", "not asked: the watchdog's own flows are not known")
            return observation.model_copy(
                update={"coverage": collection.coverage, "exporter": self._exporter(now, None)}
            )
        rows = _read_rows(collection, since, ledger, own_flows)
        facts = _read_facts(collection, rows, ledger)
        vitals = read_vitals(collection)
        return observation.model_copy(
            update={
                **facts,
                "server": ServerFacts(state=state, vitals=vitals),
                # By now every query of the check has been recorded.
                "coverage": collection.coverage,
                # Last: the vitals are those of the check's own queries.
                "exporter": self._exporter(now, rows.deployed.flows),
            }
        )

    def _exporter(self, now: datetime, deployed: tuple[DeployedFlow, ...] | None) -> ExporterFacts | None:
        return collect(self.api, self.config, self.redact, now, deployed) if self.for_exporter else None

    def failures(self, start: datetime, now: datetime, policies: Policies) -> tuple[tuple[FlowRun, ...], Query]:
        """Read the newest runs that failed or crashed since ``start``, without the watchdog's own.

        Returns:
            The runs, newest end first, and the coverage of the query.
        """
        collection = Collection(self.api, self.config, self.redact, now, policies)
        with self.api.within(self.config.server.deadline):
            found = runs.failures(collection, start, sources.own_flows(collection))
        unanswered = next(iter(collection.coverage.missing), None)
        return tuple(found), unanswered or Query(name="recent-failures", outcome="complete")

    def totals(
        self, periods: Sequence[tuple[datetime, datetime]], now: datetime, policies: Policies
    ) -> tuple[tuple[Totals | None, ...], Query]:
        """Count how runs ended in each period ``[start, end)``, without the watchdog's own.

        Returns:
            The totals, None where the server did not answer; and the coverage of the query.
        """
        collection = Collection(self.api, self.config, self.redact, now, policies)
        with self.api.within(self.config.server.deadline):
            counted = tuple(collection.query("totals", None, runs.totals, collection, *period) for period in periods)
        return counted, collection.coverage.queries[0]

    def _state(self, collection: Collection) -> ServerState:
        problem: str | None = None
        version: Any = None
        try:
            # Prefect Cloud lacks /ready and /admin; what lacks /health too is no Prefect API.
            if self.api.find("/ready") is None and self.api.find("/health") is not True:
                problem = f"{self.api.url} is not a Prefect API: its address usually ends in /api"
            # A key that may not read the version may read what matters.
            with suppress(CredentialsRefused):
                version = self.api.find("/admin/version")
        except ServerProblem as error:
            problem = str(error)
        if problem is None:
            collection.query("server", None, lambda: None)
        return ServerState(
            api_url=self.api.url,
            ui_url=self.api.ui_url,
            version=version if isinstance(version, str) else None,
            problem=problem,
        )


class _Rows(NamedTuple):
    """The rows that the facts rest on; the watchdog's own stand apart."""

    deployed: sources.Deployed
    #: Watched deployments, and flows for their runs without one, by key.
    deployments: dict[str, Deployment]
    own_deployments: tuple[Deployment, ...]
    active: list[FlowRun]
    #: Active runs of deleted deployments.
    of_deleted: list[FlowRun]
    overdue: list[FlowRun]
    ended: list[FlowRun]
    #: The watchdog's own runs that are active or overdue.
    own: list[FlowRun]
    #: Every overdue run, whoever owns it.
    all_overdue: list[FlowRun]
    heartbeats: dict[str, Heartbeats]
    #: Runs that have ended and are alive.
    later_signs: tuple[LaterSign, ...]


def _read_rows(collection: Collection, since: datetime, ledger: Ledger, own_flows: frozenset[str]) -> _Rows:
    all_active, all_overdue = runs.active(collection), runs.overdue(collection)
    all_ended = runs.ended(collection, since)
    if not (all_active or all_overdue or all_ended):
        collection.doubt_emptiness("ended-runs", "/flow_runs/filter", {})
    deployed = sources.deployments(collection, ledger)
    deployments = {key: found for key, found in deployed.deployments.items() if found.flow_id not in own_flows}
    active, own_active = _split(all_active, own_flows)
    overdue, own_overdue = _split(all_overdue, own_flows)
    ended, _ = _split(all_ended, own_flows)
    if collection.config.target.runs_without_deployment:
        found = [*active, *overdue, *ended]
        deployments |= sources.flows_without_deployment(collection, found, ledger, deployed.names)
    heartbeats = runs.heartbeats(collection, active, deployments)
    active = runs.read_again(collection, active, heartbeats, deployments)
    later = later_signs(collection, [*all_active, *all_overdue], all_ended, deployments, ledger)
    of_deleted: list[FlowRun] = []
    if collection.coverage.has("deployments"):
        # Runs of deleted deployments keep the id. They do not matter any more, but for the slots that they hold.
        of_deleted = [run for run in active if run.key not in deployments]
        active = [run for run in active if run.key in deployments]
        overdue = [run for run in overdue if run.key in deployments]
    return _Rows(
        deployed=deployed,
        deployments=deployments,
        own_deployments=tuple(found for found in deployed.deployments.values() if found.flow_id in own_flows),
        active=active,
        of_deleted=of_deleted,
        overdue=overdue,
        ended=ended,
        own=[*own_active, *own_overdue],
        all_overdue=all_overdue,
        heartbeats=heartbeats,
        later_signs=later,
    )


def _read_facts(collection: Collection, rows: _Rows, ledger: Ledger) -> dict[str, object]:
    """Everything of an observation that is read beyond the rows, by field. Slots are compared first: runs move on."""
    holders, moving = limits.holders_again(
        collection, rows.deployments.values(), [*rows.active, *rows.overdue], rows.ended
    )
    rows = rows._replace(active=[*rows.active, *holders])
    pools = _pool_facts(collection, rows, ledger)
    ahead = scheduled_runs.ahead(collection, rows.deployments, rows.deployed.schedules, ledger)
    limited = limits.limits(collection, rows.active)
    history = _history_facts(collection, rows, ledger)
    missed = scheduled_runs.missed(
        collection, rows.deployments, rows.deployed.schedules, rows.ended, history.last_success, ledger
    )
    return {
        "deployments": ahead.deployments,
        "runs": _run_facts(collection, rows, history, ledger),
        "history": history,
        "failures": _failure_facts(collection, rows, ledger),
        "schedules": ScheduleFacts(
            missed=missed.runs,
            resumed=missed.resumed,
            unserved=rows.deployed.unserved,
            nothing_ahead=ahead.nothing,
            unplanned=ahead.unplanned,
        ),
        "pools": pools,
        "limits": limited.model_copy(update={"moving": moving}),
        "own": own_runs(collection, rows.own_deployments, rows.deployed.schedules, rows.own),
    }


def _run_facts(collection: Collection, rows: _Rows, history: HistoryFacts, ledger: Ledger) -> RunFacts:
    return RunFacts(
        active=(*rows.active, *rows.overdue),
        of_deleted=tuple(rows.of_deleted),
        ended=tuple(rows.ended),
        pending_since=runs.pending_since(collection, rows.active, rows.deployments),
        slot_wait_since=runs.slot_wait_since(collection, rows.overdue),
        heartbeats=rows.heartbeats,
        later_signs=rows.later_signs,
        traces=traces(collection, rows.ended, rows.deployments),
        signs_of_life=signs_of_life(
            collection, rows.active, rows.ended, rows.deployments, rows.heartbeats, history.samples, ledger
        ),
    )


def _pool_facts(collection: Collection, rows: _Rows, ledger: Ledger) -> WorkPoolFacts:
    # The watchdog's own runs wait for workers, too; and what waited until it was cancelled missed them.
    waiting = [*rows.active, *rows.overdue, *rows.own, *(run for run in rows.ended if run.not_served)]
    missed = [found for key, found in rows.deployments.items() if ledger.record(key).not_served]
    pools = sources.work_pools(collection, waiting, rows.deployed.deployments | rows.deployments, missed)
    upcoming, cut = backlog.upcoming(collection, pools, rows.deployments, rows.active)
    backlogs = backlog.backlogs(collection, pools, rows.all_overdue)
    later = backlog.later(collection, upcoming, rows.deployments, rows.deployed.schedules)
    return WorkPoolFacts(work_pools=pools, backlogs=backlogs, upcoming=upcoming, upcoming_cut=cut, upcoming_later=later)


def _history_facts(collection: Collection, rows: _Rows, ledger: Ledger) -> HistoryFacts:
    successes = runs.last_successes(collection, rows.deployments, rows.ended, ledger)
    never = runs.never_succeeded(collection, rows.deployments, successes, rows.ended, ledger)
    return HistoryFacts(
        last_success=successes,
        oldest_success=runs.oldest_success(collection) if never else None,
        samples=run_times.samples(collection, rows.active, rows.ended, rows.deployments, ledger),
        read_again=runs.failed_again(collection, ledger),
    )


def _failure_facts(collection: Collection, rows: _Rows, ledger: Ledger) -> FailureFacts:
    failed = failure_reasons.unread(rows.ended, rows.deployments, ledger)
    children = failure_reasons.failed_children(collection, failed)
    known = rows.deployed.names
    unnamed = {child.flow_id for found in children.values() for child in found} - known.keys()
    return FailureFacts(
        reasons=failure_reasons.failures(collection, failed, children),
        children=children,
        flow_names=known | sources.flow_names(collection, unnamed),
    )


def _split(found: Sequence[FlowRun], own_flows: frozenset[str]) -> tuple[list[FlowRun], list[FlowRun]]:
    """The users' runs, and the watchdog's own."""
    return [run for run in found if run.flow_id not in own_flows], [run for run in found if run.flow_id in own_flows]
