"""Is what is stored sound: the ledger, the uploaded files, the database's guards, a backup."""

import asyncio
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from services.core import database_urls, file_stores
from services.core.file_stores import FileMissing, FileStore, WrongBytes
from services.core.settings import Settings
from services.database import catalogue
from services.database import engine as database_engine
from services.ledger.audit import LedgerAudit, audit_ledger
from services.operation import archives
from services.operation.archives import Manifest

_MOST_LISTED = 100
_FILES = "SELECT DISTINCT encode(sha256, 'hex') FROM public.receipt WHERE erased_at IS NULL"


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found; each list is empty if nothing is wrong."""

    audit: LedgerAudit
    files: int
    damaged_files: list[str]
    """Uploaded files that are missing or have other bytes, at most a hundred."""
    differences: list[str]
    """How the database differs from the one that this version expects, without what is tolerable."""

    @property
    def is_clean(self) -> bool:
        """True if nothing is wrong."""
        return self.audit.is_clean and not self.damaged_files and not self.differences


def verify_stored(settings: Settings, *, full: bool) -> Verification:
    """Audit the ledger, hash the uploaded files, and compare the database with this version.

    Raises:
        AuditIsRunning: another audit of this ledger has not ended.
        StoreUnavailable: the store of the uploaded files does not answer.
    """
    audit = asyncio.run(_audit(settings, full=full))
    with psycopg.connect(database_urls.to_conninfo(settings.owner_database_url)) as connection:
        names = [str(name) for (name,) in connection.execute(_FILES)]
    damaged = asyncio.run(_find_damaged(file_stores.open_store(settings), names))
    differences = catalogue.find_differences(settings.database_url)
    return Verification(
        audit=audit,
        files=len(names),
        damaged_files=damaged[:_MOST_LISTED],
        differences=[each.description for each in differences if not each.is_tolerable],
    )


async def _audit(settings: Settings, *, full: bool) -> LedgerAudit:
    engine = database_engine.create_pool(replace(settings, pool_size=2))
    try:
        return await audit_ledger(database_engine.session_factory(engine), full=full)
    finally:
        await engine.dispose()


async def _find_damaged(store: FileStore, names: list[str]) -> list[str]:
    """Read every file; describe those that are missing or have other bytes."""
    damaged = []
    for name in names:
        try:
            async with file_stores.opened_whole(store, name):
                pass
        except FileMissing:
            damaged.append(f"{name} is missing")
        except WrongBytes:
            damaged.append(f"{name} has other bytes")
    return damaged


def verify_backup(path: Path) -> Manifest:
    """Read a whole backup and compare each entry with its hash; nothing is restored.

    Raises:
        DamagedBackup: it is cut short, changed, or no backup.
        ConfigurationError: a newer version made it.
    """
    with tempfile.TemporaryDirectory(prefix="commonweal-verify-") as name:
        return archives.extract_archive(path, Path(name))
