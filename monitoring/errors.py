"""What can go wrong, as a tree. Every message is one line that says what to do.

WatchdogError
├── ConfigError          the configuration cannot be used: exit status 3
├── CredentialsRefused   the Prefect server refuses our key: exit status 3
├── ServerProblem        the Prefect server cannot be reached, or does not answer as one
│   ├── Unreachable      no answer at all
│   └── BadAnswer        an answer that is no answer: a status of 500, rubbish, a broken page
├── StateError           the watchdog's saved state cannot be used
│   └── LockLost         another check took over while this one ran
└── DeliveryError        something could not be sent; ``permanent`` tells whether to try again
"""

from __future__ import annotations

from datetime import timedelta


class WatchdogError(Exception):
    """A foreseeable fault, told in one line that says what to do."""


class ConfigError(WatchdogError):
    """The configuration cannot be used. The message names line, field, value and what was expected."""


class CredentialsRefused(WatchdogError):
    """The Prefect server refuses the API key or auth string."""


class ServerProblem(WatchdogError):
    """The Prefect server cannot be used now."""


class Unreachable(ServerProblem):
    """Nothing answers at the address, or not in time."""


class BadAnswer(ServerProblem):
    """The server answered, and the answer cannot be used.

    Args:
        message: What was asked and what came back.
        status: The HTTP status, if there was one.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class StateError(WatchdogError):
    """The watchdog's saved state cannot be used."""


class LockLost(StateError):
    """Another check took the lock over while this one ran; nothing more may be written."""


class DeliveryError(WatchdogError):
    """Something could not be sent.

    Args:
        message: Where to, what was answered, and what to do.
        permanent: True when trying again cannot help (a refused token, a channel that is gone).
        outcome_unknown: True when it may have been sent all the same, so that another attempt may send it twice.
        retry_after: When the receiver wants to be asked again, where it says so.
    """

    def __init__(
        self, message: str, *, permanent: bool, outcome_unknown: bool = False, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.permanent = permanent
        self.outcome_unknown = outcome_unknown
