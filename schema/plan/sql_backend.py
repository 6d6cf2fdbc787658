"""The SQL backend: compile a selection into one SELECT that returns JSON, if every field supports it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    is_abstract_type,
)
from strawberry.types.arguments import convert_arguments

from schema.plan import collect_fields, field_access
from schema.plan.collect_fields import NotCompilable
from schema.plan.python_backend import Compiler
from schema.plan.run_state import coerce_arguments
from schema.plan.sql_plan import SqlPlan, column_shape, shared_shape, type_values
from schema.types.connection import PAGE_ARGUMENTS, to_page_request
from schema.types.fields import SHAPE, TABLE
from services.collectives.members import MembersKey
from services.core.errors import Problem
from services.core.money import require_currency
from services.sql_json import shape
from services.sql_json.shape import Parts, Value

SelectionSets = Sequence[SelectionSetNode]
MAX_JOINS = 16
"""Joined tables: with more, PostgreSQL would spend too long on their order."""
_BALANCE_AMOUNTS = {"posted", "held", "available", "pending"}
_AMOUNT_PARTS: dict[str, shape.AmountPart] = {
    "value": "value",
    "currency": "currency",
    "minorUnits": "minor_units",
    "exponent": "exponent",
}


def plan_sql(compiler: Compiler, operation: OperationDefinitionNode) -> SqlPlan | None:
    """Plan how PostgreSQL writes the single root field of a query as JSON; None if it cannot."""
    planner = _SqlPlanner(compiler)
    try:
        query = compiler.schema.query_type
        assert query is not None
        (nodes,) = planner.fields(query, [operation.selection_set]).values()
        return planner.root(query.fields[nodes[0].name.value], nodes)
    except (NotCompilable, Problem):
        return None  # the Python backend runs it, or reports the error


@dataclass
class _SqlPlanner:
    """Builds the shape of one query, and the parameters that its arguments become."""

    compiler: Compiler
    parameters: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    join_count: int = 0
    _parts_by_selection: dict[Any, tuple[Parts, int]] = field(default_factory=dict)
    """Parts by types and selections, with the number of their joins."""

    def root(self, definition: GraphQLField, nodes: list[FieldNode]) -> SqlPlan:
        object_type = get_named_type(definition.type)
        as_one_text, needs_cursors = False, True
        parts: Parts
        if object_type.name.endswith("Connection"):
            as_one_text, needs_cursors, parts, object_types = self._connection(object_type, nodes)
        else:
            object_types = self._row_types(definition.type)
            parts = self._parts(object_types, _selection_sets(nodes))
        table = getattr(object_types[0].is_type_of, TABLE, None)
        if table is None:
            raise NotCompilable(object_type.name)
        return SqlPlan(shared_shape(table, parts, as_one_text, needs_cursors), self.parameters)

    def fields(self, object_type: GraphQLObjectType, sets: SelectionSets) -> dict[str, list[FieldNode]]:
        nodes_by_key = collect_fields.collect(
            self.compiler.schema,
            object_type,
            sets,
            fragments=self.compiler.fragments,
            conditions=self.compiler.conditions,
        )
        if not nodes_by_key:
            raise NotCompilable("an empty selection")
        return nodes_by_key

    def _connection(
        self, object_type: Any, nodes: list[FieldNode]
    ) -> tuple[bool, bool, Parts, Sequence[GraphQLObjectType]]:
        """Return if rows are one text, if cursors are needed, the parts of rows, and their types."""
        as_one_text, needs_cursors, node_selections = True, False, []
        for children in self.fields(object_type, _selection_sets(nodes)).values():
            name = children[0].name.value
            if name == "nodes":
                node_selections.append((object_type.fields["nodes"].type, _selection_sets(children)))
            elif name == "edges":
                as_one_text = False
                edge: Any = get_named_type(object_type.fields["edges"].type)
                for edge_children in self.fields(edge, _selection_sets(children)).values():
                    needs_cursors |= edge_children[0].name.value == "cursor"
                    if edge_children[0].name.value == "node":
                        node_selections.append((edge.fields["node"].type, _selection_sets(edge_children)))
            elif name == "pageInfo":
                as_one_text, needs_cursors = False, True
            elif name != "__typename":
                raise NotCompilable(name)
        if not node_selections:
            raise NotCompilable("no rows")
        object_types = self._row_types(node_selections[0][0])
        # Each row is written once, so `nodes` and `edges` must select the same parts.
        parts = {self._parts(object_types, sets) for _, sets in node_selections}
        if len(parts) > 1:
            raise NotCompilable("nodes and edges with different selections")
        return as_one_text, needs_cursors, parts.pop(), object_types

    def _row_types(self, output_type: GraphQLOutputType) -> Sequence[GraphQLObjectType]:
        """Return the types that a row may have: all types of its table."""
        named: Any = get_named_type(output_type)
        if is_abstract_type(named):
            object_types = self.compiler.schema.get_possible_types(named)
            if named.name != "Collective":
                raise NotCompilable(named.name)
            return object_types
        if getattr(named.is_type_of, TABLE, None) is None or type_values(named):
            raise NotCompilable(named.name)
        return [named]

    def _parts(self, object_types: Sequence[GraphQLObjectType], sets: SelectionSets) -> Parts:
        """Return the parts of rows, which must be the same for all types."""
        # All five types of a row share their children; without this, work would grow fivefold per level.
        key = (*(object_type.name for object_type in object_types), *map(id, sets))
        if (entry := self._parts_by_selection.get(key)) is None:
            joins_before, self.join_count = self.join_count, 0
            entry = self._parts_by_selection[key] = (self._same_parts(object_types, sets), self.join_count)
            self.join_count = joins_before
        self.join_count += entry[1]
        if self.join_count > MAX_JOINS:
            raise NotCompilable("too many joins")
        return entry[0]

    def _same_parts(self, object_types: Sequence[GraphQLObjectType], sets: SelectionSets) -> Parts:
        joins_before = self.join_count
        variants = set()
        for object_type in object_types:
            self.join_count = joins_before
            nodes_by_key = self.fields(object_type, sets)
            values = [self._value(object_type, object_types, nodes) for nodes in nodes_by_key.values()]
            variants.add(tuple(zip(nodes_by_key, values, strict=True)))
        if len(variants) > 1:
            raise NotCompilable("parts that differ by type")
        return variants.pop()

    def _value(
        self,
        object_type: GraphQLObjectType,
        object_types: Sequence[GraphQLObjectType],
        nodes: list[FieldNode],
    ) -> Value:
        name = nodes[0].name.value
        if name == "__typename":
            if len(object_types) == 1:
                return shape.Constant(f'"{object_type.name}"')
            return shape.TypeName(tuple((t, k.name) for k in object_types for t in type_values(k)))
        definition = object_type.fields[name]
        declared = field_access.declaration_of(definition)
        resolver = field_access.resolver_of(declared)
        if resolver is None:
            table = getattr(object_type.is_type_of, TABLE, None)
            if table is None or declared.python_name not in table.__table__.c:
                raise NotCompilable(name)
            value = column_shape(definition.type, declared.python_name)
        else:
            value = self._declared(getattr(resolver, SHAPE, None), definition, nodes)
        return shape.NonNull(value) if isinstance(definition.type, GraphQLNonNull) else value

    def _declared(self, value: Value | None, definition: GraphQLField, nodes: list[FieldNode]) -> Value:
        """Return the shape of a declared field, with its selections and arguments."""
        match value:
            case None:
                raise NotCompilable(nodes[0].name.value)
            case shape.Amount():
                return replace(value, parts=self._amount(definition, nodes))
            case shape.ToOne() | shape.Host():
                self.join_count += 1
                row_types = self._row_types(definition.type)
                return replace(value, parts=self._parts(row_types, _selection_sets(nodes)))
            case shape.BalanceField():
                return self._balance(definition, nodes)
            case shape.Members():
                return self._members(value, definition, nodes)
        return value

    def _amount(
        self, definition: GraphQLField, nodes: list[FieldNode]
    ) -> tuple[tuple[str, shape.AmountPart | shape.Constant], ...]:
        object_type: Any = get_named_type(definition.type)
        parts: list[tuple[str, shape.AmountPart | shape.Constant]] = []
        for key, children in self.fields(object_type, _selection_sets(nodes)).items():
            name = children[0].name.value
            parts.append((key, shape.Constant('"Amount"') if name == "__typename" else _AMOUNT_PARTS[name]))
        return tuple(parts)

    def _balance(self, definition: GraphQLField, nodes: list[FieldNode]) -> Value:
        object_type: Any = get_named_type(definition.type)
        parts: list[tuple[str, Any]] = []
        for key, children in self.fields(object_type, _selection_sets(nodes)).items():
            name = children[0].name.value
            if name in _BALANCE_AMOUNTS:
                amount = shape.Amount(name, "currency", self._amount(object_type.fields[name], children))
                parts.append((key, amount))
            elif name in {"__typename", "currency"}:
                is_currency = name == "currency"
                parts.append(
                    (key, shape.Column("bare_text", name) if is_currency else shape.Constant('"Balance"'))
                )
            else:
                raise NotCompilable(name)
        self.join_count += 1

        def to_currency(arguments: dict[str, Any]) -> str:
            if arguments.get("as_of") is not None:
                raise NotCompilable("as_of")
            return require_currency(arguments["currency"], field="currency")

        return shape.BalanceField(self._parameter(definition, nodes, to_currency), tuple(parts))

    def _members(self, value: shape.Members, definition: GraphQLField, nodes: list[FieldNode]) -> Value:
        object_type: Any = get_named_type(definition.type)
        lists: list[tuple[str, str | None, Parts]] = []
        for key, children in self.fields(object_type, _selection_sets(nodes)).items():
            name = children[0].name.value
            if name == "nodes":
                row_types = self._row_types(object_type.fields[name].type)
                lists.append((key, None, self._parts(row_types, _selection_sets(children))))
            elif name == "edges":
                edge: Any = get_named_type(object_type.fields[name].type)
                edge_fields = self.fields(edge, _selection_sets(children))
                if [edge_field[0].name.value for edge_field in edge_fields.values()] != ["node"]:
                    raise NotCompilable("edges")
                ((node, node_nodes),) = edge_fields.items()
                parts = self._parts(self._row_types(edge.fields["node"].type), _selection_sets(node_nodes))
                lists.append((key, node, parts))
            else:
                raise NotCompilable(name)
        self.join_count += 1

        def to_members_key(arguments: dict[str, Any]) -> MembersKey:
            page = to_page_request(*(arguments.get(name) for name in PAGE_ARGUMENTS))
            if page.cursor is not None or page.is_backward:
                raise NotCompilable("another page than the first")
            return MembersKey(value.is_of_members, tuple(arguments.get("role") or ()), page)

        return replace(value, name=self._parameter(definition, nodes, to_members_key), lists=tuple(lists))

    def _parameter(
        self, definition: GraphQLField, nodes: list[FieldNode], convert: Callable[[dict[str, Any]], Any]
    ) -> str:
        """Register a parameter made from a field's arguments; return its name."""
        node, declared = nodes[0], field_access.declaration_of(definition)
        registry, config = self.compiler.convert
        assert node.loc is not None
        name = f"p{node.loc.start}"

        def value(variables: Any) -> Any:
            raw = coerce_arguments(definition, node, variables)
            return convert(
                convert_arguments(raw, declared.arguments, scalar_registry=registry, config=config)
            )

        if field_access.has_variables(node):
            self.parameters[name] = value
        else:
            self.parameters[name] = _constant(value(None))
        return name


def _constant(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


def _selection_sets(nodes: Sequence[FieldNode]) -> SelectionSets:
    return [node.selection_set for node in nodes if node.selection_set is not None]
