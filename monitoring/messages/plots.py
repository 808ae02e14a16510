"""Plots as lines of text, for every receiver that has no pictures."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.model.message import Plot

_WIDEST = 30


def drawn(plot: Plot, block: str = "█") -> Iterator[str]:
    """Draw one line a bar; a value above zero is never nothing.

    Args:
        plot: The bars.
        block: A character that bars are made of.
    """
    most = max((bar.value for bar in plot.bars), default=0)
    width = max((len(bar.label) for bar in plot.bars), default=0)
    lengths = [max(1, round(_WIDEST * bar.value / most)) if bar.value > 0 else 0 for bar in plot.bars]
    longest = max(lengths, default=0)
    for bar, length in zip(plot.bars, lengths, strict=True):
        yield f"{bar.label:>{width}} {block * length:<{longest}} {bar.text}"
