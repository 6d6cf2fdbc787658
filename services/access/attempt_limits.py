"""Counting tries in windows, in the database, so that it holds over all server processes."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import case
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Throttle, now

WINDOW = timedelta(minutes=15)
PER_ACCOUNT = 10
PER_ADDRESS = 100
DAY = timedelta(days=1)
UPLOADS_PER_DAY = 100
NOMINATIONS_PER_USER = 10
NOMINATIONS_PER_ACCOUNT = 3
MESSAGES_PER_DAY = 50
SIGN_UP_WINDOW = timedelta(hours=1)
SIGN_UPS_PER_ACCOUNT = 5
SIGN_UPS_PER_ADDRESS = 20


async def count_sign_in(session: AsyncSession, *, email: str, address: str) -> bool:
    """Count a try of an account and of a network address; to be committed whatever comes of it.

    Returns whether it is one of the first 10 of the account and 100 of the address within 15 minutes.
    """
    account = email.strip().lower().replace("\x00", "")[:254]
    account_key, address_key = f"sign-in:account:{account}", f"sign-in:address:{address}"
    tried = await _count(session, [account_key, address_key], window=WINDOW)
    return tried[account_key] <= PER_ACCOUNT and tried[address_key] <= PER_ADDRESS


async def count_sign_up(session: AsyncSession, *, email: str, address: str) -> bool:
    """Count a mail that a network address asks for; to be committed whatever comes of it.

    `email` is as `addresses.checked_email` returns it. An empty network address is this process, which is
    not counted. Returns whether it is one of the first 5 to the email address and 20 of the network address
    within an hour.
    """
    return await _count_mail(session, "sign-up", email=email, address=address)


async def count_password_reset(session: AsyncSession, *, email: str, address: str) -> bool:
    """Count a mail with a token for a new password, by the limits of `count_sign_up` but apart from it."""
    return await _count_mail(session, "password-reset", email=email, address=address)


async def _count_mail(session: AsyncSession, what: str, *, email: str, address: str) -> bool:
    account_key, address_key = f"{what}:account:{email}", f"{what}:address:{address}"
    keys = [account_key, address_key] if address else [account_key]
    tried = await _count(session, keys, window=SIGN_UP_WINDOW)
    return tried[account_key] <= SIGN_UPS_PER_ACCOUNT and tried.get(address_key, 0) <= SIGN_UPS_PER_ADDRESS


async def count_upload(session: AsyncSession, *, user_id: UUID) -> bool:
    """Count a file that a user sends; return whether it is one of the first 100 within a day."""
    key = f"upload:{user_id}"
    return (await _count(session, [key], window=DAY))[key] <= UPLOADS_PER_DAY


async def count_nomination(session: AsyncSession, *, user_id: UUID, email: str) -> bool:
    """Count a mail that a user has sent to somebody who is not here.

    `email` is as `addresses.checked_email` returns it. Returns whether it is one of the user's first 10, and
    of the address's first 3, within a day.
    """
    user_key, account_key = f"nomination:user:{user_id}", f"nomination:account:{email}"
    tried = await _count(session, [user_key, account_key], window=DAY)
    return tried[user_key] <= NOMINATIONS_PER_USER and tried[account_key] <= NOMINATIONS_PER_ACCOUNT


async def count_message(session: AsyncSession, *, user_id: UUID) -> bool:
    """Count a message that a user sends about an event; return whether it is of the first 50 within a day."""
    key = f"message:{user_id}"
    return (await _count(session, [key], window=DAY))[key] <= MESSAGES_PER_DAY


async def _count(session: AsyncSession, keys: list[str], *, window: timedelta) -> dict[str, int]:
    counts = {}
    for key in sorted(keys):
        started = insert(Throttle).values(key=key, attempts=1, window_ends_at=now() + window)
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
