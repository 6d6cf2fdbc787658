"""Deletes the files of people who were erased."""

from datetime import timedelta
from pathlib import Path

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Receipt, now
from services.orders.receipts import receipt_path

BATCH = 100
_SETTLING = timedelta(minutes=10)
"""A file that is younger may belong to an upload that is not committed yet."""


async def delete_erased_files(session: AsyncSession, *, folder: Path) -> int:
    """Delete some receipts of erased people, unless others uploaded the same bytes; return how many."""
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
    for receipt, is_shared in rows:
        if not is_shared:
            receipt_path(receipt, folder=folder).unlink(missing_ok=True)
        receipt.erased_at = now()
    await session.flush()
    return len(rows)
