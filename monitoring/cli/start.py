"""The option ``--fresh``, and what a command by hand starts from."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from monitoring.cli.terminal import print_error
from monitoring.model.report import Basis
from monitoring.usecases.by_hand import Start, fresh, start

if TYPE_CHECKING:
    from monitoring.wiring import Session

Fresh = Annotated[
    bool, Parameter(name="--fresh", negative="", help="Look without the state that a deployed watchdog keeps there.")
]


def begin(server: Session, now: datetime, without: str | None) -> Start:
    """Read what to start from, unless an option leaves it out."""
    if without is not None:
        return fresh(without)
    return start(server.state(), server.config.target.window, now)


def print_unreadable(basis: Basis | None) -> None:
    """Print on stderr why the saved state cannot be read, if it cannot."""
    if basis and basis.use == "unreadable":
        print_error(f"The saved state cannot be read: {basis.detail}")
