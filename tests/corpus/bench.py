"""Real servers on which nothing moves by itself: each is as it was described, until it is emptied for the next."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from demo.stack import Server
from tests.support.servers import Emptier, Postgres, start_server

T = TypeVar("T")
Database = Literal["sqlite", "postgresql"]

# What would change the rows, or add some: states of runs and deployments, scheduled runs, events of the server's own.
_SERVICES = (
    "CANCELLATION_CLEANUP",
    "CLEANUP_RECONCILER",
    "EVENT_PERSISTER",
    "FOREMAN",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "REPOSSESSOR",
    "SCHEDULER",
    "TASK_RUN_RECORDER",
    "TRIGGERS",
)
STILL = {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in _SERVICES}


@dataclass(frozen=True)
class Bench:
    """A server to load and judge, and how to empty it."""

    server: Server
    empty: Callable[[], None]

    @property
    def database_url(self) -> str:
        """Where scenarios are written."""
        return self.server.database_url


@contextmanager
def bench(database: Database) -> Iterator[Bench]:
    """Start a server on a database of its own."""
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="corpus-"))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        url = None
        if database == "postgresql":
            postgres = Postgres()
            stack.callback(postgres.stop)
            postgres.start()
            url = postgres.new_database()
        server = start_server(home / "server", database_url=url, env=STILL)
        stack.callback(server.stop, timeout=5)
        yield Bench(server, Emptier(server) if url is None else PostgresEmptier(url))


class PostgresEmptier:
    """Takes a PostgreSQL server's database back to the rows that it holds now."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._kept = _in_transaction(url, _rows)

    def __call__(self) -> None:
        """Delete every row that has been added; the server may be running."""
        _in_transaction(self._url, self._delete)

    async def _delete(self, db: AsyncConnection) -> None:
        # The order of the tables does not matter then.
        await db.execute(sa.text("SET LOCAL session_replication_role = replica"))
        for table, ids in self._kept.items():
            await db.execute(sa.text(f'DELETE FROM "{table}" WHERE id <> ALL(CAST(:ids AS uuid[]))'), {"ids": ids})


async def _rows(db: AsyncConnection) -> dict[str, list[str]]:
    columns = "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'id'"
    tables = [row.table_name for row in await db.execute(sa.text(columns))]
    return {table: [str(row.id) for row in await db.execute(sa.text(f'SELECT id FROM "{table}"'))] for table in tables}


def _in_transaction(url: str, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    async def transaction() -> T:
        engine = create_async_engine(url, poolclass=NullPool)
        try:
            async with engine.begin() as connection:
                return await work(connection)
        finally:
            await engine.dispose()

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(lambda: asyncio.run(transaction())).result()
