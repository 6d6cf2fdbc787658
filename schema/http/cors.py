"""What pages of the origins of the allow list may ask, and read of the answers (CORS)."""

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

METHODS = {"/graphql": ("GET", "POST"), "/receipts": ("POST",), "/export/hours.csv": ("GET",)}
"""Whatever else the server has is for its own pages alone."""
A_RECEIPT = "/receipts/"
HEADERS = (
    "Authorization",
    "If-None-Match",
    "X-Request-Id",
    http_request.PREFLIGHT,
    cookies.REQUEST_HEADER,
    sql_trace.WISH,
    http_request.TELL_COST,
)
EXPOSED = (
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
)
MAX_AGE_SECONDS = 3600


class Cors:
    """Answer the preflights of browsers, and let the pages of the allow list read answers."""

    def __init__(self, app: ASGIApp, listed: Collection[str]) -> None:
        """Stand before the application."""
        self._app = app
        self._by_path = {path: _Path(app, listed, methods) for path, methods in METHODS.items()}
        self._receipt = _Path(app, listed, ("GET",))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = scope.get("path", "")
        by_path = self._receipt if path.startswith(A_RECEIPT) else self._by_path.get(path, self._app)
        await by_path(scope, receive, send)


class _Path(CORSMiddleware):
    def __init__(self, app: ASGIApp, listed: Collection[str], methods: Collection[str]) -> None:
        super().__init__(
            app,
            allow_origins=listed,
            allow_methods=methods,
            allow_headers=HEADERS,
            allow_credentials=True,
            expose_headers=EXPOSED,
            max_age=MAX_AGE_SECONDS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code == HTTPStatus.OK:
            return Response(status_code=204, headers=_less_body(answer))
        message = "Pages of this origin may not ask this, or not with these headers"
        body = {"errors": [{"message": message, "extensions": {"code": ORIGIN_NOT_ALLOWED}}]}
        return Response(
            orjson.dumps(body), 403, media_type="application/json", headers={"Vary": answer.headers["vary"]}
        )


def _less_body(answer: Response) -> dict[str, str]:
    return {k: v for k, v in answer.headers.items() if k not in {"content-length", "content-type"}}
