"""From a selection on a type to a function over rows: source for its leaves, calls for its relations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType
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

from schema.plan import collect_fields, complete_values, field_access, leaf_source
from schema.plan.collect_fields import Unsupported
from schema.plan.complete_values import Rows, Step
from schema.plan.leaf_source import GiveUp
from schema.plan.run_state import State
from schema.types.fields import TABLE

MAX_CODES = 128
"""Of selections, the last ones used: compiling their source is most of the work of compiling a query."""


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
        asked = collect_fields.fields(
            self.schema, kind, sets, fragments=self.fragments, switches=self.switches
        )
        names: dict[str, Any] = {}

        def bind(thing: Any) -> str:
            name = f"x{len(names)}"
            names[name] = thing
            return name

        parts: list[str] = []
        below: list[Step] = []
        for key, nodes in asked.items():
            if (found := self._in_place(kind, nodes, "r", bind)) is None:
                found = f"c{len(below)}"
                below.append(self._below(kind, nodes))
            parts.append(f"{key!r}: {found}")
        return _assembled(parts, below, names)

    def _in_place(
        self, kind: GraphQLObjectType, nodes: list[FieldNode], row: str, bind: Callable[[Any], str]
    ) -> str | None:
        """Return source for the answer of a field of the row in a variable; None if it takes a call."""
        name = nodes[0].name.value
        if name == "__typename":
            return repr(kind.name)
        definition = _definition(kind, name)
        self._note(kind, field_access.needs(definition))
        if (quick := field_access.written(definition)) is not None:
            return f"{bind(quick)}({row})"
        if (source := field_access.inline(definition, bind, row)) is None:
            return None
        if leaf_source.is_leaf(definition.type):
            return leaf_source.expression(definition.type, source, bind)
        return self._object_in_place(definition.type, nodes, source, bind)

    def _object_in_place(
        self, kind: GraphQLOutputType, nodes: list[FieldNode], source: str, bind: Callable[[Any], str]
    ) -> str | None:
        """Return source for an object of one row alone, such as an amount, if all of it is in place."""
        of = kind.of_type if is_non_null_type(kind) else kind
        if not isinstance(of, GraphQLObjectType) or of.is_type_of is not None:
            return None
        sets = [node.selection_set for node in nodes if node.selection_set is not None]
        asked = collect_fields.fields(self.schema, of, sets, fragments=self.fragments, switches=self.switches)
        variable = bind(None).replace("x", "o")
        parts = []
        for key, below in asked.items():
            if (found := self._in_place(of, below, variable, bind)) is None:
                return None
            parts.append(f"{key!r}: {found}")
        null = f"{bind(_refuse_null)}()" if is_non_null_type(kind) else "None"
        return f"({{{', '.join(parts)}}} if ({variable} := {source}) is not None else {null})"

    def _note(self, kind: GraphQLObjectType, needs: frozenset[str] | None) -> None:
        """Remember which columns a field takes of its row."""
        table = getattr(kind.is_type_of, TABLE, None)
        if table is not None:
            known = self.columns.get(table, frozenset())
            self.columns[table] = None if known is None or needs is None else known | needs

    def _below(self, kind: GraphQLObjectType, nodes: list[FieldNode]) -> Step:
        """Return the function from rows to the completed values of one field."""
        definition = _definition(kind, nodes[0].name.value)
        complete = self._complete(definition.type, nodes)
        if (values := _column(definition)) is not None:
            return _then(values, complete, is_async=False)
        self.relations += 1
        many = field_access.of_rows(definition, nodes, self.convert)
        return _then(many or field_access.one_by_one(kind, definition, nodes), complete, is_async=True)

    def _complete(self, kind: GraphQLOutputType, nodes: list[FieldNode]) -> Step:
        """Return the function that completes a list of values of a type."""
        if is_non_null_type(kind):
            return complete_values.required(self._complete(kind.of_type, nodes))
        if leaf_source.is_leaf(kind):
            one = leaf_source.serializer(kind)
            return Step(is_async=False, run=lambda values, _: [one(value) for value in values])
        if is_list_type(kind):
            return complete_values.flattened(self._complete(kind.of_type, nodes))
        sets = [node.selection_set for node in nodes if node.selection_set is not None]
        if is_abstract_type(kind):
            kinds = self.schema.get_possible_types(kind)
        else:
            assert isinstance(kind, GraphQLObjectType)
            kinds = [kind]
        return complete_values.by_type(kinds, [self.selection(one, sets) for one in kinds])


def _assembled(parts: list[str], below: list[Step], names: dict[str, Any]) -> Step:
    """Make the function of a selection: what lies below it first, then a dict for each row."""
    taken = ", ".join(["r", *(f"c{i}" for i in range(len(below)))])
    rows = f"for {taken} in zip(rows, *columns, strict=True)" if below else "for r in rows"
    source = (
        "def assemble(rows, info, columns):\n    found = []\n    add = found.append\n"
        f"    {rows}:\n        add({{{', '.join(parts)}}})\n    return found\n"
    )
    exec(_code(source), names)  # noqa: S102 - names of fields, keys as literals: all checked
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
        done = await field_access.together([below[i].run(rows, state) for i in waits])
        ready, awaited = iter(found), iter(done)
        return assemble(rows, state.info, [next(awaited) if step.is_async else next(ready) for step in below])

    return Step(is_async=True, run=in_turn)


@lru_cache(maxsize=MAX_CODES)
def _code(source: str) -> CodeType:
    """Return source compiled: the same for most types of an interface, and in documents that are alike."""
    return compile(source, "<query>", "exec")


def _definition(kind: GraphQLObjectType, name: str) -> GraphQLField:
    found: GraphQLField | None = kind.fields.get(name)
    if found is None:
        raise Unsupported(name)
    return found


def _refuse_null() -> None:
    raise GiveUp("null in a field that is never null")


def _column(definition: GraphQLField) -> Callable[[Rows, State], Any] | None:
    """Return the function to the values of a field that the rows hold, or None where it takes a call."""
    names: dict[str, Any] = {}

    def bind(thing: Any) -> str:
        names["x"] = thing
        return "x"

    if (source := field_access.inline(definition, bind, "r")) is None:
        return None
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
