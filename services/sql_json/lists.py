"""Lists of rows inside the statement: pages with their cursors and counts, and rows by themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select

from models import Collective
from services.collectives import members
from services.core import pagination
from services.sql_json import shape
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
from services.sql_json.sources import RowSource, Written, all_of, labelled, narrowed, union
from services.sql_json.templates import Selected, write_selects

if TYPE_CHECKING:
    from services.sql_json.builder import SelectBuilder

_ROW_NUMBER = "row_number"


def select_row(
    builder: "SelectBuilder", value: shape.Row, row: RowSource | None
) -> tuple[Selected, Any, shape.Variants]:
    """Select the row that another one has, or a query's root; return its table and what is written of it."""
    given = builder.bound.arguments[value.name]
    assert isinstance(given, ListArguments)
    (found,) = _select_rows(builder, given, row, value.owner, {"prefix": value.name})
    ((table, variants),) = (rest for option, *rest in value.options if option == given.option)
    return found, table, variants


def _select_rows(
    builder: "SelectBuilder",
    given: ListArguments,
    row: RowSource | None,
    owner: str | None,
    names: Mapping[str, str],
    *,
    limit: int | None = None,
) -> tuple[Selected, ...]:
    """Select the rows of a row, or of a query's root, up to the `limit` of a page; a list in its parts."""
    if limit is not None:
        names = {**names, "limit": str(limit)}

    def build(*rows: RowSource) -> list[Select[Any]]:
        of = None
        if rows:
            of = rows[0].c if owner is None else rows[0].id_expression(owner)
        has_condition = "condition" in names
        return given.select_rows(builder.actor, of, has_condition=has_condition, is_paged=limit is not None)

    key = (given.rows_key, builder.kind, owner, *names)
    return write_selects(key, build, *([] if row is None else [row]), **names)


def write_list(builder: "SelectBuilder", value: shape.List, row: RowSource | None) -> Written:
    """Write a list of a row, or of a query's root."""
    given = builder.bound.arguments[value.name]
    assert isinstance(given, ListArguments)
    exists = "true" if row is None else row.is_written
    referenced = builder.name()
    lost = _join_references(builder, given, value, referenced, exists)
    is_visible = ""
    if value.selects.is_visible is not None:
        is_visible = builder.test(value.selects.is_visible, row)
    names = {"prefix": value.name, "referenced": referenced}
    if is_visible or (row is not None and row.guard):
        names["condition"] = all_of("" if row is None else row.guard, is_visible)
    select = partial(_select_rows, builder, given, row, value.selects.owner, names)
    pieces, costs = _write_entries(builder, value, given, select, all_of(exists, is_visible))
    if lost:
        pieces = [sql_case(lost, NULL_VIOLATION, concatenate(pieces))]
    if is_visible:
        pieces = [sql_case(f"{is_visible} IS NOT TRUE", "null", concatenate(pieces))]
    if value.weight:
        is_counted = [*([] if row is None else [row.is_written]), *([is_visible] if is_visible else [])]
        costs.append(" * ".join([str(value.weight), *(f"({each} IS TRUE)::integer" for each in is_counted)]))
    return pieces, costs


def _join_references(
    builder: "SelectBuilder", given: ListArguments, value: shape.List, name: str, exists: str
) -> str:
    """Join the ids of the collectives that the conditions name; return the test if one is missing."""
    references = given.references(builder.actor, builder.kind, value.name)
    if not references:
        return ""
    ids = ", ".join(labelled(f"({found.write()})", field) for field, found in references.items())
    # The OFFSET keeps PostgreSQL from looking an id up wherever it is used.
    builder.joins.append((lambda: f"LATERAL (SELECT {ids} OFFSET 0) AS {name}", exists))
    return " OR ".join(f"{name}.{field} IS NULL" for field in references)


def _write_entries(
    builder: "SelectBuilder",
    value: shape.List,
    given: ListArguments,
    select: Callable[..., tuple[Selected, ...]],
    exists: str,
) -> Written:
    page = _Page(builder, value, given, select)
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
                rows = union(narrowed(part, value.table, set()) for part in select())
                counted = f"SELECT count(*) AS n, {weight} AS cost FROM ({rows}) AS counted"
                builder.joins.append((partial("LATERAL ({}) AS {}".format, counted, name), exists))
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
    select: Callable[..., tuple[Selected, ...]]

    def __post_init__(self) -> None:
        """Prepare the SELECT of the aggregates over the rows, which `join` completes."""
        self.name = self.builder.name()
        self.inner = self.builder.inner()
        self.columns: list[str] = []
        self.row_costs: list[str] = []
        name, used, sides = self.builder.name(), set[str](), {}
        page = self.given.page
        self.limit = None if page is None else page.size + self._needs_more
        self.parts = self.select(limit=self.limit)
        if (side := self.value.selects.side) is not None:
            sides[side] = RowSource(name, Collective, prefix=members.SIDE_PREFIX, used=used)
        self.source = RowSource(name, self.value.table, self.parts[0], sides=sides, used=used)
        self.has_id = self.given.page is not None or "id" in self.parts[0]
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

    def _write_rows(self) -> str:
        used = {*self.source.used, "sort_key"}
        rows = union(narrowed(part, self.value.table, used) for part in self.parts)
        order = "sort_key DESC, id DESC"
        if self.sort.descending == self._is_backward:
            order = "sort_key ASC, id ASC"
        if len(self.parts) > 1 and self.limit is not None:
            rows = f"SELECT * FROM ({rows}) AS part ORDER BY {order} LIMIT {self.limit}"
        if self._needs_more:
            rows = f"SELECT *, row_number() OVER (ORDER BY {order}) AS {_ROW_NUMBER} FROM ({rows}) AS page"
        return rows

    def _order(self, direction: str) -> str:
        second = f", {self.source.name}.id {direction}" if self.has_id else ""
        return f"{self.source.name}.sort_key {direction}{second}"

    def join(self, exists: str) -> None:
        """Join the aggregates to the statement."""
        if self.row_costs:
            cost = self._aggregate(f"sum({' + '.join(self.row_costs)})")
            self.columns.append(labelled(Sql(f"coalesce({cost}, 0)::integer"), "cost"))
        self.builder.joins.append((self._select_aggregates, exists))

    def _select_aggregates(self) -> str:
        rows = f"({self._write_rows()}) AS {self.source.name}"
        return f"LATERAL ({self.inner.select(rows, *self.columns)}) AS {self.name}"

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
