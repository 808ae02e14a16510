"""Faults at the network's seam: one clear line, the right exit status, and coverage that names what is missing."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prefect.settings import PREFECT_API_URL, temporary_settings
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from demo.stack import Server, free_port, prefect_env
from monitoring.cli import app
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.incidents.lifecycle import advance
from monitoring.model.coverage import ALWAYS_QUERIED
from monitoring.model.incident import Incidents
from tests.support.assessment import assess_server
from tests.support.command_line import CommandResult, watchdog
from tests.support.relay import ApiRequest, relayed
from tests.support.seed_values import HOUR, Run
from tests.support.seeding import Seed

RUNS = "/flow_runs/filter"
#: Seconds, enough for any machine; with the retries of Prefect's own client it would take two minutes on a quick one.
NOT_LONG = 100
Answer = Callable[[Request], Response]
Checker = Callable[..., CommandResult]


@contextmanager
def stand_in(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """Something that listens where a Prefect API should; yields its address and the paths of its requests."""
    paths: list[str] = []

    def handle(request: Request) -> Response:
        paths.append(request.path)
        return answer(request)

    with HTTPServer(host="127.0.0.1") as http:
        http.expect_request(re.compile(".*")).respond_with_handler(handle)
        yield http.url_for("/api"), paths


def check(address: str, folder: Path, *words: str, **env: str) -> CommandResult:
    """Run ``watchdog check`` against an address; no fault may show a traceback, or say anything twice."""
    result = watchdog("check", *words, env=prefect_env(folder, address, env), cwd=folder)
    assert "Traceback" not in result.text
    return result


@pytest.fixture
def check_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Checker:
    """Run ``watchdog check --json`` against an address within this process, which is quicker; its faults raise."""
    monkeypatch.chdir(tmp_path)

    def run(address: str, *words: str) -> CommandResult:
        started = time.monotonic()
        capsys.readouterr()
        with temporary_settings({PREFECT_API_URL: address}):
            status = app(["check", "--json", *words], exit_on_error=False, result_action="return_value")
        printed = capsys.readouterr()
        return CommandResult(status, printed.out, printed.err, time.monotonic() - started)

    return run


def only_finding(printed: CommandResult) -> dict[str, Any]:
    """The one finding about a server that cannot be used, with everything around it as it should be."""
    assert printed.stderr == ""
    assert printed.status == 2
    report = printed.report
    assert report["status"] == "critical"
    assert report["coverage"]["complete"] is False
    missing = {line.partition(":")[0] for line in report["coverage"]["missing"]}
    assert missing == {"server", *ALWAYS_QUERIED}
    [finding] = report["findings"]
    assert (finding["check"], finding["severity"]) == ("server", "critical")
    cause = {"kind": "server", "name": "prefect", "reason": "unreachable", "flow_run_ids": [], "path": []}
    assert finding["cause"] == cause
    assert "\n" not in finding["observed"]
    return dict(finding)


# --- a server that cannot be used --------------------------------------------------------------------


def test_no_server_at_the_address(check_here: Checker) -> None:
    address = f"http://127.0.0.1:{free_port()}/api"
    finding = only_finding(check_here(address))
    assert address in finding["observed"]
    assert "is the server running, and PREFECT_API_URL right?" in finding["observed"]


def test_no_server_for_somebody_at_a_terminal(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}/api"
    printed = check(address, tmp_path)
    assert (printed.status, printed.stderr) == (2, "")
    assert " ".join(printed.stdout.split()) == (
        f"CRITICAL prefect: no answer from {address} (ConnectError): is the server running, and PREFECT_API_URL right?"
    )


def test_a_host_that_has_no_name(check_here: Checker) -> None:
    finding = only_finding(check_here("http://no-such-host.invalid/api"))
    assert "no-such-host.invalid" in finding["observed"]


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        pytest.param(Response("boom", 500), r"answers 500 to .*: look at the server's log", id="500"),
        pytest.param(Response("busy", 503), r"answers 503 to .*: it is overloaded, limited or restarting", id="503"),
        pytest.param(
            Response("slowly", 429, {"Retry-After": "60"}),
            r"answers 429 to .*: it is overloaded, limited or restarting",
            id="429",
        ),
        pytest.param(
            Response("<html>It works!</html>", 200, content_type="text/html"),
            r"not JSON: is this a Prefect API\? Its address usually ends in /api",
            id="html",
        ),
        pytest.param(Response('{"hello": "world"}', content_type="application/json"), "Prefect API", id="an-object"),
        pytest.param(Response("[[1]]", content_type="application/json"), "Prefect API", id="a-list"),
        pytest.param(Response("", 204), "Prefect API", id="nothing"),
        pytest.param(Response("gone", 404), "Prefect API", id="404"),
    ],
)
def test_a_server_that_only_answers(check_here: Checker, answer: Response, line: str) -> None:
    with stand_in(lambda _: answer) as (address, paths):
        result = check_here(address)
    finding = only_finding(result)
    assert re.search(line, finding["observed"]), finding["observed"]
    assert address in finding["observed"]
    assert result.seconds < NOT_LONG
    # Prefect's own client alone would try each of them six times.
    assert len(paths) <= 6


@pytest.mark.parametrize("configured", [True, False])
def test_the_address_of_the_user_interface(
    prefect_server: Server, world: Seed, check_here: Checker, tmp_path: Path, configured: bool
) -> None:
    """With a configuration at hand the first question is another one."""
    if configured:
        (tmp_path / "watchdog.yaml").touch()
    finding = only_finding(check_here(prefect_server.ui_url))
    assert "usually ends in /api" in finding["observed"]


def test_a_server_that_hangs(check_here: Checker, tmp_path: Path) -> None:
    (tmp_path / "watchdog.yaml").write_text("server: {timeout: 1s}")
    with closing(socket.create_server(("127.0.0.1", 0), backlog=16)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        result = check_here(address)
    finding = only_finding(result)
    assert "ReadTimeout" in finding["observed"]
    assert result.seconds < NOT_LONG


def test_something_that_does_not_speak_http(check_here: Checker) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def greet() -> None:
            for _ in range(3):
                peer, _address = listening.accept()
                with peer:
                    peer.recv(10_000)
                    peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        threading.Thread(target=greet, daemon=True).start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        finding = only_finding(check_here(address))
    assert address in finding["observed"]


def test_a_certificate_that_nobody_has_signed(check_here: Checker, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_self_signed(tmp_path))
    with HTTPServer(host="127.0.0.1", ssl_context=context) as http:
        http.expect_request(re.compile(".*")).respond_with_json({})
        finding = only_finding(check_here(http.url_for("/api")))
    assert "certificate" in finding["observed"]
    assert "PREFECT_API_SSL_CERT_FILE" in finding["observed"]


def _self_signed(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


# --- credentials -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_rejected_once_with_one_line(tmp_path: Path, status: int) -> None:
    with stand_in(lambda _: Response('{"detail": "no"}', status)) as (address, paths):
        result = check(address, tmp_path, PREFECT_API_KEY="pnu_sesame")
    assert (result.status, result.stdout) == (3, "")
    assert result.stderr.count("\n") == 1
    assert f"refuses the credentials in PREFECT_API_KEY ({status}): correct them" in result.stderr
    assert "sesame" not in result.text
    assert len(paths) == 1, "a wrong key that is sent again and again locks an account"


def test_a_password_in_the_address_is_shown_nowhere(
    prefect_server: Server, world: Seed, check_here: Checker, tmp_path: Path
) -> None:
    world.run(world.deployment("etl/nightly"), "FAILED", ended=world.now - HOUR)
    alive = prefect_server.api_url.replace("://", "://admin:s3same@")
    result = check(alive, tmp_path)
    assert (result.status, result.stderr) == (1, "")
    assert f"{prefect_server.ui_url}/runs/flow-run/" in result.stdout
    assert "s3same" not in result.text
    for address, status in (
        (alive, 1),
        (f"http://admin:s3same@127.0.0.1:{free_port()}/api", 2),
        ("htp://admin:s3same@127.0.0.1/api", 3),
        ("admin:s3same@127.0.0.1:4200/api", 3),
        ("http://admin:s3/s@me@127.0.0.1:4200/api", 3),
    ):
        for result in (check_here(address), check_here("", "--target", address)):
            assert result.status == status, result.text
            assert "127.0.0.1" in result.text
            assert "s3" not in result.text


# --- a server that fails in the middle ---------------------------------------------------------------


def test_a_page_that_fails_half_way_keeps_what_was_read(prefect_server: Server, world: Seed) -> None:
    deployment = world.deployment("etl/nightly")
    world.many(Run(deployment=deployment, state="FAILED", ended=world.now - HOUR, history=()) for _ in range(450))
    good = assess_server(world.now).assessment
    policies = Policies(Config())
    incidents = advance(Incidents(), (), good.findings, good.observation, good.ledger, policies, True).incidents
    assert len(incidents.open) == 1

    def fail(request: ApiRequest) -> Response | None:
        second = request.path == RUNS and "end_time" in request.body["flow_runs"] and request.body.get("offset", 0) > 0
        return Response("boom", 500) if second else None

    with relayed(prefect_server.ui_url) as relay:
        relay.answer = fail
        seen = assess_server(world.now, at=relay.url, failed={"critical_after": 1_000})
    assert (seen.status, seen.missing) == ("unknown", {"ended-runs": "partial"})
    assert 0 < seen.found["failed", "etl/nightly"].flow_run_count < 450
    assert seen.assessment.ledger.cursor is None, "what was not read must be read by the next check"

    # Nothing that was not seen is over.
    healthy = seen.assessment
    moved = advance(incidents, (), [], healthy.observation, healthy.ledger, policies, healthy.report.coverage.complete)
    assert moved.transitions == ()
    assert moved.open.keys() == incidents.open.keys()


def test_a_query_that_fails_is_named_and_the_rest_is_judged(
    prefect_server: Server, world: Seed, tmp_path: Path
) -> None:
    world.run(world.deployment("etl/nightly"), "FAILED", ended=world.now - HOUR)
    with relayed(prefect_server.ui_url) as relay:
        relay.answer = lambda request: Response("boom", 500) if request.path == "/work_pools/filter" else None
        result = check(relay.url, tmp_path)
    assert result.status == 3
    assert result.stdout.startswith("UNKNOWN prefect")
    assert "etl/nightly" in result.stdout
    assert re.search(r"work-pools .* answers 500", result.stdout)


def test_a_server_that_dies_in_the_middle(prefect_server: Server, world: Seed) -> None:
    world.run(world.deployment("etl/nightly"), "FAILED", ended=world.now - HOUR)
    with relayed(prefect_server.ui_url) as relay:
        relay.after = lambda request, _: relay.die() if request.path == "/events/count-by/resource" else None
        started = time.monotonic()
        seen = assess_server(world.now, at=relay.url)
    assert time.monotonic() - started < NOT_LONG
    assert seen.status == "unknown"
    assert set(seen.missing) >= {"child-runs", "work-pools", "work-queues"}
    assert ("failed", "etl/nightly") in seen.found


def test_a_server_that_hangs_in_the_middle_is_waited_for_once(prefect_server: Server, world: Seed) -> None:
    world.run(world.deployment("etl/nightly"), "Late", due=world.now - HOUR)
    done = threading.Event()

    def hang(request: ApiRequest) -> Response | None:
        if request.path == "/deployments/filter":
            done.wait(60)
        return None

    with relayed(prefect_server.ui_url) as relay:
        relay.answer = hang
        seen = assess_server(world.now, at=relay.url, server={"timeout": "3s", "attempts": 1})
        assert relay.paths()[-1] == "/deployments/filter", "no request follows"
        done.set()
    assert seen.status == "unknown"
    assert set(seen.missing) >= {"deployments", "work-pools", "work-queues"}


def test_a_server_that_is_too_busy_for_everything_but_the_first_word(prefect_server: Server, world: Seed) -> None:
    with relayed(prefect_server.ui_url) as relay:
        relay.answer = lambda request: Response("busy", 503) if request.method == "POST" else None
        started = time.monotonic()
        seen = assess_server(world.now, at=relay.url)
    assert time.monotonic() - started < NOT_LONG
    assert seen.status == "unknown"
    assert set(seen.missing) >= set(ALWAYS_QUERIED)


#: Answers of another shape, and how far they go as lists of flow runs.
_SHAPES = {
    '[{"id": "1"}]': "partial",
    '[{"name": "x"}]': "failed",
    '{"rows": []}': "failed",
    "17": "failed",
    "<html>": "failed",
}


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (RUNS, "active-runs"),
        ("/flows/filter", "flows"),
        ("/deployments/filter", "deployments"),
        ("/work_pools/filter", "work-pools"),
        ("/work_queues/filter", "work-queues"),
        ("/events/count-by/resource", "heartbeats"),
    ],
)
def test_an_answer_of_another_shape_is_no_answer(prefect_server: Server, world: Seed, path: str, query: str) -> None:
    for shape, outcome in _SHAPES.items():
        with relayed(prefect_server.ui_url) as relay:
            relay.answer = partial(_answered, path, shape)
            seen = assess_server(world.now, at=relay.url)
        assert seen.status == "unknown", shape
        assert query in seen.missing, shape
        assert path != RUNS or seen.missing[query] == outcome, shape


def _answered(path: str, shape: str, request: ApiRequest) -> Response | None:
    return Response(shape) if request.path == path else None


# --- tries -------------------------------------------------------------------------------------------


def test_a_request_is_tried_again_as_often_as_configured_and_no_more(prefect_server: Server, world: Seed) -> None:
    """Prefect's own client would try six times behind our back, and sleep as long as Retry-After says."""
    for attempts in (1, 2):
        with stand_in(lambda _: Response("busy", 503, {"Retry-After": "1"})) as (address, paths):
            seen = assess_server(world.now, at=address, server={"attempts": attempts})
        assert seen.status == "critical"
        assert paths == ["/api/ready"] * attempts


def test_a_connection_that_is_cut_is_tried_again_as_often_as_configured_and_no_more() -> None:
    accepted = 0
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def cut() -> None:
            nonlocal accepted
            while True:
                try:
                    peer, _address = listening.accept()
                except OSError:
                    return
                accepted += 1
                with peer:
                    peer.recv(10_000)

        thread = threading.Thread(target=cut)
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        seen = assess_server(datetime.now(timezone.utc), at=address, server={"attempts": 2})
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=10)
    assert seen.status == "critical"
    assert accepted == 2


def test_a_server_that_is_busy_for_a_short_time_is_waited_for(prefect_server: Server, world: Seed) -> None:
    busy = iter([503, 429, 502])

    def moment(request: ApiRequest) -> Response | None:
        status = next(busy, None) if request.path == RUNS else None
        return Response("busy", status, {"Retry-After": "0.1"}) if status else None

    with relayed(prefect_server.ui_url) as relay:
        relay.answer = moment
        seen = assess_server(world.now, at=relay.url, server={"attempts": 4})
    assert (seen.status, seen.missing) == ("ok", {})
