"""Complete answers from an API that pages by offset through rows that change meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from monitoring.adapters.prefect.client.api import Api
from monitoring.adapters.prefect.read.rows import Row, rows_of
from monitoring.errors import BadAnswer, ServerProblem, TooLarge

_UNPROCESSABLE = 422
#: Rows of a page whose length the server chooses, unless it is configured otherwise.
_DEFAULT_PAGE = 200
#: How many pages may show that rows moved during the reading before the answer counts as partial. The last page may
#: have nothing new, too; a server that ignores the offset has no other pages.
_MAX_MOVES = 50
#: Rows of one answer; more are not read.
MAX_ROWS = 250_000
#: By what a page is divided if it was too large: the row of a run has its parameters, however large they are.
_SHRINKS_BY = 16
#: Two rows: one of the page before, to see that none was skipped, and one more.
_SMALLEST_PAGE = 2


class PartialAnswer(ServerProblem):
    """Only some of the pages arrived; ``problem`` is why the reading stopped."""

    def __init__(self, problem: ServerProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read_pages(api: Api, path: str, body: Mapping[str, Any], *, page_size: int | None) -> Iterator[list[Row]]:
    """Read every row that a filter matches, a page at a time, so that at most a page of raw rows is in memory.

    A row that leaves the set while pages are read moves the rows behind it forward, and one of them would be skipped; a
    count would not show that, since the row that left was read. So each page begins with the last row of the page
    before. If it does not, rows have moved, and reading continues a page further back. Repeated rows are dropped by id.
    This is correct for rows in an order without ties. A page that is too large to be read is read in smaller ones.

    Args:
        api: The API.
        path: The filter endpoint, such as ``/flow_runs/filter``.
        body: The filters and the sort.
        page_size: Rows in a page. A server with a lower maximum uses its own page size, and so it does for None.

    Raises:
        PartialAnswer: Only some of the pages arrived.
        ServerProblem: No page arrived.
    """
    seen: set[str] = set()
    offset = moves = 0
    limit: int | None = page_size
    while True:
        try:
            page = _page(api, path, {**body, "offset": offset, "limit": limit})
        except TooLarge as problem:
            if limit is not None and limit <= _SMALLEST_PAGE:
                raise _partial(seen, problem) from None
            limit = max(_SMALLEST_PAGE, (limit or _DEFAULT_PAGE) // _SHRINKS_BY)
            continue
        except BadAnswer as problem:
            if problem.status == _UNPROCESSABLE and limit is not None and not seen:
                # The server's maximum is lower than our limit; without one it returns as many as it may.
                limit = None
                continue
            raise _partial(seen, problem) from None
        except ServerProblem as problem:
            raise _partial(seen, problem) from None
        limit = limit or len(page)
        overlaps = offset > 0 and limit > 1
        skipped = overlaps and (not page or page[0]["id"] not in seen)
        fresh = {row["id"]: row for row in page if row["id"] not in seen}
        seen.update(fresh)
        yield list(fresh.values())
        if len(seen) > MAX_ROWS:
            raise PartialAnswer(BadAnswer(f"{path} has more than {MAX_ROWS:,} rows; the rest was not read"))
        if skipped or (page and not fresh):
            moves += 1
            if moves > _MAX_MOVES:
                raise PartialAnswer(BadAnswer(f"the rows of {path} change faster than they can be read"))
        if skipped:
            offset = max(0, offset - limit + 1)
        elif not page or len(page) < limit:
            return
        else:
            offset += max(1, len(page) - 1)


def _page(api: Api, path: str, body: Mapping[str, Any]) -> Sequence[Row]:
    page = rows_of(api.post(path, {key: value for key, value in body.items() if value is not None}), path)
    if not all("id" in row for row in page):
        raise BadAnswer(f"the server answers {path} with rows that have no id: is this a Prefect API?")
    return page


def _partial(seen: Collection[str], problem: ServerProblem) -> ServerProblem:
    return PartialAnswer(problem) if seen else problem
