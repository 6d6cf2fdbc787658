"""Restoring a backup into an empty database and an empty folder."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from services.core import database_urls, file_stores
from services.core.errors import ConfigurationError
from services.core.file_stores import FileStore
from services.core.settings import Settings
from services.database import migrations
from services.database.engine import APP_ROLE
from services.operation import archives, postgres_tools
from services.operation.archives import Manifest
from services.operation.backup import read_revision

_VERSION_UNIT = 10_000
_TABLES = """
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname !~ '^pg_'
        AND n.nspname <> 'information_schema'
"""
FORGET_NUMBERS = "UPDATE public.transaction SET xid = 0"
"""The numbers of transactions begin anew on another server: no stored one may come again, or postings could
join an old transaction."""
_DATA_ONCE = (FORGET_NUMBERS, "TRUNCATE public.live_event")  # positions of followers are of the old numbers


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What was restored."""

    manifest: Manifest
    files: int


def restore_backup(settings: Settings, path: Path) -> Restored:
    """Restore a backup, then upgrade the database to this version.

    The file is checked as a whole before anything is written. The application's role is made if the server
    lacks it.

    Raises:
        ConfigurationError: the file is damaged or of a newer version, the database or the store of files is
            not empty, the server is older than the backup's, or a program is missing or fails.
        StoreUnavailable: the store of the uploaded files does not answer.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.data_dir, prefix=".restore-") as name:
        folder = Path(name)
        manifest = archives.extract_archive(path, folder)
        migrations.require_known(manifest.revision)
        store = file_stores.open_store(settings)
        server_major = _require_empty(settings, manifest, store)
        tools = postgres_tools.choose_tools(
            postgres_tools.find_all(), server_major=server_major, archive_major=manifest.tools
        )
        _create_role(settings.owner_database_url)
        _restore_database(tools, folder / archives.DUMP, settings.owner_database_url)
        files = sorted((folder / archives.FILES).glob("??/*"))
        asyncio.run(_store_files(files, store))
    migrations.upgrade(settings.owner_database_url)
    return Restored(manifest=manifest, files=len(files))


def _require_empty(settings: Settings, manifest: Manifest, store: FileStore) -> int:
    """Require an empty database and store, and a server that is no older; return the server's version."""
    with psycopg.connect(database_urls.to_conninfo(settings.owner_database_url)) as connection:
        server_major = connection.info.server_version // _VERSION_UNIT
        row = connection.execute(_TABLES).fetchone()
        revision = read_revision(connection)
    if row is None or row[0] > 0 or revision is not None:
        raise ConfigurationError(
            f"The database {database_urls.describe(settings.owner_database_url)} is not empty: nothing is"
            " overwritten. Create a new one and name it in COMMONWEAL_DATABASE_URL"
        )
    if server_major < manifest.postgresql:
        raise ConfigurationError(
            f"The backup is of PostgreSQL {manifest.postgresql}, and this server is {server_major}: restore"
            f" it on {manifest.postgresql} or newer"
        )
    if asyncio.run(store.list_files()):
        name = "COMMONWEAL_RECEIPTS_STORE" if settings.receipts_store else "COMMONWEAL_DATA_DIR"
        raise ConfigurationError(
            f"{store.place} is not empty: nothing is overwritten. Move the files away, or set {name} to"
            " another place"
        )
    return server_major


def _create_role(owner_url: str) -> None:
    """Create the application's role, which no dump holds, and let the owner give it rights.

    Raises:
        ConfigurationError: the user of this connection may not.
    """
    role = sql.Identifier(APP_ROLE)
    with psycopg.connect(database_urls.to_conninfo(owner_url), autocommit=True) as connection:
        found = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [APP_ROLE]).fetchone()
        if found is not None:
            return
        try:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        except psycopg.errors.DuplicateObject:
            pass  # another restore on this server was faster
        except psycopg.errors.InsufficientPrivilege:
            raise ConfigurationError(
                f"The role {APP_ROLE} is missing, and the user of this connection may not create it: run"
                f" `CREATE ROLE {APP_ROLE}` as an administrator of the server"
            ) from None
        if not _is_superuser(connection):
            connection.execute(sql.SQL("GRANT {} TO {}").format(role, sql.Identifier(connection.info.user)))


def _is_superuser(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    return row is not None and bool(row[0])


def _restore_database(tools: postgres_tools.Tools, dump: Path, owner_url: str) -> None:
    """Load tables and rows, adapt what belongs to the old server, then add constraints and guards."""

    def load(section: str) -> None:
        tools.run(
            "pg_restore",
            *("--no-owner", "--exit-on-error", "--single-transaction", f"--section={section}"),
            dump,
            url=owner_url,
        )

    load("pre-data")
    load("data")
    with psycopg.connect(database_urls.to_conninfo(owner_url)) as connection:
        for statement in _DATA_ONCE:
            connection.execute(statement.encode())
    load("post-data")


async def _store_files(files: list[Path], store: FileStore) -> None:
    for file in files:
        await store.put(file.name, file)
