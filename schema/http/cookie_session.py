"""The session of a GraphQL request, and the changes its result makes to the browser's cookie."""

from dataclasses import dataclass

from starlette.responses import Response

from resolvers.session_cookie import SessionCookie
from schema.execution.unit_of_work import OperationResult
from schema.http import authentication, cookies
from schema.http.raw_request import RawRequest
from services.core.errors import ErrorCode


@dataclass(slots=True)
class CookieSession:
    """The credentials of one request, and its session cookie."""

    request: RawRequest
    credentials: authentication.Credentials
    cookie: SessionCookie

    def should_retry_anonymously(self, result: OperationResult) -> bool:
        """Return True, and clear the cookie, if an expired cookie blocked a request for a new session.

        Nothing ran; the retry spares the user a second sign-in.
        """
        if not (self.credentials.is_cookie and self.cookie.is_requested and _is_unauthenticated(result)):
            return False
        self.cookie.has_ended = True
        return True

    def write_cookie(self, response: Response, result: OperationResult) -> None:
        """Set or clear the cookie on the response, unless the operation was rolled back."""
        if result.body.get("data") is None:
            if _is_unauthenticated(result):
                authentication.clear_stale_cookie(self.request, response)
        elif self.cookie.token is not None:
            cookies.set_token(response, self.cookie, self.request.settings)
            cookies.set_device(response, self.cookie, self.request.settings)
        elif self.cookie.has_ended and self.credentials.is_cookie:
            cookies.clear(response, self.request.settings)
        if result.body.get("data") is not None and self.cookie.browser is not None:
            cookies.set_browser(response, self.cookie, self.request.settings)


def begin(request: RawRequest) -> CookieSession:
    """Read the credentials of a request, and whether it wants its new session in the cookie.

    Raises:
        BadRequest: as `authentication.credentials_of`.
    """
    return CookieSession(
        request,
        authentication.credentials_of(request),
        read_cookies(request, is_requested=cookies.REQUEST_HEADER in request.headers),
    )


def read_cookies(request: RawRequest, *, is_requested: bool) -> SessionCookie:
    """Read the cookies of a request whose new session is kept in a cookie if that is requested."""
    return SessionCookie(
        is_requested=is_requested,
        old_token=cookies.read_token(request),
        old_device=cookies.read_device(request),
        old_browser=cookies.read_browser(request),
    )


def _is_unauthenticated(result: OperationResult) -> bool:
    errors = result.body.get("errors", [])
    is_refused = any(e.get("extensions", {}).get("code") == ErrorCode.UNAUTHENTICATED for e in errors)
    return is_refused and "data" not in result.body
