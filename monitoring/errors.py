"""The tree of errors. Every message is one line that says what to do.

WatchdogError
├── ConfigError          the configuration cannot be used: exit status 3
├── CredentialsRefused   the Prefect server rejects the API key: exit status 3
├── ServerProblem        the Prefect server cannot be reached, or does not answer like a Prefect server
│   ├── Unreachable      no answer at all
│   └── BadAnswer        an unusable answer: status 500, invalid JSON, an error page
│       └── TooLarge     an answer larger than is read
├── StateError           the watchdog's saved state cannot be used
│   └── LockLost         another check took over while this one ran
└── DeliveryError        something could not be sent; not retried if ``permanent``
"""

from __future__ import annotations

from datetime import timedelta


class WatchdogError(Exception):
    """A foreseeable error. Its message is one line that says what to do."""


class ConfigError(WatchdogError):
    """The configuration cannot be used. The message names line, field, value and what was expected."""


class CredentialsRefused(WatchdogError):
    """The Prefect server rejects the API key or auth string."""


class ServerProblem(WatchdogError):
    """The Prefect server cannot be used now."""


class Unreachable(ServerProblem):
    """Nothing answers at the address in time."""


class BadAnswer(ServerProblem):
    """The server answered, but the answer cannot be used.

    Args:
        message: The request and the answer.
        status: The HTTP status, if there was one.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class TooLarge(BadAnswer):
    """An answer is larger than is read. A request for fewer rows may succeed."""


class StateError(WatchdogError):
    """The watchdog's saved state cannot be used."""


class LockLost(StateError):
    """Another check took over the lock while this check ran; nothing more may be written."""


class DeliveryError(WatchdogError):
    """Something could not be sent.

    Args:
        message: The receiver, its answer, and what to do.
        permanent: True if another attempt cannot succeed (a rejected token, a deleted channel).
        outcome_unknown: True if it may have been sent all the same, so that another attempt may send it twice.
        retry_after: How long the receiver asks to wait before another attempt, if it does.
    """

    def __init__(
        self, message: str, *, permanent: bool, outcome_unknown: bool = False, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.permanent = permanent
        self.outcome_unknown = outcome_unknown
