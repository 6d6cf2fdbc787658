"""From a selection on a type to a function over rows: source for its leaves, calls for its relations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    SelectionSetNode,
    is_abstract_type,
    is_list_type,
    is_non_null_type,
)

from schema.compiled import collect, leaves
from schema.compiled import fields as columns
from schema.compiled.collect import Unsupported
from schema.compiled.leaves import GiveUp
from schema.compiled.state import State
from schema.fields import TABLE

Rows = Sequence[Any]
Groups = list[dict[int, Any]]
"""The values of each concrete type, by their identity."""


@dataclass(frozen=True)
class Step:
    """A function over a list of values; an asynchronous one returns a coroutine."""

    is_async: bool
    run: Callable[[Rows, State], Any]


@dataclass
class Compiler:
    """Compiles the selections of one operation; the same selection on the same type is compiled once."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    switches: Mapping[str, bool]
    convert: tuple[Any, Any]
    columns: dict[Any, frozenset[str] | None] = field(default_factory=dict)
    """What is read of each table; None is all of it."""
    relations: int = 0
    """How many fields are read by a call of their own, those of the root among them."""
    _made: dict[Any, Step] = field(default_factory=dict)

    def selection(self, kind: GraphQLObjectType, sets: Sequence[SelectionSetNode]) -> Step:
        """Return the function from rows of a type to their answers, dicts in the order of the rows."""
        key = (kind.name, *map(id, sets))
        if (made := self._made.get(key)) is None:
            made = self._made[key] = self._selection(kind, sets)
        return made

    def _selection(self, kind: GraphQLObjectType, sets: Sequence[SelectionSetNode]) -> Step:
        asked = collect.fields(
            self.schema, kind, sets, fragments=self.fragments, switches=self.switches
        )  # fmt: skip
        names: dict[str, Any] = {}

        def bind(thing: Any) -> str:
            name = f"x{len(names)}"
            names[name] = thing
            return name

        parts: list[str] = []
        below: list[Step] = []
        for key, nodes in asked.items():
            if nodes[0].name.value == "__typename":
                parts.append(f"{key!r}: {kind.name!r}")
                continue
            definition = kind.fields.get(nodes[0].name.value)
            if definition is None:
                raise Unsupported(nodes[0].name.value)
            self._note(kind, columns.needs(definition))
            if (quick := columns.written(definition)) is not None:
                parts.append(f"{key!r}: {bind(quick)}(r)")
                continue
            source = columns.inline(definition, bind)
            if source is not None and leaves.is_leaf(definition.type):
                parts.append(f"{key!r}: {leaves.expression(definition.type, source, bind)}")
                continue
            parts.append(f"{key!r}: c{len(below)}")
            below.append(self._below(kind, definition, nodes, source))
        return _assembled(parts, below, names)

    def _note(self, kind: GraphQLObjectType, needs: frozenset[str] | None) -> None:
        """Remember which columns a field takes of its row."""
        table = getattr(kind.is_type_of, TABLE, None)
        if table is not None:
            known = self.columns.get(table, frozenset())
            self.columns[table] = None if known is None or needs is None else known | needs

    def _below(
        self, kind: GraphQLObjectType, definition: GraphQLField, nodes: list[FieldNode], source: str | None
    ) -> Step:
        """Return the function from rows to the completed values of one field."""
        complete = self._complete(definition.type, nodes)
        if source is not None:
            values = _column(definition)
            return _then(values, complete, is_async=False)
        self.relations += 1
        many = columns.of_rows(definition, nodes, self.convert)
        return _then(many or columns.one_by_one(kind, definition, nodes), complete, is_async=True)

    def _complete(self, kind: GraphQLOutputType, nodes: list[FieldNode]) -> Step:
        """Return the function that completes a list of values of a type."""
        if is_non_null_type(kind):
            return _required(self._complete(kind.of_type, nodes))
        if leaves.is_leaf(kind):
            one = leaves.serializer(kind)
            return Step(is_async=False, run=lambda values, _: [one(value) for value in values])
        if is_list_type(kind):
            return _flattened(self._complete(kind.of_type, nodes))
        sets = [node.selection_set for node in nodes if node.selection_set is not None]
        if is_abstract_type(kind):
            kinds = self.schema.get_possible_types(kind)
        else:
            assert isinstance(kind, GraphQLObjectType)  # noqa: S101 - nothing else has fields
            kinds = [kind]
        return _by_type(kinds, [self.selection(one, sets) for one in kinds])


def _assembled(parts: list[str], below: list[Step], names: dict[str, Any]) -> Step:
    """Make the function of a selection: what lies below it first, then a dict for each row."""
    taken = ", ".join(["r", *(f"c{i}" for i in range(len(below)))])
    rows = f"for {taken} in zip(rows, *columns, strict=True)" if below else "for r in rows"
    source = f"def assemble(rows, info, columns):\n    return [{{{', '.join(parts)}}} {rows}]\n"
    exec(compile(source, "<query>", "exec"), names)  # noqa: S102 - names of fields, keys as literals: all checked
    assemble = names["assemble"]
    if not below:
        return Step(is_async=False, run=lambda rows, state: assemble(rows, state.info, ()))
    if not any(step.is_async for step in below):

        def at_once(rows: Rows, state: State) -> Any:
            return assemble(rows, state.info, [step.run(rows, state) for step in below])

        return Step(is_async=False, run=at_once)

    waits = [i for i, step in enumerate(below) if step.is_async]

    async def in_turn(rows: Rows, state: State) -> Any:
        if not rows:
            return []
        found = [step.run(rows, state) for step in below if not step.is_async]
        done = await columns.together([below[i].run(rows, state) for i in waits])
        ready, awaited = iter(found), iter(done)
        return assemble(rows, state.info, [next(awaited) if step.is_async else next(ready) for step in below])

    return Step(is_async=True, run=in_turn)


def _column(definition: GraphQLField) -> Callable[[Rows, State], Any]:
    names: dict[str, Any] = {}

    def bind(thing: Any) -> str:
        names["x"] = thing
        return "x"

    source = columns.inline(definition, bind)
    values: Callable[[Rows, State], Any] = eval(  # noqa: S307 - names of our own
        f"lambda rows, state: (lambda info: [{source} for r in rows])(state.info)", names
    )
    return values


def _then(values: Callable[[Rows, State], Any], complete: Step, *, is_async: bool) -> Step:
    if not is_async and not complete.is_async:
        return Step(is_async=False, run=lambda rows, state: complete.run(values(rows, state), state))

    async def run(rows: Rows, state: State) -> Any:
        found = (await values(rows, state)) if is_async else values(rows, state)
        done = complete.run(found, state)
        return (await done) if complete.is_async else done

    return Step(is_async=True, run=run)


def _required(inner: Step) -> Step:
    def checked(done: list[Any]) -> list[Any]:
        if None in done:
            raise GiveUp("null in a field that is never null")
        return done

    if not inner.is_async:
        return Step(is_async=False, run=lambda values, state: checked(inner.run(values, state)))

    async def run(values: Rows, state: State) -> Any:
        return checked(await inner.run(values, state))

    return Step(is_async=True, run=run)


def _flattened(item: Step) -> Step:
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


def _by_type(kinds: Sequence[GraphQLObjectType], steps: Sequence[Step]) -> Step:
    """Complete objects, those of each concrete type together; one that stands there twice once."""
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


def _each_type(
    steps: Sequence[Step], grouped: Callable[[Rows], Groups], values: Rows, state: State
) -> list[Any]:
    groups = grouped(values)
    done = [
        step.run(list(group.values()), state) if group else ()
        for group, step in zip(groups, steps, strict=True)
    ]
    return _scattered(values, groups, done)


async def _each_type_async(
    steps: Sequence[Step], grouped: Callable[[Rows], Groups], values: Rows, state: State
) -> list[Any]:
    groups = grouped(values)
    done: list[Any] = [()] * len(steps)
    waits = []
    for i, (group, step) in enumerate(zip(groups, steps, strict=True)):
        if group:
            done[i] = step.run(list(group.values()), state)
            if step.is_async:
                waits.append(i)
    for i, answers in zip(waits, await columns.together([done[i] for i in waits]), strict=True):
        done[i] = answers
    return _scattered(values, groups, done)


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
