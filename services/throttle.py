"""Counting tries in windows, in the database, so that it holds over all server processes."""

from datetime import timedelta

from sqlalchemy import case
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Throttle, now

WINDOW = timedelta(minutes=15)
PER_ACCOUNT = 10
PER_ADDRESS = 100


async def count_sign_in(session: AsyncSession, *, email: str, address: str) -> bool:
    """Count a try of an account and of a network address; to be committed whatever comes of it.

    Returns whether it is one of the first 10 of the account and 100 of the address within 15 minutes.
    """
    account = email.strip().lower().replace("\x00", "")[:254]
    account_key, address_key = f"sign-in:account:{account}", f"sign-in:address:{address}"
    tried = await _count(session, [account_key, address_key])
    return tried[account_key] <= PER_ACCOUNT and tried[address_key] <= PER_ADDRESS


async def _count(session: AsyncSession, keys: list[str]) -> dict[str, int]:
    counts = {}
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
        counts[key] = (await session.execute(counted)).scalar_one()
    return counts
