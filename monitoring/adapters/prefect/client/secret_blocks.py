"""Secrets: from the environment, or from Prefect Secret blocks. They never reach a log or an exception."""

from __future__ import annotations

import os

from monitoring.adapters.prefect.client.api import Api
from monitoring.errors import ConfigError


def read_secret(api: Api, block: str, variable: str = "") -> str | None:
    """Read a secret from an environment variable, or from a Secret block; None if there is neither.

    Raises:
        ConfigError: The block's value is not text.
        ServerProblem: The server cannot be queried.
    """
    if value := os.environ.get(variable, "").strip():
        return value
    document = api.block(f"secret/{block}", include_secrets="true")
    if document is None:
        return None
    secret = (document.get("data") or {}).get("value")
    if not isinstance(secret, str) or not secret.strip():
        raise ConfigError(f"Secret block {block!r}: its value is no text; expected a string")
    return secret.strip()
