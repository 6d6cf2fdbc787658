"""Limits on attempts per time window, counted in the database for all processes together."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import case
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Throttle, now

SIGN_IN_WINDOW = timedelta(minutes=15)
SIGN_INS_PER_ACCOUNT = 10
SIGN_INS_PER_ADDRESS = 100
DAY = timedelta(days=1)
UPLOADS_PER_DAY = 100
NOMINATIONS_PER_USER = 10
NOMINATIONS_PER_ACCOUNT = 3
MESSAGES_PER_DAY = 50
SIGN_UP_WINDOW = timedelta(hours=1)
SIGN_UPS_PER_ACCOUNT = 5
SIGN_UPS_PER_ADDRESS = 20


async def consume_sign_in_attempt(session: AsyncSession, *, email: str, address: str) -> bool:
    """Count a sign-in attempt; return False if a limit is exceeded.

    The limits are 10 attempts per account and 100 per address within 15 minutes. The caller commits whether
    or not the sign-in succeeds.
    """
    account = email.strip().lower().replace("\x00", "")[:254]
    account_key, address_key = f"sign-in:account:{account}", f"sign-in:address:{address}"
    attempts = await _consume(session, [account_key, address_key], window=SIGN_IN_WINDOW)
    return attempts[account_key] <= SIGN_INS_PER_ACCOUNT and attempts[address_key] <= SIGN_INS_PER_ADDRESS


async def consume_sign_up_attempt(session: AsyncSession, *, email: str, address: str) -> bool:
    """Count a requested sign-up mail; return False if a limit is exceeded.

    The limits are 5 mails per email address and 20 per network address within an hour. An empty network
    address stands for this process and is not counted. The email address must be normalized. The caller
    commits whether or not the sign-up succeeds.
    """
    return await _consume_mail(session, "sign-up", email=email, address=address)


async def consume_password_reset_attempt(session: AsyncSession, *, email: str, address: str) -> bool:
    """Count a password-reset mail: same limits as `consume_sign_up_attempt`, counted separately."""
    return await _consume_mail(session, "password-reset", email=email, address=address)


async def _consume_mail(session: AsyncSession, purpose: str, *, email: str, address: str) -> bool:
    account_key, address_key = f"{purpose}:account:{email}", f"{purpose}:address:{address}"
    keys = [account_key, address_key] if address else [account_key]
    attempts = await _consume(session, keys, window=SIGN_UP_WINDOW)
    return (
        attempts[account_key] <= SIGN_UPS_PER_ACCOUNT and attempts.get(address_key, 0) <= SIGN_UPS_PER_ADDRESS
    )


async def consume_upload(session: AsyncSession, *, user_id: UUID) -> bool:
    """Count a file uploaded by a user; return False after 100 within a day."""
    key = f"upload:{user_id}"
    return (await _consume(session, [key], window=DAY))[key] <= UPLOADS_PER_DAY


async def consume_nomination(session: AsyncSession, *, user_id: UUID, email: str) -> bool:
    """Count a mail to a nonprofit without an account; return False if a limit is exceeded.

    The limits are 10 mails per user and 3 per email address within a day. The email address must be
    normalized.
    """
    user_key, account_key = f"nomination:user:{user_id}", f"nomination:account:{email}"
    attempts = await _consume(session, [user_key, account_key], window=DAY)
    return attempts[user_key] <= NOMINATIONS_PER_USER and attempts[account_key] <= NOMINATIONS_PER_ACCOUNT


async def consume_message(session: AsyncSession, *, user_id: UUID) -> bool:
    """Count a message that a user sends about an event; return False after 50 within a day."""
    key = f"message:{user_id}"
    return (await _consume(session, [key], window=DAY))[key] <= MESSAGES_PER_DAY


async def _consume(session: AsyncSession, keys: list[str], *, window: timedelta) -> dict[str, int]:
    counts = {}
    for key in sorted(keys):  # in one order everywhere, so that two attempts cannot deadlock
        first = insert(Throttle).values(key=key, attempts=1, window_ends_at=now() + window)
        is_over = col(Throttle.window_ends_at) <= now()
        statement = first.on_conflict_do_update(
            index_elements=["key"],
            set_={
                "attempts": case((is_over, 1), else_=col(Throttle.attempts) + 1),
                "window_ends_at": case(
                    (is_over, first.excluded.window_ends_at), else_=col(Throttle.window_ends_at)
                ),
            },
        ).returning(col(Throttle.attempts))
        counts[key] = (await session.execute(statement)).scalar_one()
    return counts
