"""The server process: uvicorn, with what it lacks against those who read nothing, and a clean end."""

from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import State
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from schema.realtime import websocket_messages
from schema.server.socket_protocol import Http
from schema.server.write_timeout import Patient
from services.core.settings import Settings

PING_SECONDS = 20.0
GRACE_SECONDS = 10
FAREWELL_SECONDS = 2.0
"""For the close frame to reach one who reads slowly."""


def make(application: Starlette, settings: Settings) -> uvicorn.Server:
    """Return a server of the application."""
    return Server(
        uvicorn.Config(
            application,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            http=_with(Http, slow_seconds=settings.live_slow_seconds, state=_state(application)),
            ws=_with(_WebSocket, slow_seconds=settings.live_slow_seconds),
            ws_max_size=websocket_messages.MAX_BYTES,
            ws_ping_interval=PING_SECONDS,
            ws_ping_timeout=PING_SECONDS,
            ws_per_message_deflate=False,  # each would take memory, and a client's guess of a secret
        )
    )


class Server(uvicorn.Server):
    """A server that lets those go who follow live events before it waits for what runs."""

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        """End."""
        live = getattr(getattr(self.config.app, "state", None), "live", None)
        if live is not None:
            await live.stop()
        await super().shutdown(sockets)


def _with(kind: Any, **of_class: Any) -> Any:
    return type(kind.__name__, (kind,), of_class)


def _state(application: Starlette) -> State | None:
    # What middleware there is has a say in each answer (CORS).
    return None if application.user_middleware else application.state


class _WebSocket(Patient, WebSocketsSansIOProtocol):
    """Close the connection of one who takes nothing for long."""

    def pause_writing(self) -> None:
        super().pause_writing()
        # Whoever does not read is not read from: pings would be answered without bound.
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def _let_go(self) -> None:
        """Say goodbye behind what waits; hang up when that is answered, and soon in any case."""
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
        self.writable.set()  # who waits to send learns that it is over
        # What still comes is read and dropped: a socket that closes over unread bytes is reset, and the
        # farewell lost with it.
        self.read_paused = False
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(FAREWELL_SECONDS, self.transport.abort)
