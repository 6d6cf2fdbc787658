"""Backups: the whole database and the uploaded files in one file."""

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import psycopg

from models import now
from services.core import database_urls, file_stores
from services.core.errors import ConfigurationError
from services.core.file_stores import FileMissing, FileStore, WrongBytes
from services.core.settings import Settings
from services.operation import archives, postgres_tools
from services.operation.archives import Manifest

_VERSION_UNIT = 10_000


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A backup that was made."""

    path: Path
    size_bytes: int
    files: int
    left_out: list[str]
    """Uploaded files that have other bytes than those that were uploaded, and so are not in it."""
    revision: str
    made_at: datetime


def make_backup(settings: Settings, path: Path) -> Backup:
    """Write the database and the uploaded files to a new file, and note in the database that it was done.

    One snapshot of the database; servers go on working. Files are copied after it, and a file is in its place
    before its row is committed, so none is missing. One that is damaged is left out and named.

    Raises:
        ConfigurationError: the database is empty, the file exists, or pg_dump is missing or fails.
        StoreUnavailable: the store of the uploaded files does not answer.
    """
    made_at = now()
    with closing(psycopg.connect(database_urls.to_conninfo(settings.owner_database_url))) as connection:
        revision, server_major = read_revision(connection), connection.info.server_version // _VERSION_UNIT
    if revision is None:
        raise ConfigurationError("The database is empty: there is nothing to back up")
    tools = postgres_tools.choose_tools(postgres_tools.find_all(), server_major=server_major)
    with (
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".backup-") as name,
        archives.write_archive(path) as add,
    ):
        folder = Path(name)
        dump = folder / archives.DUMP
        tools.run(
            "pg_dump",
            *("--format=custom", "--no-owner", "--no-unlogged-table-data"),
            f"--file={dump}",
            url=settings.owner_database_url,
        )
        entries = {archives.DUMP: add(archives.DUMP, dump)}
        files, left_out = asyncio.run(_add_files(file_stores.open_store(settings), add))
        entries |= files
        manifest = Manifest(
            version=version("commonweal"),
            revision=revision,
            postgresql=server_major,
            tools=tools.major,
            made_at=made_at.isoformat(),
            entries=entries,
        )
        archives.write_manifest(add, manifest, folder=folder)
    backup = Backup(
        path=path,
        size_bytes=path.stat().st_size,
        files=len(files),
        left_out=left_out,
        revision=revision,
        made_at=made_at,
    )
    _note(settings, backup)
    return backup


async def _add_files(store: FileStore, add: Callable[[str, Path], str]) -> tuple[dict[str, str], list[str]]:
    """Add the uploaded files but those deleted meanwhile; return hashes by entry, and what is damaged.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    added: dict[str, str] = {}
    damaged = []
    for file in await store.list_files():
        entry = f"{archives.FILES}{file_stores.key_of(file.name)}"
        try:
            async with file_stores.opened_whole(store, file.name) as path:
                added[entry] = add(entry, path)
        except WrongBytes:
            damaged.append(file.name)
        except (FileMissing, FileNotFoundError):
            pass  # it was deleted meanwhile
    return added, damaged


def read_revision(connection: psycopg.Connection[tuple[object, ...]]) -> str | None:
    """Return the revision of a database, or None if it was never migrated."""
    with connection.transaction():
        found = connection.execute("SELECT to_regclass('public.alembic_version')").fetchone()
        if found is None or found[0] is None:
            return None
        row = connection.execute("SELECT version_num FROM public.alembic_version").fetchone()
    return None if row is None else str(row[0])


def _note(settings: Settings, backup: Backup) -> None:
    """Store when a backup was made, for `commonweal doctor` and the metrics."""
    with psycopg.connect(database_urls.to_conninfo(settings.owner_database_url)) as connection:
        connection.execute(
            "INSERT INTO backup_run (started_at, finished_at, size_bytes, files) VALUES (%s, %s, %s, %s)",
            [backup.made_at, now(), backup.size_bytes, backup.files],
        )
