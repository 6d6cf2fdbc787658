"""Connections that mutations keep between them, and the engine's pool, which takes them back for others.

Checking a connection out of the engine's pool, beginning a session's transaction on it and returning it took
a fifth of a mutation's processor time. A kept one is bound to the session, which begins nothing unless it is
used: `services.round_trips.effects` sends, commits and rolls back on the driver's connection.
"""

import asyncio
import logging
import math
import time
from collections import deque
from typing import Any, cast
from weakref import WeakKeyDictionary

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from services.database import leadership, read_connections
from services.database.read_connections import ReadConnection as HeldConnection
from services.round_trips import effects
from services.round_trips.operation_session import operation_of

__all__ = ["HeldConnection", "LendingPool", "acquire", "release"]


class LendingPool(AsyncAdaptedQueuePool):
    """A pool whose connections may be kept by mutations; whoever finds none gets a kept one that is idle."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.kept: list[HeldConnection] = []
        self.waiting = 0
        """How many others wait for a connection, or are just getting one."""
        self.mutations: deque[asyncio.Future[HeldConnection | None]] = deque()
        """The mutations that wait for a connection; None lets one look again."""

    @property
    def is_exhausted(self) -> bool:
        """True if every connection is in use or kept."""
        return super().checkedout() >= self.size()

    def checkedout(self) -> int:
        """Return the number of connections in use; those that are kept idle are not."""
        return super().checkedout() - len(self.kept)

    def _do_get(self) -> ConnectionPoolEntry:
        if self.kept and self.is_exhausted:
            _close_now(self.kept.pop(), is_broken=False)
        self.waiting += 1
        try:
            return super()._do_get()
        finally:
            self.waiting -= 1

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        super()._do_return_conn(record)
        self.hand_over(None)

    def hand_over(self, held: HeldConnection | None) -> bool:
        """Give a connection to the mutation that waits longest; return False if none waits."""
        while self.mutations:
            if not (waiter := self.mutations.popleft()).done():
                waiter.set_result(held)
                return True
        return False

    async def wait(self) -> HeldConnection | None:
        """Wait for a connection of another mutation; None if one may be free in the pool.

        Raises:
            TimeoutError: of SQLAlchemy; no connection became free in time.
        """
        waiter: asyncio.Future[HeldConnection | None] = asyncio.get_running_loop().create_future()
        self.mutations.append(waiter)
        try:
            async with asyncio.timeout(self.timeout()):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and not self.hand_over(waiter.result()):
                self._keep(waiter.result())  # it came while the operation was cancelled
            if isinstance(error, TimeoutError):
                raise PoolTimeout("No connection became free in time") from None
            raise

    def _keep(self, held: HeldConnection | None) -> None:
        if held is not None:
            self.kept.append(held)

    def dispose(self) -> None:
        """Close the kept connections with the others."""
        while self.kept:
            _close_now(self.kept.pop(), is_broken=True)
        super().dispose()


logging.getLogger(f"{LendingPool.__module__}.{LendingPool.__qualname__}").setLevel(logging.WARNING)
"""As the library's own pools, which log under its name: what they tell of is of use to its authors."""


def _close_now(held: HeldConnection, *, is_broken: bool) -> None:
    connection = held.connection.sync_connection
    if connection is not None:
        if is_broken:
            connection.invalidate()
        connection.close()


_WRITING: WeakKeyDictionary[AsyncEngine, AsyncEngine] = WeakKeyDictionary()
"""By engine, the same one with the isolation level of writes."""


async def acquire(session: AsyncSession, held: HeldConnection | None = None) -> HeldConnection:
    """Give a mutation's session a connection, and a queue for its effects; `release` takes both away.

    It is the one that is `held` from its last transaction, if that still works.

    Raises:
        DBAPIError: the database does not answer.
        TimeoutError: of SQLAlchemy; no connection became free in time.
    """
    if held is not None and not held.is_reusable:
        await release(session, held)
        held = None
    if held is None:
        operation = operation_of(session)
        if (engine := operation.lender) is None:
            assert isinstance(session.bind, AsyncEngine)
            engine = operation.lender = session.bind
        held = await _check_out(session, engine)
        session.bind, session.sync_session.bind = held.connection, held.connection.sync_connection
    effects.attach(session, held.connection, held.driver)
    return held


async def release(session: AsyncSession, held: HeldConnection) -> None:
    """Take the connection from a session whose transaction has ended, and keep it for another one."""
    effects.detach(session)
    engine = operation_of(session).lender
    assert engine is not None
    session.bind, session.sync_session.bind = engine, engine.sync_engine
    await held.release()


async def _check_out(session: AsyncSession, engine: AsyncEngine) -> HeldConnection:
    pool = cast("LendingPool", engine.pool)
    while True:
        while pool.kept:
            if (kept := pool.kept.pop()).is_reusable:
                return kept
            await _close(kept, is_broken=True)
        await read_connections.release_idle(session)
        if not pool.is_exhausted:
            break
        if (released := await pool.wait()) is not None:
            return released
    if (writing := _WRITING.get(engine)) is None:
        writing = _WRITING[engine] = engine.execution_options(isolation_level="READ COMMITTED")
    connection = await writing.connect()
    try:
        raw = await connection.get_raw_connection()
    except BaseException:
        await connection.close()
        raise
    recycle = getattr(pool, "_recycle", -1)

    async def return_to_pool(held: HeldConnection) -> None:
        await _keep_or_close(held, pool, can_keep=pool is engine.pool)

    return HeldConnection(
        connection,
        raw.driver_connection,
        return_to_pool,
        leadership.origin_of(raw),
        time.monotonic() + recycle if recycle > 0 else math.inf,
    )


async def _keep_or_close(held: HeldConnection, pool: LendingPool, *, can_keep: bool) -> None:
    is_broken = not held.is_reusable
    if can_keep and not is_broken and not pool.waiting:
        if not pool.hand_over(held):
            pool.kept.append(held)
        return
    was_closed = held.driver.closed
    await _close(held, is_broken=is_broken)
    while was_closed and pool.kept:  # the cause may have broken them all
        await _close(pool.kept.pop(), is_broken=True)


async def _close(held: HeldConnection, *, is_broken: bool) -> None:
    try:
        if is_broken:
            await held.connection.invalidate()
    finally:
        await held.connection.close()
