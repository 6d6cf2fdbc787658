"""The ASGI application: routes, and what lives as long as the server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from schema import graphiql
from schema.documents.persisted_documents import Persisted
from schema.http import origins
from schema.http.cors import Cors
from schema.observability import sql_trace
from schema.observability.metrics import metrics
from schema.realtime import websocket
from schema.realtime.subscription_runner import Live
from schema.server import hours_csv
from schema.server.endpoint import COMPRESSED_FROM, Compressed, answered
from schema.server.receipt_files import download, upload
from schema.server.reset_password_page import reset
from schema.server.verify_email_page import verify
from services.access import rate_limits
from services.approvals import decisions
from services.core.settings import Settings
from services.database.engine import connect, sessions
from services.live import event_log
from services.live.broadcaster import Hub
from services.messaging import delivery

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
"""What the endpoint answers itself: all but two with 405."""


def application(settings: Settings) -> Starlette:
    """Return the application on the database that the settings name.

    Raises:
        ConfigurationError: the manifest of trusted documents, or an origin of the allow list, is no good.
    """
    known = Persisted(settings)
    listed = origins.listed(settings.allowed_origins)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        engine = connect(settings)
        app.state.settings = settings
        app.state.engine = engine
        sql_trace.listen(engine)
        app.state.sessions = sessions(engine)
        app.state.persisted = known
        app.state.buckets = rate_limits.Buckets(app.state.sessions, settings)
        # Readers of live events have connections of their own: a busy pool does not keep them waiting.
        reading = connect(replace(settings, pool_size=2))
        hub = Hub(sessions(reading), pause_ms=settings.live_interval_ms)
        app.state.live = Live(app.state.sessions, settings, hub, app.state.buckets)
        delivery.sender(settings)  # a wrong SMTP setting stops the start, not the first mail
        stop = asyncio.Event()
        also: list[delivery.Job] = [
            decisions.expire,
            partial(rate_limits.purge, settings=settings),
            partial(event_log.prune, hours=settings.live_hours),
        ]
        jobs = asyncio.create_task(delivery.run(app.state.sessions, settings, also=also, stop=stop))
        yield
        await app.state.live.stop()
        stop.set()
        with suppress(asyncio.CancelledError):
            await jobs
        await reading.dispose()
        await engine.dispose()

    return _Application(
        lifespan=lifespan,
        middleware=[Middleware(Cors, listed)] if listed else [],
        routes=[
            Route("/graphql", _COMPRESSED, methods=METHODS),
            WebSocketRoute("/graphql", websocket.endpoint),
            Route("/healthz", alive),
            Route("/readyz", ready),
            Route("/metrics", metrics),
            Route("/export/hours.csv", hours_csv.hours, methods=["GET"]),
            Route("/receipts", upload, methods=["POST"]),
            Route("/receipts/{id}", download, methods=["GET"]),
            Route("/verify", verify, methods=["GET", "POST"]),
            Route("/reset", reset, methods=["GET", "POST"]),
            Route("/", lambda _: RedirectResponse("/graphql")),
            *graphiql.static_routes(),
        ],
    )


class _Shared(State):
    """What lives as long as the application, as plain attributes: each request reads some."""

    def __setattr__(self, key: str, value: Any) -> None:
        object.__setattr__(self, key, value)


class _Application(Starlette):
    """The routes; what most requests are for comes first, past all that the pages need."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.state = _Shared()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or a connection."""
        is_plain = scope["type"] == "http" and scope["path"] == "/graphql" and not self.user_middleware
        if not is_plain:
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        encodings = [value for name, value in scope["headers"] if name == b"accept-encoding"]
        await (_COMPRESSED if encodings else answered)(scope, receive, send)


_COMPRESSED = Compressed(answered, minimum_size=COMPRESSED_FROM)


async def alive(_: Request) -> Response:
    """Say that the process runs."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """Say whether the database answers."""
    try:
        async with request.app.state.sessions() as session:
            await session.execute(text("SELECT 1"))
    except (DBAPIError, PoolTimeout, OSError):
        return JSONResponse({"status": "the database does not answer"}, status_code=503)
    return JSONResponse({"status": "ok"})
