"""An HTTP protocol that calls the GraphQL endpoint straight from the socket, without ASGI.

A POST to the endpoint whose body is complete, or soon will be, is answered by one task with one write.
Everything else goes through uvicorn: other URLs, streams, and requests queued behind another. Both ways call
`schema.server.endpoint.handle`, which holds the rules.
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
from schema.http.gate import Gate
from schema.http.raw_request import RawHeaders, RawRequest
from schema.http.request import MAX_BODY_BYTES
from schema.server import endpoint
from schema.server.write_timeout import WriteTimeout

PATH = b"/graphql"
BODY_WAIT_SECONDS = 0.05
"""How long to wait for a body; slower ones go through ASGI, which enforces the body timeout."""
_ASGI_ONLY_HEADERS = frozenset(
    {"expect", "transfer-encoding", "upgrade", "x-forwarded-for", "x-forwarded-proto"}
)
log = logging.getLogger("commonweal.http")


@dataclass(slots=True)
class _ParsedHead:
    """Parsed headers of a request, reused while the client repeats them."""

    raw: RawHeaders
    by_name: dict[str, str]
    size: int
    is_plain: bool


class _Exchange(RequestResponseCycle):
    """A request and its response, with the attributes that uvicorn reads of its current cycle."""

    message_event = asyncio.Event()  # never awaited

    def __init__(self, head: _ParsedHead, *, keep_alive: bool) -> None:
        self.head, self.keep_alive = head, keep_alive
        self.content, self.response_complete = b"", False


class GraphQLHttpProtocol(WriteTimeout, HttpToolsProtocol):
    """HTTP that goes straight to the GraphQL endpoint if it can, else through ASGI."""

    state: State | None = None
    """The application's state; None sends every request through ASGI."""
    _head: _ParsedHead | None = None
    """The headers of the last request."""
    _pending: _Exchange | None = None
    """A request whose body is incomplete."""
    _body_timer: asyncio.TimerHandle | None = None
    _running: asyncio.Task[None] | None = None
    _idle_since: float | None = None
    """When the last response was sent; None while a request arrives or runs."""

    def on_headers_complete(self) -> None:
        """Choose between the endpoint and ASGI."""
        self._pending = self._open_exchange()
        if self._pending is None:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Append a part of the body."""
        if self._pending is None:
            super().on_body(body)
        else:
            self._pending.content += body

    def on_message_complete(self) -> None:
        """Start handling a complete request."""
        exchange = self._take_pending()
        if exchange is None:
            super().on_message_complete()
            return
        self.cycle = exchange
        self._running = task = self.loop.create_task(self._answer(exchange))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def data_received(self, data: bytes) -> None:
        """Read data; hand a request to ASGI if its body stays incomplete."""
        self._idle_since = None
        super().data_received(data)
        if self._pending is not None and self._body_timer is None:
            self._body_timer = self.loop.call_later(BODY_WAIT_SECONDS, self._go_through_asgi)

    def shutdown(self) -> None:
        """Shut down once the running request is answered."""
        self._go_through_asgi()
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the running task, and with it its statement: the client is gone."""
        self._take_pending()
        if self._running is not None:
            self._running.cancel()
            self._running = None
        super().connection_lost(exc)
        super()._unset_keepalive_if_required()

    def on_response_complete(self) -> None:
        """Wait for the next request; the keep-alive timer keeps running across requests."""
        self._idle_since = None if self.pipeline else self.loop.time()
        if self.pipeline or self.timeout_keep_alive_task is None or self.transport.is_closing():
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            self.flow.resume_reading()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it has been idle long enough, else set the timer again."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return  # the next response restarts it
        remaining_seconds = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if remaining_seconds > 0:
            self.timeout_keep_alive_task = self.loop.call_later(
                remaining_seconds, self.timeout_keep_alive_handler
            )
        else:
            super().timeout_keep_alive_handler()

    def _unset_keepalive_if_required(self) -> None:
        """Keep the timer running: restarting it for each request costs more than the request."""

    def _open_exchange(self) -> _Exchange | None:
        """Return the exchange of a request that can go straight to the endpoint, else None."""
        is_first = self.cycle is None or self.cycle.response_complete
        if self.state is None or self.url != PATH or not is_first or self.parser.get_method() != b"POST":
            return None
        if self._head is None or self._head.raw != self.headers:
            self._head = _parse_head(self.headers, self.state.gate)
        if not self._head.is_plain or self.parser.get_http_version() != "1.1":
            return None
        return _Exchange(self._head, keep_alive=self.parser.should_keep_alive())

    def _take_pending(self) -> _Exchange | None:
        """Return the pending exchange, if there is one, and clear it."""
        exchange, self._pending = self._pending, None
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None
        return exchange

    def _go_through_asgi(self) -> None:
        if (exchange := self._take_pending()) is not None:
            super().on_headers_complete()
            super().on_body(exchange.content)

    async def _answer(self, exchange: _Exchange) -> None:
        try:
            response = await self._handle(exchange)
            if self.flow.write_paused:
                await self.flow.drain()
        except asyncio.CancelledError:
            if self.transport.is_closing():
                raise  # the client disconnected
            log.exception("a request was aborted: the server is shutting down")
            response = Response("Internal Server Error", 500, media_type="text/plain")
            exchange.keep_alive = False
        except Exception:
            log.exception("a response could not be built")
            self.transport.abort()
            return
        if not self.transport.is_closing():
            self._write(exchange, response)

    async def _handle(self, exchange: _Exchange) -> Response:
        head = exchange.head
        assert self.state is not None
        response = await endpoint.handle(
            RawRequest(
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
        if len(response.body) >= endpoint.COMPRESS_FROM_BYTES and "accept-encoding" in head.by_name:
            return await _compress(response, head.raw)
        return response

    def _write(self, exchange: _Exchange, response: Response) -> None:
        assert self.state is not None
        headers = [
            *self.server_state.default_headers,
            *self.state.gate.response_headers,
            *response.raw_headers,
        ]
        if not exchange.keep_alive:
            headers.append((b"connection", b"close"))
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[response.status_code], *lines, b"\r\n", response.body]))
        self._running, exchange.response_complete = None, True
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()


def _parse_head(raw: RawHeaders, gate: Gate) -> _ParsedHead:
    headers = raw_request.headers_by_name(raw)
    is_plain = (
        _ASGI_ONLY_HEADERS.isdisjoint(headers)
        and 0 < int(headers.get("content-length", "0")) <= MAX_BODY_BYTES
        and content_negotiation.EVENTS not in headers.get("accept", "").lower()
        and gate.serves_host(headers.get("host", ""))
        and sum([name == b"host" for name, _ in raw]) <= 1
    )
    return _ParsedHead(raw, headers, raw_request.count_header_bytes(raw), is_plain)


async def _compress(response: Response, request_headers: RawHeaders) -> Response:
    """Compress a response as the middleware does."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": request_headers}
    await endpoint.Gzip(response, minimum_size=endpoint.COMPRESS_FROM_BYTES)(scope, _receive_nothing, send)
    response.raw_headers, response.body = sent[0]["headers"], sent[1]["body"]
    return response


async def _receive_nothing() -> MutableMapping[str, Any]:
    raise AssertionError("the body was read")
