"""Alerts as people read them: one line says what is wrong, a command does what it says, and no name does anything."""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from monitoring.adapters.prefect.publish import artifacts
from monitoring.checks.registry import BY_NAME
from monitoring.config.policy_tags import read_tags
from monitoring.messages import alert_message as alerts
from monitoring.messages.alert_message import alert_message
from monitoring.messages.plain import plain as plain_text
from monitoring.messages.slack_blocks import SlackMessage, slack_message
from monitoring.model.finding import Cause, CheckName
from monitoring.model.incident import Acknowledgement, Incident, ResolutionReason
from monitoring.model.outbox import About, Content
from monitoring.model.silence import Silence
from tests.support import samples
from tests.support.alert_samples import (
    ACKNOWLEDGED,
    ALERTS,
    ALSO_LATE,
    FAILED,
    HOSTILE,
    LATE,
    POOL,
    SCHEDULER,
    STALE,
    content,
    incident,
    many,
    resolved,
)
from tests.unit.messages.test_slack_blocks import rebuilt
from tests.unit.text.test_escaping import NASTY

MENTIONS = ("here", "U0ANA", "S0DATA")
NAMES = NASTY | st.text(alphabet="`'\"$&;|<>*?[]{}\n\u202eax ", max_size=30) | st.just("x" * 5_000)


def alert(content: Content, mentions: Sequence[str] = (), *, whole: bool = False) -> SlackMessage:
    return slack_message(alert_message(content, whole=whole), mentions)


def plain(content: Content) -> tuple[str, str]:
    return plain_text(alert_message(content, whole=True))


def words_of(message: SlackMessage) -> str:
    return html.unescape(json.dumps(message.blocks, ensure_ascii=False))


# --- what the title says ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "title"),
    [
        (content("opened", FAILED), "🔴 etl/nightly: failed 3 times in a row"),
        (content("opened", POOL), "🔴 work pool k8s: 37 runs wait, and no worker is alive"),
        (content("opened", *many(12)), "🟡 12 deployments failed"),
        (content("opened", *many(2), resolved(FAILED)), "🟡 3 deployments failed; 1 of them resolved"),
        (content("opened", LATE, ALSO_LATE), "🔴 work pool k8s has no live worker: 2 deployments, 3 runs"),
        (content("opened", LATE, POOL), "🔴 work pool k8s has no live worker: 2 problems, 37 runs"),
        (content("opened", FAILED, SCHEDULER), "🔴 2 problems (failed, server)"),
        (content("joined", *many(3)), "🟡 Also: 3 deployments failed"),
        (
            content("risen", LATE),
            "🔴 Critical now: reports/daily: 2 runs are late, the first was due at 2026-03-10 03:00 UTC",
        ),
        (content("reopened", FAILED), "🔴 Back again: etl/nightly: failed 3 times in a row"),
        (content("repeated", STALE), "🔴 Still broken after 3 d: etl/nightly: no success for 3 d"),
        (content("resolved", resolved(LATE)), "✅ reports/daily (late): resolved after 4 h, a run completed"),
        (content("opened", resolved(FAILED, "closed")), "✅ etl/nightly (failed): resolved after 3 h, closed by hand"),
        (
            content("resolved", resolved(FAILED, "paused-while-failing")),
            "⚪ etl/nightly (failed): closed after 3 h, paused while failing",
        ),
        (
            content("resolved", resolved(LATE), resolved(FAILED, "expired")),
            "⚪ 2 deployments (late, failed): closed after 4 h at most",
        ),
        (content("resolved", *map(resolved, many(12))), "✅ 12 deployments (failed): resolved after 3 h at most"),
        (content("details", FAILED), "Details of W-12"),
        (content("details", *many(2)), "Details of 2 incidents"),
        (content("preexisting", FAILED), "⚪ 1 problem from before the watchdog's first check"),
        (content("preexisting", *many(20)), "⚪ 20 problems from before the watchdog's first check"),
    ],
)
def test_the_title_alone_is_understood(said: Content, title: str) -> None:
    assert title.endswith(alerts.alert_title(said))
    assert alert(said).text == f"{title} (prod)"
    assert plain(said)[0] == f"{title} (prod)"


@pytest.mark.parametrize("why", get_args(ResolutionReason))
def test_every_end_says_why(why: ResolutionReason) -> None:
    assert re.search(
        r"(resolved|closed) after 3 h, [a-z ,]+ \(prod\)", alert(content("resolved", resolved(FAILED, why))).text
    )


def test_what_came_and_went_lasted_until_it_was_seen_last() -> None:
    seen_last = samples.NOW - timedelta(hours=1)
    gone = resolved(FAILED).model_copy(update={"unseen_since": seen_last, "reopened": 1})
    assert "resolved after 2 h" in alerts.alert_title(content("resolved", gone))


@pytest.mark.parametrize("check", BY_NAME)
def test_every_check_has_a_sentence_for_many(check: CheckName) -> None:
    group = [incident(samples.finding(check, f"a/{n}"), n) for n in (1, 2)]
    assert re.fullmatch(r"2 deployments [a-z ]+", alerts.alert_title(content("opened", *group)))


# --- what the rows say ------------------------------------------------------------------------------


def test_a_row_says_all_that_is_known() -> None:
    said = words_of(alert(ALERTS["acknowledged, inhibited"]))
    for part in (
        "W-12",
        "|etl/nightly>",
        "critical, since 2026-03-10 04:00 UTC",
        "3 runs",
        "owner: data",
        "cause: flow run load-orders failed",
        "symptom of W-9",
        "came back 2 times",
        "acknowledged by ana: asked the vendor",
    ):
        assert part in said


def test_what_is_over_is_told_apart_in_a_group() -> None:
    said = words_of(alert(ALERTS["a group, one of it resolved"]))
    assert "✅ *W-12* <" in said
    assert "resolved after 3 h: a run completed" in said
    assert "🟡 *W-100* <" in said


def test_hundreds_are_one_readable_message() -> None:
    message = alert(ALERTS["hundreds"])
    assert message.text == "🟡 300 deployments failed (prod)"
    assert words_of(message).count("🟡 *W-") == 15
    assert "and 285 more incidents: see the artifact watchdog-health" in words_of(message)
    assert "and 285 more incidents: see the artifact watchdog-health" in plain(ALERTS["hundreds"])[1]


def test_a_note_is_shown() -> None:
    for text in (words_of(alert(ALERTS["one late, sent late"])), plain(ALERTS["one late, sent late"])[1]):
        assert "W-13 was suppressed until now: quiet hours" in text


def test_lines_of_a_traceback_are_shown_only_where_they_may_be() -> None:
    for may in (True, False):
        said = content("details", FAILED, traceback=may)
        for text in (words_of(alert(said)), plain(said)[1]):
            assert ("raise ValueError" in text) is may
            assert "Observed: 3 runs in a row failed" in text
            assert "Expected: the latest ended run completes" in text
            assert "/runs/flow-run/run-2" in text


def test_the_end_of_a_long_traceback_is_what_is_shown() -> None:
    lines = tuple(f"line {n} {'x' * 150}" for n in range(40))
    finding = FAILED.finding.model_copy(update={"evidence": lines})
    said = words_of(alert(content("details", incident(finding), traceback=True)))
    assert "line 39 " in said
    assert "line 2 " not in said


def test_where_there_is_no_thread_a_message_says_what_was_seen() -> None:
    assert "Observed:" not in words_of(alert(ALERTS["one failed"]))
    assert "Observed: 3 runs in a row failed" in words_of(alert(ALERTS["one failed"], whole=True))
    assert "Observed: 3 runs in a row failed" in plain(ALERTS["one failed"])[1]


def test_an_alert_links_to_run_logs_deployment_and_artifact() -> None:
    wanted = [
        "https://prefect.example.com/runs/flow-run/run-0",
        "https://prefect.example.com/runs/flow-run/run-0?tab=Logs",
        "https://prefect.example.com/deployments/deployment/id-etl%2Fnightly",
        "https://prefect.example.com/artifacts/key/watchdog-health",
    ]
    assert [link.url for link in alerts.links(ALERTS["one failed"])] == wanted
    for url in wanted:
        assert f"<{url}|" in words_of(alert(ALERTS["one failed"]))
        assert f": {url}" in plain(ALERTS["one failed"])[1]
    assert alerts.links(content("opened", FAILED, ui_url=None)) == ()


def test_the_artifact_is_the_one_that_is_published() -> None:
    assert artifacts.HEALTH == alerts.HEALTH


# --- what the commands do ---------------------------------------------------------------------------


def silence_in(line: str) -> Silence:
    """What the command line would ask for."""
    words = shlex.split(line)
    assert words[:3] == ["watchdog", "silence", "add"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert options.pop("--for") == "4h"
    assert options.pop("--reason") == "..."
    given: dict[str, Any] = {name.removeprefix("--"): value for name, value in options.items()}
    return Silence.model_validate({**given, "starts_at": samples.NOW, "ends_at": samples.NOW})


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        (
            content("opened", FAILED),
            [
                "watchdog incidents ack W-12",
                "watchdog silence add --deployment etl/nightly --check failed --for 4h --reason '...'",
            ],
        ),
        (
            content("risen", POOL),
            [
                "watchdog incidents ack W-18",
                "watchdog silence add --pool k8s --check work-pool --for 4h --reason '...'",
            ],
        ),
        (
            content("joined", LATE, ALSO_LATE),
            [
                "watchdog incidents ack W-13 W-14",
                "watchdog silence add --pool k8s --check late --for 4h --reason '...'",
            ],
        ),
        (
            content("opened", *many(2), resolved(FAILED)),
            # Nothing but both of them would match both.
            ["watchdog incidents ack W-100 W-101"],
        ),
        (
            content("repeated", ACKNOWLEDGED),
            ["watchdog silence add --deployment etl/nightly --check failed --for 4h --reason '...'"],
        ),
        (content("repeated", STALE, LATE), ["watchdog incidents ack W-15 W-13"]),
        (content("resolved", resolved(FAILED)), []),
        (content("opened", resolved(FAILED)), []),
        (content("details", FAILED), []),
        (content("preexisting", FAILED), []),
    ],
)
def test_the_commands_are_those_of_the_notified_incidents(said: Content, lines: list[str]) -> None:
    assert list(alerts.commands(said).values()) == lines
    for line in lines:
        assert f"`{line}`" in words_of(alert(said))
        assert f"`{line}`" in plain(said)[1]


def test_a_pool_of_those_that_are_shown_is_not_taken_for_that_of_all() -> None:
    said = content("opened", *[incident.model_copy(update={"pool": "k8s"}) for incident in many(16)])
    assert "Silence" not in alerts.commands(said)


def test_two_deployments_of_a_pool_are_not_silenced_with_all_of_the_pool() -> None:
    said = content("opened", *[incident.model_copy(update={"pool": "default"}) for incident in many(2)])
    assert list(alerts.commands(said)) == ["Acknowledge"]


@given(NAMES)
@example(samples.HOSTILE)
@example("etl/it's $(rm -rf ~) `rm` !! \\")
@example("etl/[prod]*?")
@example("-x/--help")
def test_a_command_is_one_harmless_line_that_silences_what_it_is_shown_for(name: str) -> None:
    hostile = incident(samples.finding("failed", f"etl/{name}"), pool=name)
    silence = alerts.commands(content("opened", hostile))["Silence"]
    assert silence_in(silence).matches(hostile.labels)
    assert silence.isprintable()
    assert not set("`<>&$\\!;|\n") & set(silence)
    assert len(silence) < 300


@given(NAMES)
def test_a_pool_is_in_a_command_only_by_a_name_that_can_be_typed(name: str) -> None:
    hostile = incident(POOL.finding, pool=name)
    silence = alerts.commands(content("opened", hostile))["Silence"]
    assert silence_in(silence).matches(hostile.labels)
    assert not set("`<>&$\\!;|\n") & set(silence)


@given(NAMES)
@example("a`b``c")
def test_code_in_slack_is_what_was_meant_to_be_code(name: str) -> None:
    said = content("opened", incident(samples.finding("failed", f"etl/{name}")))
    (section,) = [block for block in alert(said).blocks if "Acknowledge: " in str(block)]
    shown = html.unescape(section["text"]["text"])
    assert re.findall(r"`([^`]*)`", shown) == list(alerts.commands(said).values())


@pytest.mark.parametrize("check", BY_NAME)
def test_tags_that_are_offered_are_tags_that_are_read(check: CheckName) -> None:
    known = content("preexisting", lasting(incident(samples.finding(check, "a/b"))))
    tags = [tag for tag, _ in alerts.quieting_tags(known.incidents[0], known.at)]
    for tag in tags:
        assert read_tags((tag,)).values
        assert not read_tags((tag,)).problems
        assert f"`{tag}`" in words_of(alert(known))
    assert tags[-1] == "watchdog:off"


def lasting(firing: Incident, span: timedelta = timedelta(days=7)) -> Incident:
    return firing.model_copy(update={"opened_at": samples.NOW - span})


def test_what_has_not_lasted_for_a_week_is_not_to_be_quieted() -> None:
    lately = timedelta(days=7) - timedelta(seconds=1)
    assert alerts.noisiest(content("preexisting", *[lasting(firing, lately) for firing in many(3)])) == []
    assert len(alerts.noisiest(content("preexisting", *[lasting(firing) for firing in many(3)]))) == 3


def test_the_noisiest_deployments_are_offered_tags_once_each() -> None:
    known = content("preexisting", *[lasting(firing) for firing in (STALE, FAILED, *many(9), POOL)])
    noisiest = alerts.noisiest(known)
    assert [incident.finding.subject.name for incident in noisiest] == [
        "etl/nightly",
        "etl/load-0",
        "etl/load-1",
        "etl/load-2",
        "etl/load-3",
    ]
    assert alerts.quieting_tags(noisiest[0], known.at)[0][0] == "watchdog:expect=failure"


# --- who is called ----------------------------------------------------------------------------------


@pytest.mark.parametrize("about", ["opened", "joined", "risen", "reopened", "repeated"])
def test_people_are_called_when_something_is_wrong(about: About) -> None:
    message = alert(content(about, FAILED), MENTIONS)
    assert message.text.endswith("(prod) <!here> <@U0ANA> <!subteam^S0DATA>")
    assert "<!here> <@U0ANA> <!subteam^S0DATA>" in words_of(message)


@pytest.mark.parametrize("name", ["one resolved", "a group, all resolved", "details", "preexisting"])
def test_nobody_is_called_for_what_is_over_or_no_news(name: str) -> None:
    message = alert(ALERTS[name], MENTIONS)
    assert message == alert(ALERTS[name])


# --- whatever text comes in -------------------------------------------------------------------------


def hostile(text: str, n: int) -> Incident:
    """An incident in which every text is this one."""
    finding = samples.finding(
        "failed", text, summary=text, observed=text, expected=text, owner=text or None, evidence=(text,) * 30
    )
    cause = Cause(kind="deployment", name=text, reason="failed", path=(text, text))
    finding = finding.model_copy(update={"cause": cause, "summary": f"{text}: {text}"})
    mark = Acknowledgement(by=text, at=samples.NOW, note=text)
    return incident(finding, n, acknowledged=mark if n % 2 else None, pool=text)


LONG = ["&" * 5_000, "\U0001d54f" * 5_000, "'\"" * 2_500, "<" * 300, "\\" * 400, "a" * 5_000]


def all_hostile(about: About, text: str, number: int, *, ended: bool = False) -> Content:
    """A message of which every part holds the text, and which has a lot to say."""
    incidents = [hostile(text, n) for n in range(1, number + 1)]
    return content(
        about,
        *(map(resolved, incidents) if ended else incidents),
        notes=(text,) * number,
        traceback=True,
        total=number * 20 if number > 1 else 1,
        explained_by={"W-1": "W-2"},
    )


@given(st.sampled_from(get_args(About)), NASTY, st.sampled_from([1, 3]), st.booleans())
def test_slack_takes_the_message_and_notifies_nobody(about: About, text: str, number: int, ended: bool) -> None:
    taken_and_quiet(alert(all_hostile(about, text, number, ended=ended), whole=True))


@pytest.mark.parametrize("text", LONG, ids=lambda text: text[:1])
@pytest.mark.parametrize("about", get_args(About))
def test_slack_takes_what_is_too_much_for_one_message(about: About, text: str) -> None:
    taken_and_quiet(alert(all_hostile(about, text, 15), whole=True))
    taken_and_quiet(alert(all_hostile(about, text, 1), whole=True))


def taken_and_quiet(message: SlackMessage) -> None:
    """The message is within Slack's limits, and its only links are those into the Prefect UI."""
    built = rebuilt(message)
    assert built["blocks"] == message.blocks
    assert built["text"] == message.text
    assert len(message.blocks) <= 50
    # Slack counts more than the texts; so does this.
    assert len(json.dumps(message.blocks, ensure_ascii=False).encode("utf-16-le")) / 2 < 12_000
    for text in (message.text, *(part["text"] for block in message.blocks for part in texts(block))):
        assert not re.search(r"<(?!https://prefect\.example\.com/[^<>|\s]*\|[^<>|]+>)", text)
        assert not re.search(r"&(?!amp;|lt;|gt;)", text)


def texts(block: dict[str, Any]) -> list[dict[str, Any]]:
    """The texts of a block in Slack's language; a header's is plain."""
    return [part for part in [block.get("text", {}), *block.get("elements", [])] if part.get("type") == "mrkdwn"]


@given(st.sampled_from(get_args(About)), NASTY, st.sampled_from([1, 3]), st.booleans())
def test_whatever_reads_a_plain_alert_finds_no_link_and_no_markup_of_others(
    about: About, text: str, number: int, ended: bool
) -> None:
    subject, body = plain(all_hostile(about, text, number, ended=ended))
    assert len(subject.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", subject + body.replace("\n", ""))
    assert not set("<>\\") & set(subject + body)
    assert not re.search(r"@[\w-]|\]\(", subject + body)
    assert all(url.startswith("prefect.example.com/") for url in re.findall(r"://(\S+)", body))
    kinds = {child.type for token in MarkdownIt("commonmark").parse(body) for child in token.children or []}
    assert kinds <= {"text", "text_special", "softbreak", "code_inline", "em_open", "em_close"}


def test_a_hostile_name_is_still_a_name() -> None:
    said = words_of(alert(content("opened", HOSTILE, FAILED)))
    assert "ml/<!channel> ¦ \u02cbrm -rf\u02cb [click](https://evil.example)" in said
