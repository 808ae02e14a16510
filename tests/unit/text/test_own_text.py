"""The redactor leaves the own text of the watchdog alone, and only redacts values in it, since advice must be read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from monitoring.text.redaction import Redactor
from tests.support.paths import PROJECT

#: Own text that is a pattern or an example of a secret, not a message.
_NOT_MESSAGES = ("text/redaction.py", "text/visible.py", "config/problems.py")


def messages(path: Path) -> Iterator[str]:
    """All text in a module except docstrings, with a usual name for every value."""
    tree = ast.parse(path.read_text())
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in inner | statements:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "nightly" for part in node.values)


def test_no_message_of_ours_is_redacted() -> None:
    redact = Redactor().redact
    modules = [
        path
        for folder in ("monitoring", "flows")
        for path in sorted((PROJECT / folder).rglob("*.py"))
        if not path.as_posix().endswith(_NOT_MESSAGES)
    ]
    texts = [(path.name, text) for path in modules for text in messages(path)]

    eaten = [(name, text, redact(text)) for name, text in texts if "REDACTED" in redact(text).replace(text, "")]

    assert len(texts) > 1_000
    assert eaten == []
