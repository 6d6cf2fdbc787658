"""A compiled query: made once for a document, an operation and the values of its switches."""

from collections.abc import Mapping
from dataclasses import dataclass
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
from schema.build import schema
from schema.documents.document_cache import Prepared
from schema.plan import collect_fields, sql_backend
from schema.plan.collect_fields import Unsupported
from schema.plan.complete_values import Step
from schema.plan.leaf_source import GiveUp
from schema.plan.python_backend import Compiler
from schema.plan.run_state import State
from services.core.errors import Problem
from services.sql_json.rows import Writing

__all__ = ["GiveUp", "Program", "program_of", "run", "writing_of"]

_PLAIN = {"collective", "collectives", "node", "order", "orders", "transaction", "transactions"}
MAX_VARIANTS = 16
"""Of one document, by the values of its switches; what is above is run by graphql-core."""


@dataclass(frozen=True)
class Program:
    """A query that can be run."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    operation: OperationDefinitionNode
    step: Step
    columns: Mapping[Any, frozenset[str]]
    """What is read of each table; one that is not named is read whole."""
    is_single: bool
    """Whether it is one list or thing that a single statement reads."""
    plan: sql_backend.Plan | None
    """How PostgreSQL writes all of it in one statement, where it can."""


def program_of(
    prepared: Prepared, operation: OperationDefinitionNode, variables: VariableValues
) -> Program | None:
    """Return the compiled query, made when it is first asked for; None where it is not supported."""
    name = operation.name.value if operation.name else None
    programs = prepared.programs
    if (names := prepared.switches.get(name)) is None:
        names = prepared.switches[name] = _switches(prepared, operation)
    key = (name, *(variables.coerced.get(switch) is True for switch in names))
    if key in programs:
        found: Program | None = programs[key]
        return found
    if len(programs) >= MAX_VARIANTS:
        return None
    made = _compiled(prepared, operation, dict(zip(names, key[1:], strict=True)))
    if prepared.is_known:
        programs[key] = made
    return made


def _fragments(prepared: Prepared) -> dict[str, FragmentDefinitionNode]:
    assert prepared.document is not None
    nodes = prepared.document.definitions
    return {node.name.value: node for node in nodes if isinstance(node, FragmentDefinitionNode)}


def _switches(prepared: Prepared, operation: OperationDefinitionNode) -> tuple[str, ...]:
    sets = [operation.selection_set, *(f.selection_set for f in _fragments(prepared).values())]
    own = {definition.variable.name.value for definition in operation.variable_definitions or ()}
    return tuple(sorted(collect_fields.switch_names(sets) & own))


def _compiled(
    prepared: Prepared, operation: OperationDefinitionNode, switches: Mapping[str, Any]
) -> Program | None:
    built = schema()
    graphql_schema = built._schema  # noqa: SLF001 - the only way to it
    query = graphql_schema.query_type
    assert query is not None
    converter = built.schema_converter
    fragments = _fragments(prepared)
    compiler = Compiler(graphql_schema, fragments, switches, (converter.scalar_registry, converter.config))
    try:
        step = compiler.selection(query, [operation.selection_set])
    except (Unsupported, RecursionError):
        return None
    taken = {table: names for table, names in compiler.columns.items() if names is not None}
    is_plain = _is_plain(operation)
    return Program(
        graphql_schema,
        fragments,
        operation,
        step,
        taken,
        compiler.relations == 1 and is_plain,
        sql_backend.plan(compiler, operation) if is_plain and prepared.is_known else None,
    )


def _is_plain(operation: OperationDefinitionNode) -> bool:
    """Whether it asks for one thing and no second look: filters may name collectives to be found first."""
    selections = operation.selection_set.selections
    if len(selections) != 1 or not isinstance(node := selections[0], FieldNode):
        return False
    filters = (argument.value for argument in node.arguments or () if argument.name.value == "filter")
    return node.name.value in _PLAIN and all(
        node.name.value == "collectives"
        and isinstance(given, ObjectValueNode)
        and {entry.name.value for entry in given.fields} <= {"type", "isArchived"}
        for given in filters
    )


async def run(program: Program, variables: VariableValues, context: Context) -> dict[str, Any]:
    """Run a compiled query.

    Raises:
        GiveUp: graphql-core is to run it, on a fresh snapshot: there is an error to tell.
    """
    state = State(context, variables, program)
    try:
        done = program.step.run([None], state)
        answer: dict[str, Any] = (await done if program.step.is_async else done)[0]
    except GiveUp:
        raise
    except Exception as error:
        raise GiveUp from error
    return answer


def writing_of(program: Program, variables: VariableValues) -> Writing | None:
    """Return how PostgreSQL writes the answer, where it can with these variables."""
    if program.plan is None:
        return None
    try:
        return Writing(program.plan.asked(variables))
    except (Problem, Unsupported):
        return None  # the usual way tells what is wrong


def variables_of(operation: OperationDefinitionNode, given: Mapping[str, Any]) -> VariableValues:
    """Return the variables' coerced values.

    Raises:
        GiveUp: they are at fault.
    """
    built = schema()._schema  # noqa: SLF001 - the only way to it
    found = get_variable_values(built, operation.variable_definitions or (), dict(given))
    if isinstance(found, list):
        raise GiveUp("variables")
    return found
