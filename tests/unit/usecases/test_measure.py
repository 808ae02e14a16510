"""Numbers are handed over to every exporter, and none that fails is in another's way, or the check's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event

import pytest

from monitoring.errors import CredentialsRefused, DeliveryError, Unreachable
from monitoring.metrics import catalog
from monitoring.metrics.measure import Effort, Measurable
from monitoring.metrics.snapshot import Snapshot
from monitoring.model.coverage import Coverage, Query
from monitoring.model.exporter_facts import FAILED, ExporterFacts
from monitoring.model.incident import Incidents
from monitoring.model.ledger import Ledger
from monitoring.model.outbox import Outbox, Trouble
from monitoring.notifications.troubles import GRACE, trouble_findings
from monitoring.usecases.measure import Measuring, publish, take
from monitoring.usecases.ports import Exporter
from tests.support.builders import NOW, complete, minutes, observation, policies

SNAPSHOT = Snapshot(target="prod", at=NOW)
LONG = timedelta(minutes=1)
GATEWAY = "metrics.pushgateway"


@dataclass
class Store:
    fault: Exception | None = None
    kept: Snapshot | None = None

    def load(self) -> Snapshot | None:
        return self.kept

    def save(self, snapshot: Snapshot) -> None:
        if self.fault:
            raise self.fault
        self.kept = snapshot


@dataclass
class Collecting:
    fault: Exception | None = None
    taken: list[Snapshot] = field(default_factory=list)

    def publish(self, snapshot: Snapshot) -> None:
        if self.fault:
            raise self.fault
        self.taken.append(snapshot)


@dataclass
class Hanging:
    """Takes nothing until it is let go."""

    gone: Event

    def publish(self, snapshot: Snapshot) -> None:
        self.gone.wait()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    hanging = Hanging(Event())
    yield hanging
    hanging.gone.set()


def measuring(store: Store, timeout: timedelta = LONG, **exporters: Exporter) -> Measuring:
    return Measuring(store, {f"metrics.{name}": exporter for name, exporter in exporters.items()}, timeout)


def test_every_exporter_gets_the_numbers_and_they_are_kept() -> None:
    store, exporters = Store(), [Collecting(), Collecting()]
    assert publish(SNAPSHOT, measuring(store, textfile=exporters[0], dogstatsd=exporters[1]), {}, NOW) == {}
    assert [exporter.taken for exporter in exporters] == [[SNAPSHOT], [SNAPSHOT]]
    assert store.kept == SNAPSHOT


def test_an_exporter_that_fails_delays_no_other_and_its_first_failure_is_saved() -> None:
    store, exporter = Store(), Collecting()
    broken = Collecting(DeliveryError(f"{GATEWAY}: no answer", permanent=False))
    first = publish(SNAPSHOT, measuring(store, pushgateway=broken, textfile=exporter), {}, NOW)
    assert first == {GATEWAY: Trouble(since=NOW, problem=f"{GATEWAY}: no answer", permanent=False)}
    assert store.kept == SNAPSHOT
    assert len(exporter.taken) == 1
    again = publish(SNAPSHOT, measuring(store, pushgateway=broken), first, NOW + minutes(5))
    assert again[GATEWAY].since == NOW
    assert publish(SNAPSHOT, measuring(store, pushgateway=exporter), again, NOW + minutes(10)) == {}


def test_an_exporter_that_never_ends_does_not_delay_the_check(hanging: Hanging) -> None:
    store, exporter = Store(), Collecting()
    where = measuring(store, timedelta(seconds=0.2), pushgateway=hanging, textfile=exporter)
    failing = publish(SNAPSHOT, where, {}, NOW)
    assert failing.keys() == {GATEWAY}
    assert failing[GATEWAY].problem.startswith(f"{GATEWAY}: did not accept the metrics within")
    assert (exporter.taken, store.kept) == ([SNAPSHOT], SNAPSHOT)


def test_a_fault_of_ours_is_no_success_and_gives_nothing_away() -> None:
    broken, store = Collecting(RuntimeError("password=hunter2")), Store()
    failing = publish(SNAPSHOT, measuring(store, pushgateway=broken), {}, NOW)
    assert failing[GATEWAY].problem == f"{GATEWAY}: a fault of the watchdog (RuntimeError): please report it"
    assert store.kept == SNAPSHOT


@pytest.mark.parametrize("fault", [Unreachable("no answer"), CredentialsRefused("refused")])
def test_a_server_that_keeps_nothing_does_not_keep_the_numbers_from_others(fault: Exception) -> None:
    exporter = Collecting()
    assert publish(SNAPSHOT, measuring(Store(fault), dogstatsd=exporter), {}, NOW) == {}
    assert exporter.taken == [SNAPSHOT]


def test_what_the_compatible_metrics_lack_is_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    detail = "shorten metrics.compatibility.failed_window"
    facts = ExporterFacts(coverage=Coverage(queries=(Query(name=FAILED, outcome="partial", detail=detail),)))
    seen = observation(exporter=facts)
    known = Measurable(observation=seen, ledger=Ledger(), incidents=Incidents(), outbox=Outbox(), coverage=complete())
    snapshot = take(
        known,
        Effort(requests=40, took=timedelta(0)),
        policies(metrics={"enabled": True, "compatibility": {"enabled": True}}),
    )
    [line] = caplog.records
    assert (line.getMessage(), vars(line)["query"], vars(line)["problem"]) == ("answer incomplete", FAILED, detail)
    outcomes = {sample.labels: sample.value for sample in snapshot.samples[catalog.CHECK_QUERIES.name]}
    assert outcomes["partial",] == 1
    [requests] = snapshot.samples[catalog.CHECK_REQUESTS.name]
    assert requests.value == 40


@pytest.mark.parametrize(
    ("lasts", "severity"), [(minutes(0), "info"), (GRACE - minutes(1), "info"), (GRACE, "warning")]
)
def test_an_exporter_that_fails_is_shown_at_once_and_a_warning_when_it_lasts(lasts: timedelta, severity: str) -> None:
    troubles = {
        GATEWAY: Trouble(since=NOW - lasts, problem=f"{GATEWAY}: no answer", permanent=False),
        "metrics.textfile": Trouble(since=NOW, problem="not configured any more", permanent=True),
    }
    settings = {"metrics": {"enabled": True, "pushgateway": "http://gateway:9091"}}
    outbox = Outbox(outlets=troubles)
    [found] = trouble_findings(outbox, observation(), policies(**settings).config)
    assert (found.check, found.subject.name, found.severity) == ("watchdog", GATEWAY, severity)
    assert found.observed == f"{GATEWAY}: no answer"
    assert found.since == NOW - lasts
    off = policies(**settings, watchdog={"enabled": False})
    assert [*trouble_findings(outbox, observation(), off.config)] == []
    assert [*trouble_findings(outbox, observation(), policies().config)] == []
