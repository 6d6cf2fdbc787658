"""The browser's session cookie during one request: what an operation does to it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(slots=True)
class SessionCookie:
    """Collects what the operation does to the cookie; the HTTP layer writes the header afterwards."""

    is_requested: bool = False
    """True if the request asks for its new session to be kept in the cookie."""
    token: str | None = None
    """The token of the session that the operation started."""
    expires_at: datetime | None = None
    has_ended: bool = False
    """True if the operation ended the caller's session."""

    def keep(self, token: str, expires_at: datetime) -> bool:
        """Keep a new session's token for the cookie if the request asks for it; return whether it does."""
        if self.is_requested:
            self.token, self.expires_at = token, expires_at
        return self.is_requested
