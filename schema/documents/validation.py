"""The rules of validation, all of them in one walk over a document.

graphql-core's walk asks each of some thirty rules, at each node, what it has to do there. Nearly always that
is nothing, and the asking took most of the time of a document that is met for the first time. Here each kind
of node knows the methods that are for it. The rules, and all that they are given, are graphql-core's.
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

from schema.build import schema

_PASSED_OVER = {"name", "alias", "description"}
"""Parts of a node that no rule looks at by themselves."""


class _Kind(NamedTuple):
    """What is done at the nodes of one kind; methods stand with the number of their rule."""

    enter: Sequence[tuple[int, Callable[..., Any]]]
    leave: Sequence[tuple[int, Callable[..., Any]]]
    note: Callable[[Any], None] | None
    """What notes the type that stands there, and what forgets it."""
    forget: Callable[[], None] | None
    parts: tuple[str, ...]


class _Context(ValidationContext):
    """What the rules ask, the variables found by the walk below."""

    def get_variable_usages(
        self, node: OperationDefinitionNode | FragmentDefinitionNode
    ) -> list[VariableUsage]:
        usages = self._variable_usages.get(node)
        if usages is None:
            fragment = node if isinstance(node, FragmentDefinitionNode) else None
            visitor = VariableUsageVisitor(self._type_info, fragment)
            _Walk(self._type_info, [visitor]).visit(node)
            usages = self._variable_usages[node] = [_optional(usage) for usage in visitor.usages]
        return usages


def _optional(usage: VariableUsage) -> VariableUsage:
    """Return where a variable stands, the input around it by its type, whether that is required or not."""
    around = usage.parent_type
    return usage._replace(parent_type=around.of_type) if isinstance(around, GraphQLNonNull) else usage


def errors_of(
    document: DocumentNode,
    rules: Sequence[type[ASTValidationRule]],
    *,
    max_errors: int,
    hide_suggestions: bool,
) -> list[GraphQLError]:
    """Return what is wrong with a document, as `graphql.validate` does.

    One thing more is wrong: a variable that may be null in an input of which exactly one field is given,
    where that input is required. graphql-core sees it where it is not.

    Raises:
        RecursionError: it is nested too deeply.
    """
    built = schema()._schema  # noqa: SLF001 - the only way to it
    errors: list[GraphQLError] = []

    def note(error: GraphQLError) -> None:
        if len(errors) >= max_errors:
            raise ValidationAbortedError(
                "Too many validation errors, error limit reached. Validation aborted."
            )
        errors.append(error)

    types = TypeInfo(built)
    context = _Context(built, document, types, note, hide_suggestions)
    visitors: list[Visitor] = [rule(context) for rule in rules]
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    if fragments:
        visitors.insert(0, FragmentNestingVisitor(fragments))
    try:
        _Walk(types, visitors).visit(document)
    except ValidationAbortedError as error:
        # The frames of the walk are not to live as long as the error.
        error.__context__ = None
        errors.append(error.with_traceback(None))
    return errors


class _Walk:
    """A walk over a tree that no visitor changes; each may skip what is below a node."""

    def __init__(self, types: TypeInfo, visitors: Sequence[Visitor]) -> None:
        self._types, self._visitors = types, visitors
        self._kinds: dict[str, _Kind] = {}
        self._skipping: dict[int, Node] = {}
        """Which visitor skips, and below which node."""
        self._path: list[str | int] = []
        self._above: list[Any] = []

    def visit(self, node: Node, key: str | int | None = None, parent: Any = None) -> None:
        """Take the visitors to a node and to what is below it."""
        if (kind := self._kinds.get(node.kind)) is None:
            kind = self._kinds[node.kind] = _kind(node.kind, self._types, self._visitors)
        skipping = self._skipping
        if kind.note is not None:
            kind.note(node)
        for i, enter in kind.enter:
            if i not in skipping and enter(node, key, parent, self._path, self._above) is not None:
                skipping[i] = node
        if kind.parts:
            self._below(node, kind.parts, parent)
        for i, leave in kind.leave:
            if i not in skipping:
                leave(node, key, parent, self._path, self._above)
        for i in [i for i, at in skipping.items() if at is node]:
            del skipping[i]
        if kind.forget is not None:
            kind.forget()

    def _below(self, node: Node, parts: tuple[str, ...], parent: Any) -> None:
        path, above = self._path, self._above
        depth = len(above)
        if parent is not None:
            above.append(parent)
        for name in parts:
            if not (part := getattr(node, name, None)):
                continue
            path.append(name)
            if isinstance(part, tuple):
                above.append(node)
                for i, item in enumerate(part):
                    path.append(i)
                    self.visit(item, i, part)
                    path.pop()
                above.pop()
            else:
                self.visit(part, name, node)
            path.pop()
        del above[depth:]


def _kind(name: str, types: TypeInfo, visitors: Sequence[Visitor]) -> _Kind:
    entering, leaving = _methods(name, tuple(type(visitor) for visitor in visitors))
    return _Kind(
        [(i, getattr(visitors[i], method)) for i, method in entering],
        [(i, getattr(visitors[i], method)) for i, method in leaving],
        getattr(types, f"enter_{name}", None),
        getattr(types, f"leave_{name}", None),
        tuple(part for part in QUERY_DOCUMENT_KEYS.get(name, ()) if part not in _PASSED_OVER),
    )


@cache
def _methods(
    kind: str, visitors: tuple[type[Visitor], ...]
) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Return what is called when a node of a kind is entered and left, by the number of the visitor."""

    def named(prefix: str) -> list[tuple[int, str]]:
        own = f"{prefix}_{kind}"
        names = [(i, own if hasattr(of, own) else prefix) for i, of in enumerate(visitors)]
        return [(i, name) for i, name in names if hasattr(visitors[i], name)]

    return named("enter"), named("leave")
