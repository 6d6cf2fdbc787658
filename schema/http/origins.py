"""Whose pages may act as the user of the browser that shows them: our own, and those of an allow list."""

import re
from functools import lru_cache
from urllib.parse import urlsplit

from services.core.errors import ConfigurationError
from services.core.settings import Settings

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
_DEFAULT_PORT = {"http": ":80", "https": ":443"}


def allowed(settings: Settings, *, origin: str | None, host: str, scheme: str) -> bool:
    """Whether a request with this `Origin`, to this host by this scheme (http or ws), is of such a page.

    Without an `Origin` it is not of another page: programs send none, nor do browsers to a page's own server.
    """
    if origin is None:
        return True
    # What stands before the server may speak TLS to browsers: then the public address is what they see.
    ours = {_plain(f"{scheme.replace('ws', 'http')}://{host}"), _public(settings.public_url)}
    return origin in ours or origin in listed(settings.allowed_origins)


@lru_cache(maxsize=16)
def listed(text: str) -> frozenset[str]:
    """Return the origins of a list with commas.

    Raises:
        ConfigurationError: one of them is no origin; `*` and `null` are none.
    """
    given = [part for entry in text.split(",") if (part := entry.strip().lower().removesuffix("/"))]
    for origin in given:
        if not _ORIGIN.fullmatch(origin):
            raise ConfigurationError(
                f"COMMONWEAL_ALLOWED_ORIGINS: {origin!r} is no origin, as https://app.example.org"
            )
    return frozenset(_plain(origin) for origin in given)


@lru_cache(maxsize=16)
def _public(url: str) -> str:
    parts = urlsplit(url)
    return _plain(f"{parts.scheme}://{parts.netloc}")


def _plain(origin: str) -> str:
    """Return an origin as browsers write it: in lower case, without the port that its scheme implies."""
    lower = origin.lower()
    return lower.removesuffix(_DEFAULT_PORT.get(lower.partition(":")[0], ""))
