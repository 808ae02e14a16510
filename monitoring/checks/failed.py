"""failed: the latest ended run of a deployment failed: its code raised an error.

Cancelled runs do not count: they prove neither health nor failure.
"""

from __future__ import annotations

from functools import partial

from monitoring.checks.base import Check, deployments
from monitoring.checks.facts.streaks import StreakSettings, deciding, judge_streak, resolution

CHECK = Check(
    name="failed",
    section=StreakSettings,
    about="The deployment's latest ended run failed: its code raised an error.",
    heading="Failed",
    predicate="failed",
    cases=deployments,
    judge=partial(judge_streak, "failed"),
    deciding=deciding,
    role="failure",
    resolution=resolution,
    quieted_by=("watchdog:expect=failure", "if its runs are expected to fail"),
    digest_heading="What fails",
)
