"""Which fields a selection asks for on one concrete type, merged and in order, as the specification says."""

from collections.abc import Iterable, Iterator, Mapping

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
"""The directives that leave a selection out, and the value with which they do."""


class Unsupported(Exception):
    """What the compiler does not do."""


def fields(
    schema: GraphQLSchema,
    kind: GraphQLObjectType,
    sets: Iterable[SelectionSetNode],
    *,
    fragments: Mapping[str, FragmentDefinitionNode],
    switches: Mapping[str, bool],
) -> dict[str, list[FieldNode]]:
    """Return the field nodes of each response key on a concrete type.

    `switches` are the values of the variables in @skip and @include.

    Raises:
        Unsupported: another directive.
    """
    found: dict[str, list[FieldNode]] = {}
    seen: set[str] = set()

    def walk(selections: Iterable[SelectionNode]) -> None:
        for node in selections:
            if _is_left_out(node.directives or (), switches):
                continue
            if isinstance(node, FieldNode):
                found.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
            elif isinstance(node, InlineFragmentNode):
                if node.type_condition is None or _applies(schema, kind, node.type_condition.name.value):
                    walk(node.selection_set.selections)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                seen.add(node.name.value)
                fragment = fragments[node.name.value]
                if _applies(schema, kind, fragment.type_condition.name.value):
                    walk(fragment.selection_set.selections)

    for selection_set in sets:
        walk(selection_set.selections)
    return found


def switch_names(selections: Iterable[SelectionSetNode]) -> frozenset[str]:
    """Return the variables that stand in @skip and @include, in these selections and below."""
    return frozenset(_switch_names(selections))


def _switch_names(sets: Iterable[SelectionSetNode]) -> Iterator[str]:
    for selection_set in sets:
        for node in selection_set.selections:
            for directive in node.directives or ():
                for argument in directive.arguments or ():
                    if isinstance(argument.value, VariableNode):
                        yield argument.value.name.value
            if isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set is not None:
                yield from _switch_names((node.selection_set,))


def _is_left_out(directives: Iterable[DirectiveNode], switches: Mapping[str, bool]) -> bool:
    for directive in directives:
        name = directive.name.value
        if name not in CONDITIONS:
            raise Unsupported(f"@{name}")
        (argument,) = directive.arguments or ()
        value = argument.value
        if isinstance(value, VariableNode):
            given = switches[value.name.value]
        elif isinstance(value, BooleanValueNode):
            given = value.value
        else:
            raise Unsupported(f"@{name} of {value.kind}")
        if given is CONDITIONS[name]:
            return True
    return False


def _applies(schema: GraphQLSchema, kind: GraphQLObjectType, condition: str) -> bool:
    if condition == kind.name:
        return True
    named: GraphQLNamedType | None = schema.get_type(condition)
    return is_abstract_type(named) and schema.is_sub_type(named, kind)
