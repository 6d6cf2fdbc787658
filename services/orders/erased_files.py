"""Deletes the files of people who were erased."""

from datetime import timedelta

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Receipt, now
from services.core.file_stores import FileStore

BATCH = 100
_SETTLING = timedelta(minutes=10)
"""A file that is younger may belong to an upload that is not committed yet, of the same bytes."""


async def delete_erased_files(session: AsyncSession, *, files: FileStore) -> int:
    """Delete some receipts of erased people, unless others uploaded the same bytes; return how many.

    Raises:
        StoreUnavailable: the store does not answer; nothing is noted, and the next run tries again.
    """
    other, keeper = aliased(Receipt), aliased(Collective)
    statement = (
        select(
            Receipt,
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
    rows = (await session.execute(statement)).all()
    names = [receipt.sha256.hex() for receipt, is_shared in rows if not is_shared]
    await files.delete(names, before=now() - _SETTLING)
    for receipt, _ in rows:
        receipt.erased_at = now()
    await session.flush()
    return len(rows)
