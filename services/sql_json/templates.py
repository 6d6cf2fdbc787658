"""The parts of statements: selects and expressions, compiled once for all statements that have them.

SQLAlchemy builds and compiles a part in a millisecond; copying its text, with the names that one statement
gives to rows and parameters, takes microseconds.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, text

from services.database import statement_cache
from services.round_trips.dialect import TEXT_DIALECT
from services.round_trips.records import column_names
from services.sql_json.fragments import Sql

if TYPE_CHECKING:
    from services.sql_json.sources import RowSource

ROWS = ("\x03", "\x04")
"""Stand for the names of the rows whose columns a part uses."""
CONDITION = "\x05"
"""Stands for a condition."""
LIMIT = "\x06"
"""Stands for the largest number of rows."""
REFERENCED = "\x07"
"""Stands for the name of the table of collectives that conditions name."""
PREFIX = "\x08"
"""Stands for the prefix of the names of parameters."""
_STANDS_FOR = {"condition": CONDITION, "limit": LIMIT, "referenced": REFERENCED, "prefix": PREFIX}
_COLUMN_MARK = "\x0f"
"""Separates the columns of a SELECT while it is compiled."""
_MAX_TEMPLATES = 2_000
"""Size of the cache; lists differ in their conditions."""


@dataclass(frozen=True)
class _Template:
    """The text of a part, split at the columns of a SELECT."""

    head: str
    columns: Mapping[str, str]
    """The text of each column, by name."""
    tail: str
    types: Mapping[str, Any] = field(compare=False)

    def __hash__(self) -> int:
        return id(self)  # a key of other templates, whose columns are too many to be hashed each time


@dataclass(frozen=True)
class _Compiled:
    """The selects of a part, or its expression, and which columns of each row they use."""

    templates: tuple[_Template, ...]
    used: tuple[frozenset[str], ...]


@dataclass(frozen=True)
class Selected:
    """A SELECT as one statement has it."""

    template: _Template
    names: tuple[tuple[str, str], ...]
    """What stands in the statement for each name in the template."""

    def __contains__(self, column: str) -> bool:
        return column in self.template.columns

    def write(self, used: Iterable[str] | None = None, *added: str) -> Sql:
        """Write the SELECT with those of its columns that are used, all of them for None, and added ones."""
        columns = self.template.columns
        texts = [each for name, each in columns.items() if used is None or name in used]
        listed = ", ".join([*texts, *added]) or "true AS is_row"
        return _fill(f"{self.template.head}{listed}{self.template.tail}", self.names)


_COMPILED: dict[Hashable, _Compiled] = {}


def write_expression(key: Hashable, build: Callable[..., Any], *rows: "RowSource") -> Sql:
    """Write the expression that `build` makes of the rows' columns; `key` tells it from others."""
    (template,) = _compile_once(key, lambda *rows: (build(*(row.c for row in rows)),), rows).templates
    return _fill(template.head, _row_names(rows))


def write_selects(
    key: Hashable, build: Callable[..., Iterable[Select[Any]]], *rows: "RowSource", **names: str
) -> tuple[Selected, ...]:
    """Return the selects that `build` makes of the rows; `key` tells them from others.

    `names` holds what may differ for the same key: the `condition`, the `limit`, the name of the table of
    `referenced` collectives, and the `prefix` of parameters.
    """
    compiled = _compile_once(key, build, rows)
    filled = (*_row_names(rows), *((_STANDS_FOR[name], each) for name, each in names.items()))
    return tuple(Selected(template, filled) for template in compiled.templates)


def _row_names(rows: "Iterable[RowSource]") -> tuple[tuple[str, str], ...]:
    return tuple((stand_in, row.name) for stand_in, row in zip(ROWS, rows, strict=False))


def _fill(template: str, names: Iterable[tuple[str, str]]) -> Sql:
    for stand_in, name in names:
        template = template.replace(stand_in, name)
    return Sql(template)


def _compile_once(
    key: Hashable, build: Callable[..., Iterable[Any]], rows: "tuple[RowSource, ...]"
) -> _Compiled:
    """Return the compiled part from the cache; note the columns of the rows that it uses."""
    key = (key, *(row.form for row in rows))
    compiled = _COMPILED.get(key)
    if compiled is None or statement_cache.verify_cached:
        sources = [row.under_name(stand_in) for stand_in, row in zip(ROWS, rows, strict=False)]
        parts = [_compile(part) for part in build(*sources)]
        fresh = _Compiled(tuple(parts), tuple(frozenset(source.used) for source in sources))
        while len(_COMPILED) >= _MAX_TEMPLATES:
            del _COMPILED[next(iter(_COMPILED))]
        compiled = _COMPILED.setdefault(key, fresh)
        assert compiled == fresh, key
    for row, used in zip(rows, compiled.used, strict=True):
        row.used.update(used)
    return compiled


def _compile(part: Any) -> _Template:
    if not isinstance(part, Select):
        return _Template(str(part.compile(dialect=TEXT_DIALECT)), {}, "", {})
    columns = dict(_named_columns(part))
    mark = text(_COLUMN_MARK)
    marked = (each for column in columns.values() for each in (mark, column))
    whole = part.with_only_columns(*marked, mark)
    head, *texts, tail = str(whole.compile(dialect=TEXT_DIALECT)).split(_COLUMN_MARK)
    bare = (each.removeprefix(", ").removesuffix(", ") for each in texts)
    types = {name: column.type for name, column in columns.items()}
    return _Template(head, dict(zip(columns, bare, strict=True)), tail, types)


def _named_columns(selected: Select[Any]) -> Iterable[tuple[str, Any]]:
    """Yield the columns of a SELECT, each of a table's that is selected whole."""
    for described in selected.column_descriptions:
        expression = described["expr"]
        if described.get("entity") is expression:
            yield from ((name, getattr(expression, name)) for name in column_names(described["type"]))
        else:
            yield described["name"], expression
