"""The JSON contract: what is printed is valid, what is documented is too, and strict readers notice what is not."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

import monitoring.messages
from monitoring.checks.registry import BY_NAME
from monitoring.messages.json_contract import check_json
from monitoring.model.finding import CauseKind, CauseReason, Severity, Status, SubjectKind
from monitoring.model.report import HealthReport
from monitoring.model.silence import Silence
from tests.support import samples
from tests.support.paths import PROJECT

SCHEMA_FILE = Path(monitoring.messages.__file__).parent / "check.schema.json"
SCHEMA: dict[str, Any] = json.loads(SCHEMA_FILE.read_text())
DOCUMENT = (PROJECT / "docs" / "json-contract.md").read_text()
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)


def example() -> dict[str, Any]:
    (block,) = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    found: dict[str, Any] = json.loads(block)
    return found


@pytest.mark.parametrize("make", [samples.healthy, samples.bad, samples.unreachable, samples.incomplete])
def test_reports_keep_the_contract(make: Callable[[], HealthReport]) -> None:
    VALIDATOR.validate(json.loads(json.dumps(check_json(make()))))


def test_the_schema_is_one_and_the_example_in_the_document_is_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    VALIDATOR.validate(example())


@pytest.mark.parametrize(
    "path", [(), ("coverage",), ("findings", 0), ("findings", 0, "subject"), ("findings", 0, "cause"), ("silences", 0)]
)
def test_no_other_field_is_allowed_and_none_may_be_missing(path: tuple[str | int, ...]) -> None:
    document = example()
    part: Any = document
    for step in path:
        part = part[step]
    part["surprise"] = 1
    assert not VALIDATOR.is_valid(document)
    del part["surprise"]
    for field in list(part):
        value = part.pop(field)
        assert not VALIDATOR.is_valid(document), field
        part[field] = value
    assert VALIDATOR.is_valid(document)


def test_the_schema_lists_the_checks(request: pytest.FixtureRequest) -> None:
    text = SCHEMA_FILE.read_text(encoding="utf-8")
    names = textwrap.fill(", ".join(f'"{name}"' for name in BY_NAME), 106)
    listed, count = re.subn(
        r'("check": \{\s+"description": "[^"]*",\s+"enum": \[)[^]]*',
        lambda found: f"{found[1]}\n{textwrap.indent(names, ' ' * 12)}\n{' ' * 10}",
        text,
    )
    assert count == 1
    if request.config.getoption("--regenerate-golden", default=False):
        SCHEMA_FILE.write_text(listed, encoding="utf-8")
        text = listed
    assert listed == text, "a check is missing; --regenerate-golden writes it"


def test_the_schema_knows_the_words_of_the_model() -> None:
    finding = SCHEMA["$defs"]["finding"]["properties"]
    cause = SCHEMA["$defs"]["cause"]["properties"]
    assert set(SCHEMA["properties"]["status"]["enum"]) == set(get_args(Status))
    assert set(finding["severity"]["enum"]) == set(get_args(Severity))
    assert set(finding["subject"]["properties"]["kind"]["enum"]) == set(get_args(SubjectKind))
    assert set(SCHEMA["$defs"]["silence"]["properties"]) == set(Silence.model_fields) - {"request"}
    assert set(cause["kind"]["enum"]) == set(get_args(CauseKind))
    assert set(cause["reason"]["enum"]) == set(get_args(CauseReason))


def test_the_document_names_every_field_and_every_word() -> None:
    finding = SCHEMA["$defs"]["finding"]["properties"]
    words = [
        *SCHEMA["properties"],
        *finding,
        *SCHEMA["$defs"]["silence"]["properties"],
        *BY_NAME,
        *get_args(Status),
        *get_args(SubjectKind),
    ]
    words += [*get_args(Severity), *get_args(CauseKind), *get_args(CauseReason)]
    assert [word for word in words if word not in DOCUMENT] == []


def test_what_is_missing_says_why() -> None:
    coverage = check_json(samples.incomplete())["coverage"]
    assert coverage == {
        "complete": False,
        "missing": ["ended-runs: page 3 of 9 was answered with status 500", "work-pools: failed"],
    }


def test_at_most_a_thousand_runs_are_named_and_all_are_counted() -> None:
    many = samples.finding("late", "etl/nightly").model_copy(
        update={"flow_run_ids": tuple(map(str, range(1_500))), "flow_run_count": 1_500}
    )
    (finding,) = check_json(samples.report(many))["findings"]
    assert len(finding["flow_run_ids"]) == 1_000
    assert finding["flow_run_count"] == 1_500
