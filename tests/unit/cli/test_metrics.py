"""``watchdog metrics``: what is refused before anything is served."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from monitoring.cli.metrics import app

#: Nothing listens there: connecting is refused at once.
NOBODY = "http://127.0.0.1:9/api"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "watchdog.yaml").write_text("server: {attempts: 1}\nmetrics: {enabled: true}\n")
    return tmp_path


def complaint(capsys: pytest.CaptureFixture[str], *tokens: str) -> str:
    """Run a command that cannot do what it is asked, and return the line on stderr."""
    status = app([*tokens, "--target", NOBODY], result_action="return_value", exit_on_error=False)
    printed = capsys.readouterr()
    assert (status, printed.out, printed.err.count("\n")) == (3, "", 1)
    return printed.err


@pytest.mark.parametrize("command", ["serve", "print"])
def test_where_nothing_is_measured_it_says_what_to_set(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (folder / "watchdog.yaml").write_text("metrics: {listen: '127.0.0.1:1'}\n")
    error = complaint(capsys, command)
    assert error.startswith("watchdog.yaml: metrics.enabled: false; expected true")


@pytest.mark.parametrize("listen", ["9464", "127.0.0.1", "127.0.0.1:99999", "http://127.0.0.1:9464", ""])
def test_where_to_listen_must_be_a_host_and_a_port(capsys: pytest.CaptureFixture[str], listen: str) -> None:
    error = complaint(capsys, "serve", "--listen", listen)
    assert error == f"--listen: {listen!r}: expected a host and a port, such as 127.0.0.1:9464\n"


@pytest.mark.parametrize("by", ["option", "setting"])
def test_a_port_that_is_taken_is_reported(folder: Path, capsys: pytest.CaptureFixture[str], by: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        if by == "setting":
            (folder / "watchdog.yaml").write_text(f"metrics: {{enabled: true, listen: '{listen}'}}\n")
        error = complaint(capsys, "serve", *(["--listen", listen] if by == "option" else []))
    name = "--listen" if by == "option" else "metrics.listen"
    assert error.startswith(f"{name}: {listen}: Address already in use; expected")


def test_a_server_that_does_not_answer_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert "127.0.0.1:9" in complaint(capsys, "print")
