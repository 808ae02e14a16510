"""How reports look, as files to be read by a person. Few of them, each for a kind of day."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest

from monitoring import __version__
from monitoring.messages import findings_table as table
from monitoring.messages import json_contract as as_json
from monitoring.messages import terminal
from monitoring.messages.alert_message import alert_message
from monitoring.messages.markdown import markdown_page
from monitoring.messages.plain import plain
from monitoring.messages.report_messages import digest_message, health_message
from monitoring.messages.slack_blocks import SlackMessage, slack_message
from monitoring.model.message import Message
from monitoring.model.report import HealthReport
from tests.support import samples
from tests.support.alert_samples import ALERTS
from tests.support.golden import Golden

REPORTS = [samples.healthy, samples.bad, samples.unreachable, samples.incomplete]


def printed(message: Message) -> str:
    stream = io.StringIO()
    terminal.show(terminal.console(stream), message)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def read(message: SlackMessage) -> str:
    """A message as its texts, a block a paragraph."""
    parts = [[block.get("text", {}), *block.get("elements", [])] for block in message.blocks]
    return "\n\n".join([message.text, *("\n".join(part["text"] for part in block if part) for block in parts)]) + "\n"


def timeless(text: str) -> str:
    """The watchdog's version changes with every release, and the look does not."""
    return text.replace(f"Watchdog {__version__}", "Watchdog VERSION")


@pytest.mark.parametrize("make", REPORTS)
def test_health_in_markdown(make: Callable[[], HealthReport], golden: Golden) -> None:
    golden(f"health-{make.__name__}.md", timeless(markdown_page(health_message(make()))))


def test_digest_in_markdown(golden: Golden) -> None:
    golden("digest-bad.md", timeless(markdown_page(digest_message(samples.digest(samples.bad())))))


@pytest.mark.parametrize("make", REPORTS[:2])
def test_digest_in_slack(make: Callable[[], HealthReport], golden: Golden) -> None:
    message = slack_message(digest_message(samples.digest(make())))
    text = json.dumps(message._asdict(), indent=2, ensure_ascii=False) + "\n"
    golden(f"slack-{make.__name__}.json", timeless(text))


def test_a_day_without_counts_in_slack(golden: Golden) -> None:
    message = slack_message(digest_message(samples.unknown_digest(samples.unreachable())))
    text = json.dumps(message._asdict(), indent=2, ensure_ascii=False) + "\n"
    golden("slack-unreachable.json", timeless(text))


def test_findings_as_a_table(golden: Golden) -> None:
    golden("findings-bad.json", json.dumps(table.findings(samples.bad()), indent=2, ensure_ascii=False) + "\n")


def test_check_as_json(golden: Golden) -> None:
    golden("check-bad.json", json.dumps(as_json.check_json(samples.bad()), indent=2, ensure_ascii=False) + "\n")


def test_health_and_digest_in_a_pipe(golden: Golden) -> None:
    health = [printed(health_message(make())) for make in REPORTS]
    digest = printed(digest_message(samples.digest(samples.bad())))
    golden("terminal.txt", timeless("\n".join([*health, digest])))


def test_alerts_in_slack(golden: Golden) -> None:
    parts = [
        f"## {name}\n{read(slack_message(alert_message(content), ('here', 'S0DATA')))}"
        for name, content in ALERTS.items()
    ]
    golden("alerts-slack.txt", "\n".join(parts))


def test_alerts_in_a_pipe(golden: Golden) -> None:
    parts = [f"## {name}\n{printed(alert_message(content, whole=True))}" for name, content in ALERTS.items()]
    golden("alerts-terminal.txt", "\n".join(parts))


@pytest.mark.parametrize("name", ["one failed", "details"])
def test_an_alert_as_blocks(name: str, golden: Golden) -> None:
    message = slack_message(alert_message(ALERTS[name]), ("here",))
    text = json.dumps(message._asdict(), indent=2, ensure_ascii=False) + "\n"
    golden(f"alert-{name.replace(' ', '-')}.json", text)


def test_alerts_for_any_receiver(golden: Golden) -> None:
    bodies = {name: plain(alert_message(content, whole=True)) for name, content in ALERTS.items()}
    golden("alerts-plain.txt", "\n".join(f"## {subject}\n\n{body}\n" for subject, body in bodies.values()))
