"""The Prefect server to watch."""

from __future__ import annotations

from pydantic import SecretStr

from monitoring.model.base import Value


class Target(Value):
    """A Prefect server, and how to reach it. What is None comes from the configuration or from Prefect's settings."""

    #: Its name in reports, in place of ``target.name``.
    name: str | None = None
    #: The API's address, in place of ``PREFECT_API_URL``.
    address: str | None = None
    #: In place of ``PREFECT_API_KEY``.
    api_key: SecretStr | None = None
    #: In place of ``PREFECT_API_AUTH_STRING``.
    auth_string: SecretStr | None = None


#: The server that the configuration and Prefect's settings name.
OWN_SERVER = Target()
