"""CORS with a list of allowed origins: preflights and readable responses."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from schema.http import origins
from schema.server.app import create_application
from services.core.errors import ConfigurationError
from services.core.settings import Settings
from tests.factories import World
from tests.schema.http.test_endpoint_requests import post, serving, the_code

GOOD, EVIL = "https://app.example.org", "https://evil.example"
ME = {"query": "{ me { slug } }"}


@pytest.fixture(scope="module")
async def client(shared: World) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(replace(shared.settings, allowed_origins=GOOD)) as result:
        yield result


async def preflight(
    client: httpx.AsyncClient, path: str, method: str, *, origin: str = GOOD, headers: str = "content-type"
) -> httpx.Response:
    return await client.options(
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": headers,
        },
    )


@pytest.mark.parametrize(
    ("path", "method", "methods"),
    [
        ("/graphql", "POST", "GET, POST"),
        ("/graphql", "GET", "GET, POST"),
        ("/receipts", "POST", "POST"),
        ("/receipts/rcp_1", "GET", "GET"),
        ("/export/hours.csv", "GET", "GET"),
    ],
)
async def test_a_preflight_from_an_allowed_origin_lists_what_is_allowed(
    client: httpx.AsyncClient, path: str, method: str, methods: str
) -> None:
    request = (
        "authorization,commonweal-cookie,commonweal-cost,commonweal-explain,commonweal-preflight,content-type"
    )
    answer = await preflight(client, path, method, headers=request)
    assert (answer.status_code, answer.content) == (204, b"")
    results = {k: v for k, v in answer.headers.items() if k.startswith("access-control-")}
    allowed = {name.strip().lower() for name in results.pop("access-control-allow-headers").split(",")}
    assert allowed == {
        *request.split(","),
        "accept",
        "accept-language",
        "content-language",
        "if-none-match",
        "traceparent",
        "tracestate",
        "x-request-id",
    }
    assert results == {
        "access-control-allow-origin": GOOD,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": methods,
        "access-control-max-age": "3600",
    }
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    ("path", "method", "origin", "headers"),
    [
        ("/graphql", "POST", EVIL, "content-type"),
        ("/graphql", "POST", "null", "content-type"),
        ("/graphql", "PUT", GOOD, "content-type"),
        ("/graphql", "POST", GOOD, "x-strange"),
        ("/receipts", "GET", GOOD, "content-type"),
        ("/export/hours.csv", "POST", GOOD, "content-type"),
        ("/receipts/rcp_1", "DELETE", GOOD, "content-type"),
        ("/receipts/rcp_1", "GET", EVIL, "content-type"),
    ],
)
async def test_any_other_preflight_is_refused(
    client: httpx.AsyncClient, path: str, method: str, origin: str, headers: str
) -> None:
    answer = await preflight(client, path, method, origin=origin, headers=headers)
    assert (answer.status_code, the_code(answer)) == (403, "ORIGIN_NOT_ALLOWED")
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert "Origin" in answer.headers["vary"]


async def test_pages_other_than_the_api_answer_no_preflight(client: httpx.AsyncClient) -> None:
    for path in ("/verify", "/reset", "/metrics", "/healthz"):
        answer = await preflight(client, path, "POST")
        assert answer.status_code == 405
        assert "access-control-allow-origin" not in answer.headers


async def test_plain_options_requests_are_405(client: httpx.AsyncClient, shared: World) -> None:
    for headers in ({}, {"Origin": GOOD}):
        answer = await client.options("/graphql", headers=headers)
        assert (answer.status_code, answer.headers["allow"], the_code(answer)) == (
            405,
            "GET, POST",
            "BAD_REQUEST",
        )
    async with serving(shared.settings) as none_listed:
        request = await preflight(none_listed, "/graphql", "POST")
        assert (request.status_code, "access-control-allow-origin" in request.headers) == (405, False)


async def test_allowed_origins_can_read_responses_and_headers(client: httpx.AsyncClient) -> None:
    for answer in (
        await post(client, ME, Origin=GOOD),
        await client.post("/graphql", content=b"{", headers={"Origin": GOOD}),
        await client.get("/receipts/rcp_1", headers={"Origin": GOOD}),
        await client.get("/export/hours.csv", headers={"Origin": GOOD}),
    ):
        assert answer.headers["access-control-allow-origin"] == GOOD
        assert answer.headers["access-control-allow-credentials"] == "true"
        exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert {"ETag", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"} <= exposed
        assert {"X-Request-Id", "X-Trace-Id"} <= exposed
        assert "Origin" in answer.headers["vary"]


async def test_other_origins_cannot_read_responses(client: httpx.AsyncClient, shared: World) -> None:
    for headers in ({"Origin": EVIL}, {"Origin": "null"}, {}):
        answer = await post(client, ME, **headers)
        assert "access-control-allow-origin" not in answer.headers
        assert "Origin" in answer.headers["vary"], "a cache must not give one page's answer to another"
    async with serving(shared.settings) as none_listed:
        answer = await post(none_listed, ME, Origin=GOOD)
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "null",
        "app.example.org",
        "https://",
        "https://a.org/path",
        "https://*.a.org",
        "ftp://a.org",
        "https://a.org https://b.org",
        "https://user@a.org",
        "https://a.org?x",
    ],
)
def test_an_invalid_origin_stops_the_start(text: str) -> None:
    with pytest.raises(ConfigurationError, match="COMMONWEAL_ALLOWED_ORIGINS"):
        create_application(Settings(allowed_origins=text))


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "is_allowed"),
    [
        (None, "here", "http", True),
        ("http://here", "here", "http", True),
        ("http://here", "here", "ws", True),
        ("https://here", "here", "wss", True),
        ("http://here", "here", "wss", False),
        ("http://here", "here:80", "http", True),
        ("https://here", "here:443", "https", True),
        ("http://here:8000", "here:8000", "http", True),
        ("http://here:8000", "here:8001", "http", False),
        ("http://here", "HERE", "http", True),
        ("https://api.example.org", "127.0.0.1:8000", "http", True),
        ("https://api.example.org:443", "127.0.0.1:8000", "http", False),
        ("https://app.example.org", "here", "ws", True),
        ("http://[::1]:3000", "here", "ws", True),
        ("https://app.example.org:8443", "here", "http", False),
        ("null", "here", "http", False),
        ("", "here", "http", False),
        ("null", "null", "http", False),
        ("http://", "", "http", True),
    ],
)
def test_an_origin_is_our_own_or_an_allowed_one(
    origin: str | None, host: str, scheme: str, *, is_allowed: bool
) -> None:
    settings = Settings(
        public_url="https://API.example.org:443/",
        allowed_origins=" HTTPS://App.example.org:443/ ,, http://[::1]:3000",
    )
    assert origins.is_allowed(settings, origin=origin, host=host, scheme=scheme) is is_allowed
