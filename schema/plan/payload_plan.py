"""Plans of payloads: what the mutation returns is enough for, and what has to be read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from graphql import (
    FieldNode,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
)

from schema.build import mutation_root
from schema.plan.collect_fields import NotCompilable
from schema.plan.declarations import declaration_of, resolver_of
from schema.plan.sql_backend import SqlPlanner
from schema.plan.sql_lists import selection_sets
from schema.plan.sql_plan import shared_shape
from schema.types.fields import OF_ROW
from services.sql_json import payloads, shape
from services.sql_json.rows import JsonText
from services.sql_json.shape import BoundShape
from services.sql_json.sources import has_column, is_mapped

_OPTION = "row"
"""The option of rows that are all of one table."""


@dataclass(frozen=True)
class PayloadField:
    """A field of a payload whose row, or rows, PostgreSQL writes."""

    name: str
    """The attribute of the payload."""
    table: Any
    root: shape.Row | shape.Rows
    is_required: bool

    def is_empty(self, value: Any) -> bool:
        """Return True if the payload holds no row."""
        return value is None or (isinstance(self.root, shape.Rows) and not value)

    def has_all(self, text: JsonText | None) -> bool:
        """Return True if every row was found: one that is not stored is not there to be read."""
        if text is not None and isinstance(self.root, shape.Rows):
            return None not in orjson.loads(text.text)
        return text is not None

    def arguments(self, value: Any) -> Any:
        """Return the arguments that select what the payload holds."""
        if isinstance(self.root, shape.Rows):
            return payloads.rows_arguments(_OPTION, [row.id for row in value])
        return payloads.row_arguments(self.table, value.id)


@dataclass(frozen=True)
class PayloadPlan:
    """The fields of a payload that PostgreSQL writes, by response key, and the source of their parameters."""

    fields: Mapping[str, PayloadField]
    parameters: Mapping[str, Callable[[Any], Any]]

    def bind(self, variables: Any) -> Callable[[Mapping[str, Any]], BoundShape | None]:
        """Return the function from a payload's fields to what is to be read for them.

        Raises:
            Problem: an argument is invalid.
            NotCompilable: an argument is valid, but only graphql-core supports it.
        """
        arguments = {name: value(variables) for name, value in self.parameters.items()}
        for name, value in arguments.items():
            value.values(name)  # a cursor of another list is refused now, before the mutation runs

        def bind_rows(outcome: Mapping[str, Any]) -> BoundShape | None:
            held = {
                key: field
                for key, field in self.fields.items()
                if not field.is_empty(outcome.get(field.name))
            }
            if not held:
                return None
            rows = {field.root.name: field.arguments(outcome[field.name]) for field in held.values()}
            roots = tuple((key, field.root) for key, field in held.items())
            return BoundShape(shared_shape(roots), arguments | rows)

        return bind_rows


def plan_payload(
    planner: SqlPlanner, payload_type: GraphQLObjectType, nodes_by_key: Mapping[str, list[FieldNode]]
) -> PayloadPlan:
    """Plan the fields of a payload that need more than what the mutation returns.

    Raises:
        NotCompilable: PostgreSQL cannot write one of them.
    """
    fields = {
        key: _plan_field(planner, f"row{number}", payload_type, nodes)
        for number, (key, nodes) in enumerate(nodes_by_key.items())
        if not _are_at_hand(payload_type, nodes)
    }
    return PayloadPlan(fields, planner.parameters)


def _plan_field(
    planner: SqlPlanner, parameter: str, payload_type: GraphQLObjectType, nodes: list[FieldNode]
) -> PayloadField:
    definition = payload_type.fields[nodes[0].name.value]
    declared = declaration_of(definition)
    named = get_named_type(definition.type)
    if declared.base_resolver is not None or not isinstance(named, GraphQLObjectType | GraphQLInterfaceType):
        raise NotCompilable(f"{payload_type.name}.{nodes[0].name.value}")
    planner.add_table()
    table, variants = planner.row(named, selection_sets(nodes))
    if not is_mapped(table) or not has_column(table, "id"):
        raise NotCompilable(named.name)
    root: shape.Row | shape.Rows
    if is_list_type(get_nullable_type(definition.type)):
        option = (_OPTION, payloads.selector_of_many(table), table, variants)
        root = shape.Rows(parameter, (option,))
    else:
        root = shape.Row(parameter, (("", table, variants),))
    return PayloadField(declared.python_name, table, root, isinstance(definition.type, GraphQLNonNull))


def _are_at_hand(parent: GraphQLObjectType, nodes: list[FieldNode]) -> bool:
    if nodes[0].name.value == "__typename":
        return True
    named = get_named_type(parent.fields[nodes[0].name.value].type)
    return all(_is_selection_at_hand(named, node.selection_set) for node in nodes)


def is_at_hand(operation: OperationDefinitionNode) -> bool:
    """Return True if each field under the root fields is read from its row, or computed from it."""
    root = mutation_root()
    return all(
        isinstance(node, FieldNode)
        and _is_selection_at_hand(get_named_type(root.fields[node.name.value].type), node.selection_set)
        for node in operation.selection_set.selections
        if not (isinstance(node, FieldNode) and node.name.value == "__typename")
    )


def _is_selection_at_hand(parent: object, selected: SelectionSetNode | None) -> bool:
    """Return True for plain fields; a fragment may need more."""
    if selected is None:
        return True
    if not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
        return False
    for node in selected.selections:
        if not isinstance(node, FieldNode):
            return False
        if node.name.value == "__typename":
            continue
        definition = parent.fields[node.name.value]
        resolver = resolver_of(declaration_of(definition))
        if resolver is not None and not hasattr(resolver, OF_ROW):
            return False
        if not _is_selection_at_hand(get_named_type(definition.type), node.selection_set):
            return False
    return True
