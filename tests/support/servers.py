"""Prefect servers for tests, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import prefect
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from demo.stack import Process, Server, StackError, free_port, wait_until
from tests.support.cache import cached

# What a server writes late, a test waits for: events are flushed every 5 s by default.
TEST_SETTINGS = {"PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "0.3"}

#: The database that others are copied from.
_MIGRATED = "migrated"


def start_server(home: Path, *, database_url: str | None = None, env: Mapping[str, str] | None = None) -> Server:
    """Start a server and wait for it; on SQLite its database is a copy of one that is migrated already."""
    home.mkdir(parents=True, exist_ok=True)
    if database_url is None:
        empty_database(home)
    server = Server(home, database_url=database_url, env={**TEST_SETTINGS, **(env or {})})
    server.start()
    try:
        server.wait_ready()
    except StackError:
        server.kill()
        raise
    return server


def empty_database(home: Path) -> None:
    """Put a SQLite database that is migrated already, without a run in it, where a server in that home has its own."""
    shutil.copy(_migrated_database(), home / "prefect.db")


@contextmanager
def connected(server: Server) -> Iterator[Server]:
    """Let Prefect's client in this process talk to the server."""
    auth = {PREFECT_API_AUTH_STRING: server.auth_string} if server.auth_string else {}
    with temporary_settings({PREFECT_API_URL: server.api_url, **auth}):
        yield server


@contextmanager
def without_server() -> Iterator[None]:
    """Let Prefect's client in this process talk to a port at which nothing listens."""
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        yield


class Emptier:
    """Takes a SQLite server's database back to the rows that it holds now."""

    def __init__(self, server: Server) -> None:
        self._path = server.home / "prefect.db"
        with self._connection() as database:
            tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            self._kept = {
                name: [(row,) for (row,) in database.execute(f"SELECT rowid FROM {name}")]
                for name in tables
                if not name.startswith(("sqlite_", "alembic_"))
            }

    def __call__(self) -> None:
        """Delete every row that has been added; the server may be running."""
        with self._connection() as database:
            for table, rows in self._kept.items():
                database.execute("CREATE TEMP TABLE kept (id INTEGER PRIMARY KEY)")
                database.executemany("INSERT INTO kept VALUES (?)", rows)
                database.execute(f"DELETE FROM {table} WHERE rowid NOT IN (SELECT id FROM kept)")
                database.execute("DROP TABLE kept")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=60)) as database, database:
            yield database


class Postgres:
    """A PostgreSQL cluster of its own, thrown away with its folder."""

    def __init__(self) -> None:
        self._bin = _postgres_binaries()
        self._home = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._port = free_port()
        self._prefix: list[str] = []
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root. Debian's package brings the user; anyone without rights will do.
            owner = next(name for name in ("postgres", "nobody") if _user_exists(name))
            shutil.chown(self._home, owner)
            self._prefix = ["setpriv", f"--reuid={owner}", "--clear-groups", "--"]
        self._count = 0
        command = [*self._prefix, str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self._port)]
        # Nothing here has to outlive a crash of the machine, hence no fsync.
        for setting in ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"):
            command += ["-c", setting]
        self._process = Process(
            "postgres",
            command,
            log=self._home / "postgres.log",
            env={"PATH": os.defpath},
            cwd=self._home,
        )

    @property
    def _data(self) -> Path:
        return self._home / "data"

    def start(self) -> None:
        """Make the cluster and start it."""
        command = [*self._prefix, str(self._bin / "initdb"), "-D", str(self._data)]
        command += ["-U", "prefect", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
        made = subprocess.run(command, cwd=self._home, capture_output=True, text=True, check=False)
        if made.returncode:
            raise StackError(f"initdb failed: {made.stderr or made.stdout}")
        self.resume()
        tables = cached(f"prefect-{prefect.__version__}-postgresql-{self._bin.parent.name}.sql", self._dump_tables)
        self._run("createdb", _MIGRATED)
        self._run("psql", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={tables}", _MIGRATED)

    def new_database(self) -> str:
        """Make a database that is migrated already, without a run in it; return its address as Prefect wants it."""
        self._count += 1
        name = f"prefect_{self._count}"
        self._run("createdb", f"--template={_MIGRATED}", name)
        return self._url(name)

    def halt(self) -> None:
        """Kill the cluster; its databases stay."""
        self._process.kill()

    def resume(self) -> None:
        """Start the cluster, and wait for it."""
        self._process.start()
        self._process.wait(self._accepts, timeout=120, waiting_for="PostgreSQL to accept connections")

    def stop(self) -> None:
        """Kill the cluster and remove its folder."""
        self.halt()
        # The children of a killed postmaster notice it within moments, and write until then.
        with suppress(StackError):
            wait_until(self._removed, timeout=60, waiting_for="PostgreSQL to end")

    def _dump_tables(self, made: Path) -> None:
        """Write the tables that a server makes, as SQL."""
        self._run("createdb", "made")
        _migrate(made.with_name("server"), self._url("made"))
        self._run("pg_dump", f"--file={made}", "made")

    def _url(self, name: str) -> str:
        return f"postgresql+asyncpg://prefect@127.0.0.1:{self._port}/{name}"

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        """Run one of PostgreSQL's programs on this cluster; return its status."""
        command = [str(self._bin / program), *self._address, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise StackError(f"{program} failed: {done.stderr or done.stdout}")
        return done.returncode

    @property
    def _address(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self._port), "-U", "prefect"]

    def _accepts(self) -> bool:
        return self._run("pg_isready", check=False) == 0

    def _removed(self) -> bool:
        shutil.rmtree(self._home, ignore_errors=True)
        return not self._home.exists()


def _migrated_database() -> Path:
    """Return a migrated SQLite database without a run in it; made once per Prefect version, in about 15 seconds."""
    return cached(f"prefect-{prefect.__version__}.db", _migrate_sqlite)


def _migrate_sqlite(made: Path) -> None:
    home = made.with_name("server")
    _migrate(home)
    # Not a copy of the file: what was written last is still in the write-ahead log beside it.
    with closing(sqlite3.connect(home / "prefect.db")) as source, closing(sqlite3.connect(made)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")


def _migrate(home: Path, database_url: str | None = None) -> None:
    """Let a server make its tables."""
    server = Server(home, database_url=database_url)
    try:
        server.start()
        server.wait_ready(180)
    finally:
        server.stop()


def _postgres_binaries() -> Path:
    """Return the folder with the newest PostgreSQL's programs; Debian keeps them off the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = str(debian[-1]) if debian else shutil.which("initdb")
    if found is None:
        raise StackError(
            "the tests need PostgreSQL's programs (initdb, postgres). On Debian: apt-get install postgresql"
        )
    return Path(found).parent


def _user_exists(name: str) -> bool:
    return name in {entry.pw_name for entry in pwd.getpwall()}
