"""The verdicts of checks, and the findings that are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from monitoring.model.finding import MAX_RUN_IDS, Cause, Finding, Severity, Subject, fingerprint
from monitoring.model.observation import Observation
from monitoring.model.prefect import Deployment
from monitoring.text import links

#: The most runs that a verdict lists.
MAX_COMPARED = 5


class Compared(NamedTuple):
    """One observation beside its limit.

    Args:
        what: The measured quantity, such as ``nightly: due for``.
        observed: The value; a timestamp, a duration, a count or words.
        limit: The limit; None if the value only informs.
        since: When the condition began, if known.
    """

    what: str
    observed: timedelta | datetime | int | str
    limit: timedelta | datetime | int | str | None = None
    since: datetime | None = None


def more(runs: int) -> list[Compared]:
    """What ends a list of compared runs if there are more than ``MAX_COMPARED``: how many are not listed."""
    left_out = runs - MAX_COMPARED
    return [Compared("and", f"{left_out:,} more {'run' if left_out == 1 else 'runs'}")] if left_out > 0 else []


@dataclass(frozen=True)
class Verdict:
    """A check's result for one subject: what was compared, and the problem or the reason why there is none."""

    compared: Sequence[Compared] = ()
    why_not: str = ""


def nothing(why_not: str, *compared: Compared) -> Verdict:
    """The verdict that nothing is wrong, or that there is nothing to judge."""
    return Verdict(compared, why_not)


@dataclass(frozen=True, kw_only=True)
class Found(Verdict):
    """The verdict that something is wrong.

    Args:
        severity: The severity.
        summary: One sentence; it begins with the subject's name and a colon.
        observed: The observation, with units.
        expected: The expectation.
        since: When the condition began.
        run_ids: The runs that show it, the most important first.
        run_count: The number of runs, if it is not the number of their ids.
        cause: The cause. Symptoms elsewhere that name the same cause are shown under this finding.
        evidence: The evidence, in lines.
        unknown: Whether the subject could not be judged.
        url: The page to open, if not that of the subject, or of the only run of a deployment.
    """

    severity: Severity
    summary: str
    observed: str
    expected: str
    since: datetime
    run_ids: Sequence[str] = ()
    run_count: int | None = None
    cause: Cause | None = None
    evidence: Sequence[str] = ()
    unknown: bool = False
    url: str | None = None


def finding_of(
    observation: Observation, check: str, subject: Subject, found: Found, deployment: Deployment | None = None
) -> Finding:
    """Make the finding of a verdict; with the deployment or flow that the subject is, if it is one."""
    count = len(found.run_ids) if found.run_count is None else found.run_count
    ui_url = observation.server.state.ui_url
    only_run = links.flow_run_url(ui_url, found.run_ids[0]) if deployment and count == 1 else None
    return Finding(
        fingerprint=fingerprint(observation.identity, check, subject.kind, subject.id),
        check=check,
        severity=found.severity,
        subject=subject,
        flow=deployment.flow_name if deployment else None,
        deployment=deployment.name if deployment and deployment.kind == "deployment" else None,
        flow_run_ids=tuple(found.run_ids[:MAX_RUN_IDS]),
        flow_run_count=count,
        summary=found.summary,
        observed=found.observed,
        expected=found.expected,
        since=found.since,
        url=found.url or only_run or page(ui_url, subject),
        cause=found.cause,
        evidence=tuple(found.evidence),
        unknown=found.unknown,
    )


def page(ui_url: str | None, subject: Subject) -> str | None:
    """The page of a subject; the UI itself for what has no page of its own."""
    match subject.kind:
        case "deployment":
            return links.deployment_url(ui_url, subject.id)
        case "flow":
            return links.flow_url(ui_url, subject.id)
        case "work-pool":
            return links.work_pool_url(ui_url, subject.name)
        case "work-queue":
            return links.work_queue_url(ui_url, *subject.name.split("/", 1))
        case "tag" | "global-concurrency-limit":
            return links.concurrency_limits_url(ui_url)
        case _:
            return ui_url


def utc(timestamp: datetime) -> str:
    """A timestamp in words: ``2026-03-10 07:00 UTC``."""
    return f"{timestamp.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def runs_text(count: int) -> str:
    """Count runs in words: ``1 run``, ``3 runs``."""
    return "1 run" if count == 1 else f"{count:,} runs"
