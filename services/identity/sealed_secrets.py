"""Secrets at rest: encrypted with the installation's key, bound to the user whose they are."""

import hashlib
import secrets
from collections.abc import Sequence
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.core.errors import Unavailable

_PLAIN, _AES_GCM = b"\0", b"\1"
_NONCE_BYTES = 12


def seal(secret: bytes, *, user_id: UUID, keys: Sequence[str]) -> bytes:
    """Encrypt a secret with the first key; without a key it is kept as it is."""
    if not keys:
        return _PLAIN + secret
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return _AES_GCM + nonce + _cipher(keys[0]).encrypt(nonce, secret, user_id.bytes)


def open_sealed(sealed: bytes, *, user_id: UUID, keys: Sequence[str]) -> bytes:
    """Decrypt a user's secret with the key that fits.

    Raises:
        Unavailable: none does: the installation has lost its key, or the secret is another user's.
    """
    form, rest = sealed[:1], sealed[1:]
    if form == _PLAIN:
        return rest
    for key in keys:
        try:
            return _cipher(key).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], user_id.bytes)
        except InvalidTag:
            continue
    raise Unavailable("Authenticator apps cannot be checked at present. Use a recovery code.")


def _cipher(key: str) -> AESGCM:
    return AESGCM(hashlib.sha256(key.encode()).digest())
