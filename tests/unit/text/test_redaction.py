"""What is a secret goes, what is none stays, whoever wrote the text and however long it is."""

from __future__ import annotations

import string
import time

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from monitoring.text.redaction import MARK, MAX_LENGTH, WITHHELD, Redactor, names_secret

REDACTOR = Redactor()

SECRET = "hunter2Xy"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA75\nhunter2Xy\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://etl:hunter2Xy@db.internal:5432/dwh", "postgresql://REDACTED@db.internal:5432/dwh"),
        ("postgresql+asyncpg://etl:p@ss:hunter2Xy@db/dwh", "postgresql+asyncpg://REDACTED@db/dwh"),
        ("mysql://etl:pa/hunter2Xy@db/dwh", "mysql://REDACTED@db/dwh"),
        ("redis://:hunter2Xy@cache:6379/0", "redis://REDACTED@cache:6379/0"),
        ("https://hunter2Xy@github.com/org/repo.git", "https://REDACTED@github.com/org/repo.git"),
        ("Authorization: Bearer hunter2Xy", "Authorization: Bearer REDACTED"),
        ("authorization=Token hunter2Xy", "authorization=Token REDACTED"),
        ("{'Authorization': 'Basic ZXRsOmh1bnRlcjI='}", "{'Authorization': 'REDACTED'}"),
        ("sent header Bearer hunter2Xy.abc", "sent header Bearer REDACTED"),
        ("sent basic YWxhZGRpbg==", "sent basic REDACTED"),
        ("password=hunter2Xy", "password=REDACTED"),
        ("DB_PASSWORD = hunter2Xy", "DB_PASSWORD = REDACTED"),
        ("password: hunter2Xy", "password: REDACTED"),
        ('{"api_key": "hunter2Xy", "user": "etl"}', '{"api_key": "REDACTED", "user": "etl"}'),
        ("{'password': 'hunter2Xy', 'user': 'etl'}", "{'password': 'REDACTED', 'user': 'etl'}"),
        ('{\\"password\\": \\"hunter2Xy\\", \\"user\\": 1}', '{\\"password\\": \\"REDACTED\\", \\"user\\": 1}'),
        ('password="two words hunter2Xy" user=etl', 'password="REDACTED" user=etl'),
        ("token => hunter2Xy", "token => REDACTED"),
        ("password=SecretStr('hunter2Xy')", "password=SecretStr('REDACTED')"),
        ("token=b'hunter2Xy', n=1", "token=b'REDACTED', n=1"),
        ("Server=db;Pwd=hunter2Xy;Database=dwh", "Server=db;Pwd=REDACTED;Database=dwh"),
        ("password=a,b;hunter2Xy, user=etl", "password=REDACTED, user=etl"),
        ("GET /x?token=hunter2Xy&page=2", "GET /x?token=REDACTED&page=2"),
        ("?sv=2024&sig=hunter2Xy%3D&se=1", "?sv=2024&sig=REDACTED&se=1"),
        ("X-Amz-Signature=hunter2Xy", "X-Amz-Signature=REDACTED"),
        ("x-api-key: hunter2Xy", "x-api-key: REDACTED"),
        ("run --db-password hunter2Xy --retries 3", "run --db-password REDACTED --retries 3"),
        ("run --token=hunter2Xy", "run --token=REDACTED"),
        ("aws_secret_access_key = hunter2Xy", "aws_secret_access_key = REDACTED"),
        ("PREFECT_API_AUTH_STRING=admin:hunter2Xy", "PREFECT_API_AUTH_STRING=REDACTED"),
        ("Cookie: session=hunter2Xy; theme=dark", "Cookie: REDACTED"),
        ("key AKIAIOSFODNN7EXAMPLE was refused", "key REDACTED was refused"),
        ("xoxb-123456789012-abcdefGHIJ refused", "REDACTED refused"),
        ("ghp_0123456789abcdefghij0123456789abcdef", "REDACTED"),
        ("pnu_0123456789abcdefghij0123456789abcdef", "REDACTED"),
        ("pnb_0123456789abcdefghij0123456789abcdef", "REDACTED"),
        ("https://hooks.slack.com/services/T0/B0/hunter2Xy", "https://hooks.slack.com/REDACTED"),
        (f"got {JWT}.", "got REDACTED."),
        (f"key:\n{PEM}\nend", "key:\nREDACTED\nend"),
        (PEM[:60], "REDACTED"),
        ("password=\x1b[36mhunter2Xy\x1b[0m user=etl", "password=REDACTED user=etl"),
        ("\x1b[36mpassword\x1b[0m=\x1b[35mhunter2Xy\x1b[0m", "password=REDACTED"),
        ("\x9b36mpassword\x9b0m=\x9b35mhunter2Xy", "password=REDACTED"),
        (r"KeyError('\x1b[36mpassword\x1b[0m=hunter2Xy')", "KeyError('password=REDACTED')"),
        (r'"note": "\u001b[36mpassword\u001b[0m=hunter2Xy"', '"note": "password=REDACTED"'),
        ("pass\u200bword=hun\u00adter2Xy", "password=REDACTED"),
        ("pass\u034fword\ufe0f=hunter2Xy", "password=REDACTED"),
        ("ghp_0123456789\u2060abcdefghij0123456789abcdef", "REDACTED"),
        ("Server=db;Password=two hunter2Xy;Database=dwh", "Server=db;Password=REDACTED;Database=dwh"),
        ("'Server=db;Password=two hunter2Xy' failed", "'Server=db;Password=REDACTED' failed"),
        ("Server=db;PWD={two; hunter2Xy};Database=dwh", "Server=db;PWD={REDACTED};Database=dwh"),
        ("next=%2F%3Ftoken%3Dhunter2Xy&page=2", "next=%2F%3Ftoken%3DREDACTED&page=2"),
        ("sk-ant-api03-AbC-1234567890_abcdefgh-xyzAA", "REDACTED"),
        ("sk-proj-1234567890_abcdefgh-xyzAA", "REDACTED"),
        ("SG.abcdefghijklmnopqrstuv.0123456789abcdefghijklmnopqrstuvwxyzABCDEFG", "REDACTED"),
    ],
)
def test_secrets_go_and_what_is_around_them_stays(text: str, expected: str) -> None:
    assert REDACTOR.redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "token expired",
        "token: expired",
        "Error: password is required",
        "password: required field",
        "the --password option is missing",
        "bearer token missing",
        "Bearer authentication failed.",
        'WWW-Authenticate: Basic realm="api"',
        "Basic usage of the client",
        "password=None, token=null",
        "token=''",
        "SyntaxError: unexpected token",
        "max_tokens: 4096, tokens=12",
        "token_count=5 and secret_name stay",
        "/srv/flows/password_reset.py, line 3, in main",
        "KeyError: 'password'",
        "3f0a1c9e-5b7d-4c57-9a53-0d6f4f0ddc11",
        "s3://bucket/key/2026-03-10.parquet",
        "ssh://git@example.com/org/repo",
        "https://example.com:8443/path@v2?mail=a@example.com",
        "http://127.0.0.1:4200/api is not reachable",
        "task-sk-learn and risk-assessment-of-the-whole-portfolio",
        "ValueError: no rows in orders_2026_03_09 at 07:00:12Z",
        "sk-learn-pipeline-for-2024-training-x1",
        "embedded null byte in '\\x00'",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert REDACTOR.redact(text) == text


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "DB_PASSWORD",
        "api_key",
        "x-api-key",
        "accessToken",
        "token_1",
        "Set-Cookie",
        "sig",
        "pass",
        "'token'",
    ],
)
def test_a_key_that_names_a_secret_is_known_by_itself(key: str) -> None:
    assert names_secret(key)


@pytest.mark.parametrize(
    "key", ["", "problem", "tokens", "token_count", "secret_name", "bypass", "incident", "fingerprint"]
)
def test_a_key_that_names_none_is_known_too(key: str) -> None:
    assert not names_secret(key)


_ALPHABET = string.ascii_letters + string.digits
#: With a digit, so that it is no word of a sentence; without the letters of the mark.
_SECRETS = st.text(_ALPHABET + "-_.!%^*+/#", min_size=8, max_size=60).map(lambda text: f"q7{text}q7")
_AROUND = st.text(max_size=80)
_PLANTS = st.sampled_from(
    [
        "postgres://user:{}@host/db",
        "password={}",
        "PASSWORD: {}",
        '"api_key": "{}"',
        "{{'client_secret': '{}'}}",
        "--db-password {} --x",
        "Authorization: Bearer {}",
        "authorization: basic {}",
        "https://h/?access_token={}&x=1",
        "https://hooks.slack.com/services/{}",
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
    ]
)


@given(before=_AROUND, plant=_PLANTS, secret=_SECRETS, after=_AROUND)
@example(before="", plant="https://h/?access_token={}&x=1", secret="q7aaaaaaaa)q7", after="")
def test_a_planted_secret_never_survives(before: str, plant: str, secret: str, after: str) -> None:
    text = f"{before}\n {plant.format(secret)} \n{after}"
    assert secret not in REDACTOR.redact(text)


@given(st.text() | st.builds(lambda a, p, s, b: a + p.format(s) + b, _AROUND, _PLANTS, _SECRETS, _AROUND))
@example("password=[REDACTED]tail")
@example("token: 'a")
def test_doing_it_twice_changes_nothing_more(text: str) -> None:
    once = REDACTOR.redact(text)
    assert REDACTOR.redact(once) == once


@given(st.text(string.ascii_letters + string.digits + " .,-_/()\n"))
def test_text_without_separators_is_unchanged(text: str) -> None:
    assume("--" not in text and not any(word in text.lower() for word in ("basic", "bearer", "digest", "sk-", "begin")))
    assert REDACTOR.redact(text) == text


def test_the_users_own_patterns_count_too() -> None:
    redactor = Redactor([r"ACME-\d+", r"x*"])
    assert redactor.redact("order ACME-4711 of xx") == "order REDACTED of REDACTED"
    assert redactor.redact(redactor.redact("ACME-4711")) == "REDACTED"


def test_a_pattern_that_matches_within_the_mark_leaves_it_whole() -> None:
    assert Redactor(["ACT", "secret"]).redact("secret") == MARK


def test_a_long_text_is_cut_at_a_word_so_that_no_half_token_stays() -> None:
    text = "x " * ((MAX_LENGTH - 20) // 2) + "ghp_0123456789abcdefghij0123456789abcdef"
    redacted = REDACTOR.redact(text)
    assert len(redacted) <= MAX_LENGTH
    assert redacted.endswith("x…")
    assert REDACTOR.redact(redacted) == redacted


def test_a_secret_behind_thousands_of_invisible_characters_does_not_pass() -> None:
    assert SECRET not in REDACTOR.redact("\x1b[0m" * 9_000 + f"password={SECRET}")
    # Cut within a token: no half of it stays.
    text = "\x1b[0m" * 19_995 + "ghp_0123456789abcdefghij0123456789abcdef"
    assert "ghp_" not in REDACTOR.redact(text)


@pytest.mark.parametrize(
    ("pattern", "text"), [(r"(A+)+!", "A" * 5_000 + " !"), (r"(\w+\s?)*;", "some words " * 1_000 + ". ;")]
)
def test_a_text_that_a_pattern_does_not_finish_is_withheld(pattern: str, text: str) -> None:
    redactor = Redactor([pattern])
    started = time.process_time()

    shown = {redactor.redact(f"{number} {text}") for number in range(100)}

    assert shown == {WITHHELD}
    # Unbounded, one of them takes longer than anybody has seen.
    assert time.process_time() - started < 10
    assert redactor.redact("ordinary text") == "ordinary text"


@pytest.mark.parametrize(
    "piece",
    [
        "eyJ", "://", "://a:", "http://", "a:b@", "password", "password=", 'password="', "token: ", "--", "--token ",
        "-----BEGIN PRIVATE KEY-----", "cookie: a", "cookie:a=", "bearer a", "basic ", ",;&", "password=,a", "xoxb-",
        "sk-", "sk-ab-", "gh_", "\\", "secret_access_key_", "authorization: bearer ", " ", "a", "github_pat_",
        "password=a(", "[[[", "'password':'", "sig=,a ", "\x1b[", "\x1b]", "\\x1b[0",
        "password=x ;", ";pwd=x a ", "pwd={a", "sk-ant-",
        "SG.a", "12345678:",
        "\u200b", "abcdef0-",
    ],
)  # fmt: skip
def test_hostile_text_takes_no_longer_than_other_text(piece: str) -> None:
    text = piece * (MAX_LENGTH // len(piece))
    started = time.process_time()
    REDACTOR.redact(text)
    # Some 20 ms; what is not linear takes minutes.
    assert time.process_time() - started < 1
