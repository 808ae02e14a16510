"""What matches nothing, among all that exists on a server."""

from __future__ import annotations

from typing import Any

import pytest

from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.config.unmatched import unmatched
from monitoring.model.policy import PolicyKey

SUBJECTS = (
    PolicyKey("etl/nightly", ("gold", "watchdog:owner=sales"), "k8s"),
    PolicyKey("ml/train", ("silver",), "gpu"),
    PolicyKey("by-hand"),
    PolicyKey(pool="empty"),
)


@pytest.mark.parametrize(
    ("match", "why"),
    [
        ({"deployment": "etl/*"}, None),
        ({"deployment": "by-hand"}, None),
        ({"pool": "empty"}, None),
        ({"owner": "sales", "tag": "gold"}, None),
        ({"check": "server"}, None),
        ({"severity": "critical"}, None),
        ({"deployment": "ETL/*"}, "there is no deployment ETL/*"),
        ({"pool": "gpus", "tag": "bronze", "check": "late"}, "there is no tag bronze and no pool gpus"),
        ({"owner": "nobody"}, "there is no owner nobody"),
        ({"tag": "gold", "pool": "gpu"}, "nothing has tag gold and pool gpu together"),
    ],
)
def test_a_route_that_matches_nothing_is_named_with_what_is_lacking(match: dict[str, Any], why: str | None) -> None:
    policies = Policies(Config.model_validate({"routes": [{"name": "a", "match": match, "channel": "c"}]}))
    found = [tuple(part) for part in unmatched(policies, (), SUBJECTS)]
    assert found == ([("route a", f"matches nothing on the server: {why}")] if why else [])
