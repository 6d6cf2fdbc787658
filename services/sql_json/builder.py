"""The SELECT that writes rows as JSON, with all of their selected fields.

Visibility uses the same predicates as every other read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, Uuid, bindparam, case, literal_column, select

from models import Collective, Member, Order, Transaction
from models.enums import CollectiveType
from services.access import visibility
from services.access.actor import Actor
from services.collectives import members
from services.ledger import balances
from services.sql_json import shape
from services.sql_json.fragments import (
    Piece,
    Sql,
    concatenate,
    literal,
    major_units,
    map_exponent,
    replace_null,
)
from services.sql_json.fragments import case as sql_case
from services.sql_json.shape import BoundShape, Parts

ID_DELIMITER = "\x01"
"""Encloses an id, as type and UUID. No text contains it, because JSON escapes it."""
NULL_VIOLATION = "\x02"
"""Marks a NULL in a non-null field; the query then falls back to graphql-core."""
VISIBLE_BY: dict[str, tuple[Any, Callable[..., ColumnElement[bool]]]] = {
    "collective": (Collective, visibility.collective_is_visible),
    "order": (Order, visibility.order_is_visible),
    "transaction": (Transaction, visibility.transaction_is_visible),
}
_TIMESTAMP_FORMAT = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'


def json_statement(
    actor: Actor, bound: BoundShape, inner: Select[Any], *, key: str, descending: bool
) -> Select[Any]:
    """Build the statement that writes the rows of `inner` as JSON. Order: `key`, then id."""
    row_shape = bound.shape
    source = inner.subquery("t")
    builder = _SelectBuilder(actor, bound)
    row_json = builder.object(row_shape.parts, _RowSource("t", source.c, row_shape.table))
    sort_columns = [source.c[name] for name in dict.fromkeys((key, "id"))]
    if row_shape.as_one_text:
        # One long text: hundreds of short ones arrive in many packets, each of which wakes the client.
        direction = "DESC" if descending else "ASC"
        order = ", ".join(f"t.{column.name} {direction}" for column in sort_columns)
        items = Sql(f"string_agg({row_json}, ',' ORDER BY {order})")
        # Minus one, because the caller counts the resulting row itself.
        cost = Sql(f"(sum({builder.cost()} + 1) - 1)::integer")
        return builder.select(source, _labelled(items, "text"), _labelled(cost, "cost"))
    columns = [_labelled(row_json, "text"), _labelled(builder.cost(), "cost")]
    return builder.select(source, *columns, *(sort_columns if row_shape.needs_cursors else ())).order_by(
        *(column.desc() if descending else column.asc() for column in sort_columns)
    )


@dataclass(frozen=True)
class _RowSource:
    """A table or subquery under its name in the statement."""

    name: str
    c: Any
    """Columns."""
    table: Any = None
    """The table of the rows; without it, no column is nullable."""
    prefix: str = ""
    """Prefix of its column names."""

    def __getitem__(self, name: str) -> Sql:
        return Sql(f"{self.name}.{self.prefix}{name}")

    def is_nullable(self, name: str) -> bool:
        """Return True if the column can be NULL."""
        return self.table is not None and bool(self.table.__table__.c[name].nullable)


@dataclass
class _SelectBuilder:
    """Builds one SELECT: the JSON it writes, and the joins that this needs."""

    actor: Actor
    bound: BoundShape
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    joined: dict[str, _RowSource] = field(default_factory=dict)
    """Collectives already joined, by the column of a member row that references them."""
    joins: list[tuple[Any, Any]] = field(default_factory=list)
    costs: list[str] = field(default_factory=list)

    def select(self, start: Any, *columns: Any) -> Select[Any]:
        """Select the columns from `start` and all joins."""
        statement = select(*columns).select_from(start)
        for table, condition in self.joins:
            statement = statement.outerjoin(table, condition)
        return statement

    def cost(self) -> Sql:
        """Return an expression for the number of joined objects."""
        return Sql(" + ".join(["0", *self.costs]))

    def name(self) -> str:
        """Return a fresh table name."""
        return f"t{next(self.numbers)}"

    def object(self, parts: Parts, row: _RowSource) -> Sql:
        """Write an object, such as `'{"slug":"' || t.slug || '"}'`, for an existing row."""
        pieces: list[Piece] = ["{"]
        for i, (key, value) in enumerate(parts):
            pieces += [f'{"," if i else ""}"{key}":', *self.pieces(value, row)]
        return concatenate([*pieces, "}"])

    def pieces(self, value: shape.Value, row: _RowSource, null: str = "null") -> list[Piece]:  # noqa: PLR0911 - one for each kind of value
        """Write a value in pieces that are never NULL."""
        match value:
            case shape.NonNull(inner):
                return self.pieces(inner, row, NULL_VIOLATION)
            case shape.Constant(json):
                return [json]
            case shape.TypeName(names):
                return _type_name_pieces(names, row)
            case shape.Amount():
                return _amount_pieces(value, row, null)
            case shape.ToOne(of, column, parts):
                return self._one(of, column, parts, row, null)
            case shape.Host(parts):
                return self._host(parts, row, null)
            case shape.BalanceField():
                return self._balance(value, row, null)
            case shape.Members():
                return self._members(value, row)
        return replace_null(_column_pieces(value, row[value.column]), null, row.is_nullable(value.column))

    def _one(self, of: str, column: str, parts: Parts, row: _RowSource, null: str) -> list[Piece]:
        if row.table is Member and (joined := self.joined.get(column)) is not None:
            self.costs.append("1")
            return [self.object(parts, joined)]
        table, is_visible = VISIBLE_BY[of]
        return self._join_row(table, row.c[column], is_visible, parts, null)

    def _join_row(
        self, table: Any, row_id: Any, is_visible: Callable[..., Any], parts: Parts, null: str
    ) -> list[Piece]:
        """Join a row by its id, if the viewer may see it, and write it or `null`."""
        other = table.__table__.alias(self.name())
        self.joins.append((other, (other.c.id == row_id) & is_visible(self.actor, other.c)))
        self.costs.append(f"({other.name}.id IS NOT NULL)::integer")
        row_json = self.object(parts, _RowSource(other.name, other.c, table))
        return [sql_case(f"{other.name}.id IS NULL", null, row_json)]

    def _host(self, parts: Parts, row: _RowSource, null: str) -> list[Piece]:
        parent = Collective.__table__.alias(self.name())  # type: ignore[attr-defined]  # added by SQLModel
        is_event = row.c.type == CollectiveType.EVENT
        is_visible = visibility.collective_is_visible(self.actor, parent.c)
        self.joins.append((parent, is_event & (parent.c.id == row.c.parent_id) & is_visible))
        host_id = case((is_event, parent.c.host_id), else_=row.c.host_id)
        return self._join_row(Collective, host_id, visibility.collective_is_visible, parts, null)

    def _balance(self, value: shape.BalanceField, row: _RowSource, null: str) -> list[Piece]:
        currency = bindparam(value.name, self.bound.arguments[value.name], type_=Text)
        line = balances.balance_query(literal_column(row["id"], Uuid), currency).lateral(self.name())
        exists = row.c.id.is_not(None)
        self.joins.append((line, exists & visibility.balance_is_visible(self.actor, row.c)))
        self.costs.append(f"({line.name}.currency IS NOT NULL)::integer")
        balance_json = self.object(value.parts, _RowSource(line.name, line.c))
        return [sql_case(f"{line.name}.currency IS NULL", null, balance_json)]

    def _members(self, value: shape.Members, row: _RowSource) -> list[Piece]:
        key: members.MembersKey = self.bound.arguments[value.name]
        inner = members.query_first_page(self.actor, literal_column(row["id"], Uuid), key).subquery(
            self.name()
        )
        member = _RowSource(inner.name, inner.c, Member)
        other = "member_id" if key.of_members else "collective_id"
        side = _RowSource(inner.name, _UnprefixedColumns(inner.c), Collective, members.SIDE_PREFIX)
        builder = _SelectBuilder(self.actor, self.bound, self.numbers, {other: side})
        columns: list[Any] = []
        for i, (_, node, parts) in enumerate(value.lists):
            item = builder.object(parts, member)
            if node is not None:
                item = concatenate([f'{{"{node}":', Sql(f"({item})"), "}"])
            items = f"string_agg({item}, ',' ORDER BY {member['since']}, {member['id']})"
            columns.append(_labelled(Sql(f"coalesce({items}, '')"), f"l{i}"))
        rows_cost = f"coalesce(sum({builder.cost()} + {len(value.lists)}), 0)"
        columns.append(_labelled(Sql(f"({rows_cost} + 1)::integer"), "cost"))
        lists = builder.select(inner, *columns).lateral(self.name())
        self.joins.append((lists, row.c.id.is_not(None)))
        self.costs.append(f"coalesce({lists.name}.cost, 0)")
        pieces: list[Piece] = ["{"]
        for i, (name, _, _) in enumerate(value.lists):
            pieces += [f'{"," if i else ""}"{name}":[', Sql(f"{lists.name}.l{i}"), "]"]
        return [*pieces, "}"]


class _UnprefixedColumns:
    """Columns by their names without the prefix."""

    def __init__(self, columns: Any) -> None:
        self._columns = columns

    def __getattr__(self, name: str) -> Any:
        return self._columns[members.SIDE_PREFIX + name]

    __getitem__ = __getattr__


def _labelled(expression: Sql, name: str) -> Any:
    return literal_column(expression).label(name)


def _column_pieces(value: shape.Column | shape.PublicId, column: Sql) -> list[Piece]:
    """Write the value of a column that is not NULL."""
    match value:
        case shape.PublicId(type_name):
            return [f'"{ID_DELIMITER}{type_name} ', Sql(f"{column}::text"), f'{ID_DELIMITER}"']
        case shape.Column("bare_text"):
            return ['"', column, '"']
        case shape.Column("text"):
            return [Sql(f"to_json({column})::text")]
        case shape.Column("timestamp"):
            return ['"', Sql(f"to_char(timezone('UTC', {column}), {literal(_TIMESTAMP_FORMAT)})"), '"']
    return [Sql(f"{column}::text")]


def _type_name_pieces(names: tuple[tuple[str, str], ...], row: _RowSource) -> list[Piece]:
    cases = " ".join(f"WHEN {row['type']} = {literal(value)} THEN {literal(name)}" for value, name in names)
    return ['"', Sql(f"CASE {cases} END"), '"']


def _amount_pieces(value: shape.Amount, row: _RowSource, null: str) -> list[Piece]:
    amount_minor, currency = row[value.minor_column], row[value.currency_column]
    pieces: list[Piece] = ["{"]
    for i, (key, part) in enumerate(value.parts):
        pieces.append(f'{"," if i else ""}"{key}":')
        match part:
            case shape.Constant(json):
                pieces.append(json)
            case "value":
                pieces += ['"', major_units(amount_minor, currency), '"']
            case "currency":
                pieces += ['"', currency, '"']
            case "minor_units":
                pieces += ['"', Sql(f"{amount_minor}::text"), '"']
            case "exponent":
                pieces.append(Sql(f"{map_exponent(currency, str)}::text"))
    pieces.append("}")
    if not (row.is_nullable(value.minor_column) or row.is_nullable(value.currency_column)):
        return pieces
    return [sql_case(f"{amount_minor} IS NULL OR {currency} IS NULL", null, concatenate(pieces))]
