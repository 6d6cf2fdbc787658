"""Whom passkeys are made for: a domain, and the origins of its pages."""

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from services.core.settings import Settings

_DEFAULT_PORT = {"http": 80, "https": 443}


@dataclass(frozen=True)
class RelyingParty:
    """A domain and the origins whose pages may use its passkeys."""

    domain: str
    origins: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> "RelyingParty":
        """Return the installation's own: its public address, and pages of allowed origins in its domain.

        No browser makes passkeys for an IP address, so without a public address it is `localhost`.
        """
        url = urlsplit(settings.public_url or f"http://{settings.host}:{settings.port}")
        host = (url.hostname or "").lower()
        if not settings.public_url and (_is_ip(host) or not host):
            host = "localhost"
        is_default = url.port in {None, 0, _DEFAULT_PORT.get(url.scheme)}
        port = "" if is_default else f":{url.port}"
        domain = settings.passkey_domain.strip().lower() or host
        allowed = (entry.strip().rstrip("/") for entry in settings.allowed_origins.split(","))
        others = (entry for entry in allowed if entry and _is_in(urlsplit(entry).hostname or "", domain))
        return cls(domain, (f"{url.scheme}://{host}{port}", *others))


def _is_in(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
