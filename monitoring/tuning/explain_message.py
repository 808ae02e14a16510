"""An explanation as a message: the verdicts, run times as a plot, and the comparison of two runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from monitoring.checks.findings import Compared, Found
from monitoring.messages import words
from monitoring.model.coverage import Query
from monitoring.model.finding import Finding
from monitoring.model.message import (
    Code,
    Column,
    Element,
    Facts,
    Heading,
    Message,
    Plot,
    Prose,
    Table,
    facts,
    inline,
    row,
)
from monitoring.model.prefect import Deployment
from monitoring.text.durations import humanized
from monitoring.text.links import deployment_url, flow_url
from monitoring.tuning.explain import Explained, Explanation, Limit
from monitoring.tuning.run_comparison import RunDetails, changes


def explanation_message(
    explained: Explanation,
    ui_url: str | None,
    missing: Sequence[Query],
    basis: str = "",
    incidents: Mapping[str, str] | None = None,
) -> Message:
    """How the checks judge a deployment.

    Args:
        explained: The verdicts.
        ui_url: The address of the Prefect UI, if it has one.
        missing: The queries without a complete answer.
        basis: What the check started from.
        incidents: By fingerprint, how the incident of a finding stands.
    """
    known = incidents or {}
    title = f"{explained.deployment.name} ({words.timestamp(explained.at)})"
    elements: list[Element] = [_deployment(explained, ui_url)]
    for verdict in explained.verdicts:
        elements += _verdict(verdict, explained.deployment, known)
    if explained.run_times:
        runs = sum(int(bar.value) for bar in explained.run_times)
        elements.append(Heading(text=f"Run times of its newest {words.counted(runs, 'completed run')}:"))
        elements.append(Plot(bars=explained.run_times))
    if explained.causes:
        elements.append(Heading(text="Found elsewhere, and the cause:"))
        elements += [facts(_finding(finding, known)) for finding in explained.causes]
    if missing:
        elements.append(Heading(text="What could not be seen:", level="unknown"))
        elements.append(facts([(query.name, query.detail or query.outcome) for query in missing]))
    if basis:
        elements.append(Prose(spans=inline(f"Explained {basis}."), muted=True))
    return Message(title=title, fallback=title, elements=tuple(elements))


def run_message(bad: RunDetails, good: RunDetails | None) -> Message:
    """How a failed run differs from the last run of the same deployment that completed before, if there is one."""
    ended = f" at {words.timestamp(bad.run.end_time)}" if bad.run.end_time else ""
    title = f"Run {bad.run.name}: {bad.run.state_name}{ended}, run time {humanized(bad.run.total_run_time)}"
    text = [Prose(spans=inline(bad.run.message))] if bad.run.message else []
    return Message(title=title, fallback=title, elements=(*text, *_compared_runs(bad, good)))


def _compared_runs(bad: RunDetails, good: RunDetails | None) -> Iterator[Element]:
    if bad.run.state_type not in ("FAILED", "CRASHED"):
        yield Prose(spans=inline("The run has not failed, so it is not compared with another run."))
        return
    if good is None:
        yield Prose(spans=inline("No earlier run completed, so there is no run to compare with."))
        return
    ended = f", which ended {words.timestamp(good.run.end_time)}" if good.run.end_time else ""
    yield Prose(spans=inline(f"Compared with the last good run, {good.run.name}{ended}:"))
    different = changes(bad, good)
    if not different:
        yield Prose(spans=inline("Prefect shows no difference between the two runs."))
        return
    yield Table(
        columns=(Column(label="What", role="title"), Column(label="This run"), Column(label="Last good run")),
        rows=tuple(row(change.what, change.bad, change.good) for change in different),
        unit="difference",
    )
    if bad.more_tasks or good.more_tasks:
        yield Prose(spans=inline("Only the first 200 task runs of each were compared."))


def _deployment(explained: Explanation, ui_url: str | None) -> Facts:
    deployment = explained.deployment
    page = (flow_url if deployment.kind == "flow" else deployment_url)(ui_url, deployment.id)
    paused = "paused; " if deployment.paused else ""
    return facts(
        [
            ("Link", page),
            ("Work pool", deployment.work_pool or "none"),
            ("Schedule", paused + ("active" if deployment.scheduled else "no active schedule")),
            ("Tags", ", ".join(deployment.tags)),
            ("Settings", _limits(explained.general)),
        ]
    )


def _verdict(explained: Explained, deployment: Deployment, incidents: Mapping[str, str]) -> Iterator[Element]:
    verdict, finding, subject = explained.verdict, explained.finding, explained.subject
    about = "" if subject.id == deployment.id else f"{subject.kind} {subject.name}: "
    if finding:
        outcome = "found"
    elif isinstance(verdict, Found):
        outcome = "found, and reported by another finding"
    else:
        outcome = f"nothing found: {verdict.why_not}"
    level = finding.severity if finding else None if isinstance(verdict, Found) else "ok"
    yield Heading(text=f"{explained.check}: {about}{outcome}", level=level)
    pairs: list[tuple[str, str | None]] = [("Compared", _compared(compared)) for compared in verdict.compared]
    # What was compared with a limit says what was expected.
    limited = any(compared.limit is not None for compared in verdict.compared)
    pairs += (
        [fact for fact in _finding(finding, incidents) if not (limited and fact[0] == "Expected")] if finding else []
    )
    yield facts([*pairs, ("Settings", _limits(explained.limits))])
    if finding and finding.evidence:
        yield Code(lines=finding.evidence)


def _finding(finding: Finding, incidents: Mapping[str, str]) -> list[tuple[str, str | None]]:
    symptom_of = incidents.get(finding.symptom_of or "", "another finding") if finding.symptom_of else None
    return [
        (finding.severity.capitalize(), finding.summary + (" (it could not be judged)" if finding.unknown else "")),
        ("Incident", incidents.get(finding.fingerprint)),
        ("Symptom of", symptom_of),
        ("Observed", finding.observed),
        ("Expected", finding.expected),
        ("Since", words.timestamp(finding.since)),
        ("Owner", finding.owner),
        ("Cause", words.cause(finding.cause) if finding.cause else None),
        ("Link", finding.url),
    ]


def _compared(compared: Compared) -> str:
    limit = "" if compared.limit is None else f"; limit: {_value(compared.limit)}"
    since = "" if compared.since is None else f"; since {words.timestamp(compared.since)}"
    return f"{compared.what} {_value(compared.observed)}{limit}{since}"


def _value(value: timedelta | datetime | int | str) -> str:
    if isinstance(value, timedelta):
        return humanized(value)
    if isinstance(value, datetime):
        return words.timestamp(value)
    return f"{value:,}" if isinstance(value, int) else value


def _limits(limits: Iterable[Limit]) -> str:
    return "; ".join(f"{limit.name} {limit.value} ({limit.source})" for limit in limits)
