"""Describes the problems of a configuration: field, value and what was expected, one line per problem."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from monitoring.config.settings import Config
from monitoring.model.fields import Section

#: The location of a value: keys, and positions in lists counted from 0.
Loc = tuple[str | int, ...]

_EXPECTED = {
    "missing": "is missing",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_parsing_size": "expected a whole number of fewer digits",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "literal_error": "expected {expected}",
    "string_too_long": "expected text of at most {max_length} characters",
    "finite_number": "expected a whole number",
    "greater_than_equal": "expected a number of at least {ge}",
    "less_than_equal": "expected a number of at most {le}",
    "string_type": "expected text (what looks like a number or true needs quotes)",
    "string_too_short": "expected text that is not empty",
    "tuple_type": "expected a list",
    "model_type": "expected a section with fields",
    "model_attributes_type": "expected a section with fields",
}

# No setting is a secret, but people put secrets there by mistake.
_SECRET_FIELDS = frozenset({"token_secret", "url_secret", "webhook_secret"})
_SECRET_LOOKS = re.compile(r"xox[a-z]-|xapp-|pnu_|pnb_|://[^/\s]*@|bearer\s|hooks\.slack\.com/|\beyJ", re.IGNORECASE)
_MAX_SHOWN = 60


class Problem(NamedTuple):
    """One problem: its location, a description, and whether the value may be shown next to it."""

    loc: Loc
    words: str
    may_show: bool = True


def problems(error: ValidationError) -> Iterator[Problem]:
    """Describe each problem that pydantic found in a ``Config``."""
    for details in error.errors(include_url=False):
        loc = details["loc"]
        if details["type"] == "extra_forbidden":
            # The value of an unknown key may well be a secret.
            yield Problem(loc, _unknown(loc), may_show=False)
        else:
            yield Problem(loc, _words(details))


def shown(loc: Loc, raw: str) -> str:
    """Quote a value for an error message, unless it may be a secret."""
    if _SECRET_FIELDS.intersection(loc) or secret_like(raw):
        return "(value not shown)"
    return quoted(raw)


def is_text(value: str) -> bool:
    """Return whether a string is valid text: half a surrogate pair, from an escape or a byte, is not."""
    return not any("\ud800" <= char <= "\udfff" for char in value)


def secret_like(value: str) -> bool:
    """Return whether a value looks like a secret that was put in the wrong place."""
    return _SECRET_LOOKS.search(value) is not None


def quoted(text: str) -> str:
    """Quote any text on one line, shortened, with unprintable characters escaped."""
    return repr(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "...")


def dotted(loc: Loc) -> str:
    """Format a location as in ``rules[2].late.after``; positions count from 1, as rules do everywhere."""
    parts = [f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in loc]
    return "".join(parts).removeprefix(".")


def nearest(wrong: str, known: Iterable[str]) -> str | None:
    """Find the known name that was most likely intended; None if none is close."""
    return next(iter(get_close_matches(wrong, sorted(known), n=1)), None)


def fields_at(loc: Loc) -> frozenset[str]:
    """The fields of the section at a location; empty if there is no section."""
    section: type[Section] | None = Config
    for part in loc:
        if section is None:
            return frozenset()
        if isinstance(part, str):
            field = section.model_fields.get(part)
            section = _section_in(field.annotation) if field else None
    return frozenset(section.model_fields) if section else frozenset()


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if get_origin(annotation) in (tuple, Union, UnionType):
        return next(filter(None, map(_section_in, get_args(annotation))), None)
    return None


def _unknown(loc: Loc) -> str:
    key = str(loc[-1])
    if loc[0] == "rules" and len(loc) == 3 and key in Config.model_fields:
        return "not allowed in a rule: it applies to the watchdog as a whole"
    known = fields_at(loc[:-1])
    near = nearest(key, known)
    hint = f"did you mean {near}?" if near else f"expected one of {', '.join(sorted(known))}"
    return f"unknown key; {hint}"


def _words(details: ErrorDetails) -> str:
    context = details.get("ctx", {})
    if details["type"] == "value_error":
        return str(context["error"])
    template = _EXPECTED.get(details["type"])
    if template is None:
        return details["msg"][:1].lower() + details["msg"][1:]
    return template.format(**context)
