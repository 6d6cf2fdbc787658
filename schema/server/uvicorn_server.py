"""The server process: uvicorn with write timeouts and a clean shutdown of subscriptions."""

import asyncio
import resource
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import State

from schema.realtime import websocket_messages
from schema.server.connection_table import ConnectionTable
from schema.server.limited_protocol import LimitedHttpProtocol, ReadingLimits
from schema.server.websocket_protocol import LimitedWebSocket
from services.core.settings import Settings

PING_SECONDS = 20.0
GRACE_SECONDS = 10
DRAIN_STEP_SECONDS = 0.1
SPARE_FILES = 500
"""Open files beside connections: the database's, the log, receipts."""


def create_server(application: Starlette, settings: Settings) -> uvicorn.Server:
    """Create a server for the application."""
    _raise_file_limit(settings.connections + settings.live_connections)
    server = Server(
        uvicorn.Config(
            application,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            proxy_headers=False,  # the application's gate reads them
            http=_configure(
                LimitedHttpProtocol,
                slow_seconds=settings.live_slow_seconds,
                state=_direct_state(application),
                limits=_reading_limits(application, settings),
            ),
            ws=_configure(
                LimitedWebSocket,
                slow_seconds=settings.live_slow_seconds,
                frames_per_second=settings.live_frames_per_second,
            ),
            ws_max_size=websocket_messages.MAX_BYTES,
            ws_ping_interval=PING_SECONDS,
            ws_ping_timeout=PING_SECONDS,
            ws_per_message_deflate=False,  # saves memory per connection, and leaks no secret by length
        )
    )
    server.drain_seconds = settings.drain_seconds
    return server


class Server(uvicorn.Server):
    """A server that says it is leaving, then ends subscriptions before it waits for running requests."""

    drain_seconds: float = 0

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        """Answer 503 at /readyz and serve on for a moment, then stop the subscriptions and the server."""
        await self._drain()
        subscriptions = getattr(getattr(self.config.app, "state", None), "subscriptions", None)
        if subscriptions is not None:
            await subscriptions.stop()
        await super().shutdown(sockets)

    async def _drain(self) -> None:
        """Let balancers notice; a second signal ends it at once."""
        state = getattr(self.config.app, "state", None)
        if state is not None:
            state.is_draining = True
        for _ in range(int(self.drain_seconds / DRAIN_STEP_SECONDS)):
            if self.force_exit:
                return
            await asyncio.sleep(DRAIN_STEP_SECONDS)


def _configure(protocol: Any, **attributes: Any) -> Any:
    """Return a subclass of a protocol with these class attributes: uvicorn makes the instances."""
    return type(protocol.__name__, (protocol,), attributes)


def _reading_limits(application: Starlette, settings: Settings) -> ReadingLimits:
    return ReadingLimits(
        head_seconds=settings.head_timeout_ms / 1000,
        body_seconds=settings.body_timeout_ms / 1000,
        connections=ConnectionTable(
            limit=settings.connections,
            network_limit=settings.connections_per_address,
            is_exempt=application.state.gate.is_proxy,
        ),
    )


def _raise_file_limit(connections: int) -> None:
    """Raise the process's limit of open files as far as its connections need, or as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        highest = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, highest), hard))


def _direct_state(application: Starlette) -> State | None:
    # Middleware (CORS) must see every response, so nothing may bypass it.
    return None if application.user_middleware else application.state
