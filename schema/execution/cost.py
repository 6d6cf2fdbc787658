"""The cost of an operation: its upper bound before it runs, and its actual cost afterwards.

Each object that the response may hold costs 1 and scalars are free, so an operation costs at least the number
of nodes it requests. A list counts with its requested size.
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

from schema.build import graphql_schema
from schema.documents.document_cache import CachedDocument
from schema.documents.document_limits import INTROSPECTION_FIELDS, ONE_PER_OPERATION
from schema.execution.input_lists import check_arguments
from schema.plan.cost_weights import (
    ARGUMENT_LISTS,
    CREDENTIAL_COST,
    DEFAULT_LIST_SIZE,
    FREE_TYPES,
    INTROSPECTION_COST,
    LIST_SIZES,
    MIN_COST,
    MUTATION_COST,
    TOTAL_COUNT_COST,
    WEIGHTS,
)
from services.core.pagination import DEFAULT_SIZE, MAX_SIZE
from services.sql_json.rows import JsonText

Variables = Mapping[str, Any]
Size = int | Callable[[Variables], int]
Composite = GraphQLObjectType | GraphQLInterfaceType
TypedSelections = list[tuple[Composite, SelectionSetNode]]


@dataclass
class CostNode:
    """A field that has a cost: an object, or a leaf with a weight."""

    weight: int
    size: Size = 1
    children: dict[str, "CostNode"] = field(default_factory=dict)
    constant_cost: int | None = None
    """The cost of the subtree, if no variable changes it."""

    def requested_cost(self, variables: Variables) -> int:
        """Return the most that the field may cost."""
        if self.constant_cost is not None:
            return self.constant_cost
        size = self.size if isinstance(self.size, int) else self.size(variables)
        return size * (self.weight + sum(child.requested_cost(variables) for child in self.children.values()))


@dataclass(frozen=True)
class CostPlan:
    """The cost of one operation of a document."""

    base_cost: int
    """The cost of attempting the operation, whatever its outcome."""
    children: dict[str, CostNode]
    constant_cost: int | None
    """The total, if no variable changes it."""
    reads_rate_limit: bool = False
    """True if the operation queries `rateLimit`."""

    def requested_cost(self, variables: Variables | None) -> int:
        """Return the most that the operation may cost."""
        if self.constant_cost is not None:
            return self.constant_cost
        values = variables or {}
        children_cost = sum(child.requested_cost(values) for child in self.children.values())
        return max(MIN_COST, self.base_cost + children_cost)

    def actual_cost(self, data: Mapping[str, Any] | None) -> int:
        """Return the cost of a response from its `data`: its objects by their weights."""
        return max(MIN_COST, self.base_cost + (_count_cost([data], self.children) if data else 0))


def plan_cost(cached: CachedDocument, operation: OperationDefinitionNode) -> CostPlan:
    """Return an operation's cost plan, built on first use and kept with the document."""
    name = operation.name.value if operation.name else ""
    plan: CostPlan | None = cached.cost_plans.get(name)
    if plan is None:
        assert cached.document is not None
        fragments = {
            d.name.value: d for d in cached.document.definitions if isinstance(d, FragmentDefinitionNode)
        }
        plan = cached.cost_plans[name] = _CostPlanner(operation, fragments).plan()
    return plan


def _count_cost(parents: list[Any], children: dict[str, CostNode]) -> int:
    """Count list by list, not object by object: a response of 1000 objects takes a few dozen steps."""
    total = 0
    for key, node in children.items():
        values = [value for parent in parents if (value := parent.get(key)) is not None]
        if values and isinstance(values[0], list):
            values = [item for items in values for item in items if item is not None]
        if values:
            total += node.weight * len(values)
            if values[0].__class__ is JsonText:
                total += sum(item.cost for item in values)
            elif node.children:
                total += _count_cost(values, node.children)
    return total


class _CostPlanner:
    """Builds the plan of one operation, merging its selections by response key as execution does."""

    def __init__(
        self, operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]
    ) -> None:
        self.operation, self.fragments = operation, fragments
        self.types = graphql_schema().type_map
        self.defaults = {
            d.variable.name.value: value_from_ast_untyped(d.default_value)
            for d in operation.variable_definitions or ()
            if d.default_value is not None
        }

    def plan(self) -> CostPlan:
        root = graphql_schema().get_root_type(self.operation.operation)
        assert root is not None
        sets: TypedSelections = [(root, self.operation.selection_set)]
        base_cost = 0
        if self.operation.operation is OperationType.MUTATION:
            names = [nodes[0][1].name.value for nodes in self._groups(sets).values()]
            base_cost = sum(CREDENTIAL_COST if name in ONE_PER_OPERATION else MUTATION_COST for name in names)
        roots = {nodes[0][1].name.value for nodes in self._groups(sets).values()}
        base_cost += INTROSPECTION_COST * len(roots & INTROSPECTION_FIELDS)
        children = self._children(sets, None, None)
        constants = [child.constant_cost for child in children.values() if child.constant_cost is not None]
        total = max(MIN_COST, base_cost + sum(constants)) if len(constants) == len(children) else None
        return CostPlan(base_cost, children, total, reads_rate_limit="rateLimit" in roots)

    def _groups(self, sets: TypedSelections) -> dict[str, list[tuple[Composite, FieldNode]]]:
        """Return the fields of merged selection sets by response key."""
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
        narrowed = self.types[node.type_condition.name.value]
        assert isinstance(narrowed, GraphQLObjectType | GraphQLInterfaceType)
        return narrowed

    def _children(
        self, sets: TypedSelections, page: Size | None, parent_field: FieldNode | None
    ) -> dict[str, CostNode]:
        """Return the fields with a cost; `page` is the size of the connection that encloses them."""
        children = {}
        for key, nodes in self._groups(sets).items():
            if nodes[0][1].name.value.startswith("__"):
                continue
            if (child := self._cost_node(nodes, page, parent_field)) is not None:
                children[key] = child
        return children

    def _cost_node(
        self, nodes: list[tuple[Composite, FieldNode]], page: Size | None, parent_field: FieldNode | None
    ) -> CostNode | None:
        parts = [(parent, node, parent.fields[node.name.value]) for parent, node in nodes]
        check_arguments(parts)
        weight = max(_weight(parent, node, definition) for parent, node, definition in parts)
        named = [get_named_type(definition.type) for _, _, definition in parts]
        sets: TypedSelections = [
            (composite, node.selection_set)
            for composite, (_, node) in zip(named, nodes, strict=True)
            if node.selection_set is not None
            and isinstance(composite, GraphQLObjectType | GraphQLInterfaceType)
        ]
        is_page = named[0].name.endswith("Connection")
        sizes = [
            self._size(parent, node, definition, page, parent_field) for parent, node, definition in parts
        ]
        inner = _max_size(sizes) if is_page else None
        size = 1 if is_page else _max_size(sizes)
        children = self._children(sets, inner, nodes[0][1])
        if not weight and not children:
            return None
        cost_node = CostNode(weight, size, children)
        constants = [child.constant_cost for child in children.values() if child.constant_cost is not None]
        if isinstance(size, int) and len(constants) == len(children):
            cost_node.constant_cost = size * (weight + sum(constants))
        return cost_node

    def _size(
        self,
        parent: Composite,
        node: FieldNode,
        definition: GraphQLField,
        page: Size | None,
        parent_field: FieldNode | None,
    ) -> Size:
        """Return how many objects a field may hold, or how many rows the page of a connection."""
        is_list = isinstance(
            definition.type.of_type if isinstance(definition.type, GraphQLNonNull) else definition.type,
            GraphQLList,
        )
        name = f"{parent.name}.{node.name.value}"
        if "first" in definition.args:
            return self._page_size(node, definition)
        if not is_list or name.endswith(".errors"):
            return 1
        if page is not None:
            return page
        if (lengths := ARGUMENT_LISTS.get(name)) is not None:
            return self._argument_length(node if node.arguments else parent_field or node, lengths)
        return LIST_SIZES.get(name, DEFAULT_LIST_SIZE)

    def _page_size(self, node: FieldNode, definition: GraphQLField) -> Size:
        """Return the larger of `first` and `last`; a page with both is refused later."""
        default = definition.args["first"].default_value
        default = default if isinstance(default, int) else DEFAULT_SIZE
        values = [a.value for a in node.arguments or () if a.name.value in {"first", "last"}]
        names = [value.name.value for value in values if isinstance(value, VariableNode)]
        constants = [value_from_ast_untyped(v) for v in values if not isinstance(v, VariableNode)]
        if not names:
            return _clamp_page_size(constants, default)
        fallbacks = self.defaults
        return lambda variables: _clamp_page_size(
            [*constants, *(variables.get(name, fallbacks.get(name)) for name in names)], default
        )

    def _argument_length(self, node: FieldNode, paths: tuple[tuple[str, ...], ...]) -> Size:
        arguments = {a.name.value: a.value for a in node.arguments or ()}
        defaults = self.defaults

        def length(variables: Variables) -> int:
            total = 0
            for name, *path in paths:
                if name not in arguments:
                    continue
                value = value_from_ast_untyped(arguments[name], {**defaults, **variables})
                for key in path:
                    value = value.get(key) if isinstance(value, dict) else None
                total += len(value) if isinstance(value, list) else value not in (None, Undefined)
            return min(total, 2 * MAX_SIZE)

        return length


def _weight(parent: Composite, node: FieldNode, definition: GraphQLField) -> int:
    name = node.name.value
    if (weight := WEIGHTS.get(f"{parent.name}.{name}")) is not None:
        return weight
    named = get_named_type(definition.type)
    if is_leaf_type(named):
        return TOTAL_COUNT_COST if name == "totalCount" else 0
    return 0 if named.name in FREE_TYPES or named.name.endswith("Edge") else 1


def _clamp_page_size(values: list[object], default: int) -> int:
    """Return a page's size within its bounds; a size outside them is refused later, so it costs no more."""
    sizes = [value for value in values if value is not None and value is not Undefined]
    if not sizes:
        return default
    return max(
        min(max(size, 0), MAX_SIZE) if isinstance(size, int) and not isinstance(size, bool) else MAX_SIZE
        for size in sizes
    )


def _max_size(sizes: list[Size]) -> Size:
    """Return the largest of the sizes that a response key may have on different types."""
    if len(sizes) == 1:
        return sizes[0]
    if all(isinstance(size, int) for size in sizes):
        return max(size for size in sizes if isinstance(size, int))
    return lambda variables: max(size if isinstance(size, int) else size(variables) for size in sizes)
