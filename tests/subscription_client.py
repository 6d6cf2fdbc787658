"""A server on a local port, in this process or another, and a client of its subscriptions."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from schema.realtime.websocket_messages import SUBPROTOCOL
from schema.server import uvicorn_server
from schema.server.app import create_application
from services.core.settings import Settings

WAIT_SECONDS = 30
START_SECONDS = 180
"""Longest wait of a test for an expected event."""
POSITION = "{ livePosition }"


@dataclass(frozen=True)
class ApiServer:
    """A server in this process, listening on a port."""

    address: str
    server: uvicorn_server.Server

    @property
    def url(self) -> str:
        """URL of the GraphQL endpoint."""
        return f"http://{self.address}/graphql"

    @property
    def live(self) -> Any:
        """The server's subscription state."""
        app: Any = self.server.config.app
        return app.state.subscriptions


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serve_in_process(settings: Settings, **changed: Any) -> AsyncIterator[ApiServer]:
    """Serve on a free port until the block ends."""
    settings = replace(settings, port=0, **changed)
    server = uvicorn_server.create_server(create_application(settings), settings)
    assert isinstance(server, uvicorn_server.Server)
    running = asyncio.create_task(server.serve())
    while not server.started:
        assert not running.done()
        await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    try:
        yield ApiServer(f"{host}:{port}", server)
    finally:
        server.should_exit = True
        await asyncio.wait_for(running, WAIT_SECONDS)


@dataclass
class WebsocketClient:
    """A graphql-transport-ws client that sends and receives single frames."""

    socket: ClientConnection

    async def send(self, kind: str, name: str | None = None, payload: Any = None) -> None:
        """Send a message."""
        message = {"type": kind} | ({"id": name} if name is not None else {})
        await self.send_frame(
            orjson.dumps(message | ({} if payload is None else {"payload": payload})).decode()
        )

    async def send_frame(self, frame: str | bytes) -> None:
        """Send a frame."""
        await self.socket.send(frame)

    async def receive(self, seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """Return the next message; every frame is text."""
        frame = await asyncio.wait_for(self.socket.recv(), seconds)
        assert isinstance(frame, str)
        message: dict[str, Any] = orjson.loads(frame)
        return message

    async def is_silent(self, seconds: float = 0.5) -> bool:
        """Return True if no message arrives for a while."""
        try:
            await self.receive(seconds)
        except TimeoutError:
            return True
        return False

    async def init(self, token: str | None = None) -> None:
        """Initialise the connection, with a token if any, and expect the acknowledgement."""
        await self.send("connection_init", payload={"Authorization": f"Bearer {token}"} if token else None)
        assert await self.receive() == {"type": "connection_ack"}

    async def subscribe(self, query: str, name: str = "1", **variables: Any) -> None:
        """Start an operation."""
        await self.send("subscribe", name, {"query": query, "variables": variables})

    async def next(self, name: str = "1") -> Any:
        """Return the data of the next result, which must have no errors."""
        message = await self.receive()
        assert (message["type"], message["id"]) == ("next", name), message
        assert "errors" not in message["payload"], message
        return message["payload"]["data"]

    async def error(self, name: str = "1") -> str:
        """Return the code of the error that ends an operation."""
        message = await self.receive()
        assert (message["type"], message["id"]) == ("error", name), message
        code: str = message["payload"][0]["extensions"]["code"]
        return code

    async def close_frame(self) -> tuple[int, str]:
        """Return the code and reason of the close frame, discarding earlier messages."""
        with suppress(ConnectionClosed):
            while True:
                await asyncio.wait_for(self.socket.recv(), WAIT_SECONDS)
        code = self.socket.close_code
        assert code is not None
        return code, self.socket.close_reason or ""


@asynccontextmanager
async def connect_client(
    api: ApiServer | str, token: str | None = None, *, init: bool = True, scheme: str = "ws", **more: Any
) -> AsyncIterator[WebsocketClient]:
    """Connect, and initialise the connection unless `init` is false."""
    address = api if isinstance(api, str) else api.address
    options: dict[str, Any] = {"subprotocols": [Subprotocol(SUBPROTOCOL)], "max_size": 2**24, "proxy": None}
    async with connect(f"{scheme}://{address}/graphql", **(options | more)) as socket:
        client = WebsocketClient(socket)
        if init:
            await client.init(token)
        yield client


@asynccontextmanager
async def run_process(settings: Settings, log: Path, **changed: Any) -> AsyncIterator["Process"]:
    """Run `commonweal serve` as a separate process, and kill it at the end if it still runs."""
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
        async with asyncio.timeout(START_SECONDS):
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

    async def stop(self) -> int:
        """Terminate the process and return its exit code."""
        self.running.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.running.wait(), WAIT_SECONDS)
