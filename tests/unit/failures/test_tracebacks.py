from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.failures.tracebacks import ends_in, last_traceback, raised, shortened, traceback_end

PREFECT = "/venv/lib/python3.11/site-packages/prefect/flow_engine.py"
HTTPX = "/venv/lib/python3.11/site-packages/httpx/_client.py"
HEAD = "Traceback (most recent call last):\n"


def frame(path: str, function: str, code: str = "call()") -> str:
    """A frame as Python 3.11 writes it, with the line that points at the code."""
    return f'  File "{path}", line 7, in {function}\n    {code}\n    ^^^^^^\n'


LOG = (
    "Encountered exception during execution: ValueError('no rows')\n"
    + HEAD
    + frame(PREFECT, "run_context", "yield self")
    + frame(PREFECT, "call_flow_fn")
    + frame("/app/etl.py", "nightly", "load(3)")
    + frame("/app/etl.py", "load", "raise ValueError('no rows')")
    + "ValueError: no rows"
)


def test_prefects_own_frames_are_left_out() -> None:
    assert traceback_end(last_traceback(LOG)).splitlines() == [
        '  File "/app/etl.py", line 7, in nightly',
        "    load(3)",
        '  File "/app/etl.py", line 7, in load',
        "    raise ValueError('no rows')",
        "ValueError: no rows",
    ]


def test_the_last_of_the_users_own_frames_stays_whatever_library_it_went_through() -> None:
    log = HEAD + frame("/app/etl.py", "first") + frame("/app/etl.py", "fetch", "client.get(url)")
    log += "".join(frame(HTTPX, f"step_{number}") for number in range(9)) + "httpx.ConnectError: refused"
    end = traceback_end(last_traceback(log))

    assert end.splitlines()[:2] == ['  File "/app/etl.py", line 7, in fetch', "    client.get(url)"]
    assert "step_8" in end
    assert "first" not in end
    assert raised(log) == "httpx.ConnectError"


def test_of_a_chain_the_last_exception_is_the_one_that_was_raised() -> None:
    chain = HEAD + frame("/app/a.py", "inner") + "KeyError: 'x'\n\nThe above exception was the direct cause ...\n\n"
    log = chain + HEAD + frame("/app/a.py", "outer") + "app.LoadError: line one\nline two\nline three\nline four"
    end = traceback_end(last_traceback(log))

    assert raised(last_traceback(log)) == "app.LoadError"
    assert end.splitlines()[-3:] == ["app.LoadError: line one", "line two", "line three"]
    assert "inner" not in end


def test_an_exception_group_shows_one_of_its_exceptions() -> None:
    log = (
        "  + Exception Group Traceback (most recent call last):\n"
        '  |   File "/app/a.py", line 1, in group\n'
        "  |     raise_all()\n"
        "  | ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions)\n"
        "  +-+---------------- 1 ----------------\n"
        "    | Traceback (most recent call last):\n"
        '    |   File "/app/a.py", line 9, in one\n'
        "    |     raise ValueError('one')\n"
        "    | ValueError: one\n"
        "    +------------------------------------\n"
    )

    assert ends_in(log, "ExceptionGroup")
    assert ends_in(log, "ValueError")
    assert traceback_end(last_traceback(log)).splitlines() == [
        '  File "/app/a.py", line 9, in one',
        "    raise ValueError('one')",
        "ValueError: one",
    ]


@pytest.mark.parametrize(
    ("text", "exception", "expected"),
    [
        (LOG, "ValueError", True),
        (LOG, "KeyError", False),
        (LOG, "Error", False),
        (HEAD + "app.errors.LoadError", "LoadError", True),
        (HEAD + "LoadError: 1", "app.errors.LoadError", True),
        ("ValueError: said, and not raised", "ValueError", False),
    ],
)
def test_a_traceback_belongs_to_the_exception_that_it_ends_in(text: str, exception: str, expected: bool) -> None:
    assert ends_in(text, exception) is expected


def test_without_a_traceback_there_is_no_end_of_one() -> None:
    assert last_traceback("Process exited with status code: -9") == ""
    assert traceback_end("") == ""
    assert raised("") is None


line = st.text(st.sampled_from("ab |+-^~'\"File.:/\\…é"), max_size=400)


@given(
    st.lists(st.one_of(line, st.just(HEAD.strip()), st.just(frame("/app/a.py", "f" * 300).strip("\n"))), max_size=40)
)
def test_any_text_has_a_short_end(lines: list[str]) -> None:
    end = traceback_end(last_traceback("\n".join(lines)))

    assert len(end) <= 1_000
    assert len(end.splitlines()) <= 10


@pytest.mark.parametrize("unit", ["|", " |", "+-", "a", "a.", HEAD, '  File "', "    \n", "\n", "^", "ValueError"])
def test_no_text_takes_long(unit: str) -> None:
    text = HEAD + unit * (50_000 // len(unit))
    started = time.process_time()
    ends_in(text, "ValueError")
    traceback_end(last_traceback(text))

    # Some 30 ms, and far more if it is not linear in the length.
    assert time.process_time() - started < 3


EVIDENCE = (
    "etl/nightly > load > read",
    '  File "/app/flows/etl.py", line 12, in nightly',
    "    read(table)",
    '  File "/app/flows/load.py", line 40, in read',
    "    rows = client.query(table)",
    '  File "/venv/lib/python3.11/site-packages/client/api.py", line 9, in query',
    "    raise ValueError(table)",
    "ValueError: no rows in orders",
    "  hint: is the day complete?",
)


@pytest.mark.parametrize(
    ("most", "kept"), [(1, (3,)), (2, (3, 7)), (3, (3, 4, 7)), (5, (3, 4, 6, 7, 8)), (9, tuple(range(9)))]
)
def test_what_is_shown_of_a_traceback_is_where_own_code_raised_and_the_exception(
    most: int, kept: tuple[int, ...]
) -> None:
    assert shortened(EVIDENCE, most) == tuple(EVIDENCE[number] for number in kept)


def test_of_a_log_the_last_lines_are_shown() -> None:
    assert shortened(("connecting", "retrying", "giving up"), 2) == ("retrying", "giving up")
    assert shortened((), 2) == ()
