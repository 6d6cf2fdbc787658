"""Whoever asks for whatever: an error takes its own field from the answer, and nothing else."""

import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
)

from schema.build import schema
from tests.schema.plan.executor_equivalence import PopulatedWorld

VIEWERS = ("anonymous", "stranger", "member", "admin", "platform_admin")
Composite = GraphQLObjectType | GraphQLInterfaceType
Step = tuple[str, str]
"""A type and one of its fields."""
SCHEMA = schema()._schema
NAMED_BY_SLUG = """query($s: String!) {
    me { slug } collective(slug: $s) { slug parent { slug } host { slug } balances { currency }
        balance(currency: "USD") { currency } orders { totalCount } transactions { totalCount }
        members { totalCount } memberOf { totalCount } auditLog { totalCount } }
    collectives(filter: {host: {slug: $s}}) { totalCount }
    orders(filter: {from: {slug: $s}}) { totalCount } transactions(filter: {to: {slug: $s}}) { totalCount }
    offers(filter: {business: {slug: $s}}) { totalCount } search(query: $s) { totalCount }
    bad: orders(first: 0) { totalCount } cursor: orders(after: "x") { totalCount }
    tags(first: 0) { name } leaderboard(by: VOLUNTEER, first: 1000) { amount { value } }
    community: communityStats { period } nodes(ids: ["x"]) { id } }"""
NAMED_BY_ID = "query($i: ID!) { me { slug } node(id: $i) { __typename id } nodes(ids: [$i]) { id } }"


def argument_value(argument: GraphQLArgument) -> str:
    """Return a value for a required argument."""
    named: Any = get_named_type(argument.type)
    if isinstance(named, GraphQLEnumType):
        return str(next(iter(named.values)))
    if isinstance(named, GraphQLInputObjectType):
        return '{slug: "private-event"}'
    return {
        "CurrencyCode": '"USD"',
        "DateTime": '"2026-01-01T00:00:00Z"',
        "Int": "1",
        "Boolean": "true",
        "Decimal": '"1"',
    }.get(named.name, '"a"')


def arguments(definition: GraphQLField) -> str:
    """Return the required arguments of a field, in brackets."""
    needed = {name: a for name, a in definition.args.items() if is_required_argument(a)}
    texts = [f"{name}: {argument_value(argument)}" for name, argument in needed.items()]
    return f"({', '.join(texts)})" if texts else ""


def leaves(kind: Any) -> str:
    """Return the fields of a type that have no fields themselves."""
    fields = kind.fields.items() if isinstance(kind, Composite) else ()
    names = [
        f"{name}{arguments(field)}" for name, field in fields if is_leaf_type(get_named_type(field.type))
    ]
    return " ".join(["__typename", *names])


def selection(kind: Composite, name: str) -> str:
    """Select a field, and of what it returns the fields without fields."""
    definition = kind.fields[name]
    named: Any = get_named_type(definition.type)
    head = f"{kind.name}_{name}: {name}{arguments(definition)}"
    if is_leaf_type(named):
        return head
    if named.name.endswith("Connection"):
        return f"{head} {{ totalCount nodes {{ {leaves(get_named_type(named.fields['nodes'].type))} }} }}"
    return f"{head} {{ {leaves(named)} }}"


def paths() -> dict[str, tuple[Step, ...]]:
    """Return the shortest path from the root of queries to each object type."""
    found: dict[str, tuple[Step, ...]] = {"Query": ()}
    waiting = deque(["Query"])
    while waiting:
        parent: Any = SCHEMA.type_map[waiting.popleft()]
        for name, field in parent.fields.items():
            named: Any = get_named_type(field.type)
            if is_leaf_type(named) or (parent.name == "Query" and name in {"node", "nodes", "collective"}):
                continue
            for kind in [named] if isinstance(named, GraphQLObjectType) else SCHEMA.get_possible_types(named):
                if kind.name not in found:
                    found[kind.name] = (*found[parent.name], (parent.name, name))
                    waiting.append(kind.name)
    return found


def queries() -> Iterator[tuple[int, str]]:
    """Write a query for all fields of each object type; with each, the number of the fields."""
    for type_name, steps in paths().items():
        kind: Any = SCHEMA.type_map[type_name]
        head = ""
        for parent, name in steps:
            definition: GraphQLField = SCHEMA.type_map[parent].fields[name]  # type: ignore[attr-defined]  # an object
            on = "" if parent == "Query" else f"... on {parent} {{ "
            head += f"{on}{parent}_{name}: {name}{arguments(definition)} {{ "
        on = "" if type_name == "Query" else f"... on {type_name} {{ "
        names = [name for name in kind.fields if type_name != "Query" or name not in {"node", "nodes"}]
        # Few at a time: a document has limits.
        for start in range(0, len(names), 12):
            some = names[start : start + 12]
            text = f"{{ {head}{on}{' '.join(selection(kind, name) for name in some)}"
            yield len(some), text + " }" * (text.count("{") - text.count("}"))


def findings(body: dict[str, Any]) -> list[str]:
    """Return the errors of an answer that took more than their own fields, and faults."""
    results = []
    for error in body.get("errors", []):
        code, path = error["extensions"]["code"], error.get("path")
        parent: Any = body.get("data")
        for key in (path or [])[:-1]:
            parent = parent[key] if parent is not None else None
        if not path or parent is None or parent[path[-1]] is not None or code == "INTERNAL_ERROR":
            results.append(f"{path}: {code} {error['message']}")
    return results


@pytest.mark.parametrize("viewer", VIEWERS)
def test_an_error_takes_its_own_field_alone(
    populated: PopulatedWorld, viewer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written = list(queries())
    taken, errors = [], 0
    for _, query in written:
        body = populated.answer(query, viewer, compiled=False).body
        taken += findings(body)
        errors += len(body.get("errors", []))
    for slug in [*populated.slugs, "nobody-at-all", ""]:
        body = populated.answer(NAMED_BY_SLUG, viewer, compiled=False, s=slug).body
        taken += findings(body)
        errors += len(body.get("errors", []))
    for public_id in populated.public_ids:
        taken += findings(populated.answer(NAMED_BY_ID, viewer, compiled=False, i=public_id).body)
    count = sum(number for number, _ in written)
    with capsys.disabled():
        counts = f"{count} fields of {len(paths())} types, {errors} errors, {len(taken)} took more"
        sys.stdout.write(f" {viewer}: {counts}\n")
    assert taken == []
    assert count > 500
