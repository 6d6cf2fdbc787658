"""A TCP proxy between the server and PostgreSQL that cuts the connection at a chosen COMMIT."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

COMMIT = b"COMMIT\x00"
CHUNK = 65_536


class Cut(Enum):
    """Where a connection is lost."""

    BEFORE = "before"
    """COMMIT does not reach PostgreSQL."""
    AFTER = "after"
    """COMMIT is carried out; its reply does not reach the server."""


@dataclass
class CuttingProxy:
    """A running proxy; cuts at the next COMMIT that follows a write, once, after `arm`."""

    socket_path: str
    port: int = 0
    cuts: int = 0
    _cut: Cut | None = None
    _marker: bytes = b""
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def arm(self, cut: Cut, marker: bytes) -> None:
        """Cut at the COMMIT of the next connection that has sent `marker`."""
        self._cut, self._marker = cut, marker

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection in both directions until one side ends or it is cut."""
        upstream_reader, upstream = await asyncio.open_unix_connection(self.socket_path)
        replies = asyncio.create_task(_forward(upstream_reader, writer))
        marked = False
        try:
            while data := await reader.read(CHUNK):
                marked = marked or bool(self._marker and self._marker in data)
                if self._cut and marked and COMMIT in data:
                    cut, self._cut = self._cut, None
                    self.cuts += 1
                    if cut is Cut.AFTER:
                        replies.cancel()
                        await asyncio.gather(replies, return_exceptions=True)
                        upstream.write(data)
                        await upstream.drain()
                        # The reply arrives here, so the transaction is over, and goes no further.
                        await upstream_reader.read(CHUNK)
                    break
                upstream.write(data)
                await upstream.drain()
        except ConnectionError:
            pass
        finally:
            replies.cancel()
            upstream.close()
            writer.transport.abort()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def run_proxy(socket_path: str) -> AsyncIterator[CuttingProxy]:
    """Run a proxy in front of PostgreSQL's socket on a free port of the loopback."""
    proxy = CuttingProxy(socket_path)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
