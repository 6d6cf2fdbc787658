"""The SQL backend: plan one statement that returns the answer to a query as JSON, if every field can."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLNonNull,
    GraphQLObjectType,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    is_abstract_type,
)
from strawberry.types.arguments import convert_arguments

from schema.plan import declarations, sql_lists, sql_values
from schema.plan.collect_fields import FieldCollector, NotCompilable
from schema.plan.cost_weights import WEIGHTS
from schema.plan.resolve_info import coerce_arguments
from schema.plan.sql_plan import SqlPlan, column_shape, shared_shape, type_values
from schema.plan.sql_values import UnsupportedField
from schema.types.fields import SHAPE, TABLE
from services.core.errors import Problem
from services.sql_json import shape
from services.sql_json.arguments import ListArguments, NodesArguments
from services.sql_json.shape import Parts, SqlJsonUnavailable, Value, Variants
from services.sql_json.sources import has_column

SelectionSets = Sequence[SelectionSetNode]
MAX_TABLES = 100
"""Joined tables and lists of a statement: PostgreSQL plans it anew on each connection."""


def plan_sql(collector: FieldCollector, operation: OperationDefinitionNode) -> SqlPlan | str:
    """Plan how PostgreSQL writes the answer to a query as JSON, or return the reason why it cannot."""
    planner = SqlPlanner(collector)
    query = collector.schema.query_type
    assert query is not None
    try:
        roots = tuple(
            (key, planner.root(query, nodes))
            for key, nodes in planner.fields(query, [operation.selection_set]).items()
        )
    except (NotCompilable, Problem, SqlJsonUnavailable) as reason:
        return str(reason)  # graphql-core runs it, or reports the error
    if not roots:
        return "no fields"
    return SqlPlan(shared_shape(roots), planner.parameters)


@dataclass
class SqlPlanner:
    """Builds the shape of one query, and the parameters that its arguments become."""

    collector: FieldCollector
    parameters: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    table_count: int = 0
    _variants_by_selection: dict[Any, tuple[Variants, int]] = field(default_factory=dict)
    """Variants by types and selections, with the number of their tables."""
    _names: dict[Any, str] = field(default_factory=dict)
    """Names of the parameters by field."""

    def root(self, query: GraphQLObjectType, nodes: list[FieldNode]) -> shape.Root:
        """Return the shape of a field at the query's root."""
        name = nodes[0].name.value
        if name == "__typename":
            return shape.Constant(f'"{query.name}"')
        if (definition := query.fields.get(name)) is None:
            raise NotCompilable(name)
        declared = getattr(declarations.resolver_of(declarations.declaration_of(definition)), SHAPE, None)
        if isinstance(declared, shape.SelectsNodes):
            return self._rows_root(declared, definition, nodes)
        if isinstance(declared, shape.Position):
            self.add_table()
            return declared
        if not isinstance(declared, shape.Selects):
            raise NotCompilable(f"Query.{name}")
        if declared.needs_table:
            self.add_table()
        if sql_lists.is_list(definition):
            weight = WEIGHTS.get(f"{query.name}.{name}", 1)
            return sql_lists.plan_list(self, declared, definition, nodes, weight=weight)
        return self.selected_row(declared, definition, nodes)

    def selected_row(
        self, declared: shape.Selects, definition: GraphQLField, nodes: list[FieldNode], *, weight: int = 0
    ) -> shape.Row:
        """Return the shape of the one row that a field selects, and what the row costs."""
        sets = sql_lists.selection_sets(nodes)
        options: tuple[tuple[str, Any, Variants], ...]
        if declared.options:
            options = tuple(self._options(declared.options, sets))
        else:
            options = (("", *self.row(definition.type, sets)),)
        names = {name for name, *_ in options}

        def to_arguments(arguments: dict[str, Any]) -> ListArguments:
            given = declared.arguments(arguments)
            if given.option not in names:
                raise NotCompilable(given.option)
            return given

        name = self.parameter(definition, nodes, to_arguments)
        return shape.Row(name, options, declared.owner, declared.is_required, weight)

    def _rows_root(
        self, declared: shape.SelectsNodes, definition: GraphQLField, nodes: list[FieldNode]
    ) -> shape.Rows:
        self.add_table()
        written = self._options(tuple(declared.options), sql_lists.selection_sets(nodes))
        options = tuple((name, declared.options[name], *rest) for name, *rest in written)
        names = {name for name, *_ in options}

        def to_arguments(arguments: dict[str, Any]) -> NodesArguments:
            given = declared.arguments(arguments)
            for option in given.options:
                if option in declared.options and option not in names:
                    raise NotCompilable(option)
            return given

        return shape.Rows(self.parameter(definition, nodes, to_arguments), options)

    def node_options(
        self, selects: Sequence[tuple[str, shape.SelectById]], sets: SelectionSets
    ) -> shape.NodeOptions:
        """Return what is written of a row that may be of several tables."""
        for _ in selects:
            self.add_table()
        return tuple(
            (name, select, *self.row(self.collector.schema.type_map[name], sets)) for name, select in selects
        )

    def _options(self, names: Sequence[str], sets: SelectionSets) -> Iterator[tuple[str, Any, Variants]]:
        """Yield the types that a row may have, as far as PostgreSQL can write them."""
        for name in names:
            before = self.table_count
            try:
                yield name, *self.row(self.collector.schema.type_map[name], sets)
            except (NotCompilable, Problem):
                continue
            finally:
                self.table_count = before

    def fields(self, object_type: GraphQLObjectType, sets: SelectionSets) -> dict[str, list[FieldNode]]:
        """Return the fields of a selection by response key."""
        return self.collector.fields(object_type, sets)

    def add_table(self) -> None:
        """Count a table of the statement."""
        self.table_count += 1
        if self.table_count > MAX_TABLES:
            raise NotCompilable("too many tables")

    def row_type(self, output_type: Any) -> tuple[Any, Sequence[GraphQLObjectType]]:
        """Return the table of a row, and the types that the row may have."""
        named: Any = get_named_type(output_type)
        object_types = self.collector.schema.get_possible_types(named) if is_abstract_type(named) else [named]
        tables = {getattr(object_type.is_type_of, TABLE, None) for object_type in object_types}
        if len(tables) != 1 or (table := tables.pop()) is None:
            raise NotCompilable(named.name)
        return table, object_types

    def row(self, output_type: Any, sets: SelectionSets) -> tuple[Any, Variants]:
        """Return the table of a row, and what is written of the row by its type."""
        named: Any = get_named_type(output_type)
        table, object_types = self.row_type(output_type)
        # All five types of a row share their children; without this, work would grow fivefold per level.
        key = (named.name, *map(id, sets))
        if (entry := self._variants_by_selection.get(key)) is None:
            before, self.table_count = self.table_count, 0
            variants = self._variants(named, object_types, sets)
            entry = self._variants_by_selection[key] = variants, self.table_count
            self.table_count = before
        self.table_count += entry[1]
        if self.table_count > MAX_TABLES:
            raise NotCompilable("too many tables")
        return table, entry[0]

    def _variants(
        self, named: Any, object_types: Sequence[GraphQLObjectType], sets: SelectionSets
    ) -> Variants:
        types_by_parts: dict[Parts, tuple[str, ...]] = {}
        for object_type in object_types:
            before = self.table_count
            nodes_by_key = self.fields(object_type, sets)
            parts = tuple(
                (key, self._value(object_type, object_types, nodes)) for key, nodes in nodes_by_key.items()
            )
            if parts in types_by_parts:  # written once for all of its types
                self.table_count = before
            types_by_parts[parts] = (*types_by_parts.get(parts, ()), *type_values(object_type))
        if len(types_by_parts) == 1 and (is_abstract_type(named) or not type_values(object_types[0])):
            return (shape.Variant((), next(iter(types_by_parts))),)
        return tuple(shape.Variant(types, parts) for parts, types in types_by_parts.items())

    def _value(
        self,
        object_type: GraphQLObjectType,
        object_types: Sequence[GraphQLObjectType],
        nodes: list[FieldNode],
    ) -> Value:
        name = nodes[0].name.value
        if name == "__typename":
            if not type_values(object_type):
                return shape.Constant(f'"{object_type.name}"')
            return shape.TypeName(tuple((t, k.name) for k in object_types for t in type_values(k)))
        definition = object_type.fields[name]
        declared = declarations.declaration_of(definition)
        resolver = declarations.resolver_of(declared)
        try:
            if resolver is None:
                table = getattr(object_type.is_type_of, TABLE, None)
                if table is None or not has_column(table, declared.python_name):
                    raise NotCompilable(name)
                value = column_shape(definition.type, declared.python_name)
            else:
                of_field = getattr(resolver, SHAPE, None)
                weight = WEIGHTS.get(f"{object_type.name}.{name}", 1)
                value = sql_values.plan_value(self, of_field, definition, nodes, weight=weight)
        except UnsupportedField:
            raise NotCompilable(f"{object_type.name}.{name}") from None
        return shape.NonNull(value) if isinstance(definition.type, GraphQLNonNull) else value

    def parameter(
        self, definition: GraphQLField, nodes: list[FieldNode], convert: Callable[[dict[str, Any]], Any]
    ) -> str:
        """Register a parameter made from a field's arguments; return its name."""
        node, declared = nodes[0], declarations.declaration_of(definition)
        key = id(node), id(declarations.resolver_of(declared))  # one for all types that inherit the field
        if (name := self._names.get(key)) is not None:
            return name
        name = self._names[key] = f"p{len(self._names)}"
        registry, config = self.collector.conversion

        def value(variables: Any) -> Any:
            raw = coerce_arguments(definition, node, variables)
            return convert(
                convert_arguments(raw, declared.arguments, scalar_registry=registry, config=config)
            )

        if declarations.has_variables(node):
            self.parameters[name] = value
        else:
            self.parameters[name] = _constant(value(None))
        return name


def _constant(value: Any) -> Callable[[Any], Any]:
    return lambda _: value
