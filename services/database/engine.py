"""The database server, the pool of connections to it, and sessions. Nothing here commits."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version

import orjson
import psycopg
from psycopg import errors, sql
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from services.core import tracing
from services.core.database_urls import parse, to_psycopg_url
from services.core.settings import Settings
from services.database import connection_checks, leadership
from services.database.embedded_postgres import run_embedded_postgres
from services.database.write_connections import LendingPool
from services.round_trips import effects
from services.round_trips.operation_session import OperationSession

APP_ROLE = "commonweal_app"
EMBEDDED_NAME = "commonweal"
APPLICATION = "commonweal"
"""Under this name and the version, servers and workers appear in pg_stat_activity."""
NETWORK_LIMITS = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""libpq's limits in seconds, the last in milliseconds: a host that is silent for about ten is gone."""
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
    url = to_psycopg_url(located.owner_database_url).set(drivername="postgresql", database="postgres")
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


def create_pool(settings: Settings) -> AsyncEngine:
    """Create a pool of connections with the role and time limits of the application.

    A broken connection empties the pool; the unit of work runs the operation that met it again. Each new
    connection is checked, and refused with WrongConnection if a pooler has dropped what it must have.
    Of several hosts, none is used that has been replaced by another.
    """
    is_pooled = settings.pooler == "transaction"
    url = to_psycopg_url(settings.database_url)
    engine = create_async_engine(
        url,
        hide_parameters=True,  # errors are logged, and parameters hold people's values
        pool_recycle=leadership.RECYCLE_SECONDS if "," in str(url.query.get("host", "")) else -1,
        poolclass=LendingPool,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_use_lifo=True,
        use_native_hstore=False,
        json_serializer=_dump_json,
        json_deserializer=orjson.loads,
        connect_args={
            **_network_limits(settings.database_url),
            "application_name": f"{APPLICATION}/{version(APPLICATION)}",
            # A pooler refuses or drops `options`; names of statements would be another client's.
            "prepare_threshold": None if is_pooled else 2,
            **({} if is_pooled else {"options": _to_options(session_settings(settings))}),
        },
    )
    event.listen(engine.sync_engine, "do_connect", leadership.order_hosts)
    event.listen(engine.sync_engine, "connect", connection_checks.require_right)
    event.listen(engine.sync_engine, "connect", leadership.inspect)
    event.listen(engine.sync_engine, "checkout", leadership.refuse_outdated)
    effects.listen(engine.sync_engine)
    if tracing.switch.spans is not None:
        tracing.switch.spans.listen(engine.sync_engine)
    return engine


def session_settings(settings: Settings) -> dict[str, str]:
    """Return what each connection of the application must have set, by PostgreSQL's names."""
    return {
        "role": APP_ROLE,
        "timezone": "UTC",
        "statement_timeout": str(settings.statement_timeout_ms),
        "lock_timeout": str(settings.lock_timeout_ms),
        "idle_in_transaction_session_timeout": str(settings.statement_timeout_ms * 2),
        # Rows by their keys are in memory, or on a disk that finds each as fast as the next one. As if it
        # did not, PostgreSQL joins twenty rows with a table by reading all of it.
        "random_page_cost": "1.1",
    }


def _to_options(values: Mapping[str, str]) -> str:
    return " ".join(f"-c {name}={value}" for name, value in values.items())


def _network_limits(url: str) -> dict[str, int]:
    """Return libpq's parameters that notice a silent host; what the URL says itself is left as it is."""
    given = parse(url)
    return {name: value for name, value in NETWORK_LIMITS.items() if name not in given}


def session_factory(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Return a factory of sessions whose rows stay readable after a commit."""
    return async_sessionmaker(engine, class_=OperationSession, expire_on_commit=False, autoflush=False)


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
