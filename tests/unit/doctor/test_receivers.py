"""The doctor's judgements of how alerts, digest and ping are sent."""

from __future__ import annotations

from typing import Any

import pytest

from monitoring.config.settings import Config
from monitoring.doctor.examination import Examined, worst
from monitoring.doctor.installation import Installation, Secret
from monitoring.doctor.receivers import SlackChannel, Workspace, block_query, channels, covered, examine_alerts
from monitoring.model.coverage import Coverage, Query
from tests.support.builders import NOW
from tests.unit.doctor.test_examination import UP

SLACK = {"channel": "ops"}
EVERYWHERE = {"slack": SLACK, "alerts": {"fallback": {"channel": "ops"}}}
SCOPES = frozenset({"chat:write", "channels:history", "groups:history"})
MEMBER = SlackChannel(found=True, member=True)
ADDRESS = Secret(place="block", looks="address")
TOKEN = Secret(place="block", looks="text")


def installation(secrets: dict[str, Secret] | None = None, **fields: Any) -> Installation:
    own = {"watchdog-slack-token": TOKEN, "watchdog-ping-url": ADDRESS, **(secrets or {})}
    return Installation.model_validate({"at": NOW, "server": UP, "secrets": own, **fields})


def workspace(channel: SlackChannel = MEMBER, **fields: Any) -> Workspace:
    own = {"team": "Acme", "bot": "watchdog", "scopes": SCOPES, "channels": {"ops": channel}}
    return Workspace.model_validate({**own, **fields})


def judged(found: Installation | None = None, space: Workspace | None = None, **settings: Any) -> dict[str, Examined]:
    config = Config.model_validate(settings or EVERYWHERE)
    examined = examine_alerts(found or installation(), space, config)
    return {part.name: part for part in examined if part.outcome != "ok" or part.fix}


def outcomes(examined: dict[str, Examined]) -> dict[str, str]:
    return {name: part.outcome for name, part in examined.items()}


def test_all_is_well() -> None:
    assert judged(space=workspace()) == {}


def test_what_is_lacking_is_recommended_and_no_fault() -> None:
    bare = installation({"watchdog-slack-token": Secret(place="nowhere"), "watchdog-ping-url": Secret(place="nowhere")})
    examined = judged(bare, target={"name": "bare"})
    assert {name: part.recommended for name, part in examined.items()} == {"alerts": True, "dead-man's switch": True}
    assert worst(examined.values()) == "ok"
    assert "watchdog-ping-url" in examined["dead-man's switch"].fix


def test_a_channel_that_several_things_use_is_asked_for_once() -> None:
    routes = [
        {"name": "a", "match": {"check": "late"}, "channel": "ops"},
        {"name": "b", "match": {"check": "stale"}, "channel": "data"},
        {"name": "c", "match": {"check": "slow"}, "webhook_secret": "hook"},
    ]
    config = Config.model_validate({**EVERYWHERE, "routes": routes})
    assert channels(config) == ("ops", "data")


@pytest.mark.parametrize(
    ("secret", "slack", "outcome", "detail", "mend"),
    [
        (Secret(place="nowhere"), None, "fault", "neither", "watchdog-slack-token"),
        (Secret(place="block"), None, "fault", "contains no text", "watchdog-slack-token"),
        (
            TOKEN,
            workspace(problem="Slack reports invalid_auth", rejected=True),
            "fault",
            "invalid_auth",
            "watchdog-slack",
        ),
        (
            Secret(place="environment", looks="text"),
            workspace(problem="Slack reports invalid_auth", rejected=True),
            "fault",
            "Slack rejects the token from WATCHDOG_SLACK_TOKEN",
            "export WATCHDOG_SLACK_TOKEN",
        ),
        (TOKEN, workspace(problem="no usable answer"), "warning", "no usable answer", "curl -I https://slack.com/api/"),
        (Secret(place="nowhere", problem="the server is gone"), None, "unknown", "the server is gone", ""),
    ],
)
def test_the_token(secret: Secret, slack: Workspace | None, outcome: str, detail: str, mend: str) -> None:
    examined = judged(installation({"watchdog-slack-token": secret}), slack)
    part = examined["Slack token"]
    assert (part.outcome, detail in part.detail, mend in part.fix) == (outcome, True, True), part
    assert outcomes(examined) == {"Slack token": outcome, "Slack scopes": "unknown", "Slack channel ops": "unknown"}


@pytest.mark.parametrize(
    ("scopes", "outcome", "detail"),
    [
        (SCOPES, None, ""),
        (None, "unknown", "does not report"),
        (SCOPES - {"chat:write"}, "fault", "chat:write is missing"),
        (SCOPES - {"groups:history"}, "ok", "without groups:history"),
        (frozenset({"chat:write"}), "ok", "without channels:history and groups:history a message may be repeated"),
    ],
)
def test_scopes(scopes: frozenset[str] | None, outcome: str | None, detail: str) -> None:
    part = judged(space=workspace(scopes=scopes)).get("Slack scopes")
    assert (part and part.outcome) == outcome
    assert part is None or detail in part.detail


@pytest.mark.parametrize(
    ("channel", "scopes", "outcome", "mend"),
    [
        (SlackChannel(found=False), SCOPES, "fault", "/invite @watchdog"),
        (SlackChannel(found=None, problem="the token lacks the scope channels:read"), SCOPES, "unknown", ""),
        (SlackChannel(found=True, member=True, archived=True), SCOPES, "fault", "unarchive it"),
        (SlackChannel(found=True), SCOPES, "fault", "/invite @watchdog in the channel"),
        (SlackChannel(found=True), None, "fault", "/invite @watchdog in the channel"),
        (SlackChannel(found=True), SCOPES | {"chat:write.public"}, None, ""),
        (SlackChannel(found=True, private=True), SCOPES | {"chat:write.public"}, "fault", "/invite @watchdog"),
    ],
)
def test_channels(channel: SlackChannel, scopes: frozenset[str] | None, outcome: str | None, mend: str) -> None:
    part = judged(space=workspace(channel, scopes=scopes)).get("Slack channel ops")
    assert (part and part.outcome) == outcome
    assert part is None or mend in part.fix


def routed(**receiver: Any) -> dict[str, Any]:
    return {**EVERYWHERE, "routes": [{"name": "team", "match": {"check": "late"}, **receiver}]}


@pytest.mark.parametrize(
    ("secret", "outcome"),
    [
        (ADDRESS, None),
        (Secret(place="block", looks="text"), "fault"),
        (Secret(place="block"), "fault"),
        (Secret(place="nowhere"), "fault"),
        (Secret(place="nowhere", problem="403"), "unknown"),
    ],
)
def test_webhooks(secret: Secret, outcome: str | None) -> None:
    examined = judged(installation({"hook": secret}), workspace(), **routed(webhook_secret="hook"))
    assert outcomes(examined) == ({"route team": outcome} if outcome else {})


@pytest.mark.parametrize(
    ("capabilities", "read", "outcome"),
    [
        (("notify",), "complete", None),
        (("write-path",), "complete", "fault"),
        (None, "complete", "fault"),
        (None, "failed", "unknown"),
    ],
)
def test_notification_blocks(capabilities: tuple[str, ...] | None, read: Any, outcome: str | None) -> None:
    block = "teams-webhook/data"
    coverage = Coverage(queries=(Query(name=block_query(block), outcome=read),))
    found = installation(blocks={block: capabilities}, coverage=coverage)
    examined = judged(found, workspace(), **routed(block=block))
    assert outcomes(examined) == ({"route team": outcome} if outcome else {})


@pytest.mark.parametrize(
    ("secret", "outcome", "detail"),
    [
        (Secret(place="block", looks="text"), "fault", "Secret block watchdog-ping-url contains no address"),
        (Secret(place="environment", looks="text"), "fault", "WATCHDOG_PING_URL contains no address"),
        (Secret(place="nowhere"), "ok", "no notification is sent"),
        (Secret(place="nowhere", problem="503"), "unknown", "503"),
    ],
)
def test_the_ping(secret: Secret, outcome: str, detail: str) -> None:
    [part] = judged(installation({"watchdog-ping-url": secret}), workspace()).values()
    assert (part.name, part.outcome, detail in part.detail) == ("dead-man's switch", outcome, True)


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ({"severity": "critical"}, {"severity": "critical", "tag": "data"}, True),
        ({"severity": "critical"}, {"severity": "critical"}, True),
        ({"severity": "critical", "tag": "data"}, {"severity": "critical"}, False),
        ({"severity": "critical"}, {"severity": "warning"}, False),
        ({"tag": "data"}, {"severity": "warning"}, False),
    ],
)
def test_a_route_that_can_never_match(earlier: dict[str, str], later: dict[str, str], expected: bool) -> None:
    matches = {"earlier": earlier, "later": later}
    routes = [{"name": name, "match": match, "channel": "ops"} for name, match in matches.items()]
    found = list(covered(Config.model_validate({"routes": routes}).routes, "watchdog.yaml"))
    assert [(part.name, part.outcome) for part in found] == ([("route later", "warning")] if expected else [])
    assert all("in watchdog.yaml, put later before earlier" in part.fix for part in found)
