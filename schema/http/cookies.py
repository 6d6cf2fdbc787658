"""The cookies of a browser: its session, the device it is known by, and a sign-in under way."""

from typing import Literal

from starlette.responses import Response

from models import now
from resolvers.session_cookie import SessionCookie
from schema.http.raw_request import RawRequest
from services.core.settings import Settings
from services.identity import devices
from services.identity.provider_sign_ins import VALID_FOR

REQUEST_HEADER = "commonweal-cookie"
"""A request with this header asks that the session it starts be kept in the cookie."""
DEVICE_SECONDS = 400 * 86_400
"""The longest time for which browsers keep a cookie."""
BROWSER_SECONDS = int(VALID_FOR.total_seconds())


_SESSION, _DEVICE, _BROWSER = "commonweal_session", "commonweal_device", "commonweal_sign_in"


def read_token(request: RawRequest) -> str | None:
    """Return the token in a request's cookie, if there is one."""
    return _read(request, _SESSION) or None


def set_token(response: Response, cookie: SessionCookie, settings: Settings) -> None:
    """Set the cookie to the token of a new session."""
    assert cookie.token is not None and cookie.expires_at is not None
    seconds = int((cookie.expires_at - now()).total_seconds())
    _set(response, settings, _SESSION, cookie.token, seconds=seconds, same_site="strict")


def read_device(request: RawRequest) -> str | None:
    """Return the key in a request's device cookie, if it is well formed."""
    return _read_key(request, _DEVICE)


def set_device(response: Response, cookie: SessionCookie, settings: Settings) -> None:
    """Keep the browser's key for as long as browsers keep a cookie.

    It signs nobody in, so it may come along when another page leads here, as a sign-in provider does.
    """
    if cookie.device is not None:
        _set(response, settings, _DEVICE, cookie.device, seconds=DEVICE_SECONDS, same_site="lax")


def read_browser(request: RawRequest) -> str | None:
    """Return the key that binds sign-ins under way to the browser, if its cookie is well formed."""
    return _read_key(request, _BROWSER)


def set_browser(response: Response, cookie: SessionCookie, settings: Settings) -> None:
    """Keep that key for as long as a sign-in may take; it has to come along from the provider's page."""
    if cookie.browser is not None:
        _set(response, settings, _BROWSER, cookie.browser, seconds=BROWSER_SECONDS, same_site="lax")


def clear(response: Response, settings: Settings) -> None:
    """Tell the browser to delete the session's cookie."""
    response.delete_cookie(
        host_name(settings, _SESSION), path="/", secure=is_secure(settings), httponly=True, samesite="strict"
    )


def _read(request: RawRequest, name: str) -> str | None:
    # Most requests have no cookie, and nothing is parsed for them.
    return request.cookies.get(host_name(request.settings, name)) if "cookie" in request.headers else None


def _read_key(request: RawRequest, name: str) -> str | None:
    key = _read(request, name)
    return key if devices.is_key(key) else None


def _set(
    response: Response,
    settings: Settings,
    name: str,
    value: str,
    *,
    seconds: int,
    same_site: Literal["lax", "strict"],
) -> None:
    response.set_cookie(
        host_name(settings, name),
        value,
        max_age=seconds,
        path="/",
        secure=is_secure(settings),
        httponly=True,
        samesite=same_site,
    )


def host_name(settings: Settings, name: str) -> str:
    """Return the name of a cookie of this very host."""
    # Browsers accept `__Host-` only over HTTPS, from this very host and for all paths: no sibling can set it.
    return f"__Host-{name}" if is_secure(settings) else name


def is_secure(settings: Settings) -> bool:
    """True if browsers reach this server by HTTPS alone."""
    return settings.public_url.lower().startswith("https:")
