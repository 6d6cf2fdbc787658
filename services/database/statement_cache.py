"""Compiled statements, cached by name and kind of viewer."""

from collections import namedtuple
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from sqlalchemy import Select

from services.access import viewer_terms
from services.round_trips.dialect import DIALECT
from services.round_trips.records import row_class

_MAX_STATEMENTS = 2_000


@dataclass(frozen=True)
class CachedStatement:
    """A compiled statement, and the names of its parameters in order."""

    text: str
    encoded: bytes
    parameter_names: tuple[str, ...]
    make_row: Callable[[Any], Any]


_STATEMENTS: dict[Hashable, CachedStatement] = {}
verify_cached = False
"""True makes every use compare the statement with the cached one; switched on by the tests."""


def get_statement(
    name: tuple[Hashable, ...],
    build: Callable[[], Select[Any]],
    *,
    table: Any,
    values: Mapping[str, Any],
    keeps: bool = True,
) -> CachedStatement:
    """Return the cached statement of this name, or compile the one that `build` returns, and keep it.

    It selects all columns of the table, or without one what `build` selects.
    `values` holds every parameter that is not one of the viewer.
    """
    statement = _STATEMENTS.get(name)
    if statement is None or verify_cached:
        compiled = _compile(build(), table, values)
        statement = _add_to_cache(name, compiled) if keeps or statement is not None else compiled
    return statement


def _add_to_cache(key: Hashable, compiled: CachedStatement) -> CachedStatement:
    while len(_STATEMENTS) >= _MAX_STATEMENTS:
        del _STATEMENTS[next(iter(_STATEMENTS))]
    cached = _STATEMENTS.setdefault(key, compiled)
    if cached is not compiled:
        assert cached.text == compiled.text, key
    return cached


def _compile(statement: Select[Any], table: Any, values: Mapping[str, Any]) -> CachedStatement:
    if table is None:
        record_class = _tuple_class(tuple(str(column["name"]) for column in statement.column_descriptions))
    else:
        entity = statement.column_descriptions[0]["entity"]
        names = [column.key for column in table.__table__.columns]
        statement = statement.with_only_columns(
            *(getattr(entity, name) for name in names), maintain_column_froms=True
        )
        table_class: Any = row_class(table)
        record_class = _tuple_class(tuple(names), table_class)
    compiled = statement.compile(dialect=DIALECT)
    text, parameters = str(compiled), tuple(compiled.positiontup or ())
    unknown = {n for n in parameters if n not in values and not n.startswith(viewer_terms.VIEWER_PREFIX)}
    assert not unknown, unknown
    return CachedStatement(text, text.encode(), parameters, partial(tuple.__new__, record_class))


@cache
def _tuple_class(names: tuple[str, ...], base: Any = object) -> type[Any]:
    bases = (namedtuple("Row", names), base)  # noqa: PYI024 - the fields are known only at run time
    return type(base.__name__, bases, {"__slots__": ()})
