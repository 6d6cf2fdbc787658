"""A server on a port of this machine, in the test's own process, and those who listen to it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from schema.realtime.websocket_messages import SUBPROTOCOL
from schema.server import uvicorn_server
from schema.server.app import application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from services.core.settings import Settings

SECONDS = 30
"""After which a test no longer waits for what must come."""
POSITION = "{ livePosition }"


@dataclass(frozen=True)
class Place:
    """Where a server listens."""

    address: str
    server: uvicorn_server.Server

    @property
    def url(self) -> str:
        """For requests."""
        return f"http://{self.address}/graphql"

    @property
    def live(self) -> Any:
        """What the server knows of those who follow."""
        return self.server.config.app.state.live  # type: ignore[union-attr]  # a Starlette


async def until(holds: Callable[[], object]) -> None:
    """Wait for something to hold."""
    async with asyncio.timeout(SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(settings: Settings, **changed: Any) -> AsyncIterator[Place]:
    """Serve on a free port until the block ends."""
    settings = replace(settings, port=0, **changed)
    server = uvicorn_server.make(application(settings), settings)
    assert isinstance(server, uvicorn_server.Server)
    running = asyncio.create_task(server.serve())
    while not server.started:
        assert not running.done()
        await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    try:
        yield Place(f"{host}:{port}", server)
    finally:
        server.should_exit = True
        await asyncio.wait_for(running, SECONDS)


@dataclass
class Client:
    """One who speaks graphql-transport-ws, frame by frame."""

    socket: ClientConnection

    async def say(self, kind: str, name: str | None = None, payload: Any = None) -> None:
        """Send a message."""
        message = {"type": kind} | ({"id": name} if name is not None else {})
        await self.raw(orjson.dumps(message | ({} if payload is None else {"payload": payload})).decode())

    async def raw(self, frame: str | bytes) -> None:
        """Send a frame."""
        await self.socket.send(frame)

    async def hear(self, seconds: float = SECONDS) -> dict[str, Any]:
        """Return the next message; every frame is text."""
        frame = await asyncio.wait_for(self.socket.recv(), seconds)
        assert isinstance(frame, str)
        message: dict[str, Any] = orjson.loads(frame)
        return message

    async def silent(self, seconds: float = 0.5) -> bool:
        """Tell whether nothing comes for a while."""
        try:
            await self.hear(seconds)
        except TimeoutError:
            return True
        return False

    async def init(self, token: str | None = None) -> None:
        """Say who one is, and be known."""
        await self.say("connection_init", payload={"Authorization": f"Bearer {token}"} if token else None)
        assert await self.hear() == {"type": "connection_ack"}

    async def subscribe(self, query: str, name: str = "1", **variables: Any) -> None:
        """Ask for an operation."""
        await self.say("subscribe", name, {"query": query, "variables": variables})

    async def next(self, name: str = "1") -> Any:
        """Return the data of the next answer, which has no errors."""
        message = await self.hear()
        assert (message["type"], message["id"]) == ("next", name), message
        assert "errors" not in message["payload"], message
        return message["payload"]["data"]

    async def error(self, name: str = "1") -> str:
        """Return the code of the error that ends an operation."""
        message = await self.hear()
        assert (message["type"], message["id"]) == ("error", name), message
        code: str = message["payload"][0]["extensions"]["code"]
        return code

    async def closed(self) -> tuple[int, str]:
        """Return the code and the reason of the close frame; what comes before it is dropped."""
        with suppress(ConnectionClosed):
            while True:
                await asyncio.wait_for(self.socket.recv(), SECONDS)
        code = self.socket.close_code
        assert code is not None
        return code, self.socket.close_reason or ""


@asynccontextmanager
async def connected(
    place: Place | str, token: str | None = None, *, known: bool = True, **more: Any
) -> AsyncIterator[Client]:
    """Connect, and be known unless the test is about that."""
    address = place if isinstance(place, str) else place.address
    options: dict[str, Any] = {"subprotocols": [Subprotocol(SUBPROTOCOL)], "max_size": 2**24, "proxy": None}
    async with connect(f"ws://{address}/graphql", **(options | more)) as socket:
        client = Client(socket)
        if known:
            await client.init(token)
        yield client


@asynccontextmanager
async def process(settings: Settings, log: Path, **changed: Any) -> AsyncIterator[Process]:
    """Run `commonweal serve` as a process of its own; what still runs at the end is killed by its own id."""
    named = {
        "port": 0,
        "database_url": settings.database_url,
        "owner_database_url": settings.owner_database_url,
        "outbox_interval_ms": 60_000,
        **changed,
    }
    kept = {k: v for k, v in os.environ.items() if not k.startswith("COMMONWEAL_")}
    with log.open("w") as errors:
        running = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "schema",
            "serve",
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=kept | {f"COMMONWEAL_{name.upper()}": str(value) for name, value in named.items()},
        )
    try:
        assert running.stdout is not None
        async with asyncio.timeout(2 * SECONDS):
            while (line := (await running.stdout.readline()).decode()) and "http://" not in line:
                pass
        assert line, f"see {log}"
        yield Process(line.partition("http://")[2].partition("/")[0], running)
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


@dataclass(frozen=True)
class Process:
    """A server process."""

    address: str
    running: asyncio.subprocess.Process

    async def end(self) -> int:
        """Ask it to end; return its exit code."""
        self.running.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.running.wait(), SECONDS)
