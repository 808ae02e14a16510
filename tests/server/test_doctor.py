"""The doctor on a real installation: all is well, then one thing at a time is broken, found, and mended as it says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.blocks.notifications import SlackWebhook
from prefect.blocks.system import Secret
from werkzeug import Response

from demo.stack import Process, Server, free_port, wait_until
from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.store.documents import Documents, aside
from monitoring.adapters.prefect.store.lock import NAME, Lease
from monitoring.adapters.prefect.store.state import BlockState
from monitoring.config.settings import Config
from monitoring.model.ledger import Ledger
from monitoring.model.outbox import Delivery, Outbox, Trouble
from monitoring.model.request import Silences
from monitoring.model.saved_state import SavedState
from monitoring.model.silence import Silence
from tests.support.command_line import CommandResult, watchdog
from tests.support.deployed_watchdog import CHECK, DIGEST, POOL, Deployed, copy_of_the_project, prefect
from tests.support.relay import ApiRequest, relayed
from tests.support.seed_values import MINUTE, SECOND, Deployment, Pool
from tests.support.seeding import Seed
from tests.support.servers import Emptier, connected, start_server
from tests.support.slack import SlackEmulator

#: Not examined on the healthy installation: the emulator does not say what a token may do.
UNKNOWN = {"Slack scopes"}
#: What is lacking there, and only recommended.
RECOMMENDED = {"alerts", "watch over the watchdog", "dead-man's switch"}


class Installation:
    """An installation as a user has it, and what the doctor says of it."""

    def __init__(self, server: Server, project: Path, slack: SlackEmulator) -> None:
        self.server = server
        self.project = project
        self.seed = Seed(server.database_url)
        self.deployed = Deployed(server, server)
        self.env = server.client_env(
            {
                "WATCHDOG_SLACK__API_URL": slack.base_url,
                "WATCHDOG_SLACK__CHANNEL": "digest",
                "WATCHDOG_SLACK_TOKEN": slack.token,
            }
        )

    def doctor(self, *words: str, **env: str) -> CommandResult:
        return watchdog("doctor", *words, env={**self.env, **env}, cwd=self.project)

    def wrong(self, *words: str, status: int, **env: str) -> list[dict[str, Any]]:
        """Everything that is not reported as well, besides what the healthy installation lacks."""
        printed = self.doctor("--json", *words, **env)
        assert (printed.status, printed.stderr) == (status, ""), printed.text
        return [part for part in printed.report["examined"] if part["outcome"] != "ok" and part["name"] not in UNKNOWN]

    def fix(self, command: str) -> None:
        """Do as the doctor says."""
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.project,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def held(self, deployment: str) -> dict[str, Any]:
        return dict(self.server.request("GET", f"/deployments/name/{deployment}"))

    def seeded(self, deployment: str) -> Deployment:
        held = self.held(deployment)
        return Deployment(deployment, UUID(held["id"]), UUID(held["flow_id"]), None, True)

    def alive(self, last_heartbeat: datetime | None = None) -> None:
        """Let the server have heard of a worker."""
        pool = self.server.request("GET", f"/work_pools/{POOL}")
        place = Pool(POOL, UUID(pool["id"]), UUID(pool["default_queue_id"]))
        self.seed.worker(place, last_heartbeat=last_heartbeat or datetime.now(timezone.utc))

    def remember(self, **changes: Any) -> None:
        """Keep what a check has just kept."""
        with connected(self.server), open_api(Config().server) as api:
            now = datetime.now(timezone.utc)
            state = BlockState(Documents(api), Config().state, now)
            before, _ = state.load()
            state.save(before, SavedState(**{"ledger": Ledger(cursor=now), **changes}))


@pytest.fixture(scope="module")
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path, Emptier]]:
    server = start_server(tmp_path_factory.mktemp("doctor"))
    project = copy_of_the_project(tmp_path_factory.mktemp("doctor-project") / "project")
    try:
        prefect(server, "work-pool", "create", POOL, "--type", "process", cwd=project)
        prefect(server, "deploy", "--all", cwd=project)
        yield server, project, Emptier(server)
    finally:
        server.stop()


@pytest.fixture
def installed(_installed: tuple[Server, Path, Emptier], slack_emulator: SlackEmulator) -> Installation:
    """Everything is well: deployed, a live worker, a check and a digest that have completed, a memory that is whole."""
    server, project, empty = _installed
    empty()
    found = Installation(server, project, slack_emulator)
    found.alive()
    for name in (CHECK, DIGEST):
        found.seed.run(found.seeded(name), "COMPLETED", ended=found.seed.now - MINUTE)
    found.remember()
    return found


def test_all_is_well(installed: Installation) -> None:
    printed = installed.doctor("--json")
    assert (printed.status, printed.stderr) == (0, ""), printed.text
    report = printed.report
    assert (report["schema"], report["target"], report["status"]) == (1, "prefect", "ok")
    examined = {part["name"]: part for part in report["examined"]}
    assert {name for name, part in examined.items() if part["outcome"] != "ok"} == UNKNOWN
    assert {name for name, part in examined.items() if part["recommended"]} == RECOMMENDED
    assert "the bot is a member" in examined["Slack channel digest"]["said"]
    assert examined["lock"]["said"] == "free"

    table = installed.doctor()
    assert table.status == 0
    assert "Nothing is wrong; 3 recommendations; 1 not examined." in table.stdout
    # One line for each part, and one for what is recommended.
    assert len(table.stdout.splitlines()) == len(examined) + len(RECOMMENDED) + 1
    assert installed.env["WATCHDOG_SLACK_TOKEN"] not in printed.text + table.text


def test_it_only_reads_and_posts_nothing(installed: Installation, slack_emulator: SlackEmulator) -> None:
    documents = installed.deployed.documents()
    with relayed(installed.server.ui_url) as relay:
        assert installed.doctor(PREFECT_API_URL=relay.url).status == 0
    assert len(relay.requests) > 10
    other = [(request.method, request.path) for request in relay.requests if request.method != "GET"]
    assert [request for request in other if not (request[0] == "POST" and request[1].endswith("/filter"))] == []
    assert installed.deployed.documents() == documents
    assert slack_emulator.messages("digest") == []


def pause(path: str) -> Callable[[Installation], None]:
    def broken(installed: Installation) -> None:
        installed.server.request("PATCH", path, {"is_paused": True})

    return broken


def pause_queue(installed: Installation) -> None:
    queue = installed.server.request("GET", f"/work_pools/{POOL}/queues/default")
    installed.server.request("PATCH", f"/work_pools/{POOL}/queues/{queue['name']}", {"is_paused": True})


def pause_deployment(installed: Installation) -> None:
    installed.server.request("POST", f"/deployments/{installed.held(CHECK)['id']}/pause_deployment")


def stop_schedule(installed: Installation) -> None:
    held = installed.held(DIGEST)
    path = f"/deployments/{held['id']}/schedules/{held['schedules'][0]['id']}"
    installed.server.request("PATCH", path, {"active": False})


def leave_lock(installed: Installation) -> None:
    lease = Lease(holder="a-run-that-died", token="t", expiry_seconds=0.001)
    installed.server.request("POST", "/variables/", {"name": NAME, "value": lease.model_dump()})


def set_aside(installed: Installation) -> None:
    with connected(installed.server), open_api(Config().server) as api:
        Documents(api).write(aside("incidents", "rubbish"), "rubbish")


def disable_trigger(installed: Installation) -> None:
    for automation in triggers(installed):
        installed.server.request("PATCH", f"/automations/{automation['id']}", {"enabled": False})


@pytest.mark.parametrize(
    ("broken", "name", "outcome", "detail", "command"),
    [
        pytest.param(pause(f"/work_pools/{POOL}"), "work pool watchdog", "fault", "it is paused",
                     r"prefect work-pool resume watchdog", id="pool"),
        pytest.param(pause_queue, "work queue watchdog/default", "fault", "it is paused",
                     r"prefect work-queue resume default --pool watchdog", id="queue"),
        pytest.param(pause_deployment, f"deployment {CHECK}", "fault", "it is paused",
                     r"prefect api POST /deployments/[0-9a-f-]+/resume_deployment", id="deployment"),
        pytest.param(stop_schedule, f"deployment {DIGEST}", "fault", "none of its schedules is active",
                     rf"prefect deployment schedule resume {DIGEST} [0-9a-f-]+", id="schedule"),
        pytest.param(leave_lock, "lock", "warning", "left behind by flow run a-run-that-died",
                     r"prefect variable unset watchdog_lock", id="lock"),
        pytest.param(set_aside, "state", "warning", "was set aside",
                     r"prefect block delete watchdog-document/incidents-broken-[0-9a-f]+", id="aside"),
        pytest.param(disable_trigger, "trigger of the check", "warning", "is not enabled",
                     r"prefect automation resume --id [0-9a-f-]+", id="trigger"),
    ],
)  # fmt: skip
def test_what_is_broken_is_found_alone_and_mended_by_the_command_that_is_given(
    installed: Installation, broken: Callable[[Installation], None], name: str, outcome: str, detail: str, command: str
) -> None:
    broken(installed)
    found = installed.wrong(status=2 if outcome == "fault" else 1)
    # What rests on it is not judged, and is no further fault.
    [part] = [part for part in found if part["outcome"] != "unknown"]
    assert (part["name"], part["outcome"]) == (name, outcome)
    assert detail in part["said"]
    given = re.match(command, part["mend"])
    assert given, part["mend"]
    installed.fix(given[0])
    assert installed.wrong(status=0) == []


def triggers(installed: Installation) -> list[dict[str, Any]]:
    return list(
        installed.server.request("GET", f"/automations/related-to/prefect.deployment.{installed.held(CHECK)['id']}")
    )


def test_the_time_zone_of_the_digest_is_that_of_the_configuration(installed: Installation) -> None:
    assert installed.wrong(status=0) == []
    [zone] = installed.wrong(status=1, WATCHDOG_DIGEST__TIME_ZONE="Europe/Berlin")
    assert (zone["name"], zone["outcome"]) == (f"time zone of {DIGEST}", "warning")
    assert zone["said"] == "it is due by the clock of UTC; its days begin and end in Europe/Berlin"
    assert "set time_zone in prefect.yaml to Europe/Berlin" in zone["mend"]


def test_a_worker_that_has_stopped(installed: Installation) -> None:
    [row] = installed.server.request("POST", f"/work_pools/{POOL}/workers/filter", {})
    installed.server.request("DELETE", f"/work_pools/{POOL}/workers/{row['name']}")
    installed.alive(datetime.now(timezone.utc) - 91 * SECOND)
    found = installed.wrong(status=2)
    [worker] = [part for part in found if part["outcome"] == "fault"]
    assert worker["name"] == f"worker of {POOL}"
    # 91 s, and as long as doctor took to start.
    assert re.search(r"last heartbeat was [1-4] min( \d+ s)? ago", worker["said"])
    assert worker["mend"] == f"prefect worker start --pool {POOL} --limit 2"
    assert {part["outcome"] for part in found if part != worker} == {"unknown"}


def test_checks_that_fail_without_their_secrets(installed: Installation) -> None:
    for minutes in (2, 1):
        ended = datetime.now(timezone.utc) + timedelta(seconds=1) - minutes * SECOND
        message = "the configuration cannot be used: password=hunter2"
        failed = installed.seed.run(installed.seeded(CHECK), "FAILED", ended=ended, message=message)
    [part] = installed.wrong(status=2)
    assert (part["name"], part["outcome"]) == (f"last run of {CHECK}", "fault")
    assert "the last 2 runs failed or crashed" in part["said"]
    assert "password=REDACTED" in part["said"]
    assert part["mend"] == f"prefect flow-run logs {failed.id}"


def test_a_document_that_cannot_be_read_and_one_of_a_newer_watchdog(installed: Installation) -> None:
    installed.deployed.spoil("ledger")
    broken = {part["name"]: part for part in installed.wrong(status=1)}
    assert {name: part["outcome"] for name, part in broken.items()} == {"state": "warning", "ended runs": "unknown"}
    assert "watchdog-document/ledger cannot be read" in broken["state"]["said"]
    assert f"prefect deployment run {CHECK}" in broken["state"]["mend"]

    with connected(installed.server), open_api(Config().server) as api:
        Documents(api).write("ledger", '{"schema": 99, "data": {}}')
    newer = {part["name"]: part for part in installed.wrong(status=2)}
    assert {name: part["outcome"] for name, part in newer.items()} == {
        "state": "fault",
        "outbox": "unknown",
        "ended runs": "unknown",
    }
    assert "schema 99" in newer["state"]["said"]
    assert newer["state"]["mend"].startswith("pip install --upgrade prefect-watchdog")


def test_a_lock_that_is_held_is_shown_and_no_fault(installed: Installation) -> None:
    lease = Lease(holder="a-run-that-lives", token="t", expiry_seconds=180)
    installed.server.request("POST", "/variables/", {"name": NAME, "value": lease.model_dump()})
    printed = installed.doctor("--json")
    assert printed.status == 0
    [lock] = [part for part in printed.report["examined"] if part["name"] == "lock"]
    assert "held by flow run a-run-that-lives since 20" in lock["said"]

    ended = installed.seed.run(installed.seeded(CHECK), "CRASHED", ended=datetime.now(timezone.utc) + MINUTE)
    installed.seed.run(installed.seeded(CHECK), "COMPLETED", ended=datetime.now(timezone.utc) + 2 * MINUTE)
    dead = lease.model_copy(update={"holder": str(ended.id)})
    installed.server.request("PATCH", f"/variables/name/{NAME}", {"value": dead.model_dump()})
    [lock] = installed.wrong(status=1)
    assert (lock["name"], lock["outcome"]) == ("lock", "warning")
    assert f"left behind by flow run {ended.id}, which has ended, last renewed at 20" in lock["said"]


def test_what_waits_and_routes_that_refuse(installed: Installation) -> None:
    long_ago = datetime.now(timezone.utc) - 60 * MINUTE
    waiting = Delivery(id="prefect-1", kind="post", route="default", queued_at=long_ago)
    trouble = Trouble(since=long_ago, problem="Slack rejects a message (is_archived)", permanent=True)
    gone = Trouble(since=long_ago, problem="of a route that is not configured any more", permanent=True)
    installed.remember(outbox=Outbox(queue=(waiting,), troubles={"default": trouble, "old": gone}))
    found = {part["name"]: part for part in installed.wrong(status=2)}
    assert {name: part["outcome"] for name, part in found.items()} == {
        "outbox": "warning",
        "deliveries by default": "fault",
    }
    assert "1 waiting, the oldest for 1 h" in found["outbox"]["said"]
    assert "is_archived" in found["deliveries by default"]["said"]


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_routes_by_webhook_and_by_notification_block(installed: Installation, tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(
        "alerts:\n  fallback: {block: slack-webhook/data-team}\n"
        "routes:\n"
        "- {name: hooked, match: {severity: critical}, webhook_secret: hook}\n"
        "- {name: never, match: {severity: critical, check: late}, channel: alerts}\n"
        "- {name: unhooked, match: {check: late}, webhook_secret: no-hook}\n"
        "- {name: blocked, match: {check: failed}, block: secret/hook}\n"
        "- {name: gone, match: {check: stale}, block: teams-webhook/nobody}\n"
    )
    with connected(installed.server):
        Secret(value="https://hooks.slack.com/services/T/B/secret-part").save("hook")
        Secret(value="not an address").save("no-hook")
        SlackWebhook(url="https://hooks.slack.com/services/T/B/other").save("data-team")
    printed = installed.doctor("--json", "--config", str(file))
    assert printed.status == 2
    routes = {
        part["name"].removeprefix("route "): (part["outcome"], part["mend"])
        for part in printed.report["examined"]
        if part["name"].startswith("route ")
    }
    assert {name: outcome for name, (outcome, _) in routes.items()} == {
        "never": "warning",
        "hooked": "ok",
        "unhooked": "fault",
        "blocked": "fault",
        "gone": "fault",
        "fallback": "ok",
    }
    assert routes["gone"][1] == "prefect block create teams-webhook, with the name nobody"
    assert 'save("no-hook"' in routes["unhooked"][1]
    assert "secret-part" not in printed.text + installed.doctor("--config", str(file)).text


def test_what_matches_nothing(installed: Installation, tmp_path: Path) -> None:
    file = tmp_path / "matches.yaml"
    file.write_text(f"rules:\n- {{match: {{pool: {POOL}}}, watch: true}}\n- {{match: {{tag: nigthly}}, watch: true}}\n")
    now = datetime.now(timezone.utc)
    times = {"starts_at": now - MINUTE, "ends_at": now + 60 * MINUTE}
    here = Silence(id="S-1", deployment="watchdog-*", **times)
    gone = Silence(id="S-2", deployment="etl/*", **times)
    installed.remember(silences=Silences(known=(here, gone)))
    found = installed.wrong("--config", str(file), status=1)
    assert [(part["name"], part["outcome"], part["said"], part["mend"]) for part in found] == [
        (
            "rule 2",
            "warning",
            "matches nothing on the server: there is no tag nigthly",
            f"correct or remove it in {file}",
        ),
        (
            "silence S-2",
            "warning",
            "matches nothing on the server: there is no deployment etl/*",
            "watchdog silence expire S-2; then add it anew if it is misspelt",
        ),
    ]


def test_a_channel_that_is_not_there(installed: Installation) -> None:
    for channel in ("nowhere", "C0NOWHERE99"):
        [part] = installed.wrong(status=2, WATCHDOG_SLACK__CHANNEL=channel)
        assert (part["name"], part["outcome"]) == (f"Slack channel {channel}", "fault")
        assert part["mend"].startswith("/invite @watchdog in the channel")


def test_no_token(installed: Installation) -> None:
    found = {part["name"]: part for part in installed.wrong(status=2, WATCHDOG_SLACK_TOKEN="")}
    assert {name: part["outcome"] for name, part in found.items()} == {
        "Slack token": "fault",
        "Slack channel digest": "unknown",
    }
    assert 'save("watchdog-slack-token", overwrite=True)' in found["Slack token"]["mend"]


def refuse(request: ApiRequest) -> Response | None:
    return Response('{"detail": "Unauthorized"}', 401, content_type="application/json")


def without_database(request: ApiRequest) -> Response | None:
    return Response("{}", 503, content_type="application/json") if request.path == "/ready" else None


def old(request: ApiRequest) -> Response | None:
    return Response('"2.20.1"', content_type="application/json") if request.path == "/admin/version" else None


def no_prefect(request: ApiRequest) -> Response | None:
    return Response("<html>Welcome</html>", 404)


@pytest.mark.parametrize(
    ("answer", "name", "detail", "mend"),
    [
        pytest.param(
            refuse, "credentials", "refuses requests without credentials (401)", "PREFECT_API_KEY", id="credentials"
        ),
        pytest.param(without_database, "database", "cannot reach", "PREFECT_SERVER_DATABASE", id="database"),
        pytest.param(old, "version", "the server is Prefect 2.20.1", "pip install 'prefect==3.", id="version"),
        pytest.param(no_prefect, "server", "is this a Prefect API?", "PREFECT_API_URL", id="another-server"),
    ],
)
def test_a_server_that_does_not_do(
    installed: Installation, answer: Callable[[ApiRequest], Response | None], name: str, detail: str, mend: str
) -> None:
    with relayed(installed.server.ui_url) as relay:
        relay.answer = answer
        found = installed.wrong(status=2, PREFECT_API_URL=relay.url)
    [part] = [part for part in found if part["outcome"] != "unknown"]
    assert (part["name"], part["outcome"]) == (name, "fault")
    assert detail in part["said"]
    assert mend in part["mend"]


def test_a_server_that_is_down(installed: Installation) -> None:
    found = installed.wrong("--target", f"http://127.0.0.1:{free_port()}/api", status=2)
    [server] = [part for part in found if part["outcome"] != "unknown"]
    assert (server["name"], server["outcome"]) == ("server", "fault")
    assert "is the server running" in server["said"]
    assert "prefect server start" in server["mend"]
    assert all(part["said"].startswith("not examined: ") for part in found if part != server)


def test_no_address_and_a_configuration_that_cannot_be_used(installed: Installation, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("late:\n  aftr: 5m\nstuk: 1\n")
    found = installed.wrong("--config", str(tmp_path / "wrong.yaml"), status=2, PREFECT_API_URL="")
    faults = [part for part in found if part["outcome"] != "unknown"]
    assert [part["name"] for part in faults] == ["configuration", "configuration", "server"]
    assert "wrong.yaml:2: late.aftr: unknown key" in faults[0]["said"]
    assert "PREFECT_API_URL: not set" in faults[2]["said"]
    assert "watchdog config check" in faults[0]["mend"]


# --- from here on the shared installation is another one ------------------------------------------------


def test_a_work_pool_that_was_deleted_is_made_again_by_the_command_that_is_given(installed: Installation) -> None:
    installed.server.request("DELETE", f"/work_pools/{POOL}")
    found = installed.wrong(status=2)
    assert {part["name"] for part in found if part["outcome"] == "fault"} == {
        f"work pool of {CHECK}",
        f"work pool of {DIGEST}",
    }
    assert {part["outcome"] for part in found} == {"fault", "unknown"}
    [command] = {part["mend"] for part in found if part["outcome"] == "fault"}
    installed.fix(command)
    [worker] = [part for part in installed.wrong(status=2) if part["outcome"] == "fault"]
    assert worker["name"] == f"worker of {POOL}"


def test_what_one_process_serves_needs_no_pool(installed: Installation) -> None:
    process = Process(
        "serve",
        [sys.executable, str(installed.project / "flows" / "serve.py")],
        log=installed.project / "serve.log",
        env=installed.env,
        cwd=installed.project,
    )
    process.start()
    try:
        process.wait(
            lambda: installed.held(CHECK)["status"] == "READY", timeout=180, waiting_for="deployments to be polled"
        )
        examined = {part["name"]: part for part in installed.doctor("--json").report["examined"]}
    finally:
        process.stop()
    assert not [name for name in examined if name.startswith("work")]
    assert examined["runner"]["outcome"] == "ok"

    wait_until(
        lambda: installed.held(CHECK)["status"] == "NOT_READY", timeout=240, waiting_for="the server to miss the polls"
    )
    [runner] = [part for part in installed.wrong(status=2) if part["name"] == "runner"]
    assert (runner["outcome"], runner["mend"]) == ("fault", "python flows/serve.py")
    assert runner["said"].startswith("no process serves ")
    assert CHECK in runner["said"]
