"""Asks Slack what a bot token may do and whether the configured channels are there; posts nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from monitoring.adapters.slack.client import asking, code, web_client
from monitoring.config import alert_settings as config
from monitoring.doctor.receivers import SlackChannel, Workspace
from monitoring.errors import DeliveryError

#: Ids of channels (https://docs.slack.dev/reference/objects/conversation-object); names are in lower case.
_ID = re.compile(r"[CGD][A-Z0-9]{6,}")
#: Channels asked for at a time, the most that Slack gives, and pages after which a name counts as not found out.
_PAGE, _MOST_PAGES = 1000, 20


class _Refused(Exception):
    """Slack understood, and refuses: its word for why, and the scope that is missing, where it is one."""

    def __init__(self, word: str, needed: str) -> None:
        super().__init__(word)
        self.word = word
        self.needed = needed


def examine(token: str, settings: config.Slack, channels: Iterable[str]) -> Workspace:
    """Ask whether a token is valid, what it may do, and which of the channels the bot sees and is a member of.

    Args:
        token: The bot's.
        settings: Address and time-out.
        channels: Ids or names, as they are configured.
    """
    try:
        client = web_client(token, settings)
    except DeliveryError as error:
        return Workspace(problem=str(error), refused=True)
    try:
        answer, headers = _ask(client, settings, "auth.test")
    except _Refused as refusal:
        return Workspace(problem=f"Slack says {refusal.word}", refused=True)
    except DeliveryError as error:
        return Workspace(problem=str(error))
    return Workspace(
        team=str(answer.get("team", "")),
        bot=str(answer.get("user", "")),
        scopes=_scopes(headers),
        channels=_Channels(client, settings).find(channels),
    )


class _Channels:
    """Finds channels by id or name; all that the bot sees are read at most once."""

    def __init__(self, client: WebClient, settings: config.Slack) -> None:
        self._client = client
        self._settings = settings

    def find(self, channels: Iterable[str]) -> Mapping[str, SlackChannel]:
        named = {channel: channel.lstrip("#") for channel in channels}
        found = {channel: self._by_id(name) for channel, name in named.items() if _ID.fullmatch(name)}
        names = {channel: name for channel, name in named.items() if channel not in found}
        return found | (self._by_name(names) if names else {})

    def _by_id(self, channel: str) -> SlackChannel:
        try:
            answer, _ = _ask(self._client, self._settings, "conversations.info", channel=channel)
        except _Refused as refusal:
            if refusal.word == "channel_not_found":
                return SlackChannel(found=False)
            # Slack's word for a private channel of others, where it says that there is one.
            if refusal.word == "not_in_channel":
                return SlackChannel(found=True, private=True)
            return _unseen(refusal)
        except DeliveryError as error:
            return SlackChannel(found=None, unseen=str(error))
        return _channel(answer.get("channel"))

    def _by_name(self, names: Mapping[str, str]) -> dict[str, SlackChannel]:
        missing = ""
        for types in ("public_channel,private_channel", "public_channel"):
            try:
                seen = {str(row.get("name")): _channel(row) for row in self._all(types)}
            except _Refused as refusal:
                unseen = _unseen(refusal)
                missing = unseen.unseen
                continue
            except DeliveryError as error:
                return {channel: SlackChannel(found=None, unseen=str(error)) for channel in names}
            # What is not among the public ones may be a private one, which the token may not see.
            other = SlackChannel(found=None, unseen=missing) if missing else SlackChannel(found=False)
            return {channel: seen.get(name, other) for channel, name in names.items()}
        return {channel: SlackChannel(found=None, unseen=missing) for channel in names}

    def _all(self, types: str) -> Iterator[Mapping[str, Any]]:
        cursor = ""
        for _ in range(_MOST_PAGES):
            answer, _ = _ask(
                self._client, self._settings, "conversations.list", types=types, limit=str(_PAGE), cursor=cursor
            )
            yield from (row for row in answer.get("channels") or () if isinstance(row, dict))
            cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                return
        raise DeliveryError(f"there are more than {_PAGE * _MOST_PAGES:,} channels: name them by id", permanent=True)


def _ask(client: WebClient, settings: config.Slack, method: str, **data: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Call a method; return the answer and its headers."""
    where = f"Slack at {settings.api_url}"
    refusal: _Refused | None = None
    try:
        with asking(method, where, settings.timeout):
            try:
                answer = client.api_call(method, data=data)
            except SlackApiError as error:
                if isinstance(error.response.data, dict):
                    refusal = _Refused(code(error), str(error.response.data.get("needed", "")))
                raise
            except TimeoutError:
                seconds = f"{settings.timeout.total_seconds():g} s"
                raise DeliveryError(f"{where} did not answer within {seconds}", permanent=False) from None
            # slack_sdk raises for whatever is no object: there are no bytes here.
            return (answer.data if isinstance(answer.data, dict) else {}), dict(answer.headers)
    except DeliveryError as error:
        if refusal is not None and error.permanent and re.fullmatch(r"\w+", refusal.word):
            raise refusal from None
        raise


def _unseen(refusal: _Refused) -> SlackChannel:
    if refusal.word == "missing_scope":
        needed = refusal.needed or "channels:read"
        return SlackChannel(found=None, unseen=f"the token has no scope {needed}, with which that could be seen")
    return SlackChannel(found=None, unseen=f"Slack says {refusal.word}")


def _channel(row: Any) -> SlackChannel:
    if not isinstance(row, dict):
        return SlackChannel(found=None, unseen="Slack's answer has no channel in it")
    return SlackChannel(
        found=True,
        member=bool(row.get("is_member")),
        private=bool(row.get("is_private")),
        archived=bool(row.get("is_archived")),
    )


def _scopes(headers: Mapping[str, Any]) -> frozenset[str] | None:
    """What the header ``x-oauth-scopes`` says; None where it is missing."""
    for name, value in headers.items():
        if name.lower() == "x-oauth-scopes":
            text = ",".join(value) if isinstance(value, list) else str(value)
            return frozenset(filter(None, (scope.strip() for scope in text.split(","))))
    return None
