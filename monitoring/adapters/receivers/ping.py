"""Pings a dead-man's switch, in the conventions of healthchecks.io (https://healthchecks.io/docs/http_api/).

A POST to ``address/start`` reports that a check has started, a POST to the address that it was complete, and a POST to
``address/fail`` that it was incomplete. The body is the summary; healthchecks.io keeps its first 100 kB. If no ping
arrives, the switch alerts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http.client import HTTPException

# Not httpx: it logs every address, and this address is a secret.
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
MAX_BYTES = 100_000
#: Waits between tries; https://healthchecks.io/docs/reliability_tips/ recommends a few tries.
WAITS = (timedelta(seconds=1), timedelta(seconds=2))
_AGAIN = {429, 500, 502, 503, 504}


@dataclass
class HttpPing:
    """A dead-man's switch behind an address, as ``ports.Ping``."""

    #: A secret: whoever knows it can silence the alarm. No error and no log contains it.
    url: str = field(repr=False)
    settings: config.Ping

    def ping(self, report: HealthReport) -> None:
        """Report that a check has run, and whether it was complete."""
        body = markdown_page(health_message(report)).encode()[:MAX_BYTES]
        self._post("" if report.coverage.complete else "/fail", body, WAITS)

    def start(self) -> None:
        """Report that a check has started, so that the switch can measure it and notices a check that never ends."""
        # Without retries: a service that does not answer must not delay the check.
        self._post("/start", b"", ())

    def _post(self, suffix: str, body: bytes, waits: Sequence[timedelta]) -> None:
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        request = Request(_address(self.url.strip(), suffix), data=body, headers=headers, method="POST")
        problem = ""
        for wait in (*waits, None):
            problem = self._problem(request)
            if not problem:
                return
            if wait is not None:
                time.sleep(wait.total_seconds())
        tries = counted(len(waits) + 1, "try", "tries")
        raise DeliveryError(
            f"the dead-man's switch did not accept the ping in {tries} ({problem}): check the network and the "
            "service; the next check pings again",
            permanent=False,
        )

    def _problem(self, request: Request) -> str:
        """Try once, and name a temporary problem; no error is quoted, as it may contain the address."""
        try:
            # Only http and https: see `_address`.
            with urlopen(request, timeout=self.settings.timeout.total_seconds()):  # nosec B310
                return ""
        except HTTPError as error:
            error.close()
            if error.code not in _AGAIN:
                raise DeliveryError(
                    f"the dead-man's switch rejects the ping (status {error.code}): check WATCHDOG_PING_URL or the "
                    "Secret block",
                    permanent=True,
                ) from None
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
            "the ping's address is not valid: put an address with https:// into WATCHDOG_PING_URL or the Secret block",
            permanent=True,
        )
    return parts._replace(path=parts.path.rstrip("/") + suffix).geturl() if suffix else url
