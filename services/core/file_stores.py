"""Where uploaded files are kept: a folder, or an S3-like store. A file's name is the SHA-256 of its bytes."""

import asyncio
import hashlib
import importlib
import os
import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from services.core.errors import ConfigurationError, Unavailable
from services.core.settings import Settings

FOLDER = "receipts"
"""Folder in COMMONWEAL_DATA_DIR: of the files, or at least of those that are on their way."""
INCOMING_PREFIX = "incoming-"
_NAME = re.compile(r"[0-9a-f]{64}")


class FileMissing(Exception):
    """The store has no file of this name."""


class StoreUnavailable(Unavailable):
    """Uploaded files are not available at present, and nothing is lost. Try again in a moment."""


class WrongBytes(StoreUnavailable):
    """The store answered with other bytes than those that were uploaded. Try again in a moment."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a store."""

    name: str
    changed_at: datetime


class FileStore(Protocol):
    """What all stores do. Each method raises StoreUnavailable if the store does not answer as it should."""

    place: str
    """Where it is, for people."""

    async def put(self, name: str, source: Path) -> None:
        """Store a file as a whole or not at all; the source may be gone afterwards."""

    def opened(self, name: str) -> AbstractAsyncContextManager[Path]:
        """Yield the path of a file with its bytes, which may be gone afterwards.

        Raises:
            FileMissing: there is none.
        """

    async def delete(self, names: Sequence[str], *, before: datetime | None = None) -> int:
        """Delete those files that exist, and are older than `before`; return how many, as far as is known."""

    async def list_files(self) -> list[StoredFile]:
        """Return all files, by name."""


def open_store(settings: Settings) -> FileStore:
    """Open the store of the settings; nothing is contacted yet.

    Raises:
        ConfigurationError: the store needs an extra that is not installed, or its settings are wrong.
    """
    folder = working_folder(settings)
    if not settings.receipts_store:
        return FolderStore(folder)
    try:
        module = importlib.import_module("services.core.s3_files")
    except ImportError:
        message = "COMMONWEAL_RECEIPTS_STORE needs obstore: install commonweal with its extra `s3`"
        raise ConfigurationError(message) from None
    store: FileStore = module.open_bucket(
        settings.receipts_store, folder=folder, seconds=settings.receipts_timeout_ms / 1000
    )
    return store


def working_folder(settings: Settings) -> Path:
    """Return the folder in which uploads arrive, whatever the store."""
    return settings.data_dir / FOLDER


def key_of(name: str) -> str:
    """Return where a store keeps the file of a name: in one of 256 folders."""
    return f"{name[:2]}/{name}"


def is_name(name: str) -> bool:
    """Return True if a name is one of ours."""
    return _NAME.fullmatch(name) is not None


def make_temporary(folder: Path) -> Path:
    """Create an empty file that is swept away if its maker dies."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, path = tempfile.mkstemp(dir=folder, prefix=INCOMING_PREFIX)
    os.close(handle)
    return Path(path)


def hash_file(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_change(path: Path) -> datetime | None:
    """Return when a file was changed, or None if it is gone: others delete files meanwhile."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None


@asynccontextmanager
async def opened_whole(store: FileStore, name: str) -> AsyncIterator[Path]:
    """Yield the path of a file after its bytes were compared with its name.

    Raises:
        FileMissing: there is none.
        WrongBytes: it has other bytes.
    """
    async with store.opened(name) as path:
        try:
            found = await asyncio.to_thread(hash_file, path)
        except FileNotFoundError:
            raise FileMissing(name) from None
        if found != name:
            raise WrongBytes
        yield path


class FolderStore:
    """The files in a folder of this machine, or of a file system that several share."""

    def __init__(self, folder: Path) -> None:
        """Keep them in this folder, which is made with the first file."""
        self._folder = folder
        self.place = str(folder)

    def path_of(self, name: str) -> Path:
        """Return the path of a file."""
        return self._folder / key_of(name)

    async def put(self, name: str, source: Path) -> None:
        """Move a file to its place."""
        await asyncio.to_thread(self._move, name, source)

    def _move(self, name: str, source: Path) -> None:
        path = self.path_of(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        source.replace(path)

    @asynccontextmanager
    async def opened(self, name: str) -> AsyncIterator[Path]:
        """Yield the file itself."""
        path = self.path_of(name)
        if not path.is_file():
            raise FileMissing(name)
        yield path

    async def delete(self, names: Sequence[str], *, before: datetime | None = None) -> int:
        """Delete files."""
        return await asyncio.to_thread(self._unlink_all, names, before)

    def _unlink_all(self, names: Sequence[str], before: datetime | None) -> int:
        changes = {path: read_change(path) for path in map(self.path_of, names)}
        old = [path for path, at in changes.items() if at is not None and (before is None or at < before)]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    async def list_files(self) -> list[StoredFile]:
        """Return all files, by name."""
        return await asyncio.to_thread(self._list)

    def _list(self) -> list[StoredFile]:
        paths = [path for path in self._folder.glob("??/*") if is_name(path.name) and path.is_file()]
        changes = {path.name: read_change(path) for path in sorted(paths, key=lambda path: path.name)}
        return [StoredFile(name, at) for name, at in changes.items() if at is not None]
