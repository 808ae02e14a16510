"""Secrets: from the environment, or from Prefect Secret blocks. They never reach a log or an exception."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from monitoring.adapters.prefect.client.api import Api
from monitoring.errors import ConfigError


def read_secret(api: Api, block: str, variable: str | None, environ: Mapping[str, str]) -> str | None:
    """Read a secret; the environment takes precedence over the block.

    Args:
        api: The server that has the block.
        block: Name of a Secret block.
        variable: Name of the environment variable; None if only the block can hold it.
        environ: The environment's variables.

    Returns:
        The secret; None if there is neither.

    Raises:
        ConfigError: The block's value is not text.
        ServerProblem: The server cannot be queried.
    """
    if variable and (value := environ.get(variable, "").strip()):
        return value
    path = f"/block_types/slug/secret/block_documents/name/{quote(block, safe='')}"
    document = api.find(path, include_secrets="true")
    if document is None:
        return None
    secret = (document.get("data") or {}).get("value")
    if not isinstance(secret, str) or not secret.strip():
        raise ConfigError(f"Secret block {block!r}: its value is no text; expected a string")
    return secret.strip()
