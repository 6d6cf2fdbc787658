"""Reads of many operations, sent to PostgreSQL together.

A small query takes less time than the calls of the kernel that send it and wake up whoever answers. What
arrives while the process is busy is sent at once, as one pipeline of prepared statements. Each statement is a
snapshot of its own, so this is only for operations that read everything in one. Whatever goes wrong with a
read is left to the ordinary way: it runs once more by itself, and the error is told there.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import DiagnosticField, ExecStatus
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from services.database import read_connections
from services.database.read_connections import ReadConnection

MAX_READS = 16
"""Reads sent together at most."""
BATCH_SECONDS = 0.002
"""How long the reads sent together should take at most: each waits for those before it."""
HOLD_SECONDS = 0.0005
"""Reads that need less wait for an answer that is due as soon, and are sent together after it."""
UNKNOWN_SECONDS = BATCH_SECONDS
"""What a statement is taken to need that never ran: it is sent alone."""
MAX_PREPARED = 100
"""Prepared statements of one connection; beyond this the least recently used is dropped."""
MAX_ESTIMATES = 2_000
GRACE_SECONDS = 0.5
"""How long PostgreSQL may take to cancel a statement before its connection is closed."""
_SWEEP_SECONDS = 0.05
_OUTDATED = frozenset({b"0A000", b"26000"})
"""Of a prepared statement whose result has another type now, or that is gone."""
_FORMAT = psycopg.adapt.PyFormat.AUTO

Record = tuple[bytes | None, ...]
_names = count()


class ReadNotDone(Exception):
    """The read failed, or was sent with one that did; the ordinary way tells the error."""


@dataclass(eq=False, slots=True)
class _Read:
    text: bytes
    parameters: Sequence[Any]
    ends_at: float
    answer: asyncio.Future[list[Record]]
    batch: "_Batch | None" = None


@dataclass(eq=False, slots=True)
class ReadLane:
    """The reads of one engine that wait, and how long each statement takes."""

    engine: AsyncEngine
    _waiting: deque[_Read] = field(default_factory=deque)
    _running: "set[_Batch]" = field(default_factory=set)
    _seconds: dict[bytes, float] = field(default_factory=dict)
    _is_scheduled: bool = False
    _opening: asyncio.Task[None] | None = None
    _sweeper: asyncio.TimerHandle | None = None

    async def fetch(self, text: bytes, parameters: Sequence[Any], *, ends_at: float) -> list[Record]:
        """Fetch the rows of a statement, as PostgreSQL writes its values, until a time of the loop.

        Raises:
            ReadNotDone: it failed; run it in another way, which tells the error.
            TimeoutError: it took too long.
        """
        loop = asyncio.get_running_loop()
        read = _Read(text, parameters, ends_at, loop.create_future())
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

    def _send(self) -> None:
        """Send what waits on idle connections; open one more if there is none."""
        self._is_scheduled = False
        while self._waiting and self._opening is None and not self._is_worth_holding():
            connection = read_connections.take_idle(self.engine)
            if connection is None:
                self._opening = asyncio.get_running_loop().create_task(self._open())
                return
            self._send_on(connection)

    def _is_worth_holding(self) -> bool:
        """True if an answer is due so soon that what waits had better be sent together after it."""
        if not any(batch.seconds < HOLD_SECONDS for batch in self._running):
            return False
        waiting = sum(self._seconds.get(read.text, UNKNOWN_SECONDS) for read in self._waiting)
        return waiting < HOLD_SECONDS

    async def _open(self) -> None:
        try:
            connection = await read_connections.acquire(self.engine)
        except (DBAPIError, PoolTimeout, OSError):
            while self._waiting:
                _fail(self._waiting.popleft())
            return
        finally:
            self._opening = None
        self._send_on(connection)
        self._send()

    def _send_on(self, connection: ReadConnection) -> None:
        reads, seconds = self._take_reads()
        if reads and connection.driver.prepare_threshold is not None:
            batch = _Batch(self, connection, reads, seconds, asyncio.get_running_loop())
            self._running.add(batch)
            batch.send()
            return
        for read in reads:  # a pooler keeps no prepared statements
            _fail(read)
        read_connections.give_back(self.engine, connection)

    def _take_reads(self) -> tuple[list[_Read], float]:
        """Take reads that are wanted and quick enough together, and what they need; a slow one is alone."""
        reads: list[_Read] = []
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

    def note_end(self, batch: "_Batch", reads: Sequence[_Read], seconds: float | None) -> None:
        """Learn from a batch how long its statements take, and send what arrived meanwhile."""
        self._running.discard(batch)
        if seconds is not None:
            for read in reads:
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
            batch.cancel_if_unwanted()
        if self._waiting or self._running:
            self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep)


@dataclass(eq=False, slots=True)
class _Batch:
    """Reads that were sent together on one connection, and what is left of their answers."""

    lane: ReadLane
    connection: ReadConnection
    reads: list[_Read]
    seconds: float
    """What they are taken to need together."""
    loop: asyncio.AbstractEventLoop
    _steps: deque[Callable[[Any], None]] = field(default_factory=deque)
    """What to do with the result of each statement, in their order."""
    _prepares: bool = False
    _is_writing: bool = False
    _sent_at: float = 0.0
    _socket: int = -1
    _cancelling: asyncio.Task[None] | None = None
    _cut_timer: asyncio.TimerHandle | None = None

    def send(self) -> None:
        """Send the statements, and answer as their results arrive."""
        pgconn = self.connection.driver.pgconn
        self._sent_at, self._socket = time.perf_counter(), pgconn.socket
        try:
            pgconn.enter_pipeline_mode()
            if self.connection.planning != read_connections.ONCE:
                self.connection.planning = None
                pgconn.send_query_params(read_connections.ONCE, None)
                self._steps.append(self._note_planning)
            for read in self.reads:
                self._send_read(pgconn, read)
            pgconn.pipeline_sync()
            self.loop.add_reader(self._socket, self._receive)
            self._flush()
        except Exception:  # noqa: BLE001 - whatever it was, this connection is not used again
            self._break()

    def _send_read(self, pgconn: Any, read: _Read) -> None:
        read.batch = self
        transformer = Transformer.from_context(self.connection.driver)
        values = transformer.dump_sequence(read.parameters, [_FORMAT] * len(read.parameters))
        key = read.text, transformer.types
        prepared = _prepared_of(self.connection.driver)
        if (name := prepared.get(key)) is None:
            name = prepared[key] = b"lane_%d" % next(_names)
            self._prepares = True
            pgconn.send_prepare(name, read.text, transformer.types)
            self._steps.append(lambda result: _note_prepared(prepared, key, result))
            if len(prepared) > MAX_PREPARED:
                pgconn.send_close_prepared(prepared.popitem(last=False)[1])
                self._steps.append(lambda _: None)
        else:
            prepared.move_to_end(key)
        pgconn.send_query_prepared(name, values, transformer.formats)
        self._steps.append(lambda result: _answer(read, prepared, key, result))

    def _note_planning(self, result: Any) -> None:
        if result.status == ExecStatus.COMMAND_OK:
            self.connection.planning = read_connections.ONCE

    def _flush(self) -> None:
        """Send what the socket does not take at once as soon as it does."""
        try:
            is_left = self.connection.driver.pgconn.flush() != 0
        except psycopg.Error:
            self._break()
            return
        if is_left and not self._is_writing:
            self.loop.add_writer(self._socket, self._flush)
        elif self._is_writing and not is_left:
            self.loop.remove_writer(self._socket)
        self._is_writing = is_left

    def _receive(self) -> None:
        pgconn = self.connection.driver.pgconn
        try:
            pgconn.consume_input()
            if self._take_results(pgconn):
                self._end(pgconn)
        except Exception:  # noqa: BLE001 - whatever it was, this connection is not used again
            self._break()

    def _take_results(self, pgconn: Any) -> bool:
        """Answer the reads whose results have arrived; return True after the last one.

        Raises:
            OperationalError: the connection ended.
        """
        is_between = False
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None and is_between:
                raise psycopg.OperationalError("the connection ended")
            is_between = result is None
            if result is None:
                continue
            if result.status == ExecStatus.PIPELINE_SYNC:
                return True
            self._steps.popleft()(result)
        return False

    def _end(self, pgconn: Any) -> None:
        self._stop_listening()
        pgconn.exit_pipeline_mode()
        seconds = (time.perf_counter() - self._sent_at) / len(self.reads)
        if self._cancelling is None:
            self._give_back()
        else:  # so that it meets nobody else's statement
            self._cancelling.add_done_callback(self._give_back)
        self.lane.note_end(self, self.reads, None if self._prepares else seconds)

    def cancel_if_unwanted(self) -> None:
        """Cancel the statements once nobody waits for any of them; close a connection that stays silent."""
        if self._cancelling is not None or not all(read.answer.done() for read in self.reads):
            return
        cancelling = self.connection.driver.cancel_safe(timeout=GRACE_SECONDS)
        self._cancelling = self.loop.create_task(_ignore_errors(cancelling))
        self._cut_timer = self.loop.call_later(GRACE_SECONDS, self._break)

    def _break(self) -> None:
        """Close the connection, and leave the reads to the ordinary way."""
        self._stop_listening()
        self.connection.driver.pgconn.finish()
        for read in self.reads:
            _fail(read)
        self._give_back()
        self.lane.note_end(self, (), None)

    def _give_back(self, _: object = None) -> None:
        read_connections.give_back(self.lane.engine, self.connection)

    def _stop_listening(self) -> None:
        self.loop.remove_reader(self._socket)
        if self._is_writing:
            self.loop.remove_writer(self._socket)
        if self._cut_timer is not None:
            self._cut_timer.cancel()


_Key = tuple[bytes, Any]
_LANES: WeakKeyDictionary[AsyncEngine, ReadLane] = WeakKeyDictionary()
_PREPARED: WeakKeyDictionary[Any, OrderedDict[_Key, bytes]] = WeakKeyDictionary()
"""The names of each connection's statements, by their text and the types of their parameters."""


def lane_of(engine: AsyncEngine) -> ReadLane:
    """Return the lane of an engine."""
    if (lane := _LANES.get(engine)) is None:
        lane = _LANES[engine] = ReadLane(engine)
    return lane


def _prepared_of(driver: Any) -> OrderedDict[_Key, bytes]:
    if (prepared := _PREPARED.get(driver)) is None:
        prepared = _PREPARED[driver] = OrderedDict()
    return prepared


def _note_prepared(prepared: OrderedDict[_Key, bytes], key: _Key, result: Any) -> None:
    if result.status != ExecStatus.COMMAND_OK:
        prepared.pop(key, None)


def _answer(read: _Read, prepared: OrderedDict[_Key, bytes], key: _Key, result: Any) -> None:
    if result.status != ExecStatus.TUPLES_OK:
        if result.error_field(DiagnosticField.SQLSTATE) in _OUTDATED:
            prepared.pop(key, None)
        _fail(read)
    elif not read.answer.done():
        columns = range(result.nfields)
        read.answer.set_result(
            [tuple([result.get_value(row, column) for column in columns]) for row in range(result.ntuples)]
        )


def _fail(read: _Read) -> None:
    if not read.answer.done():
        read.answer.set_exception(ReadNotDone())


async def _ignore_errors(cancelling: Any) -> None:
    with suppress(psycopg.Error, OSError, TimeoutError):  # the timer closes a connection that stays silent
        await cancelling
