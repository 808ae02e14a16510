"""Every metric of the watchdog's own. Names, labels and meanings are a contract: see docs/metrics.md."""

from __future__ import annotations

from monitoring.history.counts import RUN_TIME_BUCKETS
from monitoring.metrics.snapshot import Kind, Metric

PREFIX = "prefect_watchdog_"
#: The label that every sample has besides those of its metric: the monitored server's configured name.
TARGET = "target"


def _metric(name: str, kind: Kind, help_: str, *labels: str, buckets: tuple[float, ...] = ()) -> Metric:
    return Metric(name=f"{PREFIX}{name}", kind=kind, help=help_, labels=labels, buckets=buckets)


INCIDENTS = _metric(
    "incidents",
    "gauge",
    "Incidents that fire, silenced and acknowledged ones included.",
    "check",
    "severity",
    "deployment",
)
LAST_SUCCESS = _metric(
    "deployment_last_success_timestamp_seconds", "gauge", "When a run last completed, in Unix time.", "deployment"
)
RUNS = _metric(
    "deployment_runs",
    "counter",
    "Runs that have ended since the watchdog's first check, by how they ended.",
    "deployment",
    "state",
)
RUN_TIME = _metric(
    "deployment_run_time_seconds",
    "histogram",
    "How long completed runs took, waits and pauses left out.",
    "deployment",
    buckets=RUN_TIME_BUCKETS,
)
USUAL_RUN_TIME = _metric(
    "deployment_usual_run_time_seconds", "gauge", "The median run time of newest completed runs.", "deployment"
)
RUN_TIME_LIMIT = _metric(
    "deployment_run_time_limit_seconds", "gauge", "The run time beyond which a run is found to be slow.", "deployment"
)
LATENESS = _metric(
    "deployment_lateness_seconds",
    "gauge",
    "How long ago the oldest run was due that has not started; 0 where none is overdue.",
    "deployment",
)
LIVE_WORKERS = _metric("work_pool_live_workers", "gauge", "Workers that send heartbeats.", "work_pool")
POOL_PAUSED = _metric("work_pool_paused", "gauge", "1 where the work pool is paused, 0 where it is not.", "work_pool")
BACKLOG = _metric("work_pool_backlog_runs", "gauge", "Runs that are due and have not started.", "work_pool")
OLDEST_DUE = _metric(
    "work_pool_oldest_due_timestamp_seconds",
    "gauge",
    "When the oldest run was due that has not started, in Unix time; absent where none is overdue.",
    "work_pool",
)
LIMIT_SLOTS = _metric("limit_slots", "gauge", "Slots that a concurrency limit has.", "kind", "limit")
LIMIT_SLOTS_USED = _metric("limit_slots_used", "gauge", "Slots of a concurrency limit that are taken.", "kind", "limit")
LIMIT_WAITING = _metric(
    "limit_waiting_runs", "gauge", "Runs that are seen to wait for a slot of a full limit.", "kind", "limit"
)
SERVER_UP = _metric("server_up", "gauge", "1 where the Prefect server answers, 0 where it does not.")
SERVER_ANSWER = _metric("server_answer_seconds", "gauge", "Median time of the server's answers to the last check.")
SCHEDULER_AGE = _metric(
    "server_scheduler_age_seconds",
    "gauge",
    "How long ago the server's scheduler made the newest run that it has planned of the watchdog's own.",
)
LAST_CHECK = _metric(
    "last_check_timestamp_seconds", "gauge", "When the last check looked, in Unix time: all else is as of then."
)
LAST_COMPLETE_CHECK = _metric(
    "last_complete_check_timestamp_seconds",
    "gauge",
    "When a check last saw everything that it asked for, in Unix time.",
)
CHECK_DURATION = _metric("check_duration_seconds", "gauge", "How long the last check took until it measured this.")
CHECK_REQUESTS = _metric(
    "check_requests", "gauge", "Requests that the last check sent to the Prefect server until it measured this."
)
CHECK_QUERIES = _metric("check_queries", "gauge", "Queries of the last check by how far they were answered.", "outcome")
ALERTS_SENT = _metric("alerts_sent", "counter", "Messages that were posted, edited or replied.", "route")
ALERT_FAILURES = _metric("alert_failures", "counter", "Tries to deliver a message that failed.", "route")
SERIES_DROPPED = _metric(
    "series_dropped",
    "gauge",
    "Series left out of the metric so named, as there are more than `metrics.most_series`.",
    "metric",
)

METRICS: tuple[Metric, ...] = (
    INCIDENTS,
    LAST_SUCCESS,
    RUNS,
    RUN_TIME,
    USUAL_RUN_TIME,
    RUN_TIME_LIMIT,
    LATENESS,
    LIVE_WORKERS,
    POOL_PAUSED,
    BACKLOG,
    OLDEST_DUE,
    LIMIT_SLOTS,
    LIMIT_SLOTS_USED,
    LIMIT_WAITING,
    SERVER_UP,
    SERVER_ANSWER,
    SCHEDULER_AGE,
    LAST_CHECK,
    LAST_COMPLETE_CHECK,
    CHECK_DURATION,
    CHECK_REQUESTS,
    CHECK_QUERIES,
    ALERTS_SENT,
    ALERT_FAILURES,
    SERIES_DROPPED,
)
BY_NAME = {metric.name: metric for metric in METRICS}
