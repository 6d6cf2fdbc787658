"""What one run of a compiled query carries."""

from typing import Any

from graphql import FieldNode, GraphQLField, GraphQLObjectType, GraphQLResolveInfo
from graphql.execution.values import VariableValues, get_argument_values
from graphql.pyutils import Path, is_awaitable
from graphql.type.definition import GraphQLResolveInfoHelpers

from resolvers.context import Context


class ViewerInfo:
    """What a field over rows reads of its info: the operation's context."""

    __slots__ = ("context",)

    def __init__(self, context: Context) -> None:
        self.context = context


class State:
    """One run: its context, its variables, and what was made of them once for all rows."""

    __slots__ = ("context", "info", "program", "variables")

    def __init__(self, context: Context, variables: VariableValues, program: Any) -> None:
        self.context = context
        self.variables = variables
        self.program = program
        self.info = ViewerInfo(context)


def raw_arguments(
    definition: GraphQLField, node: FieldNode, variables: VariableValues | None
) -> dict[str, Any]:
    """Return a field's arguments as graphql-core gives them to a resolver."""
    return get_argument_values(definition, node, variables) if definition.args else {}


def resolve_info(
    state: State, parent: GraphQLObjectType, definition: GraphQLField, nodes: list[FieldNode]
) -> GraphQLResolveInfo[Context]:
    """Return the info of a field; one for all rows, so that its path has no index."""
    program = state.program
    return GraphQLResolveInfo(
        nodes[0].name.value,
        nodes,
        definition.type,
        parent,
        Path(None, nodes[0].name.value, parent.name),
        program.schema,
        program.fragments,
        None,
        program.operation,
        state.variables,
        state.context,
        is_awaitable,
        None,
        GraphQLResolveInfoHelpers(_refuse, _refuse),
    )


def _refuse(*_: Any) -> Any:
    raise NotImplementedError
