"""A compiled query: made once for a document, an operation and the values of its condition_variables."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLSchema,
    ObjectValueNode,
    OperationDefinitionNode,
)
from graphql.execution.values import VariableValues, get_variable_values

from resolvers.context import Context
from schema.build import graphql_schema, schema
from schema.documents.document_cache import CachedDocument
from schema.plan import collect_fields, sql_backend
from schema.plan.collect_fields import NotCompilable
from schema.plan.complete_values import Stage
from schema.plan.leaf_source import FallBack
from schema.plan.python_backend import Compiler
from schema.plan.run_state import RunState
from schema.plan.sql_plan import SqlPlan
from services.core.errors import Problem
from services.sql_json.rows import JsonRead, read_json
from services.sql_json.shape import SqlJsonUnavailable

__all__ = ["CompiledQuery", "FallBack", "Program", "compile_query", "prepare_json_read", "run", "run_json"]

_SINGLE_STATEMENT_FIELDS = {
    "collective",
    "collectives",
    "node",
    "order",
    "orders",
    "transaction",
    "transactions",
}
MAX_VARIANTS = 16
"""Compiled variants of one document; graphql-core runs any further ones."""


@dataclass(frozen=True)
class Program:
    """Python functions that answer a query from rows."""

    stage: Stage
    columns: Mapping[Any, frozenset[str]]
    """The columns read of each table; tables not listed are read whole."""
    is_single: bool
    """True if a single statement reads everything."""


@dataclass(frozen=True)
class CompiledQuery:
    """A query that is ready to run."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    operation: OperationDefinitionNode
    sql_plan: SqlPlan | str
    """The plan by which PostgreSQL writes the JSON in one statement, or the reason why it cannot."""
    conditions: Mapping[str, Any]

    @cached_property
    def program(self) -> Program | None:
        """The functions for when PostgreSQL does not write the answer; None if graphql-core must run it."""
        query_type = self.schema.query_type
        assert query_type is not None
        compiler = _compiler(self.fragments, self.conditions)
        try:
            stage = compiler.selection(query_type, [self.operation.selection_set])
        except (NotCompilable, RecursionError):
            return None
        columns = {table: names for table, names in compiler.columns.items() if names is not None}
        is_single = compiler.relations == 1 and _is_single_statement(self.operation)
        return Program(stage, columns, is_single)


def compile_query(
    cached: CachedDocument, operation: OperationDefinitionNode, variables: VariableValues
) -> CompiledQuery | None:
    """Return the compiled query of an operation, built on first use, or None if it is not supported."""
    name = operation.name.value if operation.name else None
    programs = cached.programs
    if (names := cached.condition_variables.get(name)) is None:
        names = cached.condition_variables[name] = _list_condition_variables(cached, operation)
    key = (name, *(variables.coerced.get(variable) is True for variable in names))
    if key in programs:
        kept: CompiledQuery | None = programs[key]
        return kept
    if len(programs) >= MAX_VARIANTS:
        return None
    query = _compile(cached, operation, dict(zip(names, key[1:], strict=True)))
    if cached.was_seen:
        programs[key] = query
    return query


def fragments_by_name(cached: CachedDocument) -> dict[str, FragmentDefinitionNode]:
    """Return the fragments of a document."""
    assert cached.document is not None
    nodes = cached.document.definitions
    return {node.name.value: node for node in nodes if isinstance(node, FragmentDefinitionNode)}


def _list_condition_variables(cached: CachedDocument, operation: OperationDefinitionNode) -> tuple[str, ...]:
    sets = [operation.selection_set, *(f.selection_set for f in fragments_by_name(cached).values())]
    own = {definition.variable.name.value for definition in operation.variable_definitions or ()}
    return tuple(sorted(collect_fields.condition_variables(sets) & own))


def _compile(
    cached: CachedDocument, operation: OperationDefinitionNode, conditions: Mapping[str, Any]
) -> CompiledQuery | None:
    fragments = fragments_by_name(cached)
    try:
        sql_plan = sql_backend.plan_sql(_compiler(fragments, conditions), operation)
    except RecursionError:
        return None
    query = CompiledQuery(graphql_schema(), fragments, operation, sql_plan, conditions)
    return None if isinstance(sql_plan, str) and query.program is None else query


def _compiler(fragments: Mapping[str, FragmentDefinitionNode], conditions: Mapping[str, Any]) -> Compiler:
    converter = schema().schema_converter
    return Compiler(graphql_schema(), fragments, conditions, (converter.scalar_registry, converter.config))


def _is_single_statement(operation: OperationDefinitionNode) -> bool:
    """Return True if one statement can read the root: filters may need collectives looked up first."""
    selections = operation.selection_set.selections
    if len(selections) != 1 or not isinstance(node := selections[0], FieldNode):
        return False
    filters = (argument.value for argument in node.arguments or () if argument.name.value == "filter")
    return node.name.value in _SINGLE_STATEMENT_FIELDS and all(
        node.name.value == "collectives"
        and isinstance(filter_value, ObjectValueNode)
        and {entry.name.value for entry in filter_value.fields} <= {"type", "isArchived"}
        for filter_value in filters
    )


async def run(query: CompiledQuery, variables: VariableValues, context: Context) -> dict[str, Any]:
    """Run a compiled query.

    Raises:
        FallBack: there is an error to report; graphql-core must run the query, from a new snapshot.
    """
    if (program := query.program) is None:
        raise FallBack
    state = RunState(context, variables, query)
    try:
        values = program.stage.run([None], state)
        data: dict[str, Any] = (await values if program.stage.is_async else values)[0]
    except FallBack:
        raise
    except Exception as error:
        raise FallBack from error
    return data


def prepare_json_read(query: CompiledQuery, variables: VariableValues, *, is_new: bool) -> JsonRead | None:
    """Return the statement by which PostgreSQL writes the JSON, if it can with these variables.

    That of a document which is new is kept nowhere, unless another one has needed it: most never come again.
    """
    if isinstance(query.sql_plan, str):
        return None
    try:
        return replace(query.sql_plan.bind(variables), is_new=is_new)
    except (Problem, NotCompilable, SqlJsonUnavailable):
        return None  # the Python backend reports the error


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
