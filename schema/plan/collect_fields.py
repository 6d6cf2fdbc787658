"""Field collection: the fields that selections request on one concrete type, merged as in the spec."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
    is_abstract_type,
)

CONDITIONS = {"skip": True, "include": False}
"""The directives that drop a selection, and the argument value that does it."""


class NotCompilable(Exception):
    """The operation uses something that only graphql-core supports."""


@dataclass(frozen=True)
class FieldCollector:
    """Collects the fields of the selections of one operation."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    conditions: Mapping[str, Any]
    """The values of the variables in @skip and @include."""
    conversion: tuple[Any, Any]
    """Strawberry's scalar registry and configuration, with which arguments are converted."""

    def fields(
        self, object_type: GraphQLObjectType, sets: Iterable[SelectionSetNode]
    ) -> dict[str, list[FieldNode]]:
        """Return the fields of a selection on a concrete type by response key.

        Raises:
            NotCompilable: there is a directive that only graphql-core supports.
        """
        nodes_by_key: dict[str, list[FieldNode]] = {}
        seen: set[str] = set()

        def walk(selections: Iterable[SelectionNode]) -> None:
            for node in selections:
                if _is_left_out(node.directives or (), self.conditions):
                    continue
                if isinstance(node, FieldNode):
                    key = node.alias.value if node.alias else node.name.value
                    nodes_by_key.setdefault(key, []).append(node)
                elif isinstance(node, InlineFragmentNode):
                    condition = node.type_condition
                    if condition is None or self._applies(object_type, condition.name.value):
                        walk(node.selection_set.selections)
                elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                    seen.add(node.name.value)
                    fragment = self.fragments[node.name.value]
                    if self._applies(object_type, fragment.type_condition.name.value):
                        walk(fragment.selection_set.selections)

        for selection_set in sets:
            walk(selection_set.selections)
        return nodes_by_key

    def _applies(self, object_type: GraphQLObjectType, condition: str) -> bool:
        if condition == object_type.name:
            return True
        named: GraphQLNamedType | None = self.schema.get_type(condition)
        return is_abstract_type(named) and self.schema.is_sub_type(named, object_type)


def condition_variables(selections: Iterable[SelectionSetNode]) -> frozenset[str]:
    """Return the variables used in @skip and @include, in these selections and their children."""
    return frozenset(_iterate_condition_variables(selections))


def _iterate_condition_variables(sets: Iterable[SelectionSetNode]) -> Iterator[str]:
    for selection_set in sets:
        for node in selection_set.selections:
            for directive in node.directives or ():
                for argument in directive.arguments or ():
                    if isinstance(argument.value, VariableNode):
                        yield argument.value.name.value
            if isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set is not None:
                yield from _iterate_condition_variables((node.selection_set,))


def _is_left_out(directives: Iterable[DirectiveNode], conditions: Mapping[str, bool]) -> bool:
    for directive in directives:
        name = directive.name.value
        if name not in CONDITIONS:
            raise NotCompilable(f"@{name}")
        (argument,) = directive.arguments or ()
        value = argument.value
        if isinstance(value, VariableNode):
            condition = conditions[value.name.value]
        elif isinstance(value, BooleanValueNode):
            condition = value.value
        else:
            raise NotCompilable(f"@{name} of {value.kind}")
        if condition is CONDITIONS[name]:
            return True
    return False
