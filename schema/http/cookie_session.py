"""How a GraphQL request is signed in, and what its answer does to the browser's cookie."""

from dataclasses import dataclass

from starlette.responses import Response

from resolvers.session_cookie import SessionCookie
from schema.execution.unit_of_work import Answer
from schema.http import authentication, cookies
from schema.http.raw_request import Incoming
from services.core.errors import ErrorCode


@dataclass(slots=True)
class Signing:
    """The sign-in of one request."""

    request: Incoming
    found: authentication.Found
    cookie: SessionCookie

    def is_to_ask_again(self, answer: Answer) -> bool:
        """Whether an old cookie stood in the way of a request that wishes a new one: then it is cleared.

        Nothing ran; nobody has to sign in twice.
        """
        if not (self.found.is_cookie and self.cookie.is_requested and _is_unauthenticated(answer)):
            return False
        self.cookie.has_ended = True
        return True

    def settle(self, response: Response, answer: Answer) -> None:
        """Write on the response what the operation did to the cookie, if anything that it did was kept."""
        if answer.body.get("data") is None:
            if _is_unauthenticated(answer):
                authentication.forget(self.request, response)
        elif self.cookie.token is not None:
            cookies.put(response, self.cookie, self.request.settings)
        elif self.cookie.has_ended and self.found.is_cookie:
            cookies.clear(response, self.request.settings)


def begin(request: Incoming) -> Signing:
    """Find out who asks, and whether the session that this starts goes into the cookie.

    Raises:
        BadRequest: as `http_actor.find`.
    """
    cookie = SessionCookie(is_requested=cookies.REQUEST_HEADER in request.headers)
    return Signing(request, authentication.find(request), cookie)


def _is_unauthenticated(answer: Answer) -> bool:
    errors = answer.body.get("errors", [])
    is_refused = any(e.get("extensions", {}).get("code") == ErrorCode.UNAUTHENTICATED for e in errors)
    return is_refused and "data" not in answer.body
