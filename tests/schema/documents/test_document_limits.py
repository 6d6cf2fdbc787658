"""Documents that would cost more to read than they are worth: each is refused at once, by one rule."""

import sys
import tracemalloc
from collections.abc import AsyncIterator
from types import FrameType

import httpx
import pytest
from graphql import get_introspection_query

from schema.documents import document_cache, document_limits
from tests.factories import World
from tests.schema.documents.hostile_documents import FIFTY, HOSTILE, many, refused_anew
from tests.schema.http.test_endpoint_requests import post, serving

MOST_CALLS = 105_000
"""Calls of functions: the same on every machine. `python -m bench documents` has the milliseconds."""
MOST_BYTES = 10_000_000


@pytest.fixture(scope="module")
async def client(shared: World) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(shared.settings) as client:
        yield client


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_is_refused_with_little_work_and_memory(name: str) -> None:
    text = HOSTILE[name]
    assert 1 <= len(refused_anew(text).errors) <= document_cache.MAX_ERRORS + 1
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        refused_anew(text)
    finally:
        sys.setprofile(None)
    assert calls < MOST_CALLS
    tracemalloc.start()
    try:
        refused_anew(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_BYTES


LIMITED = {
    "one token too many": "tokens",
    "nested 5,000 times": "deeply",
    "a document of 1 MB": "characters",
    "101 aliases": "aliases",
    "aliases below the root": "aliases",
    "21 fields at the root": "root",
    "21 fields at the root by fragments": "root",
    "500 times the same name": "one response key",
    "the same object in inline fragments": "one response key",
    "the same names in 49 fragments": "same response keys",
    "the same names in fragments that nobody spreads": "same response keys",
    "51 directives": "50 directives",
    "10 unknown directives": "5 directives",
    "directives on an operation": "5 directives",
    "fragments that double 25 times": "fields with its fragments",
    "fragments with aliases that double 11 times": "deep",
    "doubling fragments that nobody spreads": "fields with its fragments",
    "51 fragments": "50 fragments",
    "11 operations": "10 operations",
    "201 unknown fragments": "spread",
    "13 fields deep": "deep",
    "13 fields deep by fragments": "deep",
    "300 variables": "variables",
    "1,300 unknown fields": "200 fields",
    "400 arguments": "arguments",
    "400 fields of an object": "arguments",
    "mutations that sign in": "signIn",
    "two that sign in, one by a fragment": "signIn",
}


@pytest.mark.parametrize("name", LIMITED)
def test_one_error_names_the_limit(name: str) -> None:
    (error,) = refused_anew(HOSTILE[name]).errors
    assert error["extensions"] == {"code": document_limits.CODE}
    assert LIMITED[name] in error["message"]


@pytest.mark.parametrize("name", [name for name in HOSTILE if "circ" in name or "itself" in name])
def test_fragment_cycles_are_refused_by_their_own_rule(name: str) -> None:
    message = refused_anew(HOSTILE[name]).errors[0]["message"]
    assert "within itself" in message or message == "Maximum introspection depth exceeded"


GOOD = {
    "GraphiQL's introspection": get_introspection_query(
        descriptions=True,
        specified_by_url=True,
        directive_is_repeatable=True,
        schema_description=True,
        input_value_deprecation=True,
    ),
    "as many fields at the root as may be": f"{{ {many(20, 'a%: __typename')} }}",
    "as many aliases as may be": f"{{ me {{ {many(30, 'a%: id')} }} }}",
    "12 fields deep": "{ me { " + "host { " * 10 + "id" + " }" * 12,
    "what Relay writes": (
        "query A($n: Int!) { collectives(first: $n) { edges { node { __typename id ...b ...c } cursor } "
        "pageInfo { endCursor hasNextPage } } } "
        "fragment b on Collective { id name host { id __typename } } "
        "fragment c on Collective { id slug host { id __typename name } }"
    ),
    "thirty fragments of components": (
        f"{{ me {{ {many(30, '...f%')} }} }} {many(30, 'fragment f% on User { __typename id name }')}"
    ),
    "50 fragments": f"{{ me {{ {FIFTY} }} }} {many(50, 'fragment f% on User { id }')}",
    "10 operations": many(10, "query Q% { __typename }"),
    "a sign-in beside another operation": (
        'mutation A { signIn(input: {email: "a", password: "b"}) { errors { code } } } '
        'mutation B { signIn(input: {email: "a", password: "b"}) { errors { code } } }'
    ),
    "brackets in a text": '{ node(id: "' + "{[(@" * 500 + '") { id } } # ' + "{" * 500,
    "a long value": '{ node(id: """' + 'a "quoted" word, ' * 500 + '""") { id } }',
}


@pytest.mark.parametrize("name", GOOD)
def test_documents_of_common_clients_are_within_the_limits(name: str) -> None:
    document_cache.clear_refused()
    assert document_cache.prepare(GOOD[name]).errors == ()


async def test_a_limit_error_is_a_graphql_response(client: httpx.AsyncClient) -> None:
    answer = await post(client, {"query": HOSTILE["101 aliases"]}, Accept="application/graphql-response+json")
    assert answer.status_code == 400
    assert answer.json() == {
        "errors": [
            {
                "message": "A selection set may have at most 30 aliases",
                "extensions": {"code": "DOCUMENT_LIMIT_EXCEEDED"},
            }
        ]
    }
