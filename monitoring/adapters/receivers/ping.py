"""Pings a dead-man's switch, in the conventions of healthchecks.io (https://healthchecks.io/docs/http_api/).

A POST to ``address/start`` says that a check has begun, one to the address that it has run and seen everything, one to
``address/fail`` that it has run and could not. The body, of which healthchecks.io keeps the first 100 kB, is the
summary. When no ping comes, the switch alerts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from http.client import HTTPException

# Not httpx: it logs every address it asks, and this one is a secret.
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from monitoring.config import alert_settings as config
from monitoring.errors import DeliveryError
from monitoring.messages.markdown import markdown_page
from monitoring.messages.report_messages import health_message
from monitoring.messages.words import counted
from monitoring.model.report import HealthReport

#: Bytes of a body that healthchecks.io keeps (https://healthchecks.io/docs/attaching_logs/).
MOST_BYTES = 100_000
#: Waits between tries; a few are what https://healthchecks.io/docs/reliability_tips/ recommends.
WAITS = (timedelta(seconds=1), timedelta(seconds=2))
_AGAIN = {429, 500, 502, 503, 504}


class HttpPing:
    """A dead-man's switch behind an address, as ``ports.Ping``."""

    def __init__(self, url: str, settings: config.Ping) -> None:
        """Prepare to ping; nothing is sent yet.

        Args:
            url: The address. It is a secret: who knows it can silence the alarm. No error and no log holds it.
            settings: The time-out.
        """
        self._url = url.strip()
        self._timeout = settings.timeout.total_seconds()

    def ping(self, report: HealthReport) -> None:
        """Say that a check has run, and whether it saw everything.

        Raises:
            DeliveryError: The switch did not answer as it should.
        """
        body = markdown_page(health_message(report)).encode()[:MOST_BYTES]
        self._post("" if report.coverage.complete else "/fail", body, WAITS)

    def start(self) -> None:
        """Say that a check has begun: the switch then knows how long one takes, and notices one that never ends.

        Raises:
            DeliveryError: The switch did not answer as it should.
        """
        # Once: a service that does not answer must not keep the check from looking.
        self._post("/start", b"", ())

    def _post(self, suffix: str, body: bytes, waits: Sequence[timedelta]) -> None:
        request = Request(
            _address(self._url, suffix),
            data=body,
            headers={"Content-Type": "text/plain; charset=utf-8"},
            method="POST",
        )
        problem = ""
        for wait in (*waits, None):
            problem = self._problem(request)
            if not problem:
                return
            if wait is not None:
                time.sleep(wait.total_seconds())
        tries = counted(len(waits) + 1, "try", "tries")
        raise DeliveryError(
            f"the ping's address did not answer as it should in {tries} ({problem}): check the network and the "
            "service; the next check pings again",
            permanent=False,
        )

    def _problem(self, request: Request) -> str:
        """Try once, and name what may pass; no error's own text is used, as it may hold the address."""
        try:
            with urlopen(request, timeout=self._timeout):
                return ""
        except HTTPError as error:
            error.close()
            if error.code not in _AGAIN:
                raise _refused(error.code) from None
            return f"status {error.code}"
        except (OSError, HTTPException) as error:
            return type(getattr(error, "reason", error)).__name__


def _address(url: str, suffix: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isascii() and url.isprintable()
    except ValueError:
        usable = False
    if not usable or " " in url:
        raise DeliveryError(
            "the ping's address is none: put one that begins with https:// into WATCHDOG_PING_URL or the Secret block",
            permanent=True,
        )
    return parts._replace(path=parts.path.rstrip("/") + suffix).geturl() if suffix else url


def _refused(status: int) -> DeliveryError:
    return DeliveryError(
        f"the ping's address refuses (status {status}): check WATCHDOG_PING_URL or the Secret block",
        permanent=True,
    )
