"""Counting tries in windows, in the database, so that it holds over all server processes."""

from datetime import timedelta

from sqlalchemy import case
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models import Throttle, now
from services.errors import RateLimited

WINDOW = timedelta(minutes=15)
PER_ACCOUNT = 10
PER_ADDRESS = 100


async def count_sign_in(session: AsyncSession, *, email: str, address: str) -> None:
    """Count a try of an account and of a network address; to be committed whatever comes of it.

    Raises:
        RateLimited: more than 10 of the account or 100 of the address within 15 minutes.
    """
    account = email.strip().lower().replace("\x00", "")[:254]
    tried = await _count(session, [f"sign-in:account:{account}", f"sign-in:address:{address}"])
    if tried[0] > PER_ACCOUNT or tried[1] > PER_ADDRESS:
        raise RateLimited("Too many tries; wait 15 minutes", path=["input", "email"])


async def _count(session: AsyncSession, keys: list[str]) -> list[int]:
    counts = []
    for key in sorted(keys):
        started = insert(Throttle).values(key=key, attempts=1, window_ends_at=now() + WINDOW)
        over = col(Throttle.window_ends_at) <= now()
        counted = started.on_conflict_do_update(
            index_elements=["key"],
            set_={
                "attempts": case((over, 1), else_=col(Throttle.attempts) + 1),
                "window_ends_at": case(
                    (over, started.excluded.window_ends_at), else_=col(Throttle.window_ends_at)
                ),
            },
        ).returning(col(Throttle.attempts))
        counts.append((await session.execute(counted)).scalar_one())
    return counts
