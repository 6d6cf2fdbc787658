"""Completion: turn the values of a field into response values, list by list and type by type."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from graphql import GraphQLObjectType

from schema.plan import field_access
from schema.plan.collect_fields import NotCompilable
from schema.plan.leaf_source import FallBack
from schema.plan.run_state import RunState

Rows = Sequence[Any]
Groups = list[dict[int, Any]]
"""The values of each concrete type, by `id`."""


@dataclass(frozen=True)
class Stage:
    """A function over a list of values; if it is asynchronous, it returns a coroutine."""

    is_async: bool
    run: Callable[[Rows, RunState], Any]


def non_null(inner: Stage) -> Stage:
    """Complete values and fall back if one is null."""

    def require_values(completed: list[Any]) -> list[Any]:
        if None in completed:
            raise FallBack("null in a non-null field")
        return completed

    if not inner.is_async:
        return Stage(is_async=False, run=lambda values, state: require_values(inner.run(values, state)))

    async def run(values: Rows, state: RunState) -> Any:
        return require_values(await inner.run(values, state))

    return Stage(is_async=True, run=run)


def list_of(item: Stage) -> Stage:
    """Complete the items of all lists as one list."""

    def flatten(values: Rows) -> list[Any]:
        for value in values:
            if value is not None and not isinstance(value, list | tuple):
                raise FallBack("not a list")
        return [entry for value in values if value is not None for entry in value]

    def regroup(values: Rows, completed: list[Any]) -> list[Any]:
        if len(values) == 1 and values[0] is not None:
            return [completed]
        index = 0
        lists: list[list[Any] | None] = []
        for value in values:
            if value is None:
                lists.append(None)
            else:
                lists.append(completed[index : index + len(value)])
                index += len(value)
        return lists

    if not item.is_async:
        return Stage(is_async=False, run=lambda v, state: regroup(v, item.run(flatten(v), state)))

    async def run(values: Rows, state: RunState) -> Any:
        return regroup(values, await item.run(flatten(values), state))

    return Stage(is_async=True, run=run)


def abstract_type(object_types: Sequence[GraphQLObjectType], stages: Sequence[Stage]) -> Stage:
    """Complete objects, all of one concrete type together, and repeated objects once."""
    if len(object_types) == 1 and object_types[0].is_type_of is None:
        return _single_type(stages[0])
    index_by_key: dict[Any, int] = {}

    def group(values: Rows) -> Groups:
        groups: Groups = [{} for _ in object_types]
        for value in values:
            if value is None:
                continue
            # The row's class and its `type` column determine the GraphQL type.
            key = (value.__class__, getattr(value, "type", None))
            if (index := index_by_key.get(key)) is None:
                index = index_by_key[key] = _type_index(value, object_types)
            groups[index][id(value)] = value
        return groups

    if any(stage.is_async for stage in stages):
        return Stage(is_async=True, run=partial(_complete_types_async, stages, group))
    return Stage(is_async=False, run=partial(_complete_types, stages, group))


def _single_type(stage: Stage) -> Stage:
    """Complete objects of a type that stands for part of one row, such as an amount."""

    def restore_nulls(values: Rows, completed: Sequence[Any]) -> list[Any]:
        if len(completed) == len(values):
            return list(completed)
        answers = iter(completed)
        return [None if value is None else next(answers) for value in values]

    def drop_nulls(values: Rows) -> Rows:
        return [value for value in values if value is not None] if None in values else values

    if not stage.is_async:
        return Stage(is_async=False, run=lambda v, state: restore_nulls(v, stage.run(drop_nulls(v), state)))

    async def run(values: Rows, state: RunState) -> Any:
        return restore_nulls(values, await stage.run(drop_nulls(values), state))

    return Stage(is_async=True, run=run)


def _complete_types(
    stages: Sequence[Stage], group: Callable[[Rows], Groups], values: Rows, state: RunState
) -> list[Any]:
    groups = group(values)
    completed = [
        stage.run(list(rows.values()), state) if rows else ()
        for rows, stage in zip(groups, stages, strict=True)
    ]
    return _in_input_order(values, groups, completed)


async def _complete_types_async(
    stages: Sequence[Stage], group: Callable[[Rows], Groups], values: Rows, state: RunState
) -> list[Any]:
    groups = group(values)
    completed: list[Any] = [()] * len(stages)
    async_indexes = []
    for i, (rows, stage) in enumerate(zip(groups, stages, strict=True)):
        if rows:
            completed[i] = stage.run(list(rows.values()), state)
            if stage.is_async:
                async_indexes.append(i)
    for i, answers in zip(
        async_indexes, await field_access.gather_or_cancel([completed[i] for i in async_indexes]), strict=True
    ):
        completed[i] = answers
    return _in_input_order(values, groups, completed)


def _in_input_order(values: Rows, groups: Groups, completed: Sequence[Sequence[Any]]) -> list[Any]:
    """Return the results of all groups in the order of their values."""
    if [len(group) for group in groups if group] == [len(values)]:
        return next(list(answers) for answers in completed if answers)
    answers: dict[int, Any] = {}
    for group, some in zip(groups, completed, strict=True):
        answers.update(zip(group, some, strict=True))
    return [None if value is None else answers[id(value)] for value in values]


def _type_index(value: Any, object_types: Sequence[GraphQLObjectType]) -> int:
    for i, object_type in enumerate(object_types):
        if object_type.is_type_of is None:
            if len(object_types) > 1:
                raise NotCompilable(f"{object_type.name} has no is_type_of")
            return i
        if object_type.is_type_of(value, None):  # type: ignore[arg-type]  # ours ignore the info
            return i
    raise FallBack("a value of another type")
