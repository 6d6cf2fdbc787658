"""Mails in their MIME form: headers, plain text and HTML."""

import binascii
from email.headerregistry import Address, HeaderRegistry
from email.message import EmailMessage
from email.policy import default
from functools import cache, lru_cache
from typing import Any
from urllib.parse import urlsplit

from models import Outbox, now
from models.enums import Locale
from services.core.languages import TAGS
from services.messaging import calendar_files, stops
from services.messaging.links import Links
from services.messaging.rendering import render

TEMPLATE_HEADER = "X-Commonweal-Template"
_SAME_IN_MANY = frozenset(
    {
        "auto-submitted",
        "content-language",
        "content-transfer-encoding",
        "content-type",
        "list-unsubscribe-post",
        "mime-version",
        TEMPLATE_HEADER.lower(),
    }
)


class _Headers(HeaderRegistry):
    """Makes the class of each header once, not for each mail."""

    def __init__(self) -> None:
        super().__init__()
        self._class_of = cache(super().__getitem__)
        self._header_of = lru_cache(maxsize=500)(super().__call__)

    def __getitem__(self, name: str) -> Any:
        return self._class_of(name.lower())

    def __call__(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and name.lower() in _SAME_IN_MANY:
            return self._header_of(name, value)
        return super().__call__(name, value)


_POLICY = default.clone(header_factory=_Headers())


def build_message(mail: Outbox, links: Links, *, locale: Locale, stop_token: str | None) -> EmailMessage:
    """Build the mail in its reader's language, without its From header, which the sender adds."""
    stop_url = None if stop_token is None else links.to("stop", stop_token)
    rendered = render(mail.template, mail.payload, links=links, locale=locale, stop_url=stop_url)
    message = EmailMessage(_POLICY)
    message["To"] = _parse_recipient(mail.recipient)
    message["Subject"] = rendered.subject
    message["Date"] = now()
    host = (urlsplit(links.public_url).hostname or "localhost").replace(":", ".")  # colons: IPv6
    message["Message-ID"] = f"<{mail.id}@{host}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic replies
    message[TEMPLATE_HEADER] = mail.template
    if stop_token is not None:
        # A mail program's one click goes to this server, also if the link leads to another site.
        url = stops.stop_url(links.public_url, stop_token)
        message["List-Unsubscribe"] = f"<{url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"  # RFC 8058
    message["MIME-Version"] = "1.0"
    message["Content-Type"] = "multipart/alternative"
    message.attach(_build_part("plain", rendered.text))
    message.attach(_build_part("html", rendered.html))
    if "calendar" in mail.payload:
        entry = calendar_files.from_payload(mail.payload["calendar"])
        message.add_attachment(
            calendar_files.render([entry]).decode(), subtype="calendar", cte="base64", filename="event.ics"
        )
    message["Content-Language"] = TAGS[locale]  # last: making the parts drops such headers
    return message


def _build_part(subtype: str, text: str) -> EmailMessage:
    """Build a text in quoted-printable, which any mail server accepts, with lines of any length.

    `set_content` writes the same in Python, one character at a time.
    """
    part = EmailMessage(_POLICY)
    part["Content-Type"] = f'text/{subtype}; charset="utf-8"'
    part["Content-Transfer-Encoding"] = "quoted-printable"
    part.set_payload(binascii.b2a_qp(text.encode(), istext=True).decode("ascii"))
    return part


def read_text(message: EmailMessage) -> str:
    """Return a mail's plain text."""
    part = message.get_body(("plain",))
    assert part is not None
    text: str = part.get_content()
    return text


def _parse_recipient(recipient: str) -> Address:
    """Parse exactly one address: a comma or bracket in the name must not add a recipient."""
    name, _, domain = recipient.rpartition("@")
    return Address(username=name, domain=Address(addr_spec=f"x@{domain}").domain)
