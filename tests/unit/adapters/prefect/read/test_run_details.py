"""What is read of one run for an explanation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from monitoring.adapters.prefect.client.api import Api
from monitoring.adapters.prefect.read import run_details
from monitoring.adapters.prefect.read.collection import Collection
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from tests.support.builders import NOW

RUN = {
    "id": "run",
    "name": "run",
    "flow_id": "flow",
    "state": None,
    "state_type": "COMPLETED",
    "state_name": "Completed",
    "created": NOW.isoformat(),
}


class Server:
    """A server with one run, and the event of the worker that submitted it."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        self._event = event

    def get(self, path: str) -> Any:
        return RUN

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return {"events": [self._event]} if path == "/events/filter" else []


@pytest.mark.parametrize(
    ("event", "worker", "whole"),
    [
        ({"resource": {"prefect.resource.name": "worker hunter2"}}, "worker ***", True),
        ({"resource": {}}, None, False),
        ({"resource": None}, None, False),
        ({}, None, False),
    ],
)
def test_the_worker_that_took_a_run(event: dict[str, Any], worker: str | None, whole: bool) -> None:
    settings = Config()

    def redact(text: str) -> str:
        return text.replace("hunter2", "***")

    collection = Collection(cast(Api, Server(event)), settings, redact, NOW, Policies(settings))
    details = run_details.details(collection, "run")

    assert details
    assert details.worker == worker
    assert collection.coverage.has("submitted-by") is whole
