"""Rules, routes, maintenance windows and silences that match nothing on a server: usually misspelt, or left behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from monitoring.config.policy import Policies
from monitoring.model.matcher import Labels, Matcher
from monitoring.model.policy import PolicyKey
from monitoring.model.silence import Silence


class Unmatched(NamedTuple):
    """A part that matches nothing."""

    #: ``rule 2``, ``route on-call``, ``maintenance window 1`` or ``silence S-3``.
    part: str
    #: That it does, and what there is none of.
    detail: str


def parts(policies: Policies, silences: Iterable[Silence]) -> Iterator[tuple[str, Matcher]]:
    """Yield everything that matches, by name."""
    config = policies.config
    yield from ((f"rule {number}", rule.match.matcher) for number, rule in enumerate(config.rules, 1))
    yield from ((f"route {route.name}", route.match.matcher) for route in config.routes)
    windows = enumerate(config.maintenance, 1)
    yield from ((f"maintenance window {number}", window.match.matcher) for number, window in windows)
    yield from ((f"silence {silence.id}", silence) for silence in silences)


def unmatched(policies: Policies, silences: Iterable[Silence], subjects: Iterable[PolicyKey]) -> Iterator[Unmatched]:
    """Find what matches none of these subjects, which are all deployments, flows and work pools of a server."""
    # The empty key: the server and the watchdog itself, which have no name to match.
    labels = [
        Labels(deployment=key.name or None, tags=key.tags, pool=key.pool, owner=policies.of(*key).owner)
        for key in (*subjects, PolicyKey())
    ]
    for part, matcher in parts(policies, silences):
        # Any check may find something of any severity.
        lasting = {
            name: value for name, value in matcher.conditions.items() if name in ("deployment", "tag", "pool", "owner")
        }
        if lasting and not _any(lasting, labels):
            lacking = [f"{name} {value}" for name, value in lasting.items() if not _any({name: value}, labels)]
            together = " and ".join(f"{name} {value}" for name, value in lasting.items())
            why = f"there is no {' and no '.join(lacking)}" if lacking else f"nothing has {together} together"
            yield Unmatched(part, f"matches nothing on the server: {why}")


def _any(conditions: dict[str, str], labels: Sequence[Labels]) -> bool:
    matcher = Matcher.model_validate(conditions)
    return any(matcher.matches(of) for of in labels)
