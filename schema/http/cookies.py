"""The cookie that holds a browser's session: read, set and clear it."""

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
        secure=is_secure(settings),
        httponly=True,
        samesite="strict",
    )


def read_device(request: RawRequest) -> str | None:
    """Return the key in a request's device cookie, if it is well formed."""
    key = request.cookies.get(_device_name(request.settings)) if "cookie" in request.headers else None
    return key if devices.is_key(key) else None


def set_device(response: Response, cookie: SessionCookie, settings: Settings) -> None:
    """Keep the browser's key for as long as browsers keep a cookie.

    It signs nobody in, so it may come along when another page leads here, as a sign-in provider does.
    """
    if cookie.device is not None:
        response.set_cookie(
            _device_name(settings),
            cookie.device,
            max_age=DEVICE_SECONDS,
            path="/",
            secure=is_secure(settings),
            httponly=True,
            samesite="lax",
        )


def read_browser(request: RawRequest) -> str | None:
    """Return the key that binds sign-ins under way to the browser, if its cookie is well formed."""
    key = request.cookies.get(_browser_name(request.settings)) if "cookie" in request.headers else None
    return key if devices.is_key(key) else None


def set_browser(response: Response, cookie: SessionCookie, settings: Settings) -> None:
    """Keep that key for as long as a sign-in may take; it has to come along from the provider's page."""
    if cookie.browser is not None:
        response.set_cookie(
            _browser_name(settings),
            cookie.browser,
            max_age=BROWSER_SECONDS,
            path="/",
            secure=is_secure(settings),
            httponly=True,
            samesite="lax",
        )


def clear(response: Response, settings: Settings) -> None:
    """Tell the browser to delete the cookie."""
    response.delete_cookie(
        _name(settings), path="/", secure=is_secure(settings), httponly=True, samesite="strict"
    )


def _browser_name(settings: Settings) -> str:
    return host_name(settings, "commonweal_sign_in")


def _device_name(settings: Settings) -> str:
    return host_name(settings, "commonweal_device")


def _name(settings: Settings) -> str:
    return host_name(settings, "commonweal_session")


def host_name(settings: Settings, name: str) -> str:
    """Return the name of a cookie of this very host."""
    # Browsers accept `__Host-` only over HTTPS, from this very host and for all paths: no sibling can set it.
    return f"__Host-{name}" if is_secure(settings) else name


def is_secure(settings: Settings) -> bool:
    """True if browsers reach this server by HTTPS alone."""
    return settings.public_url.lower().startswith("https:")
