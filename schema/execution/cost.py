"""What an operation may cost, before it runs, and what its answer did cost.

An object costs 1 for each time that it may stand in the answer, a scalar nothing: so the cost of an operation
is at least the number of the nodes that it asks for. Lists count with the size that is asked for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    Undefined,
    VariableNode,
    get_named_type,
    is_leaf_type,
    value_from_ast_untyped,
)

from schema.build import schema
from schema.documents.document_cache import Prepared
from schema.documents.document_limits import META, ONCE
from services.core.pagination import DEFAULT_SIZE, MAX_SIZE
from services.sql_json.rows import Written

MINIMUM = 1
MUTATION = 10
CREDENTIALS = 50
"""Of a mutation that tries a secret: a password's hash takes as long as a page of a list."""
INTROSPECTION = 100
SMALL = 10
"""An answer that may cost no more is not counted: it costs what was asked for."""
VALUES = frozenset({"Amount", "PageInfo", "MutationError", "UserError", "RateLimit"})
"""Objects that are parts of others, and cost nothing; edges are such, too."""
WEIGHTS = {
    "Query.ledgerAudit": 1_000,
    "Query.communityStats": 50,
    "Query.leaderboard": 5,
    "Query.liabilityReport": 50,
    "Nonprofit.hoursReport": 5,
}
TOTAL_COUNT = 5
"""Counting a whole list."""
ASSUMED = 10
"""The size of a list that no argument bounds, where `SIZES` has none."""
SIZES = {
    "Query.currencies": 200,
    "Query.platformPolicies": 50,
    "Query.myInvitations": 50,
    "Query.myAccessTokens": 50,
    "LiabilityReport.outstanding": 100,
    "Nonprofit.hoursReport": 100,
    "LedgerAudit.checks": 30,
}
LENGTHS = {
    "Query.nodes": (("ids",),),
    "ApproveOrdersPayload.results": (("input", "ids"),),
    "InviteToEventPayload.results": (("input", "emails"), ("input", "users")),
}
"""Lists that are as long as those of the arguments, of the field itself or of the one above."""

Variables = Mapping[str, Any]
Size = int | Callable[[Variables], int]
Composite = GraphQLObjectType | GraphQLInterfaceType
Sets = list[tuple[Composite, SelectionSetNode]]


@dataclass
class Counted:
    """A field that counts: an object, or a leaf that has a weight."""

    weight: int
    size: Size = 1
    below: dict[str, "Counted"] = field(default_factory=dict)
    fixed: int | None = None
    """What it costs, where no variable says so."""

    def requested(self, variables: Variables) -> int:
        """Return what it may cost at most."""
        if self.fixed is not None:
            return self.fixed
        size = self.size if isinstance(self.size, int) else self.size(variables)
        return size * (self.weight + sum(child.requested(variables) for child in self.below.values()))


@dataclass(frozen=True)
class Plan:
    """The cost of one operation of a document."""

    flat: int
    """What trying costs, whatever comes of it."""
    below: dict[str, Counted]
    fixed: int | None
    """The whole, where no variable says so."""
    tells: bool = False
    """Whether the operation asks for `rateLimit`."""

    def requested(self, variables: Variables | None) -> int:
        """Return what the operation may cost at most."""
        if self.fixed is not None:
            return self.fixed
        given = variables or {}
        return max(MINIMUM, self.flat + sum(child.requested(given) for child in self.below.values()))

    def actual(self, data: Mapping[str, Any] | None) -> int:
        """Return what an answer cost, from its `data`: the objects in it, by their weight."""
        return max(MINIMUM, self.flat + (_count([data], self.below) if data else 0))


def plan(prepared: Prepared, operation: OperationDefinitionNode) -> Plan:
    """Return the cost of an operation of a document, made when it is first asked for."""
    name = operation.name.value if operation.name else ""
    found: Plan | None = prepared.plans.get(name)
    if found is None:
        assert prepared.document is not None
        fragments = {
            d.name.value: d for d in prepared.document.definitions if isinstance(d, FragmentDefinitionNode)
        }
        found = prepared.plans[name] = _Compiler(operation, fragments).plan()
    return found


def _count(parents: list[Any], below: dict[str, Counted]) -> int:
    """Count list by list, not object by object: an answer of a thousand objects takes some dozen steps."""
    total = 0
    for key, counted in below.items():
        found = [value for parent in parents if (value := parent.get(key)) is not None]
        if found and isinstance(found[0], list):
            found = [item for items in found for item in items if item is not None]
        if found:
            total += counted.weight * len(found)
            if found[0].__class__ is Written:
                total += sum(item.cost for item in found)
            elif counted.below:
                total += _count(found, counted.below)
    return total


class _Compiler:
    """Makes the plan of one operation, each name of a selection set once, as it will be executed."""

    def __init__(
        self, operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]
    ) -> None:
        self.operation, self.fragments = operation, fragments
        self.types = schema()._schema.type_map  # noqa: SLF001 - the only way to it
        self.defaults = {
            d.variable.name.value: value_from_ast_untyped(d.default_value)
            for d in operation.variable_definitions or ()
            if d.default_value is not None
        }

    def plan(self) -> Plan:
        root = schema()._schema.get_root_type(self.operation.operation)  # noqa: SLF001 - as above
        assert root is not None
        sets: Sets = [(root, self.operation.selection_set)]
        flat = 0
        if self.operation.operation is OperationType.MUTATION:
            names = [nodes[0][1].name.value for nodes in self._groups(sets).values()]
            flat = sum(CREDENTIALS if name in ONCE else MUTATION for name in names)
        roots = {nodes[0][1].name.value for nodes in self._groups(sets).values()}
        flat += INTROSPECTION * len(roots & META)
        below = self._below(sets, None, None)
        fixed = [child.fixed for child in below.values() if child.fixed is not None]
        whole = max(MINIMUM, flat + sum(fixed)) if len(fixed) == len(below) else None
        return Plan(flat, below, whole, tells="rateLimit" in roots)

    def _groups(self, sets: Sets) -> dict[str, list[tuple[Composite, FieldNode]]]:
        """Return the fields of sets that are merged, by the name that they answer under."""
        groups: dict[str, list[tuple[Composite, FieldNode]]] = {}
        visited: set[str] = set()
        waiting = list(reversed(sets))
        while waiting:
            parent, selections = waiting.pop()
            for node in selections.selections:
                if isinstance(node, FieldNode):
                    key = node.alias.value if node.alias else node.name.value
                    groups.setdefault(key, []).append((parent, node))
                elif isinstance(node, InlineFragmentNode):
                    waiting.append((self._narrowed(parent, node), node.selection_set))
                elif isinstance(node, FragmentSpreadNode) and node.name.value not in visited:
                    visited.add(node.name.value)
                    fragment = self.fragments[node.name.value]
                    waiting.append((self._narrowed(parent, fragment), fragment.selection_set))
        return groups

    def _narrowed(self, parent: Composite, node: InlineFragmentNode | FragmentDefinitionNode) -> Composite:
        if node.type_condition is None:
            return parent
        found = self.types[node.type_condition.name.value]
        assert isinstance(found, GraphQLObjectType | GraphQLInterfaceType)
        return found

    def _below(self, sets: Sets, page: Size | None, above: FieldNode | None) -> dict[str, Counted]:
        """Return what counts in sets: `page` is the size of the connection that they are of."""
        found = {}
        for key, nodes in self._groups(sets).items():
            if nodes[0][1].name.value.startswith("__"):
                continue
            if (counted := self._counted(nodes, page, above)) is not None:
                found[key] = counted
        return found

    def _counted(
        self, nodes: list[tuple[Composite, FieldNode]], page: Size | None, above: FieldNode | None
    ) -> Counted | None:
        parts = [(parent, node, parent.fields[node.name.value]) for parent, node in nodes]
        weight = max(_weight(parent, node, kind) for parent, node, kind in parts)
        named = [get_named_type(kind.type) for _, _, kind in parts]
        sets: Sets = [
            (kind, node.selection_set)
            for kind, (_, node) in zip(named, nodes, strict=True)
            if node.selection_set is not None and isinstance(kind, GraphQLObjectType | GraphQLInterfaceType)
        ]
        is_page = named[0].name.endswith("Connection")
        sizes = [self._size(parent, node, kind, page, above) for parent, node, kind in parts]
        inner = _largest(sizes) if is_page else None
        size = 1 if is_page else _largest(sizes)
        below = self._below(sets, inner, nodes[0][1])
        if not weight and not below:
            return None
        counted = Counted(weight, size, below)
        if isinstance(size, int) and all(child.fixed is not None for child in below.values()):
            counted.fixed = size * (weight + sum(child.fixed or 0 for child in below.values()))
        return counted

    def _size(
        self,
        parent: Composite,
        node: FieldNode,
        kind: GraphQLField,
        page: Size | None,
        above: FieldNode | None,
    ) -> Size:
        """Return how many objects stand in a field, or on the page that it is."""
        is_list = isinstance(
            kind.type.of_type if isinstance(kind.type, GraphQLNonNull) else kind.type, GraphQLList
        )
        name = f"{parent.name}.{node.name.value}"
        if "first" in kind.args:
            return self._first(node, kind)
        if not is_list or name.endswith(".errors"):
            return 1
        if page is not None:
            return page
        if (lengths := LENGTHS.get(name)) is not None:
            return self._length(node if node.arguments else above or node, lengths)
        return SIZES.get(name, ASSUMED)

    def _first(self, node: FieldNode, kind: GraphQLField) -> Size:
        default = kind.args["first"].default_value
        default = default if isinstance(default, int) else DEFAULT_SIZE
        given = next((a.value for a in node.arguments or () if a.name.value == "first"), None)
        if not isinstance(given, VariableNode):
            return _clamped(value_from_ast_untyped(given), default) if given is not None else default
        name = given.name.value
        fallback = self.defaults.get(name)
        return lambda variables: _clamped(variables.get(name, fallback), default)

    def _length(self, node: FieldNode, paths: tuple[tuple[str, ...], ...]) -> Size:
        arguments = {a.name.value: a.value for a in node.arguments or ()}
        defaults = self.defaults

        def length(variables: Variables) -> int:
            total = 0
            for name, *path in paths:
                if name not in arguments:
                    continue
                value = value_from_ast_untyped(arguments[name], {**defaults, **variables})
                for step in path:
                    value = value.get(step) if isinstance(value, dict) else None
                total += len(value) if isinstance(value, list) else value not in (None, Undefined)
            return min(total, 2 * MAX_SIZE)

        return length


def _weight(parent: Composite, node: FieldNode, kind: GraphQLField) -> int:
    name = node.name.value
    if (weight := WEIGHTS.get(f"{parent.name}.{name}")) is not None:
        return weight
    named = get_named_type(kind.type)
    if is_leaf_type(named):
        return TOTAL_COUNT if name == "totalCount" else 0
    return 0 if named.name in VALUES or named.name.endswith("Edge") else 1


def _clamped(value: object, default: int) -> int:
    """Return a page's size; one that is refused costs nothing more."""
    if value is None or value is Undefined:
        return default
    if isinstance(value, int) and not isinstance(value, bool):
        return min(max(value, 0), MAX_SIZE)
    return MAX_SIZE


def _largest(sizes: list[Size]) -> Size:
    """Return the largest of the sizes that the same name may have at objects of different types."""
    if len(sizes) == 1:
        return sizes[0]
    if all(isinstance(size, int) for size in sizes):
        return max(size for size in sizes if isinstance(size, int))
    return lambda variables: max(size if isinstance(size, int) else size(variables) for size in sizes)
