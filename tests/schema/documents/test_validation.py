"""Our walk over a document finds what graphql-core's finds: the same errors, in the same order."""

import random
import re
from collections.abc import Iterator

import pytest
from graphql import DocumentNode, GraphQLError, TypeInfo, get_nullable_type, parse, validate

from bench import queries
from schema.build import schema
from schema.documents import document_cache, document_limits, validation
from tests.schema.documents.hostile_documents import HOSTILE, many
from tests.schema.documents.test_document_limits import GOOD

WRONG = (
    "{ nothing { more } me { slug { deeper } host } }",
    "{ me { id id: slug } collectives(first: 1) { totalCount } collectives(first: 2) { totalCount } }",
    '{ node(id: 1, id: "a", other: $x) { ... on Nothing { id } ... on Amount { value } ...gone } }',
    "query A($a: Int, $a: Int, $b: Nothing, $c: Query) { me { id } } query A { me { id } } { me { id } }",
    "query($n: String!, $unused: Int) { collectives(first: $n) { nodes { slug @skip @skip(if: 1) @what } } }",
    "query @include(if: true) { me { id @deprecated } ... @skip(if: $undefined) { me { slug } } }",
    "fragment a on User { id ...b } fragment b on User { ...c } fragment c on Nothing { id } { me { id } }",
    "fragment a on Collective { slug host { ...a } } { me { ...a } }",
    "fragment a on User { id } fragment a on User { slug } { me { ...a ...a } }",
    "fragment a($x: Int) on User { id }",
    "{ collectives(filter: {type: [COMMUNITY, NOTHING], nothing: 1, type: null}) { nodes { id } } }",
    '{ collective(id: "a", slug: null) { id } collective { id } nodes(ids: [1, {a: 2}, null]) { id } }',
    'mutation { donate(input: {from: {slug: "a", id: "b"}, to: {}, amount: {value: 1}}) { order { id } } }',
    "mutation($r: CollectiveRef) { donate(input: {from: $r, to: {id: $r, slug: null}}) { order { id } } }",
    "subscription { a: nothing collectiveChanged __typename } subscription B { __schema { description } }",
    "type Query { id: ID @a(b: 1) } extend type User { more: Int } directive @a on FIELD { me { id } }",
    "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
    f"{{ me {{ {many(9, 'colective%')} }} }}",
    "query($a: [Int!]! = [1, null], $b: Int! = null, $c: CollectiveFilter = {nothing: 1}) { me { id } }",
)
DEEP = "{ me { ...f0 } } " + many(49, f"fragment f% on User {{ {'... {' * 5} ...g% {'}' * 5} }}")
RIGHT = (*GOOD.values(), queries.FEED, queries.COLLECTIVE, queries.NESTED, queries.APPROVE)


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make graphql-core check inputs with exactly one required field, too."""
    around = TypeInfo.get_parent_input_type
    monkeypatch.setattr(TypeInfo, "get_parent_input_type", lambda types: get_nullable_type(around(types)))


def read(text: str) -> DocumentNode | None:
    """Return a document that comes as far as the rules."""
    try:
        document = None if document_limits.check_text(text) else parse(text)
    except GraphQLError:
        return None
    return document if document is not None and document_limits.check(document) is None else None


def assert_alike(text: str, document: DocumentNode, *, max_errors: int, hide: bool) -> int:
    ours = validation.find_errors(
        document, document_cache.RULES, max_errors=max_errors, hide_suggestions=hide
    )
    theirs = validate(
        schema()._schema,
        document,
        document_cache.RULES,
        max_errors=max_errors,
        hide_suggestions=hide,
    )
    assert [error.formatted for error in ours] == [error.formatted for error in theirs], text
    return len(ours)


@pytest.mark.usefixtures("mended")
@pytest.mark.parametrize("hide", [True, False])
@pytest.mark.parametrize("max_errors", [1, 5, 100])
def test_errors_are_those_of_graphql_core(max_errors: int, hide: bool) -> None:
    for text in (*WRONG, DEEP, *HOSTILE.values()):
        if (document := read(text)) is not None and not document_limits.is_circular(document):
            assert assert_alike(text, document, max_errors=max_errors, hide=hide) > 0
    for text in RIGHT:
        assert assert_alike(text, parse(text), max_errors=max_errors, hide=hide) == 0


def damaged(texts: tuple[str, ...], chance: random.Random) -> Iterator[str]:
    """Yield texts with some of their tokens left out, doubled or exchanged for those of others."""
    tokens = [re.findall(r'"[^"]*"|\.\.\.|\$?\w+|\S', text) for text in texts if len(text) < 2_000]
    while True:
        result = list(chance.choice(tokens))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(result))
            result[at : at + 1] = chance.choice(
                [[], [result[at]] * 2, [chance.choice(chance.choice(tokens))]]
            )
        yield " ".join(result)


@pytest.mark.usefixtures("mended")
def test_errors_of_damaged_documents_are_those_of_graphql_core() -> None:
    seen = wrong = 0
    for text in damaged((*WRONG, *RIGHT), random.Random(20_261_121)):
        document = read(text)
        if document is None or document_limits.is_circular(document):
            continue
        wrong += assert_alike(text, document, max_errors=document_cache.MAX_ERRORS, hide=False) > 0
        seen += 1
        if seen == 400:
            break
    assert wrong > 100


_GIVE = """donate(input: {from: {slug: $u}, to: {slug: "a"}, amount: {value: "1", currency: "USD"}}) {
    order { id } }"""
ONE_OF = {
    f"mutation {{ {_GIVE} }}": "Variable '$u' is not defined.",
    f"mutation($u: String) {{ {_GIVE} }}": "must be non-nullable",
    f"mutation($u: String!) {{ {_GIVE} }}": None,
    f"mutation {{ {_GIVE.replace('$u', 'null')} }}": "exactly one field",
    f"fragment f on Mutation {{ {_GIVE} }} mutation($u: String!) {{ ...f }}": None,
    f"fragment f on Mutation {{ {_GIVE} }} mutation A($u: String!) {{ ...f }} mutation B {{ ...f }}": (
        "not defined by operation 'B'"
    ),
    f"mutation($u: String) {{ ...f }} fragment f on Mutation {{ {_GIVE} }}": "must be non-nullable",
}


@pytest.mark.parametrize("text", ONE_OF)
def test_a_nullable_variable_is_checked_against_one_of_inputs(text: str) -> None:
    messages = ONE_OF[text]
    errors = document_cache.prepare(text).errors
    assert len(errors) == (messages is not None)
    assert all(messages and messages in error["message"] for error in errors)
