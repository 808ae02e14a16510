"""One collection of observations: how it queries the server, and the coverage of the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Any, Literal, ParamSpec, TypeVar

from monitoring.adapters.prefect.client.api import Api
from monitoring.adapters.prefect.client.paging import PartialAnswer, read_pages
from monitoring.adapters.prefect.read import rows
from monitoring.adapters.prefect.read.rows import Row
from monitoring.config.policy import Policies
from monitoring.config.settings import Config, Policy
from monitoring.errors import BadAnswer, CredentialsRefused, ServerProblem, Unreachable
from monitoring.model.coverage import ALWAYS_QUERIED, Coverage, Query
from monitoring.model.policy import policy_key
from monitoring.model.prefect import OWN_FLOWS, Deployment, FlowRun

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E")
CHUNK = 100
#: Pages that are read of the logs or the task runs of several runs.
_MAX_PAGES = 5
#: The status of servers without an endpoint.
_UNSUPPORTED = frozenset({404, 405, 501})
#: Names that Prefect and the watchdog themselves give and that checks depend on, whatever the user's patterns match.
_KNOWN_NAMES = frozenset({"Scheduled", "Late", "AwaitingConcurrencySlot", *OWN_FLOWS})
#: Lists that are seldom empty, and of which the server has a count, too.
_COUNTED = ("/deployments/filter", "/work_pools/filter")


@dataclass
class Collection:
    """Queries the server for one observation, and keeps the coverage."""

    api: Api
    config: Config
    #: Takes secrets out of text from runs.
    redact: Callable[[str], str]
    #: The end of every window.
    now: datetime
    #: How far each deployment is examined.
    policies: Policies
    _queries: dict[str, Query] = field(default_factory=dict)
    _gone: str | None = None

    @cached_property
    def name(self) -> Callable[[str], str]:
        """Redacts a name that many rows repeat: of a flow, deployment, tag, state, work pool or queue.

        Rows name their work pool and queue without an id, so two names stay two.
        """
        redacted = rows.distinct(self.redact)
        return lambda name: name if name in _KNOWN_NAMES else redacted(name)

    @property
    def coverage(self) -> Coverage:
        """The coverage of all queries until now."""
        return Coverage(queries=tuple(self._queries.values()))

    def note(self, name: str, outcome: Literal["partial", "failed"], detail: str) -> None:
        """Record that a query was not answered completely; ``failed`` replaces ``partial``."""
        known = self._queries.get(name)
        if known is None or known.outcome == "complete" or (known.outcome == "partial" and outcome == "failed"):
            self._queries[name] = Query(name=name, outcome=outcome, detail=detail)

    def some(self, name: str, found: Sequence[T], most: int, what: str) -> Sequence[T]:
        """Take no more than a check may query one by one; if there are more, the coverage is partial."""
        if len(found) > most:
            self.note(name, "partial", f"queried {most} of {len(found)} {what}")
        return found[:most]

    def query(self, name: str, empty: E, fetch: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | E:
        """Fetch, and record the outcome; return ``empty`` if there is no answer.

        Raises:
            CredentialsRefused: The server rejects the key for a query that every observation needs. If the key may not
                read something else, only that answer is missing.
        """
        if self._gone:
            self.note(name, "failed", f"not asked: {self._gone}")
            return empty
        try:
            answer = fetch(*args, **kwargs)
        except ServerProblem as problem:
            self.note(name, "failed", str(problem))
            self._give_up_on(problem)
            return empty
        except CredentialsRefused as refusal:
            if name in ALWAYS_QUERIED:
                raise
            self.note(name, "failed", str(refusal))
            return empty
        self._queries.setdefault(name, Query(name=name, outcome="complete"))
        return answer

    def query_if_supported(
        self, name: str, empty: E, fetch: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T | E:
        """As ``query``, but that the server, or our key, knows no such query is an answer, too: ``empty``."""

        def attempt() -> T | E:
            try:
                return fetch(*args, **kwargs)
            except CredentialsRefused:
                return empty
            except BadAnswer as problem:
                if problem.status in _UNSUPPORTED:
                    return empty
                raise

        return self.query(name, empty, attempt)

    def rows(self, name: str, path: str, body: Mapping[str, Any]) -> list[Row]:
        """Read all rows of a filter, or those that arrived of a partial answer."""
        return list(self._rows(name, path, body))

    def _rows(self, name: str, path: str, body: Mapping[str, Any]) -> Iterator[Row]:
        pages = read_pages(self.api, path, body, page_size=self.config.server.page_size)
        empty = True
        while (page := self.query(name, None, self._next, name, pages)) is not None:
            empty = empty and not page
            yield from page
        if empty and path in _COUNTED:
            self.doubt_emptiness(name, path, body)

    def doubt_emptiness(self, name: str, path: str, body: Mapping[str, Any]) -> None:
        """Hold an empty list against a count: if a proxy or an API key hides every row, all would look healthy."""
        filters = {key: value for key, value in body.items() if key != "sort"}
        try:
            counted = self.query(name, 0, count_rows, self.api, path.replace("/filter", "/count"), filters)
        except CredentialsRefused:
            # A key may read a list and not count it.
            return
        # A row that came in between is in the list by now.
        if counted and not self.first(name, path, {**body, "limit": 1}, dict):
            self.note(name, "partial", f"the server lists no row of the {counted:,} that it counts")

    def _next(self, name: str, pages: Iterator[list[Row]]) -> list[Row] | None:
        try:
            return next(pages, None)
        except PartialAnswer as partial:
            self.note(name, "partial", str(partial))
            self._give_up_on(partial.problem)
            return None

    def _give_up_on(self, problem: ServerProblem) -> None:
        """Send no more queries to a server that is gone: each would wait for its timeout."""
        if isinstance(problem, Unreachable):
            self._gone = str(problem)

    def read(self, name: str, path: str, body: Mapping[str, Any], make: Callable[[Row], T]) -> list[T]:
        """Read all values of a filter; each page of rows is converted to values before the next is read."""
        return list(self.values(name, self._rows(name, path, body), make))

    def by_id(self, name: str, objects: str, ids: Iterable[str], make: Callable[[Row], T]) -> list[T]:
        """Read the objects with these ids, without those that are gone; ``objects`` are such as ``flow_runs``."""
        bodies = ({objects: {"id": {"any_": chunk}}} for chunk in chunks(sorted(ids)))
        return [value for body in bodies for value in self.read(name, f"/{objects}/filter", body, make)]

    def first(self, name: str, path: str, body: Mapping[str, Any], make: Callable[[Row], T]) -> list[T] | None:
        """Read one page of a filter: as many as ``limit`` or the server allows; None without an answer."""
        pages = read_pages(self.api, path, body, page_size=body.get("limit"))
        page = self.query(name, None, lambda: next(pages))
        return None if page is None else list(self.values(name, page, make))

    def of_runs(
        self, name: str, objects: str, run_ids: Sequence[str], filters: Mapping[str, Any], sort: str
    ) -> tuple[list[Row], list[str]]:
        """Read some rows of each of several runs, in few pages: a run that fills one is left out of the next.

        Args:
            name: The query's name in the coverage.
            objects: Such as ``logs``; each row has the id of its flow run.
            run_ids: The runs, as many as fit into one request.
            filters: Further filters.
            sort: The order of the rows.

        Returns:
            The rows, and the ids of runs of which it is not known whether they have any.
        """
        found: list[Row] = []
        size, left = self.config.server.page_size, list(run_ids)
        for _ in range(_MAX_PAGES if left else 0):
            body = {objects: {"flow_run_id": {"any_": left}, **filters}, "sort": sort, "limit": size}
            page = self.first(name, f"/{objects}/filter", body, dict)
            if page is None:
                break
            found += page
            seen = {row.get("flow_run_id") for row in page}
            left = [run_id for run_id in left if run_id not in seen]
            if len(page) < size or not left:
                return found, []
        return found, left

    def runs(self, name: str, body: Mapping[str, Any], most: int | None = None) -> list[FlowRun]:
        """Read all flow runs of a filter, or the first so many."""
        found = self._rows(name, "/flow_runs/filter", body)
        return list(self.values(name, islice(found, most), self.flow_run))

    def runs_by_id(self, name: str, run_ids: Iterable[str]) -> list[FlowRun]:
        """Read the flow runs with these ids, without those that are gone."""
        return self.by_id(name, "flow_runs", run_ids, self.flow_run)

    def flow_runs_of(self, name: str, task_run_ids: Iterable[str]) -> dict[str, str]:
        """The flow runs that task runs belong to, by the task run's id."""
        return dict(self.by_id(name, "task_runs", task_run_ids, lambda row: (row["id"], row["flow_run_id"])))

    def first_runs(self, name: str, body: Mapping[str, Any]) -> list[FlowRun] | None:
        """Read one page of a filter's flow runs, as ``first`` does."""
        return self.first(name, "/flow_runs/filter", body, self.flow_run)

    def count(self, name: str, body: Mapping[str, Any]) -> int | None:
        """Count a filter's flow runs; None without an answer."""
        return self.query(name, None, count_rows, self.api, "/flow_runs/count", body)

    def flow_run(self, row: Row) -> FlowRun:
        """Convert a row to a FlowRun."""
        return rows.flow_run(row, self.redact, self.name)

    def values(self, name: str, found: Iterable[Row], make: Callable[[Row], T]) -> Iterator[T]:
        """Convert rows to values; a row that cannot be read is left out, and the coverage is partial."""
        for row in found:
            try:
                yield rows.parsed(name, make, row)
            except BadAnswer as problem:
                self.note(name, "partial", str(problem))

    def expand(
        self, deployment: Deployment, empty: E, dates: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T | E:
        """Compute dates of a deployment's schedules; ``empty``, and partial coverage, if Prefect cannot read one."""
        try:
            return dates(*args, **kwargs)
        except ValueError as problem:
            self.note("schedules", "partial", f"{deployment.name}: {problem}")
            return empty

    def policy(self, deployment: Deployment) -> Policy:
        """The policy of a deployment."""
        return self.policies.of(*policy_key(deployment))


def read_events(api: Api, body: Mapping[str, Any]) -> Sequence[Row]:
    """Read one page of events.

    Raises:
        ServerProblem: The server does not answer, or not with a page of events.
    """
    path = "/events/filter"
    answer = api.post(path, body)
    return rows.rows_of(answer.get("events") if isinstance(answer, dict) else None, path)


def count_rows(api: Api, path: str, body: Mapping[str, Any]) -> int:
    """Count what a filter matches.

    Raises:
        ServerProblem: The server does not answer, or not with a number.
    """
    answer = api.post(path, body)
    if not isinstance(answer, int):
        raise BadAnswer(f"the server answers {path} with something that is no number")
    return answer


def chunks(values: Sequence[T], size: int = CHUNK) -> Iterable[Sequence[T]]:
    """Cut a sequence into parts that fit into one request."""
    return (values[start : start + size] for start in range(0, len(values), size))
