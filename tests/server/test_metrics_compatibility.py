"""The metrics of Prefect's own exporter, on real servers: the same series as it gives, and what of failures and limits.

What the exporter gives is recorded, as it is in no package index: see ``tests/support/peer.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from prefect.server.schemas.states import StateType
from prometheus_client.openmetrics import parser
from werkzeug import Response

from demo.stack import Server
from monitoring.adapters.prefect.client.api import Traffic, open_api
from monitoring.adapters.prefect.read import compatible as collecting
from monitoring.adapters.prefect.read.reader import ServerReader
from monitoring.config.policy import Policies
from monitoring.config.settings import Config
from monitoring.metrics.compatible import MAX_LATE_RUNS, MAX_SINCE_POLLED, METRICS, QUERIES, compatible
from monitoring.metrics.openmetrics import openmetrics
from monitoring.model.exporter_facts import (
    DEPLOYMENTS,
    ENDED,
    FAILED,
    FLOWS,
    LATE,
    ONGOING,
    POOLS,
    QUEUES,
    STARTED,
    ExporterFacts,
)
from monitoring.model.ledger import Ledger
from monitoring.model.target import Target
from monitoring.text.redaction import Redactor
from tests.conftest import ServerFactory
from tests.support.noise import noise
from tests.support.peer import (
    STILL,
    Series,
    collected,
    differences,
    exposed,
    measured,
    plant,
    recorded,
    series,
    series_of,
    settings,
)
from tests.support.relay import ApiRequest, relayed
from tests.support.seed_values import HOUR, MINUTE, Run
from tests.support.seeding import Seed
from tests.support.servers import connected, start_server

RUNS, COUNT = "/flow_runs/filter", "/flow_runs/count"


def scrape(now: datetime, at: str | None = None, **compatibility: Any) -> tuple[Series, dict[str, str], Traffic]:
    """Our series as a parser reads them, what is missing by the query's name, and the cost."""
    config = settings(**compatibility)
    # In front of a relay an answer that is refused is refused again.
    server = config.server.model_copy(update={"attempts": 1}) if at else config.server
    with open_api(server, Target(address=at)) as api:
        facts = collected(api, config, now)
        return (
            series(exposed(measured(facts, config, now))),
            {query.name: query.detail for query in facts.coverage.missing},
            api.traffic,
        )


def checked(config: Config, now: datetime, at: str | None = None) -> ExporterFacts:
    """What a check collects beside its own queries."""
    redact = Redactor(config.redact.patterns).redact
    with open_api(config.server, Target(address=at)) as api:
        facts = ServerReader(api, config, redact, for_exporter=True).observe(now, Ledger(), Policies(config)).exporter
    assert facts
    return facts


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Seed]]:
    """A server with the world that the exporter's series were recorded of; nothing there changes by itself."""
    server = start_server(tmp_path_factory.mktemp("known"), env=STILL)
    seed = Seed(server.database_url)
    plant(server, seed)
    with connected(server):
        yield server, seed
    server.stop()


# --- the same ----------------------------------------------------------------------------------------


def test_every_series_is_as_the_exporter_gives_it(known: tuple[Server, Seed]) -> None:
    _, seed = known
    ours, missing, _ = scrape(seed.now)
    assert missing == {}
    assert differences(ours, recorded()) == []
    assert len(ours) == 14


def test_a_scraper_that_requests_openmetrics_gets_the_same(known: tuple[Server, Seed]) -> None:
    _, seed = known
    config = settings()
    with open_api(config.server) as api:
        snapshot = measured(collected(api, config, seed.now), config, seed.now)
    page = openmetrics(snapshot, definitions=METRICS).decode()
    families = parser.text_string_to_metric_families(page)  # type: ignore[no-untyped-call]
    assert series_of(families) == series(exposed(snapshot))


def test_deployments_that_a_check_has_read_are_not_read_again(known: tuple[Server, Seed]) -> None:
    server, seed = known
    config = settings()
    with relayed(server.ui_url) as relay:
        facts = checked(config, seed.now, at=relay.url)
    assert relay.paths().count("/deployments/filter") == 1
    assert facts.coverage.missing == ()
    assert differences(series(exposed(measured(facts, config, seed.now))), recorded()) == []


def test_a_check_keeps_nothing_for_metrics_that_nobody_wants(known: tuple[Server, Seed]) -> None:
    _, seed = known
    config = Config()
    with open_api(config.server) as api:
        observation = ServerReader(api, config, Redactor().redact).observe(seed.now, Ledger(), Policies(config))
    assert observation.exporter is None


def test_pages_that_are_small_and_a_busier_database_change_nothing(fresh_server: ServerFactory) -> None:
    server = fresh_server({**STILL, "PREFECT_SERVER_API_DEFAULT_LIMIT": "3"}, database="postgresql")
    seed = Seed(server.database_url)
    plant(server, seed)
    with connected(server):
        ours, missing, _ = scrape(seed.now)
    assert missing == {}
    assert differences(ours, recorded()) == []


def test_late_runs_and_health_of_each_queue_are_as_the_server_itself_says(known: tuple[Server, Seed]) -> None:
    server, seed = known
    ours, _, _ = scrape(seed.now)
    found = {
        (labels["work_pool_name"], labels["work_queue_name"]): (labels["healthy"], value)
        for labels, value in ((dict(key), value) for key, value in ours["prefect_work_queues_late_runs_count"].items())
    }
    queues = server.request("POST", "/work_queues/filter", {})
    assert {(queue["work_pool_name"], queue["name"]) for queue in queues} == found.keys()
    for queue in queues:
        status = server.request("GET", f"/work_queues/{queue['id']}/status")
        policy = status["health_check_policy"]
        assert policy["maximum_late_runs"] == MAX_LATE_RUNS
        assert policy["maximum_seconds_since_last_polled"] == MAX_SINCE_POLLED.total_seconds()
        healthy, late = found[queue["work_pool_name"], queue["name"]]
        assert late == status["late_runs_count"]
        # It was polled when the world was made, and has not been since.
        assert healthy == str(queue["name"] == "polled")


# --- what it costs -----------------------------------------------------------------------------------


def test_more_queues_deployments_and_runs_of_long_ago_cost_no_more_requests(prefect_server: Server, seed: Seed) -> None:
    noise(seed)
    _, _, before = scrape(seed.now)
    with seed.together():
        pools = [seed.pool(f"pool-{n}") for n in range(40)]
        deployments = [seed.deployment(f"flow-{n}/prod", pool=pool) for n, pool in enumerate(pools)]
        seed.many(Run(deployment=deployment, ended=seed.now - 400 * HOUR, history=()) for deployment in deployments)
    ours, missing, after = scrape(seed.now)
    assert missing == {}
    assert ours["prefect_work_queues_total"] == {frozenset(): 42.0}
    assert after.requests <= before.requests < 20


# --- what is not seen whole --------------------------------------------------------------------------


def with_filter(path: str, text: str = "") -> Any:
    return lambda request: request.path == path and text in str(request.body)


@pytest.mark.parametrize(
    ("query", "asked_for", "gone"),
    [
        (FLOWS, with_filter("/flows/filter"), 7),
        (STARTED, with_filter(COUNT, "COMPLETED"), 1),
        (STARTED, with_filter(RUNS, "COMPLETED"), 1),
        (ENDED, with_filter(RUNS, "END_TIME_DESC"), 2),
        (ONGOING, with_filter(RUNS, "is_null_': True"), 1),
        (FAILED, with_filter(RUNS, "deployment_id"), 1),
        (FAILED, with_filter(COUNT, "deployment_id"), 1),
        (POOLS, with_filter("/work_pools/filter"), 2),
        (QUEUES, with_filter("/work_queues/filter"), 3),
        (LATE, with_filter(COUNT, "Late"), 2),
    ],
)
def test_the_metrics_of_a_query_without_an_answer_are_left_out_and_the_rest_is_there(
    known: tuple[Server, Seed], query: str, asked_for: Any, gone: int
) -> None:
    server, seed = known
    with relayed(server.ui_url) as relay:
        relay.answer = lambda request: Response("boom", 500) if asked_for(request) else None
        ours, missing, _ = scrape(seed.now, at=relay.url)
    assert missing.keys() == {query}
    assert "500" in missing[query]
    left = {name: values for name, values in recorded().items() if name in ours}
    assert len(left) == len(recorded()) - gone
    assert differences(ours, left) == []


@pytest.mark.parametrize("page", [0, 1])
def test_without_all_deployments_none_are_counted_and_no_run_is_said_to_have_none(
    known: tuple[Server, Seed], page: int
) -> None:
    server, seed = known
    config = settings()
    config = config.model_copy(update={"server": config.server.model_copy(update={"attempts": 1, "page_size": 5})})

    def fail(request: ApiRequest) -> Response | None:
        fails = request.path == "/deployments/filter" and (request.body.get("offset", 0) > 0) == (page > 0)
        return Response("boom", 500) if fails else None

    with relayed(server.ui_url) as relay:
        relay.answer = fail
        facts = checked(config, seed.now, at=relay.url)
    assert [(query.name, query.outcome) for query in facts.coverage.missing] == [(DEPLOYMENTS, "failed")]
    ours = series(exposed(measured(facts, config, seed.now)))
    left = {name: values for name, values in recorded().items() if name in ours}
    assert len(left) == len(recorded()) - 5
    assert differences(ours, left) == []


def test_a_page_that_fails_half_way_gives_no_smaller_number(prefect_server: Server, seed: Seed) -> None:
    noise(seed)
    deployment = seed.deployment("etl/nightly")
    seed.many(Run(deployment=deployment, ended=seed.now - MINUTE, history=()) for _ in range(450))

    def fail(request: ApiRequest) -> Response | None:
        second = request.path == RUNS and "end_time" in request.body["flow_runs"] and request.body.get("offset", 0) > 0
        return Response("boom", 500) if second else None

    with relayed(prefect_server.ui_url) as relay:
        relay.answer = fail
        ours, missing, _ = scrape(seed.now, at=relay.url)
    assert ENDED in missing
    assert not {"prefect_flow_runs_total", "prefect_flow_runs_total_run_time"} & ours.keys()


def test_of_more_runs_than_are_read_there_is_no_number(
    known: tuple[Server, Seed], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, seed = known
    monkeypatch.setattr(collecting, "MAX_RUNS", 1)
    ours, missing, _ = scrape(seed.now)
    assert missing.keys() == {STARTED, ENDED, ONGOING, FAILED, LATE}
    assert "metrics.compatibility.failed_window" in missing[FAILED]
    assert not any(name.startswith(("prefect_flow_runs", "prefect_info_flow_runs")) for name in ours)


def test_a_server_that_is_gone_is_queried_once_and_nothing_is_measured(seed: Seed) -> None:
    ours, missing, traffic = scrape(seed.now, at="http://127.0.0.1:9/api")
    assert ours == {}
    assert missing.keys() == QUERIES
    # One for the deployments, which a check has asked for, and one for all else.
    assert traffic.requests == 2


# --- secrets -----------------------------------------------------------------------------------------


def test_a_secret_that_somebody_wrote_into_a_name_a_tag_or_a_path_does_not_come_out(
    prefect_server: Server, seed: Seed
) -> None:
    pool = seed.queue(seed.pool("pool?token=hunter2pw", status="READY"), "password=hunter2pw", priority=2)
    tags = ["token=xoxb-1234567890-abcdefghij", "api_key: hunter2pw", "mine-4711", "team:a"]
    deployment = seed.deployment("etl --password hunter2pw/daily secret=hunter2pw", pool=pool, tags=tags)
    path = {"path": "https://user:hunter2pw@git.example.com/flows"}
    prefect_server.request("PATCH", f"/deployments/{deployment.id}", path)
    seed.run(deployment, "Refused token=hunter2pw", state_type=StateType.FAILED, ended=seed.now - MINUTE)
    seed.run(deployment, "Late", due=seed.now - MINUTE)
    config = settings()
    config = config.model_copy(update={"redact": config.redact.model_copy(update={"patterns": ("mine-[0-9]+",)})})
    facts = checked(config, seed.now)
    assert facts.coverage.missing == ()
    page = exposed(measured(facts, config, seed.now))
    for secret in ("hunter2pw", "xoxb", "mine-4711"):
        assert secret not in page
        assert secret not in facts.model_dump_json()
    [labels] = [dict(pairs) for pairs in series(page)["prefect_info_deployment"]]
    assert labels["path"] == "https://REDACTED@git.example.com/flows"
    assert labels["tags"] == "REDACTED,api_key: REDACTED,team:a,token=REDACTED"
    assert labels["flow_name"] == "etl --password REDACTED"
    assert labels["deployment_name"] == "daily secret=REDACTED"
    assert labels["work_pool_name"] == "pool?token=REDACTED"
    assert labels["work_queue_name"] == "password=REDACTED"
    # What belongs together still does.
    late = {
        dict(labels)["work_queue_name"]: value
        for labels, value in series(page)["prefect_work_queues_late_runs_count"].items()
    }
    assert late == {"default": 0, "password=REDACTED": 1}


# --- limits ------------------------------------------------------------------------------------------


def test_the_windows_and_how_many_failed_runs_are_named_are_those_of_the_configuration(
    prefect_server: Server, seed: Seed
) -> None:
    deployment = seed.deployment("etl/nightly")
    seed.many(
        Run(deployment=deployment, state="FAILED", started=seed.now - n * HOUR - MINUTE, ended=seed.now - n * HOUR)
        for n in range(30)
    )

    def of(metric: str, **compatibility: Any) -> float:
        ours, missing, _ = scrape(seed.now, **compatibility)
        assert missing == {}
        return sum(ours[metric].values())

    assert of("prefect_flow_runs_total", window="5m") == 1
    assert of("prefect_flow_runs_total", window="210m") == 4
    assert of("prefect_deployment_failed_flow_runs", failed_runs=20) == 20
    assert of("prefect_deployment_failed_flow_runs", failed_runs=20, failed_window="150m") == 3


def test_of_very_many_runs_that_go_on_so_many_series_are_kept(prefect_server: Server, seed: Seed) -> None:
    deployment = seed.deployment("etl/nightly")
    seed.many(Run(deployment=deployment, state="RUNNING", started=seed.now - MINUTE) for _ in range(30))
    config = settings(most_series=10)
    with open_api(config.server) as api:
        found = compatible(collected(api, config, seed.now), config.metrics.compatibility, seed.now)
    assert len(found["prefect_flow_runs_ongoing_run_time"]) == 10
    assert [(sample.labels, sample.value) for sample in found["prefect_watchdog_series_dropped"]] == [
        (("prefect_flow_runs_ongoing_run_time",), 20.0)
    ]
