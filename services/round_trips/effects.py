"""The effects of a mutation: writes that nobody reads, kept until something is read, and then sent together.

A mutation's session that has a queue keeps them. Whatever it sends next goes after them: a statement of
SQLAlchemy or facts first send what waits, in one round trip; a rollback drops it. A session without a queue,
such as that of a job, sends each effect at once.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, PoolResetState, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.util import await_only

from services.core import tracing
from services.round_trips import pipelines
from services.round_trips.dialect import DIALECT
from services.round_trips.operation_session import operation_of
from services.round_trips.pipelines import Call, PipelineError, Statement

Explain = Callable[[DBAPIError], Exception | None]
"""Returns the problem behind an error of the database, if it knows a better one than its constraint's."""
Check = Callable[[Sequence[Any]], None]
"""Raises a problem if the rows are not what they must be."""


class _Effect(NamedTuple):
    call: Call
    explain: Explain | None
    check: Check | None
    is_barrier: bool = False
    """True if no other effect may be sent before its rows are checked."""
    outranks_errors: bool = False
    """True if its rows are checked even where a statement after it failed."""
    can_commit: bool = False
    """True if its check raises nothing, so that it may be sent with COMMIT."""


@dataclass(slots=True)
class EffectQueue:
    """The effects of one mutation that are not sent yet, and the connection that they go to."""

    connection: AsyncConnection
    driver: Any
    waiting: list[_Effect] = field(default_factory=list)
    is_in_doubt: bool = False
    """True if a COMMIT was sent and no answer came: it may have happened."""


_QUEUES: WeakKeyDictionary[Any, EffectQueue] = WeakKeyDictionary()


def attach(session: AsyncSession, connection: AsyncConnection, driver: Any) -> None:
    """Keep the session's effects from now on, until its transaction ends."""
    queue = EffectQueue(connection, driver)
    operation_of(session).queue = _QUEUES[driver] = queue


def detach(session: AsyncSession) -> None:
    """Keep no effects of the session any more; its transaction has ended."""
    queue = operation_of(session).queue
    if queue is not None and _QUEUES.get(queue.driver) is queue:
        del _QUEUES[queue.driver]


async def keep(session: AsyncSession) -> Any:
    """Keep the effects of a session's transaction from now on; return the driver's connection."""
    connection = await session.connection()
    driver = (await connection.get_raw_connection()).driver_connection
    attach(session, connection, driver)
    return driver


async def _open_queue(session: AsyncSession) -> EffectQueue | None:
    """Return the session's queue; a savepoint that the session has not sent yet goes first."""
    queue = operation_of(session).queue
    if queue is None or _QUEUES.get(queue.driver) is not queue:
        return None
    if session.in_nested_transaction():
        await session.connection()
    return queue


async def write(
    session: AsyncSession,
    statement: Statement,
    values: Mapping[str, Any],
    *,
    explain: Explain | None = None,
    check: Check | None = None,
    is_barrier: bool = False,
    outranks_errors: bool = False,
) -> None:
    """Write by a statement whose result is not needed now.

    Errors of the database come when it is sent, at the latest with the end of the mutation's work; `explain`
    may turn them into a problem. `check` looks at its rows then, which keeps it from being sent with COMMIT.
    A barrier may be sent with what is read and with other barriers, but no other effect before its rows are
    checked. A check that `outranks_errors` is made even if a statement after it fails; it ends the operation.
    """
    effect = _Effect(Call(statement, values), explain, check, is_barrier, outranks_errors)
    queue = await _open_queue(session)
    if queue is not None:
        if not is_barrier:
            await settle(session)
        queue.waiting.append(effect)
        return
    try:
        result = await session.execute(cast("Any", statement.clause), dict(values))
    except DBAPIError as error:
        raise _explained(effect, error) from error
    if check is not None:
        check(result.all())


async def fetch(session: AsyncSession, *calls: Call) -> list[list[Any]]:
    """Fetch the rows of each call, all in one round trip with the effects that wait."""
    queue = await _open_queue(session)
    if queue is None:
        return [
            [
                tuple(row)
                for row in await session.execute(cast("Any", call.statement.clause), dict(call.values))
            ]
            for call in calls
        ]
    return await _send(queue, calls)


async def fetch_and_commit(session: AsyncSession, *calls: Call) -> list[list[Any]]:
    """Fetch the rows of each call and COMMIT, all in one round trip; for a session that did nothing yet."""
    await keep(session)
    queue = await _open_queue(session)
    assert queue is not None
    try:
        return await _send(queue, calls, commits=True)
    finally:
        detach(session)


async def read_ahead(session: AsyncSession, call: Call) -> Callable[[], Awaitable[Sequence[Any]]]:
    """Read rows in the round trip of what is read next; the result returns them, or reads them now."""
    queue = await _open_queue(session)
    found: list[Sequence[Any]] = []
    if queue is not None:
        queue.waiting.append(_Effect(call, None, found.append, is_barrier=True))

    async def take() -> Sequence[Any]:
        await settle(session)
        return found[0] if found else (await fetch(session, call))[0]

    return take


async def read_at_end(
    session: AsyncSession, call: Call, *, settings: Statement, take: Check, explain: Explain
) -> None:
    """Read rows after all that was written, in its round trip, which may be that of the COMMIT.

    `settings` holds for the rest of the transaction. `take` receives the rows once all has succeeded. An
    error that `explain` knows stores nothing.
    """
    if session.in_transaction():
        await session.flush()  # what is written later is not read
    queue = await _open_queue(session)
    if queue is not None:
        await settle(session)
        queue.waiting += [
            _Effect(Call(settings, {}), None, None),
            _Effect(call, explain, take, can_commit=True),
        ]


async def settle(session: AsyncSession) -> None:
    """Send what waits if a barrier is among it."""
    queue = await _open_queue(session)
    if queue is not None and any(effect.is_barrier for effect in queue.waiting):
        await _send(queue, ())


async def flush(session: AsyncSession) -> None:
    """Send the effects that wait, in one round trip."""
    queue = await _open_queue(session)
    if queue is not None and queue.waiting:
        await _send(queue, ())


def is_in_doubt(session: AsyncSession) -> bool:
    """Return True if the session sent a COMMIT that may have happened, and lost its connection."""
    queue = operation_of(session).queue
    return queue is not None and queue.is_in_doubt


async def store(session: AsyncSession) -> None:
    """Send the effects that wait and COMMIT in one round trip; in two, if one has rows to check.

    The session keeps its connection: call `commit` once nobody asks the database to cancel this.
    """
    if session.in_transaction():
        await session.flush()  # what is written later would be a transaction of its own
    queue = await _open_queue(session)
    if queue is not None:
        await _commit(queue)


async def commit(session: AsyncSession) -> None:
    """Commit what a session has written, with its own statements or only with effects."""
    if session.in_transaction():
        await session.commit()
    queue = await _open_queue(session)
    if queue is None:
        return
    if queue.waiting or _is_in_transaction(queue.driver):
        await _commit(queue)
    del _QUEUES[queue.driver]


async def _commit(queue: EffectQueue) -> None:
    if any(effect.check and not effect.can_commit for effect in queue.waiting):
        await _send(queue, ())
    await _send(queue, (), commits=True)


async def roll_back(session: AsyncSession) -> None:
    """Undo what a session has written, with its own statements or only with effects."""
    if session.in_transaction():
        await session.rollback()
    queue = await _open_queue(session)
    if queue is None:
        return
    queue.waiting.clear()
    del _QUEUES[queue.driver]
    if _is_in_transaction(queue.driver):
        pipelines.expect_rollback(queue.driver)
        try:
            await queue.driver.rollback()
        except psycopg.Error as error:
            raise _wrap(error, "ROLLBACK") from error


def _is_in_transaction(driver: Any) -> bool:
    return not driver.closed and driver.pgconn.transaction_status != TransactionStatus.IDLE


async def _send(queue: EffectQueue, calls: Sequence[Call], *, commits: bool = False) -> list[list[Any]]:
    """Send what waits and the calls; return the rows of the calls.

    Raises:
        DBAPIError: any error of the driver, wrapped as SQLAlchemy does.
        Problem: the explanation or the check of an effect.
    """
    effects, queue.waiting = queue.waiting, []
    all_calls = [*(effect.call for effect in effects), *calls]
    done, failed = _announce(queue.connection, all_calls)
    queue.is_in_doubt = commits
    try:
        rows = await pipelines.send(queue.driver, all_calls, commits=commits)
    except PipelineError as failure:
        failed()
        text = all_calls[failure.index].statement.text if failure.index < len(all_calls) else "COMMIT"
        _check(effects, failure.rows, outranking=True)
        # A server that ends while it commits may have stored everything.
        queue.is_in_doubt = failure.index == len(all_calls) and queue.driver.closed
        if queue.driver.closed:
            await queue.connection.exec_driver_sql("SELECT 1")  # as below
        wrapped = _wrap(failure.error, text)
        if failure.index < len(effects):
            raise _explained(effects[failure.index], wrapped) from failure
        raise wrapped from failure
    except psycopg.Error as error:
        failed()
        if queue.driver.closed:
            # Let SQLAlchemy meet the broken connection itself, so that it empties the pool.
            await queue.connection.exec_driver_sql("SELECT 1")
        raise _wrap(error, "") from error
    queue.is_in_doubt = False
    done()
    _check(effects, rows)
    return rows[len(effects) :]


def _check(effects: Sequence[_Effect], rows: Sequence[Sequence[Any]], *, outranking: bool = False) -> None:
    for effect, its_rows in zip(effects, rows, strict=False):
        if effect.check is not None and (effect.outranks_errors or not outranking):
            effect.check(its_rows)


def _announce(
    connection: AsyncConnection, calls: Sequence[Call]
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Call the engine's listeners for statements; return what tells of their end, and of their failure.

    The statements of one round trip share their context.
    """
    listeners: Any = connection.sync_engine.dispatch
    trip = object()
    events = [(None, object(), call.statement.text, call.values, trip, False) for call in calls]
    befores = list(listeners.before_cursor_execute)
    for each in events:
        for before in befores:
            before(*each)

    def done() -> None:
        afters = list(listeners.after_cursor_execute)
        for each in events:
            for after in afters:
                after(*each)

    def failed() -> None:
        for each in events:
            tracing.fail_statement(each[1])

    return done, failed


def _wrap(error: psycopg.Error, text: str) -> DBAPIError:
    return cast(
        "DBAPIError",
        DBAPIError.instance(text, None, error, psycopg.Error, dialect=DIALECT),
    )


def _explained(effect: _Effect, error: DBAPIError) -> Exception:
    return (effect.explain(error) if effect.explain else None) or error


def listen(engine: Engine) -> None:
    """Keep effects and other statements of a connection in their order; drop what a rollback undoes."""
    event.listen(engine, "before_cursor_execute", _send_waiting)
    event.listen(engine, "commit", _send_before_commit)
    event.listen(engine, "rollback", _drop)
    event.listen(engine, "rollback_savepoint", _drop_in_savepoint)
    event.listen(engine, "reset", _expect_rollback)


def _driver_of(connection: Connection | None) -> Any:
    """Return the driver's connection; none for what the driver sends by itself, and once it is broken."""
    if connection is None or connection.invalidated or connection.closed:
        return None
    return connection.connection.driver_connection


def _queue_of(connection: Connection | None) -> EffectQueue | None:
    driver = _driver_of(connection)
    return None if driver is None else _QUEUES.get(driver)


def _send_waiting(connection: Connection, *_: Any) -> None:
    queue = _queue_of(connection)
    if queue is not None and queue.waiting:
        await_only(_send(queue, ()))


def _send_before_commit(connection: Connection) -> None:
    queue = _queue_of(connection)
    if queue is not None:
        if queue.waiting:
            await_only(_send(queue, ()))
        _QUEUES.pop(queue.driver, None)


def _drop(connection: Connection) -> None:
    pipelines.expect_rollback(_driver_of(connection))
    if (queue := _queue_of(connection)) is not None:
        queue.waiting.clear()
        del _QUEUES[queue.driver]


def _expect_rollback(connection: Any, _: Any, state: PoolResetState) -> None:
    if not state.transaction_was_reset:  # the pool rolls back what is open
        pipelines.expect_rollback(connection.driver_connection)


def _drop_in_savepoint(connection: Connection, *_: Any) -> None:
    pipelines.expect_rollback(_driver_of(connection))
    if (queue := _queue_of(connection)) is not None:
        queue.waiting.clear()
