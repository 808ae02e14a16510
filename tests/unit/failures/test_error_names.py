from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.failures.error_names import bare, error_name, exception_of, failure_of, normalised

FLOW = "Flow run encountered an exception: "
TASK = "Task run encountered an exception "
#: Letters that are no hexadecimal digits, so that a word of them is always a word.
word = st.text("ghijklmnopqrstuvwxyz", min_size=1, max_size=12)
digits = st.text("0123456789", min_size=1, max_size=12)
hexadecimal = st.text("0123456789abcdef", min_size=8, max_size=40).map(lambda text: f"{text}0a1")
moments = st.datetimes().filter(lambda moment: moment.year >= 1000)
VARYING: dict[str, st.SearchStrategy[str]] = {
    "number": st.integers().map(str),
    "decimal": st.floats(allow_nan=False, allow_infinity=False).map(str),
    "thousands": st.integers(0).map(lambda number: f"{number:,}"),
    "id": st.uuids().map(str),
    "id, quoted": st.uuids().map(repr),
    "hash": hexadecimal,
    "address in memory": st.integers(0).map(hex),
    "IPv4": st.ip_addresses(v=4).map(str),
    "IPv6": st.ip_addresses(v=6).map(lambda address: address.exploded),
    "host and port": st.tuples(word, st.integers(10, 65535)).map(lambda parts: f"{parts[0]}.example.com:{parts[1]}"),
    "host": word.map(lambda name: f"{name}.internal"),
    "URL": st.tuples(word, word, digits).map(lambda parts: "https://{}.example/{}?page={}".format(*parts)),
    "bucket": st.tuples(word, word).map(lambda parts: "s3://{}/{}".format(*parts)),
    "path": st.lists(word, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts)),
    "path with blanks": st.lists(word, min_size=1, max_size=5).map(lambda parts: f"'/{' '.join(parts)}.csv'"),
    "path from here": st.tuples(word, word, word).map(lambda parts: "{}/{}/{}.csv".format(*parts)),
    "path on Windows": st.lists(word, min_size=1, max_size=5).map(lambda parts: "C:\\" + "\\".join(parts)),
    "moment": moments.map(lambda moment: moment.isoformat()),
    "moment in UTC": moments.map(lambda moment: f"{moment:%Y-%m-%d %H:%M:%S} UTC"),
    "day": st.dates(min_value=date(1000, 1, 1)).map(str),
    "list": st.lists(st.integers(0), min_size=1, max_size=9).map(str),
    "table": digits.map(lambda number: f"orders_{number}"),
    "run": word.map(lambda name: f"flow run '{name}-{name}'"),
    "mail": st.tuples(word, word).map(lambda parts: "{}@{}.com".format(*parts)),
}


@pytest.mark.parametrize("varying", VARYING.values(), ids=VARYING.keys())
def test_what_varies_makes_no_other_error(varying: st.SearchStrategy[str]) -> None:
    @given(varying, varying, st.sampled_from(["{}", "({})", "cannot use {}", "at {}: no rows", "<thing at {}>, then"]))
    def same(first: str, second: str, around: str) -> None:
        names = {error_name(f"ValueError: {around.format(text)}") for text in (first, second)}
        assert len(names) == 1

    same()


@given(st.lists(word, min_size=1, max_size=6), st.lists(word, min_size=1, max_size=6))
def test_other_words_make_another_error(first: list[str], second: list[str]) -> None:
    names = {error_name("ValueError: " + " ".join(words)) for words in (first, second)}

    assert (len(names) == 1) == (first == second)


@given(st.text(max_size=300), st.sampled_from(["ValueError", "KeyError", "httpx.ConnectError"]))
def test_another_type_makes_another_error(text: str, exception: str) -> None:
    assert error_name(f"{exception}: {text}") != error_name(f"TypeError: {text}")


@given(st.text(max_size=1_000))
def test_any_text_has_a_name_and_a_line(text: str) -> None:
    normal = normalised(text)

    assert len(normal) <= 300
    assert "\n" not in normal
    assert bool(error_name(text)) == bool(normal)
    assert len(failure_of(text).reason) <= 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ValueError: no rows in /data/7.csv for 10.0.0.3", "ValueError: no rows in … for …"),
        ("KeyError: 'customer_id'", "KeyError: 'customer_id'"),
        ("ConnectError: [Errno 111] Connection refused", "ConnectError: [Errno …] Connection refused"),
        ("pod 'worker-7d9f8b6c5-x2k4p' was evicted from node-12", "pod … was evicted from node…"),
        ("the last 3 of 1,200 rows (12.5%) are -5", "the last … of … rows (…) are …"),
        ("Flow run exceeded timeout of 60.0 second(s)", "Flow run exceeded timeout of … second(s)"),
        ("lines\n  and\tblanks", "lines and blanks"),
        # A name of a deployment is no path, and a word stays one.
        ("etl/nightly: and/or utf8, v2", "etl/nightly: and/or utf…, v…"),
        ("", ""),
    ],
)
def test_an_error_stays_readable(text: str, expected: str) -> None:
    assert normalised(text) == expected


@pytest.mark.parametrize(
    ("message", "shown", "exception"),
    [
        (FLOW + "ValueError: no rows", "ValueError: no rows", "ValueError"),
        (TASK + "ValueError: no rows", "ValueError: no rows", "ValueError"),
        (FLOW + "FailedRun: " + FLOW + "KeyError: 1", "KeyError: 1", "KeyError"),
        (FLOW + "CrashedRun: Aborted by a signal.", "Aborted by a signal.", None),
        ("Execution was interrupted by an unexpected exception: OSError: disk full", "OSError: disk full", "OSError"),
        ("Flow run failed due to timeout: TaskRunTimeoutError('1')", "TaskRunTimeoutError('1')", "TaskRunTimeoutError"),
        ("Flow run infrastructure exited with non-zero status code 137.",) * 2 + (None,),
        ("Data quality: below 90%", "Data quality: below 90%", None),
        ("1/2 states failed.", "", None),
        (FLOW + "ValueError: ", "ValueError:", "ValueError"),
        ("", "", None),
    ],
)  # fmt: skip
def test_what_prefect_puts_before_an_error_is_taken_off(message: str, shown: str, exception: str | None) -> None:
    assert (bare(message), exception_of(message)) == (shown, exception)


def test_the_same_error_has_one_name_in_a_flow_a_task_and_a_parent() -> None:
    error = "ValueError: no rows in part {}"
    messages = [FLOW + error.format(1), TASK + error.format(2), FLOW + "FailedRun: " + FLOW + error.format(3)]

    assert len({failure_of(message).error for message in messages}) == 1


HOSTILE: list[Callable[[int], str]] = [
    lambda size, unit=unit: (unit * size)[:size]  # type: ignore[misc]
    for unit in ("a", "a.", "/a", "1", "1.", "1,", "a:", "::", "ab1", "'", "host='", "a-", "a@", "0x", "…", " ", "\n",
                 "a/a.a", "12345678-", "flow run '", FLOW, "'/", "C:\\", "a_", "<(", "://", "a://")
]  # fmt: skip


@pytest.mark.parametrize("make", HOSTILE)
def test_no_text_takes_long(make: Callable[[int], str]) -> None:
    text = make(50_000)
    started = time.process_time()
    failure_of(text)

    # Some 30 ms, and far more if it is not linear in the length.
    assert time.process_time() - started < 3
