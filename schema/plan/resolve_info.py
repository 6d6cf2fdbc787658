"""What resolvers are called with, outside graphql-core: their arguments, and `info`."""

from collections.abc import Mapping
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
)
from graphql.execution.values import VariableValues, get_argument_values
from graphql.pyutils import Path, is_awaitable
from graphql.type.definition import GraphQLResolveInfoHelpers

from resolvers.context import Context


def coerce_arguments(
    definition: GraphQLField, node: FieldNode, variables: VariableValues | None
) -> dict[str, Any]:
    """Return a field's arguments as graphql-core passes them to a resolver."""
    return get_argument_values(definition, node, variables) if definition.args else {}


def build_resolve_info(
    context: Context,
    variables: VariableValues,
    *,
    schema: GraphQLSchema,
    fragments: Mapping[str, FragmentDefinitionNode],
    operation: OperationDefinitionNode,
    parent: GraphQLObjectType,
    node: FieldNode,
) -> GraphQLResolveInfo[Context]:
    """Build the `info` of a root field."""
    name = node.name.value
    return GraphQLResolveInfo(
        name,
        [node],
        parent.fields[name].type,
        parent,
        Path(None, name, parent.name),
        schema,
        dict(fragments),
        None,
        operation,
        variables,
        context,
        is_awaitable,
        None,
        GraphQLResolveInfoHelpers(_refuse, _refuse),
    )


def _refuse(*_: Any) -> Any:
    raise NotImplementedError
