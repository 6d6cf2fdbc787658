"""The server process: uvicorn with write timeouts and a clean shutdown of subscriptions."""

from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import State
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from schema.realtime import websocket_messages
from schema.server.socket_protocol import GraphQLHttpProtocol
from schema.server.write_timeout import WriteTimeout
from services.core.settings import Settings

PING_SECONDS = 20.0
GRACE_SECONDS = 10
CLOSE_WAIT_SECONDS = 2.0
"""Time for the close frame to reach a slow reader."""


def create_server(application: Starlette, settings: Settings) -> uvicorn.Server:
    """Create a server for the application."""
    return Server(
        uvicorn.Config(
            application,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            http=_configure(
                GraphQLHttpProtocol, slow_seconds=settings.live_slow_seconds, state=_direct_state(application)
            ),
            ws=_configure(_WebSocket, slow_seconds=settings.live_slow_seconds),
            ws_max_size=websocket_messages.MAX_BYTES,
            ws_ping_interval=PING_SECONDS,
            ws_ping_timeout=PING_SECONDS,
            ws_per_message_deflate=False,  # saves memory per connection, and leaks no secret by length
        )
    )


class Server(uvicorn.Server):
    """A server that ends subscriptions before it waits for running requests."""

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        """Stop the subscriptions, then the server."""
        subscriptions = getattr(getattr(self.config.app, "state", None), "subscriptions", None)
        if subscriptions is not None:
            await subscriptions.stop()
        await super().shutdown(sockets)


def _configure(protocol: Any, **attributes: Any) -> Any:
    """Return a subclass of a protocol with these class attributes: uvicorn makes the instances."""
    return type(protocol.__name__, (protocol,), attributes)


def _direct_state(application: Starlette) -> State | None:
    # Middleware (CORS) must see every response, so nothing may bypass it.
    return None if application.user_middleware else application.state


class _WebSocket(WriteTimeout, WebSocketsSansIOProtocol):
    """Close the connection of a client that stops reading."""

    def pause_writing(self) -> None:
        super().pause_writing()
        # Stop reading from a client that does not read: answers to its pings would pile up.
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def _abort_slow_client(self) -> None:
        """Queue a close frame, and abort once it is answered or after a short wait."""
        if self.transport.is_closing() or self.close_sent or not self.handshake_complete:
            self.transport.abort()
            return
        code, reason = websocket_messages.TRY_LATER, "Too slow a reader"
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
