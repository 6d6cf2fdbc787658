"""The protocol to the letter: media types, GET, limits, batches, compression, and documents read once."""

import gzip
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import orjson
import pytest
from prometheus_client import REGISTRY

from schema.documents import document_cache, validation
from schema.documents.document_cache import LruCache
from schema.execution import unit_of_work
from schema.http import content_negotiation
from tests.factories import World
from tests.schema.http.test_endpoint_requests import JSON, MODERN, post, serving, signed, the_code

GRAPHQL = "application/graphql-response+json"
PREFLIGHT = {"Commonweal-Preflight": "1"}
ME = {"query": "{ me { id } }"}
MUTATION = "mutation { signOut { errors { code } } }"
NOBODY = '{"data":{"me":null}}'


@pytest.fixture(scope="module")
async def client(shared: World) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(shared.settings) as client:
        yield client


async def get(
    client: httpx.AsyncClient, parameters: dict[str, str], headers: dict[str, str] = PREFLIGHT
) -> httpx.Response:
    """Send a GET request."""
    return await client.get(f"/graphql?{urlencode(parameters)}", headers=headers)


# --- what the client accepts ---


@pytest.mark.parametrize(
    ("wish", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        (GRAPHQL, GRAPHQL),
        (f"{GRAPHQL}, */*", GRAPHQL),
        (f"{GRAPHQL}, application/*;q=0.9", GRAPHQL),
        (f"application/json, {GRAPHQL}", "application/json"),
        (f"application/json;q=0.9, {GRAPHQL}", GRAPHQL),
        (f"application/json, {GRAPHQL};q=0.9", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
        (f"application/json;q=0, {GRAPHQL}", GRAPHQL),
        ("application/json;q=0, */*", GRAPHQL),
        ("APPLICATION/JSON; charset=utf-8; Q=0.5", "application/json"),
        ("text/html", None),
        ("application/json;q=0", None),
        ("*/*;q=0", None),
        ("application/json;q=1.5", None),
        ("application/json;q=x", None),
        ("application/xml, text/*", None),
        (",", None),
        ("*/*;q=0.000", None),
    ],
)
async def test_the_response_has_the_preferred_media_type(
    client: httpx.AsyncClient, wish: str, kind: str | None
) -> None:
    answer = await post(client, ME, Accept=wish)
    assert answer.headers["vary"] == "Accept, Authorization, Cookie"
    if kind is None:
        assert (answer.status_code, the_code(answer)) == (406, "BAD_REQUEST")
    else:
        assert (answer.status_code, answer.text) == (200, NOBODY)
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"


async def test_missing_and_repeated_accept_headers(client: httpx.AsyncClient) -> None:
    request = client.build_request("POST", "/graphql", json=ME)
    del request.headers["accept"]
    assert (await client.send(request)).headers["content-type"].startswith("application/json;")
    twice = [("Content-Type", "application/json"), ("Accept", "text/html"), ("Accept", GRAPHQL)]
    answer = await client.post("/graphql", content=orjson.dumps(ME), headers=twice)
    assert answer.headers["content-type"].startswith(GRAPHQL)


@pytest.mark.parametrize(
    ("wish", "is_page"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html", True),
        ("application/json, text/html;q=0.5", False),
        ("*/*", False),
        ("text/*", False),
        ("text/html;q=0", False),
    ],
)
def test_only_clients_that_accept_html_get_the_page(wish: str, *, is_page: bool) -> None:
    assert content_negotiation.wants_page(wish) is is_page


@pytest.mark.parametrize(
    "body",
    [
        {"query": "{"},
        {"query": "{ nothing }"},
        {"query": "query A { me { id } }", "operationName": "B"},
        {"query": "query($id: ID!) { node(id: $id) { id } }", "variables": {"id": None}},
    ],
)
async def test_an_operation_that_cannot_run_is_400_only_for_the_graphql_response_type(
    client: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    for headers, status in ((JSON, 200), (MODERN, 400)):
        answer = await client.post("/graphql", content=orjson.dumps(body), headers=headers)
        assert (answer.status_code, the_code(answer), "data" in answer.json()) == (
            status,
            "BAD_REQUEST",
            False,
        )


async def test_an_error_response_has_the_requested_media_type(client: httpx.AsyncClient) -> None:
    answer = await client.post("/graphql", content=b"{", headers=MODERN)
    assert (answer.status_code, answer.headers["content-type"]) == (400, f"{GRAPHQL}; charset=utf-8")
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer cws_unknown"])
async def test_a_401_has_www_authenticate(client: httpx.AsyncClient, header: str) -> None:
    answer = await post(client, ME, Authorization=header)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


# --- GET ---


@pytest.mark.parametrize("headers", [PREFLIGHT, {"Content-Type": "application/json"}])
async def test_a_query_by_get(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    results = {
        "query": "query A($s: String!) { collective(slug: $s) { slug } } query B { me { id } }",
        "variables": '{"s": "commonweal"}',
        "operationName": "A",
        "extensions": "",
    }
    answer = await get(client, results, headers)
    assert (answer.status_code, answer.json()) == (200, {"data": {"collective": {"slug": "commonweal"}}})
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
async def test_a_cross_site_get_is_refused(client: httpx.AsyncClient, kind: str | None) -> None:
    answer = await get(client, ME, {"Content-Type": kind} if kind else {})
    assert (answer.status_code, the_code(answer)) == (400, "PREFLIGHT_REQUIRED")


async def test_a_mutation_by_get_is_405_and_stores_nothing(client: httpx.AsyncClient, shared: World) -> None:
    for headers in (PREFLIGHT, PREFLIGHT | {"Accept": GRAPHQL}):
        answer = await get(client, {"query": MUTATION}, headers | signed(shared.admin))
        assert (answer.status_code, answer.headers["allow"], the_code(answer)) == (405, "POST", "BAD_REQUEST")
    both = {"query": f"query A {{ me {{ id }} }} mutation B {MUTATION.removeprefix('mutation')}"}
    assert (await get(client, both | {"operationName": "A"})).status_code == 200
    assert (await get(client, both | {"operationName": "B"})).status_code == 405
    still = await post(client, {"query": "{ me { slug } }"}, **signed(shared.admin))
    assert still.json() == {"data": {"me": {"slug": "platform-admin"}}}


@pytest.mark.parametrize(
    "address",
    [
        "",
        "query=%7Bme%7Bid%7D%7D&query=%7Bme%7Bid%7D%7D",
        "query=%FF",
        "query=%7Bme%7Bid%7D%7D&variables=%7B",
        "query=%7Bme%7Bid%7D%7D&variables=[]",
        "query=%7Bme%7Bid%7D%7D&variables=%5Bnull%5D",
        "query=%7Bme%7Bid%7D%7D&extensions=1",
        "query=%7Bme%7Bid%7D%7D%00",
        "&".join(["a=b"] * 30) + "&query=a",
        "query=%7Bme%7Bid%7D%7D&operationName=" + "a" * 101,
        "query=%ED%A0%80",
        "documentId=",
        "query=%7Bme%7Bid%7D%7D&variables=" + "[" * 3000,
    ],
)
async def test_a_malformed_url_is_400(client: httpx.AsyncClient, address: str) -> None:
    answer = await client.get(f"/graphql?{address}", headers=PREFLIGHT)
    assert (answer.status_code, the_code(answer)) == (400, "BAD_REQUEST")


# --- limits ---


async def test_a_long_url_is_414_and_long_headers_are_431(client: httpx.AsyncClient) -> None:
    long = await client.get(f"/graphql?query={quote('{ me { id } }' + ' ' * 8000)}", headers=PREFLIGHT)
    assert (long.status_code, the_code(long)) == (414, "BAD_REQUEST")
    assert (await client.post(f"/graphql?{'a' * 8000}", json=ME)).status_code == 414
    headers = await post(client, ME, **{"X-Other": "a" * 32_000})
    assert (headers.status_code, the_code(headers)) == (431, "BAD_REQUEST")


@pytest.mark.parametrize(
    "body", [[], [ME], [1], [[]], [None], [ME, {"query": 1}], [{**ME, "variables": [1]}]]
)
async def test_a_batch_is_refused_with_an_explanation(client: httpx.AsyncClient, body: list[object]) -> None:
    answer = await post(client, body)
    assert (answer.status_code, the_code(answer)) == (400, "BAD_REQUEST")
    assert answer.json()["errors"][0]["message"].startswith("Batches are not supported")


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-16", "application/json; charset=latin-1", "application/json+x"]
)
async def test_other_charsets_are_415(client: httpx.AsyncClient, kind: str) -> None:
    assert (await post(client, ME, **{"Content-Type": kind})).status_code == 415


async def test_a_compressed_body_is_415(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/graphql", content=gzip.compress(orjson.dumps(ME)), headers=JSON | {"Content-Encoding": "gzip"}
    )
    assert (answer.status_code, the_code(answer)) == (415, "BAD_REQUEST")


@pytest.mark.parametrize(
    "extensions", ["x", 0, False, [1], [], {"persistedQuery": 1}, {"persistedQuery": {}}]
)
async def test_extensions_must_be_an_object(client: httpx.AsyncClient, extensions: object) -> None:
    answer = await post(client, ME | {"extensions": extensions})
    assert (answer.status_code, the_code(answer)) == (400, "BAD_REQUEST")
    assert (await post(client, ME | {"extensions": {"other": 1}})).status_code == 200


# --- compression ---


@pytest.mark.parametrize(
    ("encoding", "is_packed"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("br", False), ("identity", False)],
)
async def test_a_large_response_is_compressed_if_accepted(
    client: httpx.AsyncClient, encoding: str, *, is_packed: bool
) -> None:
    large = {"query": "{ __schema { types { name } } }"}
    answer = await post(client, large, **{"Accept-Encoding": encoding})
    assert len(answer.content) > 1_000
    assert (answer.headers.get("content-encoding") == "gzip") is is_packed
    assert answer.headers["vary"].startswith("Accept, Authorization, Cookie")
    small = await post(client, ME, **{"Accept-Encoding": encoding})
    assert "content-encoding" not in small.headers


# --- documents are read once ---


def documents_total(outcome: str) -> float:
    """Return how many documents were read, or remembered."""
    result = REGISTRY.get_sample_value("commonweal_documents_total", {"from": outcome})
    return result or 0


@pytest.mark.parametrize(
    "query", ["{ me { id name } currencies { code } }", "{ neverSeenBefore }", "{ unfinished"]
)
async def test_a_document_is_parsed_and_validated_once(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    first = await post(client, {"query": query})
    read, remembered = documents_total("read"), documents_total("remembered")

    def again(*_: object) -> None:
        raise AssertionError("read again")

    with monkeypatch.context() as patch:
        patch.setattr(document_cache, "parse", again)
        patch.setattr(validation, "find_errors", again)
        patch.setattr("strawberry.schema.schema.parse", again)
        patch.setattr("strawberry.schema.schema.validate", again)
        second = await post(client, {"query": query})
    assert (second.status_code, second.json()) == (first.status_code, first.json())
    assert (documents_total("read"), documents_total("remembered")) == (read, remembered + 1)


async def test_a_cached_document_runs_with_new_variables(shared: World) -> None:
    query = "query($s: String!, $no: Boolean!) { collective(slug: $s) { slug name @skip(if: $no) } }"
    assert (await shared.query(query, s="commonweal", no=True)) == {"collective": {"slug": "commonweal"}}
    assert (await shared.query(query, s="none", no=False)) == {"collective": None}
    bad = await shared.execute(query, s="a\x00", no=False)
    assert bad["errors"][0]["extensions"] == {"code": "INVALID_INPUT", "path": ["slug"]}
    assert "name" in (await shared.query(query, s="commonweal", no=False))["collective"]


async def test_a_mutation_is_not_cached_as_a_query(shared: World) -> None:
    request = unit_of_work.OperationRequest(query=MUTATION, is_read_only=True)
    answer = await unit_of_work.execute(request, sessions=shared.sessions, settings=shared.settings)
    assert (answer.is_wrong_method, answer.is_request_error, "data" in answer.body) == (True, True, False)


def test_a_store_is_bounded_by_count_and_by_bytes() -> None:
    store: LruCache[int] = LruCache(max_count=3, max_bytes=100)
    for i in range(5):
        store.put(str(i), i, size_bytes=10)
    assert (len(store), store.total_bytes, store.get("1"), store.get("2")) == (3, 30, None, 2)
    store.put("5", 5, size_bytes=10)
    assert (store.get("3"), store.get("2")) == (None, 2), "what was used last stays"
    store.put("6", 6, size_bytes=90)
    assert (len(store), store.total_bytes, store.get("2"), store.get("6")) == (2, 100, 2, 6)
    store.put("7", 7, size_bytes=101)
    assert (store.get("7"), store.total_bytes) == (None, 100), "what is larger than all room is not kept"
    store.put("6", 60, size_bytes=20)
    assert (store.get("6"), store.total_bytes, len(store)) == (60, 30, 2)


def test_refused_documents_do_not_evict_valid_ones() -> None:
    good = document_cache.prepare("{ me { id slug } }")
    for i in range(document_cache.MAX_REFUSED + 50):
        assert document_cache.prepare(f"{{ nothing{i} }}").errors
    assert document_cache.prepare("{ me { id slug } }") is good
    assert len(document_cache._refused) == document_cache.MAX_REFUSED
