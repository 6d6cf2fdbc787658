"""The state of one run of a compiled query."""

from typing import Any

from graphql import FieldNode, GraphQLField, GraphQLObjectType, GraphQLResolveInfo
from graphql.execution.values import VariableValues, get_argument_values
from graphql.pyutils import Path, is_awaitable
from graphql.type.definition import GraphQLResolveInfoHelpers

from resolvers.context import Context


class ViewerInfo:
    """The part of `info` that a batched field reads: the operation's context."""

    __slots__ = ("context",)

    def __init__(self, context: Context) -> None:
        self.context = context


class RunState:
    """One run: its context, its variables, and an info shared by all rows."""

    __slots__ = ("context", "info", "query", "variables")

    def __init__(self, context: Context, variables: VariableValues, query: Any) -> None:
        self.context = context
        self.variables = variables
        self.query = query
        self.info = ViewerInfo(context)


def coerce_arguments(
    definition: GraphQLField, node: FieldNode, variables: VariableValues | None
) -> dict[str, Any]:
    """Return a field's arguments as graphql-core passes them to a resolver."""
    return get_argument_values(definition, node, variables) if definition.args else {}


def build_resolve_info(
    state: RunState, parent: GraphQLObjectType, definition: GraphQLField, nodes: list[FieldNode]
) -> GraphQLResolveInfo[Context]:
    """Build the info of a field; all rows share it, so its path has no index."""
    query = state.query
    return GraphQLResolveInfo(
        nodes[0].name.value,
        nodes,
        definition.type,
        parent,
        Path(None, nodes[0].name.value, parent.name),
        query.schema,
        query.fragments,
        None,
        query.operation,
        state.variables,
        state.context,
        is_awaitable,
        None,
        GraphQLResolveInfoHelpers(_refuse, _refuse),
    )


def _refuse(*_: Any) -> Any:
    raise NotImplementedError
