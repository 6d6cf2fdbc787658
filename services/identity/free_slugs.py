"""Slugs that nobody has or had, chosen from names."""

import secrets

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, SlugRedirect
from services.core import slugs

_LOCK = 7273
"""Key of the advisory locks of slugs that transactions are about to take."""


async def choose(session: AsyncSession, *, name: str) -> str:
    """Choose a slug for a name: the plain one if it is free, else one with a random tail.

    Locks: the plain slug, without waiting: whoever comes second gets a tail.
    """
    plain = slugs.derive(name)
    if slugs.is_usable(plain) and await _take(session, plain):
        return plain
    return slugs.suggest(name, suffix=secrets.token_hex(3))


async def _take(session: AsyncSession, slug: str) -> bool:
    lock = select(func.pg_try_advisory_xact_lock(_LOCK, func.hashtext(slug)))
    if not (await session.execute(lock)).scalar_one():
        return False
    # A statement of its own, which sees what the last holder of the lock has committed.
    used = exists().where(col(Collective.slug) == slug) | exists().where(col(SlugRedirect.slug) == slug)
    return not (await session.execute(select(used))).scalar_one()
