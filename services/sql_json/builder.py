"""The SELECT that writes rows as JSON, with all that is shown of them.

What may be seen is asked of the same predicates as everywhere.
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
from services.sql_json.fragments import Piece, Sql, by_places, literal, text, unless_null, value_of
from services.sql_json.fragments import case as sql_case
from services.sql_json.shape import Asked, Parts

MARK = "\x01"
"""Before and after an id: its kind, and the UUID. No text holds it, for JSON escapes it there."""
REFUSED = "\x02"
"""Stands where null is not allowed."""
_SEEN: dict[str, tuple[Any, Callable[..., ColumnElement[bool]]]] = {
    "collective": (Collective, visibility.of_collective),
    "order": (Order, visibility.of_order),
    "transaction": (Transaction, visibility.of_transaction),
}
_MOMENT = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'


def statement(actor: Actor, asked: Asked, inner: Select[Any], *, key: str, descending: bool) -> Select[Any]:
    """Return the statement that writes the rows that `inner` finds, in the order of `key` and the id."""
    found = inner.subquery("t")
    writer = _Writer(actor, asked)
    whole = writer.object(asked.shown.parts, _Row("t", found.c, asked.shown.table))
    places = [found.c[name] for name in dict.fromkeys((key, "id"))]
    if asked.shown.is_whole:
        # One long text: hundreds of short ones come in many pieces, each of which wakes the reader up.
        order = ", ".join(f"t.{place.name} {'DESC' if descending else 'ASC'}" for place in places)
        items = Sql(f"string_agg({whole}, ',' ORDER BY {order})")
        # The first of them is counted as that for which the whole stands.
        cost = Sql(f"(sum({writer.cost()} + 1) - 1)::integer")
        return writer.select(found, _column(items, "text"), _column(cost, "cost"))
    columns = [_column(whole, "text"), _column(writer.cost(), "cost")]
    return writer.select(found, *columns, *(places if asked.shown.wants_places else ())).order_by(
        *(place.desc() if descending else place.asc() for place in places)
    )


@dataclass(frozen=True)
class _Row:
    """A table by the name that it has in the statement."""

    name: str
    c: Any
    """Its columns."""
    table: Any = None
    """Whose rows these are; without it, no column is ever null."""
    prefix: str = ""
    """Before the names of its columns."""

    def __getitem__(self, name: str) -> Sql:
        return Sql(f"{self.name}.{self.prefix}{name}")

    def may_lack(self, name: str) -> bool:
        return self.table is not None and bool(self.table.__table__.c[name].nullable)


@dataclass
class _Writer:
    """Puts one SELECT together: what it writes, and what it joins for that."""

    actor: Actor
    asked: Asked
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    known: dict[str, _Row] = field(default_factory=dict)
    """Collectives that are there already, by the column of a member row that names them."""
    joins: list[tuple[Any, Any]] = field(default_factory=list)
    costs: list[str] = field(default_factory=list)

    def select(self, start: Any, *columns: Any) -> Select[Any]:
        """Return the columns of what is joined to the start."""
        found = select(*columns).select_from(start)
        for table, condition in self.joins:
            found = found.outerjoin(table, condition)
        return found

    def cost(self) -> Sql:
        """Return how many objects were joined."""
        return Sql(" + ".join(["0", *self.costs]))

    def name(self) -> str:
        """Return a name for another table."""
        return f"t{next(self.numbers)}"

    def object(self, parts: Parts, row: _Row) -> Sql:
        """Return the text of an object of a row that is there."""
        pieces: list[Piece] = ["{"]
        for i, (key, value) in enumerate(parts):
            pieces += [f'{"," if i else ""}"{key}":', *self.pieces(value, row)]
        return text([*pieces, "}"])

    def pieces(self, value: shape.Value, row: _Row, null: str = "null") -> list[Piece]:  # noqa: PLR0911 - one a kind
        """Return the text of a value, in pieces that are never NULL."""
        match value:
            case shape.Required(inner):
                return self.pieces(inner, row, REFUSED)
            case shape.Constant(json):
                return [json]
            case shape.TypeName(names):
                return _type_name(names, row)
            case shape.Amount():
                return _amount(value, row, null)
            case shape.One(of, column, parts):
                return self._one(of, column, parts, row, null)
            case shape.Host(parts):
                return self._host(parts, row, null)
            case shape.BalanceIn():
                return self._balance(value, row, null)
            case shape.Members():
                return self._members(value, row)
        return unless_null(_of_column(value, row[value.column]), null, row.may_lack(value.column))

    def _one(self, of: str, column: str, parts: Parts, row: _Row, null: str) -> list[Piece]:
        if row.table is Member and (known := self.known.get(column)) is not None:
            self.costs.append("1")
            return [self.object(parts, known)]
        table, may_see = _SEEN[of]
        return self._joined(table, row.c[column], may_see, parts, null)

    def _joined(
        self, table: Any, row_id: Any, may_see: Callable[..., Any], parts: Parts, null: str
    ) -> list[Piece]:
        other = table.__table__.alias(self.name())
        self.joins.append((other, (other.c.id == row_id) & may_see(self.actor, other.c)))
        self.costs.append(f"({other.name}.id IS NOT NULL)::integer")
        whole = self.object(parts, _Row(other.name, other.c, table))
        return [sql_case(f"{other.name}.id IS NULL", null, whole)]

    def _host(self, parts: Parts, row: _Row, null: str) -> list[Piece]:
        parent = Collective.__table__.alias(self.name())  # type: ignore[attr-defined]  # SQLModel puts it there
        is_event = row.c.type == CollectiveType.EVENT
        seen = visibility.of_collective(self.actor, parent.c)
        self.joins.append((parent, is_event & (parent.c.id == row.c.parent_id) & seen))
        host_id = case((is_event, parent.c.host_id), else_=row.c.host_id)
        return self._joined(Collective, host_id, visibility.of_collective, parts, null)

    def _balance(self, value: shape.BalanceIn, row: _Row, null: str) -> list[Piece]:
        currency = bindparam(value.name, self.asked.given[value.name], type_=Text)
        line = balances.sum_of(literal_column(row["id"], Uuid), currency).lateral(self.name())
        is_there = row.c.id.is_not(None)
        self.joins.append((line, is_there & visibility.of_balance(self.actor, row.c)))
        self.costs.append(f"({row['id']} IS NOT NULL)::integer")
        whole = self.object(value.parts, _Row(line.name, line.c))
        return [sql_case(f"{line.name}.currency IS NULL", null, whole)]

    def _members(self, value: shape.Members, row: _Row) -> list[Piece]:
        key: members.MembersKey = self.asked.given[value.name]
        inner = members.first_of(self.actor, literal_column(row["id"], Uuid), key).subquery(self.name())
        member = _Row(inner.name, inner.c, Member)
        other = "member_id" if key.of_members else "collective_id"
        side = _Row(inner.name, _Prefixed(inner.c), Collective, members.SIDE)
        writer = _Writer(self.actor, self.asked, self.numbers, {other: side})
        columns: list[Any] = []
        for i, (_, node, parts) in enumerate(value.lists):
            item = writer.object(parts, member)
            if node is not None:
                item = text([f'{{"{node}":', Sql(f"({item})"), "}"])
            items = f"string_agg({item}, ',' ORDER BY {member['since']}, {member['id']})"
            columns.append(_column(Sql(f"coalesce({items}, '')"), f"l{i}"))
        rows_cost = f"coalesce(sum({writer.cost()} + {len(value.lists)}), 0)"
        columns.append(_column(Sql(f"({rows_cost} + 1)::integer"), "cost"))
        found = writer.select(inner, *columns).lateral(self.name())
        self.joins.append((found, row.c.id.is_not(None)))
        self.costs.append(f"coalesce({found.name}.cost, 0)")
        pieces: list[Piece] = ["{"]
        for i, (name, _, _) in enumerate(value.lists):
            pieces += [f'{"," if i else ""}"{name}":[', Sql(f"{found.name}.l{i}"), "]"]
        return [*pieces, "}"]


class _Prefixed:
    """Columns by their names without a prefix."""

    def __init__(self, columns: Any) -> None:
        self._columns = columns

    def __getattr__(self, name: str) -> Any:
        return self._columns[members.SIDE + name]

    __getitem__ = __getattr__


def _column(of: Sql, name: str) -> Any:
    return literal_column(of).label(name)


def _of_column(value: shape.Column | shape.PublicId, column: Sql) -> list[Piece]:
    """Return the text of a column that is not NULL."""
    match value:
        case shape.PublicId(kind):
            return [f'"{MARK}{kind} ', Sql(f"{column}::text"), f'{MARK}"']
        case shape.Column("code"):
            return ['"', column, '"']
        case shape.Column("words"):
            return [Sql(f"to_json({column})::text")]
        case shape.Column("moment"):
            return ['"', Sql(f"to_char(timezone('UTC', {column}), {literal(_MOMENT)})"), '"']
    return [Sql(f"{column}::text")]


def _type_name(names: tuple[tuple[str, str], ...], row: _Row) -> list[Piece]:
    cases = " ".join(f"WHEN {row['type']} = {literal(kind)} THEN {literal(known)}" for kind, known in names)
    return ['"', Sql(f"CASE {cases} END"), '"']


def _amount(value: shape.Amount, row: _Row, null: str) -> list[Piece]:
    minor, currency = row[value.minor], row[value.currency]
    pieces: list[Piece] = ["{"]
    for i, (key, part) in enumerate(value.parts):
        pieces.append(f'{"," if i else ""}"{key}":')
        match part:
            case shape.Constant(json):
                pieces.append(json)
            case "value":
                pieces += ['"', value_of(minor, currency), '"']
            case "currency":
                pieces += ['"', currency, '"']
            case "minor_units":
                pieces += ['"', Sql(f"{minor}::text"), '"']
            case "exponent":
                pieces.append(Sql(f"{by_places(currency, str)}::text"))
    pieces.append("}")
    if not (row.may_lack(value.minor) or row.may_lack(value.currency)):
        return pieces
    return [sql_case(f"{minor} IS NULL OR {currency} IS NULL", null, text(pieces))]
