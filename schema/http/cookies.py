"""The cookie that holds a browser's session: read, set and clear it."""

from starlette.responses import Response

from models import now
from resolvers.session_cookie import SessionCookie
from schema.http.raw_request import RawRequest
from services.core.settings import Settings

REQUEST_HEADER = "commonweal-cookie"
"""A request with this header asks that the session it starts be kept in the cookie."""


def read_token(request: RawRequest) -> str | None:
    """Return the token in a request's cookie, if there is one."""
    return request.cookies.get(_name(request.settings)) or None if "cookie" in request.headers else None


def set_token(response: Response, cookie: SessionCookie, settings: Settings) -> None:
    """Set the cookie to the token of a new session."""
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
    """Tell the browser to delete the cookie."""
    response.delete_cookie(
        _name(settings), path="/", secure=_is_secure(settings), httponly=True, samesite="strict"
    )


def _name(settings: Settings) -> str:
    # Browsers accept `__Host-` only over HTTPS, from this very host and for all paths: no sibling can set it.
    return "__Host-commonweal_session" if _is_secure(settings) else "commonweal_session"


def _is_secure(settings: Settings) -> bool:
    return settings.public_url.lower().startswith("https:")
