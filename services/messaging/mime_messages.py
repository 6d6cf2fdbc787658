"""Mails in their MIME form: headers, plain text and HTML."""

from email.headerregistry import Address
from email.message import EmailMessage
from urllib.parse import urlsplit

from models import Outbox, now
from models.enums import Locale
from services.core.languages import TAGS
from services.messaging import calendar_files, stops
from services.messaging.links import Links
from services.messaging.rendering import render

TEMPLATE_HEADER = "X-Commonweal-Template"


def build_message(mail: Outbox, links: Links, *, locale: Locale, stop_token: str | None) -> EmailMessage:
    """Build the mail in its reader's language, without its From header, which the sender adds."""
    stop_url = None if stop_token is None else links.to("stop", stop_token)
    rendered = render(mail.template, mail.payload, links=links, locale=locale, stop_url=stop_url)
    message = EmailMessage()
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
    # Quoted-printable is accepted by any mail server, with lines of any length.
    message.set_content(rendered.text, cte="quoted-printable")
    message.add_alternative(rendered.html, subtype="html", cte="quoted-printable")
    if "calendar" in mail.payload:
        entry = calendar_files.from_payload(mail.payload["calendar"])
        message.add_attachment(
            calendar_files.render([entry]).decode(), subtype="calendar", cte="base64", filename="event.ics"
        )
    message["Content-Language"] = TAGS[locale]  # last: making the parts drops such headers
    return message


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
