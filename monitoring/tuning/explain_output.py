"""An explanation for a person at a terminal: check by check, run times as a small plot, and one run beside another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from monitoring.checks.base import Compared
from monitoring.messages import words
from monitoring.model.coverage import Query
from monitoring.model.finding import Finding
from monitoring.model.prefect import Deployment
from monitoring.text.durations import spoken
from monitoring.text.escaping import address, clean
from monitoring.text.links import deployment_url, flow_url
from monitoring.tuning.explain import Bar, Explained, Explanation, Limit
from monitoring.tuning.run_comparison import RunDetails, changes

_COLOURS = {"critical": "bold red", "warning": "yellow", "info": "dim"}
_WIDEST_BAR = 30
_LONGEST = 500


def explanation(
    explained: Explanation, ui_url: str | None, missing: Sequence[Query], *, plain: bool = False
) -> RenderableType:
    """Render how the checks see a deployment.

    Args:
        explained: What is to be told.
        ui_url: Where the Prefect UI is.
        missing: What could not be seen.
        plain: Whether only ASCII can be drawn.
    """
    parts: list[RenderableType] = [*_heading(explained, ui_url), Text()]
    for verdict in explained.verdicts:
        parts += [_verdict(verdict, explained.deployment), Text()]
    parts += [*_plot(explained.run_times, plain), Text()] if explained.run_times else []
    if explained.causes:
        parts += [Text("Found elsewhere, and the cause:", style="bold"), *map(_finding, explained.causes), Text()]
    parts += [Text(f"Could not be seen: {clean(q.name)}: {clean(q.detail)}", style="bold magenta") for q in missing]
    return Group(*parts)


def run(bad: RunDetails, good: RunDetails | None) -> RenderableType:
    """Render one run, and what differs in it from the last good one."""
    name = clean(bad.run.name, 120)
    ended = f" at {words.moment(bad.run.end_time)}" if bad.run.end_time else ""
    head = Text(
        f"Run {name}: {clean(bad.run.state_name)}{ended}, run time {spoken(bad.run.total_run_time)}", style="bold"
    )
    said = [Text(f"  {clean(bad.run.message, _LONGEST)}")] if bad.run.message else []
    if bad.run.state_type not in ("FAILED", "CRASHED"):
        return Group(head, *said, Text("  It has not failed, so it is compared with none."))
    if good is None:
        return Group(head, *said, Text("  No run of it completed before, so it is compared with none."))
    ended = words.moment(good.run.end_time) if good.run.end_time else ""
    compared = Text(f"Compared with the last good run before, {clean(good.run.name, 120)}, which ended {ended}:")
    different = changes(bad, good)
    if not different:
        return Group(head, *said, compared, Text("  Nothing that Prefect shows of them differs."))
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("What", "This run", "Last good run"):
        table.add_column(heading, overflow="fold")
    for change in different:
        table.add_row(*(Text(clean(text)) for text in (change.what, change.bad, change.good)))
    more = "Only the first 200 task runs of each were compared."
    return Group(head, *said, compared, table, *([Text(more)] if bad.more_tasks or good.more_tasks else []))


def _heading(explained: Explanation, ui_url: str | None) -> list[Text]:
    deployment = explained.deployment
    page = (flow_url if deployment.kind == "flow" else deployment_url)(ui_url, deployment.id)
    lines = [Text(f"{clean(deployment.name)} ({words.moment(explained.at)})", style="bold")]
    lines += [Text(f"  {shown}", overflow="fold") for shown in [address(page)] if shown]
    facts = [f"work pool {deployment.work_pool or 'none'}"]
    facts += ["paused"] if deployment.paused else []
    facts.append("scheduled" if deployment.scheduled else "no active schedule")
    facts += [f"tags {', '.join(deployment.tags)}"] if deployment.tags else []
    lines.append(Text(f"  {clean('; '.join(facts), _LONGEST)}"))
    return [*lines, Text(f"  by: {_limits(explained.general)}", style="dim")]


def _verdict(explained: Explained, deployment: Deployment) -> RenderableType:
    verdict, finding = explained.verdict, explained.finding
    subject = explained.subject
    about = "" if subject.id == deployment.id else f"{clean(f'{subject.kind} {subject.name}')}: "
    head = Text()
    head.append(f"{explained.check}: ", style="bold").append(about)
    if finding:
        head.append("found", style=_COLOURS[finding.severity])
    elif verdict.finding:
        head.append("found, and reported by another finding")
    else:
        head.append("nothing found", style="green").append(f": {clean(verdict.why_not)}")
    lines: list[RenderableType] = [head]
    lines += [Text(f"  compared: {clean(_compared(compared), _LONGEST)}") for compared in verdict.compared]
    lines += [_finding(finding)] if finding else []
    lines += [Text(f"  by: {_limits(explained.limits)}", style="dim")]
    return Group(*lines)


def _compared(compared: Compared) -> str:
    limit = "" if compared.limit is None else f"; limit: {_value(compared.limit)}"
    since = "" if compared.since is None else f"; since {words.moment(compared.since)}"
    return f"{compared.what} {_value(compared.observed)}{limit}{since}"


def _value(value: timedelta | datetime | int | str) -> str:
    if isinstance(value, timedelta):
        return spoken(value)
    if isinstance(value, datetime):
        return words.moment(value)
    return f"{value:,}" if isinstance(value, int) else value


def _limits(limits: Iterable[Limit]) -> str:
    return "; ".join(clean(f"{limit.name} {limit.value} ({limit.source})") for limit in limits)


def _finding(finding: Finding) -> RenderableType:
    owner = f" Owner: {clean(finding.owner)}." if finding.owner else ""
    unknown = " It could not be judged." if finding.unknown else ""
    symptom = " It is a symptom of another finding." if finding.symptom_of else ""
    lines = [
        Text(f"  {finding.severity}: {clean(finding.summary, _LONGEST)}", style=_COLOURS[finding.severity]),
        Text(f"    observed: {clean(finding.observed, _LONGEST)}"),
        Text(f"    expected: {clean(finding.expected, _LONGEST)}"),
        Text(f"    since {words.moment(finding.since)}.{owner}{unknown}{symptom}"),
    ]
    if finding.cause:
        lines.append(Text(f"    cause: {clean(words.cause(finding.cause), _LONGEST)}"))
    lines += [Text(f"    {clean(line, _LONGEST)}") for line in finding.evidence]
    lines += [Text(f"    {url}", overflow="fold") for url in [address(finding.url)] if url]
    return Group(*lines)


def _plot(bars: Sequence[Bar], plain: bool) -> list[RenderableType]:
    """Draw how many runs took how long; one row a span of run times, each as many times longer than the one before."""
    most = max(bar.count for bar in bars)
    runs = sum(bar.count for bar in bars)
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    for bar in bars:
        length = max(1, round(_WIDEST_BAR * bar.count / most)) if bar.count else 0
        drawn = ("#" if plain else "█") * length
        marks = "  <- " + ", ".join(bar.marks) if bar.marks else ""
        table.add_row(f"up to {_short(bar)}", drawn, f"{words.counted(bar.count, 'run')}{marks}")
    return [
        Text(f"Run times of its newest {words.counted(runs, 'completed run')}:", style="bold"),
        Padding(table, (0, 2)),
    ]


def _short(bar: Bar) -> str:
    seconds = bar.end.total_seconds()
    return f"{seconds:.1f} s" if seconds < 10 else spoken(bar.end)
