"""The statement that writes the answer to a query as JSON, one row for each field at its root.

Visibility uses the same predicates as every other read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any, ClassVar

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    literal_column,
    select,
    true,
    union_all,
)

from models import (
    Collective,
    Instrument,
    Offer,
    Order,
    PaymentMethod,
    PayoutMethod,
    PlatformPolicy,
    RecurringGift,
    Tier,
    Transaction,
)
from models.enums import CollectiveType
from services.access import visibility
from services.access.actor import Actor
from services.access.viewer_terms import select_version_seen
from services.ledger import balances
from services.live import event_log
from services.sql_json import columns, lists, nodes, shape
from services.sql_json.arguments import BalanceArguments
from services.sql_json.columns import type_condition
from services.sql_json.fragments import NULL_VIOLATION, Piece, Sql, concatenate, literal
from services.sql_json.fragments import case as sql_case
from services.sql_json.shape import BoundShape, Parts, Variants
from services.sql_json.sources import RowSource, Written, condition, labelled, narrowed, total

VISIBLE_BY: dict[str, tuple[Any, Callable[..., ColumnElement[bool]]]] = {
    "collective": (Collective, visibility.collective_is_visible),
    "order": (Order, visibility.order_is_visible),
    "transaction": (Transaction, visibility.transaction_is_visible),
    "offer_of_order": (Offer, lambda *_: true()),
    "tier_of_order": (Tier, visibility.tier_of_order_is_visible),
    "recurring_gift": (RecurringGift, visibility.recurring_gift_is_visible),
    "card": (Instrument, visibility.card_is_visible),
    "payment_method": (PaymentMethod, lambda *_: true()),
    "payout_method": (PayoutMethod, visibility.payout_method_is_visible),
    "policy": (PlatformPolicy, lambda *_: true()),
}
_FOUND = "found"
"""A column of derived rows that is NULL if there is none."""
MAX_JOINS = 10
"""Tables joined in one SELECT; further ones are subqueries, so that PostgreSQL plans them one by one."""


VIEWER_ROOT = -1
"""Number of the record that holds the viewer's version instead of a root."""


def json_statement(actor: Actor, bound: BoundShape, *, checks_viewer: bool) -> Select[Any]:
    """Build the statement that writes a query's roots; one that is null may have no row.

    The records hold the number of the root, its text, and the cost of the objects in it besides itself. With
    `checks_viewer`, one more holds the version of a viewer whose token works.
    """
    numbers = count(1)
    selects = [
        _select_root(SelectBuilder(actor, bound, numbers), number, root)
        for number, (_, root) in enumerate(bound.shape.roots)
    ]
    if checks_viewer:
        seen = select_version_seen(actor).subquery("viewer")
        number: Any = literal_column(str(VIEWER_ROOT)).label("root")
        cost: Any = literal_column("0").label("cost")
        selects.append(select(number, seen.c.version.label("text"), cost))
    return select(union_all(*selects).subquery("roots"))


def _select_root(builder: "SelectBuilder", number: int, root: shape.Root) -> Select[Any]:
    start: Any = select(literal_column("1")).subquery(builder.name())
    text, costs = Sql(""), list[str]()
    is_there: ColumnElement[bool] = true()
    match root:
        case shape.Constant(json):
            text = literal(json)
        case shape.Position():
            start = event_log.select_snapshot().subquery(builder.name())
            text = columns.write_position(RowSource(start.name, start.c))
        case shape.List():
            pieces, costs = lists.write_list(builder, root, None)
            own = root.entries.weight if isinstance(root.entries, shape.Nodes) else root.weight
            text, costs = concatenate(pieces), [*costs, str(-own)]
            if root.selects.is_visible is not None:
                is_there = condition(builder.test(root.selects.is_visible, None))
        case shape.Rows():
            start, text, cost = nodes.write_rows(builder, root)
            costs = [cost]
        case shape.Row():
            selected, table, variants = lists.select_row(builder, root, None)
            row = RowSource(builder.name(), table, selected)
            text, costs = builder.object(variants, row)
            start = narrowed(selected, table, row.used).subquery(row.name)
    found = (Sql(str(number)), "root"), (text, "text"), (total(costs), "cost")
    return builder.select(start, *(labelled(sql, name) for sql, name in found)).where(is_there)


@dataclass
class SelectBuilder:
    """Builds one SELECT: the JSON it writes, and the joins that this needs."""

    actor: Actor
    bound: BoundShape
    numbers: Iterator[int]
    joins: list[tuple[Callable[[], Any], Any]] = field(default_factory=list)
    """What makes each table, once it is known which of its columns are used, and the condition."""
    _tests: dict[Any, Any] = field(default_factory=dict)
    """The joined tests of whether private fields are visible, by predicate and row: fields share them."""
    _derived_rows: dict[Any, Any] = field(default_factory=dict)
    """The joined subqueries of derived values, by what selects them and row: fields share them, too."""

    def inner(self) -> "SelectBuilder":
        """Return the builder of a SELECT inside this one."""
        return SelectBuilder(self.actor, self.bound, self.numbers)

    def select(self, start: Any, *columns: Any) -> Select[Any]:
        """Select the columns from `start` and all joins."""
        statement = select(*columns).select_from(start)
        for make_table, is_joined in self.joins:
            statement = statement.outerjoin(make_table(), is_joined)
        return statement

    def join(self, selected: Select[Any], table: Any, is_joined: Any, *, mark: str = "id") -> RowSource:
        """Join the rows of a subquery."""
        row = RowSource(self.name(), table, selected, mark=mark)
        self.joins.append((lambda: narrowed(selected, table, row.used).lateral(row.name), is_joined))
        return row

    def name(self) -> str:
        """Return a fresh table name."""
        return f"t{next(self.numbers)}"

    def object(self, variants: Variants, row: RowSource) -> tuple[Sql, list[str]]:
        """Write an existing row by its type, with what the objects in it cost."""
        if len(variants) == 1 and not variants[0].types:
            return self._parts(variants[0].parts, row)
        cases, costs = [], []
        for variant in variants:
            is_type = type_condition(row["type"], variant.types)
            guard = is_type if row.guard is None else Sql(f"{row.guard} AND {is_type}")
            json, inner = self._parts(variant.parts, replace(row, guard=guard))
            cases.append(f"WHEN {is_type} THEN {json}")
            costs += inner
        return Sql(f"CASE {' '.join(cases)} ELSE {literal(NULL_VIOLATION)} END"), costs

    def _parts(self, parts: Parts, row: RowSource) -> tuple[Sql, list[str]]:
        """Write an object, such as `'{"slug":"' || t.slug || '"}'`."""
        pieces: list[Piece] = ["{"]
        costs: list[str] = []
        for i, (key, value) in enumerate(parts):
            written, cost = self.value(value, row)
            pieces += [f'{"," if i else ""}"{key}":', *written]
            costs += cost
        return concatenate([*pieces, "}"]), costs

    def value(self, value: shape.Value, row: RowSource, null: str = "null") -> Written:
        """Write a value of a row."""
        write = self.writers.get(value.__class__)
        return (
            (columns.write_column(value, row, null), []) if write is None else write(self, value, row, null)
        )

    def _list(self, value: shape.List, row: RowSource, _: str) -> Written:
        return lists.write_list(self, value, row)

    def _detail(self, value: shape.Detail, row: RowSource, null: str) -> Written:
        inner = replace(self._derived_row(value, row), table=value.table)
        return self._found_object(inner, value.variants, value.weight, null)

    def _row(self, value: shape.Row, row: RowSource, null: str) -> Written:
        selected, table, variants = lists.select_row(self, value, row)
        inner = replace(self._join_found(selected, row.is_written), table=table)
        return self._found_object(inner, variants, value.weight, null)

    def _private(self, value: shape.Private, row: RowSource, _: str) -> Written:
        is_visible = self.test(value.is_visible, row)
        json = concatenate(columns.write_column(value.column, row, value.hidden))
        return [sql_case(f"{is_visible} IS NOT TRUE", value.hidden, json)], []

    def test(self, is_visible: Callable[..., Any], row: RowSource | None) -> Sql:
        """Join the test of whether the viewer may see something, of a row or at all; return its column."""
        key = (is_visible,) if row is None else (is_visible, row.name, row.prefix)
        if (tested := self._tests.get(key)) is None:
            test = is_visible(self.actor, None if row is None else row.c).label("is_visible")
            tested = self._tests[key] = self.join(select(test), None, true())
        return tested["is_visible"]

    def _for_viewer(self, value: shape.ForViewer, row: RowSource, null: str) -> Written:
        made = self.join(select(value.expression(self.actor, row.c).label("value")), None, true())
        source = replace(made, is_any_nullable=True)
        return columns.write_column(shape.Column(value.encoding, "value"), source, null), []

    def _derived(self, value: shape.Derived, row: RowSource, null: str) -> Written:
        inner = self._derived_row(value, row)
        is_nullable = value.is_nullable or value.is_visible is not None
        null = null if value.hidden == "null" else value.hidden
        return columns.write_column(value.value, replace(inner, is_any_nullable=is_nullable), null), []

    def _derived_row(self, value: shape.Derived | shape.Detail, row: RowSource) -> RowSource:
        """Join the row that is derived from one, if the viewer may see it."""
        key = value.select, value.is_visible, row.name, row.prefix, row.guard
        if (inner := self._derived_rows.get(key)) is None:
            is_joined = row.is_written
            if value.is_visible is not None:
                is_joined = Sql(f"{is_joined} AND {self.test(value.is_visible, row)}")
            inner = self._join_found(value.select(row.c), is_joined)
            self._derived_rows[key] = inner
        return inner

    def _join_found(self, selected: Select[Any], is_joined: Sql) -> RowSource:
        found = selected.add_columns(literal_column("true").label(_FOUND))
        return self.join(found, None, condition(is_joined), mark=_FOUND)

    def _found_object(self, row: RowSource, variants: Variants, weight: int, null: str) -> Written:
        """Write the row of a joined subquery, or `null` if it has none."""
        json, costs = self.object(variants, row)
        written = sql_case(f"{row[_FOUND]} IS NULL", null, json)
        return [written], [*costs, f"({row[_FOUND]} IS NOT NULL)::integer * {weight}"]

    def _one(self, value: shape.ToOne, row: RowSource, null: str) -> Written:
        if (side := row.sides.get(value.column)) is not None:
            json, costs = self.object(value.variants, side)
            return [json], [*costs, str(value.weight)]
        table, is_visible = VISIBLE_BY[value.of]

        def is_shown(actor: Actor, other: Any) -> Any:
            conditions = [is_visible(actor, other)]
            if value.is_shown is not None:
                conditions.append(value.is_shown(actor, row.c))
            if value.are_shown is not None:
                conditions.append(value.are_shown(actor, row.c, other))
            return and_(*conditions)

        return self._join_row(table, row.c[value.column], is_shown, value, row, null)

    def _join_row(
        self,
        table: Any,
        row_id: Any,
        is_visible: Callable[..., Any],
        value: shape.ToOne | shape.Host,
        row: RowSource,
        null: str,
    ) -> Written:
        """Join a row by its id, if the viewer may see it, and write it or `null`."""
        other = RowSource(self.name(), table)
        is_it = (other.c.id == row_id) & is_visible(self.actor, other.c)
        if row.guard is not None:
            is_it &= condition(row.guard)
        if len(self.joins) >= MAX_JOINS:
            return self._fence(other, is_it, value, null)
        self.joins.append((partial(table.__table__.alias, other.name), is_it))
        json, costs = self.object(value.variants, other)
        written = sql_case(f"{other['id']} IS NULL", null, json)
        return [written], [*costs, f"({other['id']} IS NOT NULL)::integer * {value.weight}"]

    def _fence(self, row: RowSource, is_it: Any, value: shape.ToOne | shape.Host, null: str) -> Written:
        """Write a row in a subquery that PostgreSQL plans by itself, because of its OFFSET."""
        builder = self.inner()
        json, costs = builder.object(value.variants, row)
        written = labelled(json, "text"), labelled(total([*costs, str(value.weight)]), "cost")
        inner = builder.select(row.table.__table__.alias(row.name), *written).where(is_it)
        fenced = self.join(inner.offset(literal_column("0")), None, true())
        return [Sql(f"coalesce({fenced['text']}, {literal(null)})")], [f"coalesce({fenced['cost']}, 0)"]

    def _host(self, value: shape.Host, row: RowSource, null: str) -> Written:
        parent = RowSource(self.name(), Collective)
        is_event = row.c.type == CollectiveType.EVENT
        is_visible = visibility.collective_is_visible(self.actor, parent.c)
        table = Collective.__table__  # type: ignore[attr-defined]  # added by SQLModel
        self.joins.append(
            (partial(table.alias, parent.name), is_event & (parent.c.id == row.c.parent_id) & is_visible)
        )
        host_id = case((is_event, parent.c.host_id), else_=row.c.host_id)
        return self._join_row(Collective, host_id, visibility.collective_is_visible, value, row, null)

    def _balance(self, value: shape.BalanceField, row: RowSource, null: str) -> Written:
        given = self.bound.arguments[value.name]
        assert isinstance(given, BalanceArguments)
        currency = bindparam(f"{value.name}_currency", None, type_=Text)
        as_of = bindparam(f"{value.name}_as_of", None, type_=DateTime(timezone=True))
        owner = literal_column(row["id"], Uuid)
        found = balances.balance_query(owner, currency, as_of, is_past=given.as_of is not None)
        is_visible = visibility.balance_is_visible(self.actor, row.c)
        line = self.join(found, None, condition(row.is_written) & is_visible)
        json, _ = self._parts(value.parts, line)
        written = sql_case(f"{line['currency']} IS NULL", null, json)
        return [written], [f"({line['currency']} IS NOT NULL)::integer * {value.weight}"]

    def _non_null(self, value: shape.NonNull, row: RowSource, _: str) -> Written:
        return self.value(value.value, row, NULL_VIOLATION)

    writers: ClassVar[dict[type[Any], Callable[..., Written]]] = {
        shape.NonNull: _non_null,
        shape.ToOne: _one,
        shape.ToNode: nodes.write_node,
        shape.Host: _host,
        shape.BalanceField: _balance,
        shape.List: _list,
        shape.Private: _private,
        shape.Derived: _derived,
        shape.ForViewer: _for_viewer,
        shape.Detail: _detail,
        shape.Row: _row,
    }
    """What writes each kind of value; all others are columns."""
