"""A copy of the database on another server, kept up to date by logical replication until it takes over.

While it is a copy, the guards' triggers fire for its own sessions alone and not for what it receives, which
they judged when it was written; no server starts on it. The end of the copy has them fire always again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from services.core import database_urls
from services.core.errors import ConfigurationError
from services.core.settings import Settings
from services.database import catalogue
from services.operation import verification
from services.operation.restore import FORGET_NUMBERS
from services.operation.verification import Verification

ROLE = PUBLICATION = "commonweal_replica"
"""The role that reads the changes, and nothing else; the publication has the same name."""
LEFT_OUT = ("alembic_version", "live_event", "rate_bucket", "repeatable_migration", "throttle")
"""Tables of the server itself: each has its own."""
_TABLES = """
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind = 'r' AND c.relname <> ALL(%s) ORDER BY c.relname
"""
_IDENTITIES = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND is_identity = 'YES' AND table_name = ANY(%s)
"""
_SUBSCRIPTIONS = """
    SELECT max(s.subname) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
    WHERE d.datname = current_database()
"""
_USES = 'SELECT (SELECT count(*) FROM "order") + (SELECT count(*) FROM credential)'


@dataclass(frozen=True)
class Published:
    """What another server may subscribe to."""

    publication: str
    role: str
    tables: int


def publish(settings: Settings) -> Published:
    """Make the role and the publication, or bring them up to date; idempotent.

    Raises:
        ConfigurationError: the server writes no logical log, or this user may not make a role of replication.
    """
    with _as_owner(settings) as connection:
        if _value(connection, "SHOW wal_level") != "logical":
            raise ConfigurationError("Set wal_level = logical in postgresql.conf, and start PostgreSQL again")
        tables = _tables(connection)
        role, names = sql.Identifier(ROLE), sql.SQL(", ").join(map(sql.Identifier, tables))
        if _value(connection, "SELECT count(*) FROM pg_roles WHERE rolname = %s", ROLE) == 0:
            _make_role(connection)
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role))
        connection.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(names, role))
        found = _value(connection, "SELECT count(*) FROM pg_publication WHERE pubname = %s", PUBLICATION)
        statement = "ALTER PUBLICATION {} SET TABLE {}" if found else "CREATE PUBLICATION {} FOR TABLE {}"
        connection.execute(sql.SQL(statement).format(sql.Identifier(PUBLICATION), names))
    return Published(PUBLICATION, ROLE, len(tables))


def _make_role(connection: psycopg.Connection[Any]) -> None:
    statement = sql.SQL("CREATE ROLE {} LOGIN REPLICATION").format(sql.Identifier(ROLE))
    try:
        with connection.transaction():
            connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        raise ConfigurationError(
            f"The user of this connection may not make the role {ROLE}: run as an administrator\n"
            f"  {statement.as_string(connection)}"
        ) from None


def prepare(settings: Settings) -> int:
    """Make a migrated database that nobody used ready to receive everything; return its number of tables.

    Raises:
        ConfigurationError: somebody used it.
    """
    with _as_owner(settings) as connection:
        if _value(connection, _USES) != 0:
            raise ConfigurationError("A copy begins in a database that was only migrated: this one was used")
        tables = _tables(connection)
        _switch_all(connection, tables, "DISABLE")
        names = sql.SQL(", ").join(map(sql.Identifier, tables))
        connection.execute(sql.SQL("TRUNCATE {}").format(names))
        _switch_all(connection, tables, "ENABLE")
    return len(tables)


def finish(settings: Settings) -> Verification:
    """Make the copy a database of its own: guards, numbers and marks; then verify everything.

    Raises:
        ConfigurationError: it still subscribes to another server.
    """
    with _as_owner(settings) as connection:
        if (name := _value(connection, _SUBSCRIPTIONS)) is not None:
            raise ConfigurationError(
                f"The copy still receives changes: stop the servers of the original, wait until the copy has"
                f" everything, then run `DROP SUBSCRIPTION {name}`"
            )
        tables = _tables(connection)
        _switch_all(connection, tables, "DISABLE")
        connection.execute(FORGET_NUMBERS.encode())
        _switch_all(connection, tables, "ENABLE")
        for table, trigger in _always_fired():
            statement = sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}")
            connection.execute(statement.format(sql.Identifier(table), sql.Identifier(trigger)))
        for table, column in connection.execute(_IDENTITIES, [tables]).fetchall():
            _continue_numbers(connection, table, column)
    catalogue.require_current(settings.database_url)
    return verification.verify_stored(settings, full=True)


@contextmanager
def _as_owner(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_urls.to_conninfo(settings.owner_database_url)) as connection:
        yield connection


def _value(connection: psycopg.Connection[Any], statement: str, *parameters: str) -> Any:
    row = connection.execute(statement.encode(), parameters).fetchone()
    return None if row is None else row[0]


def _tables(connection: psycopg.Connection[Any]) -> list[str]:
    return [name for (name,) in connection.execute(_TABLES, [list(LEFT_OUT)]).fetchall()]


def _always_fired() -> Iterator[tuple[str, str]]:
    """Yield table and name of the triggers that fire always in this version."""
    expected = catalogue.parse_catalogue(catalogue.CATALOGUE_FILE.read_text())
    for (name, key), definition in expected.items():
        kind, _, table = name.partition(" ")
        if kind == "table" and key.startswith("trigger ") and definition.startswith("ALWAYS "):
            yield table, key.removeprefix("trigger ")


def _switch_all(connection: psycopg.Connection[Any], tables: list[str], how: str) -> None:
    """Switch every trigger of ours off, or on for the sessions of this server alone."""
    for table in tables:
        connection.execute(sql.SQL("ALTER TABLE {} " + how + " TRIGGER USER").format(sql.Identifier(table)))


def _continue_numbers(connection: psycopg.Connection[Any], table: str, column: str) -> None:
    """Let an identity column go on after the numbers that were copied."""
    connection.execute(
        sql.SQL("SELECT setval(pg_get_serial_sequence({}, {}), max({}) + 1, false) FROM {}").format(
            sql.Literal(f'"{table}"'), sql.Literal(column), sql.Identifier(column), sql.Identifier(table)
        )
    )
