"""GraphQL over HTTP: what comes back for a body, a header, and a fault of ours."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import orjson
import psycopg
import pytest

from models import Token, now
from models.enums import TokenKind
from schema.cli import commands
from schema.server.app import create_application
from services.access.actor import hash_token
from services.core.settings import Settings
from tests.conftest import Database
from tests.factories import Person, World

JSON = {"Content-Type": "application/json"}
MODERN = JSON | {"Accept": "application/graphql-response+json"}


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of the application without a network; an unhandled error is a 500."""
    app = create_application(settings)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        yield await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://here"))


@pytest.fixture(scope="module")
async def client(shared: World) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(shared.settings) as client:
        yield client


async def post(client: httpx.AsyncClient, body: object, **headers: str) -> httpx.Response:
    """Post a JSON body."""
    return await client.post("/graphql", content=orjson.dumps(body), headers=JSON | headers)


def signed(person: Person | str) -> dict[str, str]:
    """Return the header of a signed-in request."""
    return {"Authorization": f"Bearer {person if isinstance(person, str) else person.token}"}


def the_code(answer: httpx.Response) -> str:
    """Return the code of an answer's only error."""
    (error,) = answer.json()["errors"]
    code: str = error["extensions"]["code"]
    return code


@pytest.mark.parametrize("accept", ["application/json", "*/*", "application/graphql-response+json"])
async def test_the_response_has_the_requested_media_type(client: httpx.AsyncClient, accept: str) -> None:
    answer = await post(client, {"query": "{ me { id } }"}, Accept=accept)
    assert answer.status_code == 200
    assert answer.json() == {"data": {"me": None}}
    modern = "graphql-response" in accept
    expected = "application/graphql-response+json" if modern else "application/json"
    assert answer.headers["content-type"].partition(";")[0] == expected


@pytest.mark.parametrize(
    "query",
    ["", "{", "{ nothing }", "query A { me { id } } query B { me { id } }", "{ me }", "#"],
    ids=ascii,
)
async def test_an_invalid_document_is_400_for_the_graphql_response_type(
    client: httpx.AsyncClient, query: str
) -> None:
    content = b'{"query": "%s"}' % ascii(query)[1:-1].encode()
    modern = await client.post("/graphql", content=content, headers=MODERN)
    assert (modern.status_code, the_code(modern), "data" in modern.json()) == (400, "BAD_REQUEST", False)
    plain = await client.post("/graphql", content=content, headers=JSON)
    assert (plain.status_code, the_code(plain)) == (200, "BAD_REQUEST")


BODIES: dict[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "string": b'"x"',
    "number": b"1",
    "list": b"[1]",
    "batch": b"[[]]",
    "true": b"true",
    "not UTF-8": b'{"query": "\xff"}',
    "UTF-16": '{"query": "{me{id}}"}'.encode("utf-16"),
    "nested": b"[" * 100_000,
    "nested objects": b'{"a":' * 30_000,
    "truncated": b'{"query": "{ me { id } }"',
    "no query": b"{}",
    "null query": b'{"query": null}',
    "number query": b'{"query": 1}',
    "variables list": b'{"query": "{ me { id } }", "variables": []}',
    "variables string": b'{"query": "{ me { id } }", "variables": "{}"}',
    "name too long": b'{"query": "{ me { id } }", "operationName": "%s"}' % (b"a" * 101),
    "name a number": b'{"query": "{ me { id } }", "operationName": 1}',
    "NaN": b'{"query": "{ me { id } }", "variables": {"a": NaN}}',
    "-Infinity": b'{"query": "{ me { id } }", "variables": {"a": -Infinity}}',
    "an endless exponent": b'{"query": "{ me { id } }", "variables": {"a": 1e999999999999999999999}}',
    "a long number": b'{"query": "{ me { id } }", "variables": {"a": %s}}' % (b"9" * 5000),
    "half a pair": b'{"query": "{ \\ud800 }"}',
    "NUL": b'{"query": "{ me { id } }\\u0000"}',
    "two documents": b'{"query": "{ me { id } }"}{}',
}


@pytest.mark.parametrize("body", BODIES)
async def test_a_malformed_body_is_400(client: httpx.AsyncClient, body: str) -> None:
    answer = await client.post("/graphql", content=BODIES[body], headers=JSON)
    assert (answer.status_code, the_code(answer)) == (400, "BAD_REQUEST")


async def test_a_large_body_is_413_with_and_without_content_length(client: httpx.AsyncClient) -> None:
    body = orjson.dumps({"query": "{ me { id } }", "variables": {"a": "a" * 200_000}})

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]

    for content in (body, chunks()):
        answer = await client.post("/graphql", content=content, headers=JSON)
        assert (answer.status_code, the_code(answer)) == (413, "BAD_REQUEST")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_other_methods_are_405(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, "/graphql?query={me{id}}", headers={"Accept": "application/json"})
    assert (answer.status_code, the_code(answer), answer.headers["allow"]) == (
        405,
        "BAD_REQUEST",
        "GET, POST",
    )


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/graphql", "multipart/form-data", "", "application/jsonp"]
)
async def test_other_content_types_are_415(client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.post(
        "/graphql", content=b'{"query": "{ me { id } }"}', headers={"Content-Type": kind}
    )
    assert (answer.status_code, the_code(answer)) == (415, "BAD_REQUEST")


async def test_a_utf_8_charset_parameter_is_accepted(client: httpx.AsyncClient) -> None:
    answer = await post(
        client, {"query": "{ me { id } }"}, **{"Content-Type": "Application/JSON; charset=utf-8"}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YTpi", "cws_x", "Bearer cws_unknown", "Bearer \xff"]
)
async def test_a_bad_authorization_is_401(client: httpx.AsyncClient, header: str) -> None:
    answer = await client.post(
        "/graphql",
        content=b'{"query": "{ me { id } }"}',
        headers=[(b"content-type", b"application/json"), (b"authorization", header.encode("latin-1"))],
    )
    assert (answer.status_code, the_code(answer)) == (401, "UNAUTHENTICATED")
    assert "data" not in answer.json()


async def test_a_token_works_until_it_expires_or_is_revoked(client: httpx.AsyncClient, shared: World) -> None:
    results = {"query": "{ me { slug } }"}
    good = await post(client, results, **signed(shared.admin))
    assert good.json() == {"data": {"me": {"slug": "platform-admin"}}}
    for text, ends, revoked in (("old", -1, None), ("revoked", 1, now())):
        await shared.add(
            Token(
                user_id=shared.admin.user.id,
                kind=TokenKind.SESSION,
                token_hash=hash_token(text),
                expires_at=now() + timedelta(seconds=ends),
                revoked_at=revoked,
            )
        )
        answer = await post(client, results, **signed(text))
        assert (answer.status_code, the_code(answer)) == (401, "UNAUTHENTICATED")


async def test_a_mutation_without_sign_in_is_unauthenticated(client: httpx.AsyncClient) -> None:
    query = """mutation { createCollective(
        input: {type: COMMUNITY, name: "a", slug: "aa", currency: "USD"}
    ) { errors { code } } }"""
    assert the_code(await post(client, {"query": query})) == "UNAUTHENTICATED"


ADD_FUNDS = """mutation($i: AddFundsInput!) { addFunds(input: $i) {
    order { amount { minorUnits } } errors { code path } } }"""


@pytest.mark.parametrize(
    ("number", "minor"),
    [
        ("0.1", "10"),
        ("12345678901234567.89", "1234567890123456789"),
        ("1e2", "10000"),
        ("7", "700"),
        ("92233720368547758.07", str(2**63 - 1)),
        ('"0.30"', "30"),
        ("1.10", "110"),
    ],
)
async def test_json_numbers_keep_their_digits(
    client: httpx.AsyncClient, shared: World, number: str, minor: str
) -> None:
    query = " ".join(ADD_FUNDS.split())
    body = (
        f'{{"query": "{query}", "variables": {{"i": {{"to": {{"slug": "commonweal"}}, "dryRun": true, '
        f'"amount": {{"value": {number}, "currency": "USD"}}}}}}}}'
    )
    answer = await client.post("/graphql", content=body, headers=JSON | signed(shared.admin))
    assert answer.json()["data"]["addFunds"] == {"order": {"amount": {"minorUnits": minor}}, "errors": []}


@pytest.mark.parametrize("number", ["1e400", "0.001", "-1", "9223372036854775808", "0"])
async def test_an_unusable_json_number_names_its_field(
    client: httpx.AsyncClient, shared: World, number: str
) -> None:
    query = " ".join(ADD_FUNDS.split())
    body = (
        f'{{"query": "{query}", "variables": {{"i": {{"to": {{"slug": "commonweal"}}, '
        f'"amount": {{"value": {number}, "currency": "USD"}}}}}}}}'
    )
    answer = await client.post("/graphql", content=body, headers=JSON | signed(shared.admin))
    (error,) = answer.json()["data"]["addFunds"]["errors"]
    assert error == {"code": "INVALID_INPUT", "path": ["input", "amount", "value"]}


PAGE = "query($n: Int) { collectives(first: $n) { nodes { slug } } }"


@pytest.mark.parametrize("number", ["1.0", "1e0", "10E-1"])
async def test_a_number_without_a_fraction_is_an_int(client: httpx.AsyncClient, number: str) -> None:
    body = f'{{"query": "{PAGE}", "variables": {{"n": {number}}}}}'
    answer = await client.post("/graphql", content=body, headers=JSON)
    assert len(answer.json()["data"]["collectives"]["nodes"]) == 1


@pytest.mark.parametrize("number", ["1.5", "1e400000000", "3.0e9", "1e-400"])
async def test_a_number_that_is_no_int_is_shown_in_the_error(client: httpx.AsyncClient, number: str) -> None:
    body = f'{{"query": "{PAGE}", "variables": {{"n": {number}}}}}'
    (error,) = (await client.post("/graphql", content=body, headers=JSON)).json()["errors"]
    assert "Int cannot represent" in error["message"]
    assert "instance" not in error["message"]


HALF = "\\ud800"
APPROVE = "mutation($i: ApproveOrdersInput!) { approveOrders(input: $i) { results { id errors { code } } } }"
HALVES = {
    "slug": ("query($s: String!) { collective(slug: $s) { id } }", f'{{"s": "{HALF}"}}'),
    "id": ("query($s: ID!) { node(id: $s) { id } }", f'{{"s": "ord_{HALF}"}}'),
    "field": (ADD_FUNDS, f'{{"i": {{"{HALF}": 1}}}}'),
    "echo": (APPROVE, f'{{"i": {{"ids": ["ord_{HALF}"]}}}}'),
    "variable": ("{ me { id } }", f'{{"{HALF}": 1}}'),
    "enum": (
        "query($e: CollectiveSort!) { collectives(orderBy: $e) { nodes { id } } }",
        f'{{"e": "{HALF}"}}',
    ),
}


@pytest.mark.parametrize("place", HALVES)
async def test_half_a_surrogate_pair_is_not_an_internal_error(
    client: httpx.AsyncClient, shared: World, place: str
) -> None:
    query, variables = HALVES[place]
    body = f'{{"query": "{query}", "variables": {variables}}}'
    answer = await client.post("/graphql", content=body, headers=JSON | signed(shared.admin))
    assert answer.status_code in {200, 400}
    assert "INTERNAL_SERVER_ERROR" not in answer.text


async def test_half_a_surrogate_pair_in_the_operation_name_is_refused(client: httpx.AsyncClient) -> None:
    body = f'{{"query": "query A {{ me {{ id }} }}", "operationName": "{HALF}"}}'
    assert the_code(await client.post("/graphql", content=body, headers=JSON)) == "BAD_REQUEST"


async def test_a_browser_gets_graphiql(client: httpx.AsyncClient) -> None:
    answer = await client.get("/graphql", headers={"Accept": "text/html,application/xhtml+xml"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "GraphiQL" in answer.text
    assert (await client.get("/")).headers["location"] == "/graphql"


async def test_health_and_readiness_are_200(client: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_without_a_database_the_server_is_healthy_but_not_ready() -> None:
    nowhere = "postgresql://nobody:secret-word@127.0.0.1:1/nowhere"
    async with serving(Settings(database_url=nowhere)) as client:
        assert (await client.get("/healthz")).status_code == 200
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        fault = await post(client, {"query": "{ currencies { code } }"})
    assert the_code(fault) == "UNAVAILABLE"
    for text in (answer.text, fault.text):
        assert not any(word in text for word in ("127.0.0.1", "nobody", "secret-word", "psycopg", "refused"))


@pytest.mark.parametrize(
    "query",
    [
        "{ me { slug } currencies { code } }",
        """mutation { createCollective(
            input: {type: COMMUNITY, name: "a", slug: "fault", currency: "USD"}
        ) { collective { slug } } }""",
    ],
)
async def test_an_internal_error_is_masked_and_logged_with_its_id(
    database: Database, world: World, caplog: pytest.LogCaptureFixture, query: str
) -> None:
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE currency RENAME TO elsewhere")
        owner.execute("ALTER TABLE slug_redirect RENAME COLUMN slug TO away")
    async with serving(database.settings) as client:
        with caplog.at_level(logging.ERROR, logger="commonweal.errors"):
            answer = await post(client, {"query": query}, **signed(world.admin))
    assert answer.status_code == 200
    (error,) = answer.json()["errors"]
    extensions: dict[str, Any] = error["extensions"]
    assert set(extensions) == {"code", "errorId"}
    assert extensions["code"] == "INTERNAL_SERVER_ERROR"
    text = answer.text.lower()
    assert not any(
        word in text
        for word in ("select", "currency", "slug_redirect", "psycopg", "traceback", ".py", "column")
    )
    (record,) = [r for r in caplog.records if getattr(r, "error_id", None) == extensions["errorId"]]
    assert record.exc_info is not None
    assert "UndefinedTable" in str(record.exc_info[1]) or "UndefinedColumn" in str(record.exc_info[1])
    assert await world.scalar("SELECT count(*) FROM collective WHERE slug = 'fault'") == 0


@pytest.mark.parametrize("depth", [100, 400, 900, 3_000, 30_000])
async def test_deep_variables_are_not_an_internal_error(client: httpx.AsyncClient, depth: int) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        deep = opening * depth + b"1" + closing * depth
        body = b'{"query": "{ me { id } }", "variables": {"a": %s}}' % deep
        answer = await client.post("/graphql", content=body, headers=JSON)
        assert answer.status_code in {200, 400}
        assert "INTERNAL_SERVER_ERROR" not in answer.text


@pytest.mark.parametrize("depth", [150, 900, 99_900, 100_000])
async def test_variables_nested_too_deeply_are_a_bad_request(client: httpx.AsyncClient, depth: int) -> None:
    """Past what the reader of JSON takes, or the size of a body, it is those that refuse it."""
    body = b'{"query": "{ me { id } }", "variables": {"a": %s}}' % (b"[" * depth + b"]" * depth)
    answer = await client.post("/graphql", content=body, headers=MODERN)
    assert (answer.status_code, the_code(answer)) == (413 if depth == 100_000 else 400, "BAD_REQUEST")
    if depth == 150:
        assert answer.json()["errors"][0]["message"] == "Nested too deeply"


@pytest.mark.parametrize("key", [None, "a"])
async def test_variables_accepted_by_the_parser_may_still_be_too_deep(shared: World, key: str | None) -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep] if key is None else {key: deep}
    body = await shared.execute("{ me { id } }", a=deep)
    assert body == {"errors": [{"message": "Nested too deeply", "extensions": {"code": "BAD_REQUEST"}}]}
    legal: Any = 1
    for _ in range(90):
        legal = [legal]
    assert await shared.query("{ me { id } }", a=legal) == {"me": None}


async def test_a_deep_document_is_refused(client: httpx.AsyncClient) -> None:
    for depth in (50, 500, 15_000):
        query = "{ me " + "{ memberOf { nodes { collective " * depth + "{ id }" + "} } }" * depth + " }"
        if len(query) < 190_000:
            answer = await post(client, {"query": query})
            assert answer.status_code == 200
            assert "INTERNAL_SERVER_ERROR" not in answer.text
            assert "data" not in answer.json() or answer.json()["data"] == {"me": None}


def test_the_committed_sdl_is_the_schema() -> None:
    assert commands.schema(check=True, write=False) == 0
