"""crashed: the latest ended run of a deployment crashed: its process or infrastructure died.

Cancelled runs do not count: they prove neither health nor failure.
"""

from __future__ import annotations

from functools import partial

from monitoring.checks.base import Check, deployments
from monitoring.checks.facts.streaks import StreakSettings, deciding, judge_streak, resolution

CHECK = Check(
    name="crashed",
    section=StreakSettings,
    about="The deployment's latest ended run crashed: its process or infrastructure died.",
    heading="Crashed",
    predicate="crashed",
    cases=deployments,
    judge=partial(judge_streak, "crashed"),
    deciding=deciding,
    role="failure",
    resolution=resolution,
    digest_heading="What fails",
)
