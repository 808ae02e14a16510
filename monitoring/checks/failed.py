"""failed: the latest ended run of a deployment failed: its code raised an error."""

from __future__ import annotations

from monitoring.checks.facts.streaks import streak_check

CHECK = streak_check(
    "failed",
    about="The deployment's latest ended run failed: its code raised an error.",
    quieted_by=("watchdog:expect=failure", "if its runs are expected to fail"),
)
