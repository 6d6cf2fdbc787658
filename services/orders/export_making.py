"""Makes the copies of personal data that were asked for: what the database holds, and the uploaded files."""

import asyncio
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import DataExport, Receipt, new_id
from services.core import file_stores, public_ids
from services.core.file_stores import FileMissing, FileStore, WrongBytes
from services.messaging import outbox
from services.orders import personal_exports
from services.orders.personal_exports import KEPT_FOR, PARTIAL
from services.orders.receipts import FILE_EXTENSIONS

LEFT_OUT = "files/LEFT_OUT.txt"
"""Entry of a copy that names the uploaded files that are missing in it."""
_LEFT_OUT = "These files were uploaded, but are damaged or gone here, so this copy lacks them:\n\n"

Sessions: TypeAlias = async_sessionmaker[AsyncSession]


async def make(sessions: Sessions, *, export_id: UUID, folder: Path, files: FileStore) -> None:
    """Make a copy that was asked for and mail its link, unless that is done.

    The store may be slow, so its files are read between two transactions. Uploaded files that are damaged or
    gone are left out, and the copy names them.

    Raises:
        StoreUnavailable: the store of the uploaded files does not answer.
    """
    partial = folder / f"{new_id().hex}{PARTIAL}"  # of this attempt alone: another may have lost its worker
    try:
        with _open_archive(partial) as archive:
            async with sessions.begin() as session:
                row = await _find_waiting(session, export_id=export_id)
                if row is None:
                    return
                await personal_exports.write_tables(session, archive, user_id=row.user_id)
                uploaded = await _find_files(session, user_id=row.user_id)
            await _write_files(archive, uploaded, files)
        async with sessions.begin() as session:
            if await _finish(session, export_id=export_id):
                partial.replace(personal_exports.export_path(row, folder=folder))
    finally:
        partial.unlink(missing_ok=True)


def _open_archive(path: Path) -> zipfile.ZipFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    return zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)


async def _find_waiting(session: AsyncSession, *, export_id: UUID) -> DataExport | None:
    statement = select(DataExport).where(
        col(DataExport.id) == export_id, col(DataExport.finished_at).is_(None)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def _find_files(session: AsyncSession, *, user_id: UUID) -> dict[str, str]:
    """Return the store's names of the files that the person uploaded, by their names in the copy."""
    statement = select(Receipt).where(col(Receipt.owner_id) == user_id, col(Receipt.erased_at).is_(None))
    return {
        public_ids.encode("Receipt", row.id) + FILE_EXTENSIONS[row.content_type]: row.sha256.hex()
        for row in (await session.execute(statement)).scalars()
    }


async def _write_files(archive: zipfile.ZipFile, uploaded: Mapping[str, str], files: FileStore) -> None:
    """Write the uploaded files as they are: pictures and PDFs are compressed already."""
    left_out = []
    for name, stored_name in uploaded.items():
        try:
            async with file_stores.opened_whole(files, stored_name) as path:
                await asyncio.to_thread(archive.write, path, f"files/{name}", zipfile.ZIP_STORED)
        except (FileMissing, WrongBytes):
            left_out.append(name)
    if left_out:
        archive.writestr(LEFT_OUT, _LEFT_OUT + "".join(f"{name}\n" for name in left_out))


async def _finish(session: AsyncSession, *, export_id: UUID) -> bool:
    """Note that a copy is ready and mail its link; return False if nobody waits for it. Locks: it."""
    statement = (
        update(DataExport)
        .where(col(DataExport.id) == export_id, col(DataExport.finished_at).is_(None))
        .values(finished_at=func.now(), expires_at=func.now() + KEPT_FOR)
        .returning(DataExport)
        .execution_options(synchronize_session=False)
    )
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        return False
    await outbox.mail_users(
        session,
        user_ids=[row.user_id],
        template="data_export",
        payload={"id": public_ids.encode("DataExport", row.id)},
    )
    return True
