"""Rows under their names in the statement."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Uuid, literal_column

from services.round_trips.dialect import DIALECT
from services.sql_json.fragments import Piece, Sql
from services.sql_json.templates import Selected

Written = tuple[list[Piece], list[str]]
"""Pieces of a value that are never NULL, and what its objects cost."""


@dataclass(frozen=True)
class RowSource:
    """A table or subquery under its name in the statement."""

    name: str
    table: Any = None
    """The table of the rows; without it, no column is nullable."""
    selected: Selected | None = None
    """What selects the rows, if they are not those of a table."""
    prefix: str = ""
    """Prefix of its column names."""
    guard: str = ""
    """The condition under which the row is written here; always, if it is empty."""
    is_any_nullable: bool = False
    """True if any column can be NULL."""
    mark: str = "id"
    """A column that is NULL if there is no row. Without such a column there is one."""
    sides: Mapping[str, "RowSource"] = field(default_factory=dict)
    """Collectives that the row carries along, by the column that references them."""
    used: set[str] = field(default_factory=set)
    """The columns that the statement uses, with the prefix."""

    def __getitem__(self, name: str) -> Sql:
        column = f"{self.prefix}{name}"
        self.used.add(column)
        return Sql(f"{self.name}.{column}")

    def is_nullable(self, name: str) -> bool:
        """Return True if the column can be NULL."""
        if not is_mapped(self.table):
            return self.is_any_nullable or self.table is not None
        return bool(self.table.__table__.c[name].nullable)

    @property
    def c(self) -> Any:
        """The columns as expressions of their own, which name no table to select from."""
        return _Expressions(self)

    @property
    def form(self) -> Hashable:
        """What the columns are, whatever the row's name is."""
        if self.selected is None or is_mapped(self.table):
            return self.table, self.prefix
        return self.selected.template, self.prefix

    def under_name(self, name: str) -> "RowSource":
        """Return the same row by another name, none of whose columns is used yet."""
        return replace(self, name=name, used=set())

    def id_expression(self, name: str) -> Any:
        """Return a column that holds an id as an expression."""
        return literal_column(self[name], Uuid)

    @property
    def is_written(self) -> Sql:
        """The condition that there is a row, and that it is written here."""
        is_marked = self.mark != "id" or self.table is None or has_column(self.table, "id")
        exists = f"{self[self.mark]} IS NOT NULL" if is_marked else "TRUE"  # a row of a list is there
        return Sql(f"({exists} AND {self.guard})" if self.guard else exists)


class _Expressions:
    def __init__(self, row: RowSource) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        row = self._row
        if is_mapped(row.table):
            column_type = row.table.__table__.c[name].type
        else:
            assert row.selected is not None
            column_type = row.selected.template.types[name]
        return literal_column(row[name], column_type)

    __getitem__ = __getattr__


def narrowed(selected: Selected, table: Any, used: set[str], *added: str) -> Sql:
    """Write only the columns that are used, and added ones: planning takes as long as a statement is long.

    What is selected from no table may be sums, which are rows of another number without their columns.
    """
    return selected.write(used if is_mapped(table) else None, *added)


def union(parts: Iterable[str]) -> str:
    """Write the rows of all parts of a list."""
    first, *others = parts
    return " UNION ALL ".join(f"({part})" for part in (first, *others)) if others else first


def is_mapped(table: Any) -> bool:
    """Return True for a table, False for the dataclass of a subquery's rows."""
    return hasattr(table, "__table__")


def has_column(table: Any, name: str) -> bool:
    """Return True if rows of a table, or of a subquery that a dataclass describes, have the column."""
    return name in (table.__table__.c if is_mapped(table) else table.__dataclass_fields__)


def whole_table(table: Any, name: str) -> Sql:
    """Write a table under a name."""
    return Sql(f"{DIALECT.identifier_preparer.format_table(table.__table__)} AS {name}")


def labelled(expression: str, name: str) -> Sql:
    """Write an expression as a column."""
    return Sql(f"{expression} AS {name}")


def all_of(*conditions: str) -> Sql:
    """Write the condition that all of these are true; an empty one is."""
    return Sql(" AND ".join(each for each in conditions if each not in ("", "true")) or "true")


def total(costs: list[str]) -> Sql:
    """Return the sum of costs."""
    return Sql(f"({' + '.join(['0', *costs])})::integer")
