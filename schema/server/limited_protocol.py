"""Limits of what a client may send over HTTP, and how slowly: they hold before any route is chosen."""

import asyncio
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from schema.server.connection_table import ConnectionTable
from schema.server.socket_protocol import GraphQLHttpProtocol

MAX_HEAD_BYTES = 32_768
"""The request line and the headers together, while they arrive."""
MAX_CONTENT_BYTES = 20_000_000
"""More than any route accepts; each has a lower limit of its own."""
FRAMING_PER_BYTE = 8
"""A chunk of one byte is sent as six; what exceeds this is padding, or an endless trailer."""
UPLOAD_PATH = b"/receipts"
MIN_UPLOAD_BYTES_PER_SECOND = 20_000
"""An upload may take longer than other bodies while it arrives at least as fast."""
GRACE_SECONDS = 1.0
"""Time for the endpoint to refuse a late body itself, in GraphQL's form."""
_REASONS = {
    400: b"The request is malformed",
    408: b"The request took too long to arrive",
    413: b"The body is too long",
    431: b"The headers are too long",
}


@dataclass(frozen=True)
class ReadingLimits:
    """Time limits of a connection, and the table of all connections."""

    head_seconds: float
    body_seconds: float
    connections: ConnectionTable


class LimitedHttpProtocol(GraphQLHttpProtocol):
    """HTTP with limits on the size and time of each head and body."""

    limits: ReadingLimits
    _awaits_head = True
    """True until the head of the next request is complete."""
    _head_bytes = 0
    _body_bytes = 0
    """Bytes since the head, with their framing."""
    _content_bytes = 0
    _content_at_deadline = 0
    """Content that had arrived when the deadline was last set."""
    _has_completed = False
    """True if a request became complete in the data read last."""
    _is_refused = False
    _deadline: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """True while no request is being answered or has a whole head."""
        return self._awaits_head and (self.cycle is None or self.cycle.response_complete)

    def drop(self) -> None:
        """Close the connection at once."""
        self._is_refused = True
        self.transport.abort()

    def connection_made(self, transport: Any) -> None:
        """Admit the connection, if there is room, and expect a head."""
        super().connection_made(transport)
        if not self.limits.connections.admit(self, address=self.client[0] if self.client else ""):
            self.drop()
            return
        self._expect_within(self.limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._cancel_deadline()
        self.limits.connections.remove(self)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Hand over to the websocket's protocol, which has limits of its own."""
        self._cancel_deadline()
        self.limits.connections.remove(self)
        super().handle_websocket_upgrade()

    def on_headers_complete(self) -> None:
        """Begin to count the body."""
        self._awaits_head = False
        self._head_bytes = self._body_bytes = self._content_bytes = self._content_at_deadline = 0
        self._cancel_deadline()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count the content."""
        self._content_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect the next head."""
        self._awaits_head = self._has_completed = True
        self._cancel_deadline()
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Read data, and refuse a request that is too long as soon as it is."""
        if self._is_refused:
            return
        self._has_completed = False
        super().data_received(data)
        # What follows a complete request in the same data counts once more of it arrives.
        if self._has_completed or self.transport.is_closing():
            return
        if self._awaits_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431)
            elif self._deadline is None:
                self._expect_within(self.limits.head_seconds)
        else:
            self._check_body(len(data))

    def _check_body(self, size: int) -> None:
        """Check a body that is still incomplete."""
        self._body_bytes += size
        framing = self._body_bytes - self._content_bytes
        if self._content_bytes > MAX_CONTENT_BYTES:
            self._refuse(413)
        elif framing > 2 * MAX_HEAD_BYTES + FRAMING_PER_BYTE * self._content_bytes:
            self._refuse(400)
        elif self._deadline is None:
            self._expect_within(self.limits.body_seconds + GRACE_SECONDS)

    def _expect_within(self, seconds: float) -> None:
        self._content_at_deadline = self._content_bytes
        self._deadline = self.loop.call_later(seconds, self._end_late_request, seconds)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_late_request(self, seconds: float) -> None:
        self._deadline = None
        arrived = self._content_bytes - self._content_at_deadline
        is_upload = not self._awaits_head and self.url.partition(b"?")[0] == UPLOAD_PATH
        if is_upload and arrived >= MIN_UPLOAD_BYTES_PER_SECOND * seconds:
            self._expect_within(seconds)
        elif self._awaits_head and not self._head_bytes:
            self.drop()  # it never said anything
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        """Refuse the request, if nothing of its response was sent, and close the connection."""
        self._is_refused = True
        self._cancel_deadline()
        self._take_pending()
        cycle = self.cycle
        is_reading = not self._awaits_head and cycle is not None and not cycle.response_complete
        if is_reading:
            cycle.disconnected = True  # it sends nothing any more
            cycle.message_event.set()
        if self.is_idle or (is_reading and not getattr(cycle, "response_started", True)):
            reason = _REASONS[status]
            self.transport.write(
                b"%bcontent-type: text/plain; charset=utf-8\r\nx-content-type-options: nosniff\r\n"
                b"content-length: %d\r\nconnection: close\r\n\r\n%b"
                % (STATUS_LINE[status], len(reason), reason)
            )
        self.transport.close()
