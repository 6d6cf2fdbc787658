"""The count of fields that share a response key, since a validation rule compares each pair of them."""

from collections.abc import Iterator, Mapping

from graphql import FieldNode, FragmentSpreadNode, InlineFragmentNode, SelectionNode, SelectionSetNode

MAX_PAIRS = 1_500
"""Pairs of fields with the same response key, over the whole document with fragments expanded."""
_OBJECT_PAIR_WEIGHT = 4
"""A pair of objects costs as much as so many pairs of leaves."""
MAX_EXPANDED = 5_000
"""Fields of a document with its fragments expanded."""
TOO_MANY_FIELDS = f"A document may have at most {MAX_EXPANDED} fields with its fragments expanded"


class Exceeded(Exception):
    """An exceeded limit, with its message."""


def flatten_inline(selections: SelectionSetNode) -> Iterator[SelectionNode]:
    """Yield the selections of a set, including those inside its inline fragments."""
    for node in selections.selections:
        yield node
        if isinstance(node, InlineFragmentNode):
            yield from flatten_inline(node.selection_set)


def response_key(node: FieldNode) -> str:
    """Return the name of a field in the response: its alias, or its own."""
    return node.alias.value if node.alias is not None else node.name.value


class _PairCounter:
    """Counts pairs of fields with one response key: a validation rule compares each pair."""

    def __init__(self, fragments: Mapping[str, SelectionSetNode]) -> None:
        self.fragments = fragments
        self.reached: set[str] = set()
        self.fields = self.pairs = 0

    def count(self, sets: list[SelectionSetNode]) -> None:
        """Count the pairs in merged selection sets and in all their children.

        Raises:
            Exceeded: too many.
        """
        for nodes in self._groups(sets).values():
            self.fields += len(nodes)
            inner = [n.selection_set for n in nodes if n.selection_set is not None]
            self.pairs += len(nodes) * (len(nodes) - 1) // 2 * (_OBJECT_PAIR_WEIGHT if inner else 1)
            if self.fields > MAX_EXPANDED:
                raise Exceeded(TOO_MANY_FIELDS)
            if self.pairs > MAX_PAIRS:
                raise Exceeded("The document uses the same response keys too often")
            if inner:
                self.count(inner)

    def _groups(self, sets: list[SelectionSetNode]) -> dict[str, list[FieldNode]]:
        groups: dict[str, list[FieldNode]] = {}
        visited: set[str] = set()
        waiting = list(sets)
        while waiting:
            for node in flatten_inline(waiting.pop()):
                if isinstance(node, FieldNode):
                    groups.setdefault(response_key(node), []).append(node)
                elif isinstance(node, FragmentSpreadNode) and node.name.value not in visited:
                    visited.add(node.name.value)
                    if (inside := self.fragments.get(node.name.value)) is not None:
                        waiting.append(inside)
        self.reached |= visited
        return groups


def check_pairs(operations: list[SelectionSetNode], fragments: Mapping[str, SelectionSetNode]) -> None:
    """Require that a document does not repeat response keys too often.

    Raises:
        Exceeded: too many pairs, or fields.
    """
    pairs = _PairCounter(fragments)
    for operation in operations:
        pairs.count([operation])
    for name, fragment in fragments.items():
        # The rule starts at fragments, too; those that operations spread are counted already.
        if name not in pairs.reached:
            pairs.count([fragment])
