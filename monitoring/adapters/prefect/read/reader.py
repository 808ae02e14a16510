"""Collects an Observation: what is active now, what ended since the cursor, and nothing else.

A query that fails is recorded in the coverage and leaves its part empty; nothing here turns a missing
answer into a healthy one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from monitoring.adapters.prefect.client.api import Api
from monitoring.adapters.prefect.read import backlog as waiting
from monitoring.adapters.prefect.read import failure_reasons as failures
from monitoring.adapters.prefect.read import limits, run_times, runs, vitals
from monitoring.adapters.prefect.read import own_runs as own
from monitoring.adapters.prefect.read import scheduled_runs as fires
from monitoring.adapters.prefect.read import work_pools as places
from monitoring.adapters.prefect.read.collection import Collection
from monitoring.adapters.prefect.read.compatible import collect
from monitoring.adapters.prefect.read.maintenance import open_windows
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.errors import BadAnswer, CredentialsRefused, ServerProblem
from monitoring.history.ledger import OVERLAP
from monitoring.model.coverage import ALWAYS_ASKED, Query
from monitoring.model.exporter_facts import DeployedFlow, ExporterFacts
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
    WorkPoolFacts,
)
from monitoring.model.prefect import FlowRun
from monitoring.model.report import Totals
from monitoring.usecases.reporting import unseen

_NOT_FOUND = 404


class ServerReader:
    """Reads one Prefect server.

    Args:
        api: The server's API.
        config: What is watched, and how.
        redact: Takes secrets out of text from runs.
        for_exporter: Whether to collect what the metrics of Prefect's own exporter need, too.
    """

    def __init__(self, api: Api, config: Config, redact: Callable[[str], str], *, for_exporter: bool = False) -> None:
        self._api = api
        self._config = config
        self._redact = redact
        self._for_exporter = for_exporter

    def observe(self, now: datetime, ledger: Ledger, policies: Policies) -> Observation:
        """See what is active now, and what ended since the ledger's cursor (or in the configured window).

        Args:
            now: The end of every window.
            ledger: What is known already: it is not read again.
            policies: What decides how far each deployment is looked at.

        Raises:
            CredentialsRefused: The server refuses our key.
        """
        target = self._config.target
        since = ledger.cursor - OVERLAP if ledger.cursor else now - target.window
        collection = Collection(self._api, self._config, self._redact, now, policies)
        server = self._server(collection)
        coverage = unseen(server.problem) if server.problem else collection.coverage
        seen = Observation(
            target=target.name,
            at=now,
            since=since,
            server=ServerFacts(state=server),
            coverage=coverage,
            maintenance=open_windows(self._config.maintenance, now),
        )
        if server.problem:
            return seen

        ours = places.own_flows(collection)
        if not collection.coverage.has("flows"):
            # Without their ids, our own runs cannot be told from the user's.
            for name in ALWAYS_ASKED:
                collection.note(name, "failed", "not asked: the watchdog's own flows are not known")
            return seen.model_copy(update={"coverage": collection.coverage, "exporter": self._exporter(now, None)})
        all_active, all_overdue = runs.active(collection), runs.overdue(collection)
        all_ended = runs.ended(collection, since)
        deployed = places.deployments(collection, ledger)
        our_deployments = tuple(d for d in deployed.deployments.values() if d.flow_id in ours)
        deployments = {key: d for key, d in deployed.deployments.items() if d.flow_id not in ours}
        names = deployed.names
        active, our_active = _split(all_active, ours)
        overdue, our_overdue = _split(all_overdue, ours)
        ended, _ = _split(all_ended, ours)
        if target.runs_without_deployment:
            deployments |= places.flows_without_deployment(collection, [*active, *overdue, *ended], ledger, names)
        beats = runs.heartbeats(collection, active, deployments)
        active = runs.read_again(collection, active, beats, deployments)
        bad = failures.unread(ended, deployments, ledger)
        children = failures.failed_children(collection, bad)
        names |= places.flow_names(collection, {c.flow_id for found in children.values() for c in found} - names.keys())
        successes = runs.last_successes(collection, deployments, ended, ledger)
        never = runs.never_succeeded(collection, deployments, successes, ended, ledger)
        if collection.coverage.has("deployments"):
            # Runs of deployments that are gone keep their id, and nobody waits for them.
            active = [run for run in active if run.key in deployments]
            overdue = [run for run in overdue if run.key in deployments]
        again = limits.holders_again(collection, deployments.values(), [*active, *overdue], ended)
        active += again.holders
        # Our own runs wait for workers, too.
        every_run = ((*active, *our_active), (*overdue, *our_overdue))
        pools = places.work_pools(collection, *every_run, deployed.deployments | deployments)
        ahead = fires.ahead(collection, deployments, deployed.schedules, ledger)
        upcoming = waiting.upcoming(collection, pools, deployments, active)
        limited = limits.limits(collection, active)
        return seen.model_copy(
            update={
                "deployments": ahead.deployments,
                "runs": RunFacts(
                    active=(*active, *overdue),
                    ended=tuple(ended),
                    pending_since=runs.pending_since(collection, active, deployments),
                    slot_wait_since=runs.slot_wait_since(collection, overdue),
                    heartbeats=beats,
                ),
                "history": HistoryFacts(
                    last_success=successes,
                    oldest_success=runs.history_since(collection) if never else None,
                    samples=run_times.samples(collection, active, ended, deployments, ledger),
                    read_again=runs.failed_again(collection, ledger),
                ),
                "failures": FailureFacts(
                    reasons=failures.failures(collection, bad, children),
                    children=children,
                    flow_names=names,
                ),
                "schedules": ScheduleFacts(
                    missed=fires.missed(collection, deployments, deployed.schedules, ended, successes, ledger),
                    nothing_ahead=ahead.nothing,
                    unplanned=ahead.unplanned,
                ),
                "pools": WorkPoolFacts(
                    work_pools=pools,
                    backlogs=waiting.backlogs(collection, pools, all_overdue),
                    upcoming=upcoming.runs,
                    upcoming_cut=upcoming.cut,
                ),
                "limits": LimitFacts(full=limited.full, slots=limited.slots, moving=again.moving),
                "own": own.own_runs(collection, our_deployments, deployed.schedules, (*our_active, *our_overdue)),
                "server": ServerFacts(state=server, vitals=vitals.vitals(collection)),
                # By now every query of the check has been recorded.
                "coverage": collection.coverage,
                # Last: the vitals are those of the check's own queries.
                "exporter": self._exporter(now, deployed.flows),
            }
        )

    def _exporter(self, now: datetime, deployed: tuple[DeployedFlow, ...] | None) -> ExporterFacts | None:
        return collect(self._api, self._config, self._redact, now, deployed) if self._for_exporter else None

    def totals(
        self, periods: Sequence[tuple[datetime, datetime]], now: datetime, policies: Policies
    ) -> tuple[tuple[Totals | None, ...], Query]:
        """Count how runs ended in each period ``[start, end)``, without the watchdog's own.

        Args:
            periods: Starts and ends.
            now: The moment of the digest.
            policies: As for ``observe``.

        Returns:
            The totals, None where the server did not answer; and how far the answer goes.
        """
        collection = Collection(self._api, self._config, self._redact, now, policies)
        counted = tuple(collection.ask("totals", None, runs.totals, collection, *period) for period in periods)
        return counted, collection.coverage.queries[0]

    def _server(self, collection: Collection) -> ServerState:
        problem: str | None = None
        version: Any = None
        try:
            # Prefect Cloud lacks /ready and /admin; what lacks /health too is no Prefect API.
            if self._get_if_there("/ready") is None and self._get_if_there("/health") is not True:
                problem = f"{self._api.url} is not a Prefect API: its address usually ends in /api"
            # A key that may not read it may read what matters.
            with suppress(CredentialsRefused):
                version = self._get_if_there("/admin/version")
        except ServerProblem as error:
            problem = str(error)
        if problem is None:
            collection.ask("server", None, lambda: None)
        return ServerState(
            api_url=self._api.url,
            ui_url=self._api.ui_url,
            version=version if isinstance(version, str) else None,
            problem=problem,
        )

    def _get_if_there(self, path: str) -> Any:
        try:
            return self._api.get(path)
        except BadAnswer as problem:
            if problem.status == _NOT_FOUND:
                return None
            raise


def _split(found: Sequence[FlowRun], own: frozenset[str]) -> tuple[list[FlowRun], list[FlowRun]]:
    """The users' runs, and the watchdog's own."""
    return [run for run in found if run.flow_id not in own], [run for run in found if run.flow_id in own]
