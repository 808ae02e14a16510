"""Pings a dead-man's switch, in the conventions of healthchecks.io (https://healthchecks.io/docs/http_api/).

A POST to the address says that a check has run and seen everything; one to ``address/fail`` that it has run and could
not. The body, of which healthchecks.io keeps the first 100 kB, is the summary. When no ping comes, the switch alerts.
"""

from __future__ import annotations

import time
from datetime import timedelta

import httpx

from monitoring import config
from monitoring.errors import DeliveryError
from monitoring.render.markdown import health
from monitoring.report import HealthReport

#: Bytes of a body that healthchecks.io keeps (https://healthchecks.io/docs/attaching_logs/).
MOST_BYTES = 100_000
#: Waits between tries, as https://healthchecks.io/docs/reliability_tips/ recommends a few.
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
        address = _address(self._url, fail=not report.coverage.complete)
        body = health(report).encode()[:MOST_BYTES]
        problem = ""
        for wait in (*WAITS, None):
            try:
                status = self._post(address, body)
            except httpx.HTTPError as error:
                # Its own text may hold the address.
                problem = type(error).__name__
            else:
                if status < 300:
                    return
                problem = f"status {status}"
                if status not in _AGAIN:
                    raise _refused(status)
            if wait is not None:
                time.sleep(wait.total_seconds())
        raise DeliveryError(
            f"the ping's address did not answer as it should in {len(WAITS) + 1} tries ({problem}): check the network "
            "and the service; the next check pings again",
            permanent=False,
        )

    def _post(self, address: httpx.URL, body: bytes) -> int:
        with httpx.Client(timeout=self._timeout) as client:
            return client.post(address, content=body, headers={"Content-Type": "text/plain; charset=utf-8"}).status_code


def _address(url: str, *, fail: bool) -> httpx.URL:
    try:
        address = httpx.URL(url)
        usable = address.scheme in ("http", "https") and bool(address.host)
    except httpx.InvalidURL:
        usable = False
    if not usable:
        raise DeliveryError(
            "the ping's address is none: put one that begins with https:// into WATCHDOG_PING_URL or the Secret block",
            permanent=True,
        )
    return address.copy_with(path=address.path.rstrip("/") + "/fail") if fail else address


def _refused(status: int) -> DeliveryError:
    return DeliveryError(
        f"the ping's address refuses (status {status}): check WATCHDOG_PING_URL or the Secret block",
        permanent=True,
    )
