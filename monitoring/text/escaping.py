"""Makes text from others harmless for the receiver that shows it.

Names and messages come from anybody who may start a run. Each receiver interprets some characters as its own markup,
so each has its own functions here; all of them begin with ``clean``, which is all that a terminal needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from monitoring.text.limits import SLACK_URL
from monitoring.text.visible import visible

#: Characters of a value that are shown by default.
LIMIT = 300
#: Characters that are read: a run's message can have megabytes.
_MAX_READ = 20_000

_MARKDOWN = re.compile(r"[\\`*_\[\]<>|~&$]")
_LINE_START = re.compile(r"#{1,6}(?:\s|$)|[+-](?:\s|$)|[-:=](?=[-:=\s]|$)|\d{1,9}(?=[.)](?:\s|$))")
#: What GitHub's Markdown turns into links by itself: addresses, ``www.`` and mail addresses.
_AUTOLINK = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)", re.IGNORECASE)
_BACKTICKS = re.compile(r"`+")
_MAX_INDENT = 12
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: Invisible, without width, and not part of an address: it breaks text that would become a link.
WORD_JOINER = "\u2060"

#: Characters that Slack reads as formatting at the edge of a word, and lookalikes. Slack has no escape for them.
_SLACK_ALIKE = str.maketrans({"*": "\u2217", "_": "\u02cd", "~": "\u223c", "`": "\u02cb"})
#: Characters that HTML, Markdown and Slack read as a tag, formatting or an escape anywhere.
_ALIKE = str.maketrans({"<": "\u2039", ">": "\u203a", "*": "\u2217", "`": "\u02cb", "\\": "\u2216"})
_SLACK_EDGE = re.compile(r"(?<![^\W_])[*_~`]|[*_~`](?![^\W_])")


def clean(text: str, limit: int = LIMIT) -> str:
    """Make one line of visible characters. Longer text is cut, at the end of a word if possible, with an ellipsis."""
    cut_off = len(text) > _MAX_READ
    spaced = " ".join(visible(text[:_MAX_READ]).split())
    return _shorten(spaced + "…" if cut_off else spaced, limit)


def _shorten(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    space = head.rfind(" ")
    # Cut at the end of a word, unless too much text would be lost.
    return (head[:space] if space > limit * 0.8 else head).rstrip() + "…"


def markdown(text: str, limit: int = LIMIT) -> str:
    """Escape text for GitHub's Markdown, within a line or a table cell: it is shown as it is, without any effect.

    Addresses are broken with a word joiner, because a viewer would turn them into links even if escaped.
    """
    shown = clean(text, limit)
    start = _LINE_START.match(shown)
    escaped = _MARKDOWN.sub(r"\\\g<0>", _AUTOLINK.sub(WORD_JOINER, shown))
    if start:
        # Headings, lists and rules begin only at the start of a line.
        at = start.end() if start[0][0].isdigit() else 0
        escaped = f"{escaped[:at]}\\{escaped[at:]}"
    return escaped


def markdown_code(text: str) -> str:
    """Put visible characters into Markdown's code formatting, which works in a table cell too."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", "\\|")


def markdown_lines(lines: Iterable[str], limit: int = LIMIT) -> str:
    """Put lines into a fenced block of Markdown, which shows them literally and keeps their indentation."""
    shown = [indented(line, limit) for line in lines]
    longest = max((len(run) for line in shown for run in _BACKTICKS.findall(line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}text", *shown, fence])


def indented(line: str, limit: int = LIMIT) -> str:
    """Make one line of visible characters, and keep its indentation, as in a traceback."""
    return " " * min(len(line) - len(line.lstrip(" ")), _MAX_INDENT) + clean(line, limit)


def spaced(text: str, escaped: str) -> str:
    """Restore the single spaces at the ends of a text, which ``clean`` removes and neighbouring text needs."""
    before = " " if text[:1] == " " else ""
    after = " " if text[-1:] == " " and escaped else ""
    return f"{before}{escaped}{after}"


def address(url: str | None) -> str | None:
    """Encode an address so that it cannot end the link around it; None for anything but http and https."""
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
    """Link text to an address; plain text without a usable address."""
    label, target = markdown(text, limit), address(url)
    if not target or not label:
        return label
    # Markdown interprets `&copy;` in an address too.
    return f"[{label}]({target.replace('&', '&amp;')})"


def slack(text: str, limit: int = LIMIT) -> str:
    """Escape text for Slack's mrkdwn: mentions, links and formatting have no effect.

    ``&``, ``<`` and ``>`` are escaped as https://docs.slack.dev/messaging/formatting-message-text requires; formatting
    characters at the edge of a word are replaced by lookalikes.
    """
    return _entities(_without_formatting(clean(text, limit)))


def slack_link(text: str, url: str | None, limit: int = LIMIT) -> str:
    """Link text to an address in Slack's mrkdwn; plain text without a usable address."""
    label, target = slack(text, limit), address(url)
    if not target or not label:
        return label
    # The first bar ends the address, and the label must not contain another.
    return f"<{target.replace('&', '&amp;')}|{label.replace('|', '¦')}>"


def slack_size(text: str) -> int:
    """Count characters as Slack may: as JSON, and a character beyond the basic plane, such as an emoji, as two."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-16-le")) // 2 - len('""')


def slack_bounded(text: str, max_size: int, url: str | None = None) -> str:
    """Escape text for Slack within a size, as Slack counts it, with a link if there is an address.

    The size does not include the address, which is left out if it is too long.
    """
    target = address(url)
    short = target is not None and slack_size(target.replace("&", "&amp;")) < SLACK_URL
    text, limit = clean(text, max_size), max_size
    while limit > 1 and slack_size(slack(text, limit)) > max_size:
        limit = limit * 3 // 4
    return slack_link(text, url if short else None, limit)


def slack_code(text: str) -> str:
    """Put visible characters into Slack's code formatting, which only a backquote could end."""
    return f"`{_in_slack_code(text)}`"


def slack_code_block(lines: Iterable[str], limit: int = LIMIT) -> str:
    """Put lines into a Slack code block, which shows them literally and keeps their indentation."""
    return "\n".join(["```", *(_in_slack_code(indented(line, limit)) for line in lines), "```"])


def _in_slack_code(text: str) -> str:
    return _entities(text.replace("`", "\u02cb"))


def _entities(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _without_formatting(text: str) -> str:
    """Replace characters that Slack reads as formatting at the edge of a word."""
    return _SLACK_EDGE.sub(lambda match: match[0].translate(_SLACK_ALIKE), text)


def anywhere(text: str, limit: int = LIMIT) -> str:
    """Make text harmless for an unknown receiver, which may interpret Markdown, HTML, Slack's mrkdwn or nothing.

    No escape works for all of these, so special characters are replaced by lookalikes or broken with a word joiner.
    """
    shown = _without_formatting(clean(text, limit)).translate(_ALIKE)
    return _AUTOLINK.sub(WORD_JOINER, shown.replace("](", f"]{WORD_JOINER}("))
