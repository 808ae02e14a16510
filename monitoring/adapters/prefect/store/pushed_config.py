"""The configuration that ``watchdog config push`` keeps on the server."""

from __future__ import annotations

from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.store.documents import Documents
from monitoring.model.policy import ApiSettings
from monitoring.model.target import Target

#: The document that holds it.
PUSHED_DOCUMENT = "config"


def read_pushed(target: Target) -> str | None:
    """Read the configuration that was pushed to a server; None where there is none.

    The server is read with the default settings: which others hold is not known before the configuration is.

    Raises:
        ConfigError: The server's address cannot be used.
        ServerProblem: The server cannot be used. So too CredentialsRefused.
    """
    with open_api(ApiSettings(), target) as api:
        return Documents(api).read(PUSHED_DOCUMENT)
