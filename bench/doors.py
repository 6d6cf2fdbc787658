"""What an attack costs the others: floods of headers, connections, frames, values and subscriptions."""

import asyncio
import resource
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx
import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bench.client import LoadOrder
from bench.load import request_text, run_load
from bench.markdown_tables import print_table
from bench.postgres_cluster import BenchCluster, recreate_database
from bench.server_process import RunningServer, run_server
from bench.world import BenchScene, run_in_scene
from tests.factories import ref

ME = "{ me { id } }"
HEAVY = """subscription($c: CollectiveRef!) { transactionPosted(collective: $c) {
    transaction { id order { actions { type at }
    to { members(first: 50) { nodes { member { name } } } } } } } }"""
SUBSCRIPTIONS = 30
HEADER_BYTES = 300_000_000
HALF_OPEN = 5_000
FRAMES = 50_000
VALUES = 27_000
SIGN_INS = 150
Attack = Callable[[], Awaitable[str]]


def run(cluster: BenchCluster) -> None:
    """Measure every attack, and print the table."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * HALF_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    rows: list[list[str]] = []

    async def measure(scene: BenchScene) -> None:
        limits = {
            "COMMONWEAL_TRUSTED_PROXIES": "",
            "COMMONWEAL_SIGN_IN_FAILURES_PER_ADDRESS": "1000000",
            "COMMONWEAL_RATE_CAPACITY": "100000",
            "COMMONWEAL_RATE_RESTORE_PER_SECOND": "5000",
        }
        with run_server(cluster, "doors", environ=limits) as server:
            rows.extend(await _measure(cluster, scene, server))

    recreate_database(cluster, "doors")
    run_in_scene(cluster, "doors", measure)
    head = ["Attack", "What became of it", "Others' p99, idle", "under attack", "ratio"]
    print_table("Doors: what an attack costs the others", head, rows)


async def _measure(cluster: BenchCluster, scene: BenchScene, server: RunningServer) -> list[list[str]]:
    seconds = 5.0 if cluster.is_quick else 30.0
    rows = [["300 MB of header", await asyncio.to_thread(_send_header, server), "", "", ""]]
    rows.append([f"{VALUES:,} values in a filter", await _send_values(server), "", "", ""])
    idle = await _p99(server, 5.0)
    attacks: list[tuple[str, Attack]] = [
        ("5,000 half-open connections, one address", lambda: _half_open(server, seconds, addresses=1)),
        ("5,000 half-open connections, 50 addresses", lambda: _half_open(server, seconds, addresses=50)),
        (f"{SIGN_INS} sign-ins at once", lambda: _sign_in(server, seconds)),
        ("One websocket, 50,000 pings", lambda: _send_frames(server)),
        (
            f"{SUBSCRIPTIONS} heavy subscriptions, 20 transactions a second",
            lambda: _subscribe(scene, server, seconds),
        ),
        ("20 transactions a second alone", lambda: _post_transactions(scene, seconds)),
    ]
    for name, attack in attacks:
        attacking = asyncio.ensure_future(attack())
        await asyncio.sleep(0.5)
        under_attack = await _p99(server, 2.0 if "websocket" in name else seconds - 1)
        told = await attacking
        ratio = under_attack / idle
        rows.append([name, told, f"{idle:.1f} ms", f"{under_attack:.1f} ms", f"{ratio:.1f}"])
    return rows


async def _sign_in(server: RunningServer, seconds: float) -> str:
    """Let many people sign in at once, again and again; return the statuses and the time of those served."""
    query = "mutation($i: SignInInput!) { signIn(input: $i) { errors { code } } }"
    statuses: Counter[str] = Counter()
    times: list[float] = []
    ends = time.monotonic() + seconds

    async def one(client: httpx.AsyncClient, number: int) -> None:
        began = time.monotonic()
        given = {"email": f"u{number}@example.org", "password": "not this one"}
        answer = await client.post("/graphql", json={"query": query, "variables": {"i": given}})
        has_time = "retry-after" in answer.headers
        statuses[f"{answer.status_code}{' with Retry-After' if has_time else ''}"] += 1
        if answer.status_code == httpx.codes.OK:
            times.append(time.monotonic() - began)

    limits = httpx.Limits(max_connections=SIGN_INS)
    base = f"http://{server.host}:{server.port}"
    async with httpx.AsyncClient(base_url=base, limits=limits, timeout=60) as client:
        while time.monotonic() < ends:
            await asyncio.gather(*(one(client, number) for number in range(SIGN_INS)))
            await asyncio.sleep(1)
    counts = ", ".join(f"{count} of status {status}" for status, count in sorted(statuses.items()))
    return f"{counts}; served within {max(times, default=0.0):.1f} s"


async def _p99(server: RunningServer, seconds: float) -> float:
    """Return the p99 of small questions, one after the other, from a process of its own."""
    order = LoadOrder(server.host, server.port, request_text(server, ME), 1, seconds, 0.2)
    return (await asyncio.to_thread(run_load, order)).p99_ms


def _send_header(server: RunningServer) -> str:
    """Send a header without an end until the server closes the connection."""
    before, block, sent = server.resident_mib, b"a" * 1_000_000, 0
    began = time.perf_counter()
    with socket.create_connection((server.host, server.port)) as peer:
        try:
            peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\nX: ")
            while sent < HEADER_BYTES:
                sent += peer.send(block)
        except OSError:
            pass
    milliseconds = (time.perf_counter() - began) * 1000
    grown = server.resident_mib - before
    return f"cut after {milliseconds:.0f} ms, {sent / 1e6:.1f} MB left the client; +{grown:.1f} MiB"


async def _send_values(server: RunningServer) -> str:
    query = "query($s: [OrderStatus!]) { orders(filter: {status: $s}) { totalCount } }"
    body = orjson.dumps({"query": query, "variables": {"s": ["PAID"] * VALUES}})
    head = (
        "POST /graphql HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    times = []
    for _ in range(20):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        began = time.perf_counter()
        writer.write(head.encode() + body)
        answer = await reader.read()
        times.append((time.perf_counter() - began) * 1000)
        writer.close()
        if b"INVALID_INPUT" not in answer:
            raise SystemExit(f"The server answered {answer[:500]!r}")
    return f"INVALID_INPUT in {sorted(times)[10]:.1f} ms (median of 20; slowest {max(times):.1f} ms)"


async def _half_open(server: RunningServer, seconds: float, *, addresses: int) -> str:
    """Open connections and send half a head on each, then hold them."""
    ends = time.monotonic() + seconds
    held: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    for number in range(HALF_OPEN):
        source = f"127.0.{number % addresses // 250 + 1}.{number % addresses % 250 + 2}"
        try:
            reader, writer = await asyncio.open_connection(
                server.host, server.port, local_addr=(source, 0), limit=1_024
            )
        except OSError:
            continue
        writer.write(b"GET /graphql HTTP/1.1\r\nHost: he")
        held.append((reader, writer))
    await asyncio.sleep(0.5)
    open_at_once = sum(not reader.at_eof() and reader.exception() is None for reader, _ in held)
    await asyncio.sleep(max(0.0, ends - time.monotonic()))
    for _, writer in held:
        writer.close()
    return f"{len(held):,} opened, at most {open_at_once:,} of them kept"


async def _send_frames(server: RunningServer) -> str:
    """Send pings over one websocket until the server closes it."""
    sent, began = 0, time.perf_counter()
    async with connect(
        f"ws://{server.host}:{server.port}/graphql",
        subprotocols=[Subprotocol("graphql-transport-ws")],
        proxy=None,
    ) as client:
        try:
            while sent < FRAMES:
                await client.ping()
                sent += 1
            await asyncio.wait_for(client.recv(), 5)
        except (ConnectionClosed, TimeoutError):
            pass
        code = client.close_code
    return f"closed with {code} after {(time.perf_counter() - began) * 1000:.0f} ms and {sent:,} frames"


async def _subscribe(scene: BenchScene, server: RunningServer, seconds: float) -> str:
    """Subscribe heavily, and post transactions meanwhile."""
    answers = 0
    watched = scene.collectives[0]

    async def listen(count: int) -> None:
        nonlocal answers
        async with connect(
            f"ws://{server.host}:{server.port}/graphql",
            subprotocols=[Subprotocol("graphql-transport-ws")],
            proxy=None,
            max_size=2**24,
        ) as client:
            await client.send('{"type": "connection_init"}')
            await client.recv()
            for number in range(count):
                payload = {"query": HEAVY, "variables": {"c": ref(watched)}}
                await client.send(
                    orjson.dumps({"type": "subscribe", "id": str(number), "payload": payload}).decode()
                )
            async for message in client:
                if '"errors"' in str(message) or '"error"' in str(message):
                    raise SystemExit(f"The server answered {message!r}")
                answers += 1

    listeners = [asyncio.ensure_future(listen(SUBSCRIPTIONS // 2)) for _ in range(2)]
    posted = await _post_transactions(scene, seconds)
    for listener in listeners:
        listener.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)
    return f"{posted}, {answers} answers"


async def _post_transactions(scene: BenchScene, seconds: float) -> str:
    """Add funds to one collective, 20 times a second."""
    ends, count = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        began = time.monotonic()
        await scene.world.fund(scene.collectives[0], "1.00", by=scene.holder)
        count += 1
        await asyncio.sleep(max(0.0, 0.05 - (time.monotonic() - began)))
    return f"{count / seconds:.0f} transactions a second"
