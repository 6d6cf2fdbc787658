"""How large a document may be: each limit in linear time, before any rule of validation that is not.

What reads the text alone comes before the parser, what reads the tree before the rules.
"""

from collections.abc import Iterator, Sequence

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
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

CODE = "DOCUMENT_LIMIT_EXCEEDED"
MAX_DEPTH = 12
"""Fields in fields; introspection, which needs 15 and has a rule of its own, is not counted."""
MAX_DIRECTIVES_PER_NODE = 5
MAX_ALIASES = 30
"""In one selection set."""
MAX_ROOT_FIELDS = 20
MAX_FRAGMENTS = 50
MAX_OPERATIONS = 10
MAX_SELECTIONS = 200
"""Fields and spreads of one selection set."""
MAX_SPREADS = 200
MAX_VARIABLES = 100
MAX_ENTRIES = 50
"""Arguments of one field, or fields of one object."""
MAX_REPEATED = 10
"""How often one selection set may ask for one name; each pair of those is compared by a rule."""
MAX_PAIRS = 1_500
"""Of fields that answer under one name, over the whole document with its fragments in place."""
_OF_OBJECTS = 4
"""How many pairs of leaves cost as much as one of objects."""
MAX_EXPANDED = 5_000
"""Fields of a document with its fragments in place."""
_TOO_MANY_FIELDS = f"A document may have {MAX_EXPANDED} fields with its fragments in place"
ONCE = frozenset({"signIn", "signUp", "verifyEmail", "requestPasswordReset", "resetPassword"})
"""Mutations that try a secret or send a mail: one in an operation, so that requests count tries."""
META = frozenset({"__schema", "__type"})


class _Exceeded(Exception):
    """A limit is exceeded; the message says which."""


def check_text(text: str) -> GraphQLError | None:
    """Return which limit a text exceeds, before it is parsed."""
    message = token_count.excess(text)
    return _refusal(message) if message is not None else None


def check(document: DocumentNode) -> GraphQLError | None:
    """Return which limit a parsed document exceeds.

    Circular fragments exceed none here: a rule of validation refuses them, to be run alone (`is_circular`).
    """
    operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    if len(operations) > MAX_OPERATIONS:
        return _refusal(f"A document may have {MAX_OPERATIONS} operations")
    if len(document.definitions) - len(operations) > MAX_FRAGMENTS:
        return _refusal(f"A document may have {MAX_FRAGMENTS} fragments")
    try:
        parts = {name: _Part(part) for name, part in fragments.items()}
        mains = [_Part(operation) for operation in operations]
        if _circle(parts):
            return None
        if sum(sum(part.spreads.values()) for part in (*mains, *parts.values())) > MAX_SPREADS:
            raise _Exceeded(f"A document may spread fragments {MAX_SPREADS} times")  # noqa: TRY301 - as below
        for main, operation in zip(mains, operations, strict=True):
            _check_expanded(main, parts, is_mutation=operation.operation is OperationType.MUTATION)
        _check_pairs(mains, parts)
    except _Exceeded as exceeded:
        return _refusal(str(exceeded))
    return None


def is_circular(document: DocumentNode) -> bool:
    """Tell whether a fragment spreads itself, be it by others."""
    fragments = (d for d in document.definitions if isinstance(d, FragmentDefinitionNode))
    return _circle({part.name.value: _Part(part) for part in fragments})


def introspects(document: DocumentNode) -> bool:
    """Tell whether any part of a document reads the schema itself."""
    return any(
        isinstance(d, OperationDefinitionNode | FragmentDefinitionNode)
        and any(isinstance(f, FieldNode) and f.name.value in META for f in _flat(d.selection_set))
        for d in document.definitions
    )


class _Part:
    """What an operation or a fragment holds itself, its spreads noted by name."""

    def __init__(self, node: OperationDefinitionNode | FragmentDefinitionNode) -> None:
        self.selections = node.selection_set
        if isinstance(node, OperationDefinitionNode) and len(node.variable_definitions or ()) > MAX_VARIABLES:
            raise _Exceeded(f"An operation may have {MAX_VARIABLES} variables")
        self.fields = 0
        self.depth = 0
        self.spreads: dict[str, int] = {}
        """How often each fragment is spread."""
        self.reach: dict[str, int] = {}
        """How deep each fragment is spread at most."""
        self.roots = [f.name.value for f in _flat(node.selection_set) if isinstance(f, FieldNode)]
        self.root_spreads = [
            s.name.value for s in _flat(node.selection_set) if isinstance(s, FragmentSpreadNode)
        ]
        _check_directives(node)
        is_meta = isinstance(node, FragmentDefinitionNode) and node.type_condition.name.value[:2] == "__"
        self._walk(node.selection_set, None if is_meta else 0)

    def _walk(self, selections: SelectionSetNode, depth: int | None) -> None:
        """Note what stands in a set; a `depth` of None is introspection, where it does not count."""
        aliases = 0
        names: dict[str, int] = {}
        for count, node in enumerate(_flat(selections), 1):
            if count > MAX_SELECTIONS:
                raise _Exceeded(f"A selection set may hold {MAX_SELECTIONS} fields and fragments")
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
            key = _key(node)
            names[key] = names.get(key, 0) + 1
            if aliases > MAX_ALIASES:
                raise _Exceeded(f"A selection set may have {MAX_ALIASES} aliases")
            if names[key] > MAX_REPEATED:
                raise _Exceeded(f"A selection set may ask for one name {MAX_REPEATED} times")
            inside = None if depth is None or node.name.value in META else depth + 1
            self.depth = max(self.depth, inside or 0)
            if node.selection_set is not None:
                self._walk(node.selection_set, inside)


def _flat(selections: SelectionSetNode) -> Iterator[SelectionNode]:
    """Yield the fields, spreads and inline fragments of a set, those in its inline fragments too."""
    for node in selections.selections:
        yield node
        if isinstance(node, InlineFragmentNode):
            yield from _flat(node.selection_set)


def _key(node: FieldNode) -> str:
    return node.alias.value if node.alias is not None else node.name.value


def _check_directives(node: SelectionNode | OperationDefinitionNode | FragmentDefinitionNode) -> None:
    if node.directives and len(node.directives) > MAX_DIRECTIVES_PER_NODE:
        raise _Exceeded(f"A field or fragment may have {MAX_DIRECTIVES_PER_NODE} directives")


def _check_entries(entries: Sequence[ArgumentNode | ObjectFieldNode]) -> None:
    if len(entries) > MAX_ENTRIES:
        raise _Exceeded(f"A field may have {MAX_ENTRIES} arguments, and an object as many fields")
    for entry in entries:
        values: list[ValueNode] = [entry.value]
        while values:
            value = values.pop()
            if isinstance(value, ObjectValueNode):
                _check_entries(value.fields)
            elif isinstance(value, ListValueNode):
                values.extend(value.values)


def _circle(parts: dict[str, _Part]) -> bool:
    done: set[str] = set()

    def enter(name: str, above: frozenset[str]) -> bool:
        if name in above:
            return True
        if name in done or name not in parts:
            return False
        done.add(name)
        return any(enter(spread, above | {name}) for spread in parts[name].spreads)

    return any(enter(name, frozenset()) for name in parts)


def _check_expanded(main: _Part, parts: dict[str, _Part], *, is_mutation: bool) -> None:
    """Measure an operation with its fragments in place, each fragment once.

    Raises:
        _Exceeded: depth, fields, or fields at the root.
    """
    known: dict[str, tuple[int, int, int, int]] = {}

    def measured(part: _Part) -> tuple[int, int, int, int]:
        fields, depth = part.fields, part.depth
        roots, once = len(part.roots), sum(name in ONCE for name in part.roots)
        for name, times in part.spreads.items():
            if (inner := parts.get(name)) is None:
                continue  # a rule says so
            if name not in known:
                known[name] = measured(inner)
            fields += times * known[name][0]
            depth = max(depth, part.reach[name] + known[name][1])
            if name in part.root_spreads:
                roots += part.root_spreads.count(name) * known[name][2]
                once += part.root_spreads.count(name) * known[name][3]
        return fields, depth, roots, once

    fields, depth, roots, once = measured(main)
    if roots > MAX_ROOT_FIELDS:
        raise _Exceeded(f"An operation may have {MAX_ROOT_FIELDS} fields at its root")
    if is_mutation and once > 1:
        raise _Exceeded(f"An operation may have one of {', '.join(sorted(ONCE))}")
    if depth > MAX_DEPTH:
        raise _Exceeded(f"An operation may be {MAX_DEPTH} fields deep")
    if fields > MAX_EXPANDED:
        raise _Exceeded(_TOO_MANY_FIELDS)


class _Pairs:
    """The pairs of fields that answer under one name: the rule that they can be merged reads each."""

    def __init__(self, parts: dict[str, _Part]) -> None:
        self.parts = parts
        self.reached: set[str] = set()
        self.fields = self.pairs = 0

    def count(self, sets: list[SelectionSetNode]) -> None:
        """Count what stands in sets that are merged, and below.

        Raises:
            _Exceeded: too many.
        """
        for nodes in self._groups(sets).values():
            self.fields += len(nodes)
            inner = [n.selection_set for n in nodes if n.selection_set is not None]
            self.pairs += len(nodes) * (len(nodes) - 1) // 2 * (_OF_OBJECTS if inner else 1)
            if self.fields > MAX_EXPANDED:
                raise _Exceeded(_TOO_MANY_FIELDS)
            if self.pairs > MAX_PAIRS:
                raise _Exceeded("The document asks for the same names too often")
            if inner:
                self.count(inner)

    def _groups(self, sets: list[SelectionSetNode]) -> dict[str, list[FieldNode]]:
        groups: dict[str, list[FieldNode]] = {}
        visited: set[str] = set()
        waiting = list(sets)
        while waiting:
            for node in _flat(waiting.pop()):
                if isinstance(node, FieldNode):
                    groups.setdefault(_key(node), []).append(node)
                elif isinstance(node, FragmentSpreadNode) and node.name.value not in visited:
                    visited.add(node.name.value)
                    if (part := self.parts.get(node.name.value)) is not None:
                        waiting.append(part.selections)
        self.reached |= visited
        return groups


def _check_pairs(mains: list[_Part], parts: dict[str, _Part]) -> None:
    """Refuse a document that asks for one name in too many places.

    Raises:
        _Exceeded: too many pairs, or fields.
    """
    pairs = _Pairs(parts)
    for main in mains:
        pairs.count([main.selections])
    for name, part in parts.items():
        # The rule starts at fragments, too; one that an operation spreads was counted with that operation.
        if name not in pairs.reached:
            pairs.count([part.selections])


def _refusal(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": CODE})
