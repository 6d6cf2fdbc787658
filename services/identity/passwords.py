"""Passwords: which are acceptable, and hashing beside the work of others."""

import asyncio
import os
import secrets
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.core.errors import Busy, Invalid

MIN_PASSWORD_LENGTH, MAX_PASSWORD_LENGTH = 8, 200
MAX_AT_ONCE = 2
"""Each takes 64 MiB and one core."""
MAX_WAITING = 8
"""More would wait longer than it takes to ask again."""
RETRY_AFTER_SECONDS = 2
T = TypeVar("T")


def _yield_to_others() -> None:
    """Lower the thread's priority, so that hashing takes the time that answering leaves."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, 10)  # of this thread alone


_hasher = PasswordHasher(parallelism=1)
_workers = ThreadPoolExecutor(MAX_AT_ONCE, thread_name_prefix="password", initializer=_yield_to_others)
_running: set[object] = set()
"""One for each password that is hashed or waits for it."""
DUMMY_HASH = _hasher.hash(secrets.token_urlsafe())
"""Verified when an address is unknown, so that the answer takes as long as for a known address."""


async def hash_password(password: str) -> str:
    """Hash with argon2id in a thread. Callers hold no database connection meanwhile.

    Raises:
        Busy: too many others wait.
    """
    return await _run(lambda: _hasher.hash(password))


async def verify_password(password_hash: str, password: str) -> bool:
    """True if a password matches a hash; False for an invalid hash, too.

    Raises:
        Busy: too many others wait.
    """

    def verify() -> bool:
        try:
            return _hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    return await _run(verify)


def require_idle() -> None:
    """Require that a password would be hashed at once.

    Raises:
        Busy: others come first.
    """
    if len(_running) >= MAX_AT_ONCE:
        raise Busy(retry_after_seconds=RETRY_AFTER_SECONDS)


async def _run(work: Callable[[], T]) -> T:
    if len(_running) >= MAX_AT_ONCE + MAX_WAITING:
        raise Busy(retry_after_seconds=RETRY_AFTER_SECONDS)
    mark = object()
    _running.add(mark)
    future = asyncio.get_running_loop().run_in_executor(_workers, work)
    future.add_done_callback(lambda _: _running.discard(mark))  # also if the caller was cancelled meanwhile
    return await future


def require_password(password: str, *, field: str = "password") -> str:
    """Return a password of an acceptable length that is not among the most common ones.

    Raises:
        Invalid: it is too short, too long or too common.
    """
    if len(password) < MIN_PASSWORD_LENGTH or len(password) > MAX_PASSWORD_LENGTH:
        raise Invalid(
            f"Enter a password of {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters.", field=field
        )
    if _simplify(password) in _common_passwords():
        raise Invalid("Many people use this password, so it is tried first. Choose another.", field=field)
    return password


def _simplify(password: str) -> str:
    """Return a password as the list of common ones has it, without what people append to pass a check."""
    text = password.strip().lower()
    return text.rstrip("!.?") or text


@lru_cache(maxsize=1)
def _common_passwords() -> frozenset[str]:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # type: ignore[import-untyped]  # noqa: PLC0415

    return frozenset(FREQUENCY_LISTS["passwords"])
