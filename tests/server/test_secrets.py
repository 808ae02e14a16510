"""Every way out of the watchdog, searched for secrets that people have planted in everything that it reads."""

from __future__ import annotations

import json

from demo.stack import Server, prefect_env
from tests.support.command_line import watchdog
from tests.support.measured_server import MeasuredServer, MeasuredServers
from tests.support.seed_values import HOUR, MINUTE, SECOND
from tests.support.seeding import Seed
from tests.support.slack import TOKEN, SlackEmulator

#: How somebody writes a secret, by its kind: each has a core of its own that must be nowhere.
PLANTS = {
    "coloured": "\x1b[36mpassword\x1b[0m=\x1b[35m{}\x1b[0m",
    "escaped": r"\x1b[36mpassword\x1b[0m=\x1b[35m{}\x1b[0m",
    "invisible": "pass\u200bword=\u2060{}",
    "pair": "DB_PASSWORD={}",
    "json": '{{"api_key": "{}"}}',
    "words": "Server=db;Password=two {};Database=dwh",
    "braces": "Server=db;PWD={{two; {}}};Database=dwh",
    "address": "postgresql://etl:{}@db/dwh",
    "header": "Authorization: Bearer {}",
    "option": "--db-password {} --x",
    "cookie": "Set-Cookie: session={}; theme=dark",
    "query": "https://h/x?access_token={}&y=1",
    "anthropic": "sk-ant-api03-{}-0123456789abcdef",
    "github": "ghp_{}0123456789abcdefghij",
    "slack": "xoxb-1234567890-{}",
    "key": "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
}
#: Without a recognizable form: only the pattern in the configuration knows it.
OWN = "ACME-{}"
_ALPHABET = "bcdfghjkmnpqrstvwxz"


class Planted:
    """Secrets that nobody else has: each place has one of each kind."""

    def __init__(self) -> None:
        self.cores: list[str] = []

    def __call__(self, kind: str) -> str:
        """A text with a new secret of a kind."""
        number = len(self.cores)
        core = (
            "Zq7" + "".join(_ALPHABET[number // len(_ALPHABET) ** place % len(_ALPHABET)] for place in range(3)) + "9xQ"
        )
        self.cores.append(core)
        return (PLANTS | {"own": OWN})[kind].format(core)

    def all(self) -> str:
        """A text with secrets of all kinds."""
        return "\n".join(f"and {self(kind)} ." for kind in (*PLANTS, "own"))

    def found(self, text: str) -> set[str]:
        """The planted secrets in a text, which may write its characters in any way that JSON does."""
        plain = text.encode(errors="replace").decode("unicode_escape", "replace") if "\\u" in text else text
        return {core for core in self.cores if core in text or core in plain}


def plant(seed: Seed, server: Server, plants: Planted) -> None:
    """Let runs fail, wait and hold slots, with secrets in all names and texts."""
    pool = seed.pool(f"pool {plants('github')}")
    queue = seed.queue(pool, f"queue {plants('pair')}", paused=True)
    etl = seed.deployment(
        f"etl {plants('coloured')}/load {plants('pair')}",
        pool=queue,
        tags=[f"team {plants('option')}", plants("anthropic"), f"watchdog:owner={plants('pair')}"],
    )
    end = seed.now - MINUTE
    run = seed.run(etl, "FAILED", ended=end, message=f"ValueError: {plants.all()}", name=f"run {plants('slack')}")
    seed.task_run(run, f"task {plants('query')}", state="FAILED", at=end, message=plants.all())
    code = f'  File "/app/etl.py", line 9, in load\n    connect("{plants("address")}")'
    log = f"{plants.all()}\nTraceback (most recent call last):\n{code}\nValueError: {plants.all()}"
    seed.logs(run, [(end - SECOND, 40, log)])
    crashed = seed.run(seed.deployment("etl/crashed"), "CRASHED", ended=end, message="gone")
    seed.logs(crashed, [(end, 40, f"line {plants(kind)}") for kind in (*PLANTS, "own")])
    waiting = seed.deployment(f"waits/{plants('pair')}", pool=pool)
    for _ in range(3):
        seed.run(waiting, "Late", due=seed.now - HOUR)
    tag = f"db {plants('pair')}"
    holder = seed.run(etl, "RUNNING", started=seed.now - HOUR, name=f"holds {plants('pair')}")
    seed.tag_limit(tag, 1, [seed.task_run(holder, "t", state="RUNNING", at=seed.now - HOUR, tags=[tag])])


def server_holds(server: Server) -> str:
    """What the watchdog has written on the server: artifacts, events, documents, and logs and states of its runs."""
    artifacts = server.request("POST", "/artifacts/filter", {})
    variables = server.request("POST", "/variables/filter", {})
    kinds = {"block_types": {"slug": {"any_": ["watchdog-document"]}}, "include_secrets": True}
    documents = server.request("POST", "/block_documents/filter", kinds)
    body = {"filter": {"event": {"prefix": ["watchdog."]}}, "limit": 50}
    events = server.request("POST", "/events/filter", body)["events"]
    ours = {"flows": {"name": {"any_": ["watchdog-check", "watchdog-digest"]}}}
    runs = server.request("POST", "/flow_runs/filter", ours)
    assert artifacts
    assert documents
    assert events
    return json.dumps([artifacts, variables, documents, events, runs], ensure_ascii=False)


def slack_holds(slack: SlackEmulator) -> str:
    messages = slack.messages("alerts")
    assert messages
    threads = [slack.replies("alerts", message["ts"]) for message in messages]
    return json.dumps([messages, threads], ensure_ascii=False)


def printed(place: MeasuredServer, run_id: str) -> dict[str, str]:
    """What each command prints, by the command."""
    env = {**prefect_env(place.folder, place.server.api_url), **place.settings}
    commands = [
        ("check",),
        ("check", "--json"),
        ("digest",),
        ("incidents", "list"),
        ("incidents", "list", "--json"),
        ("explain", run_id),
        ("doctor",),
        ("metrics", "print"),
    ]
    found: dict[str, str] = {}
    for command in commands:
        result = watchdog(*command, env=env, cwd=place.folder)
        found[" ".join(command)] = result.stdout + result.stderr
    return found


def test_no_way_out_shows_a_planted_secret(
    measured_server: MeasuredServers, prefect_server: Server, slack_emulator: SlackEmulator
) -> None:
    place = measured_server(
        WATCHDOG_SLACK_TOKEN=TOKEN,
        WATCHDOG_SLACK__CHANNEL="alerts",
        WATCHDOG_SLACK__API_URL=slack_emulator.base_url,
        WATCHDOG_ALERTS__TRACEBACK="true",
        WATCHDOG_METRICS__COMPATIBILITY__ENABLED="true",
        WATCHDOG_REDACT__PATTERNS='["ACME-[A-Za-z0-9]+"]',
    )
    place.check()
    plants = Planted()
    plant(place.seed, prefect_server, plants)
    log = place.check(2)

    runs = prefect_server.request("POST", "/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["FAILED"]}}}})
    ways_out = {
        "logs": log,
        "metrics": place.textfile.read_text(),
        "Slack": slack_holds(slack_emulator),
        "the server": server_holds(prefect_server),
        **printed(place, runs[0]["id"]),
    }

    assert len(plants.cores) > 60
    assert {way: plants.found(text) for way, text in ways_out.items() if plants.found(text)} == {}
    # What is shown is the same problem.
    for way in ("Slack", "check", "check --json", "digest", "metrics"):
        assert "REDACTED" in ways_out[way], way
    assert TOKEN not in "".join(ways_out.values())
