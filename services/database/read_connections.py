"""A pool of read-only connections on top of the engine's.

Checking a connection out of the engine's pool took as long as a small query. The connections come from that
pool, which always keeps some for other uses.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast
from weakref import WeakKeyDictionary

import psycopg
from psycopg import AsyncRawCursor
from psycopg.pq import TransactionStatus
from sqlalchemy import event
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from services.database import leadership

RESERVED_CONNECTIONS = 2
WAIT_SECONDS = 10


_PLANNING = (
    "SELECT set_config('plan_cache_mode', '{mode}', false),"
    " set_config('enable_hashjoin', '{hash_join}', false)"
)
AS_USUAL = _PLANNING.format(mode="auto", hash_join="on").encode()
ONCE = _PLANNING.format(mode="force_generic_plan", hash_join="off").encode()
"""How PostgreSQL plans prepared statements: as it likes, or once a connection (docs/decisions/0039).

What is planned once joins the rows of a page with those that they name, by their keys. A hash join reads the
whole of the other table for that: PostgreSQL expects it to be faster, because it prices the conditions of
visibility by row.
"""


@dataclass(eq=False)
class ReadConnection:
    """A connection in autocommit mode, on which snapshots are begun by a statement."""

    connection: AsyncConnection
    driver: Any
    return_to_pool: Callable[["ReadConnection"], Any]
    origin: leadership.Origin | None
    recycle_at: float
    """Time of `time.monotonic` from which it is replaced when it is idle."""
    planning: bytes | None = AS_USUAL
    """The command that set how its statements are planned; None while that is not known."""

    @property
    def is_reusable(self) -> bool:
        """True if another operation can use it: it is open and not in a transaction.

        After a COMMIT that failed, the connection is in no transaction, but holds the one that has ended.
        """
        connection = self.connection.sync_connection
        if connection is None or self.driver.closed or connection.closed or connection.invalidated:
            return False
        return connection.get_transaction() is None and self.is_idle and not self.is_outdated

    @property
    def is_outdated(self) -> bool:
        """True if it is time to see which server leads, or known that this one no longer does."""
        return time.monotonic() >= self.recycle_at or leadership.is_outdated(self.origin)

    def ask_others_first(self) -> None:
        """Replace it, if there are other servers; they are asked first which one leads."""
        if self.recycle_at < math.inf:
            self.recycle_at = 0
            leadership.ask_others_first(self.origin)

    @property
    def is_idle(self) -> bool:
        """True if no transaction was begun by a statement, and no statement is running."""
        idle: bool = self.driver.pgconn.transaction_status == TransactionStatus.IDLE
        return idle

    async def release(self) -> None:
        """Return the connection, for the next operation."""
        await self.return_to_pool(self)


@dataclass
class _ReadPool:
    engine: AsyncEngine
    limit: int
    keeps_idle: bool
    open_count: int = 0
    idle: list[ReadConnection] = field(default_factory=list)
    waiting: deque[asyncio.Future[ReadConnection | None]] = field(default_factory=deque)

    async def acquire(self) -> ReadConnection:
        """Return an idle connection, open one below the limit, or wait for one."""
        while True:
            if self.idle:
                if not (idle := self.idle.pop()).is_outdated:
                    return idle
                await self.close(idle, is_broken=True)
            if self.open_count < self.limit:
                return await self._open()
            if (released := await self._wait()) is not None:
                return released

    async def _open(self) -> ReadConnection:
        self.open_count += 1
        try:
            connection = await self.engine.connect()
            try:
                raw = await connection.get_raw_connection()
            except BaseException:
                await connection.close()
                raise
        except BaseException:
            self._note_closed()
            raise
        recycle = getattr(self.engine.pool, "_recycle", -1)
        return ReadConnection(
            connection,
            raw.driver_connection,
            self.release,
            leadership.origin_of(raw),
            time.monotonic() + recycle if recycle > 0 else math.inf,
        )

    async def _wait(self) -> ReadConnection | None:
        """Wait for a released connection; None means that another one may be opened."""
        waiter: asyncio.Future[ReadConnection | None] = asyncio.get_running_loop().create_future()
        self.waiting.append(waiter)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                self.hand_over(waiter.result())  # it arrived while the operation was cancelled
            if isinstance(error, TimeoutError):
                raise PoolTimeout("No connection became free in time") from None
            raise

    async def release(self, read_connection: ReadConnection) -> None:
        """Hand a reusable connection to the next operation; close any other."""
        if self.keeps_idle and read_connection.is_reusable:
            self.hand_over(read_connection)
            return
        was_closed = read_connection.driver.closed
        await self.close(read_connection, is_broken=not read_connection.is_reusable)
        while was_closed and self.idle:  # the cause may have broken them all
            await self.close(self.idle.pop(), is_broken=True)

    async def close(self, read_connection: ReadConnection, *, is_broken: bool = False) -> None:
        """Return a connection to the engine's pool, or discard a broken one."""
        is_as_usual = False
        try:
            is_as_usual = not is_broken and await _plan_as_usual(read_connection)
        finally:  # also if it is cancelled: else nobody would close the connection
            try:
                if not is_as_usual:
                    await read_connection.connection.invalidate()
                await read_connection.connection.close()
            finally:
                self._note_closed()

    def hand_over(self, read_connection: ReadConnection | None) -> None:
        """Give a connection, or leave to open one, to the next who waits; else keep it."""
        while self.waiting:
            if not (waiter := self.waiting.popleft()).done():
                waiter.set_result(read_connection)
                return
        if read_connection is not None:
            self.idle.append(read_connection)

    def _note_closed(self) -> None:
        self.open_count -= 1
        self.hand_over(None)

    def dispose(self, _: object) -> None:
        """Close the idle connections, when the engine closes those of its own pool."""
        while self.idle:
            sync = self.idle.pop().connection.sync_connection
            self.open_count -= 1
            if sync is not None:
                sync.invalidate()
                sync.close()


async def _plan_as_usual(read_connection: ReadConnection) -> bool:
    """Undo how statements are planned, for the next user of a connection; False if it does not answer."""
    if read_connection.planning != AS_USUAL:
        try:
            await AsyncRawCursor(read_connection.driver).execute(AS_USUAL)
        except psycopg.Error:
            return False
    return True


_POOLS: WeakKeyDictionary[AsyncEngine, _ReadPool] = WeakKeyDictionary()
_CLOSING: set[asyncio.Task[None]] = set()
"""Connections that are being closed, so that their tasks are not lost."""


async def acquire(engine: AsyncEngine) -> ReadConnection:
    """Acquire a connection for one read-only operation.

    Raises:
        DBAPIError: the database does not answer.
        TimeoutError: of SQLAlchemy; no connection became free in time.
    """
    if (read_pool := _POOLS.get(engine)) is None:
        size: int = cast("Any", engine.pool).size()
        read_pool = _POOLS[engine] = _ReadPool(
            engine.execution_options(isolation_level="AUTOCOMMIT"),
            limit=max(1, size - RESERVED_CONNECTIONS),
            keeps_idle=size > RESERVED_CONNECTIONS,
        )
        event.listen(engine.sync_engine, "engine_disposed", read_pool.dispose)
    return await read_pool.acquire()


def take_idle(engine: AsyncEngine) -> ReadConnection | None:
    """Take an idle connection, if there is one that can be used at once."""
    read_pool = _POOLS.get(engine)
    if read_pool is not None and read_pool.idle and not read_pool.idle[-1].is_outdated:
        return read_pool.idle.pop()
    return None


def give_back(engine: AsyncEngine, read_connection: ReadConnection) -> None:
    """Return a connection without waiting; one that is not used again is closed in a task of its own."""
    read_pool = _POOLS.get(engine)
    if read_pool is not None and read_pool.keeps_idle and read_connection.is_reusable:
        read_pool.hand_over(read_connection)
        return
    closing = asyncio.get_running_loop().create_task(read_connection.release())
    _CLOSING.add(closing)
    closing.add_done_callback(_CLOSING.discard)


async def release_idle(session: AsyncSession) -> None:
    """Return an idle connection to the engine's pool if none is left there for the session."""
    engine = session.bind
    assert isinstance(engine, AsyncEngine)
    read_pool, pool = _POOLS.get(engine), cast("Any", engine.pool)
    if read_pool is not None and read_pool.idle and pool.checkedout() >= pool.size():
        await read_pool.close(read_pool.idle.pop())


def idle_count(engine: AsyncEngine) -> int:
    """Return the number of idle connections."""
    read_pool = _POOLS.get(engine)
    return len(read_pool.idle) if read_pool is not None else 0
