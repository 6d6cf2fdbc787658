"""A real PostgreSQL for every test: the embedded one, or one of COMMONWEAL_TEST_SERVER_URLS for each worker.

The migrated database is created once and cloned for each test that writes, which takes milliseconds.
"""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg import sql
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from models import new_id
from services.core.settings import Settings
from services.database import embedded_postgres, migrations, statement_cache
from services.database import engine as database_engine
from tests.factories import World

statement_cache.verify_cached = True
SERVERS = os.environ.get("COMMONWEAL_TEST_SERVER_URLS", "").split()

# How long an example takes depends on the machine and on what else it does.
hypothesis_settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("any machine")


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server on which tests create databases."""

    url: str
    """The owner's URL, for the database `postgres`."""

    def database_url(self, name: str, *, role: str | None = None) -> str:
        """Return the URL of a database of this server."""
        url = make_url(self.url).set(database=name)
        return (url.set(username=role) if role else url).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Start the server of this test run."""
    if SERVERS:
        worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
        yield Server(SERVERS[worker % len(SERVERS)])
        return
    with (
        tempfile.TemporaryDirectory(prefix="cw", ignore_cleanup_errors=True) as folder,
        embedded_postgres.run_embedded_postgres(Path(folder)) as socket_dir,
    ):
        url = f"postgresql://postgres@/postgres?host={socket_dir}"
        with psycopg.connect(url, autocommit=True) as connection:
            # Test data does not have to survive a crash.
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
            connection.execute("SELECT pg_reload_conf()")
        yield Server(url)


@pytest.fixture(scope="session")
def template(server: Server) -> str:
    """Return the name of the migrated, empty database that tests clone."""
    name = f"template_{new_id().hex[-12:]}"
    database_engine.create_database(server.url, name)
    migrations.upgrade(server.database_url(name))
    return name


@dataclass(frozen=True)
class Database:
    """A database on the test server."""

    name: str
    owner_url: str
    app_url: str

    @property
    def settings(self) -> Settings:
        """Return settings that connect to this database."""
        return replace(
            Settings(),
            database_url=self.app_url,
            owner_database_url=self.owner_url,
            pool_size=24,
            fake_provider=True,
            mail_invitations_per_network=1_000_000,  # the tests of a shared database have one address
        )


MakeDatabase = Callable[[], Database]


def create_database(server: Server, *, template: str = "template1") -> Database:
    """Create a database with a unique name; it has no tables unless its template has."""
    name = f"test_{new_id().hex[-12:]}"
    # Copied as files, which takes half the time of writing all pages to the log.
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return Database(name, server.database_url(name), server.database_url(name, role=database_engine.APP_ROLE))


def drop_database(server: Server, name: str) -> None:
    """Drop a database and end its connections."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def make_database(server: Server, template: str) -> MakeDatabase:
    """Return a function that creates empty migrated databases; they end with the server."""
    return partial(create_database, server, template=template)


@contextmanager
def own_database(server: Server, template: str) -> Iterator[Database]:
    """Create a database and drop it after use: thousands of them would fill a small disk."""
    database = create_database(server, template=template)
    yield database
    drop_database(server, database.name)


@pytest.fixture
def database(server: Server, template: str) -> Iterator[Database]:
    """Return an empty migrated database for this test alone."""
    with own_database(server, template) as database:
        yield database


@pytest.fixture
def owner(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """Return a connection with the rights of the tables' owner."""
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    """Return a pool of connections with the application's rights."""
    engine = database_engine.create_pool(database.settings)
    yield engine
    await engine.dispose()


@pytest.fixture
def sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Return a session factory with the application's rights; a test may commit."""
    return database_engine.session_factory(engine)


@pytest.fixture
async def world(database: Database, sessions: async_sessionmaker[AsyncSession]) -> World:
    """Return a world with a platform and its admin."""
    return await World.create(database.settings, sessions)


@pytest.fixture(scope="module")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """Return the database that all tests of a file share."""
    with own_database(server, template) as database:
        yield database


@pytest.fixture(scope="module")
async def shared(shared_database: Database) -> AsyncIterator[World]:
    """Return a world that the tests of a file share, if they need no empty one."""
    engine = database_engine.create_pool(shared_database.settings)
    yield await World.create(shared_database.settings, database_engine.session_factory(engine))
    await engine.dispose()
