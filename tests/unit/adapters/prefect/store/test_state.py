"""How documents of the saved state are written, read and migrated, and which months are read and deleted."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from benchmarks.state import many_deployments
from monitoring.adapters.prefect.store.state import (
    LEDGER,
    RECENT,
    UnreadableError,
    decode,
    encode,
    expired_months,
    kept_months,
    month,
    newest_first,
    pack,
)
from monitoring.errors import StateError
from monitoring.model.outbox import Outbox
from tests.support.state_samples import DAY, NOW, a_state, incident

ANY = TypeAdapter(Any)


moments = st.integers(0, 4 * 10**9).map(lambda second: datetime.fromtimestamp(second, timezone.utc))


jsons = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "schema", "data"]), inner),
    max_leaves=8,
)


@given(jsons)
def test_reads_what_it_wrote(data: Any) -> None:
    assert decode("x", encode(data), ANY) == data


@given(st.text() | jsons.map(json.dumps))
def test_anything_else_is_unreadable_or_newer_and_nothing_worse(body: str) -> None:
    try:
        decode("ledger", body, LEDGER)
    except (UnreadableError, StateError):
        return
    document = json.loads(body)
    assert document["schema"] in (1, 2, 3, 4, 5)
    assert "data" in document


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"schema": 1}', "not a document"),
        ('{"schema": true, "data": {}}', "not a document"),
        ('{"schema": 0, "data": {}}', "not a document"),
        ("[1]", "not a document"),
        ('{"schema": 1, "data": {"cursor": "yesterday"}}', "cursor: .*datetime"),
        (encode(pack({"cursor": "yesterday"})), "cursor: .*datetime"),
        (encode(pack({"cursor": "0001-01-01T00:00:00Z"})), "cursor: .*1900"),
        (encode(pack({"cursor": "9999-12-31T23:59:59Z"})), "cursor: .*9000"),
        ('{"schema": 2, "data": {}}', "cannot be unpacked"),
        ('{"schema": 2, "data": ""}', "cannot be unpacked"),
        ('{"schema": 2, "data": "é"}', "cannot be unpacked"),
        ('{"schema": 2, "data": "QUJD"}', "cannot be unpacked"),
        (encode(pack({})[:-8]), "cannot be unpacked"),
        (encode(b64encode(zlib.compress(b"no JSON")).decode()), "cannot be unpacked"),
        (encode(b64encode(zlib.compress(b"[" + b" " * (64 << 20) + b"]")).decode()), "cannot be unpacked"),
    ],
)
def test_says_what_is_wrong_with_a_document(body: str, problem: str) -> None:
    with pytest.raises(UnreadableError, match=problem):
        decode("ledger", body, LEDGER)


def test_reads_a_ledger_that_was_written_plain() -> None:
    ledger = a_state().ledger

    assert decode("ledger", encode(ledger, ()), LEDGER) == ledger


def test_a_ledger_of_many_deployments_is_short() -> None:
    """What is measured by benchmarks/state.py, in small: random run times are hard to compress."""
    ledger = many_deployments(200)
    plain, packed = encode(ledger), encode(pack(ledger))

    assert decode("ledger", packed, LEDGER) == ledger
    assert len(packed) < 0.5 * len(plain)


def test_migrates_through_every_version_in_order() -> None:
    migrations = (lambda name, data: [*data, f"{name} 2"], lambda name, data: [*data, f"{name} 3"])
    for schema, expected in ((1, ["x 2", "x 3"]), (2, ["x 3"]), (3, [])):
        assert decode("x", json.dumps({"schema": schema, "data": []}), ANY, migrations) == expected
    assert json.loads(encode([], migrations)) == {"schema": 3, "data": []}
    with pytest.raises(StateError, match=r"schema 4, this one knows 3.*upgrade"):
        decode("x", '{"schema": 4, "data": []}', ANY, migrations)
    with pytest.raises(UnreadableError, match="migrated"):
        decode("x", '{"schema": 1, "data": null}', ANY, migrations)


def test_an_outbox_of_the_version_before_keeps_its_queue_and_its_reasons_in_words() -> None:
    delivery = {"id": "prod-1", "kind": "post", "route": "default", "notice": 3, "queued_at": NOW.isoformat()}
    notice = {"number": 3, "route": "default", "group": "check late", "posted_at": NOW.isoformat()}
    old = {
        "queue": [{**delivery, "doubtful": True, "refused": True, "attempts": 2}],
        "notices": [{**notice, "changed_at": NOW.isoformat(), "members": [{"number": 7, "severity": "warning"}]}],
        "next_notice": 4,
        "next_delivery": 2,
        "told_until": NOW.isoformat(),
        "held": {"8": "explained by W-7"},
        "summarised": True,
    }
    loaded = decode("outbox", json.dumps({"schema": 3, "data": old}), TypeAdapter(Outbox))
    [queued], [notification] = loaded.queue, loaded.notifications
    assert (queued.notification, queued.outcome_unknown, queued.rejected, queued.attempts) == (3, True, True, 2)
    assert (notification.number, notification.members[0].number, loaded.next_notification) == (3, 7, 4)
    assert (loaded.events_until, loaded.summarised) == (NOW, True)
    assert {number: reason.text for number, reason in loaded.suppressed.items()} == {8: "explained by W-7"}
    assert decode("outbox", encode(loaded), TypeAdapter(Outbox)) == loaded


@given(moments, st.timedeltas(timedelta(seconds=1), timedelta(days=800)))
def test_forgets_months_only_when_all_of_them_is_old_enough(now: datetime, keep: timedelta) -> None:
    expired = expired_months(now, keep)
    # Names of months sort as the months do; so nothing that is young enough, and every one right before it.
    assert max(expired) < month(now - keep)
    assert month((now - keep).replace(day=1) - DAY) == expired[0]
    assert len(set(expired)) == len(expired)


@given(moments, st.timedeltas(timedelta(0), timedelta(days=800)), st.floats(0, 1))
def test_knows_the_months_of_all_incidents_that_are_kept(now: datetime, keep: timedelta, part: float) -> None:
    kept = kept_months(now, keep)
    assert month(now - part * keep) in kept
    assert (kept[0], kept[-1]) == (month(now), month(now - keep))
    assert kept == sorted(set(kept), reverse=True)


@given(moments, st.timedeltas(timedelta(0), RECENT))
def test_reads_the_months_of_all_recent_incidents(now: datetime, age: timedelta) -> None:
    assert month(now - age) in kept_months(now, RECENT)


def test_an_incident_that_was_closed_twice_counts_once() -> None:
    first, again = (incident("x", resolved=NOW + timedelta(minutes=m)) for m in (0, 5))
    other = incident("x", opened=NOW - 2 * DAY, resolved=NOW - DAY)
    assert newest_first([other, first, again]) == (again, other)
