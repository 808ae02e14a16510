"""Redacts secrets in text from runs: messages, tracebacks, parameters.

It recognises addresses with credentials, authorization headers, key-and-value pairs whose key names a secret
(``password=...``, ``"api_key": "..."``, ``--token ...``), tokens of well-known services by their form, private keys,
and the user's own patterns. It prefers to redact too much, except where that would make usual error messages unreadable
(``token: expired``). A lone secret without a recognisable form cannot be found.

Every pattern below is anchored at something rare and repeats only over disjoint or bounded sets of characters, so the
time is linear in the length of any text. The user's own patterns may take longer, so the length of the text is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

#: The replacement of a secret.
MARK = "REDACTED"
#: Characters of a text that are read; the rest is cut off.
MAX_LENGTH = 20_000

#: Keys that name a secret, also at the end of a longer key (``DB_PASSWORD``, ``x-api-key``).
_KEY = r"""(?:
    pass(?:word|wd|phrase|code) | (?<![a-z])pwd | credential
  | secret(?:[_-]?(?:access[_-]?)?key(?:[_-]?base)?)? | token
  | (?:api|account|private|encryption|signing|shared[_-]?access|access)[_-]?key(?![_-]?id)
  | auth[_-]?string | connection[_-]?string | authorization
)(?:[_-]?(?:value|hash|\d{1,3}))?"""

#: Keys that mean something else in prose, so they count only with an equals sign.
_SHORT_KEY = "(?:signature|(?<![a-z])(?:sig|pass))"
_SECRET_KEY = re.compile(rf"(?:{_KEY}|{_SHORT_KEY}|cookie)\W*\Z", re.IGNORECASE | re.VERBOSE)

#: Words that follow a key in a sentence and are not its value.
_PROSE = r"""(?:
    a|an|the|is|was|are|not|no|has|have|must|should|cannot|can|could|may|will|does|did|please
  | and|or|but|for|from|in|of|on|to|with|as|by|option|flag|argument|error|unknown|unset|found|given|provided
  | required|expected|unexpected|expired|invalid|missing|empty|wrong|incorrect|denied|refused|rejected|revoked
  | failed|failure|forbidden|unauthorized|unauthenticated|malformed
)(?![\w-])"""
_NOTHING = r"""(?:(?:none|null|nil|true|false|undefined|\*+)(?![^\s,;&)}\]"']) | ""(?!") | ''(?!'))"""

#: A value: quoted (also within escaped JSON), or up to where the next thing begins.
_VALUE = r"""(?P<value>
    \\{1,3}["'][^"'\\\n]*
  | "(?:\\.|[^"\\\n])*"?
  | '(?:\\.|[^'\\\n])*'?
  | (?:[^\s"'<>,;&)}\]] | [,;&)}\]](?![\s,;&)}\]"']|$|[\w.%\ -]{1,40}[=:]))+
)"""
#: What may precede a value without being part of it: ``b'...'``, ``SecretStr('...')``, ``[...``.
_OPENING = r"""(?:[\[({]{1,3} | [A-Za-z_.]{1,40}\((?=\\*["']) | [brfu]{1,2}(?=\\*["']))?"""

_Replacement = str | Callable[[re.Match[str]], str]
_Rule = tuple[re.Pattern[str], _Replacement]


def _quoted(match: re.Match[str]) -> str:
    """Replace a value and keep its quotes."""
    value = match["value"]
    quote = re.match(r"\\*[\"']", value)
    if quote is None:
        return match["head"] + MARK
    closed = len(value) > 1 and value[0] == value[-1]
    return match["head"] + quote[0] + MARK + (quote[0] if closed else "")


def _rule(pattern: str, replacement: _Replacement = MARK, flags: re.RegexFlag = re.IGNORECASE) -> _Rule:
    return re.compile(pattern, flags | re.VERBOSE), replacement


_HEAD = r"\g<head>" + MARK
_SCHEME = "(?:bearer|basic|digest|negotiate|token|apikey)"
_CASE_COUNTS = re.RegexFlag(0)

_RULES: tuple[_Rule, ...] = (
    # A private key, to its end or to the end of the text.
    _rule(
        r"""-----BEGIN\ [A-Z0-9 ]{0,40}PRIVATE\ KEY[A-Z ]{0,20}-----.*?
            (?:-----END\ [A-Z0-9 ]{0,40}KEY[A-Z ]{0,20}-----|\Z)""",
        flags=re.DOTALL,
    ),
    # Addresses that are secrets themselves.
    _rule(r"""(?P<head>hooks\.slack\.com/)(?:services|workflows|triggers)/[^\s"'<>]+""", _HEAD),
    _rule(r"""(?P<head>discord(?:app)?\.com/api/webhooks/)[^\s"'<>]+""", _HEAD),
    # scheme://user:password@host. A password may hold an @ and, where it cannot be a port with a path, a slash.
    _rule(
        r"""(?<=://)[^\s/"'<>:@]{0,200}:
            (?:[^\s/"'<>]{0,300}(?=@) | (?!\d{1,5}/)[^\s"'<>@]{1,300}(?=@))"""
    ),
    # https://token@host; in other schemes a lone name is a user (git@).
    _rule(r"""(?:(?<=http://)|(?<=https://))[^\s/"'<>:@?#]{1,300}(?=@)"""),
    # Authorization headers, with or without the header's name. "Basic usage" and "bearer token" do not count.
    _rule(
        r"""(?P<head>\b(?:bearer|basic|digest|negotiate|apikey)\s{1,5})
            (?!(?-i:[A-Z]?[a-z]{1,15})(?![\w~+/=-]|\.\w) | [a-z]{1,15}[=:](?!=|\s|$))[\w.~+/=-]{6,}""",
        _HEAD,
    ),
    _rule(rf"""(?P<head>authorization["']?\s{{0,3}}[:=]\s{{0,3}}["']?{_SCHEME}\s{{1,3}})[^\s"',;]+""", _HEAD),
    _rule(r"""(?P<head>cookie["']?\s{0,3}:\s{0,3}["']?)[^\s"'=;]{1,100}=[^\n"']*""", _HEAD),
    # Key and value: `key=value`, `"key": "value"`, `key => value`; and with a colon unless a sentence continues.
    _rule(
        rf"""(?P<head>{_KEY}(?:\\*["'])?\s{{0,3}}
             (?:(?:=>|:=|={{1,2}})\s{{0,3}} | :\s{{0,3}}(?!{_PROSE}))
             (?!{_SCHEME}\s){_OPENING})
             (?!{_NOTHING}){_VALUE}""",
        _quoted,
    ),
    _rule(rf"(?P<head>--[\w-]{{0,40}}?{_KEY}\s{{1,3}})(?!-|{_PROSE}|{_NOTHING}){_VALUE}", _quoted),
    _rule(rf"(?P<head>{_SHORT_KEY}=)(?!{_NOTHING}){_VALUE}", _quoted),
    # Tokens with a known form.
    _rule(
        r"""(?<![A-Za-z0-9])(?:
            (?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])  # AWS access key ids
          | xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{8,} | xapp-[A-Za-z0-9-]{8,}  # Slack
          | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_\w{20,} | glpat-[\w-]{20,}  # GitHub, GitLab
          | pn[ub]_[A-Za-z0-9]{16,}  # Prefect
          | [sr]k_(?:live|test)_[A-Za-z0-9]{10,}  # Stripe
          | sk-(?:[a-z]{2,10}-)?[A-Za-z0-9_]{20,}[\w-]*  # OpenAI, Anthropic
          | AIza[\w-]{35}  # Google
          | npm_[A-Za-z0-9]{30,} | pypi-[\w-]{30,} | hf_[A-Za-z0-9]{30,} | dapi[0-9a-f]{32}
        )""",
        flags=_CASE_COUNTS,
    ),
    # JSON Web Tokens, only at the start of a word: otherwise a text of repeated `eyJ` would be scanned from each.
    _rule(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?", flags=_CASE_COUNTS),
)


def names_secret(key: str) -> bool:
    """Whether a key names a secret, such as ``DB_PASSWORD``, so that any value of it is secret."""
    return _SECRET_KEY.search(key) is not None


class Redactor:
    """Redacts secrets in text. Redacting again changes nothing."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """Compile the user's own regular expressions; everything that they match is a secret."""
        self._own = tuple(re.compile(pattern) for pattern in patterns)

    def redact(self, text: str) -> str:
        """Replace secrets by ``REDACTED``, and cut the text after 20,000 characters."""
        text = _bounded(text)
        for pattern in self._own:
            text = _own(pattern, text)
        for rule, replacement in _RULES:
            text = rule.sub(replacement, text)
        return _bounded(text)


def _own(pattern: re.Pattern[str], text: str) -> str:
    marks = [match.span() for match in re.finditer(MARK, text)]

    def replacement(match: re.Match[str]) -> str:
        start, end = match.span()
        # Ignore empty matches, and matches within an earlier mark, as of "ACT" in "REDACTED".
        within = any(first <= start and end <= last for first, last in marks)
        return match[0] if start == end or within else MARK

    return pattern.sub(replacement, text)


def _bounded(text: str) -> str:
    if len(text) <= MAX_LENGTH:
        return text
    # Half a token no longer has a known form, so the last word is removed as a whole.
    head = text[: MAX_LENGTH - 1]
    words = re.fullmatch(r"(.*\s)\S*", head, re.DOTALL)
    return (words[1].rstrip() if words else head) + "…"
