"""Passwords: length, hashing and verification."""

import asyncio
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.core.errors import Invalid

MIN_PASSWORD_LENGTH, MAX_PASSWORD_LENGTH = 8, 200
_hasher = PasswordHasher()
_hashing = asyncio.Semaphore(2)
DUMMY_HASH = _hasher.hash(secrets.token_urlsafe())
"""Verified when an address is unknown, so that the answer takes as long as for a known address."""


async def hash_password(password: str) -> str:
    """Hash with argon2id in a thread; at most two at once, because each takes 64 MiB."""
    async with _hashing:
        return await asyncio.to_thread(_hasher.hash, password)


async def verify_password(password_hash: str, password: str) -> bool:
    """True if a password matches a hash; False for an invalid hash, too."""
    async with _hashing:
        try:
            return await asyncio.to_thread(_hasher.verify, password_hash, password)
        except (VerificationError, InvalidHashError):
            return False


def require_password(password: str) -> str:
    """Return a password of an acceptable length.

    Raises:
        Invalid: it is too short or too long.
    """
    field = "password"
    if len(password) < MIN_PASSWORD_LENGTH or len(password) > MAX_PASSWORD_LENGTH:
        raise Invalid(
            f"Enter a password of {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters.", field=field
        )
    return password
