"""Runs in a library that has one check more, and prints what is seen of it, as JSON."""

from __future__ import annotations

import json
import sys
from io import StringIO
from pathlib import Path

import monitoring
from monitoring.checks.registry import findings_of, verdicts
from monitoring.config.environment import environment
from monitoring.config.file import parse
from monitoring.config.policy import Policies
from monitoring.history.ledger import fold
from monitoring.incidents.correlation import correlate
from monitoring.messages import terminal
from monitoring.messages.alert_message import alert_message
from monitoring.messages.json_contract import check_json
from monitoring.messages.markdown import markdown_page
from monitoring.messages.report_messages import digest_message, health_message
from monitoring.messages.slack_blocks import slack_message
from monitoring.model.coverage import Coverage
from monitoring.model.ledger import Ledger
from monitoring.model.report import DigestReport
from monitoring.tuning.backtest import REPLAYED
from monitoring.tuning.explain import explain
from monitoring.tuning.explain_message import explanation_message
from monitoring.usecases.assess import health_report
from tests.support import alert_samples
from tests.support.builders import NOW, deployment, hours, observation, run

CONFIGURATION = "quiet:\n  after: 1h\nrules:\n  - match: {deployment: c/*}\n    quiet: {enabled: false}\n"


def seen() -> dict[str, object]:
    """What every room of the library shows of two quiet deployments, one lively, and one that a rule leaves alone."""
    names = ["a/quiet", "b/quiet", "lively/one", "c/off"]
    ago = {"lively/one": 0.5}
    runs = [run("COMPLETED", f"run of {name}", of=name, since=NOW - hours(ago.get(name, 3))) for name in names]
    observed = observation(*runs, deployments=[deployment(name) for name in names])
    file = parse(CONFIGURATION, "watchdog.yaml")
    policies = Policies(file.config, origin="watchdog.yaml", lines=file.lines)
    ledger = fold(Ledger(), observed)
    judged = tuple(verdicts(observed, ledger, policies))
    findings = correlate(findings_of(judged), observed, ledger)
    report = health_report(observed, findings, Coverage())
    incidents = [alert_samples.incident(finding, number) for number, finding in enumerate(findings, start=1)]
    explained = explain(observed, ledger, policies, judged, findings, "lively/one")
    shown = StringIO()
    terminal.show(terminal.console(shown), explanation_message(explained, None, ()))
    (layer,) = environment({"WATCHDOG_QUIET__AFTER": "2h"})
    return {
        "library": str(Path(monitoring.__file__).parent),
        "findings": [(finding.check, finding.subject.name) for finding in findings],
        "explain": shown.getvalue(),
        "environment": layer["quiet.after"].source,
        "markdown": markdown_page(health_message(report)),
        "digest": markdown_page(digest_message(DigestReport(health=report, time_zone="UTC", day=NOW.date()))),
        "slack": json.dumps(slack_message(alert_message(alert_samples.content("opened", *incidents))).blocks),
        "json": check_json(report),
        "replayed": [check.name for check in REPLAYED],
    }


if __name__ == "__main__":
    json.dump(seen(), sys.stdout)
