"""The gate: clients behind trusted proxies, the hosts served, common headers."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from schema.http.gate import Gate
from schema.server.app import create_application
from services.core.errors import ConfigurationError
from services.core.settings import Settings
from tests.conftest import Database
from tests.subscription_client import serve_in_process

PROXIES = "10.0.0.0/8, fd00::/8"


def gate(**changed: Any) -> Gate:
    return Gate(replace(Settings(), trusted_proxies=PROXIES, **changed))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.9", "198.51.100.1", "192.0.2.9"),  # forged: the peer is no proxy
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.5, 198.51.100.1", "198.51.100.1"),  # what a client invents stands first
        ("10.0.0.1", "198.51.100.1, 10.0.0.7", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.5, 198.51.100.1, 10.0.0.7", "198.51.100.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, nonsense, 10.0.0.7", "10.0.0.7"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "10.0.0.8, 10.0.0.7", "10.0.0.8"),
        ("", "198.51.100.1", ""),
    ],
)
def test_only_trusted_proxies_tell_the_client(peer: str, forwarded: str, client: str) -> None:
    assert gate().client_address(peer, forwarded) == client


@pytest.mark.parametrize("text", ["10.0.0.0/33", "proxy", "10.0.0.1/8"])
def test_a_wrong_network_stops_the_start(text: str) -> None:
    with pytest.raises(ConfigurationError, match="COMMONWEAL_TRUSTED_PROXIES"):
        Gate(replace(Settings(), trusted_proxies=text))


@pytest.mark.parametrize(
    ("host", "is_served"),
    [
        ("localhost:8000", True),
        ("api", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("[::1]", True),
        ("api.example.org", True),
        ("API.example.org.:443", True),
        ("www.example.net", True),
        ("evil.example", False),
        ("api.example.org.evil.example", False),
        ("evil.example:8000", False),
        ("1.2.3.4.evil.example", False),
        ("", True),
    ],
)
def test_strangers_names_are_not_served(host: str, is_served: bool) -> None:
    ours = gate(public_url="https://api.example.org", allowed_hosts="www.example.net")
    assert ours.serves_host(host) is is_served
    assert gate(allowed_hosts="*").serves_host(host)


@pytest.fixture(scope="module")
def settings(make_database: Callable[[], Database]) -> Settings:
    return make_database().settings


@pytest.mark.parametrize("path", ["/graphql", "/", "/reset", "/metrics", "/receipts/x", "/export/hours.csv"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_every_path_refuses_a_strange_host(settings: Settings, path: str, method: str) -> None:
    app = create_application(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://evil.example") as client:
            response = await client.request(method, path, json={"query": "{ __typename }"})
            assert response.status_code == 421
            assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "here\r\nHost: there"])
async def test_the_direct_path_and_websockets_refuse_it_too(settings: Settings, host: str) -> None:
    async with serve_in_process(settings) as api:
        address, _, port = api.address.partition(":")
        for request in (
            f"POST /graphql HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            'Content-Length: 25\r\n\r\n{"query": "{ __typename}"}',
            f"GET /graphql HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection(address, int(port))
            writer.write(request.encode())
            status = (await reader.readline()).split()[1]
            assert status in {b"421", b"400"}, request
            writer.close()


@pytest.mark.parametrize(
    ("public_url", "hsts_seconds", "hsts"),
    [
        ("https://api.example.org", 31_536_000, "max-age=31536000"),
        ("https://api.example.org", 0, None),
        ("http://api.example.org", 31_536_000, None),
        ("", 31_536_000, None),
    ],
)
async def test_every_response_has_the_common_headers(
    settings: Settings, public_url: str, hsts_seconds: int, hsts: str | None
) -> None:
    changed = {"public_url": public_url, "hsts_seconds": hsts_seconds}
    async with (
        serve_in_process(settings, **changed) as api,
        httpx.AsyncClient(base_url=f"http://{api.address}", trust_env=False) as client,
    ):
        responses = [
            await client.post("/graphql", json={"query": "{ __typename }"}),  # straight from the socket
            *[
                await client.get(path)
                for path in ("/", "/healthz", "/reset", "/metrics", "/nothing", "/export/hours.csv")
            ],
        ]
    for response in responses:
        assert response.headers.get_list("x-content-type-options") == ["nosniff"], response.url
        assert response.headers.get("strict-transport-security") == hsts, response.url


async def test_metrics_are_not_for_strangers(settings: Settings) -> None:
    for token, address, headers, status in (
        ("", "127.0.0.1", {}, 200),
        ("", "127.0.0.1", {"X-Forwarded-For": "198.51.100.1"}, 404),
        ("", "127.0.0.1", {"Via": "1.1 proxy"}, 404),
        ("", "198.51.100.1", {}, 404),
        ("", "198.51.100.1", {"X-Forwarded-For": "127.0.0.1"}, 404),
        ("secret", "198.51.100.1", {"Authorization": "Bearer secret"}, 200),
        ("secret", "127.0.0.1", {}, 404),
        ("secret", "127.0.0.1", {"Authorization": "Bearer other"}, 404),
    ):
        app = create_application(replace(settings, metrics_token=token))
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app, client=(address, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                assert (await client.get("/metrics", headers=headers)).status_code == status


async def test_a_forged_address_does_not_open_another_bucket(settings: Settings) -> None:
    tight = replace(
        settings, trusted_proxies=PROXIES, rate_capacity=100, rate_restore_per_second=1, max_cost=100
    )
    app = create_application(tight)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app, client=("198.51.100.77", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            statuses = [
                (
                    await client.post(
                        "/graphql",
                        json={"query": "{ nothing }"},
                        headers={"X-Forwarded-For": f"203.0.113.{i}"},
                    )
                ).status_code
                for i in range(3)
            ]
    assert statuses[-1] == 429
