"""A compiled mutation: the one field of an operation whose payload needs nothing but what it returns.

Its input, resolver and payload are found once for a document. Whatever cannot be done so is graphql-core's:
before the resolver runs, all of it; afterwards, the completion of what the resolver has returned.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLField,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    execute,
    get_named_type,
    located_error,
)
from graphql.execution.values import VariableValues
from graphql.pyutils import is_awaitable
from strawberry.types import ExecutionResult, Info
from strawberry.types.field import StrawberryField

from resolvers.context import Context
from schema.build import graphql_schema, mutation_root, schema
from schema.documents.document_cache import CachedDocument
from schema.plan import field_access
from schema.plan.collect_fields import NotCompilable
from schema.plan.compiled_query import coerce_variables
from schema.plan.complete_values import Stage
from schema.plan.input_values import Converter
from schema.plan.leaf_source import FallBack
from schema.plan.python_backend import Compiler
from schema.plan.run_state import RunState, build_resolve_info, coerce_arguments

_NAME = "mutation"
"""Key of a document's compiled mutations among its programs, with the operation's name."""


@dataclass(frozen=True)
class CompiledMutation:
    """A mutation that is ready to run."""

    schema: GraphQLSchema
    operation: OperationDefinitionNode
    node: FieldNode
    key: str
    """The key of its payload in the response."""
    definition: GraphQLField
    declared: StrawberryField
    convert: Callable[[dict[str, Any]], dict[str, Any]]
    """Converts graphql-core's arguments to those of the resolver."""
    payload: Stage
    fragments: Mapping[str, FragmentDefinitionNode] = field(default_factory=dict)


@dataclass(frozen=True)
class BoundMutation:
    """A compiled mutation with its variables and the resolver's arguments."""

    mutation: CompiledMutation
    values: Mapping[str, Any]
    """The variables as they came."""
    variables: VariableValues
    arguments: dict[str, Any]


def find_mutation(
    cached: CachedDocument, operation: OperationDefinitionNode, *, is_at_hand: Callable[[], bool]
) -> CompiledMutation | None:
    """Return the compiled mutation of an operation, or None if graphql-core runs it.

    It is built when a document comes for the second time. `is_at_hand` tells whether the payload needs no
    reads.
    """
    if not cached.was_seen:
        return None
    key = (_NAME, operation.name.value if operation.name else None)
    if key not in cached.programs:
        cached.programs[key] = _compile(operation) if is_at_hand() else None
    compiled: CompiledMutation | None = cached.programs[key]
    return compiled


def _compile(operation: OperationDefinitionNode) -> CompiledMutation | None:
    selections = operation.selection_set.selections
    node = selections[0]
    if len(selections) != 1 or not isinstance(node, FieldNode) or node.name.value == "__typename":
        return None
    definition = mutation_root().fields[node.name.value]
    declared = field_access.declaration_of(definition)
    payload_type = get_named_type(definition.type)
    if _has_directives(node) or declared.base_resolver is None or declared.extensions:
        return None
    if not isinstance(payload_type, GraphQLObjectType) or node.selection_set is None:
        return None
    compiler = Compiler(graphql_schema(), {}, {}, _conversion())
    try:
        payload = compiler.selection(payload_type, [node.selection_set])
    except (NotCompilable, RecursionError):
        return None
    if payload.is_async:
        return None
    return CompiledMutation(
        graphql_schema(),
        operation,
        node,
        node.alias.value if node.alias else node.name.value,
        definition,
        declared,
        _converter().arguments(declared.arguments),
        payload,
    )


def _has_directives(node: FieldNode) -> bool:
    if node.directives:
        return True
    children = node.selection_set.selections if node.selection_set else ()
    return any(not isinstance(child, FieldNode) or _has_directives(child) for child in children)


def _conversion() -> tuple[Any, Any]:
    converter = schema().schema_converter
    return converter.scalar_registry, converter.config


@cache
def _converter() -> Converter:
    return Converter(*_conversion())


def bind(mutation: CompiledMutation, values: Mapping[str, Any]) -> BoundMutation | None:
    """Bind the values of the variables; None if graphql-core has to say what is wrong with them."""
    try:
        variables = coerce_variables(mutation.operation, values)
        raw = coerce_arguments(mutation.definition, mutation.node, variables)
        return BoundMutation(mutation, values, variables, mutation.convert(raw))
    except (FallBack, GraphQLError, ValueError, TypeError):
        return None


async def run_mutation(bound: BoundMutation, context: Context) -> ExecutionResult:
    """Run a mutation and complete its payload; errors of its resolver are in the result."""
    mutation = bound.mutation
    state = RunState(context, bound.variables, mutation)
    resolver = mutation.declared.base_resolver
    assert resolver is not None
    raw_info = build_resolve_info(state, mutation_root(), mutation.definition, [mutation.node])
    arguments = bound.arguments
    if resolver.info_parameter is not None:
        arguments[resolver.info_parameter.name] = Info(_raw_info=raw_info, _field=mutation.declared)
    positional = [None] if resolver.self_parameter is not None else []
    resolve: Any = resolver.wrapped_func
    try:
        payload = resolve(*positional, **arguments)
        if is_awaitable(payload):
            payload = await payload
    except Exception as error:  # noqa: BLE001 - as graphql-core: the error of the field
        return _failed(mutation, located_error(error, [mutation.node], [mutation.key]))
    try:
        completed = _complete(mutation.payload, payload, state)
    except FallBack:  # graphql-core meets the error again, and knows its path
        return await _complete_by_graphql_core(bound, context, payload)
    return ExecutionResult(data={mutation.key: completed}, errors=None)


def _complete(stage: Stage, payload: Any, state: RunState) -> Any:
    """Complete a payload.

    Raises:
        FallBack: there is an error to report.
    """
    try:
        (completed,) = stage.run([payload], state)
    except Exception as error:
        raise FallBack from error
    return completed


def _failed(mutation: CompiledMutation, error: GraphQLError) -> ExecutionResult:
    is_required = isinstance(mutation.definition.type, GraphQLNonNull)
    return ExecutionResult(data=None if is_required else {mutation.key: None}, errors=[error])


async def _complete_by_graphql_core(bound: BoundMutation, context: Context, payload: Any) -> ExecutionResult:
    """Complete what the resolver returned, without calling it again."""

    def resolve(following: Callable[..., Any], root: Any, info: Any, **arguments: Any) -> Any:
        return payload if info.path.prev is None else following(root, info, **arguments)

    document = context.document
    assert document is not None
    operation = bound.mutation.operation
    completed: Any = execute(
        bound.mutation.schema,
        document,
        variable_values=dict(bound.values),
        operation_name=operation.name.value if operation.name else None,
        context_value=context,
        middleware=[resolve],
    )
    if is_awaitable(completed):
        completed = await completed
    return ExecutionResult(data=completed.data, errors=completed.errors)
