"""The configuration that ``watchdog config push`` keeps on the server."""

from __future__ import annotations

from collections.abc import Callable

from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.store.documents import Documents
from monitoring.config.server_settings import Server
from monitoring.model.target import Target

#: The document that holds it.
PUSHED_DOCUMENT = "config"


def pushed_reader(target: Target | None = None) -> Callable[[], str | None]:
    """Make the function that finding a configuration asks last.

    The server is asked as the defaults have it: how else is not known before the configuration is.

    Args:
        target: The server; None for the one that Prefect's settings name.
    """

    def read() -> str | None:
        with open_api(Server(), target) as api:
            return Documents(api).read(PUSHED_DOCUMENT)

    return read
