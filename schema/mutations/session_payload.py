"""The fields of a payload whose mutation signs in."""

from typing import Any

from resolvers import identity as resolve
from resolvers.context import Info
from schema.types.factors import SignInChallenge
from schema.types.identity import Session
from services.identity.sessions import NewSession

CHALLENGE = "The second step of the sign-in if the account has a second factor. Null if you are signed in."


async def to_session_payload(info: Info, started: NewSession) -> dict[str, Any]:
    """Return the fields of a payload; the token is left out if a cookie keeps it."""
    if started.challenge is not None:
        return {"challenge": SignInChallenge.of(started.challenge)}
    is_in_cookie = await resolve.keep_session(info, started)
    token = "" if is_in_cookie else started.token
    return {"user": started.user, "session": Session(token=token, expires_at=started.expires_at)}
