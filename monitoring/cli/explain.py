"""``watchdog explain``: why the checks judge a deployment as they do, and how a failed run differs from a good one."""

from __future__ import annotations

import sys

from monitoring.checks.registry import findings_of, verdicts
from monitoring.cli.session import Address, ConfigPath, configuration, open_session
from monitoring.cli.start import Fresh, begin, print_unreadable
from monitoring.cli.terminal import reports_errors
from monitoring.errors import BadAnswer, WatchdogError
from monitoring.history.ledger import fold
from monitoring.incidents.correlation import correlate
from monitoring.incidents.lifecycle import still_known
from monitoring.messages import terminal, words
from monitoring.messages.incident_messages import incident_lines
from monitoring.model.observation import Observation
from monitoring.model.prefect import Deployment
from monitoring.tuning.explain import explain as explained
from monitoring.tuning.explain_message import explanation_message, run_message


@reports_errors
def explain(name: str, /, *, config: ConfigPath = None, target: Address = None, fresh: Fresh = False) -> int:
    """Run ``watchdog explain``; its help is in ``monitoring.cli``.

    Args:
        name: FLOW/DEPLOYMENT, or the id of a flow run. For a failed or crashed run, also the differences from the
            last good run: parameters, versions, where it ran, and its tasks.
    """
    from monitoring.adapters.prefect.read import run_details
    from monitoring.adapters.prefect.read.collection import Collection

    policies = configuration(config, target)
    with open_session(policies, target) as server:
        found = run_details.find(server.api, name)
        begun = begin(server, server.now, "--fresh" if fresh else None)
        before, incidents = begun.saved.ledger, begun.saved.incidents
        observation = server.reader().observe(server.now, before, policies)
        observation = observation.model_copy(update={"target_id": incidents.target_id})
        deployment = _watched(observation, found.key, name)
        closely = Collection(server.api, policies.config, server.redact, server.now, policies)
        if found.key not in observation.history.samples and not before.record(found.key).run_times_searched:
            samples = {**observation.history.samples, found.key: run_details.samples(closely, deployment)}
            history = observation.history.model_copy(update={"samples": samples})
            observation = observation.model_copy(update={"history": history})
        bad = run_details.details(closely, found.run_id) if found.run_id else None
        is_bad = bad is not None and bad.run.state_type in ("FAILED", "CRASHED")
        good = run_details.last_good(closely, deployment, bad.run) if bad and is_bad else None
    print_unreadable(begun.basis)
    ledger = fold(before, observation)
    judged = tuple(verdicts(observation, ledger, policies))
    findings = still_known(correlate(findings_of(judged), observation, ledger), incidents, observation, policies)
    console = terminal.console(sys.stdout)
    missing = (*observation.coverage.missing, *closely.coverage.missing)
    explanation = explained(observation, ledger, policies, judged, findings, found.key)
    ascii_only = not console.encoding.lower().startswith("utf")
    basis = words.basis(begun.basis, observation.at)
    silences = (*begun.saved.silences.known, *observation.maintenance)
    lines = incident_lines(incidents, silences, observation.at)
    message = explanation_message(explanation, observation.server.state.ui_url, missing, basis, lines)
    terminal.show(console, message, ascii_only=ascii_only)
    if bad:
        console.print()
        terminal.show(console, run_message(bad, good))
    return 0


def _watched(observation: Observation, key: str, name: str) -> Deployment:
    """The named deployment or flow.

    Raises:
        WatchdogError: The watchdog does not watch it, or could not read it.
    """
    if observation.server.state.problem:
        raise BadAnswer(observation.server.state.problem)
    deployment = observation.deployments.get(key)
    if deployment is None:
        for query in observation.coverage.missing:
            if query.name in ("flows", "deployments"):
                raise BadAnswer(f"{name}: not seen: {query.detail}")
        raise WatchdogError(
            f"{name}: not watched: it belongs to the watchdog, its deployment was deleted, or it has no deployment and "
            "target.runs_without_deployment is false"
        )
    return deployment
