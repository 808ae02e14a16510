"""``watchdog silence`` and ``watchdog incidents``: what is refused before any server is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from cyclopts import CycloptsError

from monitoring.cli import app

#: Nothing listens there: connecting is refused at once.
NOBODY = "http://127.0.0.1:9/api"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "watchdog.yaml").write_text("server: {attempts: 1}\n")
    return tmp_path


def run(*tokens: str) -> int:
    status = app([*tokens, "--target", NOBODY], result_action="return_value", exit_on_error=False)
    assert isinstance(status, int)
    return status


ADD = ["silence", "add", "--reason", "x"]
FOR = ["--tag", "etl", "--for", "4h"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        pytest.param(
            [*ADD, "--for", "4h"],
            "expected at least one of --deployment, --tag, --pool, --check, --owner, --severity",
            id="nothing to match by",
        ),
        pytest.param([*ADD, "--tag", " ", "--for", "4h"], "--tag: empty; expected text", id="an empty matcher"),
        pytest.param(["silence", "add", "--reason", " ", *FOR], "--reason: empty; expected text", id="an empty reason"),
        pytest.param([*ADD, *FOR, "--by", " "], "--by: expected a name", id="an empty name"),
        pytest.param([*ADD, "--tag", "etl"], "expected an end, either --for 4h or --until", id="no end"),
        pytest.param(
            [*ADD, *FOR, "--until", "2999-01-01T00:00:00Z"], "expected an end, either --for 4h or", id="two ends"
        ),
        pytest.param([*ADD, "--tag", "etl", "--for", "4"], "--for: '4': expected a duration", id="no unit"),
        pytest.param([*ADD, "--tag", "etl", "--for", "0s"], "--for: ends at", id="no time at all"),
        pytest.param(
            [*ADD, "--tag", "etl", "--until", "2026-03-10T08:00:00"],
            "--until: '2026-03-10T08:00:00': expected a time with its zone",
            id="no zone",
        ),
        pytest.param(
            [*ADD, "--tag", "etl", "--until", "2001-03-10T08:00:00+01:00"],
            "--until: ends at 2001-03-10 07:00 UTC; expected an end after",
            id="an end that is past",
        ),
        pytest.param(
            [*ADD, *FOR, "--from", "2990-01-01T00:00:00Z"], "expected an end within 365 d", id="a start too far"
        ),
        pytest.param([*ADD, "--tag", "etl", "--for", "366d"], "expected an end within 365 d", id="too long"),
        pytest.param([*ADD, *FOR, "--from", "soon"], "--from: 'soon': expected a time with its zone", id="no start"),
    ],
)
def test_what_cannot_be_is_rejected_in_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert line in printed.err
    assert printed.err.count("\n") == 1


def test_an_end_a_year_ahead_is_not_too_far(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*ADD, "--tag", "etl", "--for", "365d") == 3
    assert capsys.readouterr().err.startswith(f"no answer from {NOBODY}")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        pytest.param([*ADD, *FOR, "--check", "flailed"], '"crashed", "late"', id="unknown check"),
        pytest.param([*ADD, *FOR, "--severity", "info"], '"warning", "critical"', id="what is never notified"),
        pytest.param(["silence", "add", *FOR], "--reason", id="no reason"),
        pytest.param(["incidents", "ack"], "INCIDENTS", id="no incident"),
        pytest.param(["incidents", "close"], "INCIDENTS", id="none to close"),
    ],
)
def test_words_that_are_none_are_reported_with_those_that_are(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CycloptsError):
        run(*words)
    printed = capsys.readouterr()
    assert part in " ".join((printed.out + printed.err).replace("│", " ").split())


@pytest.mark.parametrize(
    "words",
    [
        ["incidents", "list"],
        ["incidents", "show", "W-1"],
        ["incidents", "ack", "W-1"],
        ["incidents", "close", "W-1"],
        ["silence", "list"],
        ["silence", "expire", "S-1"],
        [*ADD, *FOR],
    ],
    ids=" ".join,
)
def test_a_server_that_is_gone_is_reported(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 3
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert printed.err.startswith(f"no answer from {NOBODY}")


def test_a_name_that_nobody_has_must_be_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody() -> str:
        raise OSError("no user 1234")

    monkeypatch.setattr("monitoring.cli.saved_state.getuser", nobody)
    assert run("incidents", "ack", "W-1") == 3
    assert capsys.readouterr().err == "--by: expected a name, because your login name is unknown\n"
