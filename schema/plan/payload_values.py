"""What a mutation's resolver returned, as the values of its payload: nothing is read."""

import inspect
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from graphql import (
    FieldNode,
    GraphQLObjectType,
    GraphQLOutputType,
    SelectionSetNode,
    is_abstract_type,
    is_list_type,
    is_non_null_type,
)

from schema.plan import leaves
from schema.plan.collect_fields import FieldCollector, NotCompilable
from schema.plan.declarations import declaration_of, resolver_of
from schema.plan.leaves import FallBack
from schema.types.fields import OF_ROW

Complete = Callable[[Any, Any], Any]
"""A function from what a resolver returned, and the operation's `info`, to the value in the response.

It raises FallBack where there is an error to report.
"""


def plan_selection(
    collector: FieldCollector, object_type: GraphQLObjectType, sets: Sequence[SelectionSetNode]
) -> Complete:
    """Return the function that completes an object of a type.

    Raises:
        NotCompilable: a field needs more than its object.
    """
    parts = [
        (key, _plan_field(collector, object_type, nodes))
        for key, nodes in collector.fields(object_type, sets).items()
    ]
    return lambda value, info: {key: complete(value, info) for key, complete in parts}


def _plan_field(
    collector: FieldCollector, object_type: GraphQLObjectType, nodes: list[FieldNode]
) -> Complete:
    name = nodes[0].name.value
    if name == "__typename":
        return lambda _, __: object_type.name
    definition = object_type.fields[name]
    declared = declaration_of(definition)
    resolver = resolver_of(declared)
    read: Any = attrgetter(declared.python_name) if resolver is None else getattr(resolver, OF_ROW, None)
    if read is None:
        raise NotCompilable(f"{object_type.name}.{name}")
    complete = _plan_value(collector, definition.type, nodes)
    if resolver is not None and len(inspect.signature(read).parameters) > 1:
        return lambda row, info: complete(read(row, info), info)
    return lambda row, info: complete(read(row), info)


def _plan_value(
    collector: FieldCollector, output_type: GraphQLOutputType, nodes: list[FieldNode]
) -> Complete:
    if is_non_null_type(output_type):
        return _plan_non_null(_plan_value(collector, output_type.of_type, nodes))
    if leaves.is_leaf(output_type):
        serialize = leaves.serializer(output_type)
        return lambda value, _: serialize(value)
    if is_list_type(output_type):
        return _plan_list(_plan_value(collector, output_type.of_type, nodes))
    sets = [node.selection_set for node in nodes if node.selection_set is not None]
    object_types: Sequence[Any] = [output_type]
    if is_abstract_type(output_type):
        object_types = collector.schema.get_possible_types(output_type)
    return _plan_object([(each, plan_selection(collector, each, sets)) for each in object_types])


def _plan_non_null(inner: Complete) -> Complete:
    def complete(value: Any, info: Any) -> Any:
        if (completed := inner(value, info)) is None:
            raise FallBack("null in a non-null field")
        return completed

    return complete


def _plan_list(item: Complete) -> Complete:
    def complete(value: Any, info: Any) -> Any:
        if value is not None and not isinstance(value, list | tuple):
            raise FallBack("not a list")
        return None if value is None else [item(entry, info) for entry in value]

    return complete


def _plan_object(options: Sequence[tuple[GraphQLObjectType, Complete]]) -> Complete:
    def complete(value: Any, info: Any) -> Any:
        if value is None:
            return None
        for object_type, complete_object in options:
            # Those of ours look at nothing but the row; a part of a row, such as an amount, has none.
            if object_type.is_type_of is None or object_type.is_type_of(value, info):
                return complete_object(value, info)
        raise FallBack("a value of another type")

    return complete
