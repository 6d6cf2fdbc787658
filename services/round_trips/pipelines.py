"""Several statements in one round trip: libpq's pipeline on the driver's connection.

If one of them fails, the server runs none of those after it, so a COMMIT at the end stores all or nothing.
"""

import itertools
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import generators
from psycopg.abc import Transformer as TransformerProtocol
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, PipelineStatus, TransactionStatus
from psycopg.waiting import Ready, Wait
from sqlalchemy import ClauseElement, text

from services.core.sql_files import read_clauses
from services.round_trips import parameters
from services.round_trips.dialect import DIALECT
from services.round_trips.parameters import Parameters

_MAX_PREPARED = 500
"""Prepared statements of a connection; beyond them, statements are sent with their text."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement compiled once, when its module is imported."""

    clause: ClauseElement | None
    """The same for a session that sends it by itself; None for one that only a pipeline sends."""
    text: str
    encoded: bytes
    names: tuple[str, ...]
    """The names of its parameters, in their order; those of constants are among them."""
    constants: Mapping[str, Any]
    """The values that are a part of the statement, by name."""


def compile_statement(clause: ClauseElement) -> Statement:
    """Compile a statement; what differs from call to call are parameters that have names."""
    compiled = clause.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
    sent, names = str(compiled), tuple(getattr(compiled, "positiontup", None) or ())
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return Statement(clause, sent, sent.encode(), names, constants)


def read_compiled(path: Path) -> dict[str, Statement]:
    """Read the statements of a file, compiled, by name."""
    return {name: compile_statement(clause) for name, clause in read_clauses(path).items()}


class Call(NamedTuple):
    """A statement with the values of its parameters."""

    statement: Statement
    values: Mapping[str, Any]


_BEGIN = Call(compile_statement(text("BEGIN ISOLATION LEVEL READ COMMITTED")), {})
_COMMIT = Call(compile_statement(text("COMMIT")), {})


class PipelineError(Exception):
    """One of the statements failed; `error` is the driver's, `index` the number of the statement.

    `rows` are those of the statements before it.
    """

    def __init__(self, index: int, error: psycopg.Error, rows: list[list[Any]]) -> None:
        super().__init__(index, error)
        self.index, self.error, self.rows = index, error, rows


class _Memory:
    """What is kept with a connection of the driver."""

    __slots__ = ("is_utf8", "prepared", "transformer")

    def __init__(self, driver: Any) -> None:
        self.prepared: dict[Any, bytes] = {}
        """The names of prepared statements, by text and types of the parameters."""
        # A new one would look for the adapter of each type again.
        self.transformer: TransformerProtocol = Transformer(driver)
        self.is_utf8 = driver.info.encoding == "utf-8"


_MEMORY = "commonweal_memory"
"""Attribute of a driver's connection, which looking up in a mapping of connections would cost more."""
_NUMBERS = itertools.count(1)


def _memory_of(driver: Any) -> _Memory:
    memory: _Memory | None = driver.__dict__.get(_MEMORY)
    if memory is None:
        memory = driver.__dict__[_MEMORY] = _Memory(driver)
    return memory


def _forget_prepared(driver: Any) -> None:
    _memory_of(driver).prepared.clear()


def expect_rollback(driver: Any) -> None:
    """Forget what a connection has prepared if the driver drops it with the rollback that comes.

    The driver then deallocates every statement, but only if it has prepared one itself.
    """
    if driver is None or driver.pgconn.transaction_status == TransactionStatus.IDLE:
        return
    if driver._prepared._names:  # noqa: SLF001 - there is no other way to know
        _forget_prepared(driver)


async def send(
    driver: psycopg.AsyncConnection[Any], calls: Sequence[Call], *, commits: bool = False
) -> list[list[Any]]:
    """Send the calls in one round trip and return the rows of each; begin a transaction if none is open.

    `commits` ends the transaction after the last of them. A connection that is left in the middle of a
    pipeline, whatever the cause, is closed.

    Raises:
        PipelineError: one failed; those after it did not run.
        OperationalError: of the driver; the connection is lost.
    """
    begins = driver.pgconn.transaction_status == TransactionStatus.IDLE
    all_calls = [*([_BEGIN] if begins else []), *calls, *([_COMMIT] if commits else [])]
    async with driver.lock:
        memory = _memory_of(driver)
        transformer = memory.transformer
        messages = [_dump(memory, call) for call in all_calls]
        try:
            answers = await driver.wait(_exchange(driver, messages))
        finally:
            if driver.pgconn.pipeline_status != PipelineStatus.OFF:
                driver.pgconn.finish()  # what it would answer next belongs to nobody
    if answers.failure is not None:
        if isinstance(answers.failure, psycopg.errors.InvalidSqlStatementName):
            _forget_prepared(driver)  # something else deallocated them; the operation is tried again
        failed_index = answers.failed_index - begins
        read = answers.results[begins : begins + max(failed_index, 0)]
        raise PipelineError(
            failed_index, answers.failure, [_read_rows(transformer, result) for result in read]
        )
    return [_read_rows(transformer, result) for result in answers.results[begins : begins + len(calls)]]


def _exchange(driver: Any, messages: Sequence["_Message"]) -> Generator[Any, Any, "_Answers"]:
    """Send everything, wait for all answers, and leave the pipeline mode."""
    pgconn = driver.pgconn
    pgconn.enter_pipeline_mode()
    known = _memory_of(driver).prepared
    prepared = [_queue(driver, known, message) for message in messages]
    pgconn.pipeline_sync()
    while pgconn.flush():
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()
    answers = _Answers()
    try:
        for index, statement in enumerate(prepared):
            if statement is not None:
                answers.take(index, (yield from generators.fetch_many(pgconn)))
                if answers.failure is None:
                    known[statement[0]] = statement[1]
            answers.results.append(answers.take(index, (yield from generators.fetch_many(pgconn))))
        yield from generators.fetch_many(pgconn)  # the end of the pipeline
    except psycopg.OperationalError:
        if answers.failure is None:
            raise
        return answers  # the server said why, and closed the connection
    pgconn.exit_pipeline_mode()
    return answers


class _Answers:
    """The answers of a pipeline, and the first failure among them."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.failure: psycopg.Error | None = None
        self.failed_index = 0

    def take(self, index: int, results: Sequence[Any]) -> Any:
        """Return the answer to the statement of this number; note why it failed."""
        result = results[-1]
        if result.status == ExecStatus.FATAL_ERROR and self.failure is None:
            self.failure, self.failed_index = error_from_result(result), index
        return result


class _Message(NamedTuple):
    """A call as the protocol sends it."""

    text: bytes
    parameters: Parameters


def _dump(memory: _Memory, call: Call) -> _Message:
    constants = call.statement.constants
    values = [call.values[n] if n in call.values else constants[n] for n in call.statement.names]
    return _Message(call.statement.encoded, _write(memory, values))


def write_values(driver: Any, values: Sequence[Any]) -> Parameters:
    """Write the values of a statement's parameters, for any statement on this connection."""
    return _write(_memory_of(driver), values)


def _write(memory: _Memory, values: Sequence[Any]) -> Parameters:
    if memory.is_utf8:
        try:
            return parameters.write(values)
        except parameters.Unlisted:
            pass
    transformer = memory.transformer
    dumped = transformer.dump_sequence(values, [PyFormat.AUTO] * len(values))
    return Parameters(dumped, transformer.types or (), transformer.formats or ())


def _queue(driver: Any, known: Mapping[Any, bytes], message: _Message) -> tuple[Any, bytes] | None:
    """Queue a statement; return the key and name under which the server prepares it, if it is new."""
    pgconn, (values, types, formats) = driver.pgconn, message.parameters
    key = (message.text, types)
    name = known.get(key)
    if name is not None:
        pgconn.send_query_prepared(name, values, param_formats=formats)
        return None
    if driver.prepare_threshold is None or len(known) >= _MAX_PREPARED:
        pgconn.send_query_params(message.text, values, param_types=types, param_formats=formats)
        return None
    name = b"cw_%d" % next(_NUMBERS)
    pgconn.send_prepare(name, message.text, param_types=types)
    pgconn.send_query_prepared(name, values, param_formats=formats)
    return key, name


def _read_rows(transformer: TransformerProtocol, result: Any) -> list[Any]:
    if result.status != ExecStatus.TUPLES_OK:
        return []
    transformer.set_pgresult(result)
    rows: list[Any] = transformer.load_rows(0, result.ntuples, tuple)
    return rows
