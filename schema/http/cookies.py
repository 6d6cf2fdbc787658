"""The cookie that holds a browser's session: its name, and how it is read, set and cleared."""

from starlette.responses import Response

from models import now
from resolvers.session_cookie import SessionCookie
from schema.http.raw_request import Incoming
from services.core.settings import Settings

REQUEST_HEADER = "commonweal-cookie"
"""A request with this header asks for the session that it starts to be kept in the cookie."""


def given(request: Incoming) -> str | None:
    """Return the token in a request's cookie."""
    return request.cookies.get(_name(request.settings)) or None if "cookie" in request.headers else None


def put(response: Response, cookie: SessionCookie, settings: Settings) -> None:
    """Set the cookie to a session that was started."""
    assert cookie.token is not None and cookie.expires_at is not None
    seconds = int((cookie.expires_at - now()).total_seconds())
    response.set_cookie(
        _name(settings),
        cookie.token,
        max_age=seconds,
        path="/",
        secure=_is_secure(settings),
        httponly=True,
        samesite="strict",
    )


def clear(response: Response, settings: Settings) -> None:
    """Have the browser forget the cookie."""
    response.delete_cookie(
        _name(settings), path="/", secure=_is_secure(settings), httponly=True, samesite="strict"
    )


def _name(settings: Settings) -> str:
    # Browsers take `__Host-` only from the very host, by https, for all paths: no sibling host can set it.
    return "__Host-commonweal_session" if _is_secure(settings) else "commonweal_session"


def _is_secure(settings: Settings) -> bool:
    return settings.public_url.lower().startswith("https:")
