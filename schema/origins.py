"""Whose pages may connect with a browser's own means: websockets are not kept apart by origin otherwise."""

from urllib.parse import urlsplit

from services.settings import Settings


def is_allowed(origin: str | None, *, host: str, settings: Settings) -> bool:
    """Tell whether a page of this origin may connect; who names none is no browser.

    Allowed are the server's own pages and those of COMMONWEAL_ALLOWED_ORIGINS.
    """
    if origin is None:
        return True
    given = origin.strip().lower()
    if given in {known.strip().lower().rstrip("/") for known in settings.allowed_origins.split(",")} - {""}:
        return True
    parts = urlsplit(given)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        return False
    own = urlsplit(settings.public_url.lower())
    return parts.netloc == host.strip().lower() or (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
