"""A backtest for a person at a terminal: incidents, alerts by day and by rule, the difference of two configurations."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from rich.console import Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from monitoring.messages import words
from monitoring.text.durations import spoken
from monitoring.text.escaping import address, clean
from monitoring.tuning.backtest import BOUNDS, EVERY, NOT_REPLAYED, Difference, History, Replay, Replayed

#: Incidents shown; all are counted.
MOST_ROWS = 200
_WIDEST_BAR = 40


def backtest(
    history: History, replay: Replay, zone: ZoneInfo, other: Replay | None = None, apart: Difference | None = None
) -> RenderableType:
    """Render what a configuration would have made of the past, and what another would have made differently.

    Args:
        history: What was replayed.
        replay: What the configuration made of it.
        zone: Where days begin and end.
        other: What another configuration made of it.
        apart: What the two differ in.
    """
    replays = [replay] if other is None else [replay, other]
    parts: list[RenderableType] = [_heading(history, replay), *map(_totals, replays), Text()]
    if replay.incidents:
        parts += [_incidents(replay), Text()]
    if other is not None and apart is not None:
        parts += [_difference(replay, other, apart), Text()]
    parts += [_days(replays, zone), Text()]
    parts += [part for one in replays if any(r.alert for r in one.incidents) for part in (_rules(one), Text())]
    return Group(*parts, *_bounds(history))


def _heading(history: History, replay: Replay) -> Text:
    seen = f"{words.counted(history.run_count, 'run')} of {words.counted(len(history.deployments), 'deployment')}"
    span = f"{words.moment(replay.since)} to {words.moment(replay.until)}"
    text = f"Backtest of {clean(history.target)}: {seen}, {span}, a check every {spoken(EVERY)}"
    return Text(text, style="bold")


def _totals(replay: Replay) -> Text:
    alerts = sum(one.alert for one in replay.incidents)
    before = sum(one.before for one in replay.incidents)
    symptoms = len(replay.incidents) - alerts - before
    also = [words.counted(symptoms, "symptom of another", "symptoms of others")] if symptoms else []
    also += [f"{before:,} {'was' if before == 1 else 'were'} so before it began"] if before else []
    days = (replay.until - replay.since).total_seconds() / 86_400
    rate = f", {alerts / days:.1f} a day" if days else ""
    rest = f" ({', '.join(also)})" if also else ""
    return Text(f"{clean(replay.origin)}: {words.counted(alerts, 'alert')}{rate}{rest}")


def _incidents(replay: Replay) -> RenderableType:
    table = _table("Opened", "Resolved", "Lasted", "Severity", "Check", "Subject", "What was wrong", "Decided by")
    for one in replay.incidents[:MOST_ROWS]:
        finding = one.incident.finding
        table.add_row(
            _opened(one),
            _resolved(one),
            _lasted(one),
            "symptom" if finding.symptom_of else finding.severity,
            finding.check,
            _subject(one),
            Text(clean(words.said(finding))),
            Text(clean(one.decided_by)),
        )
    more = len(replay.incidents) - MOST_ROWS
    return Group(table, Text(f"and {words.counted(more, 'more incident')}")) if more > 0 else table


def _difference(replay: Replay, other: Replay, apart: Difference) -> RenderableType:
    first, second = clean(replay.origin), clean(other.origin)
    summary = (
        f"{second} against {first}: {len(apart.only_first):,} no longer opened, {len(apart.only_second):,} new, "
        f"{len(apart.changed):,} at other times or of another severity, {apart.same:,} the same"
    )
    table = _table("Difference", "Check", "Subject", first, second, "Decided by")
    rows: list[tuple[str, Replayed | None, Replayed | None]] = [("gone", one, None) for one in apart.only_first]
    rows += [("new", None, one) for one in apart.only_second]
    rows += [("changed", one, then) for one, then in apart.changed]
    for kind, before, after in rows[:MOST_ROWS]:
        one = after or before
        assert one is not None
        table.add_row(
            kind,
            one.incident.finding.check,
            _subject(one),
            _span(before) if before else words.NOTHING,
            _span(after) if after else words.NOTHING,
            Text(clean(one.decided_by)),
        )
    more = len(rows) - MOST_ROWS
    tail = [Text(f"and {words.counted(more, 'more difference')}")] if more > 0 else []
    return Group(Text(summary, style="bold"), *([table] if rows else []), *tail)


def _days(replays: Sequence[Replay], zone: ZoneInfo) -> RenderableType:
    """Alerts by day, every configuration beside the others; the bar is the first one's."""
    table = _table(f"Day ({zone})", *(f"{clean(one.origin)}: {what}" for one in replays for what in _FLOW), "")
    counts = [one.per_day(zone) for one in replays]
    most = max((opened for opened, _ in counts[0].values()), default=0)
    for day in counts[0]:
        numbers = [f"{number:,}" for one in counts for number in one[day]]
        table.add_row(str(day), *numbers, Text("#" * round(_WIDEST_BAR * counts[0][day][0] / max(most, _WIDEST_BAR))))
    return table


_FLOW = ("opened", "resolved")


def _rules(replay: Replay) -> RenderableType:
    table = _table("Alerts", "Check", f"Decided by ({clean(replay.origin)})")
    for (check, decided), count in replay.per_rule().items():
        if count:
            table.add_row(f"{count:,}", check, Text(clean(decided)))
    return table


def _bounds(history: History) -> list[Text]:
    lines = [Text(f"Not seen: {clean(gap)}", style="bold magenta") for gap in history.gaps]
    lines.append(Text("What history cannot show:"))
    reasons: dict[str, list[str]] = {}
    for check, reason in NOT_REPLAYED.items():
        reasons.setdefault(reason, []).append(check)
    lines += [Text(f"  {', '.join(checks)}: {reason}") for reason, checks in reasons.items()]
    return [*lines, *(Text(f"  {bound}") for bound in BOUNDS)]


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    whole = {"Opened", "Resolved", "Lasted", "Severity", "Check", "Difference", "Alerts"}
    for heading in headings:
        table.add_column(Text(heading), overflow="fold", no_wrap=heading in whole)
    return table


def _subject(one: Replayed) -> Text:
    finding = one.incident.finding
    target = address(finding.url)
    return Text(clean(words.subject(finding), 120), style=Style(link=target) if target else "")


def _opened(one: Replayed) -> str:
    return "before" if one.before else words.moment(one.incident.opened_at)


def _resolved(one: Replayed) -> str:
    over = one.incident.resolved_at
    return words.moment(over) if over else "still open"


def _lasted(one: Replayed) -> str:
    over = one.incident.resolved_at
    least = "over " if one.before else ""
    return f"{least}{spoken(over - one.incident.opened_at)}" if over else words.NOTHING


def _span(one: Replayed) -> str:
    return f"{_opened(one)} to {_resolved(one)}, {one.incident.finding.severity}"
