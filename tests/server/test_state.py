"""The saved state: whole round trips on a real server, stopped at every point."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone

import pytest

from demo.stack import Server
from monitoring.adapters.prefect.client.api import Api, open_api
from monitoring.adapters.prefect.store.documents import Documents, aside
from monitoring.adapters.prefect.store.state import MAX_PLAIN_OUTBOX, BlockState, encode, pack
from monitoring.config.general_settings import State as Settings
from monitoring.errors import LockLost, StateError
from monitoring.model.policy import ApiSettings as ServerSettings
from monitoring.model.request import Request
from monitoring.model.saved_state import SavedState
from monitoring.model.target import Target
from tests.support.alert_samples import FAILED, content, delivery
from tests.support.request_log import logged_requests
from tests.support.state_samples import DAY, NOW, a_state, documents_before, incident


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


def test_gives_back_all_of_it(api: Api) -> None:
    _gives_back_all_of_it(api)


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


def test_an_outbox_in_which_thousands_of_messages_wait_stays_small(api: Api) -> None:
    """While they are sent, it is saved twice for each."""
    waiting = tuple(delivery(content("opened", FAILED), id=f"prod-{number}") for number in range(2_000))
    whole = a_state()
    whole = whole.model_copy(update={"outbox": whole.outbox.model_copy(update={"queue": waiting})})
    saved(api, whole)
    assert state(api).load()[0] == whole
    body = Documents(api).read("outbox") or ""
    assert len(body) < MAX_PLAIN_OUTBOX < len(encode(whole.outbox))


def test_takes_over_a_ledger_that_was_written_plain(api: Api) -> None:
    before = a_state()
    Documents(api).write("ledger", encode(before.ledger, ()))
    loaded, coverage = state(api).load()
    assert loaded.ledger == before.ledger
    assert coverage.complete
    saved(api, a_state(cursor=NOW + DAY))
    body = Documents(api).read("ledger")
    assert body is not None
    assert json.loads(body)["schema"] == 5
    assert state(api).load()[0].ledger.cursor == NOW + DAY


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


@pytest.mark.parametrize("cursor", ["0001-01-01T00:00:00Z", (NOW + 2 * DAY).isoformat()], ids=["year-1", "ahead"])
def test_a_cursor_that_cannot_be_right_is_set_aside_and_checks_go_on(api: Api, cursor: str) -> None:
    """As somebody may edit it by hand."""
    Documents(api).write("ledger", encode(pack({"cursor": cursor})))
    broken = state(api)
    before, coverage = broken.load()
    assert [query.name for query in coverage.missing] == ["state-ledger"]
    assert before.ledger.cursor is None
    broken.save(before, a_state())
    assert any("ledger" in name for name in broken.names_set_aside())
    assert state(api).load()[1].complete


def test_writes_only_what_has_changed(api: Api) -> None:
    saved(api, a_state())
    this = state(api)
    before, _ = this.load()
    requests = logged_requests(api)
    this.save(before, before)
    assert requests == []
    this.save(before, a_state(cursor=NOW + DAY))
    assert len(requests) == 1
    assert state(api).load()[0].ledger.cursor == NOW + DAY


def test_loading_takes_two_requests(api: Api) -> None:
    saved(api, a_state(closed=(incident("c", resolved=NOW),)))
    requests = logged_requests(api)
    state(api).load()
    assert len(requests) == 2


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


@pytest.mark.parametrize("body", ["rubbish", '{"schema": 1, "data": 7}', '{"schema": 2, "data": {"x": 1}}', None])
def test_lost_incidents_are_news_once_more_and_their_numbers_are_not_used_twice(api: Api, body: str | None) -> None:
    known = a_state(closed=(incident("c", resolved=NOW).model_copy(update={"number": 41}),))
    saved(api, known)
    if body is None:
        Documents(api).delete("incidents")
    else:
        Documents(api).write("incidents", body)
    loaded, coverage = state(api).load()
    assert (loaded.incidents.open, loaded.incidents.next_number) == ({}, 42)
    # It is not the first day: people are notified of what is found now, rather twice than never, and once in all.
    assert (loaded.incidents.baselined_at, loaded.incidents.lost_at) == (NOW, NOW)
    assert [query.name for query in coverage.missing] == ([] if body is None else ["state-incidents"])


def test_what_was_open_before_there_were_numbers_is_known_and_no_news(api: Api) -> None:
    old = {
        key: known.model_dump(mode="json", include={"finding", "opened_at"})
        for key, known in {"a": incident("a"), "b": incident("b", opened=NOW - 3 * DAY)}.items()
    }
    Documents(api).write("incidents", json.dumps({"schema": 2, "data": old}))
    gone = incident("c", resolved=NOW).model_dump(
        mode="json", include={"finding", "opened_at", "resolved_at", "resolution"}
    )
    Documents(api).write("closed-2026-03", json.dumps({"schema": 2, "data": [gone]}))
    loaded, coverage = state(api).load()
    assert coverage.complete
    assert [(incident.id, incident.preexisting, incident.firing) for incident in loaded.incidents.open.values()] == [
        ("W-1", True, True),
        ("W-2", True, True),
    ]
    assert (loaded.incidents.next_number, loaded.incidents.baselined_at) == (3, NOW - 3 * DAY)
    assert [incident.resolution for incident in loaded.closed] == ["succeeded"]


def test_an_incident_that_came_back_is_open_whatever_its_month_says(api: Api) -> None:
    closed = incident("a", resolved=NOW).model_copy(update={"number": 3})
    saved(api, a_state(closed=(closed,)))
    loaded, _ = state(api).load()
    again = closed.model_copy(update={"resolved_at": None, "resolution": None, "reopened": 1})
    incidents = loaded.incidents.model_copy(update={"open": {again.finding.fingerprint: again}})
    state(api).save(loaded, loaded.model_copy(update={"incidents": incidents, "closed": ()}))
    after, _ = state(api).load()
    assert (list(after.incidents.open), after.closed) == ([again.finding.fingerprint], ())


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


def test_sets_aside_what_it_cannot_read_even_when_there_is_nothing_else_to_write(api: Api) -> None:
    Documents(api).write("silences", "rubbish")
    saved(api, SavedState())
    assert Documents(api).names() == [aside("silences", "rubbish")]
    assert state(api).load()[1].complete


@pytest.mark.parametrize("name", ["ledger", "closed-2026-03"])
def test_leaves_alone_what_a_newer_watchdog_wrote(api: Api, name: str) -> None:
    body = '{"schema": 6, "data": {}, "more": 1}'
    Documents(api).write(name, body)
    with pytest.raises(StateError, match=rf"watchdog-document/{name}.*upgrade"):
        state(api).load()
    assert Documents(api).names() == [name]
    assert Documents(api).read(name) == body


def test_a_lost_lock_stops_every_further_write(api: Api) -> None:
    saved(api, a_state())
    documents = {name: Documents(api).read(name) for name in Documents(api).names()}

    def lost() -> None:
        raise LockLost("another check")

    with pytest.raises(LockLost):
        saved(api, a_state(cursor=NOW + DAY, open_="new", closed=(incident("c", resolved=NOW),)), lost)
    assert {name: Documents(api).read(name) for name in Documents(api).names()} == documents


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


def test_forgets_old_months_and_only_those(api: Api) -> None:
    documents = Documents(api)
    months = ["closed-2025-06", "closed-2025-11", "closed-2025-12", "closed-2026-01", "closed-2026-03"]
    for name in (*months, "closed-2025-06-broken-1", "config"):
        documents.write(name, encode([]))
    # Ninety days before the 15th of March is the 15th of December.
    saved(api, SavedState())
    assert documents.names() == sorted([*months[2:], "closed-2025-06-broken-1", "config"])
    assert state(api).load()[0] == SavedState()
