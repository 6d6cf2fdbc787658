"""Documents that were parsed and validated, kept by their text: never twice the same work."""

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
from schema.documents.text_check import bad_text
from schema.observability import metrics
from schema.types.errors import formatted, shown
from services.core.errors import Problem

MAX_KEPT = 1_000
MAX_KEPT_BYTES = 600_000
"""Of text. The syntax tree of a text takes some 50 times as much memory."""
MAX_REFUSED = 200
MAX_REFUSED_BYTES = 1_000_000
MAX_ERRORS = 5
"""Of validation; where there are more, it stops."""
RULES = tuple(dict.fromkeys((*specified_rules, MaxIntrospectionDepthRule, MaybeNullValidationRule)))
"""The standard ones, against introspection that never ends, and Strawberry's own for its inputs."""

T = TypeVar("T")


class Store(Generic[T]):
    """The values used last, bounded by their count and by their bytes."""

    def __init__(self, *, count: int, size: int) -> None:
        """Hold at most `count` values of at most `size` bytes together."""
        self._count, self._size = count, size
        self._held: OrderedDict[str, tuple[T, int]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: str) -> T | None:
        """Return a value, which counts as used now."""
        if (found := self._held.get(key)) is None:
            return None
        self._held.move_to_end(key)
        return found[0]

    def put(self, key: str, value: T, *, size: int) -> None:
        """Keep a value; those that were not used for longest go. One larger than all room is not kept."""
        if size > self._size:
            return
        if (old := self._held.pop(key, None)) is not None:
            self.bytes -= old[1]
        self._held[key] = (value, size)
        self.bytes += size
        while len(self._held) > self._count or self.bytes > self._size:
            _, (_, gone) = self._held.popitem(last=False)
            self.bytes -= gone

    def clear(self) -> None:
        """Hold nothing."""
        self._held.clear()
        self.bytes = 0


@dataclass(kw_only=True)
class Prepared:
    """A document that may run, or why it may not."""

    sha256: str
    document: DocumentNode | None = None
    characters: int = 0
    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Which argument each variable is for: the first one that it stands in."""
    programs: dict[Any, Any] = field(default_factory=dict, compare=False)
    """Its compiled queries, by the operation and the values of its switches: kept from the second use on."""
    is_known: bool = False
    """Whether it was met before. Most that are met for the first time are not met again."""
    switches: dict[str | None, tuple[str, ...]] = field(default_factory=dict, compare=False)
    """The variables that @skip and @include of each operation hang on."""
    introspects: bool = False
    """Whether an operation reads the schema itself."""
    plans: dict[str, Any] = field(default_factory=dict, compare=False)
    """What each of its operations costs, by its name: `schema.cost` fills it."""
    errors: tuple[dict[str, Any], ...] = ()
    """As they are answered. None are there exactly if the document is."""


_kept: Store[Prepared] = Store(count=MAX_KEPT, size=MAX_KEPT_BYTES)
_refused: Store[Prepared] = Store(count=MAX_REFUSED, size=MAX_REFUSED_BYTES)


def hash_of(text: str) -> str:
    """Return the SHA-256 of a text, as hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def prepare(text: str, *, hide_suggestions: bool = False) -> Prepared:
    """Return a document parsed and validated, from memory where it was met before.

    Refused documents are remembered apart, so that they cannot drive out those that run; what they are told
    depends on `hide_suggestions`, which keeps the schema's names from those who guess.
    """
    # No document begins with NUL: what is told to those who guess has a name of its own.
    refused_as = f"\0{text}" if hide_suggestions else text
    found = _kept.get(text) or _refused.get(refused_as)
    metrics.note_document(is_known=found is not None)
    if found is not None:
        found.is_known = True
        return found
    made = _prepared(text, hash_of(text), hide_suggestions=hide_suggestions)
    if made.errors:
        if hide_suggestions:
            suggestions.hide(made.errors)
        _refused.put(refused_as, made, size=len(text) + len(orjson.dumps(made.errors, default=str)))
    else:
        _kept.put(text, made, size=len(text))
    return made


def forget_refused() -> None:
    """Read documents that were refused anew when they are asked for again."""
    _refused.clear()


def _prepared(text: str, key: str, *, hide_suggestions: bool) -> Prepared:
    try:
        if (exceeded := document_limits.check_text(text)) is not None:
            return _refusal(key, [exceeded])
        document = parse(text)
        if (exceeded := document_limits.check(document)) is not None:
            return _refusal(key, [exceeded])
        places, problem = _input_of(document)
        if problem is not None:
            return Prepared(sha256=key, errors=(shown(problem),))
        rules = [NoFragmentCyclesRule] if document_limits.is_circular(document) else RULES
        errors = validation.errors_of(
            document, rules, max_errors=MAX_ERRORS, hide_suggestions=hide_suggestions
        )
    except GraphQLError as error:
        errors = [error]
    except RecursionError:
        errors = [GraphQLError("Nested too deeply")]
    if errors:
        return _refusal(key, errors)
    return Prepared(
        sha256=key,
        document=document,
        characters=len(text),
        places=places,
        introspects=document_limits.introspects(document),
    )


def _refusal(key: str, errors: list[GraphQLError]) -> Prepared:
    return Prepared(sha256=key, errors=tuple(formatted(error) for error in errors))


def _input_of(  # noqa: C901 - one walk over the kinds of values
    document: DocumentNode,
) -> tuple[dict[str, tuple[str, ...]], Problem | None]:
    """Return the argument that each variable is for, and the first text that cannot be carried."""
    places: dict[str, tuple[str, ...]] = {}
    problems: list[Problem] = []

    def note(value: ValueNode, path: tuple[str, ...]) -> None:
        if isinstance(value, VariableNode):
            places.setdefault(value.name.value, path)
        elif isinstance(value, ObjectValueNode):
            for entry in value.fields:
                note(entry.value, (*path, entry.name.value))
        elif isinstance(value, ListValueNode):
            for i, item in enumerate(value.values):
                note(item, (*path, str(i)))
        elif isinstance(value, StringValueNode) and (problem := bad_text(value.value, path)):
            problems.append(problem)

    for definition in document.definitions:
        if isinstance(definition, ExecutableDefinitionNode):
            for name, value in _values(definition):
                note(value, (name,))
    return places, problems[0] if problems else None


def _values(node: ExecutableDefinitionNode | SelectionNode) -> Iterator[tuple[str, ValueNode]]:
    """Yield the values of arguments and the defaults of variables, by name, as they stand in the text."""
    if isinstance(node, ExecutableDefinitionNode):
        for variable in node.variable_definitions or ():
            if variable.default_value is not None:
                yield variable.variable.name.value, variable.default_value
            yield from _arguments(variable.directives)
    elif isinstance(node, FieldNode):
        for argument in node.arguments or ():
            yield argument.name.value, argument.value
    yield from _arguments(node.directives)
    below: SelectionSetNode | None = getattr(node, "selection_set", None)
    for selection in below.selections if below is not None else ():
        yield from _values(selection)


def _arguments(directives: Sequence[DirectiveNode] | None) -> Iterator[tuple[str, ValueNode]]:
    for directive in directives or ():
        for argument in directive.arguments or ():
            yield argument.name.value, argument.value
