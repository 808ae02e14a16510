"""crashed: the latest ended run of a deployment crashed: its process or infrastructure died."""

from __future__ import annotations

from monitoring.checks.facts.streaks import streak_check

CHECK = streak_check("crashed", about="The deployment's latest ended run crashed: its process or infrastructure died.")
