"""Many websockets, and slow ones: memory is bounded, and others notice nothing."""

import asyncio
import hashlib
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx
import orjson
import pytest

from tests.donation_world import DonationScene
from tests.factories import World, ref
from tests.subscription_client import (
    POSITION,
    WAIT_SECONDS,
    ApiServer,
    WebsocketClient,
    connect_client,
    run_process,
    serve_in_process,
    wait_until,
)

ME = "{ me { slug } }"
TOLD = """subscription($c: CollectiveRef!, $after: String) {
    transactionPosted(collective: $c, after: $after) { position } }"""
IDLE = 1_000
FOLLOWING = 100
BYTES_EACH = 40_000
"""Memory that an idle connection may use."""


@pytest.fixture
async def api(world: World) -> AsyncIterator[ApiServer]:
    async with serve_in_process(world.settings, live_slow_seconds=1) as api:
        yield api


def narrow(address: str) -> socket.socket:
    """Return a socket that takes little at once."""
    created = socket.socket()
    created.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, _, port = address.partition(":")
    created.connect((host, int(port)))
    created.settimeout(0)
    return created


def large() -> tuple[dict[str, object], dict[str, object]]:
    """Return a request whose answer is large and cheap to make, and the same by its hash."""
    query = "{ currencies { " + " ".join(f"{'a' * 150}{i}: name" for i in range(25)) + " } }"
    by_hash = {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(query.encode()).hexdigest()}}
    return {"query": query, "extensions": by_hash}, {"extensions": by_hash}


async def flooded(client: WebsocketClient) -> None:
    """Request more than any buffer holds, and read nothing."""
    whole, short = large()
    await client.send("subscribe", "first", whole)
    assert (await client.receive())["type"] == "next"
    for number in range(80):
        await client.send("subscribe", str(number), short)
        await asyncio.sleep(0.02)


async def test_1013_for_a_client_that_stops_reading(api: ApiServer) -> None:
    async with connect_client(api) as other, connect_client(api, max_queue=1) as slow:
        await flooded(slow)
        await wait_until(lambda: api.live.connection_count == 1)
        await other.subscribe(ME)
        assert await other.next() == {"me": None}
        assert (await slow.close_frame()) == (1013, "Too slow a reader")


async def test_a_client_that_never_reads_again_is_disconnected(api: ApiServer) -> None:
    async with connect_client(api, sock=narrow(api.address), max_queue=1, close_timeout=0.1) as slow:
        await flooded(slow)
        await wait_until(lambda: api.live.connection_count == 0)
        await wait_until(lambda: not api.server.server_state.connections)


async def test_an_unread_stream_is_disconnected(api: ApiServer) -> None:
    whole, short = large()
    stuck = narrow(api.address)
    loop = asyncio.get_running_loop()
    try:
        for arguments in [whole] + [short] * 80:
            body = orjson.dumps(arguments)
            head = (
                "POST /graphql HTTP/1.1\r\nHost: here\r\nAccept: text/event-stream\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            with suppress(TimeoutError, OSError):  # nobody reads there any more
                await asyncio.wait_for(loop.sock_sendall(stuck, head.encode() + body), 1)
        await wait_until(lambda: api.live.connection_count == 0 and not api.server.server_state.connections)
    finally:
        stuck.close()


async def test_endless_pings_use_bounded_memory(api: ApiServer) -> None:
    async with connect_client(api, sock=narrow(api.address), max_queue=1, close_timeout=0.1) as client:
        frame = b"\x89\xfd" + bytes(4) + b"x" * 125  # a ping of 125 bytes, masked with zeros
        client.socket.transport.pause_reading()
        with suppress(OSError):
            for _ in range(200):
                client.socket.transport.write(frame * 1_000)
                await asyncio.sleep(0)
        (connection,) = api.server.server_state.connections
        assert connection.transport.get_write_buffer_size() < 10_000_000
        await wait_until(lambda: api.live.connection_count == 0 and not api.server.server_state.connections)


def memory_bytes(pid: int) -> int:
    """Return what a process holds in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
async def test_a_thousand_idle_websockets_cost_little(
    world: World, scene: DonationScene, tmp_path: Path
) -> None:
    allowed = {"live_connections_per_address": IDLE + 50}
    async with (
        run_process(world.settings, tmp_path / "log", **allowed) as server,
        httpx.AsyncClient(timeout=WAIT_SECONDS, trust_env=False) as http,
        AsyncExitStack() as stack,
    ):
        await require_answers(http, server.address)
        held = await asyncio.to_thread(memory_bytes, server.running.pid)
        clients: list[WebsocketClient] = []
        for _ in range(0, IDLE, 50):
            created = (stack.enter_async_context(connect_client(server.address)) for _ in range(50))
            clients += await asyncio.gather(*created)
        more = await asyncio.to_thread(memory_bytes, server.running.pid) - held
        after = (await world.query(POSITION))["livePosition"]
        for client in clients[:FOLLOWING]:
            await client.subscribe(TOLD, c=ref(scene.host), after=after)
        await require_answers(http, server.address)
        await world.fund(scene.host, "1", by=scene.holder)
        messages = await asyncio.gather(*(client.next() for client in clients[:FOLLOWING]))
        assert len({one["transactionPosted"]["position"] for one in messages}) == 1
        assert more < IDLE * BYTES_EACH, f"{more / IDLE:.0f} bytes each"
        assert await server.stop() == 0


async def require_answers(http: httpx.AsyncClient, address: str) -> None:
    """Require that 50 queries of others are answered."""
    for _ in range(50):
        answer = await http.post(f"http://{address}/graphql", json={"query": ME})
        assert answer.json() == {"data": {"me": None}}
