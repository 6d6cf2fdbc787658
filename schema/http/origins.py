"""The origins whose pages may act as the browser's user: our own, and those of an allow list."""

import re
from functools import lru_cache
from urllib.parse import urlsplit

from services.core.errors import ConfigurationError
from services.core.settings import Settings

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
_DEFAULT_PORT = {"http": ":80", "https": ":443"}


def is_allowed(settings: Settings, *, origin: str | None, host: str, scheme: str) -> bool:
    """Return True if a request with this `Origin`, host and scheme (http or ws) comes from such a page.

    A request without `Origin` is no other site's: programs send none, nor do browsers to the page's own host.
    """
    if origin is None:
        return True
    # A proxy in front may terminate TLS; browsers then see the public address.
    own_origins = {
        _normalize(f"{scheme.replace('ws', 'http')}://{host}"),
        _public_origin(settings.public_url),
    }
    return origin in own_origins or origin in parse_origins(settings.allowed_origins)


@lru_cache(maxsize=16)
def parse_origins(text: str) -> frozenset[str]:
    """Parse a comma-separated list of origins.

    Raises:
        ConfigurationError: an entry is no origin; `*` and `null` are not allowed.
    """
    origins = [part for entry in text.split(",") if (part := entry.strip().lower().removesuffix("/"))]
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ConfigurationError(
                f"COMMONWEAL_ALLOWED_ORIGINS: {origin!r} is not an origin such as https://app.example.org"
            )
    return frozenset(_normalize(origin) for origin in origins)


@lru_cache(maxsize=16)
def _public_origin(url: str) -> str:
    parts = urlsplit(url)
    return _normalize(f"{parts.scheme}://{parts.netloc}")


def _normalize(origin: str) -> str:
    """Return an origin as browsers send it: in lower case, without its scheme's default port."""
    lower = origin.lower()
    return lower.removesuffix(_DEFAULT_PORT.get(lower.partition(":")[0], ""))
