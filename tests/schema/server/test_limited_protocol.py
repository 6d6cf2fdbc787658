"""Limits that hold before a route is chosen: sizes, times and numbers of connections."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from schema.server.connection_table import ConnectionTable
from schema.server.limited_protocol import MAX_HEAD_BYTES
from schema.server.socket_protocol import GraphQLHttpProtocol
from services.core.settings import Settings
from tests.conftest import Database
from tests.subscription_client import WAIT_SECONDS, ApiServer, serve_in_process, wait_until

PATHS = ("/graphql", "/healthz", "/receipts", "/reset", "/metrics", "/nothing")
UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
BLOCK = 16_384
BLOCKS = 200
"""Far more than a server may take: what the sender's and the receiver's buffers hold is less."""


@pytest.fixture(scope="module")
def settings(make_database: Callable[[], Database]) -> Settings:
    return make_database().settings


@pytest.fixture(scope="module")
async def api(settings: Settings) -> AsyncIterator[ApiServer]:
    async with serve_in_process(settings) as api:
        yield api


@asynccontextmanager
async def connection(
    api: ApiServer, address: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = api.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=(address, 0))
    try:
        yield reader, writer
    finally:
        writer.close()


async def flood(api: ApiServer, start: bytes, block: bytes) -> bytes:
    """Send a start and then block after block; return the answer once the server closes the connection."""
    async with connection(api) as (reader, writer):
        writer.write(start)
        answer = b""
        try:
            for _ in range(BLOCKS):
                writer.write(block)
                await writer.drain()
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        else:
            if not writer.transport.is_closing():
                async with asyncio.timeout(WAIT_SECONDS):
                    answer = await reader.read()
        return answer


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of what the parser was given."""
    sizes: list[int] = []
    original = GraphQLHttpProtocol.data_received

    def count(self: Any, data: bytes) -> None:
        sizes.append(len(data))
        original(self, data)

    monkeypatch.setattr(GraphQLHttpProtocol, "data_received", count)
    return sizes


# --- the head ---


@pytest.mark.parametrize("extra", ["", UPGRADE])
@pytest.mark.parametrize("path", PATHS)
async def test_an_endless_header_is_cut_on_every_path(
    api: ApiServer, taken: list[int], path: str, extra: str
) -> None:
    start = f"GET {path} HTTP/1.1\r\nHost: here\r\n{extra}X: ".encode()
    await flood(api, start, b"a" * BLOCK)
    await wait_until(lambda: not api.server.server_state.connections)
    # The last piece that was read may have come whole, however much of it was there.
    assert sum(taken[:-1]) <= MAX_HEAD_BYTES


@pytest.mark.parametrize(
    ("start", "block"),
    [
        (b"GET /", b"a" * BLOCK),
        (b"GET / HTTP/1.1\r\n", b"X: a\r\n" * (BLOCK // 6)),
        (b"", b"\r\n" * (BLOCK // 2)),
        (b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n", b"\r\n" * (BLOCK // 2)),
    ],
    ids=["an address", "many headers", "line ends", "line ends after a request"],
)
async def test_other_endless_heads_are_cut(
    api: ApiServer, taken: list[int], start: bytes, block: bytes
) -> None:
    await flood(api, start, block)
    await wait_until(lambda: not api.server.server_state.connections)
    assert sum(taken[:-1]) <= 2 * MAX_HEAD_BYTES + BLOCK


async def test_a_head_that_is_too_long_is_told_so(api: ApiServer) -> None:
    async with connection(api) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 20_000)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"a" * 14_000)
        async with asyncio.timeout(WAIT_SECONDS):
            assert (await reader.read()).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("path", ["/healthz", "/reset", "/metrics"])
async def test_long_headers_are_refused_when_they_come_at_once(api: ApiServer, path: str) -> None:
    async with connection(api) as (reader, writer):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\nX: {'a' * 32_100}\r\n\r\n".encode())
        async with asyncio.timeout(WAIT_SECONDS):
            assert b" 431 " in await reader.readline()


# --- bodies ---


@pytest.mark.parametrize(
    ("start", "block"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a" * BLOCK),
        (b"Transfer-Encoding: chunked\r\n\r\n5;x=", b"a" * BLOCK),
    ],
    ids=["a trailer", "an extension"],
)
async def test_endless_framing_of_a_body_is_cut(
    api: ApiServer, taken: list[int], start: bytes, block: bytes
) -> None:
    await flood(api, b"POST /reset HTTP/1.1\r\nHost: here\r\n" + start, block)
    await wait_until(lambda: not api.server.server_state.connections)
    assert sum(taken[:-1]) <= 2 * MAX_HEAD_BYTES + BLOCK


@pytest.mark.parametrize("path", ["/graphql", "/reset", "/receipts", "/healthz", "/verify"])
async def test_a_slow_body_is_cut_on_every_path(
    settings: Settings, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schema.server.limited_protocol.GRACE_SECONDS", 0.1)
    async with serve_in_process(settings, body_timeout_ms=200) as api, connection(api) as (reader, writer):
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
            "Content-Length: 100\r\n\r\na".encode()
        )
        async with asyncio.timeout(WAIT_SECONDS):
            await reader.read()  # to the end: the server closes
        assert not api.server.server_state.connections


async def test_who_leaves_in_the_middle_of_a_body_is_not_logged(
    api: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("/reset", "/graphql"):
        async with connection(api) as (_, writer):
            writer.write(
                f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
                "Content-Length: 100\r\n\r\na".encode()
            )
            await writer.drain()
            await wait_until(lambda: api.server.server_state.tasks)
        await wait_until(lambda: not api.server.server_state.tasks)
    assert not [record for record in caplog.records if record.exc_info]


# --- time and number ---


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nX: a\r\n"])
async def test_half_a_head_is_not_kept(settings: Settings, sent: bytes) -> None:
    async with serve_in_process(settings, head_timeout_ms=200) as api, connection(api) as (reader, writer):
        writer.write(sent)
        async with asyncio.timeout(WAIT_SECONDS):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ") if sent else answer == b""


async def test_a_second_head_has_its_time_too(settings: Settings) -> None:
    async with serve_in_process(settings, head_timeout_ms=200) as api, connection(api) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        await reader.readexactly(int(length[1]))
        writer.write(b"GET / HT")
        async with asyncio.timeout(WAIT_SECONDS):
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


async def test_idle_connections_of_an_address_make_room_for_new_ones(settings: Settings) -> None:
    limits = {"connections_per_address": 3, "trusted_proxies": ""}
    async with serve_in_process(settings, **limits) as api, AsyncExitStack() as stack:
        held = [await stack.enter_async_context(connection(api, "127.0.0.2")) for _ in range(5)]
        await wait_until(lambda: len(api.server.server_state.connections) == 3)
        async with asyncio.timeout(WAIT_SECONDS):
            for reader, _ in held[:2]:
                assert await reader.read() == b""
        reader, writer = held[4]
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
        assert b" 200 " in await reader.readline()


class _Door:
    """A connection of the table's tests."""

    def __init__(self, *, is_idle: bool = True) -> None:
        self.is_idle, self.is_dropped = is_idle, False

    def drop(self) -> None:
        """Note the call."""
        self.is_dropped = True


def table(*, limit: int = 4, network_limit: int = 3) -> ConnectionTable:
    return ConnectionTable(
        limit=limit, network_limit=network_limit, is_exempt=lambda address: address == "10.0.0.1"
    )


def test_a_network_of_ipv6_counts_as_one_address() -> None:
    connections, doors = table(), [_Door() for _ in range(4)]
    for i, door in enumerate(doors):
        assert connections.admit(door, address=f"2001:db8::{i}")
    assert [door.is_dropped for door in doors] == [True, False, False, False]


def test_busy_connections_are_kept() -> None:
    connections, doors = table(), [_Door(is_idle=False) for _ in range(3)]
    assert all(connections.admit(door, address="192.0.2.1") for door in doors)
    assert not connections.admit(_Door(), address="192.0.2.1")
    assert not any(door.is_dropped for door in doors)


def test_the_largest_network_gives_way_first() -> None:
    connections, first, flood = table(), _Door(), [_Door() for _ in range(3)]
    assert connections.admit(first, address="192.0.2.1")
    assert all(connections.admit(door, address="192.0.2.2") for door in flood)
    assert connections.admit(_Door(), address="192.0.2.3")
    assert not first.is_dropped
    assert [door.is_dropped for door in flood] == [True, False, False]


def test_a_trusted_proxy_is_bounded_by_the_total_alone() -> None:
    connections, doors = table(), [_Door() for _ in range(5)]
    assert all(connections.admit(door, address="10.0.0.1") for door in doors)
    assert [door.is_dropped for door in doors] == [True, False, False, False, False]
    for door in doors:
        connections.remove(door)
    assert len(connections) == 0
