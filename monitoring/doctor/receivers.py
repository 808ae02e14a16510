"""Judges whether notifications can be sent: routes, Slack, webhooks, notification blocks and the ping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from monitoring.config.alert_settings import DEFAULT_ROUTE, DIGEST_ROUTE, FALLBACK_ROUTE, Receiver, Route
from monitoring.config.settings import Config
from monitoring.doctor.examination import Examined, not_examined
from monitoring.doctor.installation import Installation, Secret
from monitoring.model.base import Value

#: The scope of a bot token for posting (https://docs.slack.dev/reference/methods/chat.postMessage).
NEEDED_SCOPE = "chat:write"
#: The scope for posting in public channels without being a member.
ANYWHERE_SCOPE = "chat:write.public"
#: The scope for finding a message whose delivery outcome is unknown.
HISTORY_SCOPES = ("channels:history", "groups:history")
#: The capability of Prefect's notification blocks (prefect/blocks/abstract.py, ``NotificationBlock``).
NOTIFY = "notify"

_APPS = "https://api.slack.com/apps"
_SECRET = (
    "python -c 'from getpass import getpass; from prefect.blocks.system import Secret; "
    'Secret(value=getpass()).save("{name}", overwrite=True)\''
)


class SlackChannel(Value):
    """A Slack channel, as the bot sees it."""

    #: Whether the channel exists; None if that could not be read.
    found: bool | None
    #: Why it could not be read.
    problem: str = ""
    member: bool = False
    private: bool = False
    archived: bool = False


class Workspace(Value):
    """The token and the configured channels, as Slack reports them."""

    #: Why the workspace cannot be used, and the fix; empty if it can.
    problem: str = ""
    #: Whether Slack rejects the token.
    rejected: bool = False
    team: str = ""
    bot: str = ""
    #: None if Slack does not report the scopes.
    scopes: frozenset[str] | None = None
    #: By their names in the configuration.
    channels: Mapping[str, SlackChannel] = Field(default_factory=dict)


def receivers(config: Config) -> dict[str, Receiver]:
    """The receivers by the name of their route, without routes that have none."""
    # Without its own receiver, the digest uses the channel of another route.
    digest = [DIGEST_ROUTE] if config.digest.receiver.kind else []
    names = [DEFAULT_ROUTE, *(route.name for route in config.routes), FALLBACK_ROUTE, *digest]
    found = {name: config.receiver(name) for name in names}
    return {name: receiver for name, receiver in found.items() if receiver is not None and receiver.kind}


def channels(config: Config) -> tuple[str, ...]:
    """The configured Slack channels of the digest and of alerts, each once."""
    used = (config.slack.channel, *(receiver.channel for receiver in receivers(config).values()))
    return tuple(dict.fromkeys(filter(None, used)))


def covered(routes: Sequence[Route], origin: str) -> Iterator[Examined]:
    """Find routes that can never match because an earlier route has a subset of their conditions."""
    for index, later in enumerate(routes):
        for earlier in routes[:index]:
            conditions = earlier.match.model_dump(exclude_none=True).items()
            if conditions <= later.match.model_dump(exclude_none=True).items():
                detail = f"it can never match: {earlier.name} comes first and matches everything that it would match"
                fix = f"in {origin}, put {later.name} before {earlier.name}, or remove {later.name}"
                yield Examined(f"route {later.name}", "warning", detail, fix)
                break


def examine_alerts(found: Installation, workspace: Workspace | None, config: Config) -> Iterator[Examined]:
    """Judge how alerts, digest and ping are sent. Post and call nothing."""
    yield _routes(config)
    if channels(config):
        yield from slack(found, workspace, config)
    for name, receiver in receivers(config).items():
        if receiver.webhook_secret:
            yield _webhook(f"route {name}", receiver.webhook_secret, found)
        elif receiver.block:
            yield _block(f"route {name}", receiver.block, found)
    yield _ping(found, config)


def _routes(config: Config) -> Examined:
    name = "alerts"
    if not config.alerts.enabled:
        return Examined(name, "ok", "no notifications are sent: alerts.enabled is false")
    routes = receivers(config)
    if DEFAULT_ROUTE not in routes:
        detail = "incidents that match no route have no receiver"
        return Examined(name, "ok", detail, "set slack.channel, or alerts.default")
    if FALLBACK_ROUTE not in routes:
        detail = "notifications that a route permanently rejects wait until the route works again"
        return Examined(name, "ok", detail, "set alerts.fallback")
    return Examined(name, "ok", "every incident has a receiver")


def slack(found: Installation, workspace: Workspace | None, config: Config) -> Iterator[Examined]:
    """Judge the bot's token, its scopes and its channels."""
    yield (token := _token(found, workspace, config))
    if token.outcome != "ok" or workspace is None:
        names = ("Slack scopes", *map(_channel_name, channels(config)))
        yield from (not_examined(name, "Slack cannot be queried") for name in names)
        return
    yield _scopes(workspace.scopes)
    for name in channels(config):
        channel = workspace.channels.get(name, SlackChannel(found=None, problem="it was not queried"))
        yield _channel(_channel_name(name), channel, workspace)


def _token(found: Installation, workspace: Workspace | None, config: Config) -> Examined:
    name, block = "Slack token", config.slack.token_secret
    secret, fix = _secret(found, block), _SECRET.format(name=block)
    if secret.place == "nowhere":
        detail = f"not set: there is neither WATCHDOG_SLACK_TOKEN here nor a Secret block {block}"
        return _absent(secret, Examined(name, "fault", detail, fix))
    if secret.looks == "nothing":
        return Examined(name, "fault", f"the Secret block {block} contains no text", fix)
    place = "WATCHDOG_SLACK_TOKEN" if secret.place == "environment" else f"the Secret block {block}"
    if workspace is None:
        return not_examined(name, "Slack was not queried")
    if workspace.rejected:
        fix = "export WATCHDOG_SLACK_TOKEN=... here and where the worker runs" if secret.place == "environment" else fix
        return Examined(name, "fault", f"Slack rejects the token from {place}: {workspace.problem}", fix)
    if workspace.problem:
        fix = f"curl -I {config.slack.api_url}, which shows whether Slack can be reached from here"
        return Examined(name, "warning", workspace.problem, fix)
    return Examined(name, "ok", f"from {place}: {workspace.bot} in {workspace.team}")


def _scopes(scopes: frozenset[str] | None) -> Examined:
    name = "Slack scopes"
    if scopes is None:
        return Examined(name, "unknown", "Slack does not report the token's scopes")
    if NEEDED_SCOPE not in scopes:
        fix = f"add the bot scope {NEEDED_SCOPE} at {_APPS}, and reinstall the app"
        return Examined(name, "fault", f"{NEEDED_SCOPE} is missing: nothing can be posted", fix)
    missing = [scope for scope in HISTORY_SCOPES if scope not in scopes]
    if missing:
        detail = f"{NEEDED_SCOPE}; without {' and '.join(missing)} a message may be repeated after a crash"
        return Examined(name, "ok", detail, f"add {' and '.join(missing)} at {_APPS}, and reinstall the app")
    return Examined(name, "ok", ", ".join((NEEDED_SCOPE, *HISTORY_SCOPES)))


def _channel_name(channel: str) -> str:
    return f"Slack channel {channel}"


def _channel(name: str, channel: SlackChannel, workspace: Workspace) -> Examined:
    invite = f"/invite @{workspace.bot} in the channel"
    if channel.found is None:
        return not_examined(name, channel.problem)
    if not channel.found:
        detail = "it does not exist, or it is private and the bot is not a member"
        return Examined(name, "fault", detail, f"{invite}, or correct its name in the configuration")
    if channel.archived:
        fix = "unarchive it, or choose another channel in the configuration"
        return Examined(name, "fault", "it is archived", fix)
    if not channel.member and (channel.private or ANYWHERE_SCOPE not in (workspace.scopes or ())):
        return Examined(name, "fault", "the bot is not a member", invite)
    detail = "the bot is a member" if channel.member else f"the bot may post there ({ANYWHERE_SCOPE})"
    return Examined(name, "ok", detail)


def _secret(found: Installation, block: str) -> Secret:
    return found.secrets.get(block, Secret(place="nowhere", problem="it was not read"))


def _absent(secret: Secret, examined: Examined) -> Examined:
    return not_examined(examined.name, secret.problem) if secret.problem else examined


def _webhook(name: str, block: str, found: Installation) -> Examined:
    secret, fix = _secret(found, block), _SECRET.format(name=block)
    if secret.place == "nowhere":
        return _absent(secret, Examined(name, "fault", f"there is no Secret block {block}", fix))
    if secret.looks != "address":
        return Examined(name, "fault", f"the Secret block {block} contains no address that begins with https://", fix)
    return Examined(name, "ok", f"the Secret block {block} contains an address, which was not called")


def _block(name: str, reference: str, found: Installation) -> Examined:
    if why := found.unread(block_query(reference)):
        return not_examined(name, why)
    kind, _, own_name = reference.partition("/")
    capabilities = found.blocks.get(reference)
    if capabilities is None:
        fix = f"prefect block create {kind}, with the name {own_name}"
        return Examined(name, "fault", f"there is no block {reference}", fix)
    if NOTIFY not in capabilities:
        fix = "choose another block in the configuration; prefect block ls lists them"
        return Examined(name, "fault", f"the block {reference} is not a notification block", fix)
    return Examined(name, "ok", f"the notification block {reference} exists; it was not called")


def block_query(reference: str) -> str:
    """The name of the query for a block."""
    return f"block-{reference.replace('/', '-')}"


def _ping(found: Installation, config: Config) -> Examined:
    name, block = "dead-man's switch", config.ping.url_secret
    secret, fix = _secret(found, block), _SECRET.format(name=block)
    if secret.place == "nowhere":
        return _absent(secret, Examined(name, "ok", "not set: if this server goes down, no notification is sent", fix))
    place = "WATCHDOG_PING_URL" if secret.place == "environment" else f"the Secret block {block}"
    if secret.looks != "address":
        return Examined(name, "fault", f"{place} contains no address", fix)
    return Examined(name, "ok", f"{place} contains an address, which was not called")
