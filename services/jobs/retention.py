"""Deletes what is older than the settings keep it, in batches, each in a transaction of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeAlias

from sqlalchemy import Interval, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Receipt, now
from services.core import file_stores
from services.core.file_stores import INCOMING_PREFIX, FileStore
from services.core.settings import Settings

BATCH = 1_000
KINDS = {
    "MAILS": "keep_mails_days",
    "IDEMPOTENCY_KEYS": "keep_idempotency_keys_days",
    "TOKENS": "keep_tokens_days",
    "MAILED_LINKS": "keep_mailed_links_days",
    "CHALLENGES": "keep_challenges_days",
    "THROTTLES": "keep_throttles_days",
}
"""Kinds of rows that the database's `retention_prune` deletes, with the settings of how long they stay."""

_DELETE_JOBS = text("""
    DELETE FROM jobs.procrastinate_jobs WHERE id IN (
        SELECT j.id FROM jobs.procrastinate_events e JOIN jobs.procrastinate_jobs j ON j.id = e.job_id
        WHERE e.at < now() - :keep AND e.type IN ('succeeded', 'failed', 'cancelled', 'aborted')
          AND j.status IN ('succeeded', 'failed', 'cancelled', 'aborted')
          AND NOT EXISTS (
              SELECT FROM jobs.procrastinate_events n WHERE n.job_id = j.id AND n.at >= now() - :keep)
        ORDER BY e.at LIMIT :batch)""")

Sessions: TypeAlias = async_sessionmaker[AsyncSession]


async def prune_rows(sessions: Sessions, *, kind: str, days: int, batch: int = BATCH) -> int:
    """Delete the rows of a kind that ended over `days` ago; return how many."""

    async def delete(session: AsyncSession) -> int:
        keep = literal(timedelta(days=days), Interval)
        statement = select(func.retention_prune(kind, keep, batch))
        return int((await session.execute(statement)).scalar_one())

    return await _repeat(sessions, delete)


async def prune_jobs(sessions: Sessions, *, days: int, batch: int = BATCH) -> int:
    """Delete the jobs that ended over `days` ago; return how many."""

    async def delete(session: AsyncSession) -> int:
        result = await session.execute(_DELETE_JOBS, {"keep": timedelta(days=days), "batch": batch})
        return int(getattr(result, "rowcount", 0))

    return await _repeat(sessions, delete)


async def delete_orphaned_files(sessions: Sessions, *, files: FileStore, folder: Path, days: int) -> int:
    """Delete receipts' files without a row, and files of uploads that broke off; return how many.

    Those of the last `days` stay: they may belong to an upload under way. Uploads arrive in `folder`.

    Raises:
        StoreUnavailable: the store of the files does not answer.
    """
    before = now() - timedelta(days=days)
    deleted = await asyncio.to_thread(_delete_unfinished, folder, before)
    old = [file.name for file in await files.list_files() if file.changed_at < before]
    for start in range(0, len(old), BATCH):
        async with sessions.begin() as session:
            orphans = await _find_orphans(session, old[start : start + BATCH])
        # The same bytes may have been uploaded again meanwhile: then the file is new.
        deleted += await files.delete(orphans, before=before)
    return deleted


def _delete_unfinished(folder: Path, before: datetime) -> int:
    changes = {path: file_stores.read_change(path) for path in folder.glob(f"{INCOMING_PREFIX}*")}
    unfinished = [path for path, at in changes.items() if at is not None and at < before]
    for path in unfinished:
        path.unlink(missing_ok=True)
    return len(unfinished)


async def _find_orphans(session: AsyncSession, names: list[str]) -> list[str]:
    known = select(col(Receipt.sha256)).where(
        col(Receipt.sha256).in_([bytes.fromhex(name) for name in names]), col(Receipt.erased_at).is_(None)
    )
    kept = {sha256.hex() for sha256 in (await session.execute(known)).scalars()}
    return [name for name in names if name not in kept]


async def _repeat(sessions: Sessions, delete: Callable[[AsyncSession], Awaitable[int]]) -> int:
    """Call `delete` until it finds nothing; each call is committed."""
    deleted = 0
    while True:
        async with sessions.begin() as session:
            count = await delete(session)
        deleted += count
        if count == 0:
            return deleted


def list_prunings(sessions: Sessions, settings: Settings) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return the prunings by the names of their jobs."""
    prunings: dict[str, Callable[[], Awaitable[object]]] = {
        f"prune_{kind.lower()}": partial(prune_rows, sessions, kind=kind, days=getattr(settings, name))
        for kind, name in KINDS.items()
    }
    return prunings | {
        "prune_jobs": partial(prune_jobs, sessions, days=settings.keep_jobs_days),
        "prune_orphaned_files": partial(
            delete_orphaned_files,
            sessions,
            files=file_stores.open_store(settings),
            folder=file_stores.working_folder(settings),
            days=settings.keep_orphaned_files_days,
        ),
    }
