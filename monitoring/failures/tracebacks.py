"""Finds the end of a traceback in a log line: the last frames and the exception."""

from __future__ import annotations

import re
from collections.abc import Sequence

_HEAD = "Traceback (most recent call last):"
#: Lines of the exception's own text, frames, characters of a line, and characters in all.
_MAX_MESSAGE_LINES = 3
_MAX_FRAMES = 3
_MAX_LINE = 160
_MAX_CHARACTERS = 1_000
#: The margin and the rules that Python prints around the parts of an exception group.
_MARGIN = re.compile(r"^ *\| ?")
_RULE = re.compile(r"^ *\+-+[-+ \d.]*$")
_POINTER = re.compile(r"^[\s^~]+$")
_OF_PREFECT = re.compile(r"""^  File "[^"]*site-packages[/\\]prefect[/\\]""")
_OF_LIBRARY = re.compile(r"""^  File "(?:<frozen|[^"]*(?:site-packages|[/\\]lib[/\\]python3))""")
_TYPE = re.compile(r"([A-Za-z_][\w.]{0,199})(?::|$)")


def last_traceback(text: str) -> str:
    """The last traceback in a log entry, up to the end of the entry; empty if there is none.

    The text is cut only before the traceback, so that redaction sees whole secrets: half a secret has another form.
    """
    start = text.rfind(_HEAD)
    return text[start:] if start >= 0 else ""


def ends_in(text: str, exception: str) -> bool:
    """Whether a log entry has a traceback that ends in, or groups, an exception of this type."""
    name = re.escape(exception.rpartition(".")[2])
    return _HEAD in text and re.search(rf"^[ |+-]*(?:[\w.]*\.)?{name}(?::|\(| *$)", text, re.MULTILINE) is not None


def traceback_end(traceback: str) -> str:
    """The end of a traceback: the frames that matter, without Prefect's own, and the exception; at most ten lines."""
    frames, exception = _parts(traceback)
    kept = _that_matter(frames)
    lines = [*(line for frame in kept for line in frame), *exception]
    while kept and sum(len(line) + 1 for line in lines) > _MAX_CHARACTERS:
        lines, kept = lines[len(kept[0]) :], kept[1:]
    return "\n".join(lines)[:_MAX_CHARACTERS]


def shortened(lines: Sequence[str], most: int) -> tuple[str, ...]:
    """At most so many lines of the end of a traceback: above all where the user's own code raised, and the exception.

    Of a log without a traceback, the last lines.
    """
    frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    newest = list(range(len(lines)))[::-1]
    if frames:
        own = [
            number for number in frames if not (_OF_LIBRARY.match(lines[number]) or _OF_PREFECT.match(lines[number]))
        ]
        place = (own or frames)[-1]
        exception = [number for number in newest[::-1] if number > frames[-1] and not lines[number].startswith(" ")]
        newest = [place, *exception[:1], place + 1, *exception[1:], *newest]
    kept = list(dict.fromkeys(newest))[:most]
    return tuple(lines[number] for number in sorted(kept) if number < len(lines))


def raised(traceback: str) -> str | None:
    """The type of the exception that a traceback ends in, with its module; None if it is cut off."""
    _, exception = _parts(traceback)
    named = _TYPE.match(exception[0]) if exception else None
    return named[1] if named else None


def _parts(traceback: str) -> tuple[list[tuple[str, ...]], list[str]]:
    """The frames, each with its line of code, and the first lines of the exception."""
    lines = [_MARGIN.sub("", line) for line in traceback.splitlines()[1:] if not _RULE.match(line)]
    frames: list[tuple[str, ...]] = []
    for number, line in enumerate(lines):
        if line.startswith('  File "'):
            frames.append((_cut(line),))
        elif not line.startswith(" ") and line:
            exception = [_cut(rest) for rest in lines[number:] if rest.strip()]
            return frames, exception[:_MAX_MESSAGE_LINES]
        elif frames and len(frames[-1]) == 1 and line.startswith("    ") and not _POINTER.match(line):
            frames[-1] = (*frames[-1], _cut(line))
    return frames, []


def _that_matter(frames: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The last frames, including the last frame of the user's own code."""
    outside = [frame for frame in frames if not _OF_PREFECT.match(frame[0])] or list(frames)
    last = outside[-_MAX_FRAMES:]
    own = [frame for frame in outside if not _OF_LIBRARY.match(frame[0])]
    return last if not own or own[-1] in last else [own[-1], *last[1:]]


def _cut(line: str) -> str:
    return line if len(line) <= _MAX_LINE else line[: _MAX_LINE - 1] + "…"
