"""Reads of many operations, sent to PostgreSQL together.

A small query takes less time than the calls of the kernel that send it and wake up whoever answers. What
arrives while the process is busy is sent at once, as one pipeline of prepared statements. Each statement is a
snapshot of its own, so this is only for operations that read everything in one. Whatever goes wrong with a
read is left to the ordinary way: it runs once more by itself, and the error is told there.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from services.database import read_connections
from services.database.read_batches import Batch, Read, Record, fail
from services.database.read_connections import ReadConnection

MAX_READS = 16
"""Reads sent together at most."""
BATCH_SECONDS = 0.002
"""How long the reads sent together should take at most: each waits for those before it."""
HOLD_SECONDS = 0.0005
"""Reads that need less wait so long at most for an answer that is due as soon, and are sent together."""
UNKNOWN_SECONDS = BATCH_SECONDS
"""What a statement is taken to need that never ran: it is sent alone."""
MAX_ESTIMATES = 2_000
_SWEEP_SECONDS = 0.05


@dataclass(eq=False, slots=True)
class ReadLane:
    """The reads of one engine that wait, and how long each statement takes."""

    engine: AsyncEngine
    _waiting: deque[Read] = field(default_factory=deque)
    _running: set[Batch] = field(default_factory=set)
    _seconds: dict[bytes, float] = field(default_factory=dict)
    _is_scheduled: bool = False
    _opening: asyncio.Task[None] | None = None
    _sweeper: asyncio.TimerHandle | None = None
    _hold_timer: asyncio.TimerHandle | None = None

    async def fetch(
        self, text: bytes, parameters: Sequence[Any], *, ends_at: float, is_prepared: bool = True
    ) -> list[Record]:
        """Fetch the rows of a statement, as PostgreSQL writes its values, until a time of the loop.

        Raises:
            ReadNotDone: it failed; run it in another way, which tells the error.
            TimeoutError: it took too long.
        """
        loop = asyncio.get_running_loop()
        read = Read(text, parameters, ends_at, loop.create_future(), is_prepared)
        self._waiting.append(read)
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._send)  # after what else arrived by now
        if self._sweeper is None:
            self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep)
        try:
            return await read.answer
        except asyncio.CancelledError:
            if read.batch is not None:
                read.batch.cancel_if_unwanted()
            raise
        except TimeoutError:
            if read.batch is not None and read.batch.is_over is not None:
                await read.batch.is_over  # the database has nothing more to do for it when this is told
            raise

    def _send(self) -> None:
        """Send what waits on idle connections; open one more if there is none."""
        self._is_scheduled = False
        if self._hold_timer is not None:
            self._hold_timer.cancel()
            self._hold_timer = None
        while self._waiting:
            if self._is_worth_holding():
                self._hold_timer = asyncio.get_running_loop().call_later(HOLD_SECONDS, self._send)
                return
            connection = read_connections.take_idle(self.engine)
            if connection is None:
                if self._opening is None:  # until it is there, those that become idle serve on
                    self._opening = asyncio.get_running_loop().create_task(self._open())
                return
            self._send_on(connection)

    def _is_worth_holding(self) -> bool:
        """True if an answer is due so soon that what waits had better be sent together after it."""
        due = (each for each in self._running if max(each.seconds, each.seconds_since) < HOLD_SECONDS)
        if not any(due):
            return False
        waiting = sum(self._seconds.get(read.text, UNKNOWN_SECONDS) for read in self._waiting)
        return waiting < HOLD_SECONDS

    async def _open(self) -> None:
        try:
            connection = await read_connections.acquire(self.engine)
        except (DBAPIError, PoolTimeout, OSError):
            while self._waiting:
                fail(self._waiting.popleft())
            return
        finally:
            self._opening = None
        self._send_on(connection)
        self._send()

    def _send_on(self, connection: ReadConnection) -> None:
        reads, seconds = self._take_reads()
        if reads and connection.driver.prepare_threshold is not None:
            batch = Batch(self.engine, connection, reads, seconds, asyncio.get_running_loop(), self._note_end)
            self._running.add(batch)
            batch.send()
            return
        for read in reads:  # a pooler keeps no prepared statements
            fail(read)
        read_connections.give_back(self.engine, connection)

    def _take_reads(self) -> tuple[list[Read], float]:
        """Take reads that are wanted and quick enough together, and what they need; a slow one is alone."""
        reads: list[Read] = []
        seconds = 0.0
        while self._waiting and len(reads) < MAX_READS:
            read = self._waiting[0]
            if not read.answer.done():
                needed = self._seconds.get(read.text, UNKNOWN_SECONDS)
                if reads and seconds + needed > BATCH_SECONDS:
                    break
                seconds += needed
                reads.append(read)
            self._waiting.popleft()
        return reads, seconds

    def _note_end(self, batch: Batch, seconds: float | None) -> None:
        """Learn from a batch how long its statements take, and send what arrived meanwhile."""
        self._running.discard(batch)
        if seconds is not None:
            for read in batch.reads:
                known = self._seconds.get(read.text, seconds)
                # Waiting for a processor makes statements look slow: go down fast, and up slowly.
                share = 0.5 if seconds < known else 0.1
                self._seconds[read.text] = known + (seconds - known) * share
            while len(self._seconds) > MAX_ESTIMATES:
                del self._seconds[next(iter(self._seconds))]
        if self._waiting and not self._is_scheduled:
            self._send()

    def _sweep(self) -> None:
        """End the reads whose time is over; one timer serves them all."""
        self._sweeper = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for read in (*self._waiting, *(read for batch in self._running for read in batch.reads)):
            if now > read.ends_at and not read.answer.done():
                read.answer.set_exception(TimeoutError())
        for batch in self._running:
            if batch.seconds_since > _SWEEP_SECONDS:
                batch.free_others()
            batch.cancel_if_unwanted()
        if self._waiting or self._running:
            self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep)


_LANES: WeakKeyDictionary[AsyncEngine, ReadLane] = WeakKeyDictionary()


def lane_of(engine: AsyncEngine) -> ReadLane:
    """Return the lane of an engine."""
    if (lane := _LANES.get(engine)) is None:
        lane = _LANES[engine] = ReadLane(engine)
    return lane
