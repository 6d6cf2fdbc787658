"""One pipeline of prepared statements on one connection, and the answers to those who wait for them."""

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
from psycopg.pq import DiagnosticField, ExecStatus
from sqlalchemy.ext.asyncio import AsyncEngine

from services.database import read_connections
from services.database.read_connections import ReadConnection
from services.round_trips import pipelines
from services.round_trips.parameters import Parameters

MAX_PREPARED = 100
"""Prepared statements of one connection; beyond this the least recently used is dropped."""
GRACE_SECONDS = 0.5
"""How long PostgreSQL may take to cancel a statement before its connection is closed."""
_OUTDATED, _UNKNOWN = b"0A000", b"26000"
"""SQLSTATEs of a prepared statement whose result has another type now, and of one that is gone."""

Record = tuple[bytes | None, ...]
_Key = tuple[bytes, Any]
_names = count()
_PREPARED: WeakKeyDictionary[Any, OrderedDict[_Key, bytes]] = WeakKeyDictionary()
"""The names of each connection's statements, by their text and the types of their parameters."""


class ReadNotDone(Exception):
    """The read failed, or was sent with one that did; the ordinary way tells the error."""


@dataclass(eq=False, slots=True)
class Read:
    """A statement to be read, and who waits for its rows."""

    text: bytes
    parameters: Sequence[Any]
    ends_at: float
    answer: asyncio.Future[list[Record]]
    is_prepared: bool = True
    """False for a statement that may never run again: it is not worth PostgreSQL's memory."""
    batch: "Batch | None" = None


@dataclass(eq=False, slots=True)
class Batch:
    """Reads that were sent together on one connection, and what is left of their answers."""

    engine: AsyncEngine
    connection: ReadConnection
    reads: list[Read]
    seconds: float
    """What they are taken to need together."""
    loop: asyncio.AbstractEventLoop
    note_end: Callable[["Batch", float | None], None]
    """Called at the end with the seconds of each read, or None if they tell nothing about the statements."""
    _steps: deque[Callable[[Any], None]] = field(default_factory=deque)
    """What to do with the result of each statement, in their order."""
    _plans: bool = False
    """True if a statement is planned meanwhile, so that its time tells nothing."""
    _is_writing: bool = False
    _sent_at: float = 0.0
    _socket: int = -1
    _cancelling: asyncio.Task[None] | None = None
    _cut_timer: asyncio.TimerHandle | None = None
    is_over: asyncio.Future[None] | None = None
    """Set when the statements have ended, if they are being cancelled."""

    def send(self) -> None:
        """Send the statements, and answer as their results arrive."""
        self._sent_at, self._socket = time.perf_counter(), self.connection.driver.pgconn.socket
        self._or_break(self._send)

    def _or_break(self, step: Callable[[Any], None]) -> None:
        """Take a step on the connection, which is not used again if anything goes wrong."""
        try:
            step(self.connection.driver.pgconn)
        except Exception:  # noqa: BLE001 - a fault of ours, too: who waits is told in another way
            self._break()

    def _send(self, pgconn: Any) -> None:
        pgconn.enter_pipeline_mode()
        if self.connection.planning != read_connections.ONCE:
            self.connection.planning = None
            pgconn.send_query_params(read_connections.ONCE, None)
            self._steps.append(self._note_planning)
        for read in self.reads:
            read.batch = self
            try:
                written = pipelines.write_values(self.connection.driver, read.parameters)
            except (psycopg.Error, ValueError, TypeError, OverflowError):
                fail(read)
            else:
                self._send_read(pgconn, read, written)
        pgconn.pipeline_sync()
        self.loop.add_reader(self._socket, self._or_break, self._receive)
        self._flush(pgconn)

    def _send_read(self, pgconn: Any, read: Read, written: Parameters) -> None:
        values, types, formats = written
        key = read.text, types
        prepared = _prepared_of(self.connection.driver)
        name = prepared.get(key)
        if name is None and not read.is_prepared:
            self._plans = True
            pgconn.send_query_params(read.text, values, types, formats)
            self._steps.append(lambda result: _answer(read, prepared, key, result))
            return
        if name is None:
            name = prepared[key] = b"lane_%d" % next(_names)
            self._plans = True
            pgconn.send_prepare(name, read.text, types)
            self._steps.append(lambda result: _note_prepared(prepared, key, result))
            if len(prepared) > MAX_PREPARED:
                pgconn.send_close_prepared(prepared.popitem(last=False)[1])
                self._steps.append(lambda _: None)
        else:
            prepared.move_to_end(key)
        pgconn.send_query_prepared(name, values, formats)
        self._steps.append(lambda result: _answer(read, prepared, key, result))

    def _note_planning(self, result: Any) -> None:
        if result.status == ExecStatus.TUPLES_OK:
            self.connection.planning = read_connections.ONCE

    def _flush(self, pgconn: Any) -> None:
        """Send what the socket does not take at once as soon as it does."""
        is_left = pgconn.flush() != 0
        if is_left and not self._is_writing:
            self.loop.add_writer(self._socket, self._or_break, self._flush)
        elif self._is_writing and not is_left:
            self.loop.remove_writer(self._socket)
        self._is_writing = is_left

    def _receive(self, pgconn: Any) -> None:
        pgconn.consume_input()
        if self._take_results(pgconn):
            self._end(pgconn)

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
        self.note_end(self, None if self._plans else seconds)

    @property
    def seconds_since(self) -> float:
        """How long ago it was sent."""
        return time.perf_counter() - self._sent_at

    def free_others(self) -> None:
        """Leave to the ordinary way those who wait behind a statement that takes unexpectedly long."""
        for read in [read for read in self.reads if not read.answer.done()][1:]:
            fail(read)

    def cancel_if_unwanted(self) -> None:
        """Cancel the statements once nobody waits for any of them; close a connection that stays silent."""
        if self._cancelling is not None or not all(read.answer.done() for read in self.reads):
            return
        cancelling = self.connection.driver.cancel_safe(timeout=GRACE_SECONDS)
        self._cancelling = self.loop.create_task(_ignore_errors(cancelling))
        self.is_over = self.loop.create_future()
        self._cut_timer = self.loop.call_later(GRACE_SECONDS, self._break)

    def _break(self) -> None:
        """Close the connection, and leave the reads to the ordinary way."""
        self._stop_listening()
        self.connection.driver.pgconn.finish()
        for read in self.reads:
            fail(read)
        self._give_back()
        self.note_end(self, None)

    def _give_back(self, _: object = None) -> None:
        read_connections.give_back(self.engine, self.connection)

    def _stop_listening(self) -> None:
        self.loop.remove_reader(self._socket)
        if self._is_writing:
            self.loop.remove_writer(self._socket)
        if self._cut_timer is not None:
            self._cut_timer.cancel()
        if self.is_over is not None and not self.is_over.done():
            self.is_over.set_result(None)


def _prepared_of(driver: Any) -> OrderedDict[_Key, bytes]:
    if (prepared := _PREPARED.get(driver)) is None:
        prepared = _PREPARED[driver] = OrderedDict()
    return prepared


def _note_prepared(prepared: OrderedDict[_Key, bytes], key: _Key, result: Any) -> None:
    if result.status != ExecStatus.COMMAND_OK:
        prepared.pop(key, None)


def _answer(read: Read, prepared: OrderedDict[_Key, bytes], key: _Key, result: Any) -> None:
    if result.status != ExecStatus.TUPLES_OK:
        code = result.error_field(DiagnosticField.SQLSTATE)
        if code == _OUTDATED:
            prepared.pop(key, None)
        elif code == _UNKNOWN:
            prepared.clear()  # the driver drops all of them after a ROLLBACK
        fail(read)
    elif not read.answer.done():
        columns = range(result.nfields)
        read.answer.set_result(
            [tuple([result.get_value(row, column) for column in columns]) for row in range(result.ntuples)]
        )


def fail(read: Read) -> None:
    """Tell who waits that the read was not done."""
    if not read.answer.done():
        read.answer.set_exception(ReadNotDone())


async def _ignore_errors(cancelling: Any) -> None:
    with suppress(psycopg.Error, OSError, TimeoutError):  # the timer closes a connection that stays silent
        await cancelling
