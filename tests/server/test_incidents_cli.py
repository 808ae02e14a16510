"""Incidents and silences at the command line, on a real server; what was asked is done as the check does it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import pytest

from demo.stack import Server, prefect_env
from monitoring.adapters.prefect.client.api import Api, open_api
from monitoring.adapters.prefect.store.action_requests import new_name, submit
from monitoring.adapters.prefect.store.documents import Documents
from monitoring.adapters.prefect.store.state import REQUEST, BlockState
from monitoring.cli import app
from monitoring.config.general_settings import State as Settings
from monitoring.errors import ServerProblem
from monitoring.incidents.requests import Applied, apply_requests
from monitoring.messages.words import NOTHING
from monitoring.model.incident import Acknowledgement, Incident, Incidents, Step
from monitoring.model.outbox import Outbox, Suppression, SuppressionReason
from monitoring.model.policy import ApiSettings as ServerSettings
from monitoring.model.request import Request, Silences
from monitoring.model.saved_state import SavedState
from monitoring.model.silence import Silence
from monitoring.model.target import Target
from tests.support.command_line import watchdog
from tests.support.seed_values import Run
from tests.support.seeding import Seed
from tests.support.simulation import problem

T = TypeVar("T")

HOUR = timedelta(hours=1)
HOSTILE = "etl/\x1b]8;;https://evil.example\x07\x1b[2J[red]x[/red]\u202e<!channel>\nW-1 firing"


def incident(number: int, name: str, now: datetime, **fields: Any) -> Incident:
    """An incident that fires, found three hours ago and an hour after it began."""
    values: dict[str, Any] = {
        "finding": problem(name, since=now - 4 * HOUR, owner="data", evidence=("ValueError: no rows",)),
        "number": number,
        "opened_at": now - 3 * HOUR,
        "fired_at": now - 3 * HOUR,
        "tags": ("etl",),
        "pool": "k8s",
        "history": (Step(to="firing", at=now - 3 * HOUR, reason="found"),),
    }
    return Incident.model_validate({**values, **fields})


class Commands:
    """The saved state on a server, and the command line."""

    def __init__(self, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
        self.api = api
        self.now = datetime.now(timezone.utc).replace(microsecond=0)
        self._capsys = capsys

    def save(self, **state: Any) -> None:
        """Keep a state, as a check does."""
        before, _ = self.state.load()
        self.state.save(before, before.model_copy(update=state))

    def open(self, *incidents: Incident, **state: Any) -> None:
        """Keep a state with these incidents open."""
        everything = {incident.finding.fingerprint: incident for incident in incidents}
        kept = Incidents(
            open=everything, next_number=100, began_at=self.now, baselined_at=self.now, target_id="prefect"
        )
        self.save(incidents=kept, **state)

    @property
    def state(self) -> BlockState:
        return BlockState(Documents(self.api), Settings(), datetime.now(timezone.utc))

    @property
    def saved(self) -> SavedState:
        saved, coverage = self.state.load()
        assert coverage.complete
        return saved

    @property
    def silences(self) -> tuple[Silence, ...]:
        """What is silenced."""
        return self.saved.silences.known

    def check(self) -> Applied:
        """Do what was asked, as a check does, and keep what comes of it."""
        before = self.saved
        after = apply_requests(before.requests, before.incidents, before.silences, datetime.now(timezone.utc))
        self.state.save(before, SavedState(incidents=after.incidents, silences=after.silences, closed=after.closed))
        return after

    def run(self, *words: str) -> tuple[int, str, str]:
        """Run a command; return its status, and what it says on stdout and on stderr."""
        status = app(words, result_action="return_value")
        printed = self._capsys.readouterr()
        return status, printed.out, printed.err

    def output(self, *words: str) -> str:
        """Run a command that must succeed; return what it says."""
        status, out, err = self.run(*words)
        assert (status, err) == (0, "")
        return out


@pytest.fixture
def commands(
    prefect_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Commands]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "watchdog.yaml").write_text("")
    with open_api(ServerSettings()) as api:
        yield Commands(api, capsys)


def row(text: str, start: str) -> str:
    """The line of a table that begins so."""
    [line] = [line for line in text.splitlines() if line.startswith(start)]
    return re.sub(r" {2,}", " | ", line.strip())


# --- incidents ---------------------------------------------------------------------------------------


def test_before_the_first_check_there_is_nothing_to_list(commands: Commands) -> None:
    assert commands.output("incidents", "list") == "No check has run on this server yet.\n"
    assert commands.output("silence", "list") == "Nothing is silenced.\n"
    commands.open()
    assert commands.output("incidents", "list") == "No incident is open.\n"


def test_open_incidents_are_listed_most_severe_first_with_how_each_stands(commands: Commands) -> None:
    now = commands.now
    mark = Acknowledgement(by="ana", at=now - HOUR)
    critical = problem("etl/critical", severity="critical", since=now - HOUR)
    silence = Silence(id="S-3", deployment="etl/silenced", starts_at=now - HOUR, ends_at=now + HOUR, author="ana")
    commands.open(
        incident(0, "etl/pending", now, fired_at=None),
        incident(1, "etl/fires", now),
        incident(2, "etl/critical", now, finding=critical),
        incident(3, "etl/known", now, preexisting=True),
        incident(4, "etl/acknowledged", now, acknowledged=mark),
        incident(5, "etl/silenced", now),
        incident(6, "etl/unseen", now, unseen_since=now - HOUR),
        silences=Silences(known=(silence,), next_number=4),
        closed=(incident(7, "etl/over", now, resolved_at=now - HOUR, resolution="succeeded"),),
    )
    listed = commands.output("incidents", "list")
    ids = [line.split()[0] for line in listed.splitlines()[2:] if not line.startswith(" ")]
    assert ids == ["W-2", "W-1", "W-3", "W-4", "W-5", "W-6", NOTHING]
    since = f"{now - 4 * HOUR:%Y-%m-%d %H:%M} UTC"
    assert row(listed, "W-1") == f"W-1 | warning | etl/fires | something is wrong | late | firing | {since} | 1 | data"
    assert listed.startswith(
        "1 critical problem, 3 warnings, 1 acknowledged problem and 1 silenced problem. "
        "1 open incident not found by the last check.\n"
    )
    assert "firing, preexisting" in row(listed, "W-3")
    assert "firing, acknowledged by ana" in row(listed, "W-4")
    assert "silenced by S-3 until" in row(listed, "W-5")
    assert "not seen since" in row(listed, "W-6")
    assert "| pending |" in row(listed, NOTHING)
    assert "etl/over" not in listed
    everything = commands.output("incidents", "list", "--all")
    assert "| resolved " in row(everything, "W-7")

    document = json.loads(commands.output("incidents", "list", "--all", "--json"))
    by_id = {incident["id"]: incident for incident in document["incidents"]}
    assert (by_id["W-4"]["acknowledged"]["by"], by_id["W-5"]["silence"]["id"]) == ("ana", "S-3")
    assert (by_id[None]["status"], by_id["W-7"]["status"]) == ("pending", "resolved")
    assert (by_id["W-7"]["time_to_detect"], by_id["W-7"]["time_to_resolve"]) == (3_600, 3 * 3_600)


def test_an_incident_is_shown_with_all_that_is_known(commands: Commands) -> None:
    now = commands.now
    mark = Acknowledgement(by="ana", at=now - HOUR, note="looking at the source")
    steps = (
        Step(to="pending", at=now - 3 * HOUR, reason="found"),
        Step(to="firing", at=now - 2 * HOUR, reason="held"),
        Step(to="updated", at=now - HOUR, reason="acknowledged"),
    )
    held = incident(12, "etl/nightly", now, acknowledged=mark, history=steps, fired_at=now - 2 * HOUR)
    quiet = Suppression(reason=SuppressionReason.QUIET_HOURS)
    commands.open(held, outbox=Outbox(suppressed={12: quiet}))
    shown = commands.output("incidents", "show", "w-12")
    assert shown.startswith("W-12 late etl/nightly\n")
    for part in (
        "looking at the source",
        "something is wrong",
        "ValueError: no rows",
        "run of etl/nightly",
        held.finding.url or "",
        f"{now - 2 * HOUR:%Y-%m-%d %H:%M} UTC firing: held",
        f"{now - HOUR:%Y-%m-%d %H:%M} UTC updated: acknowledged",
    ):
        assert part in shown
    assert re.search(r"^Time to detect +2 h *$", shown, re.MULTILINE)
    assert re.search(r"^Suppressed +quiet hours *$", shown, re.MULTILINE)
    assert "Time to resolve" not in shown
    document = json.loads(commands.output("incidents", "show", "12", "--json"))
    assert [step["reason"] for step in document["history"]] == ["found", "held", "acknowledged"]
    assert (document["not_told_because"], document["time_to_detect"]) == ("quiet hours", 7_200)


def test_what_was_there_before_the_watchdog_has_no_time_to_detect(commands: Commands) -> None:
    commands.open(incident(1, "etl/old", commands.now, preexisting=True))
    assert "Time to detect" not in commands.output("incidents", "show", "W-1")


def test_the_next_check_acknowledges(commands: Commands) -> None:
    commands.open(incident(12, "etl/nightly", commands.now), incident(13, "etl/hourly", commands.now))
    output = commands.output("incidents", "ack", "W-12", "w-13", "--by", "ana", "--note", "on it")
    first, second = output.splitlines()
    assert first.startswith("W-12: acknowledge requested by ana; the next check applies it, but none is planned")
    assert second.startswith("W-13: acknowledge requested by ana")
    assert "ana acknowledges W-12: on it" in commands.output("incidents", "list")
    assert "acknowledge already requested by ana at" in commands.output("incidents", "ack", "W-12", "--by", "ana")

    assert commands.check().rejected == ()
    marks = {incident.id: incident.acknowledged for incident in commands.saved.incidents.open.values()}
    assert {(name, mark.by, mark.note) for name, mark in marks.items() if mark} == {
        ("W-12", "ana", "on it"),
        ("W-13", "ana", "on it"),
    }
    assert commands.saved.requests == ()
    assert "firing, acknowledged by ana" in commands.output("incidents", "list")

    again = commands.output("incidents", "ack", "W-12", "--by", "ana")
    assert again.startswith("W-12: already acknowledged by ana at ")
    assert commands.saved.requests == ()
    assert "acknowledge requested by bob" in commands.output("incidents", "ack", "W-12", "--by", "bob")
    commands.check()
    assert "acknowledged by bob" in commands.output("incidents", "list")


def test_the_login_name_is_the_author(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "carol")
    commands.open(incident(12, "etl/nightly", commands.now))
    assert "by carol" in commands.output("incidents", "ack", "W-12")
    assert [request.by for request in commands.saved.requests] == ["carol"]


def test_the_next_check_closes(commands: Commands) -> None:
    commands.open(incident(12, "etl/nightly", commands.now))
    assert "W-12: close requested by ana" in commands.output("incidents", "close", "12", "--by", "ana")
    assert "close already requested by ana at" in commands.output("incidents", "close", "W-12", "--by", "bob")
    assert len(commands.saved.requests) == 1
    assert [incident.id for incident in commands.check().closed] == ["W-12"]
    assert commands.output("incidents", "list") == "No incident is open.\n"
    assert "(closed)" in commands.output("incidents", "show", "W-12")
    status, out, err = commands.run("incidents", "ack", "W-12")
    assert (status, out) == (3, "")
    assert re.fullmatch(r"W-12: already resolved at .* UTC \(closed\); nothing to do\n", err)


def test_an_incident_that_was_closed_weeks_ago_is_shown(commands: Commands) -> None:
    long_ago = commands.now - timedelta(days=80)
    ended: dict[str, Any] = {"resolved_at": long_ago, "resolution": "succeeded"}
    commands.save(closed=(incident(3, "etl/nightly", long_ago - timedelta(hours=2), **ended),))
    assert "etl/nightly" not in commands.output("incidents", "list", "--all")
    assert "etl/nightly" in commands.output("incidents", "show", "W-3")
    status, _, err = commands.run("incidents", "ack", "W-3")
    assert status == 3
    assert err.startswith("W-3: already resolved at ")


@pytest.mark.parametrize("words", [["show", "W-99"], ["ack", "W-99"], ["close", "W-99"], ["show", "W-0"], ["show", ""]])
def test_an_incident_that_is_none_is_an_error(commands: Commands, words: list[str]) -> None:
    commands.open(incident(12, "etl/nightly", commands.now), incident(0, "etl/pending", commands.now, fired_at=None))
    status, out, err = commands.run("incidents", *words)
    assert (status, out) == (3, "")
    assert "no such incident, open or closed; see `watchdog incidents list --all`" in err
    assert commands.saved.requests == ()


def test_of_several_those_that_can_be_are_acknowledged(commands: Commands) -> None:
    commands.open(incident(12, "etl/nightly", commands.now))
    status, out, err = commands.run("incidents", "ack", "W-99", "W-12", "W-12")
    assert status == 3
    assert out.startswith("W-12: acknowledge requested")
    assert err.startswith("W-99: no such incident")
    assert [request.subject for request in commands.saved.requests] == ["W-12"]


def test_when_the_next_check_is_scheduled_is_shown(commands: Commands, seed: Seed) -> None:
    due = seed.now + 0.5 * HOUR
    check = seed.deployment("watchdog-check/check")
    other = seed.deployment("etl/nightly")
    seed.many(
        [
            Run(deployment=check, state="SCHEDULED", due=due, history=()),
            Run(deployment=check, state="SCHEDULED", due=due + HOUR, history=()),
            Run(deployment=check, state="SCHEDULED", due=seed.now - HOUR, history=()),
            Run(deployment=other, state="SCHEDULED", due=seed.now + 0.1 * HOUR, history=()),
        ]
    )
    commands.open(incident(12, "etl/nightly", commands.now))
    output = commands.output("incidents", "ack", "W-12", "--by", "ana")
    assert output == (
        "W-12: acknowledge requested by ana; the next check applies it, planned for "
        f"{due.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC\n"
    )


# --- silences ----------------------------------------------------------------------------------------


def test_a_silence_is_requested_listed_applied_and_ended(commands: Commands) -> None:
    commands.open(incident(12, "etl/nightly", commands.now), incident(13, "crm/sync", commands.now))
    output = commands.output(
        *("silence", "add", "--deployment", "etl/*", "--for", "4h", "--reason", "the source moves", "--by", "ana")
    )
    first, second = output.splitlines()
    assert first.startswith("Silence of deployment etl/* from ")
    assert second == "It matches 1 open incident now: W-12 late etl/nightly"
    assert "ana silences deployment etl/* from" in commands.output("silence", "list")
    assert not commands.silences

    commands.check()
    [made] = commands.silences
    assert (made.id, made.deployment, made.author, made.reason) == ("S-1", "etl/*", "ana", "the source moves")
    assert made.ends_at - made.starts_at == 4 * HOUR
    assert "| active | deployment etl/* |" in row(commands.output("silence", "list"), "S-1")
    assert "silenced by S-1" in row(commands.output("incidents", "list"), "W-12")
    assert "silenced" not in row(commands.output("incidents", "list"), "W-13")

    commands.save(silences=Silences(known=(made, made.model_copy(update={"id": "S-2"})), next_number=3))
    covered = commands.output("silence", "expire", "S-2", "--by", "bob")
    assert covered.endswith("Still silenced by another silence or maintenance window: W-12 late etl/nightly\n")
    commands.check()

    ended = commands.output("silence", "expire", "s-1", "--by", "bob")
    assert ended.startswith("S-1: end requested by bob; the next check applies it")
    assert "Notified then, unless something else suppresses it: W-12 late etl/nightly" in ended
    assert "bob ends S-1" in commands.output("silence", "list")
    assert "its end is already requested" in commands.output("silence", "expire", "S-1")
    assert len(commands.saved.requests) == 1
    commands.check()
    assert "| ended |" in row(commands.output("silence", "list"), "S-1")
    assert "silenced" not in commands.output("incidents", "list")
    assert re.match(r"S-1: already ended at .* UTC", commands.output("silence", "expire", "S-1"))


def test_a_slip_of_the_pen_is_noticed(commands: Commands) -> None:
    commands.open(incident(12, "etl/nightly", commands.now))
    for word in ("elt/*", "ETL/*"):
        output = commands.output("silence", "add", "--deployment", word, "--for", "4h", "--reason", "x")
        assert output.endswith("It matches no open incident now\n")


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["--tag", "etl"], ["W-12", "W-13"]),
        (["--pool", "k8s", "--check", "late"], ["W-12", "W-13"]),
        (["--pool", "k8s", "--check", "failed"], []),
        (["--owner", "data", "--severity", "critical"], []),
        (["--owner", "data", "--deployment", "*/sync"], ["W-13"]),
    ],
)
def test_all_that_is_given_must_match(commands: Commands, words: list[str], ids: list[str]) -> None:
    commands.open(incident(12, "etl/nightly", commands.now), incident(13, "crm/sync", commands.now))
    output = commands.output("silence", "add", *words, "--for", "4h", "--reason", "x")
    assert re.findall(r"W-\d+", output) == ids


def test_a_silence_may_begin_later_and_end_at_a_time_with_its_zone(commands: Commands) -> None:
    commands.open()
    day = f"{commands.now + timedelta(days=2):%Y-%m-%d}"
    output = commands.output(
        *("silence", "add", "--tag", "etl", "--from", f"{day}T06:00:00+01:00", "--until", f"{day}T08:30:00+01:00"),
        *("--reason", "moving"),
    )
    assert f"from {day} 05:00 UTC until {day} 07:30 UTC" in output
    commands.check()
    listed = json.loads(commands.output("silence", "list", "--json"))
    [silence] = listed["silences"]
    assert (silence["starts_at"], silence["ends_at"]) == (f"{day}T05:00:00Z", f"{day}T07:30:00Z")
    assert (silence["status"], silence["tag"], silence["deployment"]) == ("waiting", "etl", None)


def test_an_unknown_silence_is_an_error(commands: Commands) -> None:
    commands.open()
    assert commands.run("silence", "expire", "S-9") == (3, "", "S-9: no such silence; see `watchdog silence list`\n")


def test_maintenance_windows_are_listed(commands: Commands) -> None:
    now = commands.now
    open_at, next_at = now - HOUR, now + 3 * HOUR
    Path("watchdog.yaml").write_text(
        "maintenance:\n"
        f"- {{match: {{pool: k8s}}, cron: '{open_at.minute} {open_at.hour} * * *', lasts: 2h, reason: backup}}\n"
        f"- {{match: {{tag: etl}}, cron: '{next_at.minute} {next_at.hour} * * *', lasts: 1h, reason: later}}\n"
    )
    commands.open(incident(12, "etl/nightly", now))
    lines = [re.sub(r" {2,}", " | ", line) for line in commands.output("silence", "list").splitlines()]
    windows = [line for line in lines if line.startswith("maintenance")]
    assert windows[0].startswith("maintenance | active | pool k8s |")
    assert windows[0].endswith("| backup")
    assert windows[1].startswith("maintenance | waiting | tag etl |")
    assert "silenced by maintenance" in commands.output("incidents", "list")
    document = json.loads(commands.output("silence", "list", "--json"))
    assert [(window["status"], window["reason"]) for window in document["maintenance"]] == [
        ("active", "backup"),
        ("waiting", "later"),
        ("waiting", "backup"),
    ]


@pytest.mark.parametrize("reachable", [True, False])
def test_an_open_window_is_in_every_look(commands: Commands, reachable: bool) -> None:
    """The maintenance of the server itself is what a window is most often for."""
    begun = commands.now - HOUR
    Path("watchdog.yaml").write_text(
        "server: {attempts: 1}\n"
        "maintenance:\n"
        f"- {{match: {{check: server}}, cron: '{begun.minute} {begun.hour} * * *', lasts: 2h, reason: backup}}\n"
    )
    where = [] if reachable else ["--target", "http://127.0.0.1:9/api"]
    status, out, err = commands.run("check", *where)
    assert (status, err) == (0 if reachable else 2, "")
    assert re.search(r"^maintenance +check server +[\d-]+ [\d:]+ UTC +maintenance +backup *$", out, re.MULTILINE)


# --- in reports --------------------------------------------------------------------------------------


def test_a_look_by_hand_shows_what_the_checks_know(commands: Commands, seed: Seed) -> None:
    deployment = seed.deployment("etl/nightly", schedule="0 0 1 1 *")
    seed.run(deployment, "FAILED", ended=seed.now - HOUR)
    _, out, _ = commands.run("check", "--json")
    [finding] = [row for row in json.loads(out)["findings"] if row["check"] == "failed"]
    assert finding["incident"] is None

    silence = Silence(
        id="S-3", tag="x", starts_at=commands.now - HOUR, ends_at=commands.now + HOUR, author="ana", reason="r"
    )
    known = problem("etl/nightly", "failed", fingerprint=finding["fingerprint"])
    commands.open(
        incident(12, "etl/nightly", commands.now, finding=known),
        silences=Silences(known=(silence,)),
        closed=(incident(7, "etl/over", commands.now, resolved_at=commands.now - HOUR, resolution="succeeded"),),
    )
    _, out, err = commands.run("check", "--json")
    document = json.loads(out)
    assert err == ""
    assert [row["incident"] for row in document["findings"] if row["check"] == "failed"] == ["W-12"]
    assert [(silence["id"], silence["author"]) for silence in document["silences"]] == [("S-3", "ana")]
    _, out, _ = commands.run("check")
    assert "W-12 etl/nightly" in out
    assert re.search(r"^S-3 +tag x +[\d-]+ [\d:]+ UTC +ana +r *$", out, re.MULTILINE)
    digest = commands.output("digest")
    assert re.search(r"^warning +W-12 etl/nightly +", digest, re.MULTILINE)
    assert re.search(r"^S-3 +tag x +[\d-]+ [\d:]+ UTC +ana +r *$", digest, re.MULTILINE)
    assert re.search(r"^W-7 +late +etl/over +succeeded +1 h +3 h *$", digest, re.MULTILINE)
    assert "Median time: 1 h to detect, 3 h to resolve." in digest


def test_every_report_counts_what_is_wrong_in_one_way_and_what_was_closed_by_hand_apart(
    commands: Commands, seed: Seed
) -> None:
    for name in ("closed", "silenced", "fires"):
        seed.run(seed.deployment(f"etl/{name}", schedule="0 0 1 1 *"), "FAILED", ended=seed.now - HOUR)
    failed = {
        finding["deployment"]: finding for finding in checked(commands)["findings"] if finding["check"] == "failed"
    }
    incidents = []
    for number, (name, finding) in enumerate(sorted(failed.items()), start=1):
        values = {"fingerprint": finding["fingerprint"], "flow_run_ids": finding["flow_run_ids"]}
        known = problem(name, "failed", since=commands.now - 4 * HOUR, **values)
        incidents.append(incident(number, name, commands.now, finding=known))
    silence = Silence(
        id="S-3", deployment="etl/silenced", starts_at=commands.now - HOUR, ends_at=commands.now + HOUR, author="ana"
    )
    commands.open(*incidents, silences=Silences(known=(silence,), next_number=4))
    commands.output("incidents", "close", "W-1", "--by", "ana")
    commands.check()

    document = checked(commands)
    here = [finding for finding in document["findings"] if finding["check"] == "failed"]
    assert {
        finding["deployment"]: finding["closed_by_hand"] and finding["closed_by_hand"]["by"] for finding in here
    } == {
        "etl/closed": "ana",
        "etl/fires": None,
        "etl/silenced": None,
    }
    # It began when the incident did, and not when a check finds it again.
    [closed] = [finding for finding in here if finding["closed_by_hand"]]
    assert (closed["closed_by_hand"]["incident"], closed["since"]) == ("W-1", f"{commands.now - 4 * HOUR:%FT%TZ}")
    numbers = document["problems"]
    assert (numbers["warning"], numbers["silenced"], numbers["closed"]) == (1, 1, 1)
    said = "1 warning, 1 silenced problem and 1 problem closed by hand."
    status, out, _ = commands.run("check")
    assert (status, out.splitlines()[0]) == (1, f"WARNING prefect: {said}")
    assert re.search(r"^warning +W-1 etl/closed .* closed by ana at ", out, re.MULTILINE)
    digest = commands.output("digest")
    assert said in digest
    assert "Resolved in the last 24 hours" not in digest
    assert commands.output("incidents", "list").startswith("1 warning and 1 silenced problem.\n")

    commands.output("incidents", "close", "W-2", "W-3")
    commands.check()
    assert commands.run("check")[0] == 0


def checked(commands: Commands) -> Any:
    """What a check by hand prints for programs."""
    return json.loads(commands.run("check", "--json")[1])


def test_a_check_by_hand_says_that_it_cannot_read_the_incidents(commands: Commands) -> None:
    Documents(commands.api).write("incidents", "{")
    status, out, _ = commands.run("check")
    assert status == 3
    assert out.startswith("UNKNOWN prefect")
    assert "watchdog-document/incidents cannot be read (no JSON)" in " ".join(out.split())
    assert commands.run("check", "--fresh")[0] == 0


# --- hostile, torn and at once -----------------------------------------------------------------------


def test_hostile_names_are_harmless(commands: Commands) -> None:
    silence = Silence(
        id="S-1",
        deployment=HOSTILE,
        starts_at=commands.now,
        ends_at=commands.now + HOUR,
        author=HOSTILE,
        reason=HOSTILE,
    )
    mark = Acknowledgement(by=HOSTILE, at=commands.now, note=HOSTILE)
    finding = problem(HOSTILE, summary=HOSTILE, owner=HOSTILE, evidence=(HOSTILE,))
    hostile = incident(12, HOSTILE, commands.now, finding=finding, acknowledged=mark, tags=(HOSTILE,), pool=HOSTILE)
    commands.open(hostile, silences=Silences(known=(silence,)))
    calls: list[tuple[int, list[str]]] = [
        (0, ["incidents", "list"]),
        (0, ["incidents", "show", "W-12"]),
        (0, ["silence", "list"]),
        (0, ["silence", "add", "--tag", "etl", "--for", "4h", "--reason", HOSTILE, "--by", HOSTILE]),
        (0, ["silence", "add", "--owner", HOSTILE, "--for", "4h", "--reason", HOSTILE, "--by", HOSTILE]),
        (0, ["incidents", "ack", "W-12", "--by", HOSTILE + "2", "--note", HOSTILE]),
        (0, ["incidents", "list"]),
        (3, ["incidents", "show", HOSTILE]),
        (3, ["silence", "expire", HOSTILE]),
    ]
    for expected, words in calls:
        status, out, err = commands.run(*words)
        assert status == expected, words
        assert not {char for char in out + err if char != "\n" and not char.isprintable()}, words
        assert "evil.example" not in out + err, words
        assert not any(line.startswith("W-1 firing") for line in (out + err).splitlines()), words
    assert "[red]x[/red]" in commands.run("incidents", "show", "W-12")[1]


def test_nothing_but_a_request_is_written(commands: Commands) -> None:
    commands.open(incident(12, "etl/nightly", commands.now))
    before = set(Documents(commands.api).names())
    for words in (
        ["incidents", "list"],
        ["incidents", "show", "W-12"],
        ["silence", "list"],
    ):
        commands.output(*words)
    assert set(Documents(commands.api).names()) == before
    commands.output("incidents", "ack", "W-12")
    [new] = set(Documents(commands.api).names()) - before
    assert re.fullmatch(REQUEST + "[0-9a-f]{32}", new)


def test_a_request_that_was_sent_twice_is_done_once(commands: Commands) -> None:
    commands.open(incident(12, "etl/nightly", commands.now))
    request = Request(name=new_name(), what="acknowledge", at=commands.now, by="ana", subject="W-12")
    submit(commands.api, request)
    submit(commands.api, request)
    assert commands.saved.requests == (request,)


def test_a_torn_request_is_reported_once_and_delays_no_other(commands: Commands) -> None:
    commands.open(incident(12, "etl/nightly", commands.now))
    Documents(commands.api).write(new_name(), "{")
    status, out, err = commands.run("incidents", "ack", "W-12", "--by", "ana")
    assert status == 0
    assert out.startswith("W-12: acknowledge requested")
    assert re.search(r"state-request-[0-9a-f]{32}: .* cannot be read \(no JSON\): set aside as", err.replace("\n", " "))
    state = commands.state
    before, coverage = state.load()
    assert not coverage.complete
    state.save(before, before.model_copy(update={"requests": ()}))
    after, coverage = commands.state.load()
    assert coverage.complete
    assert after.requests == ()


def at_once(count: int, ask_one: Callable[[int], T]) -> list[T]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(ask_one, range(count)))


def test_requests_at_once_are_all_kept(commands: Commands, prefect_server: Server, tmp_path: Path) -> None:
    commands.open(*(incident(number, f"etl/number-{number}", commands.now) for number in range(10, 14)))
    env = prefect_env(tmp_path, prefect_server.api_url)

    def ask_one(index: int) -> int:
        return watchdog("incidents", "ack", f"W-{10 + index}", "--by", f"p{index}", env=env, cwd=tmp_path).status

    assert at_once(4, ask_one) == [0, 0, 0, 0]
    assert sorted(request.subject for request in commands.saved.requests) == ["W-10", "W-11", "W-12", "W-13"]
    commands.check()
    marks = [incident.acknowledged for incident in commands.saved.incidents.open.values()]
    assert sorted(mark.by for mark in marks if mark) == ["p0", "p1", "p2", "p3"]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_requests_on_a_server_that_knows_no_documents_yet(
    database: str, fresh_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = fresh_server(database=database)

    def ask_one(index: int) -> int:
        request = Request(name=new_name(), what="close", at=datetime.now(timezone.utc), by=f"p{index}", subject="W-1")
        for tries in range(1, 8):
            try:
                with open_api(ServerSettings(), Target(address=server.api_url)) as api:
                    submit(api, request)
            except ServerProblem:
                # They are told, and ask again. With many writers on SQLite, a server of Prefect can stand still for as
                # long as it waits for a lock, a minute.
                continue
            return tries
        return 0

    assert 0 not in at_once(8, ask_one)
    with open_api(ServerSettings(), Target(address=server.api_url)) as api:
        saved, coverage = BlockState(Documents(api), Settings(), datetime.now(timezone.utc)).load()
    assert coverage.complete
    assert sorted(request.by for request in saved.requests) == [f"p{index}" for index in range(8)]
