"""What an access token without the scope READ may select of a mutation's payload: errors and ids."""

from collections.abc import Mapping

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    get_named_type,
    is_leaf_type,
)

from models.enums import Scope
from schema.build import mutation_root
from services.access.actor import Actor
from services.core.errors import Forbidden

_ALWAYS = frozenset({"id", "__typename"})
_PARTS = frozenset(
    {"UserError", "MutationError", "ApproveOrdersResult", "InviteToEventResult", "Session", "SignInChallenge"}
)
"""Types that mutations alone return; their own figures and texts are as free as those of the payload."""
_Fields = GraphQLObjectType | GraphQLInterfaceType
_Fragments = Mapping[str, FragmentDefinitionNode]


def require_readable(document: DocumentNode, operation: OperationDefinitionNode, actor: Actor) -> None:
    """Require that a mutation's payload shows its token no more than the token may read.

    Checked before anything runs, so that a refused mutation does nothing.

    Raises:
        Forbidden: the token lacks READ, and the payload is asked for more than errors, ids and what the
            mutation itself computes.
    """
    if actor.scopes is None or Scope.READ in actor.scopes:
        return
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    for payload, selections in _children(mutation_root(), operation.selection_set, fragments):
        if _reads_objects(payload, selections, fragments):
            raise Forbidden(
                f"This access token lacks the scope {Scope.READ}, so it may select no more of a payload than "
                "errors and ids."
            )


def _reads_objects(parent: _Fields, selections: SelectionSetNode, fragments: _Fragments) -> bool:
    """True if more than ids is selected of an object below a payload, or below a part of it."""
    for child, below in _children(parent, selections, fragments):
        if child.name in _PARTS:
            if _reads_objects(child, below, fragments):
                return True
        elif not _selected_names(below, fragments) <= _ALWAYS:
            return True
    return False


def _children(
    parent: _Fields, selections: SelectionSetNode, fragments: _Fragments
) -> list[tuple[_Fields, SelectionSetNode]]:
    """Return the objects selected below a type, with what is selected of them; fragments are opened."""
    found: list[tuple[_Fields, SelectionSetNode]] = []
    for selection in selections.selections:
        if isinstance(selection, FieldNode):
            field = parent.fields.get(selection.name.value)
            if field is None or selection.selection_set is None:
                continue
            named = get_named_type(field.type)
            if not is_leaf_type(named):
                assert isinstance(named, GraphQLObjectType | GraphQLInterfaceType)
                found.append((named, selection.selection_set))
        else:
            found += _children(parent, _opened(selection, fragments), fragments)
    return found


def _selected_names(selections: SelectionSetNode, fragments: _Fragments) -> set[str]:
    names: set[str] = set()
    for selection in selections.selections:
        if isinstance(selection, FieldNode):
            names.add(selection.name.value)
        else:
            names |= _selected_names(_opened(selection, fragments), fragments)
    return names


def _opened(selection: SelectionNode, fragments: _Fragments) -> SelectionSetNode:
    if isinstance(selection, FragmentSpreadNode):
        return fragments[selection.name.value].selection_set
    assert isinstance(selection, InlineFragmentNode)
    return selection.selection_set
