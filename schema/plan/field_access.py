"""Read one field's values for a list of rows."""

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

from schema.plan.leaf_source import FallBack
from schema.plan.run_state import RunState, build_resolve_info, coerce_arguments
from schema.types.fields import COLUMNS, OF_ROW, OF_ROWS, SERIALIZED

Rows = Sequence[Any]
Values = Callable[[Rows, RunState], Any]
"""A function from rows to values in the same order; an asynchronous one returns a coroutine."""


def declaration_of(definition: GraphQLField) -> StrawberryField:
    """Return the Strawberry declaration of a field."""
    declared = definition.extensions["strawberry-definition"]
    assert isinstance(declared, StrawberryField)
    return declared


def resolver_of(declared: StrawberryField) -> Any:
    """Return the resolver that a field was declared with, or None."""
    return declared.base_resolver.wrapped_func if declared.base_resolver else None


def needed_columns(definition: GraphQLField) -> frozenset[str] | None:
    """Return the columns that a field reads from its row, or None if it may read any."""
    declared = declaration_of(definition)
    resolver = resolver_of(declared)
    if resolver is None:
        return frozenset({declared.python_name})
    columns = getattr(resolver, COLUMNS, None)
    return None if columns is None else frozenset(columns)


def serialized(definition: GraphQLField) -> Callable[[Any], Any] | None:
    """Return the function from a row to the field's serialized value, if one was declared."""
    return getattr(resolver_of(declaration_of(definition)), SERIALIZED, None)


def inline_source(definition: GraphQLField, bind: Callable[[Any], str], row: str) -> str | None:
    """Return source for the value of a field of the variable `row`; None if it needs a call."""
    declared = declaration_of(definition)
    resolver = resolver_of(declared)
    if resolver is None:
        return f"{row}.{declared.python_name}"
    if (of_row := getattr(resolver, OF_ROW, None)) is None:
        return None
    return f"{bind(of_row)}({row}, info)" if _takes_info(of_row) else f"{bind(of_row)}({row})"


@cache
def _takes_info(of_row: Callable[..., Any]) -> bool:
    return len(inspect.signature(of_row).parameters) > 1


def batched_values(
    definition: GraphQLField, nodes: list[FieldNode], convert: tuple[Any, Any]
) -> Values | None:
    """Return the function that reads a field once for all rows, or None if it is not declared as batched.

    `convert` holds Strawberry's scalar registry and configuration.
    """
    declared = declaration_of(definition)
    resolve_rows = getattr(resolver_of(declared), OF_ROWS, None)
    if resolve_rows is None:
        return None
    node, registry, config = nodes[0], *convert

    def arguments(state: RunState | None) -> dict[str, Any]:
        raw = coerce_arguments(definition, node, state.variables if state else None)
        return convert_arguments(raw, declared.arguments, scalar_registry=registry, config=config)

    constant_arguments = None if has_variables(node) else arguments(None)

    async def values(rows: Rows, state: RunState) -> Any:
        kwargs = arguments(state) if constant_arguments is None else constant_arguments
        results = await resolve_rows(rows, state.info, **kwargs)
        for value in results:
            if isinstance(value, BaseException):
                raise FallBack from value
        return results

    return values


def resolved_values(parent: GraphQLObjectType, definition: GraphQLField, nodes: list[FieldNode]) -> Values:
    """Return the function that calls a resolver for each row, as graphql-core does."""
    resolve = definition.resolve
    assert resolve is not None
    node = nodes[0]
    constant_arguments = None if has_variables(node) else coerce_arguments(definition, node, None)

    async def values(rows: Rows, state: RunState) -> list[Any]:
        kwargs = constant_arguments
        if kwargs is None:
            kwargs = coerce_arguments(definition, node, state.variables)
        info = build_resolve_info(state, parent, definition, nodes)
        results = [resolve(row, info, **kwargs) for row in rows]
        pending = [value for value in results if is_awaitable(value)]
        if not pending:
            return results
        awaited = iter(await gather_or_cancel([_await_value(value) for value in pending]))
        return [next(awaited) if is_awaitable(value) else value for value in results]

    return values


async def gather_or_cancel(coroutines: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run coroutines concurrently; if one fails, cancel the others and wait for them before raising."""
    if not coroutines:
        return []
    if len(coroutines) == 1:
        return [await coroutines[0]]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def _await_value(value: Awaitable[Any]) -> Any:
    return await value


def has_variables(node: FieldNode) -> bool:
    """Return True if an argument of a field depends on a variable."""
    return any(_holds_variable(argument.value) for argument in node.arguments or ())


def _holds_variable(value: ValueNode) -> bool:
    if isinstance(value, ListValueNode):
        return any(_holds_variable(item) for item in value.values)
    if isinstance(value, ObjectValueNode):
        return any(_holds_variable(entry.value) for entry in value.fields)
    return isinstance(value, VariableNode)
