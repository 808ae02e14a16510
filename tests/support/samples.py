"""Reports to render: a healthy server, a bad one, one that cannot be reached, one that was half seen."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from urllib.parse import quote

from monitoring.model.coverage import Coverage, Query
from monitoring.model.finding import Cause, CheckName, Finding, Severity, Subject, fingerprint
from monitoring.model.incident import Incident
from monitoring.model.observation import ServerState
from monitoring.model.report import Basis, DigestReport, HealthReport, Mark, Totals, ordered, status_of
from monitoring.model.silence import Silence

NOW = datetime(2026, 3, 10, 7, 0, tzinfo=timezone.utc)
UI = "https://prefect.example.com"
SERVER = ServerState(api_url=f"{UI}/api", ui_url=UI, version="3.8.8")
QUERIES = ("deployments", "active-runs", "ended-runs", "work-pools", "heartbeats", "state")
SEEN = Coverage(queries=tuple(Query(name=name, outcome="complete") for name in QUERIES))

CHECKS: tuple[CheckName, ...] = ("failed", "crashed", "late", "stuck", "zombie", "slow", "stale")

#: What somebody may call a flow who wants the watchdog to say something else.
HOSTILE = "<!channel> | `rm -rf` [click](https://evil.example) *b* <b>x</b> ![i](https://evil.example/i.png)"


def finding(
    check: CheckName,
    name: str,
    *,
    severity: Severity = "warning",
    summary: str = "",
    observed: str = "1 run",
    expected: str = "none",
    ago: timedelta = timedelta(hours=3),
    runs: int = 1,
    cause: Cause | None = None,
    symptom_of: str | None = None,
    owner: str | None = None,
    unknown: bool = False,
    evidence: tuple[str, ...] = (),
) -> Finding:
    """Make a finding about a deployment."""
    return Finding(
        fingerprint=fingerprint("prod", check, "deployment", f"id-{name}"),
        check=check,
        severity=severity,
        subject=Subject(kind="deployment", id=f"id-{name}", name=name),
        flow=name.partition("/")[0],
        deployment=name,
        flow_run_ids=tuple(f"run-{number}" for number in range(min(runs, 3))),
        flow_run_count=runs,
        summary=f"{name}: {summary or check}",
        observed=observed,
        expected=expected,
        since=NOW - ago,
        url=f"{UI}/deployments/deployment/{quote(name, safe='')}",
        cause=cause,
        symptom_of=symptom_of,
        owner=owner,
        unknown=unknown,
        evidence=evidence,
    )


def silence(name: str = "S-3", **fields: object) -> Silence:
    """Make a silence that holds for three more hours."""
    values: dict[str, object] = {
        "id": name,
        "deployment": "etl/*",
        "starts_at": NOW - timedelta(hours=1),
        "ends_at": NOW + timedelta(hours=3),
        "author": "ana",
        "reason": "the source is being moved",
    }
    return Silence.model_validate({**values, **fields})


def report(*findings: Finding, coverage: Coverage = SEEN, server: ServerState = SERVER) -> HealthReport:
    """Make a report of findings."""
    rows = ordered(findings)
    return HealthReport(
        target="prod",
        at=NOW,
        status=status_of(rows, coverage),
        server=server,
        coverage=coverage,
        since=NOW - timedelta(hours=24),
        deployments=42,
        active_runs=7,
        ended_runs=1_234,
        findings=rows,
    )


def healthy() -> HealthReport:
    """Nothing is wrong."""
    return report()


def bad() -> HealthReport:
    """Many things are, with causes, symptoms and a hostile name."""
    failed = finding(
        "failed",
        "etl/nightly",
        severity="critical",
        summary="failed 3 times in a row",
        observed="3 runs in a row failed; the last: ValueError: no rows in orders_2026_03_09",
        expected="the latest ended run completes",
        runs=3,
        cause=Cause(kind="flow-run", name="load-orders", reason="failed", path=("etl/nightly", "load-orders", "read")),
        owner="data",
        evidence=(
            "Traceback (most recent call last):",
            '  File "etl.py", line 12, in read',
            '    raise ValueError(f"no rows in {table}")',
            "ValueError: no rows in orders_2026_03_09",
        ),
    )
    pool = Cause(kind="work-pool", name="k8s", reason="no-live-worker")
    known = {failed.fingerprint: "W-12", fingerprint("prod", "stale", "deployment", "id-etl/nightly"): "W-13"}
    late = finding(
        "late",
        "reports/daily",
        severity="critical",
        summary="2 runs are late, the first was due at 2026-03-10 03:00 UTC",
        observed="2 runs due and not started, the first since 4 h",
        expected="a start within 15 min",
        ago=timedelta(hours=4),
        runs=2,
        cause=pool,
    )
    shown = report(
        failed,
        finding(
            "stale",
            "etl/nightly",
            severity="critical",
            summary="no success for 3 d",
            observed="last success 3 d ago",
            expected="a success within 1 d 30 min",
            ago=timedelta(days=3),
            runs=0,
            symptom_of=failed.fingerprint,
        ),
        late,
        finding("late", "reports/hourly", observed="1 run due for 20 min", cause=pool, symptom_of=late.fingerprint),
        finding(
            "crashed",
            f"ml/{HOSTILE}",
            summary=f"crashed in {HOSTILE}",
            observed="1 run crashed",
            owner=HOSTILE,
            evidence=("````", f"~~~ {HOSTILE} </details>", "\x1b[2Jgone"),
        ),
        finding("stale", "crm/sync", severity="critical", observed="last success 2 d ago", expected="one within 2 h"),
        finding("slow", "ml/train", observed="running for 5 h", expected="at most 2 h"),
        scheduler_finding(),
        finding(
            "slow",
            "crm/export",
            severity="info",
            summary="its latest run took 9 min, usually 4 min",
            observed="9 min",
            owner="sales",
            evidence=("median 4 min in January, 9 min in February",),
        ),
        finding("paused", "old/import", severity="info", summary="paused for 20 d", observed="paused", runs=0),
        finding(
            "zombie",
            "ml/score",
            severity="info",
            summary="never sent a heartbeat: dead or alive is unknown",
            unknown=True,
        ),
    )
    silences = (
        silence(),
        silence("S-4", tag=HOSTILE, deployment=None, author=HOSTILE, reason=HOSTILE),
        silence("", deployment=None, pool="k8s", check="late", author="maintenance", reason="nightly backup"),
    )
    marks = {failed.fingerprint: Mark(acknowledged_by=f"ana {HOSTILE}", silence=silences[0])}
    basis = Basis(use="used", checked_at=NOW - timedelta(minutes=4))
    return shown.model_copy(update={"incidents": known, "silences": silences, "marks": marks, "basis": basis})


def scheduler_finding() -> Finding:
    """What is found when nothing is scheduled any more."""
    return Finding(
        fingerprint=fingerprint("prod", "server", "scheduler", "prod"),
        check="server",
        severity="critical",
        subject=Subject(kind="scheduler", id="prod", name="prod"),
        summary="prod: its scheduler creates no runs: 12 deployments will not run",
        observed="12 deployments with active schedules and nothing scheduled ahead",
        expected="runs scheduled ahead for every active schedule, by the server's own service",
        since=NOW - timedelta(minutes=40),
        url=UI,
        cause=Cause(kind="scheduler", name="prod", reason="not-scheduling"),
        evidence=("Only the server's log says why: look there for errors of its scheduler.",),
    )


def unreachable() -> HealthReport:
    """The server does not answer."""
    down = Finding(
        fingerprint=fingerprint("prod", "server", "server", "prod"),
        check="server",
        severity="critical",
        subject=Subject(kind="server", id="prod", name="prod"),
        summary="the Prefect API cannot be reached",
        observed="connection refused",
        expected="an answer within 15 s",
        since=NOW,
        url=f"{UI}/api",
        cause=Cause(kind="server", name="prod", reason="unreachable"),
    )
    nothing = Coverage(queries=tuple(Query(name=name, outcome="failed", detail="unreachable") for name in QUERIES))
    empty = report(down, coverage=nothing, server=ServerState(api_url=f"{UI}/api", problem="connection refused"))
    return empty.model_copy(update={"deployments": 0, "active_runs": 0, "ended_runs": 0})


def incomplete() -> HealthReport:
    """A part could not be seen, and in the rest nothing is wrong."""
    return report(
        coverage=Coverage(
            queries=(
                *SEEN.queries[:2],
                Query(name="ended-runs", outcome="partial", detail="page 3 of 9 was answered with status 500"),
                Query(name="work-pools", outcome="failed"),
            )
        )
    )


def totals(day: int, completed: int = 0, failed: int = 0, crashed: int = 0, cancelled: int = 0) -> Totals:
    """Make the counts of one day of the month, in Berlin."""
    start = datetime(2026, 3, day, tzinfo=timezone.utc) - timedelta(hours=1)
    return Totals(
        start=start,
        end=min(start + timedelta(days=1), NOW),
        completed=completed,
        failed=failed,
        crashed=crashed,
        cancelled=cancelled,
    )


def digest(health: HealthReport) -> DigestReport:
    """Make the digest of a morning."""
    gone = finding("failed", "web/scrape", observed="1 run failed", ago=timedelta(hours=20))
    return DigestReport(
        health=health,
        time_zone="Europe/Berlin",
        day=NOW.date(),
        today=totals(10, completed=61, failed=1),
        yesterday=totals(9, completed=1_190, failed=31, crashed=3, cancelled=10),
        day_before=totals(8, completed=1_200, failed=12),
        resolved=(
            Incident(
                finding=gone,
                number=11,
                opened_at=NOW - timedelta(hours=20, minutes=-4),
                fired_at=NOW - timedelta(hours=20, minutes=-4),
                resolved_at=NOW - timedelta(hours=9),
                resolution="succeeded",
            ),
        ),
    )


def unknown_digest(health: HealthReport) -> DigestReport:
    """Make the digest of a morning on which nothing could be counted."""
    return DigestReport(health=health, time_zone="UTC", day=NOW.date())


def crowd(number: int) -> HealthReport:
    """Make a report of many findings, every second one a symptom, with long and hostile names and messages."""
    heads = [
        finding(
            check,
            f"flow-{n}/{HOSTILE}",
            severity="critical",
            summary="&<>" * 200,
            observed="x" * 5_000,
            owner="&" * 80,
            evidence=("&`" * 5_000,) * 30,
        )
        for n in range(number // 2)
        for check in (CHECKS[n % len(CHECKS)],)
    ]
    under = [finding("stale", f"sub-{n}/x", symptom_of=heads[n % 7].fingerprint) for n in range(number // 2)]
    under += [finding("paused", f"idle-{n}/{HOSTILE}", severity="info", owner="&" * 80) for n in range(100)]
    missing = tuple(Query(name=f"query-{n}", outcome="failed", detail="&" * 500) for n in range(100))
    silences = tuple(silence(f"S-{n}", tag="&" * 200, reason="&" * 500, author="&" * 100) for n in range(100))
    shown = report(*heads, *under, coverage=Coverage(queries=missing))
    known = {finding.fingerprint: f"W-{n}" for n, finding in enumerate(heads, start=1_000)}
    return shown.model_copy(update={"incidents": known, "silences": silences})
