"""Checks of settings before anything starts: what a value may be, and what a misspelt name meant."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

from services.core import database_urls
from services.core.errors import ConfigurationError

PREFIX = "COMMONWEAL_"
_TEST_PREFIX = "COMMONWEAL_TEST_"
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_CHOICES = {
    "introspection": ("on", "authenticated", "off"),
    "log_level": _LOG_LEVELS,
    "pooler": ("none", "transaction"),
    "worker": ("child", "inline", "none"),
}
_SHORTEST_DAYS = {
    "keep_mails_days": 2,
    "keep_idempotency_keys_days": 7,
    "keep_tokens_days": 1,
    "keep_jobs_days": 1,
    "keep_orphaned_files_days": 1,
}
"""What the database or the server still needs, whatever the settings say."""
_DATABASE = database_urls.SCHEMES
_SCHEMES = {
    "database_url": _DATABASE,
    "owner_database_url": _DATABASE,
    "smtp_url": ("smtp", "smtps"),
    "receipts_store": ("s3",),
    "public_url": ("https", "http"),
    "site_url": ("https", "http"),
    "fx_url": ("https", "http"),
    "stripe_api_url": ("https", "http"),
}
_STRIPE_KEYS = {
    "stripe_secret": ("sk_live_", "sk_test_", "rk_live_", "rk_test_"),
    "stripe_webhook_secret": ("whsec_",),
    "stripe_client_id": ("ca_",),
    "stripe_public_key": ("pk_live_", "pk_test_"),
}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MAX_PORT = 65_535


def require_known(names: Iterable[str], known: Collection[str]) -> None:
    """Require that each variable with our prefix is a setting: a misspelt one would have no effect.

    Raises:
        ConfigurationError: one is not; the message suggests the nearest setting.
    """
    for name in sorted(names):
        if name.startswith(PREFIX) and not name.startswith(_TEST_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            advice = f"did you mean {near[0]}?" if near else "docs/settings.md lists all settings."
            raise ConfigurationError(f"{name} is not a setting: {advice}")


def check_values(values: Mapping[str, Any]) -> None:
    """Require that values are possible, by name of the field.

    Raises:
        ConfigurationError: one is not; the message names the variable, the value and what is right.
    """
    for name, value in values.items():
        if name in _CHOICES and value not in _CHOICES[name]:
            *first, last = _CHOICES[name]
            _refuse(name, value, f"{', '.join(first)} or {last}")
        if name in _SCHEMES and value:
            _check_url(name, value)
        if name.startswith("link_") and value:
            _check_link(name, value)
        if name == "port" and not 0 <= value <= _MAX_PORT:
            _refuse(name, value, f"a port from 0 to {_MAX_PORT}")
        if isinstance(value, int) and value < 0:
            _refuse(name, value, "a number that is not negative")


def check_retention(values: Mapping[str, Any]) -> None:
    """Require that nothing is deleted that is still needed.

    Raises:
        ConfigurationError: a time is too short; the message names the variable and the shortest.
    """
    for name, shortest in _SHORTEST_DAYS.items():
        if values[name] < shortest:
            raise ConfigurationError(f"{PREFIX}{name.upper()} must be at least {shortest}")


def check_stripe(values: Mapping[str, Any]) -> None:
    """Require all keys of Stripe or none, each of its kind, and of one mode. No key is ever shown.

    Raises:
        ConfigurationError: a key is missing or wrong; the message names the variable.
    """
    if not any(values[name] for name in _STRIPE_KEYS):
        return
    for name, beginnings in _STRIPE_KEYS.items():
        if not values[name].startswith(beginnings):
            *first, last = beginnings
            listed = f"{', '.join(first)} or {last}" if first else last
            raise ConfigurationError(
                f"{PREFIX}{name.upper()} must begin with {listed}; Stripe needs all four keys"
            )
    if ("_live_" in values["stripe_secret"]) != ("_live_" in values["stripe_public_key"]):
        raise ConfigurationError(
            f"{PREFIX}STRIPE_SECRET and {PREFIX}STRIPE_PUBLIC_KEY must both be live or both be for tests"
        )


def _check_url(name: str, value: str) -> None:
    """Check a URL's scheme, host and port. It is never shown: it may hold a password.

    A database's URL may name no host: libpq takes it from a parameter, or the default.
    """
    schemes = _SCHEMES[name]
    is_database = schemes is _DATABASE
    right = f"a URL that begins with {schemes[0]}://"
    right += "; several hosts are a:5432,b:5432" if is_database else " and names a host"
    try:
        is_right = database_urls.parse(value) is not None if is_database else _is_url(value, schemes)
    except (ValueError, ConfigurationError):
        is_right = False
    if not is_right:
        raise ConfigurationError(f"{PREFIX}{name.upper()} must be {right}")


def _check_link(name: str, value: str) -> None:
    """Check the address of a page that mails lead to: the token in it is a key, so nobody may listen."""
    try:
        parts = urlsplit(value)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        is_right = is_safe and _is_url(value, ("https", "http")) and "{token}" not in parts.netloc
    except ValueError:
        is_right = False
    if not is_right or value.count("{token}") != 1 or "{" in value.replace("{token}", ""):
        _refuse(name, value, "https://… (http:// for localhost only) with {token} once in its path")


def _is_url(value: str, schemes: Collection[str]) -> bool:
    parts = urlsplit(value)
    return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0


def _refuse(name: str, value: object, right: str) -> NoReturn:
    raise ConfigurationError(f"{PREFIX}{name.upper()} must be {right}, not {str(value)!r}")
