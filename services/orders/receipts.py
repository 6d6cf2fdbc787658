"""Uploaded receipts: files of a store, named by their hash, and a row for each owner."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Receipt
from models.enums import Scope
from services.access import attempt_limits, visibility
from services.access.actor import Actor
from services.access.permissions import require_scope
from services.core import public_ids
from services.core.errors import Invalid, LimitExceeded, NotFound, Unauthenticated
from services.core.file_stores import make_temporary

MAX_BYTES = 15 * 1024 * 1024
FILE_EXTENSIONS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "application/pdf": ".pdf",
}
"""The accepted content types with their file extensions."""
_HEADER_BYTES = 12


class TooLarge(Invalid):
    """The receipt is too large: at most 15 MB are allowed."""


class QuotaExceeded(LimitExceeded):
    """You have uploaded as much as one person may keep here."""


class WrongType(Invalid):
    """A receipt must be a JPEG, PNG or WebP image, or a PDF."""


@dataclass(frozen=True)
class Upload:
    """A completely received file without a row yet."""

    path: Path
    """Its temporary path."""
    content_type: str
    size_bytes: int
    sha256: bytes

    @property
    def name(self) -> str:
        """Its name in a store."""
        return self.sha256.hex()


async def consume_upload_attempt(session: AsyncSession, actor: Actor) -> bool:
    """Count a coming upload; return True if it is among the user's first 100 within a day.

    Raises:
        Unauthenticated: nobody is signed in.
        Forbidden: the access token lacks the scope ORDERS.
    """
    if actor.user is None:
        raise Unauthenticated
    require_scope(actor, Scope.ORDERS)
    return await attempt_limits.consume_upload(session, user_id=actor.user.id)


async def receive_upload(chunks: AsyncIterator[bytes], *, content_type: str, folder: Path) -> Upload:
    """Write at most 15 MB to a temporary file in the folder; on an error, no file remains.

    Raises:
        TooLarge: there are more bytes; the rest is not read.
        WrongType: the type is not accepted, or the first bytes belong to another one.
        Invalid: the file is empty.
    """
    if content_type not in FILE_EXTENSIONS:
        raise WrongType
    digest, size, head = hashlib.sha256(), 0, b""
    with _temporary_file(folder) as (file, path):
        async for chunk in chunks:
            size += len(chunk)
            if size > MAX_BYTES:
                raise TooLarge
            head += chunk[: _HEADER_BYTES - len(head)] if len(head) < _HEADER_BYTES else b""
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
        _require_matching_content(head, content_type)
        await asyncio.to_thread(_flush_to_disk, file)
        return Upload(path, content_type, size, digest.digest())


@contextmanager
def _temporary_file(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Open a temporary file in the folder; delete it if an error leaves the block."""
    path = make_temporary(folder)
    try:
        with path.open("wb") as file:
            yield file, path
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _flush_to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _require_matching_content(head: bytes, content_type: str) -> None:
    """Require that the first bytes match the content type."""
    if not head:
        raise Invalid("The file is empty. Choose another file.")
    signatures = {
        "image/jpeg": head.startswith(b"\xff\xd8\xff"),
        "image/png": head.startswith(b"\x89PNG\r\n\x1a\n"),
        "image/webp": head.startswith(b"RIFF") and head[8:12] == b"WEBP",
        "application/pdf": head.startswith(b"%PDF-"),
    }
    if not signatures[content_type]:
        raise WrongType("The file does not match its Content-Type.")


async def add_receipt(session: AsyncSession, actor: Actor, *, upload: Upload, quota_bytes: int) -> Receipt:
    """Add the actor's row for an upload whose bytes are in the store already, so that no row lacks its bytes.

    The same bytes are stored once, however often they are uploaded. Locks: the actor, so that two uploads at
    once are both counted.

    Raises:
        QuotaExceeded: there is no room for it in the actor's `quota_bytes`.
    """
    assert actor.user is not None
    await require_room(session, actor, size_bytes=upload.size_bytes, quota_bytes=quota_bytes)
    row = Receipt(
        owner_id=actor.user.id,
        content_type=upload.content_type,
        size_bytes=upload.size_bytes,
        sha256=upload.sha256,
    )
    session.add(row)
    await session.flush()
    return row


async def require_room(session: AsyncSession, actor: Actor, *, size_bytes: int, quota_bytes: int) -> None:
    """Require that the actor's receipts may have so many bytes more. Locks: the actor.

    Raises:
        QuotaExceeded: they may not.
    """
    assert actor.user is not None
    user_id = actor.user.id
    own = select(col(Collective.id)).where(col(Collective.id) == user_id)
    await session.execute(own.with_for_update(key_share=True))
    used = select(func.coalesce(func.sum(col(Receipt.size_bytes)), 0)).where(
        col(Receipt.owner_id) == user_id, col(Receipt.erased_at).is_(None)
    )
    if (await session.execute(used)).scalar_one() + size_bytes > quota_bytes:
        raise QuotaExceeded


async def find_receipt(session: AsyncSession, actor: Actor, *, receipt_id: UUID) -> Receipt | None:
    """Find a receipt, or None if the actor may not see it.

    Raises:
        Forbidden: the access token lacks the scope READ.
    """
    require_scope(actor, Scope.READ)
    is_visible = visibility.receipt_is_visible(actor, public_ids.encode("Receipt", receipt_id))
    statement = select(Receipt).where(
        col(Receipt.id) == receipt_id, col(Receipt.erased_at).is_(None), is_visible
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def load_own_receipt(session: AsyncSession, actor: Actor, *, public_id: str) -> Receipt:
    """Load a receipt that the actor uploaded, by the public id in the input field `receipt`.

    Raises:
        Invalid: it is not an id of a receipt.
        NotFound: the actor has no such receipt.
    """
    field = "receipt"
    row = await session.get(Receipt, public_ids.decode("Receipt", public_id, field=field))
    if row is None or row.owner_id != actor.id:
        raise NotFound("You have uploaded no such receipt.", field=field)
    return row
