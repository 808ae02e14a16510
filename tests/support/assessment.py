"""Real servers, assessed as the watchdog does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from monitoring.adapters.prefect.client.api import Traffic, open_api
from monitoring.adapters.prefect.read.reader import ServerReader
from monitoring.model.coverage import Coverage
from monitoring.model.finding import Finding
from monitoring.model.ledger import Ledger
from monitoring.model.target import Target
from monitoring.text.redaction import Redactor
from monitoring.usecases.assess import Assessment, assess
from tests.support.builders import policies as expecting

#: Findings by check and the subject's name.
Found = dict[tuple[str, str], Finding]


def by_name(found: Found, check: str) -> dict[str, str]:
    """Severities by the deployment's own name, of one check."""
    return {name.partition("/")[2]: finding.severity for (of, name), finding in found.items() if of == check}


@dataclass(frozen=True)
class Assessed:
    """One look at a server, and what it cost."""

    assessment: Assessment
    traffic: Traffic

    @property
    def found(self) -> Found:
        """What was found."""
        return {(finding.check, finding.subject.name): finding for finding in self.assessment.report.findings}

    @property
    def status(self) -> str:
        """The report's status."""
        return self.assessment.report.status

    @property
    def missing(self) -> dict[str, str]:
        """What was not seen whole: how far it was, by the query's name."""
        return {query.name: query.outcome for query in self.assessment.report.coverage.missing}


def assess_server(now: datetime, *, ledger: Ledger | None = None, at: str | None = None, **config: Any) -> Assessed:
    """Assess the server that Prefect's client is pointed at, or another.

    Args:
        now: The moment of the check.
        ledger: What is remembered.
        at: An API address to use instead.
        config: The configuration's sections; the server is expected to hold written history.
    """
    policies = expecting(**config)
    settings = policies.config
    with open_api(settings.server, Target(address=at)) as api:
        reader = ServerReader(api, settings, Redactor(settings.redact.patterns).redact)
        assessment = assess(reader, ledger or Ledger(), policies, now, Coverage())
        return Assessed(assessment, api.traffic)
