"""From the values of a field to what is answered: lists flattened, objects told apart by their types."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from graphql import GraphQLObjectType

from schema.plan import field_access
from schema.plan.collect_fields import Unsupported
from schema.plan.leaf_source import GiveUp
from schema.plan.run_state import State
from services.sql_json.rows import Written

Rows = Sequence[Any]
Groups = list[dict[int, Any]]
"""The values of each concrete type, by their identity."""


@dataclass(frozen=True)
class Step:
    """A function over a list of values; an asynchronous one returns a coroutine."""

    is_async: bool
    run: Callable[[Rows, State], Any]


def required(inner: Step) -> Step:
    """Complete values of which none may be null."""

    def checked(done: list[Any]) -> list[Any]:
        if None in done:
            raise GiveUp("null in a field that is never null")
        return done

    if not inner.is_async:
        return Step(is_async=False, run=lambda values, state: checked(inner.run(values, state)))

    async def run(values: Rows, state: State) -> Any:
        return checked(await inner.run(values, state))

    return Step(is_async=True, run=run)


def flattened(item: Step) -> Step:
    """Complete the items of all lists at once."""

    def flat(values: Rows) -> list[Any]:
        for value in values:
            if value is not None and not isinstance(value, list | tuple):
                raise GiveUp("not a list")
        return [one for value in values if value is not None for one in value]

    def regrouped(values: Rows, done: list[Any]) -> list[Any]:
        if len(values) == 1 and values[0] is not None:
            return [done]
        at = 0
        found: list[list[Any] | None] = []
        for value in values:
            if value is None:
                found.append(None)
            else:
                found.append(done[at : at + len(value)])
                at += len(value)
        return found

    if not item.is_async:
        return Step(is_async=False, run=lambda v, state: regrouped(v, item.run(flat(v), state)))

    async def run(values: Rows, state: State) -> Any:
        return regrouped(values, await item.run(flat(values), state))

    return Step(is_async=True, run=run)


def by_type(kinds: Sequence[GraphQLObjectType], steps: Sequence[Step]) -> Step:
    """Complete objects, those of each concrete type together; one that stands there twice once."""
    if len(kinds) == 1 and kinds[0].is_type_of is None:
        return _of_one_type(steps[0])
    known: dict[Any, int] = {}

    def grouped(values: Rows) -> Groups:
        found: Groups = [{} for _ in kinds]
        for value in values:
            if value is None:
                continue
            # What a type is told by: the row's class, and the type that it names.
            key = (value.__class__, getattr(value, "type", None))
            if (place := known.get(key)) is None:
                place = known[key] = _kind_of(value, kinds)
            found[place][id(value)] = value
        return found

    if any(step.is_async for step in steps):
        return Step(is_async=True, run=partial(_each_type_async, steps, grouped))
    return Step(is_async=False, run=partial(_each_type, steps, grouped))


def _of_one_type(step: Step) -> Step:
    """Complete objects that can be of one type alone: values that belong to one row, such as an amount."""

    def scattered(values: Rows, done: Sequence[Any]) -> list[Any]:
        if len(done) == len(values):
            return list(done)
        answers = iter(done)
        return [None if value is None else next(answers) for value in values]

    def given(values: Rows) -> Rows:
        return [value for value in values if value is not None] if None in values else values

    if not step.is_async:
        return Step(is_async=False, run=lambda v, state: scattered(v, step.run(given(v), state)))

    async def run(values: Rows, state: State) -> Any:
        return scattered(values, await step.run(given(values), state))

    return Step(is_async=True, run=run)


def _each_type(
    steps: Sequence[Step], grouped: Callable[[Rows], Groups], values: Rows, state: State
) -> list[Any]:
    if state.context.writing is not None:
        return _as_written(values)
    groups = grouped(values)
    done = [
        step.run(list(group.values()), state) if group else ()
        for group, step in zip(groups, steps, strict=True)
    ]
    return _scattered(values, groups, done)


async def _each_type_async(
    steps: Sequence[Step], grouped: Callable[[Rows], Groups], values: Rows, state: State
) -> list[Any]:
    if state.context.writing is not None:
        return _as_written(values)
    groups = grouped(values)
    done: list[Any] = [()] * len(steps)
    waits = []
    for i, (group, step) in enumerate(zip(groups, steps, strict=True)):
        if group:
            done[i] = step.run(list(group.values()), state)
            if step.is_async:
                waits.append(i)
    for i, answers in zip(waits, await field_access.together([done[i] for i in waits]), strict=True):
        done[i] = answers
    return _scattered(values, groups, done)


def _as_written(values: Rows) -> list[Any]:
    """Return rows that are answers already: where there is one statement, nothing else is read."""
    if any(value.__class__ is not Written and value is not None for value in values):
        raise GiveUp("not written")
    return list(values)


def _scattered(values: Rows, groups: Groups, done: Sequence[Sequence[Any]]) -> list[Any]:
    """Put the answers of all groups where their values stood."""
    if [len(group) for group in groups if group] == [len(values)]:
        return next(list(answers) for answers in done if answers)
    answers: dict[int, Any] = {}
    for group, some in zip(groups, done, strict=True):
        answers.update(zip(group, some, strict=True))
    return [None if value is None else answers[id(value)] for value in values]


def _kind_of(value: Any, kinds: Sequence[GraphQLObjectType]) -> int:
    for i, kind in enumerate(kinds):
        if kind.is_type_of is None:
            if len(kinds) > 1:
                raise Unsupported(f"{kind.name} does not say what is of it")
            return i
        if kind.is_type_of(value, None):  # type: ignore[arg-type]  # none of ours looks at the info
            return i
    raise GiveUp("a value of another type")
