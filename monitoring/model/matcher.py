"""Which deployments and incidents a rule, a route, a silence or a maintenance window applies to."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache

from monitoring.model.base import Value
from monitoring.model.finding import CheckName, Severity


class Labels(Value):
    """What a deployment or an incident can be matched by."""

    #: ``flow/deployment``, or the flow of runs without a deployment; None for anything else.
    deployment: str | None = None
    tags: tuple[str, ...] = ()
    pool: str | None = None
    check: CheckName | None = None
    severity: Severity | None = None
    owner: str | None = None


class Matcher(Value):
    """Conditions on labels. All that are given must hold; a matcher without conditions matches nothing."""

    #: A shell-style pattern on ``flow/deployment``. Case counts.
    deployment: str | None = None
    tag: str | None = None
    pool: str | None = None
    check: CheckName | None = None
    severity: Severity | None = None
    owner: str | None = None

    @property
    def conditions(self) -> dict[str, str]:
        """The conditions that are given, by name."""
        given = {name: getattr(self, name) for name in Matcher.model_fields}
        return {name: value for name, value in given.items() if value is not None}

    def matches(self, labels: Labels) -> bool:
        """Whether all conditions hold for these labels."""
        return (
            (self.deployment is None or _matches(self.deployment, labels.deployment))
            and (self.tag is None or self.tag in labels.tags)
            and (self.pool is None or self.pool == labels.pool)
            and (self.check is None or self.check == labels.check)
            and (self.severity is None or self.severity == labels.severity)
            and (self.owner is None or self.owner == labels.owner)
            and bool(self.conditions)
        )


def _matches(glob: str, name: str | None) -> bool:
    return name is not None and _pattern(glob).match(name) is not None


@lru_cache(maxsize=10_000)
def _pattern(glob: str) -> re.Pattern[str]:
    # fnmatch's own cache is small, and every rule is tried on every deployment.
    return re.compile(translate(glob))
