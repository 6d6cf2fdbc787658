"""From a selection on a type to a function over rows: source for its leaves, calls for its relations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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

from schema.compiled import collect, completion, leaves
from schema.compiled import fields as columns
from schema.compiled.collect import Unsupported
from schema.compiled.completion import Rows, Step
from schema.compiled.state import State
from schema.fields import TABLE


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
            return completion.required(self._complete(kind.of_type, nodes))
        if leaves.is_leaf(kind):
            one = leaves.serializer(kind)
            return Step(is_async=False, run=lambda values, _: [one(value) for value in values])
        if is_list_type(kind):
            return completion.flattened(self._complete(kind.of_type, nodes))
        sets = [node.selection_set for node in nodes if node.selection_set is not None]
        if is_abstract_type(kind):
            kinds = self.schema.get_possible_types(kind)
        else:
            assert isinstance(kind, GraphQLObjectType)  # noqa: S101 - nothing else has fields
            kinds = [kind]
        return completion.by_type(kinds, [self.selection(one, sets) for one in kinds])


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
