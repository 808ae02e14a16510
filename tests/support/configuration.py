"""The fields of the configuration, as its documentation has to show them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from monitoring.config.alert_settings import Maintenance, Route
from monitoring.config.policy import format_value
from monitoring.config.settings import Config, Rule
from monitoring.model.fields import Section

_KINDS = {
    timedelta: "duration",
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    tuple: "list of text",
}


#: Lists of sections, by name.
_LISTS: dict[str, type[Section]] = {"rules": Rule, "routes": Route, "maintenance": Maintenance}


class Row(NamedTuple):
    field: str
    kind: str
    default: str
    description: str


def fields(section: type[Section] = Config, prefix: str = "") -> Iterator[Row]:
    """Every field that can stand in a file, by dotted name; of rules only what is theirs alone."""
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if name in _LISTS:
            theirs = fields(_LISTS[name], f"{name}.")
            yield from (row for row in theirs if name != "rules" or row.field.startswith("rules.match."))
        elif isinstance(annotation, type) and issubclass(annotation, Section):
            yield from fields(annotation, f"{prefix}{name}.")
        else:
            yield Row(
                prefix + name,
                _kind(field),
                "required" if field.is_required() else format_value(field.default),
                field.description or "",
            )


def _kind(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    nullable = False
    if get_origin(annotation) in (Union, UnionType):
        nullable = NoneType in get_args(annotation)
        annotation = next(part for part in get_args(annotation) if part is not NoneType)
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation)) + (" or null" if nullable else "")
    while get_origin(annotation) not in (None, tuple):
        annotation = get_args(annotation)[0]
    bounds = [f", at least {limit.ge}" for limit in field.metadata if isinstance(limit, Ge)]
    bounds += [f", at most {limit.le}" for limit in field.metadata if isinstance(limit, Le)]
    return _KINDS[get_origin(annotation) or annotation] + "".join(bounds) + (" or null" if nullable else "")
