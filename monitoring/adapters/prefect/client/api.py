"""Requests to the Prefect API, through Prefect's own client, with bounded retries of our own.

Prefect's client brings keys, CSRF, TLS and proxies as the user has set them up. Its retries are turned off: against a
server that answers only 503 they take two minutes, and even the last failed attempt sleeps as long as
``Retry-After`` says (prefect/client/base.py, ``_send_with_retry``).
"""

from __future__ import annotations

import math
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime
from statistics import median
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import quote

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_KEY,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_UI_URL,
    temporary_settings,
)
from pydantic import SecretStr, TypeAdapter, ValidationError

from monitoring.adapters.prefect.client.bounds import ENCODING, Connections, bound_body
from monitoring.errors import BadAnswer, ConfigError, CredentialsRefused, ServerProblem, TooLarge, Unreachable
from monitoring.model.policy import ApiSettings
from monitoring.model.target import OWN_SERVER, Target

T = TypeVar("T")
Method = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]

_BUSY = frozenset({408, 429, 502, 503, 504})
_MAX_WAIT = 5.0
_NOT_FOUND = 404
_NO_API = "is this a Prefect API? Its address usually ends in /api"


@dataclass(eq=False)
class _Busy(Exception):
    response: httpx.Response


@dataclass(eq=False)
class _Retryable(Exception):
    """A request failed in a way that another attempt may not."""

    #: What the caller learns after the last attempt.
    problem: ServerProblem
    #: Seconds to wait, where the server said so.
    retry_after: float | None = None


def _raise_if_busy(response: httpx.Response) -> None:
    if response.status_code in _BUSY or response.headers.get("Prefect-Maintenance") == "true":
        raise _Busy(response)


class Answer(NamedTuple):
    """What an answer shows of the server, in seconds: how long it took, and its clock minus ours if it has a date."""

    seconds: float
    clock_offset: float | None


@dataclass
class Traffic:
    """The load of an Api on the server so far: requests sent, bytes of answers, seconds of waiting for them."""

    requests: int = 0
    bytes: int = 0
    seconds: float = 0.0
    answers: list[Answer] = field(default_factory=list)

    @property
    def clock_offset(self) -> timedelta | None:
        """The server's clock minus ours; the median, as some answers wait in a queue, and no finer than can be seen."""
        offsets = [answer.clock_offset for answer in self.answers if answer.clock_offset is not None]
        return timedelta(seconds=round(median(offsets))) if offsets else None


class Api:
    """A Prefect API, opened by ``open_api``."""

    def __init__(self, client: SyncPrefectClient, connections: Connections, settings: ApiSettings) -> None:
        self._client = client
        self._connections = connections
        self._settings = settings
        self._timeout = settings.timeout.total_seconds()
        self._waiting_left = settings.retry_budget.total_seconds()
        #: By the monotonic clock, in seconds.
        self._deadline = math.inf
        #: Called before each request: the check keeps its lock alive here.
        self.before_request: Callable[[], None] = lambda: None
        # An address may carry a password; what is shown must not. Prefect derives the UI's from the API's.
        self.url = _shown(str(client.api_url))
        self.ui_url = _shown(PREFECT_UI_URL.value() or self.url.removesuffix("/api"))
        self.traffic = Traffic()
        self._credentials = [setting.name for setting in (PREFECT_API_KEY, PREFECT_API_AUTH_STRING) if setting.value()]

    @contextmanager
    def within(self, span: timedelta, since: float | None = None) -> Iterator[None]:
        """Let the requests in the body of a ``with`` take this long together; what is late then is ``Unreachable``.

        Args:
            span: How long.
            since: From when on, by the monotonic clock in seconds; by default from now on.
        """
        before = self._deadline
        started = time.monotonic() if since is None else since
        self._deadline = min(before, started + span.total_seconds())
        try:
            yield
        finally:
            self._deadline = before

    def get(self, path: str, **params: Any) -> Any:
        """Read an object. Errors are those of ``request``."""
        return self.request("GET", path, params=params or None)

    def find(self, path: str, **params: Any) -> Any:
        """Read an object; None where the server has no such thing (404)."""
        try:
            return self.get(path, **params)
        except BadAnswer as answer:
            if answer.status != _NOT_FOUND:
                raise
            return None

    def read(self, path: str, kind: type[T], **params: Any) -> T | None:
        """Read an object and validate that it is of a kind; None where the server has no such thing (404).

        Raises:
            BadAnswer: The answer has another form. Other errors are those of ``request``.
        """
        answer = self.find(path, **params)
        return None if answer is None else self._validated("GET", path, answer, kind)

    def block(self, reference: str, **params: Any) -> dict[str, Any] | None:
        """Read a block by its type and name, such as ``slack-webhook/ops``; None if there is no such block."""
        kind, _, name = (quote(part, safe="") for part in reference.partition("/"))
        return self.read(f"/block_types/slug/{kind}/block_documents/name/{name}", dict[str, Any], **params)

    def secret(self, block: str, variable: str = "") -> str | None:
        """Read a secret from an environment variable, or from a Secret block; None if there is neither.

        Raises:
            ConfigError: The block's value is not text.
            ServerProblem: The server cannot be queried.
        """
        if given := os.environ.get(variable, "").strip():
            return given
        document = self.block(f"secret/{block}", include_secrets="true")
        if document is None:
            return None
        secret = (document.get("data") or {}).get("value")
        if not isinstance(secret, str) or not secret.strip():
            raise ConfigError(f"Secret block {block!r}: its value is no text; expected a string")
        return secret.strip()

    def deployment(self, name: str) -> dict[str, Any] | None:
        """Read the deployment ``FLOW/DEPLOYMENT``; None if there is no such deployment."""
        flow, _, own_name = (quote(part, safe="") for part in name.partition("/"))
        return self.read(f"/deployments/name/{flow}/{own_name}", dict[str, Any])

    def post(self, path: str, body: Any) -> Any:
        """Send a body, most often a filter. Errors are those of ``request``."""
        return self.request("POST", path, json=body)

    def query(self, path: str, body: Any, kind: type[T]) -> T:
        """Send a filter, and validate that the answer is of a kind. Errors are those of ``read``."""
        return self._validated("POST", path, self.post(path, body), kind)

    def _validated(self, method: Method, path: str, answer: Any, kind: type[T]) -> T:
        try:
            value: T = TypeAdapter(kind).validate_python(answer)
        except ValidationError:
            raise BadAnswer(f"{self.url} answers {method} {path} with something else: is it a Prefect API?") from None
        return value

    def delete(self, path: str) -> None:
        """Delete an object; if it is gone already, that is fine."""
        self.accepts("DELETE", path, unless=_NOT_FOUND)

    def accepts(self, method: Method, path: str, *, unless: int, **arguments: Any) -> bool:
        """Send a request; return False if it is answered with the status ``unless``, which the caller expects."""
        try:
            self.request(method, path, **arguments)
        except BadAnswer as answer:
            if answer.status != unless:
                raise
            return False
        return True

    def request(self, method: Method, path: str, **arguments: Any) -> Any:
        """Send a request and return the decoded answer, None for an empty one.

        Args:
            method: The HTTP method.
            path: The path below the API's address, with a leading slash.
            arguments: ``params`` or ``json``, as httpx takes them.

        Raises:
            CredentialsRefused: 401 or 403.
            Unreachable: No answer, or none in time.
            TooLarge: The answer is larger than ``bounds.MAX_ANSWER``.
            BadAnswer: Any other answer that is not a success, or not JSON; ``status`` tells which.
        """
        attempts = self._settings.attempts
        for attempt in range(1, attempts + 1):
            self._raise_if_late(method, path)
            self.before_request()
            try:
                return self._attempt(method, path, arguments)
            except _Retryable as failure:
                problem, wait = failure.problem, failure.retry_after or _backoff(attempt)
            if attempt == attempts or wait > min(_MAX_WAIT, self._waiting_left, self._deadline - time.monotonic()):
                raise problem
            self._waiting_left -= wait
            time.sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _raise_if_late(self, method: Method, path: str) -> None:
        if time.monotonic() >= self._deadline:
            raise Unreachable(
                f"{self.url} was too slow: no time was left for {method} {path}; look at the server's load, or raise "
                "server.deadline"
            )

    def _attempt(self, method: Method, path: str, arguments: dict[str, Any]) -> Any:
        started = time.monotonic()
        try:
            return self._send(method, path, arguments)
        except _Busy as busy:
            status = busy.response.status_code
            problem = BadAnswer(
                f"{self.url} answers {status} to {method} {path}: it is overloaded, limited or restarting; "
                "look at the server's log",
                status,
            )
            raise _Retryable(problem, _seconds(busy.response.headers.get("Retry-After"))) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            # Prefect's client has already tried to connect four times.
            raise self._silent(error) from None
        except (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError) as error:
            self._raise_if_late(method, path)
            # A server that hangs costs its timeout, which counts as waiting, too.
            self._waiting_left -= time.monotonic() - started
            raise _Retryable(self._silent(error)) from None
        except TooLarge as error:
            raise TooLarge(f"{self.url} answers {method} {path} with too much: {error}") from None
        except PrefectHTTPStatusError as error:
            raise self._rejected(method, path, error.response) from None
        except httpx.HTTPError as error:
            raise Unreachable(
                f"cannot speak to {self.url} ({type(error).__name__}): is PREFECT_API_URL right?"
            ) from None

    def _rejected(self, method: Method, path: str, response: httpx.Response) -> Exception:
        status = response.status_code
        if status in (401, 403) and "CSRF" not in response.text:
            if not self._credentials:
                missing = "set PREFECT_API_KEY or PREFECT_API_AUTH_STRING"
                return CredentialsRefused(f"{self.url} refuses requests without credentials ({status}): {missing}")
            which = " and ".join(self._credentials)
            return CredentialsRefused(f"{self.url} refuses the credentials in {which} ({status}): correct them")
        advice = _NO_API if status in (_NOT_FOUND, 405) else "look at the server's log"
        problem = BadAnswer(f"{self.url} answers {status} to {method} {path}: {advice}", status)
        return _Retryable(problem) if status >= 500 or status == 403 else problem

    def _silent(self, error: httpx.HTTPError) -> Unreachable:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return Unreachable(
                f"the certificate of {self.url} cannot be verified: set PREFECT_API_SSL_CERT_FILE to the file with the "
                "certificate of who signed it"
            )
        return Unreachable(
            f"no answer from {self.url} ({type(error).__name__}): is the server running, and PREFECT_API_URL right?"
        )

    def _send(self, method: Method, path: Any, arguments: dict[str, Any]) -> Any:
        started, sent_at = time.monotonic(), time.time()
        self.traffic.requests += 1
        try:
            with self._connections.cut_after(self._timeout, self._deadline):
                response = self._client.request(method, path, **arguments)
            seconds = time.monotonic() - started
            self.traffic.answers.append(Answer(seconds, _clock_offset(response, sent_at + seconds / 2)))
            self.traffic.bytes += len(response.content)
            return response.json() if response.content else None
        except (ValueError, RecursionError):
            # The answer to the request, or to the one for a CSRF token that Prefect's client sends before it. JSON that
            # is nested deeper than Python can read is none either.
            raise BadAnswer(f"{self.url} answers {method} {path} with something that is not JSON: {_NO_API}") from None
        finally:
            self.traffic.seconds += time.monotonic() - started


def _clock_offset(response: httpx.Response, our_time: float) -> float | None:
    """How far the server's clock is ahead of ours, in seconds; None where the answer has no readable date."""
    try:
        # The header has whole seconds: on average the server's time was half a second later.
        return parsedate_to_datetime(response.headers.get("Date", "")).timestamp() + 0.5 - our_time
    except (ValueError, TypeError, OverflowError):
        return None


def _shown(address: str) -> str:
    """An address without the user and password that it may carry, however malformed."""
    return re.sub(r"^([a-z][a-z0-9+.-]*://)?.*@", r"\1", address, flags=re.IGNORECASE | re.DOTALL).rstrip("/")


def _backoff(attempt: int) -> float:
    # Clients that were refused together must not come back together: SQLite takes one writer at a time.
    return random.uniform(0.25, 0.75) * 2.0**attempt


def _seconds(retry_after: str | None) -> float | None:
    try:
        return max(0.1, float(retry_after)) if retry_after else None
    except ValueError:
        return None


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value else None


@contextmanager
def open_api(settings: ApiSettings, target: Target = OWN_SERVER) -> Iterator[Api]:
    """Open the API of a target, by default of the server that Prefect's settings name.

    Raises:
        ConfigError: No address is set, or it is not one.
    """
    address = target.address or PREFECT_API_URL.value()
    if not address:
        raise ConfigError("PREFECT_API_URL: not set; expected the API's address, such as http://127.0.0.1:4200/api")
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        hidden = (
            " (the user and password before it are not shown; a / in them is written %2F)" if "@" in address else ""
        )
        raise ConfigError(
            f"PREFECT_API_URL: {_shown(address)!r}{hidden}; expected an address such as http://127.0.0.1:4200/api"
        )
    overrides: dict[Any, Any] = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_URL: address}
    if target.address:
        overrides[PREFECT_UI_URL] = None
    if target.api_key or target.auth_string:
        # Credentials of Prefect's settings are those of another server.
        overrides |= {PREFECT_API_KEY: _secret(target.api_key), PREFECT_API_AUTH_STRING: _secret(target.auth_string)}
    timeout = settings.timeout.total_seconds()
    connections = Connections()
    httpx_settings = {
        "event_hooks": {"request": [connections.watch], "response": [_raise_if_busy, bound_body]},
        "headers": {"Accept-Encoding": ENCODING},
        "timeout": httpx.Timeout(timeout, connect=min(timeout, 3)),
    }
    with temporary_settings(overrides), get_client(httpx_settings, sync_client=True) as client:
        yield Api(client, connections, settings)
