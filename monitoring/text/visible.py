"""Removes what a reader does not see: terminal codes and invisible characters, which could also split a secret."""

from __future__ import annotations

import re

#: Terminal codes: colours and cursor movements, titles and links, and single-character functions; in their 7-bit and
#: 8-bit forms, and as ``repr`` and JSON write the escape character.
_TERMINAL = re.compile(
    r"""(?:\x1b\[|\x9b|\\{1,4}(?:x1b|u001b|033)\[)[0-?]{0,100}[ -/]{0,10}[@-~]
      | (?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?
      | \x1b[@-Z\\^_]""",
    re.VERBOSE | re.IGNORECASE,
)
#: Control characters except whitespace (Cc), formatting characters (Cf: zero width, bidirectional, soft hyphens, tags),
#: surrogates (Cs, which cannot be encoded), and the other ``Default_Ignorable_Code_Point`` of Unicode 16, which have no
#: glyph either: joiners, fillers and variation selectors.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160"
    "\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)


def visible(text: str) -> str:
    """Remove terminal codes and invisible characters; whitespace stays."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return _INVISIBLE.sub("", _TERMINAL.sub("", text))
