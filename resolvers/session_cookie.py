"""The browser's session cookie during one request: what an operation does to it."""

from dataclasses import dataclass
from datetime import datetime

from services.identity import devices


@dataclass(slots=True)
class SessionCookie:
    """Collects what the operation does to the cookie; the HTTP layer writes the header afterwards."""

    is_requested: bool = False
    """True if the request asks for its new session to be kept in the cookie."""
    old_token: str | None = None
    """The token that the cookie held."""
    token: str | None = None
    """The token of the session that the operation started."""
    expires_at: datetime | None = None
    has_ended: bool = False
    """True if the operation ended the caller's session."""
    old_device: str | None = None
    """The key of the browser's device cookie, if it is well formed."""
    device: str | None = None
    """The key to keep in the device cookie."""
    old_browser: str | None = None
    """The key that binds sign-ins under way to the browser, if its cookie holds one."""
    browser: str | None = None
    """The key to keep in that cookie."""

    def keep(self, token: str, expires_at: datetime) -> bool:
        """Keep a new session's token for the cookie if the request asks for it; return whether it does."""
        if self.is_requested:
            self.token, self.expires_at = token, expires_at
        return self.is_requested

    def keep_browser(self) -> str:
        """Keep the browser's key for sign-ins under way, or a new one, in its cookie."""
        self.browser = self.old_browser or devices.new_key()
        return self.browser

    def keep_device(self) -> str | None:
        """Keep the browser's key, or a new one, for its cookie; None if the request asks for no cookie."""
        if self.is_requested and self.device is None:
            self.device = self.old_device or devices.new_key()
        return self.device
