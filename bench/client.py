"""The client of `bench.load`: `python -m bench.client` reads an order as JSON and prints its result.

It reads only the status, the length and the presence of errors in an answer, so that it does not limit
what is measured. It imports nothing from the project, so that it starts at once.
"""

import asyncio
import json
import re
import sys
import time
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

_NUMBER = b"0000000000"
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
GRACE_SECONDS = 30
_EMPTY_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 31\r\n\r\n" + b" " * 31


@dataclass(frozen=True)
class LoadOrder:
    """A request, the server to send it to, and for how long."""

    host: str
    port: int
    text: str
    """The request. If `is_unique`, ten zeros in it are replaced by a new number each time."""
    connections: int
    seconds: float
    warm_seconds: float
    is_unique: bool = False


@dataclass(frozen=True)
class LoadResult:
    """Rate, latencies and errors, without the warm-up."""

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as an answer is complete."""

    def __init__(self, load: "_Load") -> None:
        self._load, self._parts, self._size, self._whole = load, list[bytes](), 0, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._send()

    def _send(self) -> None:
        self._parts, self._size, self._whole = [], 0, 0
        self._began = time.perf_counter()
        self._transport.write(self._load.next_request())

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if not self._whole:
            head, end, _ = (data if len(self._parts) == 1 else b"".join(self._parts)).partition(b"\r\n\r\n")
            if not end:
                return
            if (length := _LENGTH.search(head)) is None:
                raise SystemExit(f"No Content-Length: {head!r}")
            self._whole = len(head) + 4 + int(length[1])
        if self._size >= self._whole:
            answer = data if len(self._parts) == 1 else b"".join(self._parts)
            if self._load.note(answer, time.perf_counter() - self._began):
                self._send()
            else:
                self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._load.connection_closed()


class _Load:
    def __init__(self, order: LoadOrder) -> None:
        self._order, self._text = order, order.text.encode()
        # Starts from the clock, so that no document of an earlier run comes again.
        self._number = time.time_ns() // 1000 % 10**10
        self._open = order.connections
        self.times: list[float] = []
        self.errors = 0
        self.finished = asyncio.Event()

    async def run(self) -> LoadResult:
        loop = asyncio.get_running_loop()
        self._counts_from = time.perf_counter() + self._order.warm_seconds
        self._until = self._counts_from + self._order.seconds
        for _ in range(self._order.connections):
            await loop.create_connection(lambda: _Connection(self), self._order.host, self._order.port)
        async with asyncio.timeout(self._order.seconds + self._order.warm_seconds + GRACE_SECONDS):
            await self.finished.wait()
        times = sorted(self.times)
        seconds = self._last - self._counts_from  # late last answers of a slow server count
        return LoadResult(
            len(times) / seconds,
            times[len(times) // 2] * 1000,
            times[int(len(times) * 0.99)] * 1000,
            self.errors,
        )

    def next_request(self) -> bytes:
        if not self._order.is_unique:
            return self._text
        self._number += 1
        return self._text.replace(_NUMBER, b"%010d" % (self._number % 10**10))

    def note(self, answer: bytes, seconds: float) -> bool:
        """Count an answer; return True if another request should follow."""
        now = time.perf_counter()
        if not answer.startswith(b"HTTP/1.1 200") or b'"errors"' in answer:
            self.errors += 1
        if now >= self._counts_from:
            self.times.append(seconds)
            self._last = now
        return now < self._until

    def connection_closed(self) -> None:
        self._open -= 1
        if not self._open:
            self.finished.set()


class _Idle(asyncio.Protocol):
    """Sends one fixed answer to everything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, _: bytes) -> None:
        self._transport.write(_EMPTY_ANSWER)


async def _serve_idle() -> None:
    server = await asyncio.get_running_loop().create_server(_Idle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _run() -> LoadResult:
    return await _Load(LoadOrder(**json.load(sys.stdin))).run()


def main() -> None:
    """Run one load order, or the idle server."""
    if sys.argv[1:] == ["--idle-server"]:
        uvloop.run(_serve_idle())
    else:
        print(json.dumps(asdict(uvloop.run(_run()))))


if __name__ == "__main__":
    main()
