"""Signatures of events: a time and an HMAC-SHA256 over it and the body, as Stripe writes them."""

import hashlib
import hmac
import time

from services.providers.protocol import Forged

TOLERANCE_SECONDS = 300
HEADER = "commonweal-signature"


def sign(body: bytes, *, key: bytes, at: float | None = None) -> str:
    """Return the header of a body that is sent now, or at `at`."""
    stamp = str(int(time.time() if at is None else at))
    return f"t={stamp},v1={_digest(body, stamp, key)}"


def verify(body: bytes, header: str, *, key: bytes) -> None:
    """Require a signature of this body that is at most five minutes old, or ahead.

    Raises:
        Forged: it is missing, wrong or old.
    """
    parts = [part.partition("=") for part in header.split(",")]
    stamp = next((value for name, _, value in parts if name.strip() == "t"), "")
    proofs = [value for name, _, value in parts if name.strip() == "v1"]
    if not stamp.isascii() or not stamp.isdecimal() or len(stamp) > len("9999999999"):
        raise Forged("The event has no signature.")
    expected = _digest(body, stamp, key)
    if not any(hmac.compare_digest(expected.encode(), proof.encode()) for proof in proofs):
        raise Forged("The signature of the event is wrong.")
    if abs(time.time() - int(stamp)) > TOLERANCE_SECONDS:
        raise Forged("The event is more than five minutes old.")


def _digest(body: bytes, stamp: str, key: bytes) -> str:
    return hmac.new(key, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
