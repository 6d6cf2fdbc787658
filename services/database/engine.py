"""The database server, the pool of connections to it, and sessions. Nothing here commits."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

import orjson
import psycopg
from psycopg import errors, sql
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from services.core.settings import Settings
from services.database.embedded_postgres import run_embedded_postgres

APP_ROLE = "commonweal_app"
EMBEDDED_NAME = "commonweal"
log = logging.getLogger(__name__)


@contextmanager
def provide_database(settings: Settings) -> Iterator[Settings]:
    """Yield settings with both database URLs set.

    Starts the embedded PostgreSQL server if no URL is given; it stops when the last process that uses it
    exits.
    """
    if settings.database_url:
        owner = settings.owner_database_url or settings.database_url
        yield replace(settings, owner_database_url=owner)
        return
    with run_embedded_postgres(settings.data_dir) as socket_dir:
        create_database(f"postgresql://postgres@/postgres?host={socket_dir}", EMBEDDED_NAME)
        yield replace(
            settings,
            database_url=f"postgresql://{APP_ROLE}@/{EMBEDDED_NAME}?host={socket_dir}",
            owner_database_url=f"postgresql://postgres@/{EMBEDDED_NAME}?host={socket_dir}",
        )


def maintenance_url(located: Settings) -> str:
    """Return the owner's URL of the embedded server's other database, which is never dropped."""
    url = make_url(located.owner_database_url).set(database="postgres")
    return url.render_as_string(hide_password=False)


def recreate_embedded_database(located: Settings) -> None:
    """Drop the embedded database and create it again, empty.

    Raises:
        ObjectInUse: another process is connected to it.
    """
    url = maintenance_url(located)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(EMBEDDED_NAME)))
    create_database(url, EMBEDDED_NAME)


def create_database(server_url: str, name: str, *, template: str = "template1") -> None:
    """Create a database unless it exists."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        exists = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone()
        if exists is None:
            # Another process that starts at the same moment may be the first.
            with suppress(errors.DuplicateDatabase, errors.UniqueViolation):
                connection.execute(
                    sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                        sql.Identifier(name), sql.Identifier(template)
                    )
                )


def to_psycopg_url(url: str) -> URL:
    """Return the URL with psycopg as its driver."""
    return make_url(url).set(drivername="postgresql+psycopg")


def create_pool(settings: Settings) -> AsyncEngine:
    """Create a pool of connections with the role and time limits of the application.

    A broken connection empties the pool; the unit of work runs the operation that met it again.
    """
    options = {
        "role": APP_ROLE,
        "timezone": "UTC",
        "statement_timeout": settings.statement_timeout_ms,
        "lock_timeout": settings.lock_timeout_ms,
        "idle_in_transaction_session_timeout": settings.statement_timeout_ms * 2,
    }
    return create_async_engine(
        to_psycopg_url(settings.database_url),
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_use_lifo=True,
        use_native_hstore=False,
        json_serializer=_dump_json,
        json_deserializer=orjson.loads,
        connect_args={
            "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
            "prepare_threshold": 2,
            "connect_timeout": 5,
        },
    )


def session_factory(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Return a factory of sessions whose rows stay readable after a commit."""
    return async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False, autoflush=False)


async def lock_preparation(session: AsyncSession) -> None:
    """Lock the preparation of the database until the transaction ends; wait without limit."""
    await session.execute(text("SET LOCAL statement_timeout = 0"))
    await session.execute(text("SET LOCAL lock_timeout = 0"))
    await session.execute(
        text("SET LOCAL idle_in_transaction_session_timeout = 0")
    )  # rates take long to read
    await session.execute(text("SELECT pg_advisory_xact_lock(7267)"))


_encode = partial(orjson.dumps, default=str)


def _dump_json(value: object) -> str:
    return _encode(value).decode()
