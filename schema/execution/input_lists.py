"""Limits on the lists in an operation's input, checked before any of their values is read."""

from collections.abc import Iterable, Mapping
from typing import Any

from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    get_named_type,
    type_from_ast,
    value_from_ast_untyped,
)

from schema.build import graphql_schema
from services.core.errors import Invalid
from services.core.pagination import MAX_SIZE

MAX_ITEMS = 2 * MAX_SIZE
"""The longest list of any input; mutations have lower limits of their own."""
ITEMS_PER_POINT = 10
"""Values in the lists of the variables that cost one point."""
_LISTS = (list, tuple, dict)


def count_items(
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
    variable_paths: Mapping[str, tuple[str, ...]],
) -> int:
    """Count the values in the lists of an operation's variables.

    Raises:
        Invalid: a list is too long, under the argument that its variable fills.
    """
    total = 0
    for definition in operation.variable_definitions or ():
        name = definition.variable.name.value
        value = variables.get(name)
        if name not in variables and definition.default_value is not None:
            value = value_from_ast_untyped(definition.default_value)
        if isinstance(value, _LISTS):
            # The schema has the type: the document is valid.
            input_type: Any = type_from_ast(graphql_schema(), definition.type)
            total += count_in(input_type, value, variable_paths.get(name, (name,)))
    return total


def check_arguments(fields: Iterable[tuple[object, FieldNode, GraphQLField]]) -> None:
    """Require that no list in the fields' own arguments is too long; those in variables are counted apart.

    Raises:
        Invalid: one is.
    """
    for _, node, definition in fields:
        for argument in node.arguments or ():
            if isinstance(argument.value, ListValueNode | ObjectValueNode):
                name = argument.name.value
                count_in(definition.args[name].type, value_from_ast_untyped(argument.value), (name,))


def count_in(input_type: GraphQLInputType, value: Any, path: tuple[str, ...]) -> int:
    """Count the values in the lists of one value.

    Raises:
        Invalid: a list has more values than its enum, or than any list may have.
    """
    if isinstance(input_type, GraphQLNonNull):
        input_type = input_type.of_type
    if isinstance(input_type, GraphQLList) and isinstance(value, list | tuple):
        named = get_named_type(input_type)
        limit = len(named.values) if isinstance(named, GraphQLEnumType) else MAX_ITEMS
        if len(value) > limit:
            raise Invalid(f"Give at most {limit} values.", field=path)
        nested = [(str(i), item) for i, item in enumerate(value) if isinstance(item, _LISTS)]
        return len(value) + sum(count_in(input_type.of_type, item, (*path, key)) for key, item in nested)
    if isinstance(input_type, GraphQLInputObjectType) and isinstance(value, dict):
        return sum(
            count_in(field.type, value[name], (*path, name))
            for name, field in input_type.fields.items()
            if isinstance(value.get(name), _LISTS)
        )
    return 0
