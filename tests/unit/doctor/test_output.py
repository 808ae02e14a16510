"""What the doctor says, for a person and for a program."""

from __future__ import annotations

import io
import json
import re
from datetime import datetime, timezone

from monitoring.doctor.examination import Examined
from monitoring.doctor.output import doctor_json, doctor_message, headline
from monitoring.messages import terminal
from tests.support.paths import PROJECT

DOCUMENT = (PROJECT / "docs" / "doctor.md").read_text()
WELL = Examined(name="server", outcome="ok", detail="http://prefect.example.com:4200/api responds")
FAULT = Examined(
    name="worker of watchdog",
    outcome="fault",
    detail="no worker is alive: the last heartbeat was 2 h 5 min ago",
    fix="prefect worker start --pool watchdog --limit 2",
)
ADVICE = Examined(name="alerts", outcome="ok", detail="some are notified", fix="set alerts.fallback")
UNKNOWN = Examined(name="lock", outcome="unknown", detail="not examined: 403")


def shown(*examined: Examined) -> list[str]:
    stream = io.StringIO()
    terminal.show(terminal.console(stream), doctor_message(examined))
    return stream.getvalue().splitlines()


def test_a_line_for_each_part_and_below_it_what_mends_it() -> None:
    assert shown(WELL, FAULT, ADVICE, UNKNOWN) == [
        "1 fault; 1 recommendation; 1 not examined.",
        "ok: server: http://prefect.example.com:4200/api responds",
        "FAULT: worker of watchdog: no worker is alive: the last heartbeat was 2 h 5 min ago",
        "  • fix: prefect worker start --pool watchdog --limit 2",
        "ok: alerts: some are notified",
        "  • recommended: set alerts.fallback",
        "unknown: lock: not examined: 403",
    ]


def test_the_sum() -> None:
    warning = FAULT._replace(outcome="warning")
    assert headline([WELL]) == "Nothing is wrong."
    assert headline([WELL, ADVICE, ADVICE]) == "Nothing is wrong; 2 recommendations."
    assert headline([FAULT, warning, warning]) == "1 fault and 2 warnings."


def test_what_others_wrote_does_nothing_in_a_terminal() -> None:
    hostile = "\x1b[2J[bold]a\nb\u202e"
    lines = shown(Examined(name=f"work pool {hostile}", outcome="fault", detail=hostile, fix=f"resume {hostile}"))
    assert lines[1:] == ["FAULT: work pool [bold]a b: [bold]a b", "  • fix: resume [bold]a b"]


def test_a_command_is_never_cut_or_wrapped() -> None:
    command = "prefect work-pool resume " + "x" * 400
    assert shown(FAULT._replace(fix=command))[2] == f"  • fix: {command}"


def test_long_lines_wrap_at_words_in_a_narrow_terminal() -> None:
    stream = io.StringIO()
    console = terminal.console(stream)
    console.width = 80
    terminal.show(console, doctor_message([FAULT]))
    assert [line.rstrip() for line in stream.getvalue().splitlines()][1:] == [
        "FAULT: worker of watchdog: no worker is alive: the last heartbeat was 2 h 5 min",
        "ago",
        "  • fix: prefect worker start --pool watchdog --limit 2",
    ]


def test_the_documented_json_is_what_is_printed() -> None:
    [example] = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    at = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
    assert doctor_json([WELL, FAULT], "prefect", at) == json.loads(example)
    assert [part["recommended"] for part in doctor_json([WELL, ADVICE], "prefect", at)["examined"]] == [False, True]
