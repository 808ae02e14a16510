"""Shares with their uncertainty."""

from __future__ import annotations

import math
from statistics import NormalDist

_Z = NormalDist().inv_cdf(0.975)


def wilson(found: int, of: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share by Wilson's score; everything is possible of nothing."""
    if of == 0:
        return 0.0, 1.0
    share, square = found / of, _Z * _Z / of
    middle = share + square / 2
    spread = _Z * math.sqrt(share * (1 - share) / of + square / (4 * of))
    return max(0.0, (middle - spread) / (1 + square)), min(1.0, (middle + spread) / (1 + square))


def percent(found: int, of: int) -> str:
    """A share in percent, with its interval: ``97 % (95 to 98)``."""
    low, high = wilson(found, of)
    return f"{100 * found / of:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def per_thousand(found: int, of: int) -> str:
    """A share in a thousand, with its interval: ``0.4 (0.2 to 0.9)``."""
    low, high = wilson(found, of)
    return f"{1000 * found / of:.1f} ({1000 * low:.1f} to {1000 * high:.1f})"
