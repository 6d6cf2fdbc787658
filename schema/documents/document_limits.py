"""Limits on the size of documents, checked in linear time before any validation rule that is not linear.

Limits on the text are checked before parsing, limits on the syntax tree before validation.
"""

from collections.abc import Sequence
from typing import NamedTuple

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    ListValueNode,
    ObjectFieldNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
)

from schema.documents import token_count
from schema.documents.response_key_pairs import (
    MAX_EXPANDED,
    TOO_MANY_FIELDS,
    Exceeded,
    check_pairs,
    flatten_inline,
    response_key,
)

CODE = "DOCUMENT_LIMIT_EXCEEDED"
MAX_DEPTH = 12
"""Nested fields; introspection is not counted, since it needs 15 and has its own rule."""
MAX_DIRECTIVES_PER_NODE = 5
MAX_ALIASES = 30
"""Per selection set."""
MAX_ROOT_FIELDS = 20
MAX_FRAGMENTS = 50
MAX_OPERATIONS = 10
MAX_SELECTIONS = 200
"""Fields and spreads per selection set."""
MAX_SPREADS = 200
MAX_VARIABLES = 100
MAX_ENTRIES = 50
"""Arguments per field, or fields per input object."""
MAX_VALUES = 100
"""Values per list that is written in the document."""
MAX_REPEATED = 10
"""Uses of one response key in a selection set; a rule compares each pair of them."""
ONE_PER_OPERATION = frozenset(
    {
        "signIn",
        "signUp",
        "verifyEmail",
        "requestPasswordReset",
        "resetPassword",
        "changePassword",
        "changeEmail",
        "donateAsGuest",
        "beginProviderSignIn",
        "completeProviderSignIn",
        "linkProvedIdentity",
        "completeSignIn",
        "confirmSession",
    }
)
"""Mutations that try a secret or send a mail: one per operation, so that attempts are counted by request."""
INTROSPECTION_FIELDS = frozenset({"__schema", "__type"})


def check_text(text: str) -> GraphQLError | None:
    """Return the error of a text that exceeds a limit, before it is parsed."""
    message = token_count.find_exceeded_limit(text)
    return _refusal(message) if message is not None else None


def check(document: DocumentNode) -> GraphQLError | None:
    """Return the error of a parsed document that exceeds a limit.

    Documents with circular fragments pass: a validation rule refuses them, run alone (see `is_circular`).
    """
    operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    if len(operations) > MAX_OPERATIONS:
        return _refusal(f"A document may have at most {MAX_OPERATIONS} operations")
    if len(document.definitions) - len(operations) > MAX_FRAGMENTS:
        return _refusal(f"A document may have at most {MAX_FRAGMENTS} fragments")
    try:
        parts = {name: _Definition(part) for name, part in fragments.items()}
        mains = [_Definition(operation) for operation in operations]
        if _has_cycle(parts):
            return None
        _check_spreads([*mains, *parts.values()])
        _check_expanded(mains, operations, parts)
        check_pairs(
            [main.selections for main in mains], {name: part.selections for name, part in parts.items()}
        )
    except Exceeded as exceeded:
        return _refusal(str(exceeded))
    return None


def is_circular(document: DocumentNode) -> bool:
    """Return True if a fragment spreads itself, directly or through others."""
    fragments = (d for d in document.definitions if isinstance(d, FragmentDefinitionNode))
    return _has_cycle({part.name.value: _Definition(part) for part in fragments})


def uses_introspection(document: DocumentNode) -> bool:
    """Return True if any part of a document reads the schema itself."""
    return any(
        isinstance(d, OperationDefinitionNode | FragmentDefinitionNode)
        and any(
            isinstance(f, FieldNode) and f.name.value in INTROSPECTION_FIELDS
            for f in flatten_inline(d.selection_set)
        )
        for d in document.definitions
    )


class _Definition:
    """An operation or fragment: the size of its own selections, and its spreads by name."""

    def __init__(self, node: OperationDefinitionNode | FragmentDefinitionNode) -> None:
        self.selections = node.selection_set
        if isinstance(node, OperationDefinitionNode) and len(node.variable_definitions or ()) > MAX_VARIABLES:
            raise Exceeded(f"An operation may have at most {MAX_VARIABLES} variables")
        self.fields = 0
        self.depth = 0
        self.spreads: dict[str, int] = {}
        """Number of spreads by fragment."""
        self.reach: dict[str, int] = {}
        """Greatest depth at which each fragment is spread."""
        self.roots = [f.name.value for f in flatten_inline(node.selection_set) if isinstance(f, FieldNode)]
        self.root_spreads = [
            s.name.value for s in flatten_inline(node.selection_set) if isinstance(s, FragmentSpreadNode)
        ]
        _check_directives(node)
        is_meta = isinstance(node, FragmentDefinitionNode) and node.type_condition.name.value[:2] == "__"
        self._walk(node.selection_set, None if is_meta else 0)

    def _walk(self, selections: SelectionSetNode, depth: int | None) -> None:
        """Measure a selection set; a `depth` of None is introspection, which has no depth limit."""
        aliases = 0
        names: dict[str, int] = {}
        for count, node in enumerate(flatten_inline(selections), 1):
            if count > MAX_SELECTIONS:
                raise Exceeded(f"A selection set may have at most {MAX_SELECTIONS} fields and fragments")
            _check_directives(node)
            if isinstance(node, FragmentSpreadNode):
                name = node.name.value
                self.spreads[name] = self.spreads.get(name, 0) + 1
                self.reach[name] = max(self.reach.get(name, 0), depth or 0)
                continue
            if not isinstance(node, FieldNode):
                continue
            _check_entries(node.arguments or ())
            self.fields += 1
            aliases += node.alias is not None
            key = response_key(node)
            names[key] = names.get(key, 0) + 1
            if aliases > MAX_ALIASES:
                raise Exceeded(f"A selection set may have at most {MAX_ALIASES} aliases")
            if names[key] > MAX_REPEATED:
                raise Exceeded(f"A selection set may use one response key at most {MAX_REPEATED} times")
            inside = None if depth is None or node.name.value in INTROSPECTION_FIELDS else depth + 1
            self.depth = max(self.depth, inside or 0)
            if node.selection_set is not None:
                self._walk(node.selection_set, inside)


def _check_directives(node: SelectionNode | OperationDefinitionNode | FragmentDefinitionNode) -> None:
    if node.directives and len(node.directives) > MAX_DIRECTIVES_PER_NODE:
        raise Exceeded(f"A field or fragment may have at most {MAX_DIRECTIVES_PER_NODE} directives")


def _check_entries(entries: Sequence[ArgumentNode | ObjectFieldNode]) -> None:
    if len(entries) > MAX_ENTRIES:
        raise Exceeded(
            f"A field may have at most {MAX_ENTRIES} arguments, and an input object as many fields"
        )
    for entry in entries:
        values: list[ValueNode] = [entry.value]
        while values:
            value = values.pop()
            if isinstance(value, ObjectValueNode):
                _check_entries(value.fields)
            elif isinstance(value, ListValueNode):
                if len(value.values) > MAX_VALUES:
                    raise Exceeded(
                        f"A list in a document may have at most {MAX_VALUES} values; longer ones belong in"
                        " variables"
                    )
                values.extend(value.values)


def _has_cycle(parts: dict[str, _Definition]) -> bool:
    visited: set[str] = set()

    def enter(name: str, ancestors: frozenset[str]) -> bool:
        if name in ancestors:
            return True
        if name in visited or name not in parts:
            return False
        visited.add(name)
        return any(enter(spread, ancestors | {name}) for spread in parts[name].spreads)

    return any(enter(name, frozenset()) for name in parts)


class _Expanded(NamedTuple):
    """The size of an operation or fragment with its fragments expanded."""

    fields: int
    depth: int
    root_fields: int
    once_fields: int
    """Root fields of ONE_PER_OPERATION."""


def _expand(part: _Definition, parts: dict[str, _Definition], expanded: dict[str, _Expanded]) -> _Expanded:
    """Measure a definition with its fragments expanded; `expanded` holds the fragments measured so far."""
    fields, depth = part.fields, part.depth
    roots, once = len(part.roots), sum(name in ONE_PER_OPERATION for name in part.roots)
    for name, times in part.spreads.items():
        if (inner := parts.get(name)) is None:
            continue  # a validation rule reports it
        if (size := expanded.get(name)) is None:
            size = expanded[name] = _expand(inner, parts, expanded)
        fields += times * size.fields
        depth = max(depth, part.reach[name] + size.depth)
        if name in part.root_spreads:
            roots += part.root_spreads.count(name) * size.root_fields
            once += part.root_spreads.count(name) * size.once_fields
    return _Expanded(fields, depth, roots, once)


def _check_spreads(definitions: list[_Definition]) -> None:
    if sum(sum(each.spreads.values()) for each in definitions) > MAX_SPREADS:
        raise Exceeded(f"A document may spread fragments at most {MAX_SPREADS} times")


def _check_expanded(
    mains: list[_Definition], operations: list[OperationDefinitionNode], parts: dict[str, _Definition]
) -> None:
    """Measure operations, and fragments that none may spread, visiting each fragment once.

    Raises:
        Exceeded: too deep, too many fields, or too many root fields.
    """
    expanded: dict[str, _Expanded] = {}
    for main, operation in zip(mains, operations, strict=True):
        size = _expand(main, parts, expanded)
        if size.root_fields > MAX_ROOT_FIELDS:
            raise Exceeded(f"An operation may have at most {MAX_ROOT_FIELDS} root fields")
        if operation.operation is OperationType.MUTATION and size.once_fields > 1:
            raise Exceeded(f"An operation may have only one of {', '.join(sorted(ONE_PER_OPERATION))}")
        if size.depth > MAX_DEPTH:
            raise Exceeded(f"An operation may be at most {MAX_DEPTH} fields deep")
        if size.fields > MAX_EXPANDED:
            raise Exceeded(TOO_MANY_FIELDS)
    if any(_expand(part, parts, expanded).fields > MAX_EXPANDED for part in parts.values()):
        raise Exceeded(TOO_MANY_FIELDS)


def _refusal(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": CODE})
