"""Faults between the outbox and a Slack workspace: how many messages people see in the channel in the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import httpx
import pytest
from werkzeug import Response

from monitoring.adapters.slack.bot import SlackBot
from monitoring.config import alert_settings as config
from tests.support.builders import hours, minutes
from tests.support.relay import ApiRequest, Relay, relayed
from tests.support.simulation import Watchdog, problem
from tests.support.slack import SlackEmulator

A = problem("etl/a")
POST = "/chat.postMessage"
#: What Slack answers where the token may not read.
BLIND = Response('{"ok": false, "error": "missing_scope"}', 200, content_type="application/json")


class Slack:
    """The workspace behind a relay, and a watchdog that tells of incidents in it."""

    def __init__(self, emulator: SlackEmulator, relay: Relay) -> None:
        self.emulator = emulator
        self.relay = relay
        settings = config.Slack(api_url=relay.url, timeout=timedelta(seconds=4))
        bots = {
            route: SlackBot(emulator.token, settings, config.Receiver(channel=emulator.channel_id(channel)))
            for route, channel in (("default", "alerts"), ("fallback", "digest"))
        }
        self.watchdog = Watchdog(bots, alerts={"fallback": {"channel": "digest"}})  # type: ignore[arg-type]  # bots do
        # Messages have the time of the clock on the wall, by which they are looked for.
        self.watchdog.now = datetime.now(timezone.utc)

    def count(self, channel: str = "alerts") -> int:
        """The messages that people see in a channel."""
        return len(self.emulator.messages(channel))

    def once(self, *answers: Response) -> None:
        """Answer so in Slack's place, one post after the other."""
        left = iter(answers)
        self.relay.answer = lambda request: next(left, None) if request.path == POST else None

    def look_away(self) -> None:
        """Let nobody read the messages."""
        self.relay.answer = lambda request: BLIND if request.path.startswith("/conversations.") else None


@pytest.fixture
def slack(slack_emulator: SlackEmulator) -> Iterator[Slack]:
    with relayed(slack_emulator.url) as relay:
        yield Slack(slack_emulator, relay)


def test_a_short_429_is_waited_for_and_a_long_one_is_left_to_a_later_check(slack: Slack) -> None:
    slack.once(Response("", 429, {"Retry-After": "1"}))
    slack.watchdog.check(A)
    assert slack.count() == 1
    slack.once(Response("", 429, {"Retry-After": "1800"}))
    slack.watchdog.check(A, problem("etl/b", "failed"))
    slack.watchdog.check(A, problem("etl/b", "failed"), after=minutes(29))
    assert slack.count() == 1
    slack.watchdog.check(A, problem("etl/b", "failed"), after=minutes(1))
    assert slack.count() == 2


def test_what_slack_could_not_take_is_sent_once_by_a_later_check(slack: Slack) -> None:
    slack.once(Response("", 503), Response("", 503))
    slack.watchdog.check(A)
    slack.watchdog.check(A)
    assert slack.count() == 0
    slack.watchdog.check(A)
    slack.watchdog.check(A)
    assert slack.count() == 1


@pytest.mark.parametrize("fault", ["no answer in time", "a cut connection"])
@pytest.mark.parametrize(("readable", "times"), [(True, 1), (False, 2)])
def test_what_was_sent_without_an_answer_is_sent_again_only_where_the_channel_cannot_be_read(
    slack: Slack, fault: str, readable: bool, times: int
) -> None:
    lost = iter([True])

    def slow(request: ApiRequest, _: httpx.Response) -> None:
        if request.path == POST and next(lost, False):
            time.sleep(5)

    if fault == "no answer in time":
        slack.relay.after = slow
    else:
        slack.relay.cut = lambda request: request.path == POST and next(lost, False)
    if not readable:
        slack.look_away()
    slack.watchdog.check(A)
    assert slack.count() == 1
    slack.watchdog.check(A)
    slack.watchdog.check(A)
    assert slack.count() == times
    # Its resolution is sent to the thread that is known.
    slack.watchdog.check()
    resolved = slack.emulator.messages("alerts")[-1]
    assert "✅" in resolved["text"]
    assert slack.count() == times


def test_what_a_channel_rejects_for_good_goes_to_the_fallback_until_the_channel_works_again(slack: Slack) -> None:
    slack.once(Response('{"ok": false, "error": "is_archived"}', 200, content_type="application/json"))
    slack.watchdog.check(A)
    assert (slack.count("alerts"), slack.count("digest")) == (0, 1)
    assert "archive" in slack.watchdog.outbox.troubles["default"].problem
    slack.watchdog.check(A, problem("etl/b", "failed"), after=hours(1))
    assert (slack.count("alerts"), slack.count("digest")) == (1, 1)
    assert slack.watchdog.outbox.troubles == {}
