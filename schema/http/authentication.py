"""Authentication over HTTP: a bearer token, or a browser's cookie sent from an allowed page."""

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection
from starlette.responses import Response

from schema.http import cookies, origins
from schema.http.raw_request import RawRequest, from_scope
from schema.http.request import BadRequest, parse_bearer
from services.access import actor
from services.access.actor import Actor
from services.access.rate_limits import InsufficientPoints
from services.core import tracing
from services.core.errors import ErrorCode, Problem

ORIGIN_NOT_ALLOWED = "ORIGIN_NOT_ALLOWED"
STATUS_BY_CODE = {
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.UNAVAILABLE: 503,
}
"""HTTP status of a file request by its problem; 400 for any other code."""
RETRY_SECONDS = 5
OWN_SITES = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site of what the person or a page of ours asks for."""


@dataclass(frozen=True)
class Credentials:
    """The token of a request, and whether it came in the cookie."""

    token: str | None = None
    is_cookie: bool = False


_NO_CREDENTIALS = Credentials()


def credentials_of(request: RawRequest) -> Credentials:
    """Return the token of a request or websocket; the Authorization header takes precedence over the cookie.

    Raises:
        BadRequest: 401 for another scheme or a missing token; 403 if a page of another origin sends the
            cookie, or asks for one.
    """
    header = request.headers.get("authorization")
    if cookies.REQUEST_HEADER in request.headers:
        _require_origin(request)
    if header is not None:
        return Credentials(parse_bearer(header))
    if (token := cookies.read_token(request)) is None:
        return _NO_CREDENTIALS
    _require_origin(request)
    return Credentials(token, is_cookie=True)


def _require_origin(request: RawRequest) -> None:
    """Require that the page that made the browser send this request is of an allowed origin.

    Raises:
        BadRequest: 403.
    """
    headers, settings = request.headers, request.settings
    origin = headers.get("origin")
    # Browsers leave Origin out of a GET, but name the site in Sec-Fetch-Site; programs send neither.
    may_be_own = origin is not None or headers.get("sec-fetch-site", "none").lower() in OWN_SITES
    host = headers.get("host", "")
    if may_be_own and origins.is_allowed(settings, origin=origin, host=host, scheme=request.scheme):
        return
    raise BadRequest(403, "Pages of this origin may not use the browser's session", ORIGIN_NOT_ALLOWED)


async def load_actor(connection: HTTPConnection, session: AsyncSession) -> Actor:
    """Load the actor of a request, or return the anonymous one.

    Raises:
        BadRequest: as `credentials_of`.
        Unauthenticated: the token is no longer valid.
    """
    token = credentials_of(from_scope(connection.scope)).token
    return actor.ANONYMOUS if token is None else await actor.load(session, token=token)


def problem_response(
    connection: HTTPConnection, problem: Problem | BadRequest, *, status: int | None = None
) -> Response:
    """Return a file request's error in GraphQL's form; clear a cookie that is no longer valid."""
    tracing.note_code(problem.code)
    extensions: dict[str, Any] = {"code": problem.code}
    if isinstance(problem, Problem) and problem.path:
        extensions["path"] = list(problem.path)
    default_status = (
        problem.status if isinstance(problem, BadRequest) else STATUS_BY_CODE.get(problem.code, 400)
    )
    body = {"errors": [{"message": problem.message, "extensions": extensions}]}
    response = Response(orjson.dumps(body), status or default_status, media_type="application/json")
    if isinstance(problem, InsufficientPoints):
        response.headers["Retry-After"] = str(problem.retry_after_seconds)
    if response.status_code == STATUS_BY_CODE[ErrorCode.UNAVAILABLE]:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    if response.status_code == STATUS_BY_CODE[ErrorCode.UNAUTHENTICATED]:
        clear_stale_cookie(from_scope(connection.scope), response)
    return response


def clear_stale_cookie(request: RawRequest, response: Response) -> None:
    """Clear the cookie of a request whose token was invalid, if the token came in the cookie."""
    if "authorization" not in request.headers and cookies.read_token(request) is not None:
        cookies.clear(response, request.settings)
