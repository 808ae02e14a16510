"""How many secrets pass the redactor, and how much ordinary text it redacts, beside the plugins of detect-secrets.

    pip install detect-secrets==1.5.0
    python -m benchmarks.redaction

Plants secrets of many kinds in what carries text from a run to a reader: a message, an exception's ``repr``, a log
line with colours, a parameter in JSON. Ordinary texts are the messages that installed libraries raise, read from their
source, with values of every day in them, alone and in tracebacks. The random numbers have a fixed seed. Writes
docs/redaction.json and the table in docs/redaction.md.
"""

from __future__ import annotations

import ast
import json
import random
import string
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from monitoring.text.redaction import Redactor

SECRETS_OF_A_KIND = 25
ORDINARY = 10_000
LIBRARIES = ("httpx", "sqlalchemy", "pydantic", "asyncpg", "prefect", "fsspec", "yaml", "jinja2", "slack_sdk", "anyio")
RAW = Path("docs/redaction.json")
PAGE = Path("docs/redaction.md")

Redact = Callable[[str], str]
_HEX, _WORD = "0123456789abcdef", string.ascii_letters + string.digits

#: How each kind of secret is written, and the characters and length of the secret itself.
KINDS: dict[str, tuple[str, str, int]] = {
    "password=...": ("password={}", _WORD, 12),
    "password of two words in a connection string": ("Server=db;Password=my {};Database=dwh", _WORD, 10),
    "key in JSON": ('{{"api_key": "{}"}}', _WORD, 24),
    "environment variable": ("DB_PASSWORD={}", _WORD, 16),
    "address with a password": ("postgresql://etl:{}@db.internal:5432/dwh", _WORD, 14),
    "authorization header": ("Authorization: Bearer {}", _WORD, 30),
    "query of an address": ("https://api.example.com/x?access_token={}&page=2", _WORD, 24),
    "option of a command": ("--db-password {} --retries 3", _WORD, 12),
    "cookie": ("Set-Cookie: session={}; Path=/", _WORD, 30),
    "private key": ("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", _WORD, 60),
    "JSON Web Token": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIi{}.sig", _WORD, 30),
    "AWS secret key": ("aws_secret_access_key = {}", _WORD, 40),
    "Azure storage key": ("AccountName=x;AccountKey={}==;EndpointSuffix=core", _WORD, 86),
    "GitHub token": ("ghp_{}", _WORD, 36),
    "GitLab token": ("glpat-{}", _WORD, 20),
    "Slack token": ("xoxb-123456789012-{}", _WORD, 24),
    "Slack webhook": ("https://hooks.slack.com/services/T0AB/B0CD/{}", _WORD, 24),
    "Anthropic key": ("sk-ant-api03-{}", _WORD + "-_", 90),
    "OpenAI key": ("sk-proj-{}", _WORD, 48),
    "Stripe key": ("sk_live_{}", _WORD, 24),
    "SendGrid key": ("SG.abcdefghijklmnopqrstuv.{}", _WORD, 43),
    "Twilio key": ("SK{}", _HEX, 32),
    "Prefect key": ("pnu_{}", _WORD, 36),
    "a password in a sentence": ("the password for the database is {}", _WORD, 12),
    "a lone secret without a form": ("using {} for the upload", _WORD, 32),
}
#: How a text reaches a reader.
CARRIERS: dict[str, Callable[[str], str]] = {
    "message": lambda text: f"Flow run encountered an exception: ValueError: cannot connect: {text}",
    "repr": lambda text: repr(ValueError(f"cannot connect: {text}")),
    "JSON": lambda text: json.dumps({"note": text, "rows": 5}),
    "colours": lambda text: f"\x1b[2m2026-03-10T07:00:12Z\x1b[0m [\x1b[31merror\x1b[0m] {_coloured(text)}",
    "invisible": lambda text: "\u200b".join((text[: len(text) // 3], text[len(text) // 3 :])),
}


def _coloured(text: str) -> str:
    """Colour keys and values, as structlog does."""
    key, equals, value = text.partition("=")
    return f"\x1b[36m{key}\x1b[0m=\x1b[35m{value}\x1b[0m" if equals else f"\x1b[1m{text[:2]}\x1b[0m{text[2:]}"


def planted(chance: random.Random) -> Iterator[tuple[str, str, str, str]]:
    """Kind, carrier, the secret and the text that holds it."""
    for kind, (form, alphabet, length) in KINDS.items():
        for carrier, carry in CARRIERS.items():
            for _ in range(SECRETS_OF_A_KIND):
                secret = "".join(chance.choices(alphabet, k=length))
                yield kind, carrier, secret, carry(form.format(secret))


def messages(library: str) -> Iterator[str]:
    """The texts of the exceptions that a library raises, with ``{}`` for each value."""
    spec = find_spec(library)
    folder = Path(spec.origin).parent if spec and spec.origin else None
    for path in sorted(folder.rglob("*.py")) if folder else ():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8", errors="replace"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                text = _text(node.exc.args[0])
                if text and " " in text:
                    yield text


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def ordinary(chance: random.Random) -> Iterator[str]:
    """Messages of libraries with values of every day, every second one in a traceback."""
    known = [text for library in LIBRARIES for text in messages(library)]
    for number in range(ORDINARY):
        text = chance.choice(known)
        while "{}" in text:
            text = text.replace("{}", _value(chance), 1)
        frame = f'  File "/srv/flows/etl_{number % 7}.py", line {chance.randrange(400)}, in load\n    load(rows)\n'
        yield f"Traceback (most recent call last):\n{frame}RuntimeError: {text}" if number % 2 else text


def _value(chance: random.Random) -> str:
    return chance.choice(
        (
            f"orders_{chance.randrange(100)}",
            str(chance.randrange(10_000)),
            f"/data/in/2026-03-{chance.randrange(10, 29)}.parquet",
            f"s3://bucket/part-{chance.randrange(1000):05}.csv",
            f"https://api.example.com/v1/items/{chance.randrange(1000)}?page=2",
            "".join(chance.choices(_HEX, k=8)) + "-5b7d-4c57-9a53-0d6f4f0ddc11",
            "sha256:" + "".join(chance.choices(_HEX, k=64)),
            "<class 'dict'>",
            "2026-03-10T07:00:12Z",
            "customer_id",
        )
    )


def by_detect_secrets(text: str) -> str:
    """Redact with the public functions of detect-secrets and all its plugins, line by line."""
    scan = import_module("detect_secrets.core.scan")
    found = {secret.secret_value for line in text.splitlines() for secret in scan.scan_line(line)}
    for value in sorted(filter(None, found), key=len, reverse=True):
        text = text.replace(value, "REDACTED")
    return text


def measured(redact: Redact) -> dict[str, Any]:
    """Leaks by kind and carrier, ordinary texts that were changed, and the time of both."""
    started = time.process_time()
    leaks: dict[str, dict[str, int]] = {kind: dict.fromkeys(CARRIERS, 0) for kind in KINDS}
    for kind, carrier, secret, text in planted(random.Random(11)):
        leaks[kind][carrier] += secret in "".join(char for char in redact(text) if char.isprintable())
    texts = list(ordinary(random.Random(12)))
    changed = [text for text in texts if "REDACTED" in redact(text)]
    took = time.process_time() - started
    return {"leaks": leaks, "changed": len(changed), "examples": changed[:10], "seconds": round(took, 1)}


def table(raw: dict[str, Any]) -> str:
    """The table of docs/redaction.md: how many of a hundred planted secrets pass, by kind, and false redactions."""
    names = list(raw)
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for kind in next(iter(raw.values()))["leaks"]:
        counts = [sum(raw[name]["leaks"][kind].values()) for name in names]
        planted_here = SECRETS_OF_A_KIND * len(CARRIERS)
        lines.append(f"| {kind} | " + " | ".join(f"{count} of {planted_here}" for count in counts) + " |")
    lines.append(
        "| ordinary texts redacted | " + " | ".join(f"{raw[name]['changed']} of {ORDINARY:,}" for name in names) + " |"
    )
    return "\n".join(lines)


def main() -> None:
    """Measure both, and write the raw figures and the table."""
    raw = {"the watchdog": measured(Redactor().redact)}
    settings = import_module("detect_secrets.settings")
    with settings.default_settings() as chosen:
        raw["detect-secrets"] = measured(by_detect_secrets)
        by_form = [{"name": name} for name in chosen.plugins if "HighEntropy" not in name]
    with settings.transient_settings({"plugins_used": by_form}):
        raw["detect-secrets by form"] = measured(by_detect_secrets)
    RAW.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    before, _, after = page.partition("<!-- table -->\n")
    _, end, after = after.partition("<!-- end of table -->")
    PAGE.write_text(f"{before}<!-- table -->\n{table(raw)}\n{end}{after}", encoding="utf-8")
    print(table(raw))


if __name__ == "__main__":
    main()
