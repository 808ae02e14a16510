"""A backtest as a message: incidents, alerts by day and by rule, differences between two configurations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from zoneinfo import ZoneInfo

from monitoring.messages import words
from monitoring.messages.tables import Columns, table_of
from monitoring.model.message import (
    Bar,
    Column,
    Element,
    Heading,
    Inline,
    List,
    Message,
    Plot,
    Prose,
    Row,
    Table,
    inline,
    link,
    row,
)
from monitoring.text.durations import humanized
from monitoring.tuning.backtest import BOUNDS, EVERY, NOT_REPLAYED, Difference, History, Replay, Replayed


def backtest_message(
    history: History, replay: Replay, zone: ZoneInfo, other: Replay | None = None, difference: Difference | None = None
) -> Message:
    """What a configuration would have found in the past, and what another one would have found differently."""
    replays = [replay] if other is None else [replay, other]
    title = _title(history, replay)
    elements: list[Element] = [Prose(spans=inline(_totals(replayed))) for replayed in replays]
    if replay.incidents:
        elements += [Heading(text="Incidents"), _incidents(replay)]
    if other is not None and difference is not None:
        elements += _difference(replay, other, difference)
    elements += _days(replays, zone)
    elements += [element for replayed in replays for element in _rules(replayed)]
    return Message(title=title, fallback=title, elements=(*elements, *_bounds(history)))


def _title(history: History, replay: Replay) -> str:
    seen = f"{words.counted(history.run_count, 'run')} of {words.counted(len(history.deployments), 'deployment')}"
    span = f"{words.timestamp(replay.since)} to {words.timestamp(replay.until)}"
    return f"Backtest of {history.target}: {seen}, {span}, a check every {humanized(EVERY)}"


def _totals(replay: Replay) -> str:
    alerts = sum(replayed.alert for replayed in replay.incidents)
    before = sum(replayed.before for replayed in replay.incidents)
    symptoms = len(replay.incidents) - alerts - before
    also = [words.counted(symptoms, "symptom of another", "symptoms of others")] if symptoms else []
    also += [f"{before:,} already there at the start"] if before else []
    days = (replay.until - replay.since).total_seconds() / 86_400
    rate = f", {alerts / days:.1f} a day" if days else ""
    rest = f" ({', '.join(also)})" if also else ""
    return f"{replay.origin}: {words.counted(alerts, 'alert')}{rate}{rest}"


def _incidents(replay: Replay) -> Table:
    columns: Columns[Replayed] = (
        (Column(label="Opened", lead="opened "), _opened),
        (Column(label="Resolved", lead="resolved "), _resolved),
        (Column(label="Lasted", lead="lasted "), _lasted),
        (Column(label="Severity", lead=""), _severity),
        (Column(label="Check", role="title"), lambda replayed: replayed.incident.finding.check),
        (Column(label="Subject", role="title"), _subject),
        (Column(label="What was wrong", role="text"), lambda replayed: words.summary(replayed.incident.finding)),
        (Column(label="Decided by", lead="decided by "), lambda replayed: replayed.decided_by),
    )
    return table_of(replay.incidents, columns, "incident")


def _difference(replay: Replay, other: Replay, difference: Difference) -> Iterator[Element]:
    yield Heading(
        text=f"{other.origin} against {replay.origin}: {len(difference.only_first):,} no longer opened, "
        f"{len(difference.only_second):,} new, {len(difference.changed):,} at other times or with another severity, "
        f"{difference.same:,} the same"
    )
    rows = [_changed("gone", replayed, _span(replayed), words.NOTHING) for replayed in difference.only_first]
    rows += [_changed("new", replayed, words.NOTHING, _span(replayed)) for replayed in difference.only_second]
    rows += [_changed("changed", after, _span(before), _span(after)) for before, after in difference.changed]
    columns = (
        Column(label="Difference", lead=""),
        Column(label="Check", role="title"),
        Column(label="Subject", role="title"),
        Column(label=replay.origin),
        Column(label=other.origin),
        Column(label="Decided by", lead="decided by "),
    )
    if rows:
        yield Table(columns=columns, rows=tuple(rows), unit="difference")


def _changed(kind: str, replayed: Replayed, before: str, after: str) -> Row:
    check = replayed.incident.finding.check
    return row(kind, check, _subject(replayed), before, after, replayed.decided_by)


def _days(replays: Sequence[Replay], zone: ZoneInfo) -> Iterator[Element]:
    """Alerts by day for each configuration; the bar shows the first."""
    counts = [replay.per_day(zone) for replay in replays]
    yield Heading(text=f"Alerts by day ({zone})")
    yield Plot(
        bars=tuple(
            Bar(
                label=str(day),
                value=counts[0][day][0],
                text="; ".join(
                    f"{replay.origin}: {count[day][0]:,} opened, {count[day][1]:,} resolved"
                    for replay, count in zip(replays, counts, strict=True)
                ),
            )
            for day in counts[0]
        )
    )


def _rules(replay: Replay) -> Iterator[Element]:
    rows = [row(f"{count:,}", check, decided) for (check, decided), count in replay.per_rule().items() if count]
    if rows:
        columns = (
            Column(label="Alerts"),
            Column(label="Check", role="title"),
            Column(label="Decided by", role="text"),
        )
        yield Heading(text=f"Alerts by rule ({replay.origin})")
        yield Table(columns=columns, rows=tuple(rows), unit="rule")


def _bounds(history: History) -> Iterator[Element]:
    if history.gaps:
        yield Heading(text="What could not be seen", level="unknown")
        yield List(items=tuple(map(inline, history.gaps)))
    reasons: dict[str, list[str]] = {}
    for check, reason in NOT_REPLAYED.items():
        reasons.setdefault(reason, []).append(check)
    limits: Iterable[str] = (f"{', '.join(checks)}: {reason}" for reason, checks in reasons.items())
    yield Heading(text="What history cannot show:")
    yield List(items=tuple(map(inline, (*limits, *BOUNDS))))


def _subject(replayed: Replayed) -> Inline:
    finding = replayed.incident.finding
    return inline(link(words.subject(finding), finding.url))


def _severity(replayed: Replayed) -> str:
    finding = replayed.incident.finding
    return "symptom" if finding.symptom_of else finding.severity


def _opened(replayed: Replayed) -> str:
    return "before" if replayed.before else words.timestamp(replayed.incident.opened_at)


def _resolved(replayed: Replayed) -> str:
    resolved = replayed.incident.resolved_at
    return words.timestamp(resolved) if resolved else "still open"


def _lasted(replayed: Replayed) -> str:
    resolved = replayed.incident.resolved_at
    least = "over " if replayed.before else ""
    return f"{least}{humanized(resolved - replayed.incident.opened_at)}" if resolved else words.NOTHING


def _span(replayed: Replayed) -> str:
    return f"{_opened(replayed)} to {_resolved(replayed)}, {replayed.incident.finding.severity}"
