"""All metrics of the watchdog itself. Names, labels and meanings are a contract: see docs/metrics.md."""

from __future__ import annotations

from monitoring.history.counts import RUN_TIME_BUCKETS
from monitoring.metrics.snapshot import Kind, Metric

PREFIX = "prefect_watchdog_"
#: The label of every sample besides those of its metric: the monitored server's configured name.
TARGET = "target"


def _metric(name: str, kind: Kind, help_: str, *labels: str, buckets: tuple[float, ...] = ()) -> Metric:
    return Metric(name=f"{PREFIX}{name}", kind=kind, help=help_, labels=labels, buckets=buckets)


INCIDENTS = _metric(
    "incidents",
    "gauge",
    "Firing incidents, including silenced and acknowledged incidents.",
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
    "Runs that have ended since the watchdog's first check, by final state.",
    "deployment",
    "state",
)
RUN_TIME = _metric(
    "deployment_run_time_seconds",
    "histogram",
    "Run time of completed runs, without waits and pauses.",
    "deployment",
    buckets=RUN_TIME_BUCKETS,
)
USUAL_RUN_TIME = _metric(
    "deployment_usual_run_time_seconds", "gauge", "Median run time of the newest completed runs.", "deployment"
)
RUN_TIME_LIMIT = _metric(
    "deployment_run_time_limit_seconds", "gauge", "Run time beyond which a run counts as slow.", "deployment"
)
LATENESS = _metric(
    "deployment_lateness_seconds",
    "gauge",
    "Time since the oldest run that has not started was due; 0 if none is overdue.",
    "deployment",
)
LIVE_WORKERS = _metric("work_pool_live_workers", "gauge", "Workers that send heartbeats.", "work_pool")
POOL_PAUSED = _metric("work_pool_paused", "gauge", "1 if the work pool is paused, 0 if not.", "work_pool")
BACKLOG = _metric("work_pool_backlog_runs", "gauge", "Runs that are due and have not started.", "work_pool")
OLDEST_DUE = _metric(
    "work_pool_oldest_due_timestamp_seconds",
    "gauge",
    "When the oldest run that has not started was due, in Unix time; absent if none is overdue.",
    "work_pool",
)
LIMIT_SLOTS = _metric("limit_slots", "gauge", "Slots of a concurrency limit.", "kind", "limit")
LIMIT_SLOTS_USED = _metric("limit_slots_used", "gauge", "Taken slots of a concurrency limit.", "kind", "limit")
LIMIT_WAITING = _metric(
    "limit_waiting_runs", "gauge", "Runs known to wait for a slot of a full limit.", "kind", "limit"
)
SERVER_UP = _metric("server_up", "gauge", "1 if the Prefect server can be used, 0 if not.")
SERVER_ANSWER = _metric("server_answer_seconds", "gauge", "Median response time of the server during the last check.")
SCHEDULER_AGE = _metric(
    "server_scheduler_age_seconds",
    "gauge",
    "Time since the server's scheduler created the newest planned run of the watchdog itself.",
)
LAST_CHECK = _metric(
    "last_check_timestamp_seconds", "gauge", "Time of the last check, in Unix time; all other metrics are as of then."
)
LAST_COMPLETE_CHECK = _metric(
    "last_complete_check_timestamp_seconds", "gauge", "Time of the last complete check, in Unix time."
)
CHECK_DURATION = _metric("check_duration_seconds", "gauge", "Duration of the last check until it measured this.")
CHECK_REQUESTS = _metric(
    "check_requests", "gauge", "Requests that the last check sent to the Prefect server until it measured this."
)
CHECK_QUERIES = _metric("check_queries", "gauge", "Queries of the last check, by outcome.", "outcome")
ALERTS_SENT = _metric("alerts_sent", "counter", "Messages that were posted or edited, replies included.", "route")
ALERT_FAILURES = _metric("alert_failures", "counter", "Failed tries to deliver a message.", "route")
SERIES_DROPPED = _metric(
    "series_dropped",
    "gauge",
    "Series dropped from this metric because there are more than `metrics.most_series`.",
    "metric",
)

#: All of the above, in that order.
METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
BY_NAME = {metric.name: metric for metric in METRICS}
