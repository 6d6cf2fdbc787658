"""Who asks over HTTP: by a bearer token, or by a browser's cookie from a page that may use it."""

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection
from starlette.responses import Response

from schema.http import cookies, origins
from schema.http.raw_request import Incoming, through_asgi
from schema.http.request import BadRequest, bearer
from services.access import actor
from services.access.actor import Actor
from services.core.errors import ErrorCode, Problem

ORIGIN_NOT_ALLOWED = "ORIGIN_NOT_ALLOWED"
STATUS = {
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.RATE_LIMITED: 429,
}
"""What files over HTTP answer for a problem; 400 for any other."""
_OWN = frozenset({"same-origin", "none"})


@dataclass(frozen=True)
class Found:
    """The token of a request, and where it stood."""

    token: str | None = None
    is_cookie: bool = False


_NOBODY = Found()


def find(request: Incoming) -> Found:
    """Return the token of a request or a WebSocket; the header, which a program sets, before the cookie.

    Raises:
        BadRequest: 401 for another scheme, or no token after it; 403 for a cookie, or the wish for one, from
            a page of another origin.
    """
    header = request.headers.get("authorization")
    if cookies.REQUEST_HEADER in request.headers:
        _require_origin(request)
    if header is not None:
        return Found(bearer(header))
    if (kept := cookies.given(request)) is None:
        return _NOBODY
    _require_origin(request)
    return Found(kept, is_cookie=True)


def _require_origin(request: Incoming) -> None:
    """Refuse what a page of an origin that is not allowed makes a browser send with its cookie."""
    headers, settings = request.headers, request.settings
    origin = headers.get("origin")
    # Without an Origin it is a GET, or no browser; of a GET, browsers say whose page it is by another header.
    is_own = origin is not None or headers.get("sec-fetch-site", "none").lower() in _OWN
    host = headers.get("host", "")
    if is_own and origins.allowed(settings, origin=origin, host=host, scheme=request.scheme):
        return
    raise BadRequest(403, "The browser's session does not count for pages of this origin", ORIGIN_NOT_ALLOWED)


async def actor_of(connection: HTTPConnection, session: AsyncSession) -> Actor:
    """Return who asks, or nobody.

    Raises:
        BadRequest: as `find`.
        Unauthenticated: the token is not good any more.
    """
    found = find(through_asgi(connection.scope))
    return actor.ANONYMOUS if found.token is None else await actor.load(session, token=found.token)


def refused(
    connection: HTTPConnection, problem: Problem | BadRequest, *, status: int | None = None
) -> Response:
    """Say in GraphQL's form why there is no file; a cookie whose session is over is cleared."""
    extensions: dict[str, Any] = {"code": problem.code}
    if isinstance(problem, Problem) and problem.path:
        extensions["path"] = list(problem.path)
    known = problem.status if isinstance(problem, BadRequest) else STATUS.get(problem.code, 400)
    body = {"errors": [{"message": problem.message, "extensions": extensions}]}
    answer = Response(orjson.dumps(body), status or known, media_type="application/json")
    if answer.status_code == STATUS[ErrorCode.UNAUTHENTICATED]:
        forget(through_asgi(connection.scope), answer)
    return answer


def forget(request: Incoming, answer: Response) -> None:
    """Clear the cookie of a request whose token was not good, if the token stood there."""
    if "authorization" not in request.headers and cookies.given(request) is not None:
        cookies.clear(answer, request.settings)
