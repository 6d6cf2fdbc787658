"""The websocket's socket: it ends clients that read too slowly or send too much."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from schema.realtime import websocket_messages
from schema.server.write_timeout import WriteTimeout

CLOSE_WAIT_SECONDS = 2.0
"""Time for the close frame to reach a slow reader."""
BURST_SECONDS = 10
"""Frames of so many seconds may come at once."""
BYTES_PER_FRAME = 2_000
"""A frame counts once, and once more for each of these bytes."""
READ_BYTES = 4_096
"""Data is read in pieces, so that a client that sends too much is stopped before all of it is read."""


class LimitedWebSocket(WriteTimeout, WebSocketsSansIOProtocol):
    """Close the connection of a client that stops reading, or that sends too many frames."""

    frames_per_second: int = 100
    _is_flooding = False
    _frames_left: float = 0.0
    _counted_at: float = 0.0

    def connection_made(self, transport: Any) -> None:
        """Start with a full allowance of frames."""
        super().connection_made(transport)
        self._frames_left = float(BURST_SECONDS * self.frames_per_second)
        self._counted_at = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Read frames, and close the connection once there are too many."""
        for start in range(0, len(data), READ_BYTES):
            if self._is_flooding:
                return  # read and dropped until the connection closes
            piece = data[start : start + READ_BYTES]
            self._frames_left -= len(piece) / BYTES_PER_FRAME
            super().data_received(piece)

    def handle_events(self) -> None:
        """Count the frames that were read, then handle them."""
        now = self.loop.time()
        restored = self._frames_left + (now - self._counted_at) * self.frames_per_second
        self._counted_at = now
        self._frames_left = min(float(BURST_SECONDS * self.frames_per_second), restored)
        self._frames_left -= len(self.conn.events)
        super().handle_events()
        if self._frames_left < 0:
            self._is_flooding = True
            self._close_with(websocket_messages.POLICY, "Too many frames")

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read: answers to its pings would pile up."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        super().resume_writing()
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def _abort_slow_client(self) -> None:
        """Queue a close frame, and abort once it is answered or after a short wait."""
        self._close_with(websocket_messages.TRY_LATER, "Too slow a reader")

    def _close_with(self, code: int, reason: str) -> None:
        """Send a close frame, and abort the connection after a short wait."""
        if self.transport.is_closing() or self.close_sent or not self.handshake_complete:
            self.transport.abort()
            return
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.disconnected = True
        self.writable.set()  # wakes pending senders, so that they see the end
        # Read and drop what still arrives: closing a socket with unread bytes resets it and loses the frame.
        self.read_paused = False
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(CLOSE_WAIT_SECONDS, self.transport.abort)
