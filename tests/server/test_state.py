"""The saved state: pure parts, and whole round trips on a real server, stopped at every point."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from benchmarks.state import many_deployments
from demo.stack import Server
from monitoring.adapters.prefect.client.api import Api, open_api
from monitoring.adapters.prefect.store.documents import Documents, aside
from monitoring.adapters.prefect.store.state import (
    LEDGER,
    RECENT,
    BlockState,
    UnreadableError,
    decode,
    encode,
    expired_months,
    kept_months,
    month,
    newest_first,
    pack,
    recent_months,
)
from monitoring.config.settings import Server as ServerSettings
from monitoring.config.settings import State as Settings
from monitoring.errors import LockLost, StateError
from monitoring.model.finding import Finding, Subject
from monitoring.model.incident import Incident, Incidents
from monitoring.model.ledger import EndedRun, Ledger, Record
from monitoring.model.outbox import Delivery, Notice, Outbox
from monitoring.model.request import Request, Silences
from monitoring.model.saved_state import Published, PublishedArtifact, SavedState
from monitoring.model.silence import Silence
from monitoring.model.target import Target
from tests.support.asking import asked
from tests.support.saved_documents import documents_before

NOW = datetime(2026, 3, 15, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)
ANY = TypeAdapter(Any)

moments = st.integers(0, 4 * 10**9).map(lambda second: datetime.fromtimestamp(second, timezone.utc))
jsons = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "schema", "data"]), inner),
    max_leaves=8,
)


def incident(name: str, *, opened: datetime = NOW - DAY, resolved: datetime | None = None) -> Incident:
    finding = Finding(
        fingerprint=f"prefect/failed/deployment/{name}",
        check="failed",
        severity="warning",
        subject=Subject(kind="deployment", id=name, name=f"flow/{name}"),
        flow_run_ids=("a", "b"),
        flow_run_count=2,
        summary="the latest run failed",
        observed="FAILED: \0 é | `x`",
        expected="COMPLETED",
        since=opened,
    )
    return Incident(
        finding=finding,
        opened_at=opened,
        resolved_at=resolved,
        resolution="succeeded" if resolved else None,
    )


def a_state(*, cursor: datetime = NOW, open_: str = "open", closed: tuple[Incident, ...] = ()) -> SavedState:
    run = EndedRun(
        id="r", name="n", state_type="FAILED", state_name="Failed", ended=NOW, run_time=timedelta(seconds=1.5)
    )
    version = Published(id="v", created=NOW)
    return SavedState(
        ledger=Ledger(since=NOW - DAY, cursor=cursor, recent={"r": NOW}, records={"d": Record(last_ended=run)}),
        incidents=Incidents(open={open_: incident(open_)}, next_number=7, began_at=NOW, settled_at=NOW),
        silences=Silences(known=(Silence(id="S-1", check="late", starts_at=NOW, ends_at=NOW + DAY),), next_number=2),
        outbox=Outbox(
            queue=(Delivery(id="prod-1", kind="post", route="default", notice=1, queued_at=NOW),),
            notices=(Notice(number=1, route="default", group="check failed", posted_at=NOW, changed_at=NOW),),
            held={7: "silence"},
            told_until=NOW,
            summarised=True,
        ),
        closed=closed,
        artifacts={"watchdog-health": PublishedArtifact(identity="i", versions=(version,))},
    )


# --- pure ------------------------------------------------------------------------------------------


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
    assert document["schema"] in (1, 2, 3)
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
        ('{"schema": 2, "data": {}}', "cannot be unpacked"),
        ('{"schema": 2, "data": ""}', "cannot be unpacked"),
        ('{"schema": 2, "data": "é"}', "cannot be unpacked"),
        ('{"schema": 2, "data": "QUJD"}', "cannot be unpacked"),
        (encode(pack({})[:-8]), "cannot be unpacked"),
        (encode(b64encode(zlib.compress(b"no JSON")).decode()), "cannot be unpacked"),
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
    assert month(now - age) in recent_months(now)


def test_an_incident_that_was_closed_twice_counts_once() -> None:
    first, again = (incident("x", resolved=NOW + timedelta(minutes=m)) for m in (0, 5))
    other = incident("x", opened=NOW - 2 * DAY, resolved=NOW - DAY)
    assert newest_first([other, first, again]) == (again, other)


# --- on a server -----------------------------------------------------------------------------------


@pytest.fixture
def api(prefect_server: Server) -> Iterator[Api]:
    with open_api(ServerSettings()) as api:
        yield api


def state(api: Api, confirm: Callable[[], None] = lambda: None, *, now: datetime = NOW) -> BlockState:
    return BlockState(Documents(api), Settings(), now, confirm)


def saved(api: Api, after: SavedState, confirm: Callable[[], None] = lambda: None, *, now: datetime = NOW) -> None:
    this = state(api, confirm, now=now)
    before, _ = this.load()
    this.save(before, after)


@pytest.mark.integration
def test_gives_back_all_of_it(api: Api) -> None:
    _gives_back_all_of_it(api)


@pytest.mark.integration
def test_gives_back_all_of_it_on_postgresql(fresh_server: Callable[..., Server]) -> None:
    with open_api(ServerSettings(), Target(address=fresh_server(database="postgresql").api_url)) as api:
        _gives_back_all_of_it(api)


def _gives_back_all_of_it(api: Api) -> None:
    empty, coverage = state(api).load()
    assert empty == SavedState()
    assert coverage.complete
    whole = a_state(closed=(incident("c", resolved=NOW - DAY), incident("b", resolved=NOW - 2 * DAY)))
    saved(api, whole)
    loaded, coverage = state(api).load()
    assert loaded == whole
    assert coverage.complete
    assert Documents(api).names() == [
        "artifacts",
        "closed-2026-03",
        "incidents",
        "ledger",
        "outbox",
        "silences",
    ]


@pytest.mark.integration
def test_takes_over_a_ledger_that_was_written_plain(api: Api) -> None:
    before = a_state()
    Documents(api).write("ledger", encode(before.ledger, ()))
    loaded, coverage = state(api).load()
    assert loaded.ledger == before.ledger
    assert coverage.complete
    saved(api, a_state(cursor=NOW + DAY))
    body = Documents(api).read("ledger")
    assert body is not None
    assert json.loads(body)["schema"] == 3
    assert state(api).load()[0].ledger.cursor == NOW + DAY


@pytest.mark.integration
def test_takes_over_all_that_the_version_before_saved(api: Api) -> None:
    for name, body in documents_before().items():
        Documents(api).write(name, body)
    then = datetime(2026, 11, 24, tzinfo=timezone.utc)

    loaded, coverage = state(api, now=then).load()

    assert coverage.complete
    assert (len(loaded.incidents.open), len(loaded.closed), len(loaded.outbox.queue)) == (7, 4, 6)
    assert (len(loaded.requests), len(loaded.silences.known), len(loaded.artifacts)) == (4, 2, 2)
    assert len(loaded.ledger.records) == 2
    # The next check writes everything anew.
    state(api, now=then).save(SavedState(requests=loaded.requests), loaded)
    assert state(api, now=then).load() == (loaded, coverage)


@pytest.mark.integration
def test_writes_only_what_has_changed(api: Api) -> None:
    saved(api, a_state())
    this = state(api)
    before, _ = this.load()
    requests = asked(api)
    this.save(before, before)
    assert requests == []
    this.save(before, a_state(cursor=NOW + DAY))
    assert len(requests) == 1
    assert state(api).load()[0].ledger.cursor == NOW + DAY


@pytest.mark.integration
def test_loading_takes_two_requests(api: Api) -> None:
    saved(api, a_state(closed=(incident("c", resolved=NOW),)))
    requests = asked(api)
    state(api).load()
    assert len(requests) == 2


@pytest.mark.integration
def test_stopped_between_any_two_writes_it_loses_nothing(api: Api) -> None:
    names = {"was open", "new"}
    stops = 0
    while True:
        for name in Documents(api).names():
            Documents(api).delete(name)
        saved(api, a_state(open_="was open"))
        left = stops

        def confirm() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise LockLost("another check")

        closed = incident("was open", resolved=NOW)
        after = a_state(cursor=NOW + DAY, open_="new", closed=(closed,))
        try:
            saved(api, after, confirm)
        except LockLost:
            finished = False
        else:
            finished = True
        loaded, coverage = state(api).load()
        assert coverage.complete
        known = {*loaded.incidents.open, *(i.finding.subject.id for i in loaded.closed)}
        assert "was open" in known
        # The cursor goes on only when what was learned up to it is kept.
        assert loaded.ledger.cursor == NOW or known == names
        # The next check does what is left.
        saved(api, after)
        assert state(api).load()[0] == after
        if finished:
            break
        stops += 1
    assert stops == 3


@pytest.mark.integration
@pytest.mark.parametrize("name", ["ledger", "silences", "outbox", "artifacts", "closed-2026-03"])
@pytest.mark.parametrize("body", ["rubbish", '{"schema": 1, "data": 7}', '{"schema": 3, "data": "QUJD"}'])
def test_sets_aside_and_reports_what_it_cannot_read(api: Api, name: str, body: str) -> None:
    documents = Documents(api)
    whole = a_state(closed=(incident("c", resolved=NOW),))
    saved(api, whole)
    documents.write(name, body)

    # Readers report it, and leave it where it is.
    for _ in range(2):
        this = state(api)
        loaded, coverage = this.load()
        assert documents.read(name) == body
    field = "closed" if name.startswith("closed") else name
    assert getattr(loaded, field) == getattr(SavedState(), field)
    (problem,) = coverage.queries
    assert (problem.name, problem.outcome) == (f"state-{name}", "partial")
    assert f"set aside as watchdog-document/{aside(name, body)}" in problem.detail

    this.save(loaded, whole)
    assert documents.read(aside(name, body)) == body
    again, coverage = state(api).load()
    assert again == whole
    assert coverage.complete


@pytest.mark.integration
@pytest.mark.parametrize("body", ["rubbish", '{"schema": 1, "data": 7}', '{"schema": 2, "data": {"x": 1}}', None])
def test_lost_incidents_are_news_again_and_their_numbers_are_not_used_twice(api: Api, body: str | None) -> None:
    told = a_state(closed=(incident("c", resolved=NOW).model_copy(update={"number": 41}),))
    saved(api, told)
    if body is None:
        Documents(api).delete("incidents")
    else:
        Documents(api).write("incidents", body)
    loaded, coverage = state(api).load()
    assert (loaded.incidents.open, loaded.incidents.next_number) == ({}, 42)
    # It is not the first day: what is found now is told of, rather twice than never.
    assert loaded.incidents.settled_at == NOW
    assert [query.name for query in coverage.missing] == ([] if body is None else ["state-incidents"])


@pytest.mark.integration
def test_what_was_open_before_there_were_numbers_is_known_and_no_news(api: Api) -> None:
    old = {
        key: one.model_dump(mode="json", include={"finding", "opened_at"})
        for key, one in {"a": incident("a"), "b": incident("b", opened=NOW - 3 * DAY)}.items()
    }
    Documents(api).write("incidents", json.dumps({"schema": 2, "data": old}))
    gone = incident("c", resolved=NOW).model_dump(
        mode="json", include={"finding", "opened_at", "resolved_at", "resolution"}
    )
    Documents(api).write("closed-2026-03", json.dumps({"schema": 2, "data": [gone]}))
    loaded, coverage = state(api).load()
    assert coverage.complete
    assert [(one.id, one.known_before, one.firing) for one in loaded.incidents.open.values()] == [
        ("W-1", True, True),
        ("W-2", True, True),
    ]
    assert (loaded.incidents.next_number, loaded.incidents.settled_at) == (3, NOW - 3 * DAY)
    assert [one.resolution for one in loaded.closed] == ["succeeded"]


@pytest.mark.integration
def test_an_incident_that_came_back_is_open_whatever_its_month_says(api: Api) -> None:
    closed = incident("a", resolved=NOW).model_copy(update={"number": 3})
    saved(api, a_state(closed=(closed,)))
    loaded, _ = state(api).load()
    again = closed.model_copy(update={"resolved_at": None, "resolution": None, "reopened": 1})
    incidents = loaded.incidents.model_copy(update={"open": {again.finding.fingerprint: again}})
    state(api).save(loaded, loaded.model_copy(update={"incidents": incidents, "closed": ()}))
    after, _ = state(api).load()
    assert (list(after.incidents.open), after.closed) == ([again.finding.fingerprint], ())


@pytest.mark.integration
def test_requests_are_read_with_the_state_and_deleted_when_they_are_done(api: Api) -> None:
    saved(api, a_state())
    asked_for = Request(name="request-1", what="close", at=NOW, by="ann", subject="W-1")
    Documents(api).write("request-1", encode([asked_for]))
    Documents(api).write("request-2", "rubbish")
    Documents(api).write("no-request-3", encode([asked_for]))
    this = state(api)
    loaded, coverage = this.load()
    assert loaded.requests == (asked_for,)
    assert [query.name for query in coverage.missing] == ["state-request-2"]
    assert Documents(api).read("request-1")
    this.save(loaded, loaded.model_copy(update={"requests": ()}))
    left = [name for name in Documents(api).names() if "request" in name]
    assert left == ["no-request-3", aside("request-2", "rubbish")]
    # What was set aside is not read for a request.
    assert state(api).load() == (loaded.model_copy(update={"requests": ()}), state(api).load()[1])
    assert state(api).load()[1].complete


@pytest.mark.integration
def test_sets_aside_what_it_cannot_read_even_when_there_is_nothing_else_to_write(api: Api) -> None:
    Documents(api).write("silences", "rubbish")
    saved(api, SavedState())
    assert Documents(api).names() == [aside("silences", "rubbish")]
    assert state(api).load()[1].complete


@pytest.mark.integration
@pytest.mark.parametrize("name", ["ledger", "closed-2026-03"])
def test_leaves_alone_what_a_newer_watchdog_wrote(api: Api, name: str) -> None:
    body = '{"schema": 4, "data": {}, "more": 1}'
    Documents(api).write(name, body)
    with pytest.raises(StateError, match=rf"watchdog-document/{name}.*upgrade"):
        state(api).load()
    assert Documents(api).names() == [name]
    assert Documents(api).read(name) == body


@pytest.mark.integration
def test_a_lost_lock_stops_every_further_write(api: Api) -> None:
    saved(api, a_state())
    documents = {name: Documents(api).read(name) for name in Documents(api).names()}

    def lost() -> None:
        raise LockLost("another check")

    with pytest.raises(LockLost):
        saved(api, a_state(cursor=NOW + DAY, open_="new", closed=(incident("c", resolved=NOW),)), lost)
    assert {name: Documents(api).read(name) for name in Documents(api).names()} == documents


@pytest.mark.integration
def test_files_incidents_by_month_beside_those_that_were_not_read(api: Api) -> None:
    old = incident("old", resolved=NOW - 60 * DAY)
    saved(api, a_state(closed=(old,)))
    loaded, _ = state(api).load()
    assert loaded.closed == ()
    late = incident("late", resolved=NOW - 59 * DAY)
    new = incident("new", resolved=NOW)
    saved(api, a_state(closed=(new, late)))
    assert state(api).load()[0].closed == (new,)
    assert state(api, now=NOW - 59 * DAY).load()[0].closed == (late, old)


@pytest.mark.integration
def test_forgets_old_months_and_only_those(api: Api) -> None:
    documents = Documents(api)
    months = ["closed-2025-06", "closed-2025-11", "closed-2025-12", "closed-2026-01", "closed-2026-03"]
    for name in (*months, "closed-2025-06-broken-1", "config"):
        documents.write(name, encode([]))
    # Ninety days before the 15th of March is the 15th of December.
    saved(api, SavedState())
    assert documents.names() == sorted([*months[2:], "closed-2025-06-broken-1", "config"])
    assert state(api).load()[0] == SavedState()
