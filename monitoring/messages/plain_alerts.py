"""An alert for receivers of which nobody knows what they read: e-mail, Teams, a pager. Text that is Markdown, too."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.messages import alerts, words
from monitoring.model.outbox import Content
from monitoring.text.escaping import address, anywhere

_SUBJECT = 150
_NAME = 100
_LINE = 200


def plain(content: Content) -> tuple[str, str]:
    """Render an alert.

    Args:
        content: What it says.

    Returns:
        The subject, which is one line, and the body, whose paragraphs are set apart by blank lines.
    """
    subject = anywhere(f"{alerts.title(content)} ({content.target})", _SUBJECT)
    return subject, "\n\n".join(part for part in _parts(content) if part)


def _parts(content: Content) -> Iterator[str]:
    yield anywhere(alerts.lead(content))
    if content.about == "details":
        yield from map(_detail, alerts.details(content))
    else:
        yield from map(_row, alerts.rows(content))
        # There is no thread that could hold more.
        if content.total == 1 and content.open:
            yield from (_rests_on(one) for one in alerts.details(content))
    yield anywhere(alerts.remaining(content, len(content.incidents)))
    yield from map(anywhere, content.notes)
    quieters = alerts.quieters(content)
    if quieters:
        yield "\n".join(["To quiet the noisiest, tag these deployments:", *map(_quieter, quieters)])
    yield "\n".join(f"{one.does}: `{one.line}`" for one in alerts.commands(content))
    yield "\n".join(f"{link.text}: {url}" for link in alerts.links(content) if (url := address(link.url)))
    yield anywhere(alerts.footer(content))


def _row(row: alerts.Row) -> str:
    facts = ", ".join(anywhere(fact, _LINE) for fact in row.facts)
    return f"{row.sign} {row.id} {anywhere(row.name, _NAME)}: {anywhere(row.said)}\n{facts}".strip()


def _detail(detail: alerts.Detail) -> str:
    runs = [f"{run.text}: {url}" for run in detail.runs if (url := address(run.url))]
    more = [f"and {words.counted(detail.more_runs, 'more run')}"] if runs and detail.more_runs > 0 else []
    evidence = [anywhere(line, _LINE) for line in detail.evidence]
    return "\n".join([f"{detail.id} {anywhere(detail.name, _NAME)}", _rests_on(detail), *runs, *more, *evidence])


def _rests_on(detail: alerts.Detail) -> str:
    return f"Observed: {anywhere(detail.observed)}\nExpected: {anywhere(detail.expected)}"


def _quieter(quieter: alerts.Quieter) -> str:
    tags = " or ".join(f"`{tag}` ({when})" for tag, when in quieter.tags)
    return f"{anywhere(quieter.name, _NAME)}: {tags}"
