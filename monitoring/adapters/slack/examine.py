"""Reads a bot token's scopes and the configured channels from Slack; posts nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from monitoring.adapters.slack.client import code, delivery_errors, is_rejection, web_client
from monitoring.config import alert_settings as config
from monitoring.doctor.receivers import SlackChannel, Workspace
from monitoring.errors import DeliveryError

#: Ids of channels (https://docs.slack.dev/reference/objects/conversation-object); names are in lower case.
_ID = re.compile(r"[CGD][A-Z0-9]{6,}")
#: Channels per page, the most that Slack returns, and the pages read before the search for a name is given up.
_PAGE, _MAX_PAGES = 1000, 20


@dataclass(eq=False)
class _Rejected(Exception):
    """Slack understood the call and rejected it, with an error code and, if a scope is missing, that scope."""

    code: str
    needed: str


def examine(token: str, settings: config.Slack, channels: Iterable[str]) -> Workspace:
    """Read whether a bot's token is valid, its scopes, and which of the channels the bot sees and is a member of."""
    try:
        slack = _Slack(web_client(token, settings), settings)
    except DeliveryError as error:
        return Workspace(problem=str(error), rejected=True)
    try:
        answer, headers = slack.call("auth.test")
    except _Rejected as rejection:
        return Workspace(problem=f"Slack reports {rejection.code}", rejected=True)
    except DeliveryError as error:
        return Workspace(problem=str(error))
    return Workspace(
        team=str(answer.get("team", "")),
        bot=str(answer.get("user", "")),
        scopes=_scopes(headers),
        channels=slack.find(channels),
    )


@dataclass
class _Slack:
    """Calls Slack's methods, and finds channels by id or name."""

    client: WebClient
    settings: config.Slack

    def call(self, method: str, **data: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Call a method; return the answer and its headers."""
        where = f"Slack at {self.settings.api_url}"
        with delivery_errors(method, where, self.settings.timeout):
            try:
                answer = self.client.api_call(method, data=data)
            except SlackApiError as error:
                if is_rejection(error):
                    raise _Rejected(code(error), str(error.response.get("needed", ""))) from None
                raise
            except TimeoutError:
                seconds = f"{self.settings.timeout.total_seconds():g} s"
                raise DeliveryError(f"{where} did not answer within {seconds}", permanent=False) from None
        # slack_sdk raises for an answer that is no object, so there are no bytes here.
        return (answer.data if isinstance(answer.data, dict) else {}), dict(answer.headers)

    def find(self, channels: Iterable[str]) -> Mapping[str, SlackChannel]:
        """Find channels; the list of channels is read at most once."""
        named = {channel: channel.lstrip("#") for channel in channels}
        found = {channel: self._by_id(name) for channel, name in named.items() if _ID.fullmatch(name)}
        names = {channel: name for channel, name in named.items() if channel not in found}
        return found | (self._by_name(names) if names else {})

    def _by_id(self, channel: str) -> SlackChannel:
        try:
            answer, _ = self.call("conversations.info", channel=channel)
        except _Rejected as rejection:
            if rejection.code == "channel_not_found":
                return SlackChannel(found=False)
            # Slack's error code for a private channel without the bot, where Slack reveals that the channel exists.
            if rejection.code == "not_in_channel":
                return SlackChannel(found=True, private=True)
            return _unseen(rejection)
        except DeliveryError as error:
            return _unknown(str(error))
        return _channel(answer.get("channel"))

    def _by_name(self, names: Mapping[str, str]) -> dict[str, SlackChannel]:
        missing = ""
        for types in ("public_channel,private_channel", "public_channel"):
            try:
                seen = {str(row.get("name")): _channel(row) for row in self._all(types)}
            except _Rejected as rejection:
                missing = _unseen(rejection).problem
                continue
            except DeliveryError as error:
                return dict.fromkeys(names, _unknown(str(error)))
            # A channel that is not public may be a private channel, which the token may not see.
            other = _unknown(missing) if missing else SlackChannel(found=False)
            return {channel: seen.get(name, other) for channel, name in names.items()}
        return dict.fromkeys(names, _unknown(missing))

    def _all(self, types: str) -> Iterator[Mapping[str, Any]]:
        cursor = ""
        for _ in range(_MAX_PAGES):
            answer, _ = self.call("conversations.list", types=types, limit=str(_PAGE), cursor=cursor)
            yield from (row for row in answer.get("channels") or () if isinstance(row, dict))
            cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                return
        raise DeliveryError(
            f"there are more than {_PAGE * _MAX_PAGES:,} channels: configure channels by id", permanent=True
        )


def _unseen(rejection: _Rejected) -> SlackChannel:
    if rejection.code == "missing_scope":
        needed = rejection.needed or "channels:read"
        return _unknown(f"the token lacks the scope {needed}, which is needed to see the channel")
    return _unknown(f"Slack reports {rejection.code}")


def _unknown(problem: str) -> SlackChannel:
    return SlackChannel(found=None, problem=problem)


def _channel(row: Any) -> SlackChannel:
    if not isinstance(row, dict):
        return _unknown("Slack's answer contains no channel")
    return SlackChannel(
        found=True,
        member=bool(row.get("is_member")),
        private=bool(row.get("is_private")),
        archived=bool(row.get("is_archived")),
    )


def _scopes(headers: Mapping[str, Any]) -> frozenset[str] | None:
    """The scopes in the header ``x-oauth-scopes``; None if it is missing."""
    for name, value in headers.items():
        if name.lower() == "x-oauth-scopes":
            text = ",".join(value) if isinstance(value, list) else str(value)
            return frozenset(filter(None, (scope.strip() for scope in text.split(","))))
    return None
