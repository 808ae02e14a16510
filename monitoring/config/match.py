"""Which deployments or incidents a part of the configuration applies to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from monitoring.checks.registry import CHECKS
from monitoring.model.fields import Section
from monitoring.model.finding import Severity
from monitoring.model.matcher import Matcher

#: The name of an existing check.
if TYPE_CHECKING:
    KnownCheck = str
else:
    KnownCheck = Literal[tuple(check.name for check in CHECKS)]


class Match(Section):
    """Which deployments a rule applies to. Every condition must match."""

    deployment: str | None = Field(
        None, description="Shell-style pattern on `flow/deployment`: `etl/*`, `*/nightly`. Case counts.", min_length=1
    )
    tag: str | None = Field(None, description="A tag of the deployment, exactly.", min_length=1)
    pool: str | None = Field(None, description="Name of the deployment's work pool, exactly.", min_length=1)

    @model_validator(mode="after")
    def _not_empty(self) -> Match:
        if not self.matcher.conditions:
            raise ValueError(f"expected at least one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def matcher(self) -> Matcher:
        """The conditions as a matcher."""
        return Matcher(**{name: getattr(self, name) for name in type(self).model_fields})


class AlertMatch(Match):
    """Which incidents a route or window applies to. Every condition must match."""

    pool: str | None = Field(None, description="Name of the work pool, or of the deployment's, exactly.", min_length=1)
    check: KnownCheck | None = Field(None, description="The check that found it.")
    severity: Severity | None = Field(None, description="Its severity.")
    owner: str | None = Field(None, description="Its owner, exactly.", min_length=1)
