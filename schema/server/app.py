"""The ASGI application: its routes, and the state that lives as long as the server."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from schema import graphiql
from schema.documents.persisted_documents import PersistedDocuments
from schema.http import origins
from schema.http.cors import Cors
from schema.http.gate import Gate
from schema.http.metering import metered
from schema.observability import slow_statements, sql_trace
from schema.observability.metrics import serve_metrics
from schema.observability.route_spans import TracedRoute
from schema.realtime import websocket
from schema.realtime.subscription_runner import SubscriptionRunner
from schema.server import connected_page, donation_page, event_files, hours_csv, provider_pages, webhooks
from schema.server.email_change_pages import confirm_email, undo_email
from schema.server.endpoint import COMPRESS_FROM_BYTES, Gzip, asgi_endpoint
from schema.server.personal_data import download_my_data
from schema.server.plain_pages import page_style
from schema.server.receipt_files import download, upload
from schema.server.reset_password_page import reset
from schema.server.sign_in_page import sign_in_page
from schema.server.stop_mail_page import stop_mail
from schema.server.verify_email_page import verify
from services.access import rate_limits
from services.core import file_stores, slow_modules
from services.core.settings import Settings
from services.database.engine import create_pool, session_factory
from services.identity import oidc_providers
from services.live.broadcaster import Broadcaster
from services.messaging import delivery
from services.providers import offered as offered_providers

READY_SECONDS = 0.2
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
"""Methods the endpoint answers itself, all but GET and POST with 405."""


def create_application(settings: Settings) -> Starlette:
    """Create the application for the database in the settings.

    Raises:
        ConfigurationError: the manifest of trusted documents, the store of uploaded files, or the list of
            allowed origins, of trusted proxies or of sign-in providers is invalid.
    """
    persisted_documents = PersistedDocuments(settings)
    file_store = file_stores.open_store(settings)
    allowed_origins = origins.parse_origins(settings.allowed_origins)
    oidc_providers.parse(
        settings.oidc_providers
    )  # a wrong setting fails at startup, not at the first sign-in
    offered_providers.offered(settings)  # their libraries load slowly, so not in a request

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        engine = create_pool(settings)
        app.state.settings = settings
        app.state.engine = engine
        sql_trace.listen(engine)
        if settings.slow_statement_ms:
            slow_statements.listen(engine, seconds=settings.slow_statement_ms / 1000)
        app.state.sessions = session_factory(engine)
        app.state.file_store = file_store
        app.state.persisted_documents = persisted_documents
        app.state.buckets = rate_limits.Buckets(app.state.sessions, settings)
        # Live events are read on their own connections, so that a busy pool cannot delay them.
        reading = create_pool(replace(settings, pool_size=2))
        broadcaster = Broadcaster(session_factory(reading), pause_ms=settings.live_interval_ms)
        app.state.subscriptions = SubscriptionRunner(
            app.state.sessions, settings, broadcaster, app.state.buckets
        )
        delivery.make_sender(settings)  # a wrong SMTP setting fails at startup, not at the first mail
        async with _working_inline(settings):
            yield
            await app.state.subscriptions.stop()
        await offered_providers.close(settings)
        await reading.dispose()
        await engine.dispose()

    return _Application(
        Gate(settings),
        lifespan=lifespan,
        middleware=[Middleware(Cors, allowed_origins)] if allowed_origins else [],
        routes=[
            Route("/graphql", _GZIP_ENDPOINT, methods=METHODS),
            WebSocketRoute("/graphql", websocket.serve_websocket),
            Route("/healthz", check_alive),
            Route("/readyz", check_ready),
            Route("/metrics", serve_metrics),
            TracedRoute("/export/hours.csv", hours_csv.download_hours, methods=["GET"]),
            TracedRoute("/export/attendees.csv", event_files.download_attendees, methods=["GET"]),
            TracedRoute("/calendar/{slug}.ics", event_files.serve_public_calendar, methods=["GET"]),
            TracedRoute("/my-calendar.ics", event_files.serve_own_calendar, methods=["GET"]),
            TracedRoute("/export/my-data/{id}", download_my_data, methods=["GET"]),
            TracedRoute("/receipts", upload, methods=["POST"]),
            TracedRoute("/receipts/{id}", download, methods=["GET"]),
            Route("/pages.css", page_style, methods=["GET"]),
            TracedRoute("/verify", metered(verify), methods=["GET", "POST"]),
            TracedRoute("/reset", metered(reset), methods=["GET", "POST"]),
            TracedRoute("/sign-in", sign_in_page, methods=["GET"]),
            TracedRoute("/confirm-email", metered(confirm_email), methods=["GET", "POST"]),
            TracedRoute("/undo-email", metered(undo_email), methods=["GET", "POST"]),
            TracedRoute("/stop", metered(stop_mail), methods=["GET", "POST"]),
            TracedRoute("/donate/{slug}", donation_page.donation_page, methods=["GET"]),
            Route("/donate.js", donation_page.donation_script, methods=["GET"]),
            TracedRoute(
                offered_providers.CONNECTED_PATH,
                metered(connected_page.complete_connection),
                methods=["GET"],
            ),
            TracedRoute("/webhooks/{provider}", webhooks.receive, methods=["POST"]),
            TracedRoute("/fake-provider/pay", metered(webhooks.pay_with_fake_card), methods=["POST"]),
            *provider_pages.ROUTES,
            Route("/", lambda _: RedirectResponse("/graphql")),
            *graphiql.static_routes(),
        ],
    )


@asynccontextmanager
async def _working_inline(settings: Settings) -> AsyncIterator[None]:
    """Run a worker in this process, if the settings say so."""
    if settings.worker != "inline":
        yield
        return
    worker = await slow_modules.load("services.jobs.worker")
    stop = asyncio.Event()
    working = asyncio.create_task(worker.run(settings, stop=stop))
    try:
        yield
    finally:
        stop.set()
        await working


class _AppState(State):
    """Application state held in plain attributes, because every request reads some."""

    def __setattr__(self, key: str, value: Any) -> None:
        object.__setattr__(self, key, value)


class _Application(Starlette):
    """The application; plain GraphQL requests bypass the router and its middleware."""

    def __init__(self, gate: Gate, **options: Any) -> None:
        super().__init__(**options)
        self.state = _AppState()
        self.state.gate = gate
        self.state.ready_until = 0.0
        self.state.is_draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a lifespan, or a request or websocket that the gate admits."""
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        gate: Gate = self.state.gate
        refusal = gate.admit(scope)
        try:
            if refusal is not None:
                await refusal(scope, receive, gate.with_headers(send))
            else:
                await self._serve(scope, receive, gate.with_headers(send))
        except ClientDisconnect:
            pass  # whoever leaves in the middle of a body is nobody's fault

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
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
    """Report whether the database answers and the server stays; a yes is remembered for a moment."""
    state = request.app.state
    if state.is_draining:
        return JSONResponse({"status": "the server is about to stop"}, status_code=503)
    try:
        if time.monotonic() >= state.ready_until:
            async with state.sessions() as session:
                await session.execute(text("SELECT 1"))
            state.ready_until = time.monotonic() + READY_SECONDS
    except (DBAPIError, PoolTimeout, OSError):
        return JSONResponse({"status": "the database does not answer"}, status_code=503)
    return JSONResponse({"status": "ok"})
