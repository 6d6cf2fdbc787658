"""Whether a mutation's selection is answered by what the mutation returns, without the database."""

from graphql import (
    FieldNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
)

from schema.build import mutation_root
from schema.plan.field_access import declaration_of, resolver_of
from schema.types.fields import OF_ROW


def is_at_hand(operation: OperationDefinitionNode) -> bool:
    """Return True if each field under the root fields is read from its row, or computed from it."""
    root = mutation_root()
    return all(
        isinstance(node, FieldNode)
        and _is_selection_at_hand(get_named_type(root.fields[node.name.value].type), node.selection_set)
        for node in operation.selection_set.selections
        if not (isinstance(node, FieldNode) and node.name.value == "__typename")
    )


def _is_selection_at_hand(parent: object, selected: SelectionSetNode | None) -> bool:
    """Return True for plain fields; a fragment may need more."""
    if selected is None:
        return True
    if not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
        return False
    for node in selected.selections:
        if not isinstance(node, FieldNode):
            return False
        if node.name.value == "__typename":
            continue
        definition = parent.fields[node.name.value]
        resolver = resolver_of(declaration_of(definition))
        if resolver is not None and not hasattr(resolver, OF_ROW):
            return False
        if not _is_selection_at_hand(get_named_type(definition.type), node.selection_set):
            return False
    return True
