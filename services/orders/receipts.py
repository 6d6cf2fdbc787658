"""Files that prove a purchase or an expense: their bytes in a folder, by what they are; a row says whose."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Receipt
from models.enums import Scope
from services.access import attempt_limits, visibility
from services.access.actor import Actor
from services.access.permissions import require_scope
from services.core import public_ids
from services.core.errors import Invalid, NotFound, Unauthenticated

MAX_BYTES = 15 * 1024 * 1024
ENDINGS = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "application/pdf": ".pdf"}
"""The kinds of file that are taken, each with how its name ends."""
_HEAD = 12


class TooLarge(Invalid):
    """A receipt has at most 15 MB."""


class WrongType(Invalid):
    """A receipt is a JPEG, PNG or WebP image, or a PDF."""


@dataclass(frozen=True)
class Upload:
    """A file that has arrived whole and has no row yet."""

    path: Path
    """Where it lies for now."""
    content_type: str
    size_bytes: int
    sha256: bytes


async def count_upload(session: AsyncSession, actor: Actor) -> bool:
    """Count an upload that is about to come; return whether it is one of the user's first 100 within a day.

    Raises:
        Unauthenticated: nobody is signed in.
        Forbidden: the access token lacks the scope ORDERS.
    """
    if actor.user is None:
        raise Unauthenticated
    require_scope(actor, Scope.ORDERS)
    return await attempt_limits.count_upload(session, user_id=actor.user.id)


async def received(chunks: AsyncIterator[bytes], *, content_type: str, folder: Path) -> Upload:
    """Write what arrives to a temporary file in the folder, no more than 15 MB; nothing stays on an error.

    Raises:
        TooLarge: it has more; the rest is not read.
        WrongType: a kind that is not taken, or the first bytes are those of another kind.
        Invalid: there is nothing.
    """
    if content_type not in ENDINGS:
        raise WrongType
    digest, size, head = hashlib.sha256(), 0, b""
    with _incoming(folder) as (file, path):
        async for chunk in chunks:
            size += len(chunk)
            if size > MAX_BYTES:
                raise TooLarge
            head += chunk[: _HEAD - len(head)] if len(head) < _HEAD else b""
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
        _check(head, content_type)
        await asyncio.to_thread(_to_disk, file)
        return Upload(path, content_type, size, digest.digest())


@contextmanager
def _incoming(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Open a temporary file in the folder, which is gone if an error leaves the block."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix="incoming-")
    path = Path(name)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - by its descriptor
            yield file, path
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _check(head: bytes, content_type: str) -> None:
    """Let through a file whose first bytes are those of its kind."""
    if not head:
        raise Invalid("The file is empty")
    marks = {
        "image/jpeg": head.startswith(b"\xff\xd8\xff"),
        "image/png": head.startswith(b"\x89PNG\r\n\x1a\n"),
        "image/webp": head.startswith(b"RIFF") and head[8:12] == b"WEBP",
        "application/pdf": head.startswith(b"%PDF-"),
    }
    if not marks[content_type]:
        raise WrongType("The file is not what its Content-Type says")


async def add(session: AsyncSession, actor: Actor, *, upload: Upload, folder: Path) -> Receipt:
    """Keep an upload as the actor's; the same bytes lie there once, however often they come.

    The bytes are there before the row is committed: a row without bytes there is not.
    """
    assert actor.user is not None
    row = Receipt(
        owner_id=actor.user.id,
        content_type=upload.content_type,
        size_bytes=upload.size_bytes,
        sha256=upload.sha256,
    )
    session.add(row)
    await session.flush()
    place = path_of(row, folder=folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    upload.path.replace(place)
    return row


def path_of(receipt: Receipt, *, folder: Path) -> Path:
    """Return where a receipt's bytes lie."""
    name = receipt.sha256.hex()
    return folder / name[:2] / name


async def find(session: AsyncSession, actor: Actor, *, receipt_id: UUID) -> Receipt | None:
    """Return a receipt, or None where there is none that the actor may see.

    Raises:
        Forbidden: the access token lacks the scope READ.
    """
    require_scope(actor, Scope.READ)
    seen = visibility.of_receipt(actor, public_ids.encode("Receipt", receipt_id))
    statement = select(Receipt).where(col(Receipt.id) == receipt_id, seen)
    return (await session.execute(statement)).scalar_one_or_none()


async def own(session: AsyncSession, actor: Actor, *, public_id: str) -> Receipt:
    """Return a receipt that the actor uploaded, named by the input field `receipt`.

    Raises:
        Invalid: it is no id.
        NotFound: there is none that is the actor's own.
    """
    path = ["input", "receipt"]
    row = await session.get(Receipt, public_ids.decode("Receipt", public_id, path=path))
    if row is None or row.owner_id != actor.id:
        raise NotFound("There is no such receipt", path=path)
    return row
