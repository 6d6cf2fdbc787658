"""The statement that writes the answer to a query as JSON, one row for each field at its root.

Visibility uses the same predicates as every other read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, DateTime, Integer, Select, Text, bindparam, column, select, true

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
from services.round_trips.dialect import WrittenText
from services.sql_json import columns, lists, nodes, shape
from services.sql_json.arguments import BalanceArguments
from services.sql_json.columns import type_condition
from services.sql_json.fragments import NULL_VIOLATION, Piece, Sql, concatenate, literal
from services.sql_json.fragments import case as sql_case
from services.sql_json.shape import BoundShape, Parts, Variants
from services.sql_json.sources import RowSource, Written, all_of, labelled, narrowed, total, whole_table
from services.sql_json.templates import PREFIX, Selected, write_expression, write_selects

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
_NO_ROW = RowSource("none")
_FOUND = "found"
"""A column of derived rows that is NULL if there is none."""
MAX_JOINS = 10
"""Tables joined in one SELECT; further ones are subqueries, so that PostgreSQL plans them one by one."""
_RECORD: list[Any] = [column("root", Integer()), column("text", Text()), column("cost", Integer())]
VIEWER_ROOT = -1
"""Number of the record that holds the viewer's version instead of a root."""


def json_statement(actor: Actor, bound: BoundShape, *, checks_viewer: bool) -> Select[Any]:
    """Build the statement that writes a query's roots; one that is null may have no row.

    The records hold the number of the root, its text, and the cost of the objects in it besides itself. With
    `checks_viewer`, one more holds the version of a viewer whose token works.
    """
    numbers, kind = count(1), actor.kind
    selects = [
        _select_root(SelectBuilder(actor, kind, bound, numbers), number, root)
        for number, (_, root) in enumerate(bound.shape.roots)
    ]
    if checks_viewer:
        (seen,) = write_selects(("viewer", kind), lambda: (select_version_seen(actor),))
        selects.append(
            f"SELECT {VIEWER_ROOT} AS root, viewer.version AS text, 0 AS cost FROM ({seen.write()}) AS viewer"
        )
    roots = WrittenText(f"({' UNION ALL '.join(selects)}) AS roots")
    return select(*_RECORD).select_from(roots)


def _select_root(builder: "SelectBuilder", number: int, root: shape.Root) -> str:
    start = f"(SELECT 1) AS {builder.name()}"
    text, costs = Sql(""), list[str]()
    is_there = ""
    match root:
        case shape.Constant(json):
            text = literal(json)
        case shape.Position():
            (snapshot,) = write_selects("position", lambda: (event_log.select_snapshot(),))
            row = RowSource(builder.name(), None, snapshot)
            start, text = f"({snapshot.write()}) AS {row.name}", columns.write_position(row)
        case shape.List():
            pieces, costs = lists.write_list(builder, root, None)
            own = root.entries.weight if isinstance(root.entries, shape.Nodes) else root.weight
            text, costs = concatenate(pieces), [*costs, str(-own)]
            if root.selects.is_visible is not None:
                is_there = f" WHERE {builder.test(root.selects.is_visible, None)}"
        case shape.Rows():
            start, text, cost = nodes.write_rows(builder, root)
            costs = [cost]
        case shape.Row():
            selected, table, variants = lists.select_row(builder, root, None)
            row = RowSource(builder.name(), table, selected)
            text, costs = builder.object(variants, row)
            start = f"({narrowed(selected, table, row.used)}) AS {row.name}"
    found = (str(number), "root"), (text, "text"), (total(costs), "cost")
    return builder.select(start, *(labelled(sql, name) for sql, name in found)) + is_there


@dataclass
class SelectBuilder:
    """Builds one SELECT: the JSON it writes, and the joins that this needs."""

    actor: Actor
    kind: str
    """The viewer's kind: texts of conditions are the same for all of a kind."""
    bound: BoundShape
    numbers: Iterator[int]
    joins: list[tuple[Callable[[], str], str]] = field(default_factory=list)
    """What writes each table, once it is known which of its columns are used, and the condition."""
    _tests: dict[Any, Any] = field(default_factory=dict)
    """The joined tests of whether private fields are visible, by predicate and row: fields share them."""
    _derived_rows: dict[Any, Any] = field(default_factory=dict)
    """The joined subqueries of derived values, by what selects them and row: fields share them, too."""

    def inner(self) -> "SelectBuilder":
        """Return the builder of a SELECT inside this one."""
        return SelectBuilder(self.actor, self.kind, self.bound, self.numbers)

    def select(self, start: str, *columns: str) -> str:
        """Select the columns from `start` and all joins."""
        joined = (f" LEFT OUTER JOIN {write()} ON {is_joined}" for write, is_joined in self.joins)
        return f"SELECT {', '.join(columns)} FROM {start}{''.join(joined)}"

    def join(self, selected: Selected, table: Any, is_joined: str = "true", *, mark: str = "id") -> RowSource:
        """Join the rows of a subquery; add the `mark` that there is a row, if it is not the id."""
        row = RowSource(self.name(), table, selected, mark=mark)
        added = [] if mark == "id" else [f"true AS {mark}"]

        def write() -> str:
            return f"LATERAL ({narrowed(selected, table, row.used, *added)}) AS {row.name}"

        self.joins.append((write, is_joined))
        return row

    def _join_value(self, value: str, name: str) -> RowSource:
        """Join a value that is computed once, whatever uses it."""
        row = RowSource(self.name(), is_any_nullable=True)
        self.joins.append((lambda: f"LATERAL (SELECT {value} AS {name}) AS {row.name}", "true"))
        return row

    def expression(self, build: Callable[..., Any], *rows: RowSource) -> Sql:
        """Write the expression that `build` makes of the viewer and the rows' columns."""
        return write_expression((build, self.kind), partial(build, self.actor), *rows)

    def condition(self, build: Callable[..., Any], *rows: RowSource) -> Sql:
        """Write a condition as one term."""
        written = self.expression(build, *rows)
        return written if written == "true" else Sql(f"({written})")

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
            json, inner = self._parts(variant.parts, replace(row, guard=all_of(row.guard, is_type)))
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
        inner = self.join(selected, table, row.is_written, mark=_FOUND)
        return self._found_object(inner, variants, value.weight, null)

    def _private(self, value: shape.Private, row: RowSource, _: str) -> Written:
        is_visible = self.test(value.is_visible, row)
        json = concatenate(columns.write_column(value.column, row, value.hidden))
        return [sql_case(f"{is_visible} IS NOT TRUE", value.hidden, json)], []

    def test(self, is_visible: Callable[..., Any], row: RowSource | None) -> Sql:
        """Join the test of whether the viewer may see something, of a row or at all; return its column."""
        key = (is_visible,) if row is None else (is_visible, row.name, row.prefix)
        if (tested := self._tests.get(key)) is None:
            test = self.expression(is_visible, row or _NO_ROW)
            tested = self._tests[key] = self._join_value(test, "is_visible")
        return tested["is_visible"]

    def _for_viewer(self, value: shape.ForViewer, row: RowSource, null: str) -> Written:
        made = self._join_value(self.expression(value.expression, row), "value")
        return columns.write_column(shape.Column(value.encoding, "value"), made, null), []

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
                is_joined = all_of(is_joined, self.test(value.is_visible, row))
            (selected,) = write_selects(value.select, lambda row: (value.select(row.c),), row)
            inner = self._derived_rows[key] = self.join(selected, None, is_joined, mark=_FOUND)
        return inner

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
        other = RowSource(self.name(), table)
        conditions = [self.condition(is_visible, other)]
        if value.is_shown is not None:
            conditions.append(self.condition(value.is_shown, row))
        if value.are_shown is not None:
            conditions.append(self.condition(value.are_shown, row, other))
        return self._join_row(other, row[value.column], all_of(*conditions), value, row, null)

    def _join_row(
        self,
        other: RowSource,
        row_id: str,
        is_visible: str,
        value: shape.ToOne | shape.Host,
        row: RowSource,
        null: str,
    ) -> Written:
        """Join a row by its id, if the viewer may see it, and write it or `null`."""
        is_it = all_of(f"{other['id']} = {row_id}", is_visible, row.guard)
        if len(self.joins) >= MAX_JOINS:
            return self._fence(other, is_it, value, null)
        self.joins.append((partial(whole_table, other.table, other.name), is_it))
        json, costs = self.object(value.variants, other)
        written = sql_case(f"{other['id']} IS NULL", null, json)
        return [written], [*costs, f"({other['id']} IS NOT NULL)::integer * {value.weight}"]

    def _fence(self, row: RowSource, is_it: str, value: shape.ToOne | shape.Host, null: str) -> Written:
        """Write a row in a subquery that PostgreSQL plans by itself, because of its OFFSET."""
        builder, fenced = self.inner(), RowSource(self.name())
        json, costs = builder.object(value.variants, row)
        written = labelled(json, "text"), labelled(total([*costs, str(value.weight)]), "cost")
        inner = builder.select(whole_table(row.table, row.name), *written)
        self.joins.append((lambda: f"LATERAL ({inner} WHERE {is_it} OFFSET 0) AS {fenced.name}", "true"))
        return [Sql(f"coalesce({fenced['text']}, {literal(null)})")], [f"coalesce({fenced['cost']}, 0)"]

    def _host(self, value: shape.Host, row: RowSource, null: str) -> Written:
        parent, host = RowSource(self.name(), Collective), RowSource(self.name(), Collective)
        is_event = type_condition(row["type"], (CollectiveType.EVENT,))
        is_visible = self.condition(visibility.collective_is_visible, parent)
        is_parent = all_of(is_event, f"{parent['id']} = {row['parent_id']}", is_visible)
        self.joins.append((partial(whole_table, Collective, parent.name), is_parent))
        host_id = f"CASE WHEN {is_event} THEN {parent['host_id']} ELSE {row['host_id']} END"
        is_visible = self.condition(visibility.collective_is_visible, host)
        return self._join_row(host, host_id, is_visible, value, row, null)

    def _balance(self, value: shape.BalanceField, row: RowSource, null: str) -> Written:
        given = self.bound.arguments[value.name]
        assert isinstance(given, BalanceArguments)
        currency = bindparam(f"{PREFIX}_currency", None, type_=Text)
        as_of = bindparam(f"{PREFIX}_as_of", None, type_=DateTime(timezone=True))

        def build(row: RowSource) -> tuple[Select[Any]]:
            owner, is_past = row.id_expression("id"), given.as_of is not None
            return (balances.balance_query(owner, currency, as_of, is_past=is_past),)

        (found,) = write_selects(("balance", given.key), build, row, prefix=value.name)
        is_visible = self.condition(visibility.balance_is_visible, row)
        line = self.join(found, None, all_of(row.is_written, is_visible))
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
