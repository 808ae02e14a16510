"""Words that every rendering shares: of findings, reports, incidents and silences. All of it is plain, not escaped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from monitoring.incidents.timing import to_detect, to_resolve, usual
from monitoring.model.finding import Cause, CauseKind, CauseReason, Finding, Status, SubjectKind
from monitoring.model.incident import Closed, Incident
from monitoring.model.message import Level
from monitoring.model.report import Basis, HealthReport, Mark, Totals
from monitoring.model.request import Request
from monitoring.model.silence import Silence
from monitoring.text.durations import humanized

STATUS: dict[Status, str] = {"ok": "OK", "warning": "Warning", "critical": "Critical", "unknown": "Unknown"}

#: Shown in an empty place.
NOTHING = "\u2013"

#: For a glance; never the only sign of anything.
SIGN: dict[Level, str] = {
    "ok": "🟢",
    "warning": "🟡",
    "critical": "🔴",
    "unknown": "⚪",
    "info": "⚪",
    "resolved": "✅",
}

_BECAUSE: dict[CauseReason, str] = {
    "no-live-worker": "{} has no live worker",
    "not-polled": "nothing polls {}",
    "paused": "{} is paused",
    "limit-reached": "the limit of {} is reached",
    "not-scheduling": "{} makes no runs",
    "previous-run-running": "the previous run of {} still runs",
    "failed": "{} failed",
    "unreachable": "{} cannot be reached",
}

_ACTIONS = {"acknowledge": "acknowledges", "close": "closes", "expire": "ends"}


def signed(text: str, level: Level | None) -> str:
    """Put a level's sign before a line."""
    return f"{SIGN[level]} {text}" if level else text


def timestamp(at: datetime) -> str:
    """Write a time for a person: ``2026-01-31 08:00 UTC``."""
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def timestamp_of(at: datetime | None) -> str:
    """Write a time that may be unknown; empty if it is."""
    return timestamp(at) if at else ""


def stamp(at: datetime) -> str:
    """Write a time for a program: ``2026-01-31T08:00:00Z``."""
    return at.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Write a number with what it counts: ``1 run``, ``1,200 runs``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def listed(parts: Sequence[str]) -> str:
    """Write parts in one line: ``a, b and c``."""
    return " and ".join([part for part in (", ".join(parts[:-1]), *parts[-1:]) if part])


def kind_of(kind: SubjectKind | CauseKind) -> str:
    """Name a kind of subjects: ``work pool``."""
    return "metrics exporter" if kind == "metrics-outlet" else kind.replace("-", " ")


def subject(finding: Finding) -> str:
    """Name what a finding is about; a deployment's name speaks for itself, everything else says its kind."""
    kind, name = finding.subject.kind, finding.subject.name
    return name if kind == "deployment" else with_kind(kind, name)


def with_kind(kind: SubjectKind | CauseKind, name: str) -> str:
    """Name a subject with its kind: ``work pool etl``, ``scheduler of prod``."""
    return f"scheduler of {name}" if kind == "scheduler" else f"{kind_of(kind)} {name}"


def summary(finding: Finding) -> str:
    """A finding's summary for a place that names its subject already."""
    return finding.summary.removeprefix(f"{finding.subject.name}: ")


def because(why: Cause) -> str:
    """Write a cause as a clause: ``work pool etl has no live worker``."""
    return _BECAUSE[why.reason].format(with_kind(why.kind, why.name))


def cause(why: Cause) -> str:
    """Write a cause as a clause, with the path that a failure took, if known."""
    return because(why) + (f" ({' > '.join(why.path)})" if why.path else "")


def seen(report: HealthReport) -> str:
    """What was examined, with units and zones."""
    return (
        f"{counted(report.deployments, 'deployment')}, {counted(report.active_runs, 'run')} that had not ended, and "
        f"{counted(report.ended_runs, 'run')} that ended since {timestamp(report.since)}."
    )


def percent(rate: float) -> str:
    """Write a share so that only all is 100 % and only none is 0 %."""
    shown = f"{rate:.1%}"
    if shown == "100.0%" and rate < 1:
        shown = "99.9%"
    elif shown == "0.0%" and rate > 0:
        shown = "0.1%"
    return shown.replace("%", " %")


def success(totals: Totals | None) -> str:
    """Write a period's success rate with the numbers behind it; unknown is not zero, and nothing is not failure."""
    if totals is None:
        return "unknown"
    rate = totals.success_rate
    if rate is None:
        return "no runs ended" if not totals.ended else f"only cancelled runs ({totals.cancelled:,})"
    return f"{percent(rate)} ({totals.completed:,} of {totals.completed + totals.failed + totals.crashed:,} runs)"


def change(later: Totals | None, before: Totals | None) -> str:
    """Compare two periods' success rates in percentage points: ``up 2.5 points``; empty where that cannot be."""
    if later is None or before is None or later.success_rate is None or before.success_rate is None:
        return ""
    points = (later.success_rate - before.success_rate) * 100
    if abs(points) < 0.05:
        return "unchanged"
    return f"{'up' if points > 0 else 'down'} {abs(points):.1f} points"


def standing(incident: Incident, silence: Silence | None) -> str:
    """The status of an incident that a silence matches now, or none: ``firing, acknowledged by ana``."""
    if incident.resolved_at:
        return f"{ended(incident)} {timestamp(incident.resolved_at)} ({resolution(incident)})"
    parts = ["firing" if incident.firing else "pending"]
    parts += ["preexisting"] if incident.preexisting else []
    parts += [f"acknowledged by {incident.acknowledged.by}"] if incident.acknowledged else []
    parts += [_silenced(silence)] if silence else []
    parts += [f"not seen since {timestamp(incident.unseen_since)}"] if incident.unseen_since else []
    return ", ".join(parts)


def level(incident: Incident) -> Level:
    """The level of an incident: an end is good news only if somebody has mended it."""
    if incident.resolved_at is None:
        return incident.finding.severity
    return "info" if incident.unmended else "resolved"


def ended(*incidents: Incident) -> str:
    """How incidents ended: what nobody has mended is not resolved."""
    return "closed" if any(incident.unmended for incident in incidents) else "resolved"


def resolution(incident: Incident) -> str:
    """Why an incident ended, in a word or a few: ``succeeded``, ``paused while failing``."""
    return written(incident.resolution or "cleared")


def written(reason: str) -> str:
    """A reason as text: ``paused while failing``."""
    return reason.replace("-", " ")


def mark(mark: Mark) -> str:
    """Why no notification is sent of a finding: ``acknowledged by ana, silenced by S-3 until 2026-01-31 08:00 UTC``."""
    parts = [_closed(mark.closed)] if mark.closed else []
    parts += [f"acknowledged by {mark.acknowledged_by}"] if mark.acknowledged_by else []
    parts += [_silenced(mark.silence)] if mark.silence else []
    return ", ".join(parts)


def _closed(closed: Closed) -> str:
    return f"closed by {closed.by or 'hand'} at {timestamp(closed.at)}"


def _silenced(silence: Silence) -> str:
    return f"silenced by {silence_name(silence)} until {timestamp(silence.ends_at)}"


def basis(basis: Basis, at: datetime) -> str:
    """Whether a check by hand started from the saved state: ``with the saved state of the check 4 min ago, ...``."""
    if basis.use in ("used", "old") and basis.checked_at:
        age = humanized(max(at - basis.checked_at, timedelta(0)))
        last = f"the check {age} ago, {timestamp(basis.checked_at)}"
        if basis.use == "used":
            return f"with the saved state of {last}"
        return f"without saved state: it is of {last}, longer ago than target.window"
    why = {"none": "none is saved", "unreadable": f"it cannot be read: {basis.detail}"}
    return f"without saved state: {why.get(basis.use, basis.detail)}"


def silence_name(silence: Silence) -> str:
    """What people call a silence: its id, or ``maintenance`` for a window."""
    return silence.id or "maintenance"


def matched(silence: Silence) -> str:
    """What a silence is for: ``deployment etl/*, check late``."""
    return ", ".join(f"{name} {value}" for name, value in silence.conditions.items())


def when(silence: Silence, now: datetime) -> str:
    """Whether a silence is active now."""
    if silence.starts_at > now:
        return "waiting"
    return "active" if silence.active(now) else "ended"


def lasted(span: timedelta | None) -> str:
    """A duration; empty if it is not known."""
    return "" if span is None else humanized(span)


def statistics(resolved: Sequence[Incident]) -> str:
    """The median times to detect and to resolve incidents; empty if they are not known."""
    medians = {"detect": usual(map(to_detect, resolved)), "resolve": usual(map(to_resolve, resolved))}
    parts = [f"{humanized(span)} to {name}" for name, span in medians.items() if span is not None]
    return f"Median time: {', '.join(parts)}." if parts else ""


def requested(request: Request) -> str:
    """What an action request is for: ``ana acknowledges W-12: calling the vendor``."""
    silence = request.silence
    action = (
        f"silences {matched(silence)} {period(silence)}" if silence else f"{_ACTIONS[request.what]} {request.subject}"
    )
    return f"{request.by} {action}" + (f": {request.note}" if request.note else "")


def period(silence: Silence) -> str:
    """From when until when a silence is active."""
    return f"from {timestamp(silence.starts_at)} until {timestamp(silence.ends_at)}"
