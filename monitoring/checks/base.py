"""The description of a check, by which it judges its cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from monitoring.checks.facts.cases import Case
from monitoring.checks.facts.situation import Situation
from monitoring.checks.findings import Found, Verdict, finding_of, nothing
from monitoring.model.fields import CheckSettings, Section
from monitoring.model.finding import Finding
from monitoring.model.incident import ResolutionReason
from monitoring.model.policy import BasePolicy
from monitoring.model.prefect import Deployment

#: The role of the check's findings in correlation. A cause inhibits the symptoms that name the same cause; a wait is a
#: symptom of such a cause; a failure may be a symptom of a failed subflow, or of an error that many deployments share;
#: information stands for itself.
Role = Literal["cause", "waits", "failure", "information"]

#: The headings of the digest, in its order.
DigestHeading = Literal["What fails", "What is stale", "What else is wrong"]

S = TypeVar("S", bound=Section)
T = TypeVar("T")


class Judged(NamedTuple):
    """A verdict with its check, its case, and the finding that it makes."""

    check: Check[Any, Any]
    case: Case[Any]
    verdict: Verdict
    finding: Finding | None


def cleared(situation: Situation, deployment: Deployment, finding: Finding, settings: Any) -> ResolutionReason | None:
    """The reason why most incidents are resolved: the condition is gone."""
    return "cleared"


def paused_or_cleared(
    situation: Situation, deployment: Deployment, finding: Finding, settings: Any
) -> ResolutionReason:
    """The reason for findings that end, too, when their deployment is paused: that deletes its scheduled runs."""
    return "paused-while-failing" if deployment.paused else "cleared"


def deployments(situation: Situation) -> Sequence[Case[Deployment]]:
    """Every deployment, and every flow that is watched in place of one, as a case."""
    return situation.deployment_cases


@dataclass(frozen=True)
class Check(Generic[S, T]):
    """All of a check.

    Args:
        name: Its name in findings, silences and routes: ``work-pool``.
        section: Its section of the configuration, ``work_pool`` there.
        about: A description of the section, for the configuration's documentation.
        heading: The heading over its findings in a report.
        predicate: The predicate after ``12 deployments``: ``are late``.
        judge: Judges one subject by its effective settings.
        deciding: The fields of the section that decide, most decisive first.
        cases: The subjects that it judges.
        role: The role of its findings in correlation.
        explained_by: Checks of the same deployment whose findings inhibit its findings; the first counts.
        yields_to: Checks of the same subject whose findings cover a finding of this check about the same runs.
        resolution: Why an incident about a deployment is resolved without a finding; None if it is not.
        quieted_by: The tag with which a team quiets it, and when to use the tag.
        not_replayed: Why history cannot show it; empty if the backtest replays it.
        whole: Whether its section applies to the watchdog as a whole, and not to each deployment.
        shows_only_now: Whether its findings show only the present: the condition began when it was first found.
        digest_heading: The heading of the digest under which its findings are listed.
    """

    name: str
    section: type[S]
    about: str
    heading: str
    predicate: str
    judge: Callable[[Situation, T, S], Verdict]
    deciding: Callable[[S], tuple[str, ...]]
    cases: Callable[[Situation], Iterable[Case[T]]]
    role: Role = "information"
    explained_by: tuple[str, ...] = ()
    yields_to: tuple[str, ...] = ()
    resolution: Callable[[Situation, Deployment, Finding, S], ResolutionReason | None] = cleared
    quieted_by: tuple[str, str] | None = None
    not_replayed: str = ""
    whole: bool = False
    shows_only_now: bool = False
    digest_heading: DigestHeading = "What else is wrong"

    @cached_property
    def field(self) -> str:
        """The name of its section in the configuration."""
        return self.name.replace("-", "_")

    def settings(self, policy: BasePolicy) -> S:
        """Its section of a policy."""
        return policy.section(self.field, self.section)

    def enabled(self, policy: BasePolicy) -> bool:
        """Whether a policy has it turned on."""
        return _enabled(self.settings(policy))

    def deciding_settings(self, policy: BasePolicy, case: Case[T] | None = None) -> tuple[str, ...]:
        """The dotted names of the settings that decide, most decisive first, of the given case if any."""
        of_case = case.deciding if case else None
        fields = self.deciding(self.settings(policy)) if of_case is None else of_case
        return tuple(f"{self.field}.{name}" for name in fields)

    def verdicts(self, situation: Situation) -> Iterator[Judged]:
        """Judge every case."""
        for case in self.cases(situation):
            policy = situation.policies.of(*case.policy) if case.policy else None
            verdict = self._verdict(situation, case, policy)
            found = None
            if isinstance(verdict, Found):
                found = finding_of(situation.observation, self.name, case.subject, verdict, case.deployment)
                if policy and case.deployment:
                    found = _owned(found, policy)
            yield Judged(self, case, verdict, found)

    def _verdict(self, situation: Situation, case: Case[T], policy: BasePolicy | None) -> Verdict:
        if policy and case.deployment and not policy.watch:
            return nothing("the deployment is not watched")
        settings = self.settings(situation.policies.config if self.whole or policy is None else policy)
        if not _enabled(settings):
            return nothing("the check is turned off")
        return self.judge(situation, case.thing, settings)


def _enabled(settings: Section) -> bool:
    return not isinstance(settings, CheckSettings) or settings.enabled


def _owned(found: Finding, policy: BasePolicy) -> Finding:
    """A finding about a deployment, with the severity and the owner that its policy gives."""
    severity = policy.severity if policy.severity and found.severity != "info" else found.severity
    return found.model_copy(update={"owner": policy.owner, "severity": severity})
