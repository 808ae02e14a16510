"""A command that fails in a way that nobody has foreseen: one line, no secret, and the status of "unable"."""

from __future__ import annotations

from typing import Any

import pytest

from monitoring import cli


def ended(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int | str | None:
    """The exit status of a command that raises an error."""

    def app(**_: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code


def test_it_is_one_line_and_no_warning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(monkeypatch, ValueError("no rows\npassword=hunter2 \x1b[31mred")) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("a fault of the watchdog at monitoring.cli:")
    assert "please report it: ValueError: no rows" in printed.err
    assert "hunter2" not in printed.err
    assert "\x1b" not in printed.err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("Error calling function: KeyboardInterrupt: ")])
def test_an_interrupt_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    assert ended(monkeypatch, error) == 130
    assert capsys.readouterr() == ("", "")
