"""The user's own patterns of secrets, each with a bound on its time: on some text, some patterns never end.

They are compiled with the ``regex`` module, which reads the patterns of Python's ``re`` and can stop. The bound is on
processor time, so that a busy machine changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import regex

from monitoring.text.redaction import MARK

#: Seconds that a pattern may take on one text; usual patterns take a hundredth of it on the longest.
_MAX_SECONDS = 0.1
#: After a pattern has run out of time so often, it gets much less: a run may log thousands of such texts.
_MAX_SLOW = 10
_MAX_SECONDS_THEN = 0.005
#: Characters of the texts that a pattern is tried on: a long message. Patterns whose time grows with the square of the
#: length finish these, and only run out of time on extreme texts.
_TRIED = 2_000


class OwnPatterns:
    """Redacts what the user's own patterns match."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(regex.compile(pattern) for pattern in patterns)
        self._slow = 0

    def redact(self, text: str) -> str | None:
        """Replace what the patterns match, except within an earlier mark.

        None if a pattern did not finish: then a secret may be left in the text.
        """
        for pattern in self._patterns:
            try:
                text = _replaced(pattern, text, _MAX_SECONDS if self._slow < _MAX_SLOW else _MAX_SECONDS_THEN)
            except TimeoutError:
                self._slow += 1
                return None
        return text


def is_slow(pattern: str) -> bool:
    """Whether a pattern runs out of time on long texts that repeat what the pattern is made of, and then differ."""
    compiled = regex.compile(pattern)
    try:
        for text in _adversarial(pattern):
            _replaced(compiled, text, _MAX_SECONDS)
    except TimeoutError:
        return True
    return False


def _adversarial(pattern: str) -> Iterator[str]:
    """Long texts on which a pattern backtracks if it can: repetitions of its characters, classes and words.

    They end in all its other characters, as the module looks first whether what must follow is there at all.
    """
    letters = sorted({char for char in pattern if char.isalnum()})[:40]
    words = [word for word in re.findall(r"\w{2,20}", pattern) if word.isalnum()][:10]
    parts = [*'aA0 _-./=:,@x"', *letters, *words, "a ", "a.", "a-", "a,", "a=", "ab", "a0"]
    end = "\x00" + "".join(sorted(set(pattern)))
    for part in dict.fromkeys(parts):
        for start in ("", *words[:3]):
            yield start + part * (_TRIED // len(part)) + end


def _replaced(pattern: regex.Pattern[str], text: str, seconds: float) -> str:
    marks = [match.span() for match in re.finditer(MARK, text)]

    def replacement(match: regex.Match[str]) -> str:
        start, end = match.span()
        # Ignore empty matches, and matches within an earlier mark, as of "ACT" in "REDACTED".
        within = any(first <= start and end <= last for first, last in marks)
        return match[0] if start == end or within else MARK

    replaced: str = pattern.sub(replacement, text, timeout=seconds)
    return replaced
