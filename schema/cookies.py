"""The cookie of a browser's session: its name, and what an operation does to it."""

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from models import now
from schema.incoming import Incoming
from services.settings import Settings

WISH = "commonweal-cookie"
"""A request with a header of this name has the session that it starts kept in the cookie."""


@dataclass
class Jar:
    """What becomes of the cookie in the course of one request."""

    is_wished: bool = False
    token: str | None = None
    """Of a session that was started."""
    expires_at: datetime | None = None
    has_ended: bool = False
    """Whether the session that asks was ended."""


# Filled by mutations deep inside an operation, emptied where the answer gets its headers: nothing between
# has to know of it.
jar: ContextVar[Jar | None] = ContextVar("jar", default=None)


def keep(token: str, expires_at: datetime) -> bool:
    """Keep a new session's token for the cookie, where the request wishes it; return whether it does."""
    held = jar.get()
    if held is None or not held.is_wished:
        return False
    held.token, held.expires_at = token, expires_at
    return True


def end() -> None:
    """Note that the session that asks was ended."""
    if (held := jar.get()) is not None:
        held.has_ended = True


def given(request: Incoming) -> str | None:
    """Return the token in a request's cookie."""
    return request.cookies.get(_name(request.settings)) or None if "cookie" in request.headers else None


def put(response: Response, held: Jar, settings: Settings) -> None:
    """Set the cookie to a session that was started."""
    assert held.token is not None and held.expires_at is not None  # noqa: S101, PT018 - set together
    seconds = int((held.expires_at - now()).total_seconds())
    response.set_cookie(
        _name(settings), held.token, max_age=seconds, path="/", secure=_is_secure(settings), httponly=True,
        samesite="strict",
    )  # fmt: skip


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
