"""Hot reads without the object-relational mapper: a statement is put together once, rows are plain tuples.

What a statement says is written once, as a Select of a model. A mutation runs it through the mapper, which
knows what the operation has changed. A query, which changes nothing, runs its text on the driver's own
connection.
"""

from collections import namedtuple
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, cast
from weakref import WeakKeyDictionary

import psycopg
from psycopg import AsyncRawCursor
from psycopg.pq import TransactionStatus
from sqlalchemy import ARRAY, BindParameter, Select, Uuid, any_, bindparam
from sqlalchemy.dialects.postgresql import psycopg as dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from models import Collective, Member, Order, Transaction
from services import pages, visibility
from services.actors import Actor
from services.pages import Page, PageRequest, Sort

DRIVER = "driver"
"""Where a session that only reads keeps the driver's connection, in its `info`."""
COLUMNS = "columns"
"""Where it keeps the columns to read, by table."""
ALWAYS: dict[Any, frozenset[str]] = {
    Collective: frozenset({"id", "type", "currency", "host_id", "parent_id", "created_at", "name"}),
    Member: frozenset({"id", "collective_id", "member_id", "since"}),
    Order: frozenset({"id", "currency", "created_at"}),
    Transaction: frozenset({"id", "at"}),
}
"""What rules, loaders and cursors look at, whatever is shown. Of other tables every column is read."""
_READING: WeakKeyDictionary[AsyncEngine, AsyncEngine] = WeakKeyDictionary()
_BEGIN = b"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_MOST = 2_000
"""Statements that are kept; queries differ in the columns that they show."""
_DIALECT: Any = dialect.PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # as it is
_SIMPLE = (str, bool, int)


@dataclass(frozen=True)
class _Prepared:
    """A statement as text, the names of its parameters in order, and those that never change."""

    text: str
    encoded: bytes
    names: tuple[str, ...]
    constants: dict[str, Any]
    row: Callable[[Any], Any]


_PREPARED: dict[Hashable, _Prepared] = {}
is_checked = False
"""Whether each use of a statement is compared with the one kept; the tests switch it on."""


async def begin(
    session: AsyncSession, *, is_single: bool, columns: Mapping[Any, frozenset[str]] | None
) -> AsyncConnection:
    """Give a session that only reads a connection of its own, in a snapshot unless it reads only once.

    `columns` are those to read, by table; a table that is not named is read whole. `end` takes the connection
    back.
    """
    engine = session.bind
    assert isinstance(engine, AsyncEngine)  # noqa: S101 - it has none of its own yet
    connection = await _reading(engine).connect()
    try:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None  # noqa: S101 - it is connected
        if not is_single:
            await _execute(connection, driver, _BEGIN)
    except BaseException:
        await connection.close()
        raise
    session.bind, session.sync_session.bind = connection, connection.sync_connection
    session.info[DRIVER], session.info[COLUMNS] = driver, columns or {}
    return connection


async def end(connection: AsyncConnection) -> None:
    """End the snapshot, and give the connection back."""
    try:
        if not connection.invalidated:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            if driver.info.transaction_status != TransactionStatus.IDLE:
                await AsyncRawCursor(driver).execute(b"ROLLBACK")
    except psycopg.Error:
        await connection.invalidate()
    finally:
        await connection.close()


def _reading(engine: AsyncEngine) -> AsyncEngine:
    """Return the engine with which transactions are begun in words, on the same pool."""
    found: AsyncEngine | None = _READING.get(engine)
    if found is None:
        found = _READING[engine] = engine.execution_options(isolation_level="AUTOCOMMIT")
    return found


async def read(
    session: AsyncSession,
    actor: Actor,
    *,
    name: Hashable,
    table: Any = None,
    build: Callable[[], Select[Any]],
    **values: Any,
) -> list[Any]:
    """Return the rows of the statement that `build` makes: those of a table, or as they are selected.

    Rows of a table are models, or tuples with the attributes of the same names that the query shows.

    `name` tells statements of different text apart; what differs from one use to the next must be a
    parameter that is named in `values`, or the viewer's. Who listens to the engine's statements hears of
    this one too.
    """
    driver: psycopg.AsyncConnection[Any] | None = session.info.get(DRIVER)
    if driver is None:
        statement = build()
        found = await session.execute(statement)
        return list(found.all() if table is None else found.scalars().all())
    wanted: Mapping[Any, frozenset[str]] = session.info[COLUMNS]
    key = (name, actor.kind, wanted.get(table))
    if (prepared := _PREPARED.get(key)) is None or is_checked:
        prepared = _kept(key, _prepare(build(), table, wanted.get(table), values))
    given = {**prepared.constants, **values}
    parameters = [_plain(given[n] if n in given else visibility.value(n, actor)) for n in prepared.names]
    cursor = AsyncRawCursor(driver)
    connection = cast("AsyncConnection", session.bind)
    notices: Any = connection.sync_engine.dispatch
    text = prepared.text
    for before in notices.before_cursor_execute:
        before(None, cursor, text, parameters, None, False)  # noqa: FBT003 - the event's signature
    await _execute(connection, driver, prepared.encoded, parameters, cursor=cursor)
    for after in notices.after_cursor_execute:
        after(None, cursor, text, parameters, None, False)  # noqa: FBT003 - as above
    return [prepared.row(row) for row in await cursor.fetchall()]


async def _execute(
    connection: AsyncConnection,
    driver: Any,
    text: bytes,
    parameters: Sequence[Any] = (),
    *,
    cursor: AsyncRawCursor[Any] | None = None,
) -> None:
    """Execute a statement.

    Raises:
        DBAPIError: as SQLAlchemy tells errors of the driver.
    """
    try:
        await (cursor or AsyncRawCursor(driver)).execute(text, parameters)
    except psycopg.Error as error:
        if driver.closed:
            # SQLAlchemy is to see for itself that the connection broke: then it empties the pool.
            await connection.exec_driver_sql("SELECT 1")
        raise DBAPIError.instance(text.decode(), None, error, psycopg.Error, dialect=_DIALECT) from error


async def page(
    session: AsyncSession,
    actor: Actor,
    *,
    name: Hashable,
    table: Any,
    statement: Callable[[], Select[Any]],
    sort: Sort,
    page: PageRequest,
) -> Page[Any]:
    """Read one page as `pages.read` does, of a statement whose text hangs on `name` alone.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    found = await read(
        session, actor, name=(name, sort.name, page.after is None), table=table,
        build=lambda: pages.narrow(statement(), sort=sort, page=page), **pages.values(sort, page),
    )  # fmt: skip
    return pages.build(found, statement, sort=sort, page=page)


def _plain(value: Any) -> Any:
    """Write many ids as PostgreSQL reads them: the driver looks at each for what it would have to escape."""
    if value.__class__ is not list:
        return value
    return f"{{{','.join([f'{i.int:032x}' for i in value])}}}"


def _kept(key: Hashable, made: _Prepared) -> _Prepared:
    while len(_PREPARED) >= _MOST:
        del _PREPARED[next(iter(_PREPARED))]
    kept = _PREPARED.setdefault(key, made)
    if kept is not made:
        assert (kept.text, kept.constants) == (made.text, made.constants), key  # noqa: S101 - see is_checked
    return kept


def _prepare(
    statement: Select[Any], table: Any, wanted: frozenset[str] | None, values: dict[str, Any]
) -> _Prepared:
    if table is None:
        row = _tuple(tuple(str(column["name"]) for column in statement.column_descriptions))
    else:
        entity = statement.column_descriptions[0]["entity"]
        columns = [column.key for column in table.__table__.columns]
        if wanted is not None and table in ALWAYS:
            columns = [name for name in columns if name in wanted or name in ALWAYS[table]]
        statement = statement.with_only_columns(
            *(getattr(entity, name) for name in columns), maintain_column_froms=True
        )
        kind: Any = light(table)
        row = _tuple(tuple(columns), kind)
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    parameters = tuple(compiled.positiontup or ())
    constants = {
        name: value
        for name, value in compiled.params.items()
        if name not in values and not name.startswith(visibility.VIEWER)
    }
    assert all(isinstance(value, _SIMPLE) for value in constants.values()), constants  # noqa: S101 - no constants
    text = str(compiled)
    return _Prepared(text, text.encode(), parameters, constants, partial(tuple.__new__, row))


@cache
def light(table: Any) -> type[Any]:
    """Return the class of a table's rows as they are read here: tuples, for reading alone."""
    return type(f"{table.__name__}Row", (), {"__slots__": ()})


@cache
def _tuple(names: tuple[str, ...], kind: Any = object) -> type[Any]:
    return type(kind.__name__, (namedtuple("Row", names), kind), {"__slots__": ()})  # noqa: PYI024 - made of what it holds


def among(column: Any, name: str, row_ids: Sequence[Any]) -> Any:
    """Return the condition that a column is one of the ids, which are one parameter, however many."""
    return column == any_(ids_parameter(name, row_ids))


def ids_parameter(name: str, row_ids: Sequence[Any]) -> BindParameter[Any]:
    """Return a parameter of many ids."""
    return bindparam(name, list(row_ids), type_=ARRAY(Uuid))
