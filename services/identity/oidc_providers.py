"""The OpenID providers of the settings: where people may sign in with another account, and with what."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from services.core.errors import ConfigurationError

_SETTING = "COMMONWEAL_OIDC_PROVIDERS"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_KEYS = frozenset({"name", "label", "issuer", "client_id", "client_secret"})
MAX_PROVIDERS = 20


@dataclass(frozen=True)
class Provider:
    """A provider, and this server's registration there."""

    name: str
    label: str
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    """Empty for a public client, which PKCE alone protects."""


@dataclass(frozen=True)
class Claims:
    """What a provider says of a person."""

    issuer: str
    subject: str
    name: str
    email: str | None
    is_email_verified: bool


@dataclass(frozen=True)
class CodeRequest:
    """The secrets of one sign-in: sent as hashes first, and proved when the code is redeemed."""

    redirect_uri: str
    nonce: str
    verifier: str


@lru_cache(maxsize=8)
def parse(text: str) -> tuple[Provider, ...]:
    """Parse the setting: a JSON list of objects with name, issuer, client_id, client_secret and label.

    Raises:
        ConfigurationError: it is none, or an entry is not valid; the message repeats no secret.
    """
    if not text.strip():
        return ()
    try:
        entries = json.loads(text)
    except ValueError:
        raise ConfigurationError(f"{_SETTING} must be a JSON list of providers") from None
    if not isinstance(entries, list) or len(entries) > MAX_PROVIDERS:
        raise ConfigurationError(f"{_SETTING} must be a JSON list of at most {MAX_PROVIDERS} providers")
    providers = tuple(_parse_entry(entry, number) for number, entry in enumerate(entries, 1))
    for key in ("name", "issuer"):
        values = [getattr(provider, key) for provider in providers]
        if len(set(values)) < len(values):
            raise ConfigurationError(f"{_SETTING}: two providers have the same {key}")
    return providers


def find(text: str, name: str) -> Provider | None:
    """Find a provider of the setting by its name."""
    return next((provider for provider in parse(text) if provider.name == name), None)


def _parse_entry(entry: object, number: int) -> Provider:
    place = f"{_SETTING}: provider {number}"
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise ConfigurationError(f"{place} must be an object of texts")
    values: Mapping[str, Any] = entry
    if unknown := sorted(set(values) - _KEYS):
        raise ConfigurationError(f"{place}: unknown key {unknown[0]!r}; known: {', '.join(sorted(_KEYS))}")
    name, issuer = values.get("name", ""), values.get("issuer", "")
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{place}: name must be of lower-case letters, digits and inner hyphens")
    if not is_safe_url(issuer) or urlsplit(issuer).query or urlsplit(issuer).fragment:
        raise ConfigurationError(f"{place}: issuer must be a URL that starts with https://")
    if not values.get("client_id"):
        raise ConfigurationError(f"{place}: client_id is missing")
    label = " ".join(values.get("label", "").split()) or name.capitalize()
    return Provider(name, label, issuer, values["client_id"], values.get("client_secret", ""))


def is_safe_url(url: str) -> bool:
    """True for an https URL, or an http URL of this machine, without user info."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or parts.username is not None or parts.password is not None or re.search(r"[\s\\]", url):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
