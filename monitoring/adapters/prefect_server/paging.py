"""Whole answers from an API that pages by offset over a set that changes meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitoring.adapters.prefect_server.api import Api
from monitoring.adapters.prefect_server.rows import Row, rows_of
from monitoring.errors import BadAnswer, ServerProblem

_UNPROCESSABLE = 422


class PartialAnswer(ServerProblem):
    """Some pages came and others did not.

    Args:
        rows: What came, without repeats.
        problem: What was missing, and why.
    """

    def __init__(self, rows: list[Row], problem: str) -> None:
        super().__init__(problem)
        self.rows = rows


def read_all(api: Api, path: str, body: Mapping[str, Any], *, page_size: int) -> list[Row]:
    """Read every row that a filter matches.

    A run that leaves the set while pages are read moves the rows behind it up, and one of them is
    skipped. So an answer of several pages is held against the count, and read a second time when it is
    short; repeats are dropped by id.

    Args:
        api: The API.
        path: The filter endpoint, such as ``/flow_runs/filter``; its count is beside it.
        body: The filters and the sort, without ``limit`` and ``offset``.
        page_size: Rows a page. A server whose ceiling is lower gives its own page size.

    Raises:
        PartialAnswer: Some pages came, others did not, or rows stayed missing after a second reading.
        ServerProblem: Nothing came.
    """
    found: dict[str, Row] = {}
    pages = _read_once(api, path, body, page_size, found)
    if pages > 1 and len(found) < _count(api, path, body, found):
        _read_once(api, path, body, page_size, found)
        expected = _count(api, path, body, found)
        if len(found) < expected:
            raise PartialAnswer(list(found.values()), f"{len(found)} of {expected} rows of {path} could be read")
    return list(found.values())


def _read_once(api: Api, path: str, body: Mapping[str, Any], page_size: int, found: dict[str, Row]) -> int:
    limit: int | None = page_size
    offset = pages = 0
    while True:
        window = {"offset": offset} if limit is None else {"offset": offset, "limit": limit}
        try:
            page = rows_of(api.post(path, {**body, **window}), path)
        except BadAnswer as problem:
            if problem.status == _UNPROCESSABLE and limit is not None and pages == 0:
                # The server's own ceiling is lower than ours; without a limit it gives as many as it may.
                limit = None
                continue
            raise _partial(found, problem) from None
        except ServerProblem as problem:
            raise _partial(found, problem) from None
        pages += 1
        found.update((row["id"], row) for row in page)
        if not page or (limit is not None and len(page) < limit):
            return pages
        offset += len(page)


def _count(api: Api, path: str, body: Mapping[str, Any], found: dict[str, Row]) -> int:
    filters = {key: value for key, value in body.items() if key != "sort"}
    try:
        return int(api.post(path.removesuffix("/filter") + "/count", filters))
    except (ServerProblem, TypeError, ValueError) as problem:
        raise PartialAnswer(list(found.values()), f"the rows of {path} could not be counted: {problem}") from None


def _partial(found: dict[str, Row], problem: ServerProblem) -> ServerProblem:
    return PartialAnswer(list(found.values()), str(problem)) if found else problem
