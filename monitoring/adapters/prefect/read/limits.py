"""Tag and global concurrency limits that are full, with who holds their slots and who waits.

Since Prefect 3.4 all limits are rows of ``/v2/concurrency_limits/filter`` with the number of taken slots; a tag's limit
is named ``tag:<tag>``, and a deployment's ``deployment:<id>``. The holders of a tag's slots are leases in the server's
memory, which ``/concurrency_limits`` shows; after a restart the slots are still taken and the holders unknown
(prefect/server/api/concurrency_limits.py). A server that has neither endpoint has no such limits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import TypeVar

from monitoring.adapters.prefect.client.paging import read_pages
from monitoring.adapters.prefect.read import limit_events, limit_tasks
from monitoring.adapters.prefect.read.collection import Collection, chunks
from monitoring.adapters.prefect.read.rows import Row
from monitoring.checks.concurrency import CHECK as CONCURRENCY
from monitoring.checks.facts.causes import Slots
from monitoring.errors import BadAnswer, CredentialsRefused
from monitoring.model.base import Value
from monitoring.model.observation import ConcurrencyLimit, Holder, LimitFacts, LimitSlots
from monitoring.model.prefect import TERMINAL, Deployment, FlowRun

_MAX_LIMITS = 50
#: The server's clock stamps ends: a run that ended just before now by our clock may have ended since.
_CLOCKS_DIFFER = timedelta(minutes=1)
_NOT_FOUND = (404, 405)
_HOLDERS = "limit-holders"
#: Levels of nested subflows that are followed.
_MAX_NESTED = 5
_TAG = "tag:"
_DEPLOYMENT = "deployment:"
_OF_ITS_OWN = (_TAG, _DEPLOYMENT)


class _LimitRow(Value):
    """A limit of any kind."""

    id: str
    name: str
    limit: int
    active_slots: int = 0
    active: bool = True
    #: Above zero, slots are released by time: no run holds them.
    slot_decay_per_second: float = 0

    @property
    def full(self) -> bool:
        """Whether there is no free slot."""
        return self.active and self.active_slots >= self.limit > 0

    @property
    def own_name(self) -> str:
        """Its name, or the tag."""
        return self.name.removeprefix(_TAG)

    def slots(self, name: Callable[[str], str]) -> LimitSlots:
        """How many slots are taken; ``name`` redacts its name."""
        return LimitSlots(
            kind="tag" if self.name.startswith(_TAG) else "global-concurrency-limit",
            name=name(self.own_name),
            limit=self.limit,
            taken=self.active_slots,
        )


class _TagRow(Value):
    """A tag's limit, with the task runs that hold its slots."""

    id: str
    tag: str
    concurrency_limit: int
    active_slots: tuple[str, ...] = ()

    @property
    def row(self) -> _LimitRow:
        """The limit as the list of all kinds has it."""
        taken = len(self.active_slots)
        return _LimitRow(id=self.id, name=f"{_TAG}{self.tag}", limit=self.concurrency_limit, active_slots=taken)


L = TypeVar("L", _LimitRow, _TagRow)


def limits(collection: Collection, active: Sequence[FlowRun]) -> LimitFacts:
    """Read the tag and global limits; for the full ones, who holds their slots and which active runs wait."""
    if not CONCURRENCY.enabled(collection.policies.config):
        return LimitFacts()
    of_all_kinds = _listed(collection, "/v2/concurrency_limits/filter", _LimitRow)
    of_tags = _listed(collection, "/concurrency_limits/filter", _TagRow)
    counted = {row.name for row in of_all_kinds}
    # Older servers list the limits of tags nowhere else.
    tags = [tag.row for tag in of_tags if tag.row.name not in counted]
    tags = [row for row in (*tags, *of_all_kinds) if row.full and row.name.startswith(_TAG)]
    others = [
        row
        for row in of_all_kinds
        if row.full and not row.slot_decay_per_second and not row.name.startswith(_OF_ITS_OWN)
    ]
    known = {run.id: run for run in active}
    task_runs = {tag.row.name: tag.active_slots for tag in of_tags}
    full = tuple(
        _of_tag(collection, row, task_runs.get(row.name), known)
        if row.name.startswith(_TAG)
        else _of_code(collection, row, known)
        for row in collection.some("limits", [*tags, *others], _MAX_LIMITS, "full limits")
    )
    slots = tuple(
        row.slots(collection.name) for row in of_all_kinds if row.active and not row.name.startswith(_DEPLOYMENT)
    )
    return LimitFacts(full=full, slots=slots)


def holders_again(
    collection: Collection, deployments: Iterable[Deployment], active: Sequence[FlowRun], ended: Iterable[FlowRun]
) -> tuple[tuple[FlowRun, ...], frozenset[str]]:
    """Read the runs of deployments again whose slots are taken by runs that were not read.

    Runs were read before the slots were counted: a holder may have started in between, and a short one also ended.
    With the holders that were not read before, the ids of deployments with other runs that ended meanwhile: who held
    the counted slots is unknown.
    """
    slots = Slots(active, whole=False)
    unexplained = [
        deployment.id
        for deployment in deployments
        if (full := slots.of(deployment)) and len(full.holders) < (deployment.slots_taken or 0)
    ]
    if not unexplained:
        return (), frozenset()
    seen = {run.id for run in (*active, *ended)}
    fresh: list[FlowRun] = []
    for chunk in chunks(unexplained):
        state = {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}
        body = {"flow_runs": {"deployment_id": {"any_": chunk}, "state": state}, "sort": "ID_DESC"}
        fresh += (run for run in collection.runs(_HOLDERS, body) if run.id not in seen)
    # Queried last, to include runs that end meanwhile; and for all deployments, as SQLite has an index of ends and
    # would otherwise read every run of these deployments.
    ends = {"after_": (collection.now - _CLOCKS_DIFFER).isoformat()}
    just_ended = collection.runs(_HOLDERS, {"flow_runs": {"end_time": ends}, "sort": "END_TIME_DESC"})
    ended_since = {run.id: run for run in just_ended if run.id not in seen and not run.cancelled_for_slot}
    holders = tuple(run for run in fresh if run.id not in ended_since)
    return holders, frozenset(unexplained) & {run.key for run in ended_since.values()}


def _listed(collection: Collection, path: str, kind: type[L]) -> list[L]:
    """All rows of a list of limits; none if the server has no such list, or the key may not read it."""
    found = collection.query("limits", [], _all, collection, path)
    return list(collection.values("limits", found, kind.model_validate))


def _all(collection: Collection, path: str) -> list[Row]:
    pages = read_pages(collection.api, path, {}, page_size=collection.config.server.page_size)
    try:
        return list(chain.from_iterable(pages))
    except CredentialsRefused:
        return []
    except BadAnswer as problem:
        if problem.status not in _NOT_FOUND:
            raise
        return []


def _task_runs(collection: Collection, limit_id: str) -> Sequence[str]:
    """The task runs that hold a tag's slots, where the list of tags lacks the tag.

    The server pages all kinds of limits by name and then filters: after the limits of many deployments, the list is
    empty.
    """
    row = collection.query(_HOLDERS, None, collection.api.get, f"/concurrency_limits/{limit_id}")
    tags = collection.values(_HOLDERS, [row] if row else [], _TagRow.model_validate)
    return [task_run for tag in tags for task_run in tag.active_slots]


def _of_tag(
    collection: Collection, row: _LimitRow, task_runs: Sequence[str] | None, active: Mapping[str, FlowRun]
) -> ConcurrencyLimit:
    tasks = limit_tasks.unfinished(collection, row.own_name)
    task_runs = _task_runs(collection, row.id) if task_runs is None else task_runs
    holding = Counter(collection.flow_runs_of(_HOLDERS, task_runs).values())
    if holding.total() < row.active_slots:
        # A restart of the server drops the leases; running tasks still hold their slots.
        holding |= Counter(tasks.running)
    runs = _outermost(collection, {*holding, *tasks.waiting}, active)
    waiting: dict[str, datetime] = {}
    for flow_run_id, since in tasks.waiting.items():
        run = runs.get(flow_run_id)
        if run and run.id in active and run.state_type == "RUNNING":
            waiting[run.id] = min(since, waiting.get(run.id, since))
    return _full(collection, row, holding, runs, more=holding.total() < row.active_slots, waiting=waiting)


def _of_code(collection: Collection, row: _LimitRow, active: Mapping[str, FlowRun]) -> ConcurrencyLimit:
    held = limit_events.held_slots(collection, row.id)
    runs = _outermost(collection, set(held.slots), active)
    return _full(collection, row, held.slots, runs, more=held.more, waiting={})


def _full(
    collection: Collection,
    row: _LimitRow,
    holding: Counter[str],
    runs: Mapping[str, FlowRun],
    *,
    more: bool,
    waiting: Mapping[str, datetime],
) -> ConcurrencyLimit:
    return ConcurrencyLimit(
        **row.slots(collection.name).model_dump(),
        id=row.id,
        holders=_holders(holding, runs),
        more_holders=more or not runs.keys() >= holding.keys(),
        waiting=waiting,
    )


def _outermost(collection: Collection, flow_run_ids: Iterable[str], known: Mapping[str, FlowRun]) -> dict[str, FlowRun]:
    """The runs with these ids, by id, without those that are gone; ``known`` runs are not read.

    A subflow in its parent's process is replaced by that parent.
    """
    read = dict(known)
    of = {id: id for id in flow_run_ids}
    for _ in range(_MAX_NESTED):
        read |= {run.id: run for run in collection.runs_by_id(_HOLDERS, {id for id in of.values() if id not in read})}
        inner = {id: run.parent_task_run_id for id in of.values() if (run := read.get(id)) and not run.deployment_id}
        parents = collection.flow_runs_of(_HOLDERS, {task for task in inner.values() if task})
        up = {id: parents[task] for id, task in inner.items() if task in parents}
        if not up:
            break
        of = {id: up.get(run_id, run_id) for id, run_id in of.items()}
    return {id: read[run_id] for id, run_id in of.items() if run_id in read}


def _holders(slots: Counter[str], runs: Mapping[str, FlowRun]) -> tuple[Holder, ...]:
    """The holders of slots, oldest first; the slots of a run that is part of another run count for that run."""
    of_runs: Counter[str] = Counter()
    for flow_run_id, count in slots.items():
        if flow_run_id in runs:
            of_runs[runs[flow_run_id].id] += count
    holders = [_holder(run, of_runs[run.id]) for run in {run.id: run for run in runs.values()}.values()]
    return tuple(sorted((holder for holder in holders if holder.slots), key=lambda holder: holder.since))


def _holder(run: FlowRun, slots: int) -> Holder:
    ended = run.state_type in TERMINAL
    since = run.ended_at if ended else run.start_time or run.state_timestamp
    return Holder(flow_run_id=run.id, name=run.name, state_name=run.state_name, since=since, ended=ended, slots=slots)
