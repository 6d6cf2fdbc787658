"""Lists of rows inside the statement: pages with their cursors and counts, and rows by themselves."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, Uuid, func, literal_column, select, true

from models import Collective
from services.collectives import members
from services.core import pagination
from services.sql_json import arguments, shape
from services.sql_json.arguments import ListArguments
from services.sql_json.columns import format_timestamp, write_column
from services.sql_json.fragments import (
    CURSOR_MARK,
    ID_DELIMITER,
    NULL_VIOLATION,
    Piece,
    Sql,
    concatenate,
)
from services.sql_json.fragments import case as sql_case
from services.sql_json.sources import RowSource, Written, condition, labelled, narrowed

if TYPE_CHECKING:
    from services.sql_json.builder import SelectBuilder

_ROW_NUMBER = "row_number"


def select_row(
    builder: "SelectBuilder", value: shape.Row, row: RowSource | None
) -> tuple[Select[Any], Any, shape.Variants]:
    """Select the row that another one has, or a query's root; return its table and what is written of it."""
    given = builder.bound.arguments[value.name]
    assert isinstance(given, ListArguments)
    where, owner = given.conditions(value.name, ""), _owner(value.owner, row)
    (found,) = given.select(builder.actor, where=where, owner=owner)
    ((table, variants),) = (rest for option, *rest in value.options if option == given.option)
    return found, table, variants


def _owner(name: str | None, row: RowSource | None) -> Any:
    if row is None:
        return None
    return row.c if name is None else literal_column(row[name], Uuid)


def write_list(builder: "SelectBuilder", value: shape.List, row: RowSource | None) -> Written:
    """Write a list of a row, or of a query's root."""
    given = builder.bound.arguments[value.name]
    assert isinstance(given, ListArguments)
    exists = true() if row is None else condition(row.is_written)
    referenced = builder.name()
    lost = _join_references(builder, given, value, referenced, exists)
    parts = given.select(
        builder.actor,
        where=given.conditions(value.name, referenced),
        owner=_owner(value.selects.owner, row),
    )
    if row is not None and row.guard is not None:
        parts = tuple(part.where(condition(row.guard)) for part in parts)
    is_visible = Sql("")
    if value.selects.is_visible is not None:
        is_visible = builder.test(value.selects.is_visible, row)
        exists &= condition(is_visible)
        parts = tuple(part.where(condition(is_visible)) for part in parts)
    pieces, costs = _write_entries(builder, value, given, parts, exists)
    if lost:
        pieces = [sql_case(lost, NULL_VIOLATION, concatenate(pieces))]
    if is_visible:
        pieces = [sql_case(f"{is_visible} IS NOT TRUE", "null", concatenate(pieces))]
    if value.weight:
        is_counted = [*([] if row is None else [row.is_written]), *([is_visible] if is_visible else [])]
        costs.append(" * ".join([str(value.weight), *(f"({each} IS TRUE)::integer" for each in is_counted)]))
    return pieces, costs


def _join_references(
    builder: "SelectBuilder", given: ListArguments, value: shape.List, name: str, exists: Any
) -> Sql:
    """Join the ids of the collectives that the conditions name; return the test if one is missing."""
    references = given.references(builder.actor, value.name)
    if not references:
        return Sql("")
    ids = (found.scalar_subquery().label(field) for field, found in references.items())
    # The OFFSET keeps PostgreSQL from looking an id up wherever it is used.
    builder.joins.append((partial(select(*ids).offset(literal_column("0")).lateral, name), exists))
    return Sql(" OR ".join(f"{name}.{field} IS NULL" for field in references))


def _write_entries(
    builder: "SelectBuilder",
    value: shape.List,
    given: ListArguments,
    parts: tuple[Select[Any], ...],
    exists: Any,
) -> Written:
    page = _Page(builder, value, given, parts)
    if isinstance(value.entries, shape.Nodes):
        pieces = page.rows(value.entries)
        page.join(exists)
        return pieces, page.costs
    pieces = ["{"]
    costs: list[str] = []
    for i, (key, entry) in enumerate(value.entries):
        pieces.append(f'{"," if i else ""}"{key}":')
        match entry:
            case shape.Constant(json):
                pieces.append(json)
            case shape.TotalCount(weight):
                name = builder.name()
                plain = tuple(narrowed(part, value.table, set()) for part in parts)
                whole = arguments.whole_list(plain).order_by(None).subquery()
                counted: Any = select(func.count().label("n"), literal_column(str(weight)).label("cost"))
                builder.joins.append((partial(counted.select_from(whole).lateral, name), exists))
                pieces.append(Sql(f"{name}.n::text"))
                costs.append(f"coalesce({name}.cost, 0)")
            case shape.PageInfo():
                pieces += page.info(entry)
            case _:
                pieces += page.rows(entry)
    if page.columns:
        page.join(exists)
        costs += page.costs
    return [*pieces, "}"], costs


@dataclass
class _Page:
    """The rows of one page, or of a whole list, read once for all entries that show them."""

    builder: "SelectBuilder"
    value: shape.List
    given: ListArguments
    parts: tuple[Select[Any], ...]

    def __post_init__(self) -> None:
        """Prepare the SELECT of the aggregates over the rows, which `join` completes."""
        self.name = self.builder.name()
        self.inner = self.builder.inner()
        self.columns: list[Any] = []
        self.row_costs: list[str] = []
        name, used, sides = self.builder.name(), set[str](), {}
        if (side := self.value.selects.side) is not None:
            sides[side] = RowSource(name, Collective, prefix=members.SIDE_PREFIX, used=used)
        self.source = RowSource(name, self.value.table, self.parts[0], sides=sides, used=used)
        self.has_id = self.given.page is not None or "id" in self.parts[0].selected_columns
        if self.has_id:
            used.add("id")
        self.order = self._order("DESC" if self.sort.descending else "ASC")

    @property
    def sort(self) -> pagination.Sort:
        """The order of the list."""
        assert self.given.sort is not None
        return self.given.sort

    @property
    def costs(self) -> list[str]:
        """The cost of the rows."""
        return [f"coalesce({self.name}.cost, 0)"] if self.row_costs else []

    @property
    def _is_backward(self) -> bool:
        return self.given.page is not None and self.given.page.is_backward

    @property
    def _more_part(self) -> shape.PagePart:
        """The part of a position that one more row tells; the other follows from the cursor."""
        return "hasPreviousPage" if self._is_backward else "hasNextPage"

    @property
    def _needs_more(self) -> bool:
        entries = self.value.entries
        return not isinstance(entries, shape.Nodes) and any(
            isinstance(entry, shape.PageInfo) and self._more_part in [part for _, part in entry.parts]
            for _, entry in entries
        )

    def _select_rows(self) -> Any:
        parts = tuple(narrowed(part, self.value.table, self.source.used) for part in self.parts)
        rows: Any = self.given.page_statement(parts, self.value.name, int(self._needs_more))
        if not self._needs_more:
            return rows.subquery(self.source.name)
        table = rows.subquery(self.builder.name())
        order = [table.c.sort_key, table.c.id]
        is_descending = self.sort.descending != self._is_backward
        number = func.row_number().over(order_by=[c.desc() if is_descending else c.asc() for c in order])
        return select(*table.c, number.label(_ROW_NUMBER)).subquery(self.source.name)

    def _order(self, direction: str) -> str:
        second = f", {self.source.name}.id {direction}" if self.has_id else ""
        return f"{self.source.name}.sort_key {direction}{second}"

    def join(self, exists: Any) -> None:
        """Join the aggregates to the statement."""
        if self.row_costs:
            cost = self._aggregate(f"sum({' + '.join(self.row_costs)})")
            self.columns.append(labelled(Sql(f"coalesce({cost}, 0)::integer"), "cost"))
        self.builder.joins.append((self._select_aggregates, exists))

    def _select_aggregates(self) -> Any:
        return self.inner.select(self._select_rows(), *self.columns).lateral(self.name)

    def _aggregate(self, call: str) -> Sql:
        """Aggregate the page's rows, without one that only tells that there are more."""
        if not self._needs_more:
            return Sql(call)
        assert self.given.page is not None
        return Sql(f"{call} FILTER (WHERE {self.source.name}.{_ROW_NUMBER} <= {self.given.page.size})")

    def _add(self, expression: Sql) -> Sql:
        """Add a column; return its name in the statement outside."""
        name = f"l{len(self.columns)}"
        self.columns.append(labelled(expression, name))
        return Sql(f"{self.name}.{name}")

    def rows(self, entry: shape.Nodes | shape.Edges) -> list[Piece]:
        """Write the rows, or their edges, as a list."""
        item = self._node(entry) if isinstance(entry, shape.Nodes) else self._edge(entry)
        items = self._aggregate(f"string_agg({item}, ',' ORDER BY {self.order})")
        return ["[", self._add(Sql(f"coalesce({items}, '')")), "]"]

    def _node(self, nodes: shape.Nodes) -> Sql:
        if isinstance(nodes.variants, shape.Amount):
            return concatenate(write_column(nodes.variants, self.source, "null"))
        json, costs = self.inner.object(nodes.variants, self.source)
        self.row_costs += [*costs, str(nodes.weight)]
        return json

    def _edge(self, edges: shape.Edges) -> Sql:
        pieces: list[Piece] = ["{"]
        for i, (key, part) in enumerate(edges.parts):
            pieces.append(f'{"," if i else ""}"{key}":')
            match part:
                case shape.Constant(json):
                    pieces.append(json)
                case shape.Nodes():
                    pieces.append(Sql(f"({self._node(part)})"))
                case _:
                    pieces.append(self._cursor())
        return concatenate([*pieces, "}"])

    def _cursor(self) -> Sql:
        """Write what a cursor is made of: the sort, the row's id and its sort value: texts as JSON."""
        key = Sql(f"{self.source.name}.sort_key")
        is_timestamp = self.sort.parse == datetime.fromisoformat
        value: list[Piece] = [format_timestamp(key) if is_timestamp else Sql(f"to_json({key})::text")]
        start = f'"{ID_DELIMITER}{CURSOR_MARK}{self.sort.name} '
        return concatenate([start, Sql(f"{self.source.name}.id::text"), " ", *value, f'{ID_DELIMITER}"'])

    def info(self, entry: shape.PageInfo) -> list[Piece]:
        """Write the position of the page."""
        assert self.given.page is not None
        pieces: list[Piece] = ["{"]
        for i, (key, part) in enumerate(entry.parts):
            pieces.append(f'{"," if i else ""}"{key}":')
            match part:
                case shape.Constant(json):
                    pieces.append(json)
                case "hasPreviousPage" | "hasNextPage" if part == self._more_part:
                    is_more = f"(CASE WHEN count(*) > {self.given.page.size} THEN 'true' ELSE 'false' END)"
                    pieces.append(self._add(Sql(is_more)))
                case "hasPreviousPage" | "hasNextPage":
                    pieces.append("false" if self.given.page.cursor is None else "true")
                case _:
                    is_start = part == "startCursor"
                    order = self._order("DESC" if self.sort.descending is is_start else "ASC")
                    every = self._aggregate(f"array_agg({self._cursor()} ORDER BY {order})")
                    pieces.append(self._add(Sql(f"coalesce(({every})[1], 'null')")))
        return [*pieces, "}"]
