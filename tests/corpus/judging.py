"""Judges a described server through the real API, and says how far that is from what was to be found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from unittest.mock import patch

from werkzeug import Response
from werkzeug.http import http_date
from werkzeug.serving import WSGIRequestHandler

from monitoring.adapters.prefect.client import api
from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.read.reader import ServerReader
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.model.coverage import Coverage
from monitoring.model.finding import Finding
from monitoring.model.ledger import Ledger
from monitoring.model.target import Target
from monitoring.text.redaction import Redactor
from monitoring.usecases.assess import Assessment, assess
from tests.corpus.bench import Bench
from tests.corpus.loading import load
from tests.corpus.scenario import Expected, Network, Scenario, World, moment
from tests.support.relay import ApiRequest, relayed

#: A finding is known by its check and its subject's name.
Key = tuple[str, str]


@dataclass(frozen=True)
class Verdict:
    """What was found on one server, against what was to be found: each key with how it differs, nothing where right."""

    scenario: Scenario
    right: tuple[Key, ...]
    missed: Mapping[Key, str]
    false: Mapping[Key, str]
    #: What else is not as it should be: the coverage.
    besides: tuple[str, ...]

    @property
    def deviations(self) -> list[str]:
        """All that differs, in words."""
        problems = [f"missed {check} of {name}{how}" for (check, name), how in self.missed.items()]
        problems += [f"false {check} of {name}{how}" for (check, name), how in self.false.items()]
        return [*problems, *self.besides]


@dataclass
class Tally:
    """How right one check is, over scenarios."""

    scenarios: int = 0
    planted: int = 0
    found: int = 0
    missed: int = 0
    false: int = 0

    @property
    def precision(self) -> float | None:
        """Of what was found, how much is right."""
        return self.found / (self.found + self.false) if self.found + self.false else None

    @property
    def recall(self) -> float | None:
        """Of what was planted, how much was found right."""
        return self.found / self.planted if self.planted else None


def prepare(place: Bench, scenario: Scenario, background: World) -> None:
    """Empty the server, and load a scenario."""
    place.empty()
    if scenario.background:
        load(background, scenario.now, place.database_url)
    load(scenario, scenario.now, place.database_url)


def judge(place: Bench, scenario: Scenario, config: Mapping[str, Any] | None = None) -> Verdict:
    """Look at a server that was prepared, as often as the scenario says, and compare.

    Args:
        place: The server.
        scenario: What is on it.
        config: The configuration, if another than the scenario's.
    """
    settings = scenario.config if config is None else config
    ledger: Ledger | None = None
    for earlier in scenario.looks:
        ledger = look(moment(earlier, scenario.now), ledger, place.server.api_url, settings).ledger
    with _network(place, scenario) as address:
        return compare(scenario, look(scenario.now, ledger, address, settings))


def look(now: datetime, ledger: Ledger | None, address: str, config: Mapping[str, Any]) -> Assessment:
    """Assess a server as the watchdog does, with all its defaults.

    Args:
        now: The moment.
        ledger: What is remembered.
        address: The API.
        config: What is configured.
    """
    policies = Policies(Config.model_validate(config))
    with open_api(policies.config.server, Target(address=address)) as opened:
        reader = ServerReader(opened, policies.config, Redactor(policies.config.redact.patterns).redact)
        return assess(reader, ledger or Ledger(), policies, now, Coverage())


def compare(scenario: Scenario, assessment: Assessment) -> Verdict:
    """Hold what was found against what was to be found; each finding is right or wrong as a whole."""
    findings = assessment.report.findings
    by_fingerprint = {finding.fingerprint: finding for finding in findings}
    found: dict[Key, list[Finding]] = {}
    for finding in findings:
        found.setdefault((finding.check, finding.subject.name), []).append(finding)
    right: list[Key] = []
    missed: dict[Key, str] = {}
    false: dict[Key, str] = {}
    for expected in scenario.expect:
        key: Key = (expected.check, expected.subject)
        candidates = found.get(key)
        if not candidates:
            missed[key] = ""
            continue
        finding = candidates.pop(0)
        if wrong := list(_differences(scenario, expected, finding, by_fingerprint)):
            missed[key] = f" as it is: {'; '.join(wrong)}"
            false[key] = " as it was found"
        else:
            right.append(key)
    for key, rest in found.items():
        for finding in rest:
            false[key] = f" ({finding.severity}): {finding.summary}; observed {finding.observed}"
    missing = assessment.report.coverage.missing
    besides = []
    if {query.name: query.outcome for query in missing} != scenario.missing:
        details = {query.name: (query.outcome, query.detail) for query in missing}
        besides.append(f"not answered whole: {details}, expected {scenario.missing}")
    return Verdict(scenario, tuple(right), missed, false, tuple(besides))


def _differences(
    scenario: Scenario, expected: Expected, finding: Finding, by_fingerprint: Mapping[str, Finding]
) -> Iterator[str]:
    head = by_fingerprint.get(finding.symptom_of or "")
    cause = finding.cause
    pairs: dict[str, tuple[Any, Any]] = {
        "severity": (expected.severity, finding.severity),
        "unknown": (expected.unknown, finding.unknown),
        "cause": (
            expected.cause and (expected.cause.kind, expected.cause.name, expected.cause.reason),
            cause and cause.what,
        ),
        "symptom of": (expected.symptom_of, head and f"{head.check} {head.subject.name}"),
        "owner": (expected.owner, finding.owner),
        "path": (expected.path, cause.path if cause else ()),
    }
    if expected.runs is not None:
        pairs["runs"] = (expected.runs, finding.flow_run_count)
    if expected.since is not None:
        pairs["since"] = (moment(expected.since, scenario.now), finding.since)
    for name, (wanted, got) in pairs.items():
        if wanted != got:
            yield f"{name} is {got}, not {wanted}"
    text = "\n".join((finding.summary, finding.observed, finding.expected, *finding.evidence))
    yield from (f"it does not say {phrase!r}: {text!r}" for phrase in expected.says if phrase not in text)
    if len(set(finding.flow_run_ids)) != len(finding.flow_run_ids):
        yield "a run is named twice"


@dataclass
class _Clock:
    """Stands in for the ``time`` module where answers are timed: it moves only when a scenario says so."""

    moment: float
    passed: float = 0.0

    def time(self) -> float:
        return self.moment

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


@contextmanager
def _network(place: Bench, scenario: Scenario) -> Iterator[str]:
    """Put between us and the server what the scenario has there; return the address to ask."""
    network = scenario.network
    if network == Network():
        yield place.server.api_url
        return
    clock = _Clock(scenario.now.timestamp())

    def answer(request: ApiRequest) -> Response | None:
        clock.sleep(network.delay.total_seconds())
        if request.path in network.failing:
            return Response(json.dumps({"detail": "as the scenario says"}), 500, content_type="application/json")
        return None

    date = http_date(moment(network.clock, scenario.now))
    with (
        patch.object(WSGIRequestHandler, "date_time_string", lambda *_: date),
        patch.object(api, "time", clock),
        relayed(place.server.ui_url) as relay,
    ):
        relay.answer = answer
        yield relay.url


def tallies(verdicts: Iterable[Verdict]) -> dict[str, Tally]:
    """Count how right each check is."""
    counted: dict[str, Tally] = {}
    for verdict in verdicts:
        for check in verdict.scenario.concerns:
            counted.setdefault(check, Tally()).scenarios += 1
        for name, keys in (("found", verdict.right), ("missed", verdict.missed), ("false", verdict.false)):
            for check, count in Counter(check for check, _ in keys).items():
                tally = counted.setdefault(check, Tally())
                setattr(tally, name, getattr(tally, name) + count)
        for expected in verdict.scenario.expect:
            counted[expected.check].planted += 1
    return counted
