"""Links in mails: to pages of this server, or to those of a site of the operator's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from services.core.settings import Settings

PAGES = ("verify", "reset", "confirm-email", "undo-email", "stop")
_PAGE_OF_TEMPLATE = {
    "password_reset": "reset",
    "email_change_undone": "reset",
    "email_change_confirm": "confirm-email",
    "email_changed": "undo-email",
}
LABELS = {
    "verify": "Confirm your address",
    "reset": "Choose a new password",
    "confirm-email": "Confirm the new address",
    "undo-email": "Take your account back",
}
"""What the link to a page says in an HTML mail."""


@dataclass(frozen=True)
class Links:
    """Where the links of mails lead."""

    public_url: str
    """Address of this server."""
    site_url: str = ""
    """Address of the site that people use; empty if it is this server's."""
    by_page: Mapping[str, str] = field(default_factory=dict)
    """Address by page of `PAGES`, with `{token}` in it; this server's page where it is missing."""

    @classmethod
    def of(cls, settings: Settings) -> "Links":
        """Return the links that the settings ask for."""
        by_page = {page: getattr(settings, f"link_{page.replace('-', '_')}") for page in PAGES}
        return cls(
            settings.public_url or f"http://{settings.host}:{settings.port}",
            settings.site_url,
            {page: link for page, link in by_page.items() if link},
        )

    @property
    def server(self) -> str:
        """This server's address, without a slash at its end."""
        return self.public_url.rstrip("/")

    @property
    def site(self) -> str:
        """The site's address, without a slash at its end."""
        return (self.site_url or self.public_url).rstrip("/")

    def to(self, page: str, token: str) -> str:
        """Return the address of a page for a token."""
        return self.by_page.get(page, self.server_page(page)).replace("{token}", quote(token, safe=""))

    def server_page(self, page: str) -> str:
        """Return the address of this server's page, with `{token}` in it."""
        return f"{self.server}/{page}?token={{token}}"


def find_page(template: str) -> str:
    """Return the page that takes the token of a template's mails."""
    return _PAGE_OF_TEMPLATE.get(template, "verify")
