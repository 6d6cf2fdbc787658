"""How the values of one field are had for a list of rows."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import cache
from typing import Any

from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLObjectType,
    ListValueNode,
    ObjectValueNode,
    ValueNode,
    VariableNode,
)
from graphql.pyutils import is_awaitable
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField

from schema.plan.leaf_source import GiveUp
from schema.plan.run_state import State, raw_arguments, resolve_info
from schema.types.fields import NEEDS, OF_ROW, OF_ROWS, WRITTEN

Rows = Sequence[Any]
Values = Callable[[Rows, State], Any]
"""From rows and the run to a list of values, in the rows' order; asynchronous ones return a coroutine."""


def field_of(definition: GraphQLField) -> StrawberryField:
    """Return the declaration of a field."""
    declared = definition.extensions["strawberry-definition"]
    assert isinstance(declared, StrawberryField)
    return declared


def resolver_of(declared: StrawberryField) -> Any:
    """Return the function that a field was declared with, or None."""
    return declared.base_resolver.wrapped_func if declared.base_resolver else None


def needs(definition: GraphQLField) -> frozenset[str] | None:
    """Return the columns that a field takes of its row, or None where it may take any."""
    declared = field_of(definition)
    resolver = resolver_of(declared)
    if resolver is None:
        return frozenset({declared.python_name})
    named = getattr(resolver, NEEDS, None)
    return None if named is None else frozenset(named)


def written(definition: GraphQLField) -> Callable[[Any], Any] | None:
    """Return what gives the field of a row as it is answered, where that was declared."""
    return getattr(resolver_of(field_of(definition)), WRITTEN, None)


def inline(definition: GraphQLField, bind: Callable[[Any], str], row: str) -> str | None:
    """Return source for the value of a field of the row in a variable; None where it takes more than that."""
    declared = field_of(definition)
    resolver = resolver_of(declared)
    if resolver is None:
        return f"{row}.{declared.python_name}"
    if (of_row := getattr(resolver, OF_ROW, None)) is None:
        return None
    return f"{bind(of_row)}({row}, info)" if _wants_info(of_row) else f"{bind(of_row)}({row})"


@cache
def _wants_info(of_row: Callable[..., Any]) -> bool:
    return len(inspect.signature(of_row).parameters) > 1


def of_rows(definition: GraphQLField, nodes: list[FieldNode], convert: tuple[Any, Any]) -> Values | None:
    """Return what asks a field once for all rows, or None where it is not declared so.

    `convert` are Strawberry's registry of scalars and its configuration.
    """
    declared = field_of(definition)
    many = getattr(resolver_of(declared), OF_ROWS, None)
    if many is None:
        return None
    node, registry, config = nodes[0], *convert

    def arguments(state: State | None) -> dict[str, Any]:
        raw = raw_arguments(definition, node, state.variables if state else None)
        return convert_arguments(raw, declared.arguments, scalar_registry=registry, config=config)

    fixed = None if has_variables(node) else arguments(None)

    async def values(rows: Rows, state: State) -> Any:
        given = arguments(state) if fixed is None else fixed
        found = await many(rows, state.info, **given)
        for value in found:
            if isinstance(value, BaseException):
                raise GiveUp from value
        return found

    return values


def one_by_one(parent: GraphQLObjectType, definition: GraphQLField, nodes: list[FieldNode]) -> Values:
    """Return what calls a resolver for each row, as graphql-core does."""
    resolve = definition.resolve
    assert resolve is not None
    node = nodes[0]
    fixed = None if has_variables(node) else raw_arguments(definition, node, None)

    async def values(rows: Rows, state: State) -> list[Any]:
        given = raw_arguments(definition, node, state.variables) if fixed is None else fixed
        info = resolve_info(state, parent, definition, nodes)
        found = [resolve(row, info, **given) for row in rows]
        waiting = [value for value in found if is_awaitable(value)]
        if not waiting:
            return found
        done = iter(await together([_awaited(value) for value in waiting]))
        return [next(done) if is_awaitable(value) else value for value in found]

    return values


async def together(waiting: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run coroutines at once. When one fails, the others are ended before its error is raised."""
    if not waiting:
        return []
    if len(waiting) == 1:
        return [await waiting[0]]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in waiting]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


def has_variables(node: FieldNode) -> bool:
    """Whether an argument of a field hangs on a variable."""
    return any(_holds_variable(argument.value) for argument in node.arguments or ())


def _holds_variable(value: ValueNode) -> bool:
    if isinstance(value, ListValueNode):
        return any(_holds_variable(item) for item in value.values)
    if isinstance(value, ObjectValueNode):
        return any(_holds_variable(entry.value) for entry in value.fields)
    return isinstance(value, VariableNode)
