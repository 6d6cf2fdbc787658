"""From a selection to what PostgreSQL writes itself, where it can write all of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from graphql import (
    FieldNode,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInt,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLString,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
)
from strawberry.types.arguments import convert_arguments

from schema.plan import collect_fields, field_access, leaf_source
from schema.plan.collect_fields import Unsupported
from schema.plan.python_backend import Compiler
from schema.plan.run_state import raw_arguments
from schema.types.connection import requested
from schema.types.fields import SHOWN, TABLE, TYPES
from services.collectives.members import MembersKey
from services.core.errors import Problem
from services.core.money import known_currency
from services.sql_json import shape
from services.sql_json.shape import Asked, Parts, Shown, Value

Sets = Sequence[SelectionSetNode]
MOST = 16
"""Tables that are joined: PostgreSQL would look too long for an order."""
_FIGURES = {"posted", "held", "available", "pending"}
_AMOUNT: dict[str, shape.AmountPart] = {
    "value": "value",
    "currency": "currency",
    "minorUnits": "minor_units",
    "exponent": "exponent",
}


@dataclass(frozen=True)
class Plan:
    """What is written, and how its parameters are had."""

    shown: Shown
    parameters: dict[str, Callable[[Any], Any]]
    """By their names; each takes the values of the query's variables."""

    def asked(self, variables: Any) -> Asked:
        """Return what is asked for this time.

        Raises:
            Problem: an argument is no good.
            Unsupported: it is, but not here.
        """
        return Asked(self.shown, {name: value(variables) for name, value in self.parameters.items()})


def plan(compiler: Compiler, operation: OperationDefinitionNode) -> Plan | None:
    """Return how the one list or thing that a query asks for is written; None if it cannot be."""
    reader = _Reader(compiler)
    try:
        query = compiler.schema.query_type
        assert query is not None
        (nodes,) = reader.fields(query, [operation.selection_set]).values()
        return reader.root(query.fields[nodes[0].name.value], nodes)
    except (Unsupported, Problem):
        return None  # the usual way does it, or tells what is wrong


@dataclass
class _Reader:
    compiler: Compiler
    parameters: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    joined: int = 0
    """Tables."""
    _made: dict[Any, tuple[Parts, int]] = field(default_factory=dict)
    """What is shown by selections, and how many tables are joined for it."""

    def root(self, definition: GraphQLField, nodes: list[FieldNode]) -> Plan:
        kind = get_named_type(definition.type)
        is_whole, wants_places = False, True
        parts: Parts
        if kind.name.endswith("Connection"):
            is_whole, wants_places, parts, kinds = self._connection(kind, nodes)
        else:
            kinds = self._kinds(definition.type)
            parts = self._parts(kinds, _sets(nodes))
        table = getattr(kinds[0].is_type_of, TABLE, None)
        if table is None:
            raise Unsupported(kind.name)
        return Plan(_shown(table, parts, is_whole, wants_places), self.parameters)

    def fields(self, kind: GraphQLObjectType, sets: Sets) -> dict[str, list[FieldNode]]:
        found = collect_fields.fields(
            self.compiler.schema,
            kind,
            sets,
            fragments=self.compiler.fragments,
            switches=self.compiler.switches,
        )
        if not found:
            raise Unsupported("nothing")
        return found

    def _connection(
        self, kind: Any, nodes: list[FieldNode]
    ) -> tuple[bool, bool, Parts, Sequence[GraphQLObjectType]]:
        """Return whether it is written as a whole, whether places are asked for, what of which types."""
        is_whole, wants_places, found = True, False, []
        for below in self.fields(kind, _sets(nodes)).values():
            name = below[0].name.value
            if name == "nodes":
                found.append((kind.fields["nodes"].type, _sets(below)))
            elif name == "edges":
                is_whole = False
                edge: Any = get_named_type(kind.fields["edges"].type)
                for inner in self.fields(edge, _sets(below)).values():
                    wants_places |= inner[0].name.value == "cursor"
                    if inner[0].name.value == "node":
                        found.append((edge.fields["node"].type, _sets(inner)))
            elif name == "pageInfo":
                is_whole, wants_places = False, True
            elif name != "__typename":
                raise Unsupported(name)
        if not found:
            raise Unsupported("no rows")
        kinds = self._kinds(found[0][0])
        # A row is written once, however often it is shown.
        parts = {self._parts(kinds, sets) for _, sets in found}
        if len(parts) > 1:
            raise Unsupported("two ways to show a row")
        return is_whole, wants_places, parts.pop(), kinds

    def _kinds(self, kind: GraphQLOutputType) -> Sequence[GraphQLObjectType]:
        """Return the types that a row may be of: all that its table holds."""
        named: Any = get_named_type(kind)
        if is_abstract_type(named):
            kinds = self.compiler.schema.get_possible_types(named)
            if named.name != "Collective":
                raise Unsupported(named.name)
            return kinds
        if getattr(named.is_type_of, TABLE, None) is None or _types(named):
            raise Unsupported(named.name)
        return [named]

    def _parts(self, kinds: Sequence[GraphQLObjectType], sets: Sets) -> Parts:
        """Return what is shown of rows, which must be the same for all types."""
        # Each type of a row asks for the same below: without this, five times as often at each step down.
        key = (*(kind.name for kind in kinds), *map(id, sets))
        if (made := self._made.get(key)) is None:
            before, self.joined = self.joined, 0
            made = self._made[key] = (self._same_parts(kinds, sets), self.joined)
            self.joined = before
        self.joined += made[1]
        if self.joined > MOST:
            raise Unsupported("too much to join")
        return made[0]

    def _same_parts(self, kinds: Sequence[GraphQLObjectType], sets: Sets) -> Parts:
        before = self.joined
        found = set()
        for kind in kinds:
            self.joined = before
            asked = self.fields(kind, sets)
            found.add(tuple((key, self._value(kind, kinds, nodes)) for key, nodes in asked.items()))
        if len(found) > 1:
            raise Unsupported("by type")
        return found.pop()

    def _value(
        self, kind: GraphQLObjectType, kinds: Sequence[GraphQLObjectType], nodes: list[FieldNode]
    ) -> Value:
        name = nodes[0].name.value
        if name == "__typename":
            if len(kinds) == 1:
                return shape.Constant(f'"{kind.name}"')
            return shape.TypeName(tuple((t, k.name) for k in kinds for t in _types(k)))
        definition = kind.fields[name]
        declared = field_access.field_of(definition)
        resolver = field_access.resolver_of(declared)
        if resolver is None:
            table = getattr(kind.is_type_of, TABLE, None)
            if table is None or declared.python_name not in table.__table__.c:
                raise Unsupported(name)
            value = _column(definition.type, declared.python_name)
        else:
            value = self._declared(getattr(resolver, SHOWN, None), definition, nodes)
        return shape.Required(value) if isinstance(definition.type, GraphQLNonNull) else value

    def _declared(self, value: Value | None, definition: GraphQLField, nodes: list[FieldNode]) -> Value:
        """Return how a declared field is shown, with what is asked of it."""
        match value:
            case None:
                raise Unsupported(nodes[0].name.value)
            case shape.Amount():
                return replace(value, parts=self._amount(definition, nodes))
            case shape.One() | shape.Host():
                self.joined += 1
                return replace(value, parts=self._parts(self._kinds(definition.type), _sets(nodes)))
            case shape.BalanceIn():
                return self._balance(definition, nodes)
            case shape.Members():
                return self._members(value, definition, nodes)
        return value

    def _amount(
        self, definition: GraphQLField, nodes: list[FieldNode]
    ) -> tuple[tuple[str, shape.AmountPart | shape.Constant], ...]:
        kind: Any = get_named_type(definition.type)
        parts: list[tuple[str, shape.AmountPart | shape.Constant]] = []
        for key, below in self.fields(kind, _sets(nodes)).items():
            name = below[0].name.value
            parts.append((key, shape.Constant('"Amount"') if name == "__typename" else _AMOUNT[name]))
        return tuple(parts)

    def _balance(self, definition: GraphQLField, nodes: list[FieldNode]) -> Value:
        kind: Any = get_named_type(definition.type)
        parts: list[tuple[str, Any]] = []
        for key, below in self.fields(kind, _sets(nodes)).items():
            name = below[0].name.value
            if name in _FIGURES:
                amount = shape.Amount(name, "currency", self._amount(kind.fields[name], below))
                parts.append((key, amount))
            elif name in {"__typename", "currency"}:
                parts.append(
                    (key, shape.Column("code", name) if name == "currency" else shape.Constant('"Balance"'))
                )
            else:
                raise Unsupported(name)
        self.joined += 1

        def currency(given: dict[str, Any]) -> str:
            if given.get("as_of") is not None:
                raise Unsupported("as_of")
            return known_currency(given["currency"], path=["currency"])

        return shape.BalanceIn(self._parameter(definition, nodes, currency), tuple(parts))

    def _members(self, value: shape.Members, definition: GraphQLField, nodes: list[FieldNode]) -> Value:
        kind: Any = get_named_type(definition.type)
        lists: list[tuple[str, str | None, Parts]] = []
        for key, below in self.fields(kind, _sets(nodes)).items():
            name = below[0].name.value
            if name == "nodes":
                lists.append((key, None, self._parts(self._kinds(kind.fields[name].type), _sets(below))))
            elif name == "edges":
                edge: Any = get_named_type(kind.fields[name].type)
                inner = self.fields(edge, _sets(below))
                if [one[0].name.value for one in inner.values()] != ["node"]:
                    raise Unsupported("edges")
                ((node, node_nodes),) = inner.items()
                parts = self._parts(self._kinds(edge.fields["node"].type), _sets(node_nodes))
                lists.append((key, node, parts))
            else:
                raise Unsupported(name)
        self.joined += 1

        def members_key(given: dict[str, Any]) -> MembersKey:
            page = requested(given.get("first"), given.get("after"))
            if page.after is not None:
                raise Unsupported("after")
            return MembersKey(value.is_of_members, tuple(given.get("role") or ()), page)

        return replace(value, name=self._parameter(definition, nodes, members_key), lists=tuple(lists))

    def _parameter(
        self, definition: GraphQLField, nodes: list[FieldNode], of: Callable[[dict[str, Any]], Any]
    ) -> str:
        """Note how a parameter is had from a field's arguments; return its name."""
        node, declared = nodes[0], field_access.field_of(definition)
        registry, config = self.compiler.convert
        assert node.loc is not None
        name = f"p{node.loc.start}"

        def value(variables: Any) -> Any:
            raw = raw_arguments(definition, node, variables)
            return of(convert_arguments(raw, declared.arguments, scalar_registry=registry, config=config))

        if field_access.has_variables(node):
            self.parameters[name] = value
        else:
            self.parameters[name] = _always(value(None))
        return name


_shown = lru_cache(maxsize=1_000)(Shown)
"""What is shown alike is the same, and so are its statements: names of operations make no difference."""


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


def _sets(nodes: Sequence[FieldNode]) -> Sets:
    return [node.selection_set for node in nodes if node.selection_set is not None]


def _column(kind: GraphQLOutputType, name: str) -> Value:
    """Return how a column is shown that is answered as it is."""
    of = get_nullable_type(kind)
    if of is GraphQLString:
        return shape.Column("words", name)
    if of in {GraphQLBoolean, GraphQLInt}:
        return shape.Column("number", name)
    if isinstance(of, GraphQLEnumType):
        if any(str(value) != known for value, known in leaf_source.enum_names(of).items()):
            raise Unsupported("an enum by other names")
        return shape.Column("code", name)
    match getattr(of, "name", ""):
        case "CurrencyCode":
            return shape.Column("code", name)
        case "DateTime":
            return shape.Column("moment", name)
    raise Unsupported(name)


def _types(kind: GraphQLObjectType) -> tuple[str, ...]:
    """Return the values of the column `type` that rows of a type have."""
    found: tuple[str, ...] = getattr(kind.is_type_of, TYPES, ())
    return found
