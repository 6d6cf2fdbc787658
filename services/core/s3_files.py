"""Uploaded files in a bucket of an S3-like store, by obstore; the AWS_* variables say how to reach it."""

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from services.core.errors import ConfigurationError
from services.core.file_stores import (
    FileMissing,
    StoredFile,
    StoreUnavailable,
    WrongBytes,
    is_name,
    key_of,
    make_temporary,
)

CONNECT_SECONDS = 3
MAX_RETRIES = 2
_ASKED_AT_ONCE = 50
"""Files whose age is asked for at the same time."""
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
log = logging.getLogger("commonweal.receipts")


def open_bucket(url: str, *, folder: Path, seconds: float) -> "S3Files":
    """Open the bucket of a URL; nothing is contacted yet.

    Raises:
        ConfigurationError: the URL or an AWS_* variable is wrong.
    """
    endpoint = next((os.environ[name] for name in _ENDPOINT_VARIABLES if os.environ.get(name)), "")
    limit = timedelta(seconds=seconds)
    try:
        store = S3Store.from_url(
            url,
            client_options={
                "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, seconds)),
                "timeout": limit,
                "allow_http": endpoint.startswith("http://"),  # only where that is what was asked for
            },
            retry_config={"max_retries": MAX_RETRIES, "retry_timeout": limit},
        )
    except (BaseError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigurationError(
            f"COMMONWEAL_RECEIPTS_STORE or a variable AWS_… is wrong: {reason}"
        ) from None
    return S3Files(store, place=url, folder=folder, seconds=seconds)


class S3Files:
    """The files of a bucket."""

    def __init__(self, store: S3Store, *, place: str, folder: Path, seconds: float) -> None:
        """Keep them in a store, and copies that are being read in a folder."""
        self._store, self.place, self._folder, self._seconds = store, place, folder, seconds

    async def put(self, name: str, source: Path) -> None:
        """Send a file, and ask whether it has arrived: something in between may say yes to everything."""
        async with self._reached():
            await obstore.put_async(self._store, key_of(name), source, use_multipart=False)
        async with self._reached():
            head = await obstore.head_async(self._store, key_of(name))
        if head["size"] != await asyncio.to_thread(os.path.getsize, source):
            log.error("%s has stored %s of another size", self.place, name)
            raise StoreUnavailable

    @asynccontextmanager
    async def opened(self, name: str) -> AsyncIterator[Path]:
        """Yield a copy whose bytes are right."""
        path = make_temporary(self._folder)
        try:
            await self._fetch(name, path)
            yield path
        finally:
            path.unlink(missing_ok=True)

    async def _fetch(self, name: str, path: Path) -> None:
        digest = hashlib.sha256()
        async with self._reached():
            try:
                answer = await obstore.get_async(self._store, key_of(name))
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise BucketMissing(str(error)) from None
                raise FileMissing(name) from None
            with path.open("wb") as file:
                async for chunk in answer.stream():
                    digest.update(chunk)
                    await asyncio.to_thread(file.write, chunk)
        if digest.hexdigest() != name:
            log.error("%s has other bytes than %s", self.place, name)
            raise WrongBytes

    async def delete(self, names: Sequence[str], *, before: datetime | None = None) -> int:
        """Delete files, many in one request; those that do not exist count, too, unless `before` is given."""
        old = list(names)
        if before is not None:
            old = await self._find_older(names, before)
        if old:
            async with self._reached():
                await obstore.delete_async(self._store, [key_of(name) for name in old])
        return len(old)

    async def _find_older(self, names: Sequence[str], before: datetime) -> list[str]:
        older: list[str] = []
        for start in range(0, len(names), _ASKED_AT_ONCE):
            some = names[start : start + _ASKED_AT_ONCE]
            are_older = await asyncio.gather(*(self._is_older(name, before) for name in some))
            older += [name for name, is_older in zip(some, are_older, strict=True) if is_older]
        return older

    async def _is_older(self, name: str, before: datetime) -> bool:
        async with self._reached():
            try:
                head = await obstore.head_async(self._store, key_of(name))
            except FileNotFoundError:
                return False
        return head["last_modified"] < before

    async def list_files(self) -> list[StoredFile]:
        """Return all files, by name."""
        found: list[StoredFile] = []
        pages = aiter(obstore.list(self._store))
        while True:
            async with self._reached():
                page = await anext(pages, None)
            if page is None:
                return sorted(found, key=lambda file: file.name)
            found += [
                StoredFile(name, meta["last_modified"])
                for meta in page
                if is_name(name := meta["path"].rpartition("/")[2]) and meta["path"] == key_of(name)
            ]

    @asynccontextmanager
    async def _reached(self) -> AsyncIterator[None]:
        """Turn whatever fails or takes too long into a problem, and say in the log what it was."""
        try:
            async with asyncio.timeout(self._seconds * 2):
                yield
        except (BaseError, OSError, BucketMissing) as error:
            reason = " ".join(str(error).split())[:300] or "it does not answer"
            log.warning("%s failed: %s: %s", self.place, type(error).__name__, reason)
            raise StoreUnavailable from error


class BucketMissing(Exception):
    """There is no such bucket."""
