"""Public identifiers: a prefix that names the type, and the UUID in base 32."""

import base64
from itertools import product
from uuid import UUID

from services.core.errors import Invalid

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_DIGITS = ["".join(three) for three in product(_ALPHABET, repeat=3)]
"""Three digits of base 32 at once: an answer holds hundreds of ids."""
_LOW = len(_DIGITS) - 1
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
    n = row_id.int << 7  # 128 bits and 7 of nothing are 27 digits, the last of them padding
    return (
        f"{PREFIXES[kind]}_{_DIGITS[n >> 120]}{_DIGITS[n >> 105 & _LOW]}{_DIGITS[n >> 90 & _LOW]}"
        f"{_DIGITS[n >> 75 & _LOW]}{_DIGITS[n >> 60 & _LOW]}{_DIGITS[n >> 45 & _LOW]}"
        f"{_DIGITS[n >> 30 & _LOW]}{_DIGITS[n >> 15 & _LOW]}{_DIGITS[n & _LOW][:2]}"
    )


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
