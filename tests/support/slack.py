"""A Slack workspace in a local process: npm's ``emulate``, which answers slack-sdk over HTTP.

It takes any token for a valid one and enforces no limits.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.stack import Process, free_port
from tests.support.cache import cached

# The newest release that runs on Node 20.
VERSION = "0.11.2"
TOKEN = "xoxb-test-token"
CHANNELS = ("alerts", "digest")
#: Every workspace of the emulator's has a channel of this name, and an incoming webhook that posts there.
WEBHOOK_CHANNEL = "general"


class SlackEmulator:
    """One workspace with the channels of `CHANNELS`."""

    token = TOKEN

    def __init__(self, home: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        seed = home / "seed.json"
        home.mkdir(parents=True, exist_ok=True)
        seed.write_text(json.dumps(_SEED))
        self._process = Process(
            "slack",
            ["node", str(_installed()), "start", "--service", "slack", "--port", str(port), "--seed", str(seed)],
            log=home / "slack.log",
            env={"PATH": os.environ["PATH"]},
            cwd=home,
        )

    @property
    def base_url(self) -> str:
        """What slack-sdk's ``WebClient`` takes as ``base_url``."""
        return f"{self.url}/api/"

    @property
    def webhook_url(self) -> str:
        """The address of an incoming webhook for `WEBHOOK_CHANNEL`."""
        return f"{self.url}/services/T000000001/B000000001/X000000001"

    def start(self) -> None:
        """Start the emulator and wait until it answers."""
        self._process.start()
        self._process.wait(self._answers, timeout=120, waiting_for="the Slack emulator to answer")

    def stop(self) -> None:
        """Stop the emulator; what was posted is gone."""
        self._process.stop()

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Call a method of Slack's Web API, past slack-sdk."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = httpx.post(self.base_url + method, json=arguments, headers=headers, timeout=60, trust_env=False)
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        if not body["ok"]:
            raise RuntimeError(f"{method}: {body['error']}")
        return body

    def channel_id(self, channel: str) -> str:
        """Return the id of a channel, which is what the API answers with and asks for."""
        return next(
            str(c["id"]) for c in self.call("conversations.list", limit=1000)["channels"] if c["name"] == channel
        )

    def messages(self, channel: str) -> list[dict[str, Any]]:
        """Return a channel's messages without the replies in threads, oldest first."""
        history = self.call("conversations.history", channel=self.channel_id(channel), limit=1000)
        return list(reversed(history["messages"]))

    def replies(self, channel: str, ts: str) -> list[dict[str, Any]]:
        """Return a thread: the message and its replies, oldest first."""
        thread = self.call("conversations.replies", channel=self.channel_id(channel), ts=ts, limit=1000)
        return list(thread["messages"])

    def clear(self) -> None:
        """Delete every message from every channel of `CHANNELS`; what a webhook posted is nobody's, and stays."""
        for channel in CHANNELS:
            for message in self.messages(channel):
                thread = self.replies(channel, message["ts"]) if message.get("reply_count") else [message]
                for ts in [reply["ts"] for reply in reversed(thread)]:
                    self.call("chat.delete", channel=self.channel_id(channel), ts=ts)

    def _answers(self) -> bool:
        try:
            return bool(self.call("auth.test")["ok"])
        except httpx.HTTPError:
            return False


_SEED = {
    "tokens": {TOKEN: {"login": "watchdog"}},
    "slack": {
        "team": {"name": "Acme", "domain": "acme"},
        # The user that the token belongs to.
        "users": [{"name": "watchdog"}],
        "channels": [{"name": name} for name in CHANNELS],
    },
}


def _installed() -> Path:
    """Return the emulator's program, installed with npm on first use."""
    return cached(f"emulate-{VERSION}", _install) / "node_modules" / "emulate" / "dist" / "index.js"


def _install(folder: Path) -> None:
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.fail(f"the Slack tests need {tool} (Node 20 or newer). On Debian: apt-get install nodejs npm")
    folder.mkdir()
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), f"emulate@{VERSION}"]
    npm = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if npm.returncode:
        pytest.fail(f"npm could not install emulate@{VERSION}:\n{npm.stderr or npm.stdout}")
