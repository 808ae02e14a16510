"""Text that others wrote, made harmless for where it is shown.

Names and messages come from whoever may start a run. Each place that shows them reads some characters
as its own language, so each has its own function here; all of them begin with ``clean``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from monitoring.text.limits import SLACK_URL

#: Characters of one value that are shown, where nobody asks for fewer.
LIMIT = 300
#: Nothing beyond this is even looked at: a run's message can hold megabytes.
_READ = 20_000

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-Z\\^_]")
#: Cc are control characters; Cf the invisible ones: zero width, bidirectional, soft hyphen, tags. Cs cannot be encoded.
_INVISIBLE = {"Cc", "Cf", "Cs"}

_MARKDOWN = re.compile(r"[\\`*_\[\]<>|~&$]")
_LINE_START = re.compile(r"#{1,6}(?:\s|$)|[+-](?:\s|$)|[-:=](?=[-:=\s]|$)|\d{1,9}(?=[.)](?:\s|$))")
#: What GitHub's Markdown links without being asked: addresses, ``www.`` and mail addresses.
_AUTOLINK = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)", re.IGNORECASE)
_BACKTICKS = re.compile(r"`+")
_MOST_INDENT = 12
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: Invisible, without width, and no part of an address: it ends what would become a link.
WORD_JOINER = "\u2060"

#: What Slack reads as formatting at the edge of a word, and what looks like it. Slack has no way to escape it.
_SLACK_ALIKE = str.maketrans({"*": "\u2217", "_": "\u02cd", "~": "\u223c", "`": "\u02cb"})
#: What HTML, Markdown and Slack read as a tag, formatting or an escape wherever it stands.
_ALIKE = str.maketrans({"<": "\u2039", ">": "\u203a", "*": "\u2217", "`": "\u02cb", "\\": "\u2216"})
_SLACK_EDGE = re.compile(r"(?<![^\W_])[*_~`]|[*_~`](?![^\W_])")


def clean(text: str, limit: int = LIMIT) -> str:
    """Make one line of visible characters.

    Args:
        text: Anything.
        limit: The most characters of the answer; what is longer ends with an ellipsis, at a word's end if there is one.
    """
    cut_off = len(text) > _READ
    plain = _ANSI.sub("", text[:_READ])
    # Whitespace first: a line feed is a control character too, and must leave a space behind.
    spaced = " ".join(plain.split())
    shown = "".join(char for char in spaced if unicodedata.category(char) not in _INVISIBLE)
    shown = " ".join(shown.split())
    return _shorten(shown + "…" if cut_off else shown, limit)


def _shorten(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    space = head.rfind(" ")
    # A word's end is a good place to stop unless most of the text would be lost for it.
    return (head[:space] if space > limit * 0.8 else head).rstrip() + "…"


def markdown(text: str, limit: int = LIMIT) -> str:
    """Escape text for GitHub's Markdown, within a line or a table's cell: it reads as it is and does nothing.

    Addresses are broken with a word joiner, as a viewer would make links of them whatever is escaped.
    """
    shown = clean(text, limit)
    start = _LINE_START.match(shown)
    escaped = _MARKDOWN.sub(r"\\\g<0>", _AUTOLINK.sub(WORD_JOINER, shown))
    if start:
        # What makes a heading, a list or a rule does so only at the start of a line.
        at = start.end() if start[0][0].isdigit() else 0
        escaped = f"{escaped[:at]}\\{escaped[at:]}"
    return escaped


def markdown_code(text: str) -> str:
    """Put a line into Markdown's code formatting, in a table's cell too.

    Args:
        text: Visible characters.
    """
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", "\\|")


def markdown_lines(lines: Iterable[str], limit: int = LIMIT) -> str:
    """Put lines into a fenced block of Markdown, in which nothing is read as its language; indented as they were.

    Args:
        lines: Anything.
        limit: The most characters of each line.
    """
    shown = [indented(line, limit) for line in lines]
    longest = max((len(run) for line in shown for run in _BACKTICKS.findall(line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}text", *shown, fence])


def indented(line: str, limit: int = LIMIT) -> str:
    """Make one line of visible characters, and leave the spaces before it, as in a traceback."""
    return " " * min(len(line) - len(line.lstrip(" ")), _MOST_INDENT) + clean(line, limit)


def spaced(text: str, escaped: str) -> str:
    """Put back the single spaces at the ends of a text, which ``clean`` takes away, and neighbours need."""
    before = " " if text[:1] == " " else ""
    after = " " if text[-1:] == " " and escaped else ""
    return f"{before}{escaped}{after}"


def address(url: str | None) -> str | None:
    """Encode an address so that it cannot end the link that it is put in; None for anything but http and https."""
    if url is None:
        return None
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        return None
    if scheme not in ("http", "https"):
        return None
    encoded = quote(url.encode("utf-8", "replace"), safe="%/:=&?~#+!,;@-._[]$")
    return _LONE_PERCENT.sub("%25", encoded)


def markdown_link(text: str, url: str | None, limit: int = LIMIT) -> str:
    """Link text to an address; plain text where there is no address that can be linked to."""
    label, target = markdown(text, limit), address(url)
    if not target or not label:
        return label
    # Markdown reads `&copy;` in an address too.
    return f"[{label}]({target.replace('&', '&amp;')})"


def slack(text: str, limit: int = LIMIT) -> str:
    """Escape text for Slack's mrkdwn: no mention, no link and no formatting comes through.

    ``&``, ``<`` and ``>`` as https://docs.slack.dev/messaging/formatting-message-text asks; what would be formatting at
    the edge of a word is replaced by characters that look alike.
    """
    shown = _SLACK_EDGE.sub(lambda match: match[0].translate(_SLACK_ALIKE), clean(text, limit))
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def slack_link(text: str, url: str | None, limit: int = LIMIT) -> str:
    """Link text to an address in Slack's mrkdwn; plain text where there is no address that can be linked to."""
    label, target = slack(text, limit), address(url)
    if not target or not label:
        return label
    # The first bar ends the address; a second one is kept out of the label.
    return f"<{target.replace('&', '&amp;')}|{label.replace('|', '¦')}>"


def slack_size(text: str) -> int:
    """Count characters as Slack may: as JSON, and a character beyond the basic plane, such as an emoji, as two."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-16-le")) // 2 - len('""')


def slack_bounded(text: str, most: int, url: str | None = None) -> str:
    """Escape text for Slack, linked where there is an address.

    Args:
        text: Anything.
        most: The most characters of the escaped text, as Slack counts them; an address counts apart.
        url: Where it links to; one that is too long is left out.
    """
    target = address(url)
    room = SLACK_URL if target and slack_size(target.replace("&", "&amp;")) < SLACK_URL else 0
    text, limit = clean(text, most), most
    while True:
        shown = slack_link(text, url, limit) if room else slack(text, limit)
        if slack_size(shown) <= most + room or limit <= 1:
            return shown
        limit = limit * 3 // 4


def slack_code(text: str) -> str:
    """Put a line into Slack's code formatting, which only a backquote would end.

    Args:
        text: Visible characters.
    """
    return f"`{_in_slack_code(text)}`"


def slack_code_block(lines: Iterable[str], limit: int = LIMIT) -> str:
    """Put lines into a block of code of Slack's, in which nothing is read as its language; indented as they were.

    Args:
        lines: Anything.
        limit: The most characters of each line.
    """
    shown = (_in_slack_code(indented(line, limit)) for line in lines)
    return "\n".join(["```", *shown, "```"])


def _in_slack_code(text: str) -> str:
    return text.replace("`", "\u02cb").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def anywhere(text: str, limit: int = LIMIT) -> str:
    """Make text harmless where nobody knows what reads it: Markdown, HTML, Slack's language, or nothing but eyes.

    Nothing can be escaped for all of these, so that what would do something in one of them is replaced by what looks
    alike, or broken with a word joiner.
    """
    shown = _SLACK_EDGE.sub(lambda match: match[0].translate(_SLACK_ALIKE), clean(text, limit))
    return _AUTOLINK.sub(WORD_JOINER, shown.translate(_ALIKE).replace("](", f"]{WORD_JOINER}("))


def terminal(text: str, limit: int = LIMIT) -> str:
    """Make text harmless for a terminal. It goes into ``rich.text.Text``, which reads no markup."""
    return clean(text, limit)
