"""Checks and digests that are killed, checks that come after them, and what people were notified of by both.

Rounds have news: a run of a new deployment has failed. In some of them what was broken before is mended, too, so that
alerts begin a message, join one, and say that something is resolved, by turns. In other rounds the digest is killed, or
it was killed right after it was saved, and then the check that sends it is killed as well.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal, get_args

import httpx
from werkzeug import Response

from demo.stack import Server
from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.store.documents import Documents
from monitoring.adapters.prefect.store.lock import NAME as LOCK
from monitoring.adapters.prefect.store.state import BlockState
from monitoring.adapters.slack.bot import DIGEST_EVENT_TYPE
from monitoring.config.settings import Config
from monitoring.messages.words import SIGN
from monitoring.model.coverage import Coverage
from monitoring.model.saved_state import SavedState
from monitoring.model.target import Target
from monitoring.notifications.event_publisher import STORED_AFTER
from tests.killed.program import Order, Outcome
from tests.support.paths import PROJECT
from tests.support.relay import ApiRequest, Relay, relayed
from tests.support.seed_values import Deployment
from tests.support.seeding import Seed
from tests.support.slack import SlackEmulator

#: What is sent, ``fired``, ``resolved`` and ``details``, and of which deployment; or that the digest was sent.
Notice = tuple[str, str]
CHANNEL, DIGEST_CHANNEL = "alerts", "digest"
ANOTHER = "COMPLETED Another check is running"
_NO_SERVER = ("FAILED no answer from", "FAILED cannot speak to")
#: What seeded history would otherwise be found to lack.
_UNSEEDED = {"WATCHDOG_SERVER__LATE_MARKING": "36500d", "WATCHDOG_SERVER__EVENTS_MISSING": "36500d"}
LIVE, DIGEST = Order(), Order(flow="digest")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
#: How the points begin at which a document is written.
_WRITE = ("PATCH /api/block_documents/", "POST /api/block_documents/ ")
_NAME = re.compile(r"etl-\d+/nightly")
#: What was sent by a check that died is done by then.
_UNDER_WAY = 0.3


class Checks:
    """A process that runs checks of a server, one after another, see ``tests.killed.program``."""

    def __init__(self, server: Server, folder: Path, env: Mapping[str, str]) -> None:
        """Start it; ``folder`` is where it works and keeps its log."""
        # What a check would send in the background has nothing to do with what it must not lose.
        quiet = {"PREFECT_LOGGING_TO_API_ENABLED": "false", "PYTHONPATH": str(PROJECT)}
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "checks.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(PROJECT / "tests/killed/program.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env=server.client_env({**_UNSEEDED, **quiet, **env}),
                text=True,
            )

    def start(self, order: Order = LIVE) -> None:
        """Begin a check and return at once."""
        assert self._process.stdin
        print(json.dumps(asdict(order)), file=self._process.stdin, flush=True)

    def end(self) -> Outcome:
        """Wait for the end of the check that was begun."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, self.log.read_text()[-3_000:]
        return Outcome(**json.loads(line))

    def run(self, order: Order = LIVE) -> Outcome:
        """Run a check to its end."""
        self.start(order)
        return self.end()

    def stop(self) -> None:
        """End the process; a check that is running ends first."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Checks:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass(frozen=True)
class After:
    """How things stand when a round is over."""

    #: What nobody was notified of.
    lost: tuple[str, ...]
    #: Messages of which all was sent before.
    repeats: int
    #: What of the saved state cannot be read, or means two things.
    unreadable: tuple[str, ...]
    #: Whether the lock is still there.
    lock_left: bool


FINE = After(lost=(), repeats=0, unreadable=(), lock_left=False)


#: What is killed: a check, one that has ends to notify of as well, a digest, or a check that has a digest to send.
Kind = Literal["check", "mending check", "digest", "check with digest"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Death:
    """A check or a digest that was killed."""

    kind: Kind
    #: The point, as an index of ``Stage.points``, and what it had just done.
    at: int
    point: str
    #: When the next check had been.
    after: After
    #: Whether the digest had to be run again, as it was killed before anything was saved.
    rerun: bool = False


class Stage:
    """A server with deployments that break and are mended, checks of it, and a channel in which people are notified."""

    def __init__(self, server: Server, checks: Sequence[Checks], relay: Relay, slack: SlackEmulator) -> None:
        """Let a first check see a server that is well, and others show what a whole one does; see ``staged``."""
        self.server = server
        self.checks = checks
        self._slack = slack
        self._seed = Seed(server.database_url)
        self._made = 0
        self._broken: list[Deployment] = []
        #: What each message that nobody has looked at yet said when it was posted, and the time stamps of all.
        self._unheard: list[frozenset[Notice]] = []
        self._stamps: set[str] = set()
        #: How often the digest was posted since it was last forgotten.
        self.digests = 0
        #: The index of the first of ``points`` among all; of a digest's points, the first after it was saved.
        self._starts: dict[Kind, int] = {}
        self._saved = 0
        #: What people were notified of, by now.
        self.notified: set[Notice] = set()
        relay.after = self._overhear
        ended = checks[0].run().ended
        assert ended == "COMPLETED Nothing is wrong.", ended
        #: What a whole run does from taking the lock to giving it back.
        self.points: dict[Kind, list[str]] = {}
        # The first time, the documents are made in which later rounds are written.
        for kind in (*KINDS, *KINDS):
            expected = self._prepared(kind)
            self._learn(kind, self._run(DIGEST if kind == "digest" else LIVE))
            assert self.after(expected) == FINE

    def kill(self, kind: Kind, at: int, *, with_server: bool = False) -> Death:
        """Kill a check or a digest, and look at what is so after the next check.

        Args:
            kind: What is killed.
            at: The point, as an index of ``points``.
            with_server: Whether the server is killed as well; it is started again.
        """
        expected = self._prepared(kind)
        server = self.server.pid if with_server else None
        flow = "digest" if kind == "digest" else "check"
        died = self._run(Order(flow=flow, kill_at=self._starts[kind] + at, server=server))
        if died.ended is not None:
            # It had less to do than the one before, and is a whole one itself.
            self._learn(kind, died)
            assert self.after(expected).lost == ()
            return self.kill(kind, min(at, len(self.points[kind]) - 1), with_server=with_server)
        if with_server:
            self.server.kill()
            self.server.start()
            self.server.wait_ready()
        self._next_check()
        rerun = kind == "digest" and not self.digests and at < self._saved
        if rerun:
            assert (self.checks[0].run(DIGEST).ended or "").startswith("COMPLETED")
        return Death(kind, at, _UUID.sub("...", died.points[-1]), self.after(expected), rerun)

    def kill_on(self, point: str) -> Death:
        """Kill a check when it first reaches a point whose name ends so, and look at what is so after the next one."""
        expected = self._prepared("check")
        died = self.checks[0].run(Order(kill_on=point))
        assert died.ended is None, died
        self._next_check()
        return Death("check", len(died.points), _UUID.sub("...", died.points[-1]), self.after(expected))

    def _run(self, order: Order) -> Outcome:
        """Run a check or a digest; once more where a server on a busy machine was too slow for it."""
        outcome = self.checks[0].run(order)
        for _ in range(5):
            if outcome.ended is None or not outcome.ended.startswith(_NO_SERVER):
                break
            self._break_lock()
            outcome = self.checks[0].run(order)
        return outcome

    def _prepared(self, kind: Kind) -> set[Notice]:
        """Give a run something to notify of, and return that."""
        if kind in ("check", "mending check"):
            return self.news(mend=kind == "mending check")
        self._forget_digest()
        if kind == "check with digest":
            died = self.checks[0].run(Order(flow="digest", kill_at=self._starts["digest"] + self._saved))
            assert died.ended is None, died
            assert not self.digests
            self._break_lock()
        return {("sent", "the digest")}

    def _forget_digest(self) -> None:
        """Let the digest of today be sent once more, as if it were tomorrow's."""
        self.digests = 0
        with open_api(Config().server, Target(address=self.server.api_url)) as api:
            documents = Documents(api)
            body = json.loads(documents.read("outbox") or "{}")
            if body:
                body["data"].pop("digest_day", None)
                documents.write("outbox", json.dumps(body))
        for message in self._slack.messages(DIGEST_CHANNEL):
            self._slack.call("chat.delete", channel=self._slack.channel_id(DIGEST_CHANNEL), ts=message["ts"])

    def _break_lock(self) -> None:
        lock = self._lock()
        if lock:
            self.server.request("DELETE", f"/variables/{lock['id']}")

    def news(self, mend: bool = False) -> set[Notice]:
        """Let a run of a new deployment fail, and maybe runs of others succeed; return the notices that are due."""
        now = datetime.now(timezone.utc)
        mended, self._broken = (self._broken, []) if mend else ([], self._broken)
        for deployment in mended:
            self._seed.run(deployment, ended=now)
        self._made += 1
        new = self._seed.deployment(f"etl-{self._made}/nightly")
        self._seed.run(new, "FAILED", ended=now)
        self._broken.append(new)
        return {("fired", new.full_name), *(("resolved", deployment.full_name) for deployment in mended)}

    def after(self, expected: set[Notice]) -> After:
        """Compare what was to be sent with what has been sent since the last time, and check the saved state."""
        digest = ("sent", "the digest")
        self.notified.discard(digest)
        repeats = 0
        while self._unheard:
            notices = self._unheard.pop(0)
            repeats += notices <= self.notified
            self.notified |= notices
        state, coverage = self.state()
        return After(
            lost=tuple(" ".join(notice) for notice in sorted(expected - self.notified)),
            repeats=repeats,
            unreadable=(*(query.name for query in coverage.missing), *_ambiguous(state)),
            lock_left=self._lock() is not None,
        )

    def state(self) -> tuple[SavedState, Coverage]:
        """Read what is remembered, as a check does."""
        with open_api(Config().server, Target(address=self.server.api_url)) as api:
            return BlockState(Documents(api), Config().state, datetime.now(timezone.utc)).load()

    def unseen(self) -> set[str]:
        """The messages, by time stamp, that Slack said it had posted and does not show, or the other way round."""
        shown = {str(message["ts"]) for message in self._slack.messages(CHANNEL)}
        for ts in list(shown):
            shown |= {str(message["ts"]) for message in self._slack.replies(CHANNEL, ts)}
        return shown ^ self._stamps

    def settle(self) -> None:
        """Let the server write down what it has taken, and a check send once more what it has lost."""
        time.sleep(STORED_AFTER.total_seconds())
        assert (self.checks[0].run().ended or "").startswith("COMPLETED")
        # As often as it writes, and a while longer.
        time.sleep(6)

    def events(self) -> Counter[tuple[str, str]]:
        """Count the events of incidents that the server has stored, by name and by what they are about."""
        since = (datetime.now(timezone.utc) - timedelta(days=1)).isoformat()
        body = {"filter": {"occurred": {"since": since}, "event": {"prefix": ["watchdog.incident."]}}, "limit": 50}
        page = self.server.request("POST", "/events/filter", body)
        found = [*page["events"]]
        while page["next_page"]:
            page = self.server.request("GET", page["next_page"].removeprefix(self.server.api_url))
            found += page["events"]
        return Counter((event["event"], event["payload"]["subject"]) for event in found)

    def _learn(self, kind: Kind, whole: Outcome) -> None:
        assert whole.ended is not None
        assert whole.ended.startswith("COMPLETED"), whole.ended
        queries = [point.split()[:2] for point in whole.points]
        start = self._starts[kind] = queries.index(["POST", "/api/variables/"])
        end = max(index for index, (method, _) in enumerate(queries) if method == "DELETE")
        self.points[kind] = whole.points[start : end + 1]
        if kind == "digest":
            # The outbox is what it saves first.
            saved = (point.startswith(_WRITE) and point.endswith("answered") for point in self.points[kind])
            self._saved = list(saved).index(True)

    def _next_check(self) -> None:
        """Run the next check that gets the lock: a later one, by when the lock of the one that died has expired."""
        time.sleep(_UNDER_WAY)
        for _ in range(6):
            self._seed.changed_before(LOCK, timedelta(minutes=5))
            ended = self.checks[0].run().ended or "it died"
            # A server that has just begun again may be too slow for a check, which says so; the next one comes.
            if ended != ANOTHER and not ended.startswith(_NO_SERVER):
                break
        assert ended.startswith("COMPLETED"), ended
        assert ended != ANOTHER

    def _lock(self) -> Any:
        found = self.server.request("POST", "/variables/filter", {"variables": {"name": {"any_": [LOCK]}}})
        return found[0] if found else None

    def _overhear(self, request: ApiRequest, answer: httpx.Response) -> None:
        if request.path == "/chat.postMessage" and answer.json()["ok"]:
            if request.body["metadata"]["event_type"] == DIGEST_EVENT_TYPE:
                self.digests += 1
                self._unheard.append(frozenset({("sent", "the digest")}))
                return
            title = request.body["text"]
            about = (
                "details"
                if title.startswith("Details")
                else "resolved"
                if title.startswith(SIGN["resolved"])
                else "fired"
            )
            names = _NAME.findall(json.dumps(request.body["blocks"]))
            self._unheard.append(frozenset((about, name) for name in names))
            self._stamps.add(str(answer.json()["ts"]))


@contextmanager
def staged(
    server: Server, slack: SlackEmulator, folder: Path, *, blind: bool = False, at_once: int = 1
) -> Iterator[Stage]:
    """Set the stage.

    Args:
        server: An empty one.
        slack: With an empty channel.
        folder: For files.
        blind: Whether the token may not read the channel's history.
        at_once: How many checks can run at the same time.
    """

    def answer(request: ApiRequest) -> Response | None:
        if blind and request.path in ("/conversations.history", "/conversations.replies"):
            return Response(json.dumps({"ok": False, "error": "missing_scope"}), content_type="application/json")
        return None

    with relayed(slack.url) as relay:
        relay.answer = answer
        env = {
            "WATCHDOG_SLACK__API_URL": relay.url,
            "WATCHDOG_SLACK__CHANNEL": CHANNEL,
            "WATCHDOG_DIGEST__RECEIVER__CHANNEL": DIGEST_CHANNEL,
            "WATCHDOG_SLACK_TOKEN": slack.token,
            "WATCHDOG_ALERTS__GROUP_INTERVAL": "1s",
        }
        with ExitStack() as stack:
            checks = [stack.enter_context(Checks(server, folder / f"{number}", env)) for number in range(at_once)]
            yield Stage(server, checks, relay, slack)


def killed(stage: Stage, number: int, *, with_server: bool = False) -> Iterator[Death]:
    """Kill so many runs, one after another, each kind in turn, at points spread over all that there are."""
    for kill in range(number):
        kind = KINDS[kill % len(KINDS)]
        last = len(stage.points[kind]) - 1
        yield stage.kill(kind, round(last * kill / max(1, number - 1)), with_server=with_server)


def _ambiguous(state: SavedState) -> Iterator[str]:
    numbers = Counter(incident.number for incident in (*state.incidents.open.values(), *state.closed))
    yield from (f"W-{number} stands for {times} incidents" for number, times in numbers.items() if times > 1)
