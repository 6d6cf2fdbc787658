"""Plans of single fields: the shapes that they declare, with their selections and arguments."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from graphql import FieldNode, GraphQLField, get_named_type

from schema.plan import sql_lists
from services.core.money import require_currency
from services.sql_json import shape
from services.sql_json.arguments import BalanceArguments
from services.sql_json.shape import Value

if TYPE_CHECKING:
    from schema.plan.sql_backend import SqlPlanner

Nodes = list[FieldNode]
_BALANCE_COLUMNS = {
    "__typename": shape.Constant('"Balance"'),
    "currency": shape.Column("bare_text", "currency"),
    "asOf": shape.Column("timestamp", "as_of"),
}
"""What is written of a balance besides its amounts."""
_AMOUNT_PARTS: dict[str, shape.AmountPart] = {
    "value": "value",
    "currency": "currency",
    "minorUnits": "minor_units",
    "exponent": "exponent",
}


class UnsupportedField(Exception):
    """A field that PostgreSQL cannot write."""


def plan_value(
    planner: "SqlPlanner", value: Value | None, definition: GraphQLField, nodes: Nodes, *, weight: int = 1
) -> Value:
    """Return the shape that a field declares, with its selections and arguments, and what an object costs.

    Raises:
        UnsupportedField: it declares none.
    """
    if not isinstance(value, _WITHOUT_TABLE):
        planner.add_table()
    match value:
        case None:
            raise UnsupportedField
        case shape.Amount():
            return _with_parts(planner, value, definition, nodes)
        case shape.Private(column=shape.Amount() as amount):
            return replace(value, column=_with_parts(planner, amount, definition, nodes))
        case shape.Derived(value=shape.Amount() as amount):
            return replace(value, value=_with_parts(planner, amount, definition, nodes))
        case shape.ToOne() | shape.Host() | shape.Detail():
            return _plan_object(planner, value, definition, nodes)
        case shape.ToNode(selects=selects):
            return replace(value, options=planner.node_options(selects, sql_lists.selection_sets(nodes)))
    return _plan_several(planner, value, definition, nodes, weight)


_WITHOUT_TABLE = (type(None), shape.Amount, shape.Private, shape.Column, shape.PublicId, shape.Constant)


def _plan_object(
    planner: "SqlPlanner",
    value: shape.ToOne | shape.Host | shape.Detail,
    definition: GraphQLField,
    nodes: Nodes,
) -> Value:
    table, variants = planner.row(definition.type, sql_lists.selection_sets(nodes))
    if isinstance(value, shape.Detail):
        value = replace(value, table=table)
    return replace(value, variants=variants, weight=1)


def _plan_several(
    planner: "SqlPlanner", value: Value, definition: GraphQLField, nodes: Nodes, weight: int
) -> Value:
    match value:
        case shape.BalanceField():
            return _plan_balance(planner, definition, nodes)
        case shape.BalanceList(selects):
            name = planner.parameter(definition, nodes, selects.arguments)
            variant = shape.Variant((), _balance_parts(planner, definition, nodes))
            return shape.List(name, selects, None, shape.Nodes((variant,), 1))
        case shape.AmountList(selects, amount):
            name = planner.parameter(definition, nodes, selects.arguments)
            amount = _with_parts(planner, amount, definition, nodes)
            return shape.List(name, selects, None, shape.Nodes(amount, 0))
        case shape.Selects() if sql_lists.is_list(definition):
            return sql_lists.plan_list(planner, value, definition, nodes, weight=weight)
        case shape.Selects():
            return planner.selected_row(value, definition, nodes, weight=weight)
    return value


def _with_parts(
    planner: "SqlPlanner", amount: shape.Amount, definition: GraphQLField, nodes: Nodes
) -> shape.Amount:
    """Return the shape of an amount with the fields that are selected."""
    object_type: Any = get_named_type(definition.type)
    parts: list[tuple[str, shape.AmountPart | shape.Constant]] = []
    for key, children in planner.fields(object_type, sql_lists.selection_sets(nodes)).items():
        name = children[0].name.value
        parts.append((key, shape.Constant('"Amount"') if name == "__typename" else _AMOUNT_PARTS[name]))
    return replace(amount, parts=tuple(parts))


def _balance_parts(planner: "SqlPlanner", definition: GraphQLField, nodes: Nodes) -> Any:
    object_type: Any = get_named_type(definition.type)
    parts: list[tuple[str, Any]] = []
    for key, children in planner.fields(object_type, sql_lists.selection_sets(nodes)).items():
        name = children[0].name.value
        if name in _BALANCE_COLUMNS:
            parts.append((key, _BALANCE_COLUMNS[name]))
        else:
            amount = shape.Amount(name, "currency")
            parts.append((key, _with_parts(planner, amount, object_type.fields[name], children)))
    return tuple(parts)


def _plan_balance(planner: "SqlPlanner", definition: GraphQLField, nodes: Nodes) -> Value:
    parts = _balance_parts(planner, definition, nodes)

    def to_balance(arguments: dict[str, Any]) -> BalanceArguments:
        currency = require_currency(arguments["currency"], field="currency")
        return BalanceArguments(currency, arguments.get("as_of"))

    return shape.BalanceField(planner.parameter(definition, nodes, to_balance), parts, weight=1)
