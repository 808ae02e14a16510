"""Plots as lines of text, for receivers that have no pictures."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.model.message import Plot

_WIDTH = 30


def drawn(plot: Plot, block: str = "█", rest: str = "░") -> Iterator[str]:
    """Draw one line a bar; a value above zero is never nothing.

    Args:
        plot: The bars.
        block: A character that bars are made of.
        rest: A character for the rest of a line. It is no space, so that bars stay aligned where spaces are joined.
    """
    most = max((bar.value for bar in plot.bars), default=0)
    width = max((len(bar.label) for bar in plot.bars), default=0)
    for bar in plot.bars:
        length = max(1, round(_WIDTH * bar.value / most)) if bar.value > 0 else 0
        yield f"{bar.label:>{width}} {block * length}{rest * (_WIDTH - length)} {bar.text}"
