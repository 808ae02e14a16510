"""What a check by hand starts from: the state that a deployed watchdog keeps on the server. It is only read."""

from __future__ import annotations

from datetime import datetime, timedelta

from monitoring.config.policy import Policies
from monitoring.errors import WatchdogError
from monitoring.model.base import Value
from monitoring.model.coverage import Coverage
from monitoring.model.ledger import Ledger
from monitoring.model.report import Basis
from monitoring.model.saved_state import SavedState
from monitoring.usecases.assess import Assessment, assess, known_report
from monitoring.usecases.ports import Reader, State


class Start(Value):
    """What a check by hand starts from."""

    saved: SavedState = SavedState()
    #: Coverage of the documents.
    known: Coverage = Coverage()
    basis: Basis


def start(state: State, window: timedelta, now: datetime) -> Start:
    """Start from the saved state, as the next deployed check will.

    A document that cannot be read counts as empty, and the coverage names it. State that cannot be read at all, because
    a newer watchdog wrote it or the key may not read it, is no fault of the server's: the check starts without it.

    Args:
        state: Keeps the saved state.
        window: How far back ended runs are read without a ledger. An older ledger is left out: to continue it means to
            read every run since, which may be weeks, when checks have stopped.
        now: The time of the check.
    """
    try:
        saved, known = state.load()
    except WatchdogError as problem:
        return Start(basis=Basis(use="unreadable", detail=str(problem)))
    cursor = saved.ledger.cursor
    if cursor is None:
        problems = "; ".join(query.detail for query in known.missing if query.name == "state-ledger")
        return Start(saved=saved, known=known, basis=Basis(use="unreadable" if problems else "none", detail=problems))
    if now - cursor > window:
        saved = saved.model_copy(update={"ledger": Ledger()})
        return Start(saved=saved, known=known, basis=Basis(use="old", checked_at=cursor))
    return Start(saved=saved, known=known, basis=Basis(use="used", checked_at=cursor))


def assess_by_hand(reader: Reader, begun: Start, policies: Policies, now: datetime) -> Assessment:
    """Assess the server as the next deployed check will, without saving anything."""
    saved = begun.saved
    seen = assess(reader, saved.ledger, policies, now, begun.known, saved.incidents, saved.outbox)
    silences = (*saved.silences.known, *seen.observation.maintenance)
    report = known_report(seen, saved.incidents, silences)
    # Of a server that cannot be used, it says nothing that its state cannot be read either.
    basis = None if report.server.problem else begun.basis
    return seen.model_copy(update={"report": report.model_copy(update={"basis": basis})})


def fresh(why: str) -> Start:
    """Start without saved state, because of an option."""
    return Start(basis=Basis(use="fresh", detail=why))
