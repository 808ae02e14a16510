"""Log events: as documented, of one line each, tied by ids, and without secrets."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.adapters import logs
from monitoring.config import Logs
from monitoring.logs import ROOT, bound, get_logger
from monitoring.redact import Redactor
from tests.render.samples import HOSTILE

PROJECT = Path(__file__).parent.parent
SCHEMA = json.loads((PROJECT / "monitoring/render/log.schema.json").read_text())
DOC = (PROJECT / "docs/logs.md").read_text()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
LEVELS = ("debug", "info", "warning", "error")
#: What the standard library has on every record: a field of that name would be refused, or take its place.
TAKEN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_log = get_logger("monitoring.tests")


def calls() -> Iterator[tuple[str, str, set[str], bool]]:
    """Every place that logs: event, level, fields that are written there, and whether there are more."""
    for path in [*(PROJECT / "monitoring").rglob("*.py"), *(PROJECT / "flows").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
                if isinstance(node.func.value, ast.Name) and node.func.value.id == "_log":
                    yield _call(node, node.func.attr)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "log":
                for level in ("debug", "info"):
                    yield _call(node, level)


def _call(node: ast.Call, level: str) -> tuple[str, str, set[str], bool]:
    [event] = node.args
    assert isinstance(event, ast.Constant), "the name of an event never differs"
    given = {keyword.arg for keyword in node.keywords if keyword.arg}
    return str(event.value), level, given, any(keyword.arg is None for keyword in node.keywords)


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """The events of the schema: levels and fields."""
    return {
        one["properties"]["event"]["const"]: (
            set(one["properties"]["level"]["enum"]),
            set(one["required"]),
        )
        for one in SCHEMA["oneOf"]
    }


def test_every_event_is_in_the_schema_with_its_fields_and_no_other_is() -> None:
    known, seen = documented(), dict[str, set[str]]()
    for event, level, fields, more in calls():
        seen.setdefault(event, set()).add(level)
        required = known[event][1] | {"run"}
        assert fields <= required, event
        assert more or known[event][1] <= fields, event
    assert seen == {event: levels for event, (levels, _) in known.items()}


def test_the_docs_have_every_event_as_the_schema_has_it() -> None:
    rows = re.findall(r"^\| `([a-z ]+)` \| ([a-z, ]+) \| (.*?) \| .+ \|$", DOC, re.MULTILINE)
    found = {event: (set(levels.split(", ")), set(re.findall(r"`(\w+)`", fields))) for event, levels, fields in rows}
    assert found == documented()


def test_no_field_has_a_name_that_logging_needs_itself() -> None:
    assert {field for _, fields in documented().values() for field in fields} & TAKEN == set()


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    logger = logging.getLogger(ROOT)
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


def configure(**settings: Any) -> None:
    logs.configure(Logs(**settings), Redactor().redact, in_run=False)


def say_all() -> None:
    with bound(target="prod", run="0195-run"):
        _log.debug("events sent", waiting=0)
        _log.info("check skipped", says="Another check is running")
        _log.warning("events not sent", problem="no answer")


def test_json_lines_are_valid_and_have_what_ties_them_together(capsys: pytest.CaptureFixture[str]) -> None:
    configure(format="json", level="DEBUG")
    say_all()
    written = capsys.readouterr().err
    lines = [json.loads(line) for line in written.splitlines()]
    assert [line["event"] for line in lines] == ["events sent", "check skipped", "events not sent"]
    for line in lines:
        VALIDATOR.validate(line)
        assert (line["run"], line["target"]) == ("0195-run", "prod")


@pytest.mark.parametrize(("level", "count"), [("DEBUG", 3), ("INFO", 2), ("WARNING", 1), ("ERROR", 0)])
def test_the_level_says_what_is_logged(capsys: pytest.CaptureFixture[str], level: str, count: int) -> None:
    configure(level=level)
    say_all()
    written = capsys.readouterr().err
    assert len(written.splitlines()) == count


def test_lines_for_people_say_what_they_need_and_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    configure(format="console")
    with bound(target="prod", run="0195-run"):
        _log.info("check completed", says="Nothing is wrong.", findings=0, incidents=["W-1", "W-2"])
    written = capsys.readouterr().err
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC INFO    check completed: Nothing is wrong\. "
        r'findings=0 incidents="W-1, W-2"\n',
        written,
    )


def test_an_exception_is_shown_without_its_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    configure(format="json")
    try:
        raise ValueError("password=hunter2secret")
    except ValueError:
        _log.error("check failed", problem="a fault", exc_info=True)
    written = capsys.readouterr().err
    [line] = map(json.loads, written.splitlines())
    VALIDATOR.validate(line)
    assert "ValueError" in line["exception"]
    assert "hunter2secret" not in written


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    "secret",
    [
        "xoxb-2718281828-abcdefghijkl",
        "https://hooks.slack.com/services/T000/B000/abcdefghijkl",
        "postgresql://user:abcdefghijkl@db/prefect",
        "Authorization: Bearer abcdefghijkl",
    ],
)
def test_secrets_are_taken_out_of_fields_however_deep_they_lie(
    capsys: pytest.CaptureFixture[str], form: str, secret: str
) -> None:
    configure(format=form)
    _log.warning("events not sent", problem=secret, more=[{"deep": (secret, {secret})}], other=ValueError(secret))
    written = capsys.readouterr().err
    assert "abcdefghijkl" not in written
    assert written.count("REDACTED") >= 4


@given(st.text() | st.just(HOSTILE) | st.just("a\nERROR   check failed\x1b[2J"))
def test_what_others_wrote_begins_no_line_and_moves_no_cursor(text: str) -> None:
    stream = io.StringIO()
    for form in ("console", "json"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stderr", stream)
            configure(format=form)
            _log.info("check skipped", says=text, who=text, names=[text])
    lines = stream.getvalue().split("\n")
    assert len(lines) == 3, lines
    # Controls, formats such as right-to-left marks, and other ends of lines.
    assert {unicodedata.category(sign) for line in lines for sign in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"} == set()
    json.loads(lines[1])


def test_twice_configured_is_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    configure()
    _log.info("check skipped", says="Another check is running")
    written = capsys.readouterr().err
    assert len(written.splitlines()) == 1


def test_who_uses_the_library_gets_plain_records_with_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), bound(run="0195-run"):
        _log.info("check skipped", says="Another check is running")
    [record] = caplog.records
    assert record.getMessage() == "check skipped"
    assert (vars(record)["says"], vars(record)["run"]) == ("Another check is running", "0195-run")
