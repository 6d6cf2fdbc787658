"""The SELECT that writes rows as JSON, with all that is shown of them.

What may be seen is asked of the same predicates as everywhere.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    func,
    inspect,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Member, Order, Transaction
from models.enums import CollectiveType
from services import balances, members, shown, sql_text, visibility
from services.actors import Actor
from services.shown import Asked, Parts
from services.sql_text import Piece

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
    shown_of = asked.shown
    found = inner.subquery("t")
    row = _Row(aliased(shown_of.table, found), shown_of.table)
    writer = _Writer(actor, asked)
    text = writer.object(shown_of.parts, row)
    places = [found.c[name] for name in dict.fromkeys((key, "id"))]
    order = [place.desc() if descending else place.asc() for place in places]
    if shown_of.is_whole:
        # One long text: hundreds of short ones come in many pieces, each of which wakes the reader up.
        whole = func.string_agg(text, aggregate_order_by(sql_text.literal(","), *order), type_=Text)
        # The first of them is counted as that for which the whole stands.
        cost = cast(func.sum(writer.cost() + sql_text.number(1)) - sql_text.number(1), Integer)
        return writer.select(row.of, whole.label("text"), cost.label("cost"))
    columns = [text.label("text"), writer.cost().label("cost"), *(places if shown_of.wants_places else ())]
    return writer.select(row.of, *columns).order_by(*order)


@dataclass(frozen=True)
class _Row:
    """An alias of a table, or a subquery whose columns are never null."""

    of: Any
    table: Any = None

    def __getitem__(self, name: str) -> Any:
        return self.of.c[name] if self.table is None else getattr(self.of, name)

    def may_lack(self, name: str) -> bool:
        return self.table is not None and bool(self.table.__table__.c[name].nullable)


@dataclass
class _Writer:
    """Puts one SELECT together: what it writes, and what it joins for that."""

    actor: Actor
    asked: Asked
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    known: dict[str, Any] = field(default_factory=dict)
    """Collectives that are there already, by the column of the row that names them."""
    joins: list[tuple[Any, Any]] = field(default_factory=list)
    costs: list[Any] = field(default_factory=list)

    def select(self, start: Any, *columns: Any) -> Select[Any]:
        """Return the columns of what is joined to the start."""
        found = select(*columns).select_from(start)
        for table, condition in self.joins:
            found = found.outerjoin(table, condition)
        return found

    def cost(self) -> Any:
        """Return how many objects were joined."""
        return sum(self.costs, start=sql_text.number(0))

    def object(self, parts: Parts, row: _Row) -> ColumnElement[str]:
        """Return the text of an object of a row that is there."""
        pieces: list[Piece] = ["{"]
        for i, (key, value) in enumerate(parts):
            pieces.append(f'{"," if i else ""}"{key}":')
            pieces += self.pieces(value, row)
        return sql_text.text([*pieces, "}"])

    def pieces(self, value: shown.Value, row: _Row, null: str = "null") -> list[Piece]:  # noqa: C901, PLR0911, PLR0912 - one way a kind
        """Return the text of a value, in pieces that are never NULL."""
        match value:
            case shown.Required(inner):
                return self.pieces(inner, row, REFUSED)
            case shown.Constant(json):
                return [json]
            case shown.Plain(column):
                return sql_text.unless_null(['"', row[column], '"'], null, row.may_lack(column))
            case shown.Words(column):
                return sql_text.unless_null(
                    [cast(func.to_json(row[column]), Text)], null, row.may_lack(column)
                )
            case shown.Number(column):
                return sql_text.unless_null([cast(row[column], Text)], null, row.may_lack(column))
            case shown.Moment(column):
                moment = func.to_char(
                    func.timezone(sql_text.literal("UTC"), row[column]), sql_text.literal(_MOMENT), type_=Text
                )
                return sql_text.unless_null(['"', moment, '"'], null, row.may_lack(column))
            case shown.PublicId(kind, column):
                pieces: list[Piece] = [f'"{MARK}{kind} ', cast(row[column], Text), f'{MARK}"']
                return sql_text.unless_null(pieces, null, row.may_lack(column))
            case shown.TypeName(names):
                if len(names) == 1:
                    return [f'"{names[0][1]}"']
                return [
                    '"',
                    case(
                        *(
                            (row["type"] == sql_text.literal(kind), sql_text.literal(known))
                            for kind, known in names
                        )
                    ),
                    '"',
                ]
            case shown.Amount():
                return self._amount(value, row, null)
            case shown.One(of, column, parts):
                if row.table is Member and column in self.known:
                    self.costs.append(sql_text.number(1))
                    return [self.object(parts, _Row(self.known[column], Collective))]
                table, may_see = _SEEN[of]
                return self._one(table, lambda other: other.id == row[column], may_see, parts, null)
            case shown.Host(parts):
                return self._host(parts, row, null)
            case shown.BalanceIn():
                return self._balance(value, row, null)
            case shown.Members():
                return self._members(value, row)

    def _amount(self, value: shown.Amount, row: _Row, null: str) -> list[Piece]:
        minor, currency = row[value.minor], row[value.currency]
        pieces: list[Piece] = ["{"]
        for i, (key, part) in enumerate(value.parts):
            pieces.append(f'{"," if i else ""}"{key}":')
            match part:
                case shown.Constant(json):
                    pieces.append(json)
                case "value":
                    pieces += ['"', sql_text.value_of(minor, currency), '"']
                case "currency":
                    pieces += ['"', currency, '"']
                case "minor_units":
                    pieces += ['"', cast(minor, Text), '"']
                case "exponent":
                    pieces.append(cast(sql_text.by_places(currency, str), Text))
        pieces.append("}")
        if not (row.may_lack(value.minor) or row.may_lack(value.currency)):
            return pieces
        return [
            case((minor.is_(None) | currency.is_(None), sql_text.literal(null)), else_=sql_text.text(pieces))
        ]

    def _one(
        self, table: Any, names: Callable[[Any], Any], may_see: Callable[..., Any], parts: Parts, null: str
    ) -> list[Piece]:
        other = aliased(table, name=f"t{next(self.numbers)}")
        self.joins.append((other, names(other) & may_see(self.actor, other)))
        self.costs.append(cast(other.id.is_not(None), Integer))
        text = self.object(parts, _Row(other, table))
        return [case((other.id.is_(None), sql_text.literal(null)), else_=text)]

    def _host(self, parts: Parts, row: _Row, null: str) -> list[Piece]:
        parent = aliased(Collective, name=f"t{next(self.numbers)}")
        is_event = row["type"] == CollectiveType.EVENT
        seen = visibility.of_collective(self.actor, parent)
        self.joins.append((parent, is_event & (parent.id == row["parent_id"]) & seen))
        host_id = case((is_event, parent.host_id), else_=row["host_id"])
        return self._one(Collective, lambda other: other.id == host_id, visibility.of_collective, parts, null)

    def _balance(self, value: shown.BalanceIn, row: _Row, null: str) -> list[Piece]:
        currency = bindparam(value.name, self.asked.given[value.name], type_=Text)
        owner = literal_column(f"{_name(row.of)}.id", Uuid)
        line = balances.sum_of(owner, currency).lateral(f"t{next(self.numbers)}")
        is_there = row["id"].is_not(None)
        self.joins.append((line, is_there))
        self.costs.append(cast(is_there, Integer))
        text = self.object(value.parts, _Row(line))
        may_see = visibility.of_balance(self.actor, row.of)
        return [case((may_see, text), else_=sql_text.literal(null))]

    def _members(self, value: shown.Members, row: _Row) -> list[Piece]:
        key: members.MembersKey = self.asked.given[value.name]
        owner = literal_column(f"{_name(row.of)}.id", Uuid)
        inner = members.first_of(self.actor, owner, key).subquery(f"t{next(self.numbers)}")
        member = aliased(Member, inner)
        other = "member_id" if key.of_members else "collective_id"
        writer = _Writer(self.actor, self.asked, self.numbers, {other: aliased(Collective, inner)})
        columns: list[Any] = []
        for i, (_, node, parts) in enumerate(value.lists):
            text = writer.object(parts, _Row(member, Member))
            item = text if node is None else sql_text.text([f'{{"{node}":', text, "}"])
            order = (col(member.since), col(member.id))
            items = func.string_agg(item, aggregate_order_by(sql_text.literal(","), *order), type_=Text)
            columns.append(func.coalesce(items, sql_text.literal("")).label(f"l{i}"))
        cost = func.coalesce(
            func.sum(writer.cost() + sql_text.number(len(value.lists))), sql_text.number(0)
        ) + sql_text.number(1)
        lists = writer.select(member, *columns, cast(cost, Integer).label("cost"))
        found = lists.lateral(f"t{next(self.numbers)}")
        self.joins.append((found, row["id"].is_not(None)))
        self.costs.append(func.coalesce(found.c.cost, sql_text.number(0)))
        pieces: list[Piece] = ["{"]
        for i, (name, _, _) in enumerate(value.lists):
            pieces += [f'{"," if i else ""}"{name}":[', found.c[f"l{i}"], "]"]
        return [*pieces, "}"]


def _name(of: Any) -> str:
    """Return the name of an alias: what is below refers to it without taking it among its own tables."""
    return str(inspect(of).selectable.name)
