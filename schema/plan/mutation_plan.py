"""A planned mutation: the one field of an operation, whose payload takes no round trip of its own.

Its input, resolver and payload are found once for a document. The payload needs nothing but what the resolver
returns, or rows that PostgreSQL writes as JSON with the mutation's last writes. Whatever cannot be done so is
graphql-core's: before the resolver runs, all of it; afterwards, the completion of what the resolver has
returned; and all of it, from the beginning, if PostgreSQL cannot write a row and has stored nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLField,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    SelectionSetNode,
    execute,
    get_named_type,
    located_error,
)
from graphql.execution.values import VariableValues
from graphql.pyutils import is_awaitable
from strawberry.types import ExecutionResult, Info
from strawberry.types.field import StrawberryField

from resolvers.context import Context
from schema.build import graphql_schema, mutation_root
from schema.documents.document_cache import CachedDocument
from schema.plan import declarations
from schema.plan.collect_fields import NotCompilable
from schema.plan.input_values import Converter
from schema.plan.leaves import FallBack
from schema.plan.payload_plan import PayloadPlan, plan_payload
from schema.plan.payload_values import Complete, plan_selection
from schema.plan.query_plan import coerce_variables, collector_of, fragments_by_name
from schema.plan.resolve_info import build_resolve_info, coerce_arguments
from schema.plan.sql_backend import SqlPlanner
from services.core.errors import Problem
from services.sql_json.payloads import PayloadRead
from services.sql_json.shape import SqlJsonUnavailable

_NAME = "mutation"
"""Key of a document's mutations among its plans, with the operation's name."""


@dataclass(frozen=True)
class MutationPlan:
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
    keys: tuple[str, ...]
    """The response keys of the payload, in order."""
    payload: Complete
    """Completes what the resolver returned, but for what PostgreSQL writes."""
    reads: PayloadPlan
    """What PostgreSQL writes."""
    fragments: Mapping[str, FragmentDefinitionNode]


@dataclass(frozen=True)
class BoundMutation:
    """A planned mutation with its variables and the resolver's arguments."""

    mutation: MutationPlan
    values: Mapping[str, Any]
    """The variables as they came."""
    variables: VariableValues
    arguments: dict[str, Any]
    read: PayloadRead | None
    """What PostgreSQL writes of the payload of this run, if anything."""


def find_plan(cached: CachedDocument, operation: OperationDefinitionNode) -> MutationPlan | None:
    """Return the plan of a mutation, or None if graphql-core runs it.

    What is read for a document's payload is planned when the document comes for the second time.
    """
    key = (_NAME, operation.name.value if operation.name else None)
    if key in cached.plans:
        kept: MutationPlan | None = cached.plans[key]
        return kept
    planned = _plan(cached, operation)
    if cached.was_seen:
        cached.plans[key] = planned
    elif planned is not None and planned.reads.fields:
        return None  # its statement would be written for once
    return planned


def _plan(cached: CachedDocument, operation: OperationDefinitionNode) -> MutationPlan | None:
    selections = operation.selection_set.selections
    node, fragments = selections[0], fragments_by_name(cached)
    if len(selections) != 1 or not isinstance(node, FieldNode) or node.name.value == "__typename":
        return None
    definition = mutation_root().fields[node.name.value]
    declared = declarations.declaration_of(definition)
    payload_type = get_named_type(definition.type)
    if _has_directives(node, *fragments.values()) or declared.base_resolver is None or declared.extensions:
        return None
    if not isinstance(payload_type, GraphQLObjectType) or node.selection_set is None:
        return None
    collector = collector_of(fragments, {})
    try:
        nodes_by_key = collector.fields(payload_type, [node.selection_set])
        reads = plan_payload(SqlPlanner(collector), payload_type, nodes_by_key)
        others = [each for key, nodes in nodes_by_key.items() if key not in reads.fields for each in nodes]
        payload = plan_selection(collector, payload_type, [SelectionSetNode(selections=tuple(others))])
    except (NotCompilable, Problem, SqlJsonUnavailable, RecursionError):
        return None
    return MutationPlan(
        graphql_schema(),
        operation,
        node,
        node.alias.value if node.alias else node.name.value,
        definition,
        declared,
        _converter().arguments(declared.arguments),
        tuple(nodes_by_key),
        payload,
        reads,
        fragments,
    )


def _has_directives(*nodes: Any) -> bool:
    """Return True if a directive decides on a part of the selections; then graphql-core runs the mutation."""
    for node in nodes:
        children = getattr(node, "selection_set", None)
        if node.directives or (children is not None and _has_directives(*children.selections)):
            return True
    return False


@cache
def _converter() -> Converter:
    return Converter(*collector_of({}, {}).conversion)


def bind(mutation: MutationPlan, values: Mapping[str, Any]) -> BoundMutation | None:
    """Bind the values of the variables; None if graphql-core has to say what is wrong with them."""
    try:
        variables = coerce_variables(mutation.operation, values)
        raw = coerce_arguments(mutation.definition, mutation.node, variables)
        arguments = mutation.convert(raw)
    except (FallBack, GraphQLError, ValueError, TypeError):
        return None
    try:
        read = PayloadRead(mutation.reads.bind(variables)) if mutation.reads.fields else None
    except (GraphQLError, NotCompilable, Problem, SqlJsonUnavailable):
        return None
    return BoundMutation(mutation, values, variables, arguments, read)


async def run_mutation(bound: BoundMutation, context: Context) -> ExecutionResult:
    """Run a mutation and complete its payload; errors of its resolver are in the result.

    Raises:
        FallBack: PostgreSQL could not write a row, and nothing is stored.
    """
    mutation = bound.mutation
    info = build_resolve_info(
        context,
        bound.variables,
        schema=mutation.schema,
        fragments=mutation.fragments,
        operation=mutation.operation,
        parent=mutation_root(),
        node=mutation.node,
    )
    context.payload_read = bound.read
    try:
        payload = await _resolve(bound, info)
    except SqlJsonUnavailable as error:
        raise FallBack from error
    except Exception as error:  # noqa: BLE001 - as graphql-core: the error of the field
        return _failed(mutation, located_error(error, [mutation.node], [mutation.key]))
    try:
        completed = _complete(bound, payload, info)
    except FallBack:  # graphql-core meets the error again, and knows its path
        return await _complete_by_graphql_core(bound, context, payload)
    return ExecutionResult(data={mutation.key: completed}, errors=None)


async def _resolve(bound: BoundMutation, raw_info: Any) -> Any:
    mutation = bound.mutation
    resolver = mutation.declared.base_resolver
    assert resolver is not None
    arguments = bound.arguments
    if resolver.info_parameter is not None:
        arguments[resolver.info_parameter.name] = Info(_raw_info=raw_info, _field=mutation.declared)
    positional = [None] if resolver.self_parameter is not None else []
    resolve: Any = resolver.wrapped_func
    payload = resolve(*positional, **arguments)
    return await payload if is_awaitable(payload) else payload


def _complete(bound: BoundMutation, payload: Any, info: Any) -> dict[str, Any]:
    """Complete a payload.

    Raises:
        FallBack: there is an error to report, or a row was not read.
    """
    try:
        completed = bound.mutation.payload(payload, info)
    except Exception as error:
        raise FallBack from error
    if bound.read is None:
        return cast("dict[str, Any]", completed)
    for key, field in bound.mutation.reads.fields.items():
        if field.is_empty(value := getattr(payload, field.name)):
            is_known = value is not None or not field.is_required
            completed[key] = value
        else:
            completed[key] = bound.read.texts.get(key)
            is_known = field.has_all(completed[key])
        if not is_known:
            raise FallBack(f"{key} was not read")
    return {key: completed[key] for key in bound.mutation.keys}


def _failed(mutation: MutationPlan, error: GraphQLError) -> ExecutionResult:
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
