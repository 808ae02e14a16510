"""Secrets: from the environment, or from Prefect Secret blocks. They never reach a log or an exception."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from monitoring.adapters.prefect.client.api import Api
from monitoring.errors import BadAnswer, ConfigError

_NOT_FOUND = 404


def read_secret(api: Api, block: str, variable: str | None, environ: Mapping[str, str]) -> str | None:
    """Read a secret; the environment goes before the block.

    Args:
        api: The server that has the block.
        block: Name of a Secret block.
        variable: Name of the environment variable; None where only the block can have it.
        environ: The environment's variables.

    Returns:
        The secret; None when neither is there.

    Raises:
        ConfigError: The block holds something that is no text.
        ServerProblem: The server cannot be asked.
    """
    if variable and (value := environ.get(variable, "").strip()):
        return value
    try:
        document = api.get(
            f"/block_types/slug/secret/block_documents/name/{quote(block, safe='')}", include_secrets="true"
        )
    except BadAnswer as problem:
        if problem.status == _NOT_FOUND:
            return None
        raise
    secret = (document.get("data") or {}).get("value")
    if not isinstance(secret, str) or not secret.strip():
        raise ConfigError(f"Secret block {block!r}: its value is no text; expected a string")
    return secret.strip()
