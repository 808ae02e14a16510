"""A target is opened at its own address and with its own credentials."""

from __future__ import annotations

import base64

import pytest
from prefect.settings import PREFECT_API_KEY, PREFECT_API_URL, temporary_settings
from pydantic import SecretStr
from pytest_httpserver import HTTPServer

from monitoring.adapters.prefect.client.api import open_api
from monitoring.model.policy import ApiSettings
from monitoring.model.target import Target

BASIC = base64.b64encode(b"watchdog:hunter2").decode()


def sent(httpserver: HTTPServer, target: Target) -> str | None:
    """The credentials that a target's server receives; Prefect's settings name another server."""
    httpserver.expect_request("/api/admin/version").respond_with_json("3.8.8")
    settings = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_API_KEY: "of-the-settings"}
    with temporary_settings(settings), open_api(ApiSettings(), target) as api:
        assert api.get("/admin/version") == "3.8.8"
    [(request, _)] = httpserver.log
    return request.headers.get("Authorization")


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        ({}, "Bearer of-the-settings"),
        ({"api_key": SecretStr("of-the-target")}, "Bearer of-the-target"),
        ({"auth_string": SecretStr("watchdog:hunter2")}, f"Basic {BASIC}"),
    ],
)
def test_a_target_receives_its_own_credentials(
    httpserver: HTTPServer, credentials: dict[str, SecretStr], header: str
) -> None:
    target = Target(address=httpserver.url_for("/api"), **credentials)
    assert sent(httpserver, target) == header


def test_a_target_does_not_show_its_credentials() -> None:
    assert "hunter2" not in repr(Target(auth_string=SecretStr("watchdog:hunter2")))
