"""What is asked of a server, whatever became of the asking."""

from __future__ import annotations

from typing import Any

from monitoring.adapters.prefect.client.api import Api


def logged_requests(api: Api) -> list[str]:
    """The requests made from now on, as in ``GET /health``; each once, however often a busy server made us try.

    ``Api.traffic`` counts tries: a test that expects a number of requests would fail when one is answered 503.
    """
    requests: list[str] = []
    send = api.request

    def request(method: Any, path: str, **arguments: Any) -> Any:
        requests.append(f"{method} {path}")
        return send(method, path, **arguments)

    api.request = request  # type: ignore[method-assign]  # this one object is watched
    return requests
