"""Hot reads without the object-relational mapper: a statement is put together once, rows are plain tuples.

What a statement says is written once, as a Select of a model. A mutation runs it through the mapper, which
knows what the operation has changed. A query, which changes nothing, runs its text on the driver's own
connection.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Protocol, cast
from uuid import UUID

import psycopg
from psycopg import AsyncRawCursor
from sqlalchemy import ARRAY, BindParameter, Select, Uuid, any_, bindparam, literal_column, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from services.access import visibility
from services.access.actor import Actor
from services.core import pagination
from services.core.pagination import Page, PageRequest, Sort
from services.database import read_connections, statement_cache
from services.database.read_connections import Reader

DRIVER = "driver"
"""Where a session that only reads keeps the driver's connection, in its `info`."""
COLUMNS = "columns"
"""Where it keeps the columns to read, by table."""
WRITING = "writing"
"""Where it keeps how the rows are written that the query shows, if PostgreSQL does that."""
_BEGIN = b"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"


class Writing(Protocol):
    """See `services.written`."""

    @property
    def table(self) -> Any:
        """Whose rows these are."""

    @property
    def name(self) -> tuple[Hashable, ...]:
        """What tells the statement from others."""

    @property
    def values(self) -> dict[str, Any]:
        """The values of its parameters."""

    @property
    def is_whole(self) -> bool:
        """Whether a page is written as a whole, and nobody asks whether there is more."""

    def statement(self, actor: Actor, inner: Select[Any], key: str, *, descending: bool) -> Select[Any]:
        """Return what writes the rows that `inner` finds, in the order of `key` and the id."""

    def rows(self, found: Sequence[Any]) -> list[Any]:
        """Return the rows that the statement found."""


async def begin(
    session: AsyncSession,
    *,
    is_single: bool,
    columns: Mapping[Any, frozenset[str]] | None,
    writing: Writing | None = None,
) -> Reader:
    """Give a session that only reads a connection of its own, in a snapshot unless it reads only once.

    `columns` are those to read, by table; a table that is not named is read whole. With `writing`, the rows
    that the query is about are read as they are shown. `end` takes the connection back.
    """
    engine = session.bind
    assert isinstance(engine, AsyncEngine)
    reader = await read_connections.take(engine)
    try:
        if not is_single:
            await _execute(reader.connection, reader.driver, _BEGIN)
    except BaseException:
        await reader.give_back()
        raise
    session.bind, session.sync_session.bind = reader.connection, reader.connection.sync_connection
    session.info[DRIVER], session.info[COLUMNS] = reader.driver, columns or {}
    session.info[WRITING] = writing
    return reader


async def end(reader: Reader) -> None:
    """End the snapshot, and leave the connection to the next operation."""
    try:
        if not (reader.is_idle or reader.driver.closed):
            await AsyncRawCursor(reader.driver).execute(b"ROLLBACK")
    except psycopg.Error:
        await reader.connection.invalidate()
    finally:
        await reader.give_back()


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
    prepared = statement_cache.prepared(
        (name, actor.kind), build, table=table, wanted=wanted.get(table), values=values
    )
    parameters = [_plain(values[n] if n in values else visibility.value(n, actor)) for n in prepared.names]
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
        raise DBAPIError.instance(
            text.decode(), None, error, psycopg.Error, dialect=statement_cache.DIALECT
        ) from error


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
    writing: Writing | None = session.info.get(WRITING)
    whole, values = (name, sort.name, page.after is None), pagination.values(sort, page)
    if writing is not None and writing.table is table:
        # Written into the statement, a size tells PostgreSQL how much it is to plan for.
        size = values.pop("page_limit") - (1 if writing.is_whole else 0)
        found = await _written(
            session,
            actor,
            writing,
            name=(*whole, size),
            key=sort.key.key,
            descending=sort.descending,
            build=lambda: pagination.narrow(statement(), sort=sort, page=page).limit(
                literal_column(str(size))
            ),
            **values,
        )
    else:
        found = await read(
            session,
            actor,
            name=whole,
            table=table,
            build=lambda: pagination.narrow(statement(), sort=sort, page=page),
            **values,
        )
    return pagination.build(found, statement, sort=sort, page=page)


async def shown(
    session: AsyncSession,
    actor: Actor,
    *,
    name: Hashable,
    table: Any,
    build: Callable[[], Select[Any]],
    **values: Any,
) -> list[Any]:
    """Read as `read` does what a query may be about: such rows are read as they are shown, if they can be."""
    writing: Writing | None = session.info.get(WRITING)
    if writing is None or writing.table is not table:
        return await read(session, actor, name=name, table=table, build=build, **values)
    return await _written(session, actor, writing, name=name, build=build, **values)


async def by_ids(
    session: AsyncSession, actor: Actor, *, table: Any, may_see: Any, row_ids: Sequence[UUID]
) -> dict[UUID, Any]:
    """Return those of a table's rows, by their ids, that the actor may see; one statement."""
    found = await shown(
        session,
        actor,
        name=("by_ids", table),
        table=table,
        row_ids=list(row_ids),
        build=lambda: select(table).where(among(table.id, "row_ids", row_ids), may_see(actor)),
    )
    return {row.id: row for row in found}


async def _written(
    session: AsyncSession,
    actor: Actor,
    writing: Writing,
    *,
    name: Hashable,
    build: Callable[[], Select[Any]],
    key: str = "id",
    descending: bool = False,
    **values: Any,
) -> list[Any]:
    found = await read(
        session,
        actor,
        name=(name, writing.name),
        build=lambda: writing.statement(actor, build(), key, descending=descending),
        **values,
        **writing.values,
    )
    return writing.rows(found)


def _plain(value: Any) -> Any:
    """Write many ids as PostgreSQL reads them: the driver looks at each for what it would have to escape."""
    if value.__class__ is not list:
        return value
    return f"{{{','.join([f'{i.int:032x}' for i in value])}}}"


def among(column: Any, name: str, row_ids: Sequence[Any]) -> Any:
    """Return the condition that a column is one of the ids, which are one parameter, however many."""
    return column == any_(ids_parameter(name, row_ids))


def ids_parameter(name: str, row_ids: Sequence[Any]) -> BindParameter[Any]:
    """Return a parameter of many ids."""
    return bindparam(name, list(row_ids), type_=ARRAY(Uuid))
