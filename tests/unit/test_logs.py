"""Log events: as documented, of one line each, tied by ids, and without secrets."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import subprocess
import sys
import tokenize
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.adapters import logs
from monitoring.config.general_settings import Logs
from monitoring.logs import ROOT, bound, get_logger
from monitoring.text.escaping import clean
from monitoring.text.redaction import Redactor
from tests.support.pages import items
from tests.support.paths import PROJECT
from tests.support.samples import HOSTILE

SCHEMA = json.loads((PROJECT / "monitoring/messages/log.schema.json").read_text())
DOC = (PROJECT / "docs/logs.md").read_text()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
LEVELS = ("debug", "info", "warning", "error")
#: What the standard library has on every record: a field of that name would be refused, or take its place.
TAKEN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
SOURCES = [*(PROJECT / "monitoring").rglob("*.py"), *(PROJECT / "flows").glob("*.py")]
#: Where logging is made what it is, where others' lines are kept away or overheard, and where a level is named.
MAY_IMPORT_LOGGING = {
    "monitoring/logs.py",
    "monitoring/adapters/logs.py",
    "monitoring/adapters/receivers/notification_block.py",
    "monitoring/adapters/prefect/publish/failed_state.py",
    "monitoring/adapters/prefect/read/failure_reasons.py",
    "monitoring/adapters/prefect/read/traces.py",
    "monitoring/cli/notify.py",
    "monitoring/adapters/slack/client.py",
}
_log = get_logger("monitoring.tests")


def calls() -> Iterator[tuple[str, str, set[str], bool]]:
    """Every place that logs: event, level, fields that are written there, and whether there are more."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
                if isinstance(node.func.value, ast.Name) and node.func.value.id == "_log":
                    yield _call(node, node.func.attr)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "log":
                for level in ("debug", "info"):
                    yield _call(node, level)


def logging_otherwise(code: str) -> set[str]:
    """What of a module logs, or may, in a way that ``calls`` does not see."""
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    text = " ".join(token.string for token in tokens if token.type in (tokenize.NAME, tokenize.OP, tokenize.NEWLINE))
    seen = rf"_log = get_logger \(|\b_log \. ({'|'.join(LEVELS)}) \(|log = _log . info if [\w .]+ else _log . debug"
    text = re.sub(rf"from monitoring \. logs import (\w+ , )*get_logger \n|{seen}", "", text)
    return set(re.findall(r"\b(_log|get_logger|logging|structlog|get_run_logger)\b", text))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_whatever_logs_is_seen_by_the_tests_below(path: Path) -> None:
    allowed = {"logging", "structlog", "get_logger"} if str(path.relative_to(PROJECT)) in MAY_IMPORT_LOGGING else set()
    assert logging_otherwise(path.read_text()) <= allowed


@pytest.mark.parametrize(
    "code",
    [
        "_log.exception('check failed')",
        "_log.critical('check failed')",
        "_log.log(40, 'check failed')",
        "_log.bind(more=1).info('check failed')",
        "say = _log.info",
        "helper(_log)",
        "logger = get_logger(__name__)",
        "get_logger(__name__).info('check failed')",
        "from monitoring.logs import get_logger as logger\n",
        "import logging",
        "import logging.config",
        "from logging import getLogger",
        "import structlog",
        "from prefect import get_run_logger",
        "from prefect.logging import get_run_logger",
    ],
)
def test_what_would_go_unseen_is_rejected(code: str) -> None:
    assert logging_otherwise(code)


def _call(node: ast.Call, level: str) -> tuple[str, str, set[str], bool]:
    [event] = node.args
    assert isinstance(event, ast.Constant), "the name of an event never differs"
    given = {keyword.arg for keyword in node.keywords if keyword.arg}
    return str(event.value), level, given, any(keyword.arg is None for keyword in node.keywords)


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """The events of the schema: levels and fields."""
    return {
        schema["properties"]["event"]["const"]: (
            set(schema["properties"]["level"]["enum"]),
            set(schema["required"]),
        )
        for schema in SCHEMA["oneOf"]
    }


def test_every_event_is_in_the_schema_with_its_fields_and_no_other_is() -> None:
    known, seen = documented(), dict[str, set[str]]()
    for event, level, fields, more in calls():
        seen.setdefault(event, set()).add(level)
        assert fields <= known[event][1], event
        assert more or known[event][1] <= fields, event
    assert seen == {event: levels for event, (levels, _) in known.items()}


def test_the_docs_have_every_event_as_the_schema_has_it() -> None:
    events = [match for item in items(DOC) if (match := re.match(r"\*\*`([a-z ]+)`\*\* \(([a-z, ]+); (.+?)\): ", item))]
    rows = [match.groups() for match in events]
    found = {event: (set(levels.split(", ")), set(re.findall(r"`(\w+)`", fields))) for event, levels, fields in rows}
    assert found == documented()


def test_the_rules_in_the_docs_take_our_lines_and_no_others(capsys: pytest.CaptureFixture[str]) -> None:
    [taken] = re.findall(r"pattern: '(.+)'", DOC)
    [dropped] = re.findall(r'expression = "(.+)"', DOC)
    configure(format="json", level="DEBUG")
    say_all()
    for line in capsys.readouterr().err.splitlines():
        assert re.search(taken, line)
        assert not re.search(dropped, line)
    for line in ("04:05:06.789 | INFO    | Flow run 'a' - Finished in state Completed()", '  File "a.py", line 1', ""):
        assert not re.search(taken, line)
        assert re.search(dropped, line)


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
        _log.info("check completed", says="Nothing is wrong.", findings=0, incidents=["W-1", "W-2"], subject="etl/a")
    written = capsys.readouterr().err
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC INFO    check completed "
        r'findings=0 incidents="W-1, W-2" subject=etl/a: Nothing is wrong\.\n',
        written,
    )


def read(line: str) -> tuple[dict[str, Any], str]:
    """Read a line for people: its fields, and what it says after them."""
    text = re.sub(r"^.* UTC [A-Z]+ +(?:[a-z]+ ?)+?(?=$|:| [a-z_]+=)", "", line)
    fields: dict[str, Any] = {}
    while found := re.match(r' ([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"=:]+)', text):
        fields[found[1]] = json.loads(found[2]) if found[2].startswith('"') else found[2]
        text = text[found.end() :]
    assert re.match(r": |$", text), line
    return fields, text[2:]


FORGED = (
    'a/b"severity=ok"to="resolved',
    "a to=resolved",
    "a: Nothing is wrong.",
    "a\\",
    'a" to="x',
    "a\uff1ato\uff1dresolved",
    "",
)


@given(st.sampled_from(FORGED) | st.text(), st.sampled_from(FORGED) | st.text())
def test_what_others_wrote_looks_like_no_other_field(name: str, message: str) -> None:
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", stream)
        configure()
        _log.warning("alert not delivered", subject=name, to="firing", problem=f"no answer: {message}")
    fields, says = read(stream.getvalue().removesuffix("\n"))
    assert fields.keys() == {"subject", "to"}
    assert fields == {"subject": clean(Redactor().redact(name), 2_000), "to": "firing"}
    assert says.startswith("no answer:")


@pytest.mark.parametrize("missing", ["run", "target"])
def test_a_line_that_nothing_ties_to_a_check_is_not_valid(missing: str) -> None:
    line = {"timestamp": "2026-03-01T04:05:06Z", "level": "warning", "logger": "monitoring.flows.digest"}
    line |= {"event": "digest not posted", "problem": "no Slack token", "run": "0195-run", "target": "prod"}
    VALIDATOR.validate(line)
    del line[missing]
    assert not VALIDATOR.is_valid(line)


def test_a_configuration_that_cannot_be_read_has_no_target_and_what_is_served_has_no_run() -> None:
    line = {"timestamp": "2026-03-01T04:05:06Z", "level": "error", "logger": "monitoring.flows.check"}
    VALIDATOR.validate(line | {"event": "check failed", "problem": "watchdog.yaml: cannot be read", "run": "0195-run"})
    assert not VALIDATOR.is_valid(line | {"event": "check failed", "problem": "watchdog.yaml: cannot be read"})
    VALIDATOR.validate(line | {"level": "info", "event": "metrics served", "says": "http://127.0.0.1:9464/metrics"})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Logs()),
        ({"WATCHDOG_LOGS__FORMAT": "json", "WATCHDOG_LOGS__LEVEL": "DEBUG"}, Logs(format="json", level="DEBUG")),
        ({"WATCHDOG_LOGS": '{"format": "json"}'}, Logs(format="json")),
        ({"WATCHDOG_LOGS": '{"format": "json"}', "WATCHDOG_LOGS__FORMAT": "console"}, Logs()),
        # What cannot be used counts as not set, and takes nothing with it that can.
        ({"WATCHDOG_LOGS__FORMAT": "json", "WATCHDOG_LOGS__LEVEL": "loud"}, Logs(format="json")),
        ({"WATCHDOG_LOGS": "{", "WATCHDOG_LOGS__COLOUR": "red", "WATCHDOG_LOGS__LEVEL": "ERROR"}, Logs(level="ERROR")),
        ({"WATCHDOG_LATE__AFTER": "soon", "WATCHDOG_LOGS__FORMAT": "json"}, Logs(format="json")),
    ],
)
def test_the_environment_says_how_to_log_before_the_configuration_is_read(
    environ: Mapping[str, str], expected: Logs
) -> None:
    assert logs.from_environment(environ) == expected


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


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    "fields",
    [
        {"token": "hunter2"},
        {"password": b"hunter2"},
        {"problem": b"password=hunter2"},
        {"DB_PASSWORD": ["two words", "hunter2"]},
        {"more": {"password": "hunter2", "nested": {"api_key": "hunter2", "n": 1}}},
        {"more": [{b"client_secret": b"hunter2"}]},
        {"more": {"token": {"value": "hunter2"}}},
        {"more": {"password=hunter2": 1}},
    ],
)
def test_what_stands_under_a_key_that_names_a_secret_is_one(
    capsys: pytest.CaptureFixture[str], form: str, fields: dict[str, Any]
) -> None:
    configure(format=form)
    _log.warning("events not sent", **fields)
    written = capsys.readouterr().err
    assert "hunter2" not in written
    assert "REDACTED" in written


def test_patterns_of_the_users_leave_what_ties_lines_together(capsys: pytest.CaptureFixture[str]) -> None:
    run, delivery = "0195f0a2-7b1c-7d3e-8f40-123456789abc", "3f0a1c9e-5b7d-4c57-9a53-0d6f4f0ddc11"
    patterns = [r"\d{4}-\d\d-\d\d", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", r"W-\d+", "(?i)warning|prod|alert"]
    logs.configure(Logs(format="json"), Redactor(patterns).redact, in_run=False)
    with bound(run=run, target="prod"):
        _log.warning(
            "alert not delivered",
            delivery=delivery,
            route="default",
            kind="post",
            about="began",
            incidents=["W-1"],
            permanent=False,
            problem=f"no answer about {delivery} since 2026-03-01",
        )
    [line] = map(json.loads, capsys.readouterr().err.splitlines())
    VALIDATOR.validate(line)
    assert (line["event"], line["level"], line["logger"]) == ("alert not delivered", "warning", "monitoring.tests")
    assert re.match(r"\d{4}-\d\d-\d\dT", line["timestamp"])
    assert (line["run"], line["target"], line["delivery"], line["incidents"]) == (run, "prod", delivery, ["W-1"])
    assert line["problem"] == "no answer about REDACTED since REDACTED"


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


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_somebody_else_logs_below_our_logger_is_taken_for_nothing_of_ours(
    capsys: pytest.CaptureFixture[str], form: str
) -> None:
    configure(format=form)
    other = logging.getLogger(f"{ROOT}.others")
    other.warning("refused: password=%s\n2026-03-01 UTC INFO \x1b[2Jforged", "hunter2", extra={"run": "token=hunter2"})
    written = capsys.readouterr().err
    [line] = written.splitlines()
    assert "hunter2" not in line
    assert "refused: password=REDACTED" in line
    assert "\x1b" not in line


def test_nothing_is_written_where_nobody_has_configured_logging() -> None:
    code = "from monitoring.logs import get_logger; get_logger('monitoring.x').error('check failed', problem='x')"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_who_uses_the_library_gets_plain_records_with_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), bound(run="0195-run"):
        _log.info("check skipped", says="Another check is running")
    [record] = caplog.records
    assert record.getMessage() == "check skipped"
    assert (vars(record)["says"], vars(record)["run"]) == ("Another check is running", "0195-run")
