"""Rows written as JSON by PostgreSQL: one statement for a list and all that is shown of it.

What may be seen is asked of the same predicates as everywhere. Ids are left to us: PostgreSQL writes the UUID
between marks, which no text can hold, for JSON escapes them there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache, reduce
from itertools import count, groupby
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    Numeric,
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
from models.iso4217 import CURRENCIES
from services import balances, ids, members, shown, visibility
from services.actors import Actor
from services.shown import Asked, Parts, Unwritten

_MARK = "\x01"
_REFUSED = "\x02"
"""Stands where null is not allowed."""
_BETWEEN = "\0"
"""Between rows; PostgreSQL has no text with it."""
_SEEN: dict[str, tuple[Any, Callable[..., ColumnElement[bool]]]] = {
    "collective": (Collective, visibility.of_collective),
    "order": (Order, visibility.of_order),
    "transaction": (Transaction, visibility.of_transaction),
}
_MOST = 2
_MOMENT = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
Piece = str | ColumnElement[Any]


class Written:
    """A row as it is answered, or rows behind each other as they stand in a list."""

    # No dataclass: the encoder is to ask what it is to write.
    __slots__ = ("cost", "place", "text")

    def __init__(self, text: str, cost: int, place: Any) -> None:
        """Hold the text, and how many objects stand in it besides itself.

        `place` says where it stands, if that was asked for: its id, and what it is sorted by.
        """
        self.text, self.cost, self.place = text, cost, place

    @property
    def id(self) -> UUID:
        """The row's id."""
        found: UUID = self.place.id
        return found

    def __getattr__(self, name: str) -> Any:
        """Return what the row is sorted by."""
        return getattr(self.place, name)


@dataclass(frozen=True)
class Writing:
    """How the rows are read of which all is shown that is asked for. `rows` calls it."""

    asked: Asked

    @property
    def table(self) -> Any:
        """Whose rows these are."""
        return self.asked.shown.table

    @property
    def name(self) -> tuple[Any, ...]:
        """What tells the statement from others."""
        keys = (value for value in self.asked.given.values() if isinstance(value, members.MembersKey))
        return (self.asked.shown, *keys)

    @property
    def values(self) -> dict[str, Any]:
        """The values of its parameters."""
        return {key: value for key, value in self.asked.given.items() if isinstance(value, str)}

    def statement(self, actor: Actor, inner: Select[Any], key: str, *, descending: bool) -> Select[Any]:
        """Return what writes the rows that `inner` finds, in the order of `key` and the id."""
        return _statement(actor, self.asked, inner, key=key, descending=descending)

    @property
    def is_whole(self) -> bool:
        """Whether a page is written as a whole, and nobody asks whether there is more."""
        return self.asked.shown.is_whole

    def rows(self, found: Sequence[Any]) -> list[Written]:
        """Return the rows that the statement found; those of a page that is written as a whole as one.

        Raises:
            Unwritten: a value that is never null would be.
        """
        # All at once: what is done for each row counts, of a list of a hundred.
        text = _BETWEEN.join([row.text for row in found if row.text is not None])
        if _REFUSED in text:
            raise Unwritten
        if _MARK in text:
            parts = text.split(_MARK)
            parts[1::2] = [_public_id(part) for part in parts[1::2]]
            text = "".join(parts)
        texts = text.split(_BETWEEN) if text else ()
        return [Written(text, row.cost, row) for text, row in zip(texts, found, strict=False)]


@lru_cache(maxsize=20_000)
def _public_id(marked: str) -> str:
    """Return the public id of what stands between marks: the same few things are shown again and again."""
    kind, _, row_id = marked.partition(" ")
    return ids.encode(kind, UUID(row_id))


def _statement(actor: Actor, asked: Asked, inner: Select[Any], *, key: str, descending: bool) -> Select[Any]:
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
        whole = func.string_agg(text, aggregate_order_by(_literal(","), *order), type_=Text)
        # The first of them is counted as that for which the whole stands.
        cost = cast(func.sum(writer.cost() + _number(1)) - _number(1), Integer)
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
        return sum(self.costs, start=_number(0))

    def object(self, parts: Parts, row: _Row) -> ColumnElement[str]:
        """Return the text of an object of a row that is there."""
        pieces: list[Piece] = ["{"]
        for i, (key, value) in enumerate(parts):
            pieces.append(f'{"," if i else ""}"{key}":')
            pieces += self.pieces(value, row)
        return _text([*pieces, "}"])

    def pieces(self, value: shown.Value, row: _Row, null: str = "null") -> list[Piece]:  # noqa: C901, PLR0911, PLR0912 - one way a kind
        """Return the text of a value, in pieces that are never NULL."""
        match value:
            case shown.Required(inner):
                return self.pieces(inner, row, _REFUSED)
            case shown.Constant(json):
                return [json]
            case shown.Plain(column):
                return _unless_null(['"', row[column], '"'], null, row.may_lack(column))
            case shown.Words(column):
                return _unless_null([cast(func.to_json(row[column]), Text)], null, row.may_lack(column))
            case shown.Number(column):
                return _unless_null([cast(row[column], Text)], null, row.may_lack(column))
            case shown.Moment(column):
                moment = func.to_char(
                    func.timezone(_literal("UTC"), row[column]), _literal(_MOMENT), type_=Text
                )
                return _unless_null(['"', moment, '"'], null, row.may_lack(column))
            case shown.PublicId(kind, column):
                pieces: list[Piece] = [f'"{_MARK}{kind} ', cast(row[column], Text), f'{_MARK}"']
                return _unless_null(pieces, null, row.may_lack(column))
            case shown.TypeName(names):
                if len(names) == 1:
                    return [f'"{names[0][1]}"']
                return [
                    '"',
                    case(*((row["type"] == _literal(kind), _literal(known)) for kind, known in names)),
                    '"',
                ]
            case shown.Amount():
                return self._amount(value, row, null)
            case shown.One(of, column, parts):
                if row.table is Member and column in self.known:
                    self.costs.append(_number(1))
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
                    pieces += ['"', value_of(minor, currency), '"']
                case "currency":
                    pieces += ['"', currency, '"']
                case "minor_units":
                    pieces += ['"', cast(minor, Text), '"']
                case "exponent":
                    pieces.append(cast(_by_places(currency, str), Text))
        pieces.append("}")
        if not (row.may_lack(value.minor) or row.may_lack(value.currency)):
            return pieces
        return [case((minor.is_(None) | currency.is_(None), _literal(null)), else_=_text(pieces))]

    def _one(
        self, table: Any, names: Callable[[Any], Any], may_see: Callable[..., Any], parts: Parts, null: str
    ) -> list[Piece]:
        other = aliased(table, name=f"t{next(self.numbers)}")
        self.joins.append((other, names(other) & may_see(self.actor, other)))
        self.costs.append(cast(other.id.is_not(None), Integer))
        text = self.object(parts, _Row(other, table))
        return [case((other.id.is_(None), _literal(null)), else_=text)]

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
        return [case((may_see, text), else_=_literal(null))]

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
            item = text if node is None else _text([f'{{"{node}":', text, "}"])
            order = (col(member.since), col(member.id))
            items = func.string_agg(item, aggregate_order_by(_literal(","), *order), type_=Text)
            columns.append(func.coalesce(items, _literal("")).label(f"l{i}"))
        cost = func.coalesce(func.sum(writer.cost() + _number(len(value.lists))), _number(0)) + _number(1)
        lists = writer.select(member, *columns, cast(cost, Integer).label("cost"))
        found = lists.lateral(f"t{next(self.numbers)}")
        self.joins.append((found, row["id"].is_not(None)))
        self.costs.append(func.coalesce(found.c.cost, _number(0)))
        pieces: list[Piece] = ["{"]
        for i, (name, _, _) in enumerate(value.lists):
            pieces += [f'{"," if i else ""}"{name}":[', found.c[f"l{i}"], "]"]
        return [*pieces, "}"]


def _name(of: Any) -> str:
    """Return the name of an alias: what is below refers to it without taking it among its own tables."""
    return str(inspect(of).selectable.name)


def _literal(value: str) -> ColumnElement[str]:
    """Return a text that is written into the statement: keys of answers are names, and our own words safe."""
    return literal_column("'" + value.replace("'", "''") + "'", Text)


def _number(value: int) -> ColumnElement[int]:
    return literal_column(str(value), Integer)


def _text(pieces: Sequence[Piece]) -> ColumnElement[str]:
    """Return the pieces behind each other, those that are fixed put together first."""
    whole: list[Any] = []
    for is_fixed, group in groupby(pieces, key=lambda piece: isinstance(piece, str)):
        some = list(group)
        whole += [_literal("".join(map(str, some)))] if is_fixed else some
    return reduce(lambda one, other: one.concat(other), whole)


def _unless_null(pieces: list[Piece], null: str, may_lack: bool) -> list[Piece]:
    return [func.coalesce(_text(pieces), _literal(null), type_=Text)] if may_lack else pieces


def value_of(minor: Any, currency: Any) -> ColumnElement[str]:
    """Return an amount in major units, with all decimal places of its currency."""
    unit = _by_places(currency, lambda places: str(Decimal(1).scaleb(-places)))
    return cast(cast(minor, Numeric) * unit, Text)


def _by_places(currency: Any, word: Callable[[int], str]) -> Any:
    """Return a number that hangs on how many decimal places a currency has; most have two."""
    others = sorted({places for places, *_ in CURRENCIES.values()} - {_MOST})
    codes = {p: sorted(code for code, facts in CURRENCIES.items() if facts[0] == p) for p in others}
    return case(
        *((currency.in_([_literal(code) for code in codes[p]]), literal_column(word(p))) for p in others),
        else_=literal_column(word(_MOST)),
    )  # fmt: skip
