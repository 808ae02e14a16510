"""The flow parameters: the fields of the policy, all of them optional.

The form in Prefect's UI submits the defaults that it shows. So every default here is None, and None changes nothing: a
form that is submitted unchanged leaves the values of the file alone.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from monitoring.config.policy import Layer, format_value, layer
from monitoring.config.problems import Loc, dotted, problems
from monitoring.config.settings import Config, Policy
from monitoring.errors import ConfigError
from monitoring.model.fields import Section

_SOURCE = "parameter"


def _optional(section: type[Section], name: str) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for field_name, field in section.model_fields.items():
        kind: Any = field.annotation
        title, description = field_name.replace("_", " ").capitalize(), field.description
        if isinstance(kind, type) and issubclass(kind, Section):
            changes = _optional(kind, f"{kind.__name__}Changes")
            fields[field_name] = (changes, Field(changes(), title=title, description=description))
        else:
            for constraint in field.metadata:
                kind = Annotated[kind, constraint]
            usual = "" if field.default is None else f" Default: {format_value(field.default)}."
            fields[field_name] = (kind | None, Field(None, title=title, description=f"{description}{usual}"))
    made: type[BaseModel] = create_model(
        name, __config__=ConfigDict(frozen=True, extra="forbid"), __doc__=section.__doc__, **fields
    )
    return made


class PolicyChanges(_optional(Policy, "_PolicyChanges")):  # type: ignore[misc]  # made at run time
    """Changes of the policy for this run and every deployment. Empty fields keep their configured values."""


def parameters(overrides: PolicyChanges | None = None) -> Layer:
    """Make the strongest layer from the parameters of a flow run; None changes nothing.

    Raises:
        ConfigError: They contradict each other.
    """
    return _layer(overrides.model_dump(exclude_none=True) if overrides else {})


def deployed_time_zone(name: str | None) -> Layer:
    """Make the layer below the configuration from the time zone in which the digest is deployed; None changes nothing.

    ``prefect.yaml`` gives every run of the digest the time zone of its schedule. Were it stronger than the
    configuration, a time zone there would never be used.

    Raises:
        ConfigError: The time zone does not exist.
    """
    return _layer({"digest": {"time_zone": name}} if name is not None else {}, name)


def _layer(values: dict[str, Any], time_zone: str | None = None) -> Layer:
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        given: dict[Loc, str] = {("digest", "time_zone"): f"{time_zone!r}: "}
        lines = [f"parameter {dotted(bad.loc)}: {given.get(bad.loc, '')}{bad.words}" for bad in problems(error)]
        raise ConfigError("\n".join(lines)) from None
    return layer(config, _SOURCE)
