"""Action requests from the command line."""

from __future__ import annotations

from typing import Literal

from monitoring.model.base import Timestamp, Value
from monitoring.model.silence import Silence

Action = Literal["silence", "expire", "acknowledge", "close"]


class Request(Value):
    """An action that somebody requested at the command line; the next check applies or rejects it."""

    #: The name of the document that holds it.
    name: str
    what: Action
    at: Timestamp
    by: str
    #: ``S-3`` to expire, ``W-12`` to acknowledge or to close.
    subject: str = ""
    note: str = ""
    #: For ``silence``; without an id, which the check gives.
    silence: Silence | None = None


class Silences(Value):
    """The silences that people have requested."""

    known: tuple[Silence, ...] = ()
    next_number: int = 1
