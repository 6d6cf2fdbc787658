"""Validation of documents by graphql-core's rules, in one walk.

graphql-core asks each of some thirty rules at every node what to do there. The answer is nearly always
nothing, and asking took most of the time of validating a new document. Here each kind of node knows the rule
methods that apply to it. The rules and their arguments are graphql-core's own.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from graphql import (
    ASTValidationRule,
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLNonNull,
    Node,
    OperationDefinitionNode,
    TypeInfo,
    ValidationContext,
    Visitor,
)
from graphql.language.ast import QUERY_DOCUMENT_KEYS
from graphql.validation.validate import FragmentNestingVisitor, ValidationAbortedError
from graphql.validation.validation_context import VariableUsage, VariableUsageVisitor

from schema.build import graphql_schema

_UNVISITED_KEYS = {"name", "alias", "description"}
"""Keys of a node that no rule visits on their own."""


class _NodeVisits(NamedTuple):
    """What to call at nodes of one kind; methods come with the index of their visitor."""

    enter: Sequence[tuple[int, Callable[..., Any]]]
    leave: Sequence[tuple[int, Callable[..., Any]]]
    enter_type: Callable[[Any], None] | None
    """Pushes the node's type, and pops it in `leave_type`."""
    leave_type: Callable[[], None] | None
    keys: tuple[str, ...]


class _Context(ValidationContext):
    """The rules' context, with variable usages collected by the walker below."""

    def get_variable_usages(
        self, node: OperationDefinitionNode | FragmentDefinitionNode
    ) -> list[VariableUsage]:
        usages = self._variable_usages.get(node)
        if usages is None:
            fragment = node if isinstance(node, FragmentDefinitionNode) else None
            visitor = VariableUsageVisitor(self._type_info, fragment)
            _Walker(self._type_info, [visitor]).visit(node)
            usages = self._variable_usages[node] = [_as_nullable_input(usage) for usage in visitor.usages]
        return usages


def _as_nullable_input(usage: VariableUsage) -> VariableUsage:
    """Return a variable usage with its enclosing input type as nullable."""
    parent = usage.parent_type
    return usage._replace(parent_type=parent.of_type) if isinstance(parent, GraphQLNonNull) else usage


def find_errors(
    document: DocumentNode,
    rules: Sequence[type[ASTValidationRule]],
    *,
    max_errors: int,
    hide_suggestions: bool,
) -> list[GraphQLError]:
    """Validate a document and return its errors, as `graphql.validate` does.

    It also reports a nullable variable in a required @oneOf input; graphql-core reports that only for inputs
    that are not required.

    Raises:
        RecursionError: the document is nested too deeply.
    """
    built = graphql_schema()
    errors: list[GraphQLError] = []

    def report(error: GraphQLError) -> None:
        if len(errors) >= max_errors:
            raise ValidationAbortedError(
                "Too many validation errors, error limit reached. Validation aborted."
            )
        errors.append(error)

    types = TypeInfo(built)
    context = _Context(built, document, types, report, hide_suggestions)
    visitors: list[Visitor] = [rule(context) for rule in rules]
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    if fragments:
        visitors.insert(0, FragmentNestingVisitor(fragments))
    try:
        _Walker(types, visitors).visit(document)
    except ValidationAbortedError as error:
        # The error is cached; without this it would keep the frames of the walk alive.
        error.__context__ = None
        errors.append(error.with_traceback(None))
    return errors


class _Walker:
    """Walks a tree that no visitor changes; each visitor may skip the children of a node."""

    def __init__(self, types: TypeInfo, visitors: Sequence[Visitor]) -> None:
        self._types, self._visitors = types, visitors
        self._visits: dict[str, _NodeVisits] = {}
        self._skipping: dict[int, Node] = {}
        """Nodes whose children a visitor skips, by the visitor's index."""
        self._path: list[str | int] = []
        self._ancestors: list[Any] = []

    def visit(self, node: Node, key: str | int | None = None, parent: Any = None) -> None:
        """Visit a node and its children."""
        if (visits := self._visits.get(node.kind)) is None:
            visits = self._visits[node.kind] = _visits_of(node.kind, self._types, self._visitors)
        skipping = self._skipping
        if visits.enter_type is not None:
            visits.enter_type(node)
        for i, enter in visits.enter:
            if i not in skipping and enter(node, key, parent, self._path, self._ancestors) is not None:
                skipping[i] = node
        if visits.keys:
            self._visit_children(node, visits.keys, parent)
        for i, leave in visits.leave:
            if i not in skipping:
                leave(node, key, parent, self._path, self._ancestors)
        for i in [i for i, at in skipping.items() if at is node]:
            del skipping[i]
        if visits.leave_type is not None:
            visits.leave_type()

    def _visit_children(self, node: Node, keys: tuple[str, ...], parent: Any) -> None:
        path, ancestors = self._path, self._ancestors
        depth = len(ancestors)
        if parent is not None:
            ancestors.append(parent)
        for key in keys:
            if not (child := getattr(node, key, None)):
                continue
            path.append(key)
            if isinstance(child, tuple):
                ancestors.append(node)
                for i, item in enumerate(child):
                    path.append(i)
                    self.visit(item, i, child)
                    path.pop()
                ancestors.pop()
            else:
                self.visit(child, key, node)
            path.pop()
        del ancestors[depth:]


def _visits_of(name: str, types: TypeInfo, visitors: Sequence[Visitor]) -> _NodeVisits:
    entering, leaving = _method_names(name, tuple(type(visitor) for visitor in visitors))
    return _NodeVisits(
        [(i, getattr(visitors[i], method)) for i, method in entering],
        [(i, getattr(visitors[i], method)) for i, method in leaving],
        getattr(types, f"enter_{name}", None),
        getattr(types, f"leave_{name}", None),
        tuple(key for key in QUERY_DOCUMENT_KEYS.get(name, ()) if key not in _UNVISITED_KEYS),
    )


@cache
def _method_names(
    kind: str, visitors: tuple[type[Visitor], ...]
) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Return the methods to call on entering and leaving nodes of a kind, by visitor index."""

    def list_methods(prefix: str) -> list[tuple[int, str]]:
        own = f"{prefix}_{kind}"
        names = [(i, own if hasattr(visitor, own) else prefix) for i, visitor in enumerate(visitors)]
        return [(i, name) for i, name in names if hasattr(visitors[i], name)]

    return list_methods("enter"), list_methods("leave")
