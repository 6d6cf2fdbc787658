"""Connections that only read, kept at hand: to borrow one of the pool anew took as long as a small query.

They are of the engine's own pool, some of which is always left to others.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast
from weakref import WeakKeyDictionary

from psycopg.pq import TransactionStatus
from sqlalchemy import event
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

LEFT_TO_OTHERS = 2
WAIT_SECONDS = 10


@dataclass(frozen=True)
class Reader:
    """A connection on which transactions are begun in words, and the driver's own below it."""

    connection: AsyncConnection
    driver: Any
    take_back: Callable[["Reader"], Any]

    @property
    def is_good(self) -> bool:
        """Whether it can be used by another operation: it is open, and in nobody's transaction."""
        connection = self.connection
        is_open = not (self.driver.closed or connection.closed or connection.invalidated)
        return is_open and not connection.in_transaction() and self.is_idle

    @property
    def is_idle(self) -> bool:
        """Whether no transaction was begun on it in words, and no statement runs."""
        idle: bool = self.driver.pgconn.transaction_status == TransactionStatus.IDLE
        return idle

    async def give_back(self) -> None:
        """Leave it to the next operation."""
        await self.take_back(self)


@dataclass
class _Readers:
    engine: AsyncEngine
    most: int
    are_kept: bool
    open: int = 0
    idle: list[Reader] = field(default_factory=list)
    waiting: deque[asyncio.Future[Reader | None]] = field(default_factory=deque)

    async def take(self) -> Reader:
        while True:
            if self.idle:
                return self.idle.pop()
            if self.open < self.most:
                return await self._opened()
            if (found := await self._waited()) is not None:
                return found

    async def _opened(self) -> Reader:
        self.open += 1
        try:
            connection = await self.engine.connect()
            try:
                driver = (await connection.get_raw_connection()).driver_connection
            except BaseException:
                await connection.close()
                raise
        except BaseException:
            self._closed()
            raise
        return Reader(connection, driver, self.give)

    async def _waited(self) -> Reader | None:
        """Return what another operation leaves, or None if there may be room for one more."""
        place: asyncio.Future[Reader | None] = asyncio.get_running_loop().create_future()
        self.waiting.append(place)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self._hand_on(place.result())  # it came as its operation ended
            if isinstance(error, TimeoutError):
                raise PoolTimeout("no connection was free") from None
            raise

    async def give(self, reader: Reader) -> None:
        if self.are_kept and reader.is_good:
            self._hand_on(reader)
            return
        await self.close(reader, is_broken=not reader.is_good)
        while reader.driver.closed and self.idle:  # what broke one may have broken all
            await self.close(self.idle.pop(), is_broken=True)

    async def close(self, reader: Reader, *, is_broken: bool = False) -> None:
        """Give a connection back to the pool, or throw it away."""
        try:
            if is_broken:
                await reader.connection.invalidate()
            await reader.connection.close()
        finally:
            self._closed()

    def _hand_on(self, reader: Reader | None) -> None:
        while self.waiting:
            if not (place := self.waiting.popleft()).done():
                place.set_result(reader)
                return
        if reader is not None:
            self.idle.append(reader)

    def _closed(self) -> None:
        self.open -= 1
        self._hand_on(None)

    def dispose(self, _: object) -> None:
        """Close those that are at hand, as the engine closes what its pool holds."""
        while self.idle:
            sync = self.idle.pop().connection.sync_connection
            self.open -= 1
            if sync is not None:
                sync.invalidate()
                sync.close()


_READERS: WeakKeyDictionary[AsyncEngine, _Readers] = WeakKeyDictionary()


async def take(engine: AsyncEngine) -> Reader:
    """Return a connection for one operation that only reads.

    Raises:
        DBAPIError: the database does not answer.
        TimeoutError: of SQLAlchemy, no connection was free for a while.
    """
    if (readers := _READERS.get(engine)) is None:
        size: int = engine.pool.size()  # type: ignore[attr-defined]  # a queue has one
        readers = _READERS[engine] = _Readers(
            engine.execution_options(isolation_level="AUTOCOMMIT"),
            most=max(1, size - LEFT_TO_OTHERS),
            are_kept=size > LEFT_TO_OTHERS,
        )
        event.listen(engine.sync_engine, "engine_disposed", readers.dispose)
    return await readers.take()


async def make_room(session: AsyncSession) -> None:
    """Give a connection that nobody uses back to a pool that is empty: the session is about to ask it."""
    engine = session.bind
    assert isinstance(engine, AsyncEngine)
    readers, pool = _READERS.get(engine), cast("Any", engine.pool)
    if readers is not None and readers.idle and pool.checkedout() >= pool.size():
        await readers.close(readers.idle.pop())


def at_hand(engine: AsyncEngine) -> int:
    """Return how many connections are kept that nobody uses."""
    readers = _READERS.get(engine)
    return len(readers.idle) if readers is not None else 0
