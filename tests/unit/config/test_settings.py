from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from monitoring.adapters.prefect.store.documents import PUSHED_DOCUMENT, SLUG
from monitoring.config.environment import RESERVED
from monitoring.config.file import parse
from monitoring.config.policy import leaves
from monitoring.config.settings import Config
from monitoring.model.fields import Section
from tests.support.configuration import fields
from tests.support.pages import items
from tests.support.paths import PROJECT

DOC = (PROJECT / "docs" / "configuration.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)
#: An item of a setting: its name, kind of value, default, description, and why that is the default.
SETTING = re.compile(r"\*\*`([a-z_.]+)`\*\*: (.*?); (?:default `(.*?)`|(required))\. (.*?) \*Why:\* (.*)")
ROWS = [match.groups() for item in items(DOC) if (match := SETTING.fullmatch(item))]


def test_the_documentation_has_every_field_as_it_is_and_no_other() -> None:
    documented = [(name, kind, default or required, text) for name, kind, default, required, text, _ in ROWS]
    assert sorted(documented) == sorted(tuple(field) for field in fields())


def test_every_default_is_justified() -> None:
    assert [name for name, *_, why in ROWS if len(why) < 10] == []


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_documentations_examples_are_valid_and_change_something(number: int) -> None:
    file = parse(EXAMPLES[number], "docs/configuration.md")

    assert dict(leaves(file.config))
    assert file.config.rules or file.config.routes
    assert all(dict(leaves(rule)) for rule in file.config.rules)


def test_the_documentation_has_examples() -> None:
    assert len(EXAMPLES) == 3


def test_the_documentation_names_the_block_and_the_reserved_variables() -> None:
    assert f"`{SLUG}/{PUSHED_DOCUMENT}`" in DOC
    assert {name for name in RESERVED if f"`{name}`" not in DOC} == set()


def test_every_field_is_described() -> None:
    assert [field.field for field in fields() if not field.description.endswith(".")] == []


def test_every_section_is_frozen_and_closed() -> None:
    def walk(section: Section) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, next(iter(type(section).model_fields)), None)
        with pytest.raises(ValidationError, match="Extra inputs"):
            type(section).model_validate({"no_such_field": 1})
        for name in type(section).model_fields:
            if isinstance(value := getattr(section, name), Section):
                walk(value)

    walk(Config())
