"""Who asks over HTTP: by a bearer token, or by a browser's cookie from a page that may use it."""

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection
from starlette.responses import Response

from schema import cookies, origins
from schema.http_request import BadRequest, bearer
from services import actors
from services.actors import Actor
from services.errors import ErrorCode, Problem
from services.settings import Settings

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


def find(connection: HTTPConnection) -> Found:
    """Return the token of a request or a WebSocket; the header, which a program sets, before the cookie.

    Raises:
        BadRequest: 401 for another scheme, or no token after it; 403 for a cookie, or the wish for one, from
            a page of another origin.
    """
    header = connection.headers.get("authorization")
    settings: Settings = connection.app.state.settings
    if cookies.WISH in connection.headers:
        _require_origin(connection, settings)
    if header is not None:
        return Found(bearer(header))
    if (kept := cookies.given(connection, settings)) is None:
        return Found()
    _require_origin(connection, settings)
    return Found(kept, is_cookie=True)


def _require_origin(connection: HTTPConnection, settings: Settings) -> None:
    """Refuse what a page of an origin that is not allowed makes a browser send with its cookie."""
    origin = connection.headers.get("origin")
    # Without an Origin it is a GET, or no browser; of a GET, browsers say whose page it is by another header.
    is_own = origin is not None or connection.headers.get("sec-fetch-site", "none").lower() in _OWN
    host = connection.headers.get("host", "")
    if is_own and origins.allowed(settings, origin=origin, host=host, scheme=connection.url.scheme):
        return
    raise BadRequest(403, "The browser's session does not count for pages of this origin", ORIGIN_NOT_ALLOWED)


async def actor_of(connection: HTTPConnection, session: AsyncSession) -> Actor:
    """Return who asks, or nobody.

    Raises:
        BadRequest: as `find`.
        Unauthenticated: the token is not good any more.
    """
    found = find(connection)
    return actors.ANONYMOUS if found.token is None else await actors.load(session, token=found.token)


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
        forget(connection, answer)
    return answer


def forget(connection: HTTPConnection, answer: Response) -> None:
    """Clear the cookie of a request whose token was not good, if the token stood there."""
    settings = connection.app.state.settings
    if "authorization" not in connection.headers and cookies.given(connection, settings) is not None:
        cookies.clear(answer, settings)
