"""Addresses of web pages and pictures that people enter: http and https alone, in one spelling."""

import re
from urllib.parse import urlsplit, urlunsplit

from services.core import user_text
from services.core.errors import Invalid

MAX_LENGTH = 2_000
_SCHEMES = {"http", "https"}
_HOST = re.compile(r"[^\W_](?:[\w-]*[^\W_])?(?:\.[^\W_](?:[\w-]*[^\W_])?)*\.?|\[[0-9a-f:.]+\]")


def clean_url(text: str | None, *, field: str) -> str | None:
    """Return a URL with its scheme and host in lower case; None for an empty one.

    Raises:
        Invalid: it is no http or https URL, contains white space, or a user name.
    """
    cleaned = user_text.clean_text(text, field=field, max_length=MAX_LENGTH)
    if not cleaned:
        return None
    try:
        parts = urlsplit(cleaned)
        has_port = parts.port is not None
    except ValueError:
        raise _refused(field) from None
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    is_plain = not any(c.isspace() or c in '<>"\\' for c in cleaned)
    if parts.scheme not in _SCHEMES or "@" in parts.netloc or not is_plain or not _HOST.fullmatch(host):
        raise _refused(field)
    place = f"{host}:{parts.port}" if has_port else host
    return urlunsplit((parts.scheme, place, parts.path, parts.query, parts.fragment))


def _refused(field: str) -> Invalid:
    return Invalid("Enter an address that begins with https://, such as https://example.org.", field=field)
