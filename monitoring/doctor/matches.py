"""Judges whether rules, routes, maintenance windows and silences match anything that exists."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.config.policy import Policies
from monitoring.config.unmatched import parts, unmatched
from monitoring.doctor.examination import Examined, not_examined
from monitoring.doctor.installation import SUBJECTS, Installation


def examine_matches(found: Installation, policies: Policies) -> Iterator[Examined]:
    """Warn of each part that matches nothing; it is either misspelt or no longer needed."""
    silences = found.kept.silences
    if not any(parts(policies, silences)):
        return
    if why := found.unread(SUBJECTS):
        yield not_examined("matches", why)
        return
    for part, detail in unmatched(policies, silences, found.subjects):
        fix = f"correct or remove it in {policies.origin}"
        if part.startswith("silence "):
            fix = f"watchdog {part.replace(' ', ' expire ')}; then add it anew if it is misspelt"
        yield Examined(part, "warning", detail, fix)
