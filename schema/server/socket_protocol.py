"""The way of most requests, from the socket to the endpoint and back: without ASGI between.

A POST to the endpoint whose body is there, or is about to be, is answered by one task with one write. All
else goes through uvicorn as ever: other addresses, streams, requests that wait behind another. Both ways call
`schema.http.reply`, which has the rules.
"""

import asyncio
import logging
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import State
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from schema.http import content_negotiation, raw_request
from schema.http.raw_request import Incoming, RawHeaders
from schema.http.request import MAX_BODY_BYTES
from schema.server import endpoint
from schema.server.write_timeout import Patient

PATH = b"/graphql"
PATIENCE_SECONDS = 0.05
"""How long a body is waited for; who takes longer is waited for the other way, which counts the time."""
_UNUSUAL = frozenset({"expect", "transfer-encoding", "upgrade", "x-forwarded-for", "x-forwarded-proto"})
log = logging.getLogger("commonweal.http")


@dataclass(slots=True)
class _Head:
    """The headers of a request; a client says the same in the next one."""

    raw: RawHeaders
    by_name: dict[str, str]
    size: int
    is_plain: bool


class _Exchange(RequestResponseCycle):
    """A request and its answer, as far as uvicorn asks of the one that it is at."""

    message_event = asyncio.Event()  # nobody waits for it

    def __init__(self, head: _Head, *, keep_alive: bool) -> None:
        self.head, self.keep_alive = head, keep_alive
        self.content, self.response_complete = b"", False


class Http(Patient, HttpToolsProtocol):
    """HTTP: straight to the endpoint where that can be, else through ASGI."""

    state: State | None = None
    """What lives as long as the application; without it, all goes through ASGI."""
    _head: _Head | None = None
    """That of the last request."""
    _arriving: _Exchange | None = None
    """A request whose body is not whole."""
    _waits: asyncio.TimerHandle | None = None
    _running: asyncio.Task[None] | None = None
    _rests_since: float | None = None
    """When it was answered last; None while something comes or is worked at."""

    def on_headers_complete(self) -> None:
        """Choose the way."""
        self._arriving = self._direct()
        if self._arriving is None:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        if self._arriving is None:
            super().on_body(body)
        else:
            self._arriving.content += body

    def on_message_complete(self) -> None:
        """Answer a request that is whole."""
        exchange = self._arrived()
        if exchange is None:
            super().on_message_complete()
            return
        self.cycle = exchange
        self._running = task = self.loop.create_task(self._answer(exchange))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def data_received(self, data: bytes) -> None:
        """Read; what is not whole after a while goes the other way."""
        self._rests_since = None
        super().data_received(data)
        if self._arriving is not None and self._waits is None:
            self._waits = self.loop.call_later(PATIENCE_SECONDS, self._go_through_asgi)

    def shutdown(self) -> None:
        """End once what was asked is answered."""
        self._go_through_asgi()
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Work no more for one who is gone: the statement that runs is cancelled with the task."""
        self._arrived()
        if self._running is not None:
            self._running.cancel()
            self._running = None
        super().connection_lost(exc)
        super()._unset_keepalive_if_required()

    def on_response_complete(self) -> None:
        """Wait for another request; the clock for that runs on from one to the next."""
        self._rests_since = None if self.pipeline else self.loop.time()
        if self.pipeline or self.timeout_keep_alive_task is None or self.transport.is_closing():
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            self.flow.resume_reading()

    def timeout_keep_alive_handler(self) -> None:
        """Look how long nothing came, when the clock rings."""
        self.timeout_keep_alive_task = None
        if self._rests_since is None:
            return  # the next answer starts it
        left = self._rests_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def _unset_keepalive_if_required(self) -> None:
        """Let the clock run: to stop it and start another for each request costs more than the request."""

    def _direct(self) -> _Exchange | None:
        """Return a request that can go straight to the endpoint."""
        is_first = self.cycle is None or self.cycle.response_complete
        if self.state is None or self.url != PATH or not is_first or self.parser.get_method() != b"POST":
            return None
        if self._head is None or self._head.raw != self.headers:
            self._head = _head(self.headers)
        if not self._head.is_plain or self.parser.get_http_version() != "1.1":
            return None
        return _Exchange(self._head, keep_alive=self.parser.should_keep_alive())

    def _arrived(self) -> _Exchange | None:
        """Return the request that was on its way: it is that no more."""
        exchange, self._arriving = self._arriving, None
        if self._waits is not None:
            self._waits.cancel()
            self._waits = None
        return exchange

    def _go_through_asgi(self) -> None:
        if (exchange := self._arrived()) is not None:
            super().on_headers_complete()
            super().on_body(exchange.content)

    async def _answer(self, exchange: _Exchange) -> None:
        try:
            response = await self._response(exchange)
            if self.flow.write_paused:
                await self.flow.drain()
        except asyncio.CancelledError:
            if self.transport.is_closing():
                raise  # the client is gone
            log.exception("a request was given up: the server ends")
            response = Response("Internal Server Error", 500, media_type="text/plain")
            exchange.keep_alive = False
        except Exception:
            log.exception("an answer could not be made")
            self.transport.abort()
            return
        if not self.transport.is_closing():
            self._write(exchange, response)

    async def _response(self, exchange: _Exchange) -> Response:
        head = exchange.head
        assert self.state is not None
        response = await endpoint.reply(
            Incoming(
                "POST",
                len(PATH),
                b"",
                head.by_name,
                head.size,
                self.client[0] if self.client else "",
                self.scheme or "http",
                self.state,
                exchange.content,
            )
        )
        if len(response.body) >= endpoint.COMPRESSED_FROM and "accept-encoding" in head.by_name:
            return await _compressed(response, head.raw)
        return response

    def _write(self, exchange: _Exchange, response: Response) -> None:
        headers = [*self.server_state.default_headers, *response.raw_headers]
        if not exchange.keep_alive:
            headers.append((b"connection", b"close"))
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[response.status_code], *lines, b"\r\n", response.body]))
        self._running, exchange.response_complete = None, True
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()


def _head(raw: RawHeaders) -> _Head:
    headers = raw_request.by_name(raw)
    is_plain = (
        _UNUSUAL.isdisjoint(headers)
        and 0 < int(headers.get("content-length", "0")) <= MAX_BODY_BYTES
        and content_negotiation.EVENTS not in headers.get("accept", "").lower()
    )
    return _Head(raw, headers, raw_request.size(raw), is_plain)


async def _compressed(response: Response, asked: RawHeaders) -> Response:
    """Return a response as the middleware lets it through."""
    passed: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        passed.append(message)

    scope = {"type": "http", "headers": asked}
    await endpoint.Compressed(response, minimum_size=endpoint.COMPRESSED_FROM)(scope, _nothing, send)
    response.raw_headers, response.body = passed[0]["headers"], passed[1]["body"]
    return response


async def _nothing() -> MutableMapping[str, Any]:
    raise AssertionError("the body was read")
