"""What an earlier version saved is loaded whole, and saved again without loss."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import TypeAdapter

from monitoring.adapters.prefect.store.state import INCIDENTS, LEDGER, decode, encode, packed_ledger, unpack
from monitoring.checks.failed import CHECK as FAILED
from monitoring.checks.late import CHECK as LATE
from monitoring.checks.slow import CHECK as SLOW
from monitoring.config.file import parse
from monitoring.metrics.snapshot import Snapshot
from monitoring.model.incident import Incident
from monitoring.model.outbox import Outbox
from monitoring.model.request import Request, Silences
from monitoring.model.saved_state import PublishedArtifact
from tests.support.state_samples import documents_before

BEFORE = documents_before()
REQUESTS = [name for name in BEFORE if name.startswith("request-")]
NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
ADAPTERS: Mapping[str, TypeAdapter[Any]] = {
    "ledger": LEDGER,
    "incidents": INCIDENTS,
    "silences": TypeAdapter(Silences),
    "outbox": TypeAdapter(Outbox),
    "artifacts": TypeAdapter(dict[str, PublishedArtifact]),
    "closed-2026-11": TypeAdapter(tuple[Incident, ...]),
    **dict.fromkeys(REQUESTS, TypeAdapter(tuple[Request, ...])),
}
#: Where a migration has moved a field of a saved document: document -> patterns of paths before, and paths since.
MOVED: Mapping[str, Mapping[str, str]] = {
    "incidents": {
        "^/settled_at$": "/baselined_at",
        "/known_before$": "/preexisting",
        "/freed_at$": "/uninhibited_at",
    },
    "closed-2026-11": {"/known_before$": "/preexisting", "/freed_at$": "/uninhibited_at"},
    "outbox": {
        r"^(/queue/\d+/content/incidents/\d+)/known_before$": r"\1/preexisting",
        r"^(/queue/\d+/content/incidents/\d+)/freed_at$": r"\1/uninhibited_at",
        "^/notices/": "/notifications/",
        "^/next_notice$": "/next_notification",
        "^/told_until$": "/events_until",
        r"^/held/(\d+)$": r"/suppressed/\1/note",
        r"^(/queue/\d+)/notice$": r"\1/notification",
        r"^(/queue/\d+)/doubtful$": r"\1/outcome_unknown",
        r"^(/queue/\d+)/refused$": r"\1/rejected",
    },
}


def loaded(name: str) -> Any:
    return decode(name, BEFORE[name], ADAPTERS[name])


def data(name: str, body: str) -> Any:
    content = json.loads(body)["data"]
    return unpack(content) if name == "ledger" else content


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, object]]:
    """Each scalar of a document with its path; an empty list or mapping counts as one."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{path}/{key}")
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}/{index}")
    else:
        yield path, value


def moved(name: str, path: str) -> str:
    """The path at which a field of a document is saved now."""
    for before, since in MOVED.get(name, {}).items():
        path = re.sub(before, since, path)
    return path


def test_every_kind_of_document_is_there() -> None:
    assert set(BEFORE) == {*ADAPTERS, "metrics", "config"}


@pytest.mark.parametrize("name", ADAPTERS)
def test_saves_again_what_it_has_loaded(name: str) -> None:
    before = dict(leaves(data(name, BEFORE[name])))
    expected = {moved(name, path): value for path, value in before.items()}
    body = encode(packed_ledger(name, loaded(name)))

    after = dict(leaves(data(name, body)))

    # A newer version may say more than was saved; it loses and changes nothing.
    assert {path: after.get(path, "<lost>") for path in expected} == expected
    assert decode(name, body, ADAPTERS[name]) == loaded(name)


def test_open_incidents() -> None:
    incidents = loaded("incidents")

    assert [incident.id for incident in incidents.open.values()] == ["W-5", "W-4", "W-6", "W-8", "W-9", "W-10", "W-11"]
    assert all(incident.firing for incident in incidents.open.values())
    assert incidents.next_number == 12
    # What their fingerprints begin with, then the name of the server, is its id from then on.
    assert incidents.target_id == "prod"
    failed = incidents.open["prod/failed/deployment/etl/nightly"]
    assert failed.acknowledged.by == "ana@laptop"
    assert failed.acknowledged.at == NOON + timedelta(minutes=30)
    assert [step.reason for step in failed.history] == ["found", "acknowledged", "better"]
    assert failed.finding.severity == "warning"
    assert failed.finding.cause.path == ("nightly", "load-orders", "task load")
    assert failed.finding.evidence[-1] == "ValueError: no <rows> & `none`"
    waits, pool = (
        incidents.open[f"prod/{name}"] for name in ("late/deployment/etl/waits", "work-pool/work-pool/etl-pool")
    )
    assert waits.finding.symptom_of == pool.finding.fingerprint
    assert list(incidents.closed_by_hand) == ["prod/failed/deployment/etl/manual"]


def test_closed_incidents() -> None:
    assert [(incident.id, incident.resolution) for incident in loaded("closed-2026-11")] == [
        ("W-7", "cleared"),
        ("W-2", "cleared"),
        ("W-3", "closed"),
        ("W-1", "cleared"),
    ]


def test_outbox() -> None:
    outbox = loaded("outbox")

    assert [(delivery.kind, delivery.id.startswith("prod-")) for delivery in outbox.queue] == [
        ("post", True),
        ("reply", True),
        ("event", False),
        ("event", False),
        ("reply", True),
        ("update", True),
    ]
    post, details, event = outbox.queue[:3]
    assert (post.attempts, post.not_before) == (4, NOON + timedelta(minutes=108))
    assert [incident.id for incident in post.content.incidents] == ["W-7"]
    assert details.content.notes == ("W-3 is told only now: S-1 (migration)",)
    assert (event.event.name, event.event.payload["incident"]) == ("watchdog.incident.resolved", "W-2")
    members = [member.number for notification in outbox.notifications for member in notification.members]
    assert members == [
        4,
        5,
        7,
        8,
        9,
        10,
        10,
    ]
    assert outbox.notifications[0].message.ts == "1"
    assert outbox.tallies["default"].failed == 4
    assert outbox.troubles["default"].problem == "Slack does not answer (timeout)"
    assert set(outbox.suppressed) == {6, 11, *range(90, 96)}
    assert all(suppression.text for suppression in outbox.suppressed.values())


def test_silences_and_action_requests() -> None:
    silences = loaded("silences")
    requests = [request for name in REQUESTS for request in loaded(name)]

    assert [(silence.id, silence.deployment, silence.check) for silence in silences.known] == [
        ("S-1", "report/*", "slow"),
        ("S-2", None, "slow"),
    ]
    assert silences.next_number == 3
    assert [(request.by, request.subject, request.note) for request in requests] == [
        ("ana@laptop", "", "vendor's upgrade"),
        ("ben@host", "S-1", "done early"),
        ("ana@laptop", "W-3", "on it"),
        ("ben@host", "W-2", ""),
    ]
    assert requests[0].silence.ends_at == NOON + timedelta(days=1)


def test_ledger() -> None:
    ledger = loaded("ledger")
    record = ledger.records["7a7a0c56-0000-4000-8000-000000000001"]

    assert (ledger.cursor, ledger.cursor_before) == (NOON, NOON - timedelta(minutes=5))
    assert record.last_ended.failure.path[0].flow_name == "load-orders"
    assert record.last_success.run_time == timedelta(minutes=3)
    assert (record.streak.length, record.streak.run_ids) == (3, ("r3", "r2", "r1"))
    assert record.run_times.months["2026-10"] == ((12, 59.25), (77, 64.0))
    assert record.counts.ends == {"COMPLETED": 12, "FAILED": 3, "CRASHED": 1, "CANCELLED": 2}
    assert record.counts.run_time == 1234.5


def test_artifacts() -> None:
    artifacts = loaded("artifacts")

    assert {key: [version.id for version in artifact.versions] for key, artifact in artifacts.items()} == {
        "watchdog-health": ["a1", "a2"],
        "watchdog-incidents": ["b1"],
    }


def test_metrics() -> None:
    before = unpack(BEFORE["metrics"])

    snapshot = Snapshot.model_validate(before)

    after = dict(leaves(json.loads(snapshot.model_dump_json(exclude_none=True))))
    assert {path: after.get(path, "<lost>") for path, _ in leaves(before)} == dict(leaves(before))


def test_pushed_configuration() -> None:
    config = parse(BEFORE["config"], "pushed").config

    assert (config.target.name, config.slack.channel) == ("prod", "alerts")
    assert LATE.settings(config).after == timedelta(minutes=10)
    assert (FAILED.settings(config).tolerate, FAILED.settings(config).hold) == (1, timedelta(minutes=5))
    assert config.alerts.traceback
    (rule,) = config.rules
    assert (rule.match.deployment, rule.match.tag, rule.owner) == ("etl/*", "nightly", "@data")
    assert SLOW.settings(rule).limit == timedelta(hours=6)
