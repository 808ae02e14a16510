"""The parts of a check: its description, the cases that it judges, and its verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from monitoring.checks.facts.situation import Situation
from monitoring.model.fields import CheckSettings, Section
from monitoring.model.finding import Finding, Subject
from monitoring.model.incident import ResolutionReason
from monitoring.model.policy import BasePolicy, PolicyKey
from monitoring.model.prefect import Deployment

#: The most runs that a verdict lists.
MAX_COMPARED = 5

#: The role of the check's findings in correlation. A cause inhibits the symptoms that name the same cause; a wait is a
#: symptom of such a cause; a failure may be a symptom of a failed subflow, or of an error that many deployments share;
#: information stands for itself.
Role = Literal["cause", "waits", "failure", "information"]

#: The headings of the digest, in its order.
DigestHeading = Literal["What fails", "What is stale", "What else is wrong"]

S = TypeVar("S", bound=Section)
T = TypeVar("T")


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
    """A check's result for one subject: what was compared, and the finding or the reason why there is none."""

    compared: tuple[Compared, ...] = ()
    finding: Finding | None = None
    why_not: str = ""


def found(finding: Finding, *compared: Compared) -> Verdict:
    """The verdict that something is wrong."""
    return Verdict(compared=compared, finding=finding)


def nothing(why_not: str, *compared: Compared) -> Verdict:
    """The verdict that nothing is wrong, or that there is nothing to judge.

    Args:
        why_not: Why there is no finding, in words.
        compared: What was compared.
    """
    return Verdict(compared=compared, why_not=why_not)


@dataclass(frozen=True)
class Case(Generic[T]):
    """One subject that a check judges.

    Args:
        subject: What a finding would be about.
        thing: The argument of the judging function: the deployment, the work pool, the limit.
        policy: The policy that applies; None for settings of the watchdog as a whole.
        deciding: The fields of the check's section that decide this case; None if the check's own fields do.
    """

    subject: Subject
    thing: T
    policy: PolicyKey | None = None
    deciding: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Judged:
    """A verdict with its check and case."""

    check: Check[Any, Any]
    case: Case[Any]
    verdict: Verdict


def cleared(situation: Situation, deployment: Deployment, finding: Finding, settings: Any) -> ResolutionReason | None:
    """The reason why most incidents are resolved: the condition is gone."""
    return "cleared"


def deployments(situation: Situation) -> Iterator[Case[Deployment]]:
    """Every deployment, and every flow that is watched in place of one, as a case."""
    for deployment in situation.observation.deployments.values():
        yield deployment_case(deployment)


def deployment_case(deployment: Deployment) -> Case[Deployment]:
    """A deployment as a case."""
    subject = Subject(kind=deployment.kind, id=deployment.id, name=deployment.name)
    return Case(subject, deployment, policy_key(deployment))


def policy_key(deployment: Deployment) -> PolicyKey:
    """The key of the policy that applies to a deployment."""
    return PolicyKey(deployment.name, deployment.tags, deployment.work_pool)


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

    @property
    def field(self) -> str:
        """The name of its section in the configuration."""
        return self.name.replace("-", "_")

    def settings(self, policy: BasePolicy) -> S:
        """Its section of a policy."""
        return policy.section(self.field, self.section)

    def enabled(self, policy: BasePolicy) -> bool:
        """Whether a policy has it turned on."""
        settings = self.settings(policy)
        return not isinstance(settings, CheckSettings) or settings.enabled

    def deciding_settings(self, policy: BasePolicy, case: Case[T] | None = None) -> tuple[str, ...]:
        """The dotted names of the settings that decide, most decisive first, of the given case if any."""
        of_case = case.deciding if case else None
        fields = self.deciding(self.settings(policy)) if of_case is None else of_case
        return tuple(f"{self.field}.{name}" for name in fields)

    def verdicts(self, situation: Situation) -> Iterator[Judged]:
        """Judge every case."""
        for case in self.cases(situation):
            yield Judged(self, case, self._verdict(situation, case))

    def _verdict(self, situation: Situation, case: Case[T]) -> Verdict:
        config = situation.policies.config
        policy = situation.policies.of(*case.policy) if case.policy else config
        own = config if self.whole else policy
        of_deployment = case.policy is not None and case.subject.kind in ("deployment", "flow")
        if of_deployment and not policy.watch:
            return nothing("the deployment is not watched")
        if not self.enabled(own):
            return nothing("the check is turned off")
        verdict = self.judge(situation, case.thing, self.settings(own))
        if of_deployment and verdict.finding:
            return replace(verdict, finding=_owned(verdict.finding, policy))
        return verdict


def _owned(finding: Finding, policy: BasePolicy) -> Finding:
    """A finding about a deployment, with the severity and the owner that its policy gives."""
    severity = policy.severity if policy.severity and finding.severity != "info" else finding.severity
    return finding.model_copy(update={"owner": policy.owner, "severity": severity})
