"""Fast reads: cached statements on the driver's connection, with plain tuples as rows.

Each statement is written once, as a Select of a model. A mutation executes it through the object-relational
mapper, which knows the operation's own changes. A query changes nothing, so it executes the compiled text on
the driver's connection.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID

import psycopg
from psycopg import AsyncRawCursor
from sqlalchemy import ARRAY, BindParameter, Select, Uuid, any_, bindparam, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from services.access import viewer_terms
from services.access.actor import Actor
from services.core import pagination, tracing
from services.core.pagination import Page, PageRequest, Sort
from services.database import read_connections, statement_cache
from services.database.read_connections import ReadConnection
from services.database.statement_cache import CachedStatement
from services.round_trips.dialect import DIALECT
from services.round_trips.operation_session import operation_of
from services.round_trips.pipelines import Call, Statement

_KIND = "kind"
"""Key of the viewer's kind among what queries were told of the viewer."""
_BEGIN_SNAPSHOT = b"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"


async def begin_read(session: AsyncSession, *, is_single: bool) -> ReadConnection:
    """Give a read-only session a connection of its own.

    The session reads in a snapshot, unless it `is_single`: runs one statement only. The caller releases the
    connection with `end_read`.

    Raises:
        DBAPIError: the database is away.
        TimeoutError: of SQLAlchemy; no connection became free in time.
    """
    engine = session.bind
    assert isinstance(engine, AsyncEngine)
    read_connection = await read_connections.acquire(engine)
    try:
        await _plan(read_connection, read_connections.ONCE if is_single else read_connections.AS_USUAL)
        if not is_single:
            await _execute(read_connection.connection, read_connection.driver, _BEGIN_SNAPSHOT)
    except BaseException:
        await read_connection.release()
        raise
    session.bind, session.sync_session.bind = (
        read_connection.connection,
        read_connection.connection.sync_connection,
    )
    operation_of(session).reader = read_connection.driver
    return read_connection


async def _plan(read_connection: ReadConnection, command: bytes) -> None:
    """Let the connection plan statements in this way; no round trip if it does already.

    Only what runs alone is planned once: its constants are in its text, where the mapper has parameters.
    A pooler hands statements to any connection, and then none are prepared.
    """
    driver = read_connection.driver
    if read_connection.planning != command and driver.prepare_threshold is not None:
        read_connection.planning = None  # a command that is cancelled may have been executed
        await _execute(read_connection.connection, driver, command)
        read_connection.planning = command


async def end_read(read_connection: ReadConnection) -> None:
    """End the snapshot, and release the connection to the next operation."""
    try:
        if not (read_connection.is_idle or read_connection.driver.closed):
            # Nothing was written. After a ROLLBACK the driver would prepare every statement anew.
            await AsyncRawCursor(read_connection.driver).execute(b"COMMIT")
    except psycopg.Error:
        await read_connection.connection.invalidate()
    finally:
        await read_connection.release()


async def fetch_rows(
    session: AsyncSession,
    actor: Actor,
    *,
    name: Hashable,
    table: Any = None,
    build: Callable[[], Select[Any]],
    keeps: bool = True,
    **values: Any,
) -> list[Any]:
    """Fetch the rows of the statement that `build` returns.

    Without a `table`, rows are as selected. Rows of a table are models, or tuples with the same attribute
    names. `name` identifies the statement's text; everything that
    differs between two uses must be a parameter in `values` or one of the viewer. The engine's listeners for
    statements are called.
    """
    driver = operation_of(session).reader
    if driver is None:
        result = await session.execute(build())
        return list(result.all() if table is None else result.scalars().all())
    statement, parameters = prepare_rows(actor, name=name, table=table, build=build, keeps=keeps, **values)
    cursor = AsyncRawCursor(driver)
    connection = cast("AsyncConnection", session.bind)
    with listened(connection, statement, parameters, cursor=cursor):
        await _execute(connection, driver, statement.encoded, parameters, cursor=cursor)
    return [statement.make_row(record) for record in await cursor.fetchall()]


def prepare_rows(
    actor: Actor,
    *,
    name: Hashable,
    build: Callable[[], Select[Any]],
    table: Any = None,
    keeps: bool = True,
    **values: Any,
) -> tuple[CachedStatement, list[Any]]:
    """Return the compiled statement that `fetch_rows` executes, and its parameters in order."""
    statement = statement_cache.get_statement(
        (name, _kind_of(actor)), build, table=table, values=values, keeps=keeps
    )
    parameters = [
        _encode_ids(values[name]) if name in values else _viewer_value(actor, name)
        for name in statement.parameter_names
    ]
    return statement, parameters


def _kind_of(actor: Actor) -> str:
    """Return the viewer's kind, which stays what it is: a query changes no roles."""
    kind: str | None = actor.query_values.get(_KIND)
    if kind is None:
        kind = actor.query_values[_KIND] = actor.kind
    return kind


def prepare_call(actor: Actor, *, name: Hashable, build: Callable[[], Select[Any]], **values: Any) -> Call:
    """Return a call of the statement that `build` returns, for the pipeline of a mutation.

    The viewer's parameters are those of this moment: a mutation may change roles.
    """
    statement = statement_cache.get_statement((name, actor.kind), build, table=None, values=values)
    names = statement.parameter_names
    return Call(
        Statement(None, statement.text, statement.encoded, names, {}),
        {
            n: _encode_ids(values[n] if n in values else viewer_terms.viewer_parameter(n, actor))
            for n in names
        },
    )


def _viewer_value(actor: Actor, name: str) -> Any:
    """Return a parameter of the viewer's, which stays what it is: a query changes no roles."""
    known = actor.query_values
    if name not in known:
        known[name] = _encode_ids(viewer_terms.viewer_parameter(name, actor))
    return known[name]


@contextmanager
def listened(
    engine: AsyncEngine | AsyncConnection,
    statement: CachedStatement,
    parameters: Sequence[Any],
    *,
    cursor: Any = None,
) -> Iterator[None]:
    """Call the engine's listeners before and after a block that executes a statement."""
    listeners: Any = engine.sync_engine.dispatch
    event = (None, cursor or _Execution(), statement.text, parameters, None, False)
    for before in listeners.before_cursor_execute:
        before(*event)
    try:
        yield
    except BaseException:
        tracing.fail_statement(event[1])
        raise
    for after in listeners.after_cursor_execute:
        after(*event)


class _Execution:
    """What listeners get in place of a cursor, to tell one statement from another."""


async def _execute(
    connection: AsyncConnection,
    driver: Any,
    text: bytes,
    parameters: Sequence[Any] = (),
    *,
    cursor: AsyncRawCursor[Any] | None = None,
) -> None:
    """Execute a statement on the driver's connection.

    Raises:
        DBAPIError: any error of the driver, wrapped as SQLAlchemy does.
    """
    try:
        await (cursor or AsyncRawCursor(driver)).execute(text, parameters)
    except psycopg.Error as error:
        if driver.closed:
            # Let SQLAlchemy meet the broken connection itself, so that it empties the pool.
            await connection.exec_driver_sql("SELECT 1")
        raise DBAPIError.instance(text.decode(), None, error, psycopg.Error, dialect=DIALECT) from error


async def fetch_page(
    session: AsyncSession,
    actor: Actor,
    *,
    name: Hashable,
    table: Any,
    statement: Callable[[], Select[Any]],
    sort: Sort,
    page: PageRequest,
) -> Page[Any]:
    """Fetch one page of the list that `statement` selects, as `fetch_rows`.

    Raises:
        Invalid: the cursor is not one of this list.
    """
    rows = await fetch_rows(
        session,
        actor,
        name=(name, sort.name, *pagination.keyset_name(page)),
        table=table,
        build=lambda: pagination.apply_keyset(statement(), sort=sort, page=page),
        **pagination.keyset_parameters(sort, page),
    )
    if page.is_backward:
        rows.reverse()
    return pagination.to_page(rows, statement, sort=sort, page=page)


async def fetch_by_ids(
    session: AsyncSession, actor: Actor, *, table: Any, is_visible: Any, row_ids: Sequence[UUID]
) -> dict[UUID, Any]:
    """Fetch the visible rows of a table by their ids, in one statement."""
    rows = await fetch_rows(
        session,
        actor,
        name=("by_ids", table),
        table=table,
        row_ids=list(row_ids),
        build=lambda: select(table).where(in_ids(table.id, "row_ids", row_ids), is_visible(actor)),
    )
    return {row.id: row for row in rows}


def _encode_ids(value: Any) -> Any:
    """Write a list of ids as an array literal, faster than the driver, which escapes each id."""
    if value.__class__ is not list:
        return value
    return f"{{{','.join([f'{i.int:032x}' for i in value])}}}"


async def fetch_lists(
    session: AsyncSession,
    actor: Actor,
    *,
    select_of: Callable[..., tuple[Select[Any]]],
    sort: Sort,
    by: str,
    owner_ids: Sequence[UUID],
) -> dict[UUID, list[Any]]:
    """Fetch the whole lists of several owners: what `select_of` selects for the id of one, in one statement.

    `by` is the attribute of a row that holds its owner's id.
    """
    (statement,) = select_of(actor, owner=any_(ids_parameter("owner_ids", owner_ids)))
    order = (c.desc() if sort.descending else c.asc() for c in (sort.key, sort.id))
    rows = await session.execute(statement.order_by(*order))
    lists: dict[UUID, list[Any]] = {owner_id: [] for owner_id in owner_ids}
    for row in rows.scalars():
        lists[getattr(row, by)].append(row)
    return lists


def in_ids(column: Any, name: str, row_ids: Sequence[Any]) -> Any:
    """Build the condition that a column is one of the ids, passed as one array parameter."""
    return column == any_(ids_parameter(name, row_ids))


def ids_parameter(name: str, row_ids: Sequence[Any]) -> BindParameter[Any]:
    """Build an array parameter of ids."""
    return bindparam(name, list(row_ids), type_=ARRAY(Uuid))
