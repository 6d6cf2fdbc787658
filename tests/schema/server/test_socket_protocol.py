"""The direct socket protocol compared with ASGI, over a raw socket."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from schema.server.socket_protocol import BODY_WAIT_SECONDS, GraphQLHttpProtocol
from services.database import engine as database_engine
from tests.conftest import Database
from tests.factories import World
from tests.schema.execution.test_timeouts import idle, locked
from tests.subscription_client import WAIT_SECONDS, ApiServer, serve_in_process, wait_until

TINY = b'{"query": "{ __typename }"}'
TOLD = b'{"data":{"__typename":"Query"}}'
READS = b'{"query": "{ collectives { nodes { slug } } }"}'
LONG = orjson.dumps({"query": "{ __schema { types { name description } } }"})
ROUNDABOUT = "X-Forwarded-Proto: http"
"""A header of proxies; requests with it go through ASGI and mean the same."""


class Peer:
    """A raw client that sends bytes and reads one response at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, text: bytes) -> None:
        """Send bytes."""
        self.writer.write(text)

    async def receive(self) -> tuple[bytes, bytes]:
        """Return the head and the body of the next response."""
        async with asyncio.timeout(WAIT_SECONDS):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            return head, await self.reader.readexactly(int(length[1]) if length else 0)

    async def is_closed(self) -> bool:
        """Return True if the connection closes without more data."""
        async with asyncio.timeout(WAIT_SECONDS):
            return await self.reader.read() == b""


@asynccontextmanager
async def meeting(api: ApiServer) -> AsyncIterator[Peer]:
    host, _, port = api.address.partition(":")
    peer = Peer(*await asyncio.open_connection(host, int(port)))
    try:
        yield peer
    finally:
        peer.writer.close()


def request_of(body: bytes, *more: str, version: str = "1.1", path: str = "/graphql") -> bytes:
    """Return the bytes of a POST; headers in `more` replace the usual ones."""
    usual = {"Host": "here", "Content-Type": "application/json", "Content-Length": str(len(body))}
    arguments = {name for name, _, _ in (line.partition(":") for line in more)}
    lines = [f"{name}: {value}" for name, value in usual.items() if name not in arguments]
    head = "\r\n".join([f"POST {path} HTTP/{version}", *lines, *more])
    return f"{head}\r\n\r\n".encode("latin-1") + body


def is_direct(api: ApiServer) -> bool:
    """Return True if the only connection's last request bypassed ASGI."""
    (connection,) = api.server.server_state.connections
    assert isinstance(connection, GraphQLHttpProtocol)
    return type(connection.cycle).__name__ == "_Exchange"


@pytest.fixture(scope="module")
async def shared(make_database: Callable[[], Database]) -> AsyncIterator[World]:
    database = make_database()
    engine = database_engine.create_pool(database.settings)
    yield await World.create(database.settings, database_engine.session_factory(engine))
    await engine.dispose()


@pytest.fixture(scope="module")
async def api(shared: World) -> AsyncIterator[ApiServer]:
    async with serve_in_process(shared.settings) as api:
        yield api


# --- both ways answer the same ---

SAME: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "tiny": (TINY, ()),
    "reads": (READS, ()),
    "graphql": (TINY, ("Accept: application/graphql-response+json",)),
    "two wishes": (TINY, ("Accept: text/html", "Accept: application/graphql-response+json")),
    "406": (TINY, ("Accept: text/csv",)),
    "not utf-8": (b'{"query": "\xff"}', ()),
    "not JSON": (b"{", ()),
    "a bad document": (b'{"query": "{ nothing }"}', ("Accept: application/graphql-response+json",)),
    "mutation of nobody": (b'{"query": "mutation { signOut { errors { code } } }"}', ()),
    "unknown id": (b'{"documentId": "none"}', ()),
    "415": (TINY, ("Content-Type: text/plain",)),
    "415 of a charset": (TINY, ("Content-Type: application/json; charset=latin-1",)),
    "415 of an encoding": (TINY, ("Content-Encoding: gzip",)),
    "a type twice": (TINY, ("Content-Type: application/json", "Content-Type: text/plain")),
    "401": (TINY, ("Authorization: Basic YTpi",)),
    "401 of a token": (TINY, ("Authorization: Bearer cws_unknown",)),
    "403": (TINY, ("Origin: https://elsewhere.example", "Cookie: a=b; commonweal_session=x")),
    "an old cookie": (TINY, ("Cookie: a=b", "Cookie: commonweal_session=x")),
    "431": (TINY, ("X-Other: " + "a" * 32_000,)),
    "no text": (TINY, ("Accept: \xff", "User-Agent: \xc3\x28")),
    "cost": (TINY, ("Commonweal-Cost: 1",)),
    "gzip, small": (TINY, ("Accept-Encoding: gzip",)),
    "gzip": (LONG, ("Accept-Encoding: br", "Accept-Encoding: gzip;q=0.5")),
    "gzip first": (LONG, ("Accept-Encoding: gzip, br",)),
    "no gzip": (LONG, ("Accept-Encoding: gzip;q=0",)),
    "another encoding": (LONG, ("Accept-Encoding: br",)),
    "long": (LONG, ()),
    "close": (TINY, ("Connection: close",)),
    "413": (b'{"query": "%s"}' % (b" " * 200_000), ()),
}


@pytest.mark.parametrize("case", SAME)
async def test_both_paths_send_the_same_response(api: ApiServer, case: str) -> None:
    body, headers = SAME[case]
    heard = []
    for way in ((), (ROUNDABOUT,)):
        async with meeting(api) as peer:
            peer.send(request_of(body, "X-Request-Id: same", *headers, *way))
            head, messages = await peer.receive()
            # What hangs on the moment.
            head = re.sub(rb"(date|ratelimit-remaining|ratelimit-reset): .*?\r\n", rb"\1\r\n", head)
            if b"content-encoding: gzip" in head:
                messages = gzip.decompress(messages)
            if b"connection: close" in head:
                assert await peer.is_closed()
            else:
                assert is_direct(api) is not (bool(way) or case == "413")
            heard.append((head.split(b"\r\n"), messages))
        await wait_until(lambda: not api.server.server_state.connections)
    direct, through_asgi = heard
    assert direct == through_asgi
    assert b"date" in direct[0]
    assert b"server: uvicorn" in direct[0]


async def test_unusual_requests_go_through_asgi(api: ApiServer) -> None:
    async with meeting(api) as peer:
        for text, status in (
            (b"GET /graphql?query={__typename} HTTP/1.1\r\nCommonweal-Preflight: 1\r\n\r\n", b"200"),
            (request_of(TINY, path="/graphql?a=b"), b"200"),
            (request_of(TINY, path="/elsewhere"), b"404"),
            (request_of(b""), b"400"),
            (request_of(b"", "Content-Length: 00"), b"400"),
            (
                request_of(b"1b\r\n" + TINY + b"\r\n0\r\n\r\n", "Content-Length: 1").replace(
                    b"Content-Length: 1", b"Transfer-Encoding: chunked"
                ),
                b"200",
            ),
            (request_of(TINY, "X-Forwarded-For: 192.0.2.1"), b"200"),
            # What follows is no body of HTTP any more.
            (request_of(TINY, "Connection: upgrade", "Upgrade: h2c"), b"400"),
        ):
            peer.send(text)
            assert (await peer.receive())[0].startswith(b"HTTP/1.1 " + status), text
            assert not is_direct(api), text


async def test_a_stream_of_events_goes_through_asgi(api: ApiServer) -> None:
    async with meeting(api) as peer:
        body = b'{"query": "subscription { myNewOrders { position } }"}'
        peer.send(request_of(body, "Accept: Text/Event-Stream"))
        head, _ = await peer.receive()
        assert b"transfer-encoding: chunked" in head
        assert b"content-type: text/event-stream" in head
        assert not is_direct(api)


async def test_the_bucket_belongs_to_the_proxys_client_address(shared: World) -> None:
    # Points come back slowly, so that the bucket shows what was taken whatever the machine's speed.
    slow = serve_in_process(shared.settings, rate_restore_per_second=1)
    async with slow as api, meeting(api) as peer:
        request = b'{"query": "{ __typename a: __schema { types { name } } }"}'
        peer.send(
            request_of(request, "X-Forwarded-For: 192.0.2.77")
            + request_of(TINY, "X-Forwarded-For: 192.0.2.78")
        )
        left = [int(re.findall(rb"remaining: (\d+)", (await peer.receive())[0])[0]) for _ in range(2)]
        assert left[0] < left[1]


# --- how it comes ---


async def test_requests_arriving_byte_by_byte(api: ApiServer) -> None:
    async with meeting(api) as peer:
        for _ in range(2):
            for byte in request_of(TINY):
                peer.send(bytes([byte]))
                await asyncio.sleep(0)
            assert (await peer.receive())[1] == TOLD


@pytest.mark.parametrize("pause", [0, BODY_WAIT_SECONDS / 5, BODY_WAIT_SECONDS * 3])
async def test_a_body_after_its_head(api: ApiServer, pause: float) -> None:
    async with meeting(api) as peer:
        for _ in range(2):
            head, _, body = request_of(TINY).partition(b"\r\n\r\n")
            for part in (head + b"\r\n\r\n", body[:5], body[5:]):
                peer.send(part)
                await asyncio.sleep(pause)
            assert (await peer.receive())[1] == TOLD
            assert is_direct(api) is (pause < BODY_WAIT_SECONDS)


async def test_a_large_body_in_parts(api: ApiServer) -> None:
    async with meeting(api) as peer:
        body = b'{"query": "{ __typename }", "extensions": {"a": "%s"}}' % (b"a" * 150_000)
        whole = request_of(body)
        for start in range(0, len(whole), 40_000):
            peer.send(whole[start : start + 40_000])
            await asyncio.sleep(0.001)
        assert (await peer.receive())[1] == TOLD
        too_much = request_of(b"a" * 10, "Content-Length: 200001")
        peer.send(too_much)
        await asyncio.sleep(0.01)
        peer.send(b"a" * 199_991)
        assert (await peer.receive())[0].startswith(b"HTTP/1.1 413")


async def test_an_endless_body_is_408_and_a_cut_one_is_dropped(shared: World) -> None:
    async with serve_in_process(shared.settings, body_timeout_ms=200) as api:
        async with meeting(api) as peer:
            peer.send(request_of(TINY[:10], f"Content-Length: {len(TINY)}"))
            assert (await peer.receive())[0].startswith(b"HTTP/1.1 408")
        async with meeting(api) as peer:
            peer.send(request_of(TINY[:10], f"Content-Length: {len(TINY)}"))
            await peer.writer.drain()
        await wait_until(lambda: not api.server.server_state.connections)
        await wait_until(lambda: not api.server.server_state.tasks)


@pytest.mark.parametrize("first", [READS, TINY])
async def test_pipelined_requests_are_answered_in_order(api: ApiServer, first: bytes) -> None:
    async with meeting(api) as peer:
        bodies = [first, *(b'{"query": "{ a%d: __typename }"}' % i for i in range(9)), READS, TINY]
        peer.send(b"".join(request_of(body) for body in bodies))
        results = [(await peer.receive())[1] for _ in bodies]
        assert [b"collectives" in text for text in results] == [body == READS for body in bodies]
        assert [text for text in results if b'"a' in text] == [
            b'{"data":{"a%d":"Query"}}' % i for i in range(9)
        ]
        # It is as good as before.
        peer.send(request_of(TINY))
        assert (await peer.receive())[1] == TOLD
        assert is_direct(api)


async def test_a_half_closed_connection_is_answered_and_closed(api: ApiServer) -> None:
    for text in (request_of(TINY, "Connection: close"), request_of(TINY, version="1.0")):
        async with meeting(api) as peer:
            peer.send(text + request_of(READS))  # what comes behind it is not looked at
            head, body = await peer.receive()
            assert body == TOLD
            assert b"\r\nconnection: close\r\n" in head
            assert await peer.is_closed()


async def test_expect_100_continue_is_answered(api: ApiServer) -> None:
    async with meeting(api) as peer:
        head, _, body = request_of(TINY, "Expect: 100-continue").partition(b"\r\n\r\n")
        peer.send(head + b"\r\n\r\n")
        assert (await peer.receive())[0].startswith(b"HTTP/1.1 100 ")
        peer.send(body)
        assert (await peer.receive())[1] == TOLD


async def test_a_request_that_is_not_http_is_400(api: ApiServer) -> None:
    async with meeting(api) as peer:
        peer.send(request_of(TINY))
        assert (await peer.receive())[1] == TOLD
        peer.send(request_of(TINY) + b"what is this\r\n\r\n")
        assert (await peer.receive())[0].startswith(b"HTTP/1.1 400")
        assert await peer.is_closed()


# --- the end ---


async def test_an_idle_connection_is_closed(shared: World) -> None:
    async with serve_in_process(shared.settings) as api:
        api.server.config.timeout_keep_alive = 1
        async with meeting(api) as peer:
            for _ in range(4):
                peer.send(request_of(TINY))
                assert (await peer.receive())[1] == TOLD
                await asyncio.sleep(0.4)
            assert await peer.is_closed()


async def test_a_busy_connection_is_not_idle(database: Database, world: World) -> None:
    async with serve_in_process(world.settings, outbox_interval_ms=3_600_000) as api:
        await settled(database)
        api.server.config.timeout_keep_alive = 1
        async with meeting(api) as peer:
            for alone in (True, False):
                async with locked(database, "collective"):
                    peer.send(request_of(READS) if alone else request_of(TINY) * 2 + request_of(READS))
                    await asyncio.sleep(1.5)
                results = [(await peer.receive())[1] for _ in range(1 if alone else 3)]
                assert b"commonweal" in results[-1]
            peer.send(request_of(TINY)[:20])
            await asyncio.sleep(1.5)
            peer.send(request_of(TINY)[20:])
            assert (await peer.receive())[1] == TOLD
            assert await peer.is_closed()


@pytest.mark.parametrize("way", [(), (ROUNDABOUT,)])
async def test_a_disconnect_cancels_the_statement(
    database: Database, world: World, way: tuple[str, ...]
) -> None:
    async with serve_in_process(world.settings, outbox_interval_ms=3_600_000) as api:
        await settled(database)
        async with locked(database, "collective"):
            async with meeting(api) as peer:
                peer.send(request_of(READS, *way))
                await busy(database)
                assert is_direct(api) is not bool(way)
            await settled(database)
        await wait_until(lambda: not api.server.server_state.tasks)
        async with meeting(api) as peer:
            peer.send(request_of(READS))
            assert b"commonweal" in (await peer.receive())[1]


@pytest.mark.parametrize("way", [(), (ROUNDABOUT,)])
async def test_running_requests_are_answered_at_shutdown(
    database: Database, world: World, way: tuple[str, ...]
) -> None:
    async with serve_in_process(world.settings, outbox_interval_ms=3_600_000) as api:
        await settled(database)
        async with meeting(api) as peer, meeting(api) as slow, meeting(api) as resting:
            slow.send(request_of(TINY[:10], *way, f"Content-Length: {len(TINY)}"))
            async with locked(database, "collective"):
                peer.send(request_of(READS, *way))
                await busy(database)
                api.server.should_exit = True
                assert await resting.is_closed()
            head, body = await peer.receive()
            assert b"connection: close" in head
            assert b"commonweal" in body
            slow.send(TINY[10:])
            head, body = await slow.receive()
            assert b"connection: close" in head
            assert body == TOLD


@pytest.mark.parametrize("way", [(), (ROUNDABOUT,)])
async def test_requests_that_run_too_long_are_dropped_at_shutdown(
    database: Database, world: World, way: tuple[str, ...]
) -> None:
    async with serve_in_process(world.settings, outbox_interval_ms=3_600_000) as api:
        await settled(database)
        async with meeting(api) as peer, locked(database, "collective"):
            peer.send(request_of(READS, *way))
            await busy(database)
            # As uvicorn does when its patience is over.
            (task,) = api.server.server_state.tasks
            task.cancel()
            head, body = await peer.receive()
            assert head.startswith(b"HTTP/1.1 500")
            assert body == b"Internal Server Error"
            assert await peer.is_closed()
            await settled(database)


@pytest.mark.parametrize("way", [(), (ROUNDABOUT,)])
async def test_a_client_that_stops_reading_is_disconnected(shared: World, way: tuple[str, ...]) -> None:
    async with serve_in_process(shared.settings, live_slow_seconds=1) as api, meeting(api) as peer:
        transport: Any = peer.writer.transport  # a read transport, too
        transport.pause_reading()
        for _ in range(400):  # more than the buffers of two sockets hold
            peer.send(request_of(LONG, *way))
        await wait_until(lambda: not api.server.server_state.connections)


async def busy(database: Database) -> None:
    """Wait until a statement runs."""
    async with asyncio.timeout(WAIT_SECONDS):
        while await idle(database):
            await asyncio.sleep(0.01)


async def settled(database: Database) -> None:
    """Wait until none does."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await idle(database):
            await asyncio.sleep(0.01)
