"""CORS: what pages of the allowed origins may request, and which responses they may read."""

from collections.abc import Collection
from http import HTTPStatus

import orjson
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from schema.http import cookies
from schema.http import request as http_request
from schema.http.authentication import ORIGIN_NOT_ALLOWED
from schema.observability import sql_trace

METHODS = {
    "/graphql": ("GET", "POST"),
    "/receipts": ("POST",),
    "/export/hours.csv": ("GET",),
    "/export/attendees.csv": ("GET",),
}
"""Methods by path. All other paths are for the server's own pages only."""
RECEIPT_PREFIX = "/receipts/"
ALLOWED_HEADERS = (
    "Authorization",
    "If-None-Match",
    "traceparent",
    "tracestate",
    "X-Request-Id",
    http_request.PREFLIGHT_HEADER,
    cookies.REQUEST_HEADER,
    sql_trace.REQUEST_HEADER,
    http_request.COST_HEADER,
)
EXPOSED_HEADERS = (
    "Content-Disposition",
    "ETag",
    "Location",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "RateLimit-Policy",
    "RateLimit",
    "Retry-After",
    "X-Request-Id",
    "X-Trace-Id",
)
MAX_AGE_SECONDS = 3600


class Cors:
    """Answer preflight requests, and let pages of the allowed origins read responses."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        """Wrap the application for these origins."""
        self._app = app
        self._by_path = {path: _PathCors(app, origins, methods) for path, methods in METHODS.items()}
        self._receipt = _PathCors(app, origins, ("GET",))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with the CORS rules of its path."""
        path = scope.get("path", "")
        by_path = self._receipt if path.startswith(RECEIPT_PREFIX) else self._by_path.get(path, self._app)
        await by_path(scope, receive, send)


class _PathCors(CORSMiddleware):
    def __init__(self, app: ASGIApp, origins: Collection[str], methods: Collection[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=methods,
            allow_headers=ALLOWED_HEADERS,
            allow_credentials=True,
            expose_headers=EXPOSED_HEADERS,
            max_age=MAX_AGE_SECONDS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code == HTTPStatus.OK:
            return Response(status_code=204, headers=_headers_without_body(response))
        message = "Pages of this origin may not send this request, or not with these headers"
        body = {"errors": [{"message": message, "extensions": {"code": ORIGIN_NOT_ALLOWED}}]}
        return Response(
            orjson.dumps(body), 403, media_type="application/json", headers={"Vary": response.headers["vary"]}
        )


def _headers_without_body(response: Response) -> dict[str, str]:
    return {k: v for k, v in response.headers.items() if k not in {"content-length", "content-type"}}
