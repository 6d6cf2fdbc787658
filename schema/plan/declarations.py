"""How fields were declared, and whether their arguments depend on variables."""

from typing import Any

from graphql import FieldNode, GraphQLField, ListValueNode, ObjectValueNode, ValueNode, VariableNode
from strawberry.types.field import StrawberryField


def declaration_of(definition: GraphQLField) -> StrawberryField:
    """Return the Strawberry declaration of a field."""
    declared = definition.extensions["strawberry-definition"]
    assert isinstance(declared, StrawberryField)
    return declared


def resolver_of(declared: StrawberryField) -> Any:
    """Return the resolver that a field was declared with, or None."""
    return declared.base_resolver.wrapped_func if declared.base_resolver else None


def has_variables(node: FieldNode) -> bool:
    """Return True if an argument of a field depends on a variable."""
    return any(_holds_variable(argument.value) for argument in node.arguments or ())


def _holds_variable(value: ValueNode) -> bool:
    if isinstance(value, ListValueNode):
        return any(_holds_variable(item) for item in value.values)
    if isinstance(value, ObjectValueNode):
        return any(_holds_variable(entry.value) for entry in value.fields)
    return isinstance(value, VariableNode)
