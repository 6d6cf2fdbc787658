"""Public ids: a prefix that names the object type, and the row's UUID in base 32."""

import base64
import re
from itertools import product
from uuid import UUID

from services.core.errors import Invalid

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_DIGITS = ["".join(three) for three in product(_ALPHABET, repeat=3)]
"""Every group of three base-32 digits: encoding three at once is faster; a response has hundreds of ids."""
_LOW = len(_DIGITS) - 1
_WHOLE = re.compile("[A-Z2-7]{26}")
_TO_NUMBER = str.maketrans(_ALPHABET.upper(), "0123456789abcdefghijklmnopqrstuv")
"""To the digits that Python reads, which is faster than its own base 32."""
PREFIXES = {
    "Collective": "col",
    "Member": "mem",
    "Order": "ord",
    "Transaction": "txn",
    "Offer": "off",
    "Tier": "tie",
    "RecurringGift": "sub",
    "Invitation": "inv",
    "HostApplication": "app",
    "PaymentMethod": "pay",
    "PayoutMethod": "out",
    "AccessToken": "tok",
    "Session": "ses",
    "Passkey": "key",
    "LinkedIdentity": "idn",
    "Receipt": "rcp",
    "DataExport": "exp",
    "Group": "grp",
    "LedgerAccount": "acc",
    "Act": "act",
    "Job": "job",
}


def encode(object_type: str, row_id: UUID) -> str:
    """Return the public id of a row."""
    n = row_id.int << 7  # 128 bits and 7 zero bits make 27 digits, the last of them padding
    return (
        f"{PREFIXES[object_type]}_{_DIGITS[n >> 120]}{_DIGITS[n >> 105 & _LOW]}{_DIGITS[n >> 90 & _LOW]}"
        f"{_DIGITS[n >> 75 & _LOW]}{_DIGITS[n >> 60 & _LOW]}{_DIGITS[n >> 45 & _LOW]}"
        f"{_DIGITS[n >> 30 & _LOW]}{_DIGITS[n >> 15 & _LOW]}{_DIGITS[n & _LOW][:2]}"
    )


def decode(object_type: str, public_id: str, *, field: str) -> UUID:
    """Return the id of the row that a public id names.

    Raises:
        Invalid: the text is the id of another type, or not an id.
    """
    named_type = object_type_of(public_id)
    if named_type is None:
        raise Invalid(f"{_abbreviate(public_id)} is not an id.", field=field)
    if named_type != object_type:
        raise Invalid(
            f"{_abbreviate(public_id)} is the id of a {named_type}, not of a {object_type}.", field=field
        )
    return _decode_uuid(public_id, field)


def object_type_of(public_id: str) -> str | None:
    """Return the type named by the prefix of a public id, or None."""
    prefix = public_id.partition("_")[0]
    return next((object_type for object_type, known in PREFIXES.items() if known == prefix), None)


def _decode_uuid(public_id: str, field: str) -> UUID:
    text = public_id.partition("_")[2].upper()
    if _WHOLE.fullmatch(text):
        return UUID(int=int(text.translate(_TO_NUMBER), 32) >> 2)
    try:
        return UUID(bytes=base64.b32decode(text + "=" * (-len(text) % 8)))
    except ValueError:
        raise Invalid(f"{_abbreviate(public_id)} is not an id.", field=field) from None


def _abbreviate(public_id: str) -> str:
    return repr(public_id[:40])
