"""Deletes the files of people who were erased."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import Row, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Receipt, now
from services.core.file_stores import FileStore

BATCH = 100
_SETTLING = timedelta(minutes=10)
"""A file that is younger may belong to an upload that is not committed yet, of the same bytes."""

Sessions: TypeAlias = async_sessionmaker[AsyncSession]


async def delete_erased_files(sessions: Sessions, *, files: FileStore) -> int:
    """Delete the receipts of erased people, unless others uploaded the same bytes; return how many.

    The store may be slow, so no transaction is open meanwhile.

    Raises:
        StoreUnavailable: the store does not answer; nothing is noted, and the next run tries again.
    """
    deleted = 0
    while True:
        async with sessions.begin() as session:
            rows = await _find_erased(session)
        if not rows:
            return deleted
        names = [sha256.hex() for _, sha256, is_shared in rows if not is_shared]
        await files.delete(names, before=now() - _SETTLING)
        async with sessions.begin() as session:
            await _note_deleted(session, [receipt_id for receipt_id, *_ in rows])
        deleted += len(rows)


async def _find_erased(session: AsyncSession) -> Sequence[Row[UUID, bytes, bool]]:
    """Return the id and the hash of some receipts, and whether somebody else keeps the same bytes."""
    other, keeper = aliased(Receipt), aliased(Collective)
    statement = (
        select(
            col(Receipt.id),
            col(Receipt.sha256),
            exists().where(
                col(other.sha256) == Receipt.sha256,
                col(other.owner_id).in_(select(col(keeper.id)).where(col(keeper.erased_at).is_(None))),
            ),
        )
        .join(Collective, col(Collective.id) == Receipt.owner_id)
        .where(
            col(Collective.erased_at).is_not(None),
            col(Collective.erased_at) < func.now() - _SETTLING,
            col(Receipt.erased_at).is_(None),
        )
        .limit(BATCH)
    )
    return (await session.execute(statement)).all()


async def _note_deleted(session: AsyncSession, receipt_ids: list[UUID]) -> None:
    statement = (
        update(Receipt)
        .where(col(Receipt.id).in_(receipt_ids), col(Receipt.erased_at).is_(None))
        .values(erased_at=func.now())
        .execution_options(synchronize_session=False)
    )
    await session.execute(statement)
