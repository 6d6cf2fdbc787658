"""Many websockets, and slow ones: memory is bounded, and others notice nothing."""

import asyncio
import hashlib
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from statistics import median

import httpx
import orjson
import pytest

from tests.donation_world import Scene
from tests.factories import World, of
from tests.subscription_client import POSITION, SECONDS, Client, Place, connected, process, serving, until

ME = "{ me { slug } }"
TOLD = """subscription($c: CollectiveRef!, $after: String) {
    transactionPosted(collective: $c, after: $after) { position } }"""
IDLE = 1_000
FOLLOWING = 100
BYTES_EACH = 40_000
"""That an idle connection may take."""


@pytest.fixture
async def place(world: World) -> AsyncIterator[Place]:
    async with serving(world.settings, live_slow_seconds=1) as place:
        yield place


def narrow(address: str) -> socket.socket:
    """Return a socket that takes little at once."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, _, port = address.partition(":")
    made.connect((host, int(port)))
    made.settimeout(0)
    return made


def large() -> tuple[dict[str, object], dict[str, object]]:
    """Return a request whose answer is large and cheap to make, and the same by its hash."""
    query = "{ currencies { " + " ".join(f"{'a' * 150}{i}: name" for i in range(25)) + " } }"
    by_hash = {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(query.encode()).hexdigest()}}
    return {"query": query, "extensions": by_hash}, {"extensions": by_hash}


async def flooded(client: Client) -> None:
    """Ask for more than any buffer holds, and read none of it."""
    whole, short = large()
    await client.say("subscribe", "first", whole)
    assert (await client.hear())["type"] == "next"
    for number in range(80):
        await client.say("subscribe", str(number), short)
        await asyncio.sleep(0.02)


async def test_1013_who_reads_nothing_is_sent_away_and_others_are_served(place: Place) -> None:
    async with connected(place) as other, connected(place, max_queue=1) as slow:
        await flooded(slow)
        await until(lambda: place.live.open == 1)
        await other.subscribe(ME)
        assert await other.next() == {"me": None}
        assert (await slow.closed()) == (1013, "Too slow a reader")


async def test_who_never_reads_again_is_cut_off(place: Place) -> None:
    async with connected(place, sock=narrow(place.address), max_queue=1, close_timeout=0.1) as slow:
        await flooded(slow)
        await until(lambda: place.live.open == 0)
        await until(lambda: not place.server.server_state.connections)


async def test_a_stream_that_nobody_reads_is_cut_off(place: Place) -> None:
    whole, short = large()
    stuck = narrow(place.address)
    loop = asyncio.get_running_loop()
    try:
        for given in [whole] + [short] * 80:
            body = orjson.dumps(given)
            head = (
                "POST /graphql HTTP/1.1\r\nHost: here\r\nAccept: text/event-stream\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            with suppress(TimeoutError, OSError):  # nobody reads there any more
                await asyncio.wait_for(loop.sock_sendall(stuck, head.encode() + body), 1)
        await until(lambda: place.live.open == 0 and not place.server.server_state.connections)
    finally:
        stuck.close()


async def test_pings_without_end_are_answered_within_bounds(place: Place) -> None:
    async with connected(place, sock=narrow(place.address), max_queue=1, close_timeout=0.1) as client:
        frame = b"\x89\xfd" + bytes(4) + b"x" * 125  # a ping of 125 bytes, masked with zeros
        client.socket.transport.pause_reading()
        with suppress(OSError):
            for _ in range(200):
                client.socket.transport.write(frame * 1_000)
                await asyncio.sleep(0)
        (connection,) = place.server.server_state.connections
        assert connection.transport.get_write_buffer_size() < 10_000_000
        await until(lambda: place.live.open == 0 and not place.server.server_state.connections)


def memory_bytes(pid: int) -> int:
    """Return what a process holds in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
async def test_a_thousand_idle_websockets_cost_little_and_disturb_nobody(
    world: World, scene: Scene, tmp_path: Path
) -> None:
    allowed = {"live_connections_per_address": IDLE + 50}
    async with (
        process(world.settings, tmp_path / "log", **allowed) as server,
        httpx.AsyncClient(timeout=SECONDS, trust_env=False) as http,
        AsyncExitStack() as stack,
    ):
        before = await answered(http, server.address)
        held = await asyncio.to_thread(memory_bytes, server.running.pid)
        clients: list[Client] = []
        for _ in range(0, IDLE, 50):
            made = (stack.enter_async_context(connected(server.address)) for _ in range(50))
            clients += await asyncio.gather(*made)
        more = await asyncio.to_thread(memory_bytes, server.running.pid) - held
        after = (await world.ask(POSITION))["livePosition"]
        for client in clients[:FOLLOWING]:
            await client.subscribe(TOLD, c=of(scene.host), after=after)
        during = await answered(http, server.address)
        await world.fund(scene.host, "1", by=scene.holder)
        told = await asyncio.gather(*(client.next() for client in clients[:FOLLOWING]))
        assert len({one["transactionPosted"]["position"] for one in told}) == 1
        print(f"{more / IDLE:.0f} bytes each; a query {before * 1000:.1f} ms, then {during * 1000:.1f} ms")  # noqa: T201
        assert more < IDLE * BYTES_EACH
        assert during < before * 5
        assert await server.end() == 0


async def answered(http: httpx.AsyncClient, address: str) -> float:
    """Return the seconds that a query takes, the median of some."""
    found = []
    for _ in range(50):
        start = time.perf_counter()
        answer = await http.post(f"http://{address}/graphql", json={"query": ME})
        found.append(time.perf_counter() - start)
        assert answer.json() == {"data": {"me": None}}
    return median(found)
