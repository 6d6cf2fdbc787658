"""The ASGI application: its routes, and the state that lives as long as the server."""

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
from schema.documents.persisted_documents import PersistedDocuments
from schema.http import origins
from schema.http.cors import Cors
from schema.observability import sql_trace
from schema.observability.metrics import serve_metrics
from schema.realtime import websocket
from schema.realtime.subscription_runner import SubscriptionRunner
from schema.server import hours_csv
from schema.server.endpoint import COMPRESS_FROM_BYTES, Gzip, asgi_endpoint
from schema.server.receipt_files import download, upload
from schema.server.reset_password_page import reset
from schema.server.verify_email_page import verify
from services.access import rate_limits
from services.approvals import decisions
from services.core.settings import Settings
from services.database.engine import create_pool, session_factory
from services.ledger import audit_job
from services.live import event_log
from services.live.broadcaster import Broadcaster
from services.messaging import delivery

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
"""Methods the endpoint answers itself, all but GET and POST with 405."""


def create_application(settings: Settings) -> Starlette:
    """Create the application for the database in the settings.

    Raises:
        ConfigurationError: the manifest of trusted documents or the list of allowed origins is invalid.
    """
    persisted_documents = PersistedDocuments(settings)
    allowed_origins = origins.parse_origins(settings.allowed_origins)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        engine = create_pool(settings)
        app.state.settings = settings
        app.state.engine = engine
        sql_trace.listen(engine)
        app.state.sessions = session_factory(engine)
        app.state.persisted_documents = persisted_documents
        app.state.buckets = rate_limits.Buckets(app.state.sessions, settings)
        # Live events are read on their own connections, so that a busy pool cannot delay them.
        reading = create_pool(replace(settings, pool_size=2))
        broadcaster = Broadcaster(session_factory(reading), pause_ms=settings.live_interval_ms)
        app.state.subscriptions = SubscriptionRunner(
            app.state.sessions, settings, broadcaster, app.state.buckets
        )
        delivery.make_sender(settings)  # a wrong SMTP setting fails at startup, not at the first mail
        stop = asyncio.Event()
        also: list[delivery.Job] = [
            decisions.expire_due_orders,
            partial(rate_limits.delete_full_buckets, settings=settings),
            partial(event_log.delete_old_events, hours=settings.live_hours),
        ]
        jobs = asyncio.create_task(delivery.run(app.state.sessions, settings, also=also, stop=stop))
        audits = asyncio.create_task(audit_job.run(settings, stop=stop))
        yield
        await app.state.subscriptions.stop()
        stop.set()
        audits.cancel()  # a long audit begins again where this one did
        with suppress(asyncio.CancelledError):
            await audits
        with suppress(asyncio.CancelledError):
            await jobs
        await reading.dispose()
        await engine.dispose()

    return _Application(
        lifespan=lifespan,
        middleware=[Middleware(Cors, allowed_origins)] if allowed_origins else [],
        routes=[
            Route("/graphql", _GZIP_ENDPOINT, methods=METHODS),
            WebSocketRoute("/graphql", websocket.serve_websocket),
            Route("/healthz", check_alive),
            Route("/readyz", check_ready),
            Route("/metrics", serve_metrics),
            Route("/export/hours.csv", hours_csv.download_hours, methods=["GET"]),
            Route("/receipts", upload, methods=["POST"]),
            Route("/receipts/{id}", download, methods=["GET"]),
            Route("/verify", verify, methods=["GET", "POST"]),
            Route("/reset", reset, methods=["GET", "POST"]),
            Route("/", lambda _: RedirectResponse("/graphql")),
            *graphiql.static_routes(),
        ],
    )


class _AppState(State):
    """Application state held in plain attributes, because every request reads some."""

    def __setattr__(self, key: str, value: Any) -> None:
        object.__setattr__(self, key, value)


class _Application(Starlette):
    """The application; plain GraphQL requests bypass the router and its middleware."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.state = _AppState()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, websocket or lifespan."""
        is_plain = scope["type"] == "http" and scope["path"] == "/graphql" and not self.user_middleware
        if not is_plain:
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        encodings = [value for name, value in scope["headers"] if name == b"accept-encoding"]
        await (_GZIP_ENDPOINT if encodings else asgi_endpoint)(scope, receive, send)


_GZIP_ENDPOINT = Gzip(asgi_endpoint, minimum_size=COMPRESS_FROM_BYTES)


async def check_alive(_: Request) -> Response:
    """Report that the process is running."""
    return JSONResponse({"status": "ok"})


async def check_ready(request: Request) -> Response:
    """Report whether the database answers."""
    try:
        async with request.app.state.sessions() as session:
            await session.execute(text("SELECT 1"))
    except (DBAPIError, PoolTimeout, OSError):
        return JSONResponse({"status": "the database does not answer"}, status_code=503)
    return JSONResponse({"status": "ok"})
