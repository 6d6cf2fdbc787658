"""Plans of queries: one for a document, an operation and the values of its switches, @skip and @include."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graphql import (
    FragmentDefinitionNode,
    OperationDefinitionNode,
)
from graphql.execution.values import VariableValues, get_variable_values

from resolvers.context import Context
from schema.build import graphql_schema, schema
from schema.documents.document_cache import CachedDocument
from schema.plan import collect_fields, sql_backend
from schema.plan.collect_fields import FieldCollector, NotCompilable
from schema.plan.leaves import FallBack
from schema.plan.sql_plan import SqlPlan
from services.core.errors import Problem
from services.sql_json.rows import JsonRead, read_json
from services.sql_json.shape import SqlJsonUnavailable

MAX_VARIANTS = 16
"""Plans of one document; graphql-core runs what would need another one."""


def plan_query(
    cached: CachedDocument, operation: OperationDefinitionNode, variables: VariableValues
) -> SqlPlan | str:
    """Return the plan of a query, made on first use, or the reason why graphql-core must run it."""
    name = operation.name.value if operation.name else None
    plans = cached.plans
    if (names := cached.condition_variables.get(name)) is None:
        names = cached.condition_variables[name] = _list_condition_variables(cached, operation)
    key = (name, *(variables.coerced.get(variable) is True for variable in names))
    if key in plans:
        kept: SqlPlan | str = plans[key]
        return kept
    if len(plans) >= MAX_VARIANTS:
        return "too many variants"
    planned = _plan(cached, operation, dict(zip(names, key[1:], strict=True)))
    if cached.was_seen:
        plans[key] = planned
    return planned


def fragments_by_name(cached: CachedDocument) -> dict[str, FragmentDefinitionNode]:
    """Return the fragments of a document."""
    assert cached.document is not None
    nodes = cached.document.definitions
    return {node.name.value: node for node in nodes if isinstance(node, FragmentDefinitionNode)}


def _list_condition_variables(cached: CachedDocument, operation: OperationDefinitionNode) -> tuple[str, ...]:
    sets = [operation.selection_set, *(f.selection_set for f in fragments_by_name(cached).values())]
    own = {definition.variable.name.value for definition in operation.variable_definitions or ()}
    return tuple(sorted(collect_fields.condition_variables(sets) & own))


def _plan(
    cached: CachedDocument, operation: OperationDefinitionNode, conditions: Mapping[str, Any]
) -> SqlPlan | str:
    try:
        return sql_backend.plan_sql(collector_of(fragments_by_name(cached), conditions), operation)
    except RecursionError:
        return "nested too deep"


def collector_of(
    fragments: Mapping[str, FragmentDefinitionNode], conditions: Mapping[str, Any]
) -> FieldCollector:
    """Return the collector of the fields of an operation."""
    converter = schema().schema_converter
    return FieldCollector(
        graphql_schema(), fragments, conditions, (converter.scalar_registry, converter.config)
    )


def prepare_json_read(planned: SqlPlan, variables: VariableValues, *, is_new: bool) -> JsonRead | None:
    """Return the statement by which PostgreSQL writes the JSON, if it can with these variables.

    That of a document which is new is kept nowhere, unless another one has needed it: most never come again.
    """
    try:
        return replace(planned.bind(variables), is_new=is_new)
    except (Problem, NotCompilable, SqlJsonUnavailable):
        return None  # graphql-core reports the error


async def run_json(read: JsonRead, context: Context) -> dict[str, Any]:
    """Run a query that PostgreSQL answers as JSON.

    Raises:
        FallBack: there is an error to report; graphql-core must run the query, from a new snapshot.
        StaleViewer: the viewer of the context came from the cache and has changed.
    """
    try:
        return await context.run(read_json, read=read, checks_viewer=context.is_viewer_cached)
    except SqlJsonUnavailable as error:
        raise FallBack from error


def coerce_variables(operation: OperationDefinitionNode, values: Mapping[str, Any]) -> VariableValues:
    """Coerce the values of the variables.

    Raises:
        FallBack: they are invalid.
    """
    built = graphql_schema()
    coerced = get_variable_values(built, operation.variable_definitions or (), dict(values))
    if isinstance(coerced, list):
        raise FallBack("variables")
    return coerced
