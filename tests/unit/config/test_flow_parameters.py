from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow, flow
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate
from pydantic import TypeAdapter, ValidationError

from monitoring.checks.failed import CHECK as FAILED
from monitoring.checks.late import CHECK as LATE
from monitoring.checks.late import Late
from monitoring.config.flow_parameters import PolicyChanges, deployed_time_zone, parameters
from monitoring.config.policy import Policies, Setting, leaves
from monitoring.config.settings import Config, Policy
from monitoring.config.source import load_policies
from monitoring.errors import ConfigError

CHANGES: TypeAdapter[PolicyChanges] = TypeAdapter(PolicyChanges)


@flow
def digest(overrides: PolicyChanges | None = None, time_zone: str | None = None) -> None:
    """A flow with the watchdog's parameters."""


def schema_of(some_flow: Flow[..., Any]) -> dict[str, Any]:
    return parameter_schema(some_flow).model_dump()


def prefilled(schema: dict[str, Any]) -> dict[str, Any]:
    """What the form submits when nobody has touched it."""
    return {name: field["default"] for name, field in schema["definitions"]["PolicyChanges"]["properties"].items()}


def test_the_form_has_every_field_described_and_empty() -> None:
    schema = schema_of(digest)
    sections = schema["definitions"]["PolicyChanges"]["properties"]
    shown = {name: details for name, details in sections.items() if "$ref" not in details}
    shown |= {
        f"{section}.{field}": details
        for section, reference in sections.items()
        if "$ref" in reference
        for field, details in schema["definitions"][reference["$ref"].rsplit("/")[-1]]["properties"].items()
    }

    assert set(shown) == {name for name, _ in leaves(Policy(), unset=True)}
    assert all(details["default"] is None and details["description"] for details in shown.values())
    assert all(section["description"] and section["title"] for section in sections.values())
    assert shown["late.after"]["description"] == "How long past its due time a run may wait. Default: 15m."
    assert shown["failed.critical_after"]["anyOf"][0] == {"type": "integer", "minimum": 1}


def test_a_form_that_nobody_touched_is_valid_and_changes_nothing() -> None:
    schema = schema_of(digest)
    submitted = {"overrides": prefilled(schema), "time_zone": None}

    assert validate(submitted, schema) == []
    given = digest.validate_parameters(submitted)
    assert parameters(given["overrides"]) == deployed_time_zone(given["time_zone"]) == {}


def test_nothing_changes_nothing() -> None:
    assert parameters() == {}
    assert parameters(CHANGES.validate_python({})) == {}
    assert parameters(CHANGES.validate_python({"late": {"after": None}})) == {}


def test_what_is_filled_in_is_the_strongest_layer() -> None:
    changes = CHANGES.validate_python({"late": {"after": "5m", "enabled": None}, "failed": {"enabled": False}})
    policies = Policies(
        Config.model_validate({"late": {"after": "1m", "critical_after": "1h"}}),
        stronger=[{"late.after": Setting(timedelta(minutes=2), "environment")}, parameters(changes)],
    )

    assert LATE.settings(policies.of("a/b")) == Late(after=timedelta(minutes=5), critical_after=timedelta(hours=1))
    assert FAILED.settings(policies.of("a/b")).enabled is False
    assert policies.explain("a/b")["late.after"].source == "parameter"


@pytest.mark.parametrize(
    "overrides",
    [
        {"late": {"after": "15"}},
        {"late": {"after": 15}},
        {"late": {"after": ""}},
        {"late": {"aftr": "15m"}},
        {"latee": {}},
        {"failed": {"critical_after": 0}},
        {"slack": {"channel": "x"}},
    ],
)
def test_the_server_and_the_flow_refuse_the_same(overrides: dict[str, Any]) -> None:
    assert validate({"overrides": overrides}, schema_of(digest)) != []
    with pytest.raises(ValidationError):
        CHANGES.validate_python(overrides)


def test_a_time_zone_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^parameter digest.time_zone: 'Mars': expected an IANA time zone such as"):
        deployed_time_zone("Mars")


@pytest.mark.parametrize(
    ("file", "environ", "zone"),
    [
        ("late: {after: 5m}", {}, "Asia/Tokyo"),
        ("digest: {time_zone: Europe/Berlin}", {}, "Europe/Berlin"),
        ("digest: {time_zone: UTC}", {}, "UTC"),
        ("", {"WATCHDOG_DIGEST__TIME_ZONE": "Europe/Berlin"}, "Europe/Berlin"),
    ],
)
def test_a_configured_time_zone_overrides_that_of_the_deployment(
    tmp_path: Path, file: str, environ: dict[str, str], zone: str
) -> None:
    path = tmp_path / "watchdog.yaml"
    path.write_text(file)
    policies = load_policies(path, read_pushed=lambda: None, environ=environ, weaker=deployed_time_zone("Asia/Tokyo"))
    assert policies.config.digest.time_zone == zone
