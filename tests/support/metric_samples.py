"""What checks have measured, for the tests of how it gets out."""

from __future__ import annotations

from monitoring.history.counts import RUN_TIME_BUCKETS
from monitoring.metrics import catalog
from monitoring.metrics.snapshot import Distribution, Metric, Sample, Snapshot
from tests.support.builders import NOW

#: Names that somebody gave to a deployment to see what happens.
HOSTILE = (
    'etl/"nightly"',
    "etl/back\\slash\\n",
    "etl/two\nlines\r\n# TYPE x gauge\nx 1",
    "etl/nul\0byte",
    "etl/right\u202eto left",
    "etl/\x1b[31mred",
    "etl/zero\u200bwidth",
    'etl/a",deployment="b"} 5\n',
    "etl/a,b|c|#d:e",
    "etl/naïve 🔥 名前",
    "etl/" + "long" * 1_250,
    "etl/" + "long" * 1_250 + "er",
    "   ",
    ":",
    "~",
    "{}",
)
ANOTHERS = Metric(name="prefect_flow_runs_total", kind="gauge", help="Another exporter's.", labels=("flow_name",))


#: Of each deployment of a ``large`` snapshot, in DogStatsD.
SERIES = 10


def snapshot(**samples: tuple[Sample, ...]) -> Snapshot:
    """A snapshot with these samples, by the metric's name without its prefix."""
    return Snapshot(target="prod", at=NOW, samples={f"{catalog.PREFIX}{name}": of for name, of in samples.items()})


def gauges(*names: str) -> tuple[Sample, ...]:
    """Samples with one label each; their values tell them apart."""
    return tuple(Sample(labels=(name,), value=float(number)) for number, name in enumerate(names))


def run_times(count: int, total: float) -> Distribution:
    """So many runs, none of which took longer than a second."""
    return Distribution(cumulative=(count,) * (len(RUN_TIME_BUCKETS) + 1), sum=total)


def ordinary() -> Snapshot:
    """One deployment that fails at times, one that is late, and a pool."""
    return snapshot(
        incidents=(
            Sample(labels=("failed", "critical", "etl/nightly"), value=1.0),
            Sample(labels=("work-pool", "warning", ""), value=1.0),
        ),
        deployment_last_success_timestamp_seconds=(Sample(labels=("etl/nightly",), value=NOW.timestamp()),),
        deployment_runs=(
            Sample(labels=("etl/nightly", "completed"), value=12.0),
            Sample(labels=("etl/nightly", "failed"), value=3.0),
        ),
        deployment_run_time_seconds=(
            Sample(
                labels=("etl/nightly",),
                value=Distribution(cumulative=(0, 0, 2, 9, 11, 12, 12, 12, 12, 12, 12), sum=1_234.5),
            ),
        ),
        deployment_lateness_seconds=(
            Sample(labels=("etl/nightly",), value=0.0),
            Sample(labels=("ml/train",), value=4_210.25),
        ),
        work_pool_live_workers=(Sample(labels=("default",), value=2.0),),
        server_up=(Sample(value=1.0),),
        last_check_timestamp_seconds=(Sample(value=NOW.timestamp()),),
        alerts_sent=(Sample(labels=("default",), value=7.0),),
    )


def large(deployments: int) -> Snapshot:
    """All that is measured of so many deployments."""
    names = [f"flow-{number % 20}/deployment-{number}" for number in range(deployments)]
    states = ("completed", "failed", "crashed", "cancelled")
    return snapshot(
        deployment_last_success_timestamp_seconds=gauges(*names),
        deployment_runs=tuple(Sample(labels=(name, state), value=9.0) for name in names for state in states),
        deployment_run_time_seconds=tuple(Sample(labels=(name,), value=run_times(9, 4.5)) for name in names),
        deployment_usual_run_time_seconds=gauges(*names),
        deployment_run_time_limit_seconds=gauges(*names),
        deployment_lateness_seconds=gauges(*names),
        server_up=(Sample(value=1.0),),
    )
