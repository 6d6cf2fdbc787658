"""Statements as text, each put together once: by name, by the viewer's kind, by the columns shown."""

from collections import namedtuple
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from sqlalchemy import Select
from sqlalchemy.dialects.postgresql import psycopg as dialect

from models import Collective, Member, Order, Transaction
from services.access import visibility

ALWAYS: dict[Any, frozenset[str]] = {
    Collective: frozenset({"id", "type", "currency", "host_id", "parent_id", "created_at", "name"}),
    Member: frozenset({"id", "collective_id", "member_id", "since"}),
    Order: frozenset({"id", "currency", "created_at"}),
    Transaction: frozenset({"id", "at"}),
}
"""What rules, loaders and cursors look at, whatever is shown. Of other tables every column is read."""
_MOST = 2_000
"""Statements that are kept; queries differ in the columns that they show."""


class _Compiler(dialect.PGCompiler_psycopg):
    """Writes what never changes into the statement: PostgreSQL plans with it, partial indexes among it."""

    def visit_bindparam(self, bindparam: Any, **how: Any) -> Any:  # type: ignore[override]  # as it is called
        # Parameters that were given a name are those that change.
        how |= {"literal_binds": bindparam.unique}
        return super().visit_bindparam(bindparam, **how)  # type: ignore[no-untyped-call]  # as it is


class _Dialect(dialect.PGDialect_psycopg):
    statement_compiler = _Compiler


DIALECT: Any = _Dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # as it is


@dataclass(frozen=True)
class Prepared:
    """A statement as text, and the names of its parameters in order."""

    text: str
    encoded: bytes
    names: tuple[str, ...]
    row: Callable[[Any], Any]


_KEPT: dict[Hashable, Prepared] = {}
is_checked = False
"""Whether each use of a statement is compared with the one kept; the tests switch it on."""


def prepared(
    name: tuple[Hashable, ...],
    build: Callable[[], Select[Any]],
    *,
    table: Any,
    wanted: frozenset[str] | None,
    values: Mapping[str, Any],
) -> Prepared:
    """Return the statement of this name that `build` makes, with the columns of a table that are wanted.

    Without a table, those that it selects. `values` are those of its parameters that are not the viewer's.
    """
    key = (*name, wanted)
    found = _KEPT.get(key)
    if found is None or is_checked:
        found = _kept(key, _prepare(build(), table, wanted, values))
    return found


def _kept(key: Hashable, made: Prepared) -> Prepared:
    while len(_KEPT) >= _MOST:
        del _KEPT[next(iter(_KEPT))]
    kept = _KEPT.setdefault(key, made)
    if kept is not made:
        assert kept.text == made.text, key
    return kept


def _prepare(
    statement: Select[Any], table: Any, wanted: frozenset[str] | None, values: Mapping[str, Any]
) -> Prepared:
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
    compiled = statement.compile(dialect=DIALECT)
    text, names = str(compiled), tuple(compiled.positiontup or ())
    unknown = {n for n in names if n not in values and not n.startswith(visibility.VIEWER)}
    assert not unknown, unknown
    return Prepared(text, text.encode(), names, partial(tuple.__new__, row))


@cache
def light(table: Any) -> type[Any]:
    """Return the class of a table's rows as they are read here: tuples, for reading alone."""
    return type(f"{table.__name__}Row", (), {"__slots__": ()})


@cache
def _tuple(names: tuple[str, ...], kind: Any = object) -> type[Any]:
    return type(kind.__name__, (namedtuple("Row", names), kind), {"__slots__": ()})  # noqa: PYI024 - made of what it holds
