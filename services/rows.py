"""Hot reads without the object-relational mapper: a statement is put together once, rows are plain tuples.

What a statement says is written once, as a Select of a model. A mutation runs it through the mapper, which
knows what the operation has changed. A query, which changes nothing, runs its text on the driver's own
connection.
"""

from collections import namedtuple
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from psycopg import AsyncConnection, AsyncRawCursor
from sqlalchemy import ARRAY, BindParameter, Select, Uuid, any_, bindparam
from sqlalchemy.dialects.postgresql import psycopg as dialect
from sqlalchemy.ext.asyncio import AsyncSession

from services import pages, visibility
from services.actors import Actor
from services.pages import Page, PageRequest, Sort

DRIVER = "driver"
"""Where a session that only reads keeps the driver's connection, in its `info`."""
_DIALECT: Any = dialect.PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # as it is
_SIMPLE = (str, bool, int)


@dataclass(frozen=True)
class _Prepared:
    """A statement as text, the names of its parameters in order, and those that never change."""

    text: str
    names: tuple[str, ...]
    constants: dict[str, Any]
    row: Callable[[Any], Any]


_PREPARED: dict[Hashable, _Prepared] = {}
is_checked = False
"""Whether each use of a statement is compared with the one kept; the tests switch it on."""


async def read(
    session: AsyncSession,
    actor: Actor,
    *,
    name: Hashable,
    build: Callable[[], Select[Any]],
    **values: Any,
) -> list[Any]:
    """Return the rows of the statement that `build` makes: models, or tuples with the same attributes.

    `name` tells statements of different text apart; what differs from one use to the next must be a
    parameter that is named in `values`, or the viewer's. Who listens to the engine's statements hears of
    this one too.
    """
    driver: AsyncConnection[Any] | None = session.info.get(DRIVER)
    if driver is None:
        statement = build()
        found = await session.execute(statement)
        is_entity = statement.column_descriptions[0].get("entity") is not None
        return list(found.scalars().all() if is_entity else found.all())
    key = (name, actor.kind)
    if (prepared := _PREPARED.get(key)) is None or is_checked:
        prepared = _kept(key, _prepare(build(), values))
    given = {**prepared.constants, **values}
    parameters = [given[n] if n in given else visibility.value(n, actor) for n in prepared.names]
    cursor = AsyncRawCursor(driver)
    notices: Any = session.get_bind().engine.dispatch
    for before in notices.before_cursor_execute:
        before(None, cursor, prepared.text, parameters, None, False)  # noqa: FBT003 - the event's signature
    await cursor.execute(prepared.text.encode(), parameters)
    for after in notices.after_cursor_execute:
        after(None, cursor, prepared.text, parameters, None, False)  # noqa: FBT003 - as above
    return [prepared.row(row) for row in await cursor.fetchall()]


async def page(
    session: AsyncSession,
    actor: Actor,
    *,
    name: Hashable,
    statement: Callable[[], Select[Any]],
    sort: Sort,
    page: PageRequest,
) -> Page[Any]:
    """Read one page as `pages.read` does, of a statement whose text hangs on `name` alone.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    found = await read(
        session, actor, name=(name, sort.name, page.after is None),
        build=lambda: pages.narrow(statement(), sort=sort, page=page), **pages.values(sort, page),
    )  # fmt: skip
    return pages.build(found, statement, sort=sort, page=page)


def _kept(key: Hashable, made: _Prepared) -> _Prepared:
    kept = _PREPARED.setdefault(key, made)
    if kept is not made:
        assert (kept.text, kept.constants) == (made.text, made.constants), key  # noqa: S101 - see is_checked
    return kept


def _prepare(statement: Select[Any], values: dict[str, Any]) -> _Prepared:
    described = statement.column_descriptions
    entity = described[0].get("entity")
    if entity is None:
        names = [str(column["name"]) for column in described]
        row = cast("Any", _tuple(tuple(names)))._make
    else:
        table = described[0]["type"]
        statement = statement.with_only_columns(
            *(getattr(entity, column.key) for column in table.__table__.columns), maintain_column_froms=True
        )
        row = light(table)._make
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    parameters = tuple(compiled.positiontup or ())
    constants = {
        name: value
        for name, value in compiled.params.items()
        if name not in values and not name.startswith(visibility.VIEWER)
    }
    assert all(isinstance(value, _SIMPLE) for value in constants.values()), constants  # noqa: S101 - no constants
    return _Prepared(str(compiled), parameters, constants, row)


@cache
def light(table: Any) -> type[Any]:
    """Return the tuple that a row of a table is read as: the same attributes, for reading alone."""
    return _tuple(tuple(column.key for column in table.__table__.columns), table.__name__)


@cache
def _tuple(names: tuple[str, ...], name: str = "Row") -> type[Any]:
    return namedtuple(name, names)  # noqa: PYI024 - made of what it is to hold


def among(column: Any, name: str, row_ids: Sequence[Any]) -> Any:
    """Return the condition that a column is one of the ids, which are one parameter, however many."""
    return column == any_(ids_parameter(name, row_ids))


def ids_parameter(name: str, row_ids: Sequence[Any]) -> BindParameter[Any]:
    """Return a parameter of many ids."""
    return bindparam(name, list(row_ids), type_=ARRAY(Uuid))
