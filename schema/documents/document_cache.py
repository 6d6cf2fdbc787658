"""The cache of parsed and validated documents, by their text."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import orjson
from graphql import (
    DirectiveNode,
    DocumentNode,
    ExecutableDefinitionNode,
    FieldNode,
    GraphQLError,
    ListValueNode,
    NoFragmentCyclesRule,
    ObjectValueNode,
    SelectionNode,
    SelectionSetNode,
    StringValueNode,
    ValueNode,
    VariableNode,
    parse,
    specified_rules,
)
from graphql.validation.rules.max_introspection_depth_rule import MaxIntrospectionDepthRule
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule

from schema.documents import document_limits, suggestions, validation
from schema.documents.text_check import find_unstorable
from schema.observability import metrics
from schema.types.errors import format_error, to_response_error
from services.core.errors import Problem

MAX_ACCEPTED = 1_000
MAX_ACCEPTED_BYTES = 600_000
"""Bytes of text. A text's syntax tree takes some 50 times as much memory."""
MAX_REFUSED = 200
MAX_REFUSED_BYTES = 1_000_000
MAX_ERRORS = 5
"""Validation stops after so many errors."""
RULES = tuple(dict.fromkeys((*specified_rules, MaxIntrospectionDepthRule, MaybeNullValidationRule)))
"""The standard rules, the limit on introspection depth, and Strawberry's rule for its inputs."""

T = TypeVar("T")


class LruCache(Generic[T]):
    """A cache of the values used last, bounded by their number and their total bytes."""

    def __init__(self, *, max_count: int, max_bytes: int) -> None:
        """Hold at most `max_count` values of at most `max_bytes` together."""
        self._max_count, self._max_bytes = max_count, max_bytes
        self._entries: OrderedDict[str, tuple[T, int]] = OrderedDict()
        self.total_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> T | None:
        """Return a value and mark it as used, or None."""
        if (entry := self._entries.get(key)) is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: str, value: T, *, size_bytes: int) -> None:
        """Store a value and evict the least recently used; a value larger than the cache is not stored."""
        if size_bytes > self._max_bytes:
            return
        if (old := self._entries.pop(key, None)) is not None:
            self.total_bytes -= old[1]
        self._entries[key] = (value, size_bytes)
        self.total_bytes += size_bytes
        while len(self._entries) > self._max_count or self.total_bytes > self._max_bytes:
            _, (_, evicted_bytes) = self._entries.popitem(last=False)
            self.total_bytes -= evicted_bytes

    def remove(self, key: str) -> None:
        """Remove a value, if it is there."""
        if (old := self._entries.pop(key, None)) is not None:
            self.total_bytes -= old[1]

    def clear(self) -> None:
        """Remove all values."""
        self._entries.clear()
        self.total_bytes = 0


@dataclass(kw_only=True)
class CachedDocument:
    """A document that may run, or the errors that refuse it, with what was derived from it."""

    sha256: str
    document: DocumentNode | None = None
    characters: int = 0
    variable_paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The path of the argument that each variable fills: the first one that uses it."""
    plans: dict[Any, Any] = field(default_factory=dict, compare=False)
    """Plans by operation and values of its condition variables, kept from the second use on."""
    was_seen: bool = False
    """True from the second use on; most documents that are seen once are never seen again."""
    condition_variables: dict[str | None, tuple[str, ...]] = field(default_factory=dict, compare=False)
    """Variables used in @skip and @include, by operation."""
    uses_introspection: bool = False
    """True if an operation reads the schema itself."""
    cost_plans: dict[str, Any] = field(default_factory=dict, compare=False)
    """Cost plans by operation name, filled by `schema.execution.cost`."""
    errors: tuple[dict[str, Any], ...] = ()
    """Formatted errors; empty exactly if there is a document."""


_accepted: LruCache[CachedDocument] = LruCache(max_count=MAX_ACCEPTED, max_bytes=MAX_ACCEPTED_BYTES)
_refused: LruCache[CachedDocument] = LruCache(max_count=MAX_REFUSED, max_bytes=MAX_REFUSED_BYTES)


def hash_text(text: str) -> str:
    """Return the SHA-256 of a text, as hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def prepare(text: str, *, hide_suggestions: bool = False) -> CachedDocument:
    """Parse and validate a document, or return it from the cache.

    Refused documents have a cache of their own, so that they cannot evict valid ones. `hide_suggestions`
    removes the schema's names from their errors.
    """
    # Documents never begin with NUL, so it marks the variant without suggestions.
    refused_key = f"\0{text}" if hide_suggestions else text
    cached = _accepted.get(text) or _refused.get(refused_key)
    metrics.record_document(is_cached=cached is not None)
    if cached is not None:
        cached.was_seen = True
        return cached
    new = _parse_and_validate(text, hash_text(text), hide_suggestions=hide_suggestions)
    if new.errors:
        if hide_suggestions:
            suggestions.hide(new.errors)
        _refused.put(refused_key, new, size_bytes=len(text) + len(orjson.dumps(new.errors, default=str)))
    else:
        _accepted.put(text, new, size_bytes=len(text))
    return new


def clear_refused() -> None:
    """Forget refused documents, so that they are validated again."""
    _refused.clear()


def _parse_and_validate(text: str, key: str, *, hide_suggestions: bool) -> CachedDocument:
    try:
        if (exceeded := document_limits.check_text(text)) is not None:
            return _refused_document(key, [exceeded])
        document = parse(text)
        if (exceeded := document_limits.check(document)) is not None:
            return _refused_document(key, [exceeded])
        variable_paths, problem = _inspect_values(document)
        if problem is not None:
            return CachedDocument(sha256=key, errors=(to_response_error(problem),))
        rules = [NoFragmentCyclesRule] if document_limits.is_circular(document) else RULES
        errors = validation.find_errors(
            document, rules, max_errors=MAX_ERRORS, hide_suggestions=hide_suggestions
        )
    except GraphQLError as error:
        errors = [error]
    except RecursionError:
        errors = [GraphQLError("Nested too deeply")]
    if errors:
        return _refused_document(key, errors)
    return CachedDocument(
        sha256=key,
        document=document,
        characters=len(text),
        variable_paths=variable_paths,
        uses_introspection=document_limits.uses_introspection(document),
    )


def _refused_document(key: str, errors: list[GraphQLError]) -> CachedDocument:
    return CachedDocument(sha256=key, errors=tuple(format_error(error) for error in errors))


def _inspect_values(  # noqa: C901 - one walk over all kinds of values
    document: DocumentNode,
) -> tuple[dict[str, tuple[str, ...]], Problem | None]:
    """Return the argument path of each variable, and the problem of the first text that cannot be stored."""
    variable_paths: dict[str, tuple[str, ...]] = {}
    problems: list[Problem] = []

    def visit(value: ValueNode, path: tuple[str, ...]) -> None:
        if isinstance(value, VariableNode):
            variable_paths.setdefault(value.name.value, path)
        elif isinstance(value, ObjectValueNode):
            for entry in value.fields:
                visit(entry.value, (*path, entry.name.value))
        elif isinstance(value, ListValueNode):
            for i, item in enumerate(value.values):
                visit(item, (*path, str(i)))
        elif isinstance(value, StringValueNode) and (problem := find_unstorable(value.value, path)):
            problems.append(problem)

    for definition in document.definitions:
        if isinstance(definition, ExecutableDefinitionNode):
            for name, value in _iterate_values(definition):
                visit(value, (name,))
    return variable_paths, problems[0] if problems else None


def _iterate_values(node: ExecutableDefinitionNode | SelectionNode) -> Iterator[tuple[str, ValueNode]]:
    """Yield argument values and variable defaults with their names, in document order."""
    if isinstance(node, ExecutableDefinitionNode):
        for variable in node.variable_definitions or ():
            if variable.default_value is not None:
                yield variable.variable.name.value, variable.default_value
            yield from _iterate_directive_arguments(variable.directives)
    elif isinstance(node, FieldNode):
        for argument in node.arguments or ():
            yield argument.name.value, argument.value
    yield from _iterate_directive_arguments(node.directives)
    selection_set: SelectionSetNode | None = getattr(node, "selection_set", None)
    for selection in selection_set.selections if selection_set is not None else ():
        yield from _iterate_values(selection)


def _iterate_directive_arguments(
    directives: Sequence[DirectiveNode] | None,
) -> Iterator[tuple[str, ValueNode]]:
    for directive in directives or ():
        for argument in directive.arguments or ():
            yield argument.name.value, argument.value
