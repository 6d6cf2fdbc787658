"""Upgrade of a database to this version: Alembic's revisions, then functions and triggers."""

import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

import models.migrations
from models.migrations.sql_files import SQL_FOLDER, execute_files, function_files
from services.core.database_urls import to_psycopg_url
from services.core.errors import ConfigurationError

ATTEMPTS = 10
LOCK_SECONDS = 3
PAUSE_SECONDS = 2.0
log = logging.getLogger(__name__)

UNRELEASED_REVISIONS = {"0001", "0002", "0003", "0004"}
"""Revisions that were replaced before the first release: no database can be upgraded from them."""


def alembic_config(owner_url: str) -> Config:
    """Return Alembic's configuration for the owner's database URL."""
    config = Config()
    config.set_main_option("script_location", str(Path(next(iter(models.migrations.__path__)))))
    config.attributes["url"] = to_psycopg_url(owner_url)
    return config


def upgrade(owner_url: str) -> None:
    """Apply all missing revisions, then every file of functions whose text has changed.

    One transaction, under a lock: concurrent calls wait for each other, and a failure leaves nothing behind.
    If somebody holds a table for longer than a moment, all is undone and tried again.

    Raises:
        ConfigurationError: if the database cannot be upgraded by this version, or not by this user, or others
            hold its tables all the time.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _upgrade(owner_url)
        except (OperationalError, psycopg.errors.LockNotAvailable) as error:
            if not isinstance(getattr(error, "orig", error), psycopg.errors.LockNotAvailable):
                raise
            log.warning("others hold a table that the upgrade must lock: attempt %s of %s", attempt, ATTEMPTS)
            time.sleep(PAUSE_SECONDS)
        else:
            return
    raise ConfigurationError(
        "The database was not upgraded: other connections hold its tables. End long transactions, such as"
        " reports and backups, and run `commonweal migrate` again"
    )


def _upgrade(owner_url: str) -> None:
    config = alembic_config(owner_url)
    with _locked(owner_url) as connection:
        _require_known_revision(connection, ScriptDirectory.from_config(config))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _apply_functions(connection)
        _revoke_temporary_tables(connection)


@contextmanager
def _locked(owner_url: str) -> Iterator[Connection]:
    """Yield a connection in a transaction that excludes other upgrades.

    It waits for them without limit, but only a moment for the lock of a table: whoever comes after it would
    wait behind it.
    """
    engine = create_engine(to_psycopg_url(owner_url))
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7266)")
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
            yield connection
    except (ProgrammingError, psycopg.errors.InsufficientPrivilege) as error:
        # The SQL files run on the driver's own connection, whose errors SQLAlchemy does not wrap.
        if not isinstance(getattr(error, "orig", error), psycopg.errors.InsufficientPrivilege):
            raise
        raise ConfigurationError(
            "The database must be upgraded, which the user of this connection may not do:"
            " set COMMONWEAL_OWNER_DATABASE_URL and run `commonweal migrate`"
        ) from error
    finally:
        engine.dispose()


def _require_known_revision(connection: Connection, script: ScriptDirectory) -> None:
    """Raise ConfigurationError if the database has a revision that this version does not know."""
    if connection.scalar(text("SELECT to_regclass('public.alembic_version')")) is None:
        return
    for revision in connection.scalars(text("SELECT version_num FROM alembic_version")):
        _require_known(revision, script)


def require_known(revision: str) -> None:
    """Require that a database of this revision can be upgraded by this version.

    Raises:
        ConfigurationError: it cannot.
    """
    _require_known(revision, ScriptDirectory.from_config(alembic_config("postgresql://")))


def _require_known(revision: str, script: ScriptDirectory) -> None:
    if revision in UNRELEASED_REVISIONS:
        raise ConfigurationError(
            f"The database was created by a version before the first release (revision {revision}),"
            " which cannot be upgraded: drop it, create it again and run `commonweal migrate`"
        )
    if revision not in {each.revision for each in script.walk_revisions()}:
        raise ConfigurationError(
            f"The database belongs to a newer version of Commonweal (revision {revision}):"
            " install that version"
        )


def _apply_functions(connection: Connection) -> None:
    """Apply each file of functions and triggers whose text differs from the one applied last."""
    rows = connection.execute(text("SELECT name, sha256 FROM repeatable_migration"))
    applied = {row.name: row.sha256 for row in rows}
    for name in function_files():
        sha256 = hashlib.sha256((SQL_FOLDER / name).read_bytes()).hexdigest()
        if applied.get(name) == sha256:
            continue
        execute_files(connection, name)
        connection.execute(
            text(
                "INSERT INTO repeatable_migration (name, sha256) VALUES (:name, :sha256) ON CONFLICT (name)"
                " DO UPDATE SET sha256 = excluded.sha256, applied_at = excluded.applied_at"
            ),
            {"name": name, "sha256": sha256},
        )


def _revoke_temporary_tables(connection: Connection) -> None:
    """Keep other roles from creating temporary tables, whose names could stand in for those of ours.

    Functions and triggers do not see such tables in any case. Only the database's owner can revoke the right;
    anyone else leaves it as it is.
    """
    if connection.scalar(text("SELECT has_database_privilege('commonweal_app', current_database(), 'TEMP')")):
        connection.exec_driver_sql(
            "DO $$ BEGIN"
            " EXECUTE format('REVOKE TEMPORARY ON DATABASE %%I FROM PUBLIC', current_database());"
            " EXCEPTION WHEN insufficient_privilege THEN NULL; END $$"
        )
