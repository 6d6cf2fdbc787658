"""The Python backend: compile a selection into a function over rows, with source for its leaves."""

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
from schema.plan.collect_fields import NotCompilable
from schema.plan.complete_values import Rows, Stage
from schema.plan.leaf_source import FallBack
from schema.plan.run_state import RunState
from schema.types.fields import TABLE

MAX_CODES = 128
"""Code objects kept, the last ones used: compiling source is most of the work of compiling a query."""


@dataclass
class Compiler:
    """Compiles the selections of one operation, each selection on a type once."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    conditions: Mapping[str, bool]
    """The values of the variables in @skip and @include."""
    convert: tuple[Any, Any]
    columns: dict[Any, frozenset[str] | None] = field(default_factory=dict)
    """The columns read of each table; None means all of them."""
    relations: int = 0
    """The number of fields read by calls of their own, root fields included."""
    _stages: dict[Any, Stage] = field(default_factory=dict)

    def selection(self, object_type: GraphQLObjectType, sets: Sequence[SelectionSetNode]) -> Stage:
        """Compile a selection into a function from rows of a type to dicts in the same order."""
        key = (object_type.name, *map(id, sets))
        if (stage := self._stages.get(key)) is None:
            stage = self._stages[key] = self._selection(object_type, sets)
        return stage

    def _selection(self, object_type: GraphQLObjectType, sets: Sequence[SelectionSetNode]) -> Stage:
        nodes_by_key = collect_fields.collect(
            self.schema, object_type, sets, fragments=self.fragments, conditions=self.conditions
        )
        names: dict[str, Any] = {}

        def bind(value: Any) -> str:
            name = f"x{len(names)}"
            names[name] = value
            return name

        parts: list[str] = []
        relations: list[Stage] = []
        for key, nodes in nodes_by_key.items():
            if (value := self._inline(object_type, nodes, "r", bind)) is None:
                value = f"c{len(relations)}"
                relations.append(self._relation(object_type, nodes))
            parts.append(f"{key!r}: {value}")
        return _row_builder(parts, relations, names)

    def _inline(
        self, object_type: GraphQLObjectType, nodes: list[FieldNode], row: str, bind: Callable[[Any], str]
    ) -> str | None:
        """Return source for the response value of a field of the variable `row`; None if it needs a call."""
        name = nodes[0].name.value
        if name == "__typename":
            return repr(object_type.name)
        definition = _definition(object_type, name)
        self._note_columns(object_type, field_access.needed_columns(definition))
        if (serialize := field_access.serialized(definition)) is not None:
            return f"{bind(serialize)}({row})"
        if (source := field_access.inline_source(definition, bind, row)) is None:
            return None
        if leaf_source.is_leaf(definition.type):
            return leaf_source.expression(definition.type, source, bind)
        return self._inline_object(definition.type, nodes, source, bind)

    def _inline_object(
        self, output_type: GraphQLOutputType, nodes: list[FieldNode], source: str, bind: Callable[[Any], str]
    ) -> str | None:
        """Return source for an object that is part of one row, such as an amount, if all of it is inline."""
        object_type = output_type.of_type if is_non_null_type(output_type) else output_type
        if not isinstance(object_type, GraphQLObjectType) or object_type.is_type_of is not None:
            return None
        sets = [node.selection_set for node in nodes if node.selection_set is not None]
        nodes_by_key = collect_fields.collect(
            self.schema, object_type, sets, fragments=self.fragments, conditions=self.conditions
        )
        variable = bind(None).replace("x", "o")
        parts = []
        for key, child_nodes in nodes_by_key.items():
            if (value := self._inline(object_type, child_nodes, variable, bind)) is None:
                return None
            parts.append(f"{key!r}: {value}")
        null = f"{bind(_refuse_null)}()" if is_non_null_type(output_type) else "None"
        return f"({{{', '.join(parts)}}} if ({variable} := {source}) is not None else {null})"

    def _note_columns(self, object_type: GraphQLObjectType, columns: frozenset[str] | None) -> None:
        """Record the columns that a field reads from its row."""
        table = getattr(object_type.is_type_of, TABLE, None)
        if table is not None:
            recorded = self.columns.get(table, frozenset())
            self.columns[table] = None if recorded is None or columns is None else recorded | columns

    def _relation(self, object_type: GraphQLObjectType, nodes: list[FieldNode]) -> Stage:
        """Compile one field into a function from rows to completed values."""
        definition = _definition(object_type, nodes[0].name.value)
        complete = self._complete(definition.type, nodes)
        if (values := _row_values(definition)) is not None:
            return _compose(values, complete, is_async=False)
        self.relations += 1
        many = field_access.batched_values(definition, nodes, self.convert)
        return _compose(
            many or field_access.resolved_values(object_type, definition, nodes), complete, is_async=True
        )

    def _complete(self, output_type: GraphQLOutputType, nodes: list[FieldNode]) -> Stage:
        """Return the stage that completes a list of values of a type."""
        if is_non_null_type(output_type):
            return complete_values.non_null(self._complete(output_type.of_type, nodes))
        if leaf_source.is_leaf(output_type):
            serialize = leaf_source.serializer(output_type)
            return Stage(is_async=False, run=lambda values, _: [serialize(value) for value in values])
        if is_list_type(output_type):
            return complete_values.list_of(self._complete(output_type.of_type, nodes))
        sets = [node.selection_set for node in nodes if node.selection_set is not None]
        if is_abstract_type(output_type):
            object_types = self.schema.get_possible_types(output_type)
        else:
            assert isinstance(output_type, GraphQLObjectType)
            object_types = [output_type]
        return complete_values.abstract_type(
            object_types, [self.selection(object_type, sets) for object_type in object_types]
        )


def _row_builder(parts: list[str], relations: list[Stage], names: dict[str, Any]) -> Stage:
    """Compile the function that builds a dict for each row, once the relations are read."""
    targets = ", ".join(["r", *(f"c{i}" for i in range(len(relations)))])
    rows = f"for {targets} in zip(rows, *columns, strict=True)" if relations else "for r in rows"
    source = (
        "def assemble(rows, info, columns):\n    dicts = []\n    add = dicts.append\n"
        f"    {rows}:\n        add({{{', '.join(parts)}}})\n    return dicts\n"
    )
    exec(_compile_source(source), names)  # noqa: S102 - names of fields, keys as literals: all checked
    assemble = names["assemble"]
    if not relations:
        return Stage(is_async=False, run=lambda rows, state: assemble(rows, state.info, ()))
    if not any(stage.is_async for stage in relations):

        def run_now(rows: Rows, state: RunState) -> Any:
            return assemble(rows, state.info, [stage.run(rows, state) for stage in relations])

        return Stage(is_async=False, run=run_now)

    async_indexes = [i for i, stage in enumerate(relations) if stage.is_async]

    async def run(rows: Rows, state: RunState) -> Any:
        if not rows:
            return []
        ready = iter([stage.run(rows, state) for stage in relations if not stage.is_async])
        pending = [relations[i].run(rows, state) for i in async_indexes]
        awaited = iter(await field_access.gather_or_cancel(pending))
        columns = [next(awaited) if stage.is_async else next(ready) for stage in relations]
        return assemble(rows, state.info, columns)

    return Stage(is_async=True, run=run)


@lru_cache(maxsize=MAX_CODES)
def _compile_source(source: str) -> CodeType:
    """Compile source; cached, because the types of an interface and similar documents share it."""
    return compile(source, "<query>", "exec")


def _definition(object_type: GraphQLObjectType, name: str) -> GraphQLField:
    definition: GraphQLField | None = object_type.fields.get(name)
    if definition is None:
        raise NotCompilable(name)
    return definition


def _refuse_null() -> None:
    raise FallBack("null in a non-null field")


def _row_values(definition: GraphQLField) -> Callable[[Rows, RunState], Any] | None:
    """Return the function that reads a field held by the rows, or None if it needs a call."""
    names: dict[str, Any] = {}

    def bind(value: Any) -> str:
        names["x"] = value
        return "x"

    if (source := field_access.inline_source(definition, bind, "r")) is None:
        return None
    values: Callable[[Rows, RunState], Any] = eval(  # noqa: S307 - names of our own
        f"lambda rows, state: (lambda info: [{source} for r in rows])(state.info)", names
    )
    return values


def _compose(values: Callable[[Rows, RunState], Any], complete: Stage, *, is_async: bool) -> Stage:
    if not is_async and not complete.is_async:
        return Stage(is_async=False, run=lambda rows, state: complete.run(values(rows, state), state))

    async def run(rows: Rows, state: RunState) -> Any:
        raw = (await values(rows, state)) if is_async else values(rows, state)
        completed = complete.run(raw, state)
        return (await completed) if complete.is_async else completed

    return Stage(is_async=True, run=run)
