"""Redacts secrets in text from runs: names, messages, tracebacks, parameters.

It recognises addresses with credentials, authorization headers, key-and-value pairs whose key names a secret
(``password=...``, ``"api_key": "..."``, ``--token ...``), tokens of well-known services by their form, private keys,
and the user's own patterns. It prefers to redact too much, except where that would make usual error messages unreadable
(``token: expired``). A lone secret without a recognisable form cannot be found.

What a reader does not see is removed first: a colour code within a secret would hide it from the patterns and from
nobody else.

Every pattern below is anchored at something rare and repeats only over disjoint or bounded sets of characters, so the
time is linear in the length of any text. The user's own patterns may take longer: see ``OwnPatterns``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from monitoring.text.visible import visible

if TYPE_CHECKING:
    from monitoring.text.own_patterns import OwnPatterns

#: The replacement of a secret.
MARK = "REDACTED"
#: Characters of a text that are kept; the rest is cut off.
MAX_LENGTH = 20_000
#: Characters that are read: many of them may be invisible.
_MAX_READ = 4 * MAX_LENGTH
#: No token with a known form is longer than this, except JSON Web Tokens, whose beginning is a form of its own.
_MAX_TOKEN = 500
#: Replaces a text that one of the user's own patterns did not finish.
WITHHELD = "(not shown: a pattern of redact.patterns took too long on this text, see `watchdog config check`)"

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
    a|an|the|it|this|that|these|they|you|we|if|when|because|which|set|create|use|see|never|only
  | is|was|are|not|no|has|have|must|should|cannot|can|could|may|will|does|did|please
  | and|or|but|for|from|in|of|on|to|with|as|by|option|flag|argument|error|unknown|unset|found|given|provided
  | required|expected|unexpected|expired|invalid|missing|empty|wrong|incorrect|denied|refused|rejected|revoked
  | failed|failure|forbidden|unauthorized|unauthenticated|malformed
)(?![\w-])"""
_NOTHING = r"""(?:(?:none|null|nil|true|false|undefined|\*+|\.{3}|…)(?![^\s,;&)}\]"']) | ""(?!") | ''(?!'))"""

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
_BLANKS = r"\s{0,3}"

_RULES: tuple[_Rule, ...] = (
    # A private key, to its end or to the end of the text.
    _rule(
        r"""-----BEGIN\ [A-Z0-9 ]{0,40}PRIVATE\ KEY[A-Z ]{0,20}-----.*?
            (?:-----END\ [A-Z0-9 ]{0,40}KEY[A-Z ]{0,20}-----|\Z)""",
        flags=re.IGNORECASE | re.DOTALL,
    ),
    # Addresses that are secrets themselves.
    _rule(r"""(?P<head>hooks\.slack\.com/)(?:services|workflows|triggers)/[^\s"'<>]+""", _HEAD),
    _rule(r"""(?P<head>discord(?:app)?\.com/api/webhooks/)[^\s"'<>]+""", _HEAD),
    # scheme://user:password@host. A password may hold an @ and, where it cannot be a port with a path, a slash.
    _rule(
        r"""(?<=://)[^\s/"'<>:@]{0,200}:
            (?:[^\s/"'<>]{0,300}(?=@) | (?!\d{1,5}/)[^\s"'<>@]{1,300}(?=@))""",
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
    # A value in braces, as ODBC quotes one with blanks: `PWD={two words}`.
    _rule(r"""(?P<head>(?:password|pwd)\s{0,3}=\s{0,3}\{)[^{}"'=\n]{1,200}(?=\}(?:;|"|'|\s|$))""", _HEAD),
    # Key and value: `key=value`, `"key": "value"`, `key => value`, `key%3Dvalue`; and with a colon unless a sentence
    # continues.
    _rule(
        rf"""(?P<head>{_KEY}(?:\\*["'])?\s{{0,3}}
             (?:(?:=>|:=|={{1,2}}|%3D)\s{{0,3}} | :\s{{0,3}}(?!{_PROSE}))
             (?!{_SCHEME}\s){_OPENING})
             (?!{_NOTHING}){_VALUE}""",
        _quoted,
    ),
    # The other words of a password in a connection string: `Password=two words;`.
    _rule(
        rf"""(?P<head>(?:password|pwd){_BLANKS}={_BLANKS}{MARK})\ [^;="'<>()\n]{{1,200}}(?=;)
           | (?P<last>;{_BLANKS}(?:password|pwd){_BLANKS}={_BLANKS}{MARK})\ [^;="'<>()\n]{{1,200}}(?=["']|$)""",
        lambda match: match["head"] or match["last"],
        flags=re.IGNORECASE | re.MULTILINE,
    ),
    _rule(rf"(?P<head>--[\w-]{{0,40}}?{_KEY}\s{{1,3}})(?!-|{_PROSE}|{_NOTHING}){_VALUE}", _quoted),
    _rule(rf"(?P<head>{_SHORT_KEY}=)(?!{_NOTHING}){_VALUE}", _quoted),
    # Tokens with a known form.
    _rule(
        r"""(?<![A-Za-z0-9])(?:
            (?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])  # AWS access key ids
          | xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{8,} | xapp-[A-Za-z0-9-]{8,}  # Slack
          | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_\w{20,}  # GitHub
          | gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|ffct)-[\w-]{20,}  # GitLab
          | pn[ub]_[A-Za-z0-9]{16,}  # Prefect
          | [sr]k_(?:live|test)_[A-Za-z0-9]{10,} | whsec_[A-Za-z0-9]{20,}  # Stripe
          | sk-(?:ant|proj|svcacct|admin|or|lf)-[\w-]{20,} | sk-[A-Za-z0-9_]{20,}[\w-]*  # Anthropic, OpenAI, others
          | AIza[\w-]{35} | ya29\.[\w-]{20,} | GOCSPX-[\w-]{20,}  # Google
          | npm_[A-Za-z0-9]{30,} | pypi-[\w-]{30,} | hf_[A-Za-z0-9]{30,} | dckr_pat_[\w-]{20,}  # registries
          | dapi[0-9a-f]{32} | dbt[uc]_[\w-]{20,}  # Databricks, dbt
          | SG\.[\w-]{18,32}\.[\w-]{16,64} | SK[0-9a-f]{32}(?!\w)  # SendGrid, Twilio
          | [0-9a-f]{32}-us\d{1,2}(?!\w) | \d{8,10}:AA[\w-]{33}(?!\w)  # Mailchimp, Telegram
          | sq0[a-z]{3}-[\w-]{22,43} | shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}  # Square, Shopify
          | do[opr]_v1_[0-9a-f]{64} | hv[sbr]\.[\w-]{20,} | glsa_\w{30,} | NRAK-[A-Z0-9]{20,}  # operations
          | ATATT3[\w=-]{20,} | lin_api_[A-Za-z0-9]{30,} | sntry[su]_[\w+/=-]{20,}  # Atlassian, Linear, Sentry
          | [MNO][A-Za-z\d]{23,25}\.[\w-]{6}\.[\w-]{27,38}(?!\w)  # Discord
          | AGE-SECRET-KEY-1[A-Z0-9]{50,}  # age
        )""",
        flags=_CASE_COUNTS,
    ),
    # JSON Web Tokens, only at the start of a word: otherwise a text of repeated `eyJ` would be scanned from each.
    _rule(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?", flags=_CASE_COUNTS),
)


#: What a text must have for any rule to match: most names have none of it, and there are many names.
_SUSPECT = re.compile(
    r"[=:]|%3d|--|bearer|basic|digest|negotiate|apikey|slack\.com|discord|eyj|xox|xapp|[\w-]{18}", re.IGNORECASE
)


def names_secret(key: str) -> bool:
    """Whether a key names a secret, such as ``DB_PASSWORD``, so that any value of it is secret."""
    return _SECRET_KEY.search(key) is not None


class Redactor:
    """Redacts secrets in text. Redacting again changes nothing."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """Compile the user's own regular expressions; everything that they match is a secret."""
        self._own: OwnPatterns | None = None
        if patterns:
            # Only where somebody has patterns, since `regex` takes 15 ms to import.
            from monitoring.text.own_patterns import OwnPatterns

            self._own = OwnPatterns(patterns)

    def redact(self, text: str) -> str:
        """Remove what is invisible, replace secrets by ``REDACTED``, and cut the text after 20,000 characters.

        A text that one of the user's own patterns does not finish in time is withheld as a whole.
        """
        text = _bounded(visible(text[:_MAX_READ]), cut_off=len(text) > _MAX_READ)
        if self._own:
            finished = self._own.redact(text)
            if finished is None:
                return WITHHELD
            text = finished
        if _SUSPECT.search(text):
            for rule, replacement in _RULES:
                text = rule.sub(replacement, text)
        return _bounded(text)


def _bounded(text: str, *, cut_off: bool = False) -> str:
    if len(text) <= MAX_LENGTH and not cut_off:
        return text
    # Half a token no longer has a known form, so the last word is removed as a whole.
    head = text[: MAX_LENGTH - 1]
    words = re.fullmatch(r"(.*\s)\S*", head, re.DOTALL)
    return (words[1].rstrip() if words else head[:-_MAX_TOKEN]) + "…"
