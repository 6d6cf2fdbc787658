"""Slugs: the public names of collectives in URLs."""

import re

from anyascii import anyascii

from services.core.errors import Invalid

RESERVED = frozenset(
    [
        "about",
        "account",
        "accounts",
        "admin",
        "api",
        "app",
        "apply",
        "archive",
        "assets",
        "auth",
        "blog",
        "collective",
        "collectives",
        "contact",
        "create",
        "dashboard",
        "deposit",
        "discover",
        "docs",
        "donate",
        "edit",
        "event",
        "events",
        "expense",
        "expenses",
        "faq",
        "favicon",
        "graphiql",
        "graphql",
        "healthz",
        "help",
        "home",
        "host",
        "hosts",
        "invite",
        "join",
        "legal",
        "login",
        "logout",
        "me",
        "member",
        "members",
        "metrics",
        "new",
        "nonprofit",
        "nonprofits",
        "null",
        "offer",
        "offers",
        "order",
        "orders",
        "pay",
        "pricing",
        "privacy",
        "readyz",
        "redeem",
        "register",
        "robots",
        "root",
        "search",
        "settings",
        "sign-in",
        "sign-out",
        "sign-up",
        "signin",
        "signout",
        "signup",
        "sitemap",
        "static",
        "status",
        "support",
        "system",
        "terms",
        "transaction",
        "transactions",
        "undefined",
        "update",
        "user",
        "users",
        "verify",
        "webhooks",
        "welcome",
        "www",
    ]
)
_FORM = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_HEX = re.compile(r"[0-9a-f]{6,}")
MIN_LENGTH, MAX_LENGTH = 2, 64


def check(slug: str, *, field: str) -> str:
    """Check a slug and return it.

    Raises:
        Invalid: the slug is reserved, or is not 2 to 64 characters of a-z, 0-9 and inner hyphens.
    """
    if not _FORM.fullmatch(slug) or not MIN_LENGTH <= len(slug) <= MAX_LENGTH:
        raise Invalid("Choose a slug of 2 to 64 characters: a-z, 0-9 and hyphens in between.", field=field)
    if slug in RESERVED:
        raise Invalid(f"The slug {slug!r} is reserved; choose another one.", field=field)
    return slug


def is_usable(slug: str) -> bool:
    """True if `check` accepts the slug."""
    return (
        _FORM.fullmatch(slug) is not None and MIN_LENGTH <= len(slug) <= MAX_LENGTH and slug not in RESERVED
    )


def derive(name: str) -> str:
    """Derive a plain slug from a name in any script; it may be reserved, too short or empty."""
    plain = anyascii(name).lower().replace("'", "")  # "Let's go" is lets-go, as readers expect
    return _shorten(re.sub(r"[^a-z0-9]+", "-", plain), MAX_LENGTH)


def suggest(name: str, *, suffix: str) -> str:
    """Derive a slug from a name; the suffix makes it unique."""
    return f"{_shorten(derive(name), MAX_LENGTH - len(suffix) - 1) or 'someone'}-{suffix}"


def _shorten(slug: str, length: int) -> str:
    return slug.strip("-")[:length].strip("-")


def is_suggested(slug: str, *, name: str) -> bool:
    """True if `suggest` derived the slug from the name, with a suffix of hexadecimal digits."""
    suffix = slug.rpartition("-")[2]
    return _HEX.fullmatch(suffix) is not None and slug == suggest(name, suffix=suffix)
