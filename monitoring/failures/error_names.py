"""Names of errors: the same error with other numbers, ids, addresses or paths has the same name.

Text from runs is hostile and long. Every pattern below begins at the beginning of a word and repeats over sets of
characters that its next part does not share, so that the time is linear in the length of the text.
"""

from __future__ import annotations

import hashlib
import re

from monitoring.model.failure import Failure

#: Replaces what varies in a readable error.
VARIES = "…"
#: Characters kept of an error's line.
MAX_REASON = 200
#: Characters of a normalised error that make its name: lists in messages have any length.
_MAX_NAMED = 300
#: Characters of a message that are read.
_MAX_READ = 20_000

#: Prefixes of an exception in a state's message (prefect/states.py, flow_engine.py, task_engine.py).
_WRAPPING = re.compile(
    r"(?:Flow run encountered an exception: |Task run encountered an exception:? "
    r"|Execution was interrupted by an unexpected exception: |Validation of flow parameters failed with error: "
    r"|Flow run failed due to timeout: |FailedRun: |CrashedRun: )"
)
_EXCEPTION = re.compile(r"([A-Za-z_][\w.]{0,199})(?::|\(|$)")
#: The message of a run that returned its tasks' or subflows' states (prefect/states.py, `return_value_to_state`).
_RETURNED_STATES = re.compile(r"\d+/\d+ states failed\.?")

_VARIABLE = re.compile(
    r"""
    (?<![\w.+-])[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s"'<>()\[\]{},;]*                     # https://..., s3://...
  | (?<=host=)(?:'[^'\n]*'|"[^"\n]*")                                                   # host='...'
  | (?<![\w'"])(?:'(?:/|[A-Za-z]:\\)[^'\n]{1,500}'|"(?:/|[A-Za-z]:\\)[^"\n]{1,500}")       # '/data/My file.csv'
  | (?P<kind>\b(?i:flow\ run|task\ run|pod|job|container|worker|process|host)\ )        # a generated name
    (?:'[^'\n]{1,200}'|"[^"\n]{1,200}")
  | (?<![\w.+-])[\w.+-]{1,64}@[\w.-]{1,200}                                             # mail, git@host
  | (?<!\w)[A-Za-z]:\\[^\s"'<>|:*?,;]*                                                  # C:\...
  | (?<![\w./~])(?:~|\.{1,2})?/[\w.@%+=~-]+(?:/[\w.@%+=~-]*)*                           # /data/in.csv, ~/x, ../x
  | (?<![\w./-])[\w.-]+(?:/[\w.-]+)+\.[A-Za-z0-9]{1,5}(?![\w/-])                        # data/in.csv
  | (?<![A-Za-z0-9])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![A-Za-z0-9]) # UUIDs
  | (?<![A-Za-z0-9])0[xX][0-9a-fA-F]+(?![A-Za-z0-9])                                    # addresses in memory
  | (?<!\d)\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?                    # timestamps
    (?:Z\b|[ ]UTC\b|[+-]\d\d:?\d\d(?!\d))?)?(?!\d)
  | (?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?!\w|:\w)                    # IPv6, times of day
  | (?<![\w.-])(?:localhost|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+):\d{2,5}(?!\w)          # host:port
  | (?<![\w.-])(?:[A-Za-z0-9_-]+\.)+(?:com|net|org|io|dev|cloud|local|internal|lan|corp|svc|example)(?![\w-]|\.\w)
  | (?<![\w.])\d+(?:[.,_]\d+)*(?:[eE][+-]?\d+)?(?![A-Za-z0-9])                          # numbers
  | (?P<word>(?<![A-Za-z0-9])[A-Za-z]*\d[A-Za-z0-9]*)                                    # words with digits in them
    """,
    re.VERBOSE,
)
_HEX = re.compile(r"[0-9a-fA-F]{6,}")
_TURN = re.compile(r"(?<=\d)(?=[A-Za-z])|(?<=[A-Za-z])(?=\d)")
_DIGITS = re.compile(r"\d+")
#: Lists of what varies have any length; a sign and a percent sign belong to a number.
_LIST = re.compile(r"[+-]?…%?(?:[ ,.:;_/+-]{0,2}…%?)*")


def failure_of(message: str) -> Failure:
    """Derive why a run failed or crashed from its state's message alone, redacted."""
    error = bare(message)
    return Failure(exception=exception_of(message), reason=one_line(error, MAX_REASON), error=error_name(error))


def bare(message: str) -> str:
    """Remove Prefect's prefix of an exception; empty if a message only counts failed states."""
    text = message[:_MAX_READ].strip()
    while wrapping := _WRAPPING.match(text):
        text = text[wrapping.end() :]
    return "" if returned_states(text) else text.strip()


def returned_states(message: str) -> bool:
    """Whether a run failed because of the states that it returned: its message only counts them."""
    return _RETURNED_STATES.fullmatch(message) is not None


def exception_of(message: str) -> str | None:
    """The type of the exception in a state's message, as Prefect writes it; None without an exception."""
    if not _WRAPPING.match(message):
        return None
    named = _EXCEPTION.match(bare(message))
    return named[1] if named else None


def error_name(text: str) -> str:
    """A short name of an error, which does not depend on its numbers, ids, addresses and paths; empty without text."""
    normal = normalised(text)
    return hashlib.sha256(normal.encode(errors="replace")).hexdigest()[:12] if normal else ""


def normalised(text: str) -> str:
    """An error with a mark for everything that varies, in one line of at most 300 characters."""
    marked = _VARIABLE.sub(_mark, text[:_MAX_READ].replace(VARIES, "..."))
    return _LIST.sub(VARIES, " ".join(marked.split()))[:_MAX_NAMED].strip()


def one_line(text: str, max_length: int) -> str:
    """A text in one line of at most ``max_length`` characters."""
    line = " ".join(text[:_MAX_READ].split())
    return line if len(line) <= max_length else line[: max_length - 1].rstrip() + "…"


def _mark(match: re.Match[str]) -> str:
    if match["kind"]:
        return match["kind"] + VARIES
    word = match["word"]
    # `v2` and `utf8` are words, `x2k4p` and `7d9f8b6c5` are not.
    if word is None or _HEX.fullmatch(word) or len(_TURN.findall(word)) > 1:
        return VARIES
    return _DIGITS.sub(VARIES, word)
