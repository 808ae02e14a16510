"""What holds for a deployment whatever the check, and how the checks find the policy of what they judge."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, NamedTuple, Protocol, TypeVar

from pydantic import Field

from monitoring.model.fields import Count, Section, Span
from monitoring.model.finding import Severity
from monitoring.model.prefect import Deployment


class ApiSettings(Section):
    """How the Prefect API is queried."""

    timeout: Span = Field(timedelta(seconds=15), description="Timeout of a request, as a whole.")
    deadline: Span = Field(
        timedelta(seconds=60),
        description="How long a check may read; before that, it waits as long for another check. What is missing then "
        "is reported as not seen.",
    )
    attempts: Count = Field(3, ge=1, le=10, description="Attempts of a request, including the first.")
    retry_budget: Span = Field(timedelta(seconds=10), description="Total wait between attempts, per check.")
    page_size: Count = Field(200, ge=1, le=200, description="Rows per request; the server's own maximum may be lower.")


SectionT = TypeVar("SectionT", bound=Section)


class BasePolicy(Section):
    """What holds for a deployment, whatever the check. The sections of the checks stand beside these settings."""

    watch: bool = Field(True, description="Whether the deployment is watched.")
    owner: str | None = Field(
        None, description="Who should look: a team or a person, shown with every finding.", min_length=1, max_length=80
    )
    severity: Severity | None = Field(
        None, description="Severity of all problems of the deployment. Null: each check sets its own."
    )
    escalate_after: Span | None = Field(
        None, description="A warning becomes critical after lasting this long as an incident. Null: never."
    )
    expect: Literal["success", "failure"] = Field(
        "success", description="How runs should end. `failure`: a failed run is no finding and counts as fresh."
    )

    def section(self, name: str, kind: type[SectionT]) -> SectionT:
        """A section by the name of its field.

        Args:
            name: The field: ``work_pool``.
            kind: The type that the section has.

        Raises:
            TypeError: The section is of another type.
        """
        found = getattr(self, name)
        if not isinstance(found, kind):
            raise TypeError(f"{name} is {type(found).__name__}, not {kind.__name__}")
        return found


class PolicyKey(NamedTuple):
    """What decides which policy holds: a deployment by name, tags and work pool, or a work pool alone."""

    name: str = ""
    tags: tuple[str, ...] = ()
    pool: str | None = None


def policy_key(deployment: Deployment) -> PolicyKey:
    """The key of the policy that applies to a deployment."""
    return PolicyKey(deployment.name, deployment.tags, deployment.work_pool)


class Policies(Protocol):
    """The effective policy of every deployment and work pool, as the checks use it."""

    @property
    def config(self) -> BasePolicy:
        """What is configured for the watchdog as a whole."""

    @property
    def keep_runs(self) -> timedelta:
        """How long the check's own finished runs are kept."""

    def of(self, name: str = "", tags: tuple[str, ...] = (), pool: str | None = None) -> BasePolicy:
        """The policy of a deployment, by name, tags and work pool; of a work pool, by ``pool`` alone."""

    def unreadable_tags(self, tags: tuple[str, ...]) -> Sequence[tuple[str, str]]:
        """The policy tags that cannot be read, redacted, each with the reason."""
