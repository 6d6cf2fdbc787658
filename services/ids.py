"""Public identifiers: a prefix that names the type, and the UUID in base 32."""

import base64
from uuid import UUID

from services.errors import Invalid

PREFIXES = {
    "Collective": "col",
    "Member": "mem",
    "Order": "ord",
    "Transaction": "txn",
    "Offer": "off",
    "Invitation": "inv",
    "HostApplication": "app",
    "PaymentMethod": "pay",
    "PayoutMethod": "out",
    "AccessToken": "tok",
    "Receipt": "rcp",
    "Group": "grp",
}


def encode(kind: str, row_id: UUID) -> str:
    """Return the public id of a row."""
    text = base64.b32encode(row_id.bytes).decode().rstrip("=").lower()
    return f"{PREFIXES[kind]}_{text}"


def decode(kind: str, public_id: str, *, path: list[str]) -> UUID:
    """Return the row's id.

    Raises:
        Invalid: it is the id of another type, or no id at all.
    """
    found = kind_of(public_id)
    if found is None:
        raise Invalid(f"{_shown(public_id)} is not an id", path=path)
    if found != kind:
        raise Invalid(f"{_shown(public_id)} is the id of a {found}, not of a {kind}", path=path)
    return _uuid(public_id, path)


def kind_of(public_id: str) -> str | None:
    """Return the type that the prefix names, or None."""
    prefix = public_id.partition("_")[0]
    return next((kind for kind, known in PREFIXES.items() if known == prefix), None)


def _uuid(public_id: str, path: list[str]) -> UUID:
    text = public_id.partition("_")[2].upper()
    try:
        return UUID(bytes=base64.b32decode(text + "=" * (-len(text) % 8)))
    except ValueError:
        raise Invalid(f"{_shown(public_id)} is not an id", path=path) from None


def _shown(public_id: str) -> str:
    return repr(public_id[:40])
