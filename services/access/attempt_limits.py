"""Limits on attempts per time window, counted in the database for all processes together."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import case, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Throttle, now
from services.core.networks import normalize_address

SIGN_IN_WINDOW = timedelta(minutes=15)
SIGN_INS_PER_PAIR = 10
"""Failures on one account from one network address."""
SIGN_INS_PER_ACCOUNT = 100
"""Failures on one account from all addresses from which it never signed in."""
DAY = timedelta(days=1)
GUESSES_PER_WINDOW = 10
GUESSES_PER_DAY = 30
"""Codes, or present passwords, entered for one user from all network addresses."""
UPLOADS_PER_DAY = 100
EXPORTS_PER_DAY = 3
NOMINATIONS_PER_USER = 10
NOMINATIONS_PER_ACCOUNT = 3
MESSAGES_PER_DAY = 50
SIGN_UP_WINDOW = timedelta(hours=1)
SIGN_UPS_PER_ACCOUNT = 5
GUEST_GIFTS_PER_NETWORK = 20


async def consume_sign_in_attempt(
    session: AsyncSession, *, email: str, address: str, is_known: bool, per_address: int
) -> bool:
    """Count a sign-in attempt; return False if a limit is exceeded. A success is to be forgotten.

    Counted before the password is checked, so that many at once cannot pass. The limits hold for 15 minutes:
    10 for the account from this network address, and 100 for the account and `per_address` for the network
    address in all. Where the account has signed in before (`is_known`), others' failures do not count. The
    email address must be normalized. The caller commits whether or not the sign-in succeeds.
    """
    pair, account, network = _sign_in_keys(email, address)
    keys = [pair] if is_known else [pair, account, network]
    attempts = await _consume(session, keys, window=SIGN_IN_WINDOW)
    return (
        attempts[pair] <= SIGN_INS_PER_PAIR
        and attempts.get(account, 0) <= SIGN_INS_PER_ACCOUNT
        and attempts.get(network, 0) <= per_address
    )


async def forget_sign_in_attempt(session: AsyncSession, *, email: str, address: str, is_known: bool) -> None:
    """Forget the failures of an account that has now signed in from an address, and this attempt."""
    pair, account, network = _sign_in_keys(email, address)
    left = func.greatest(col(Throttle.attempts) - 1, 0)
    for key in sorted([pair] if is_known else [pair, account, network]):
        statement = update(Throttle).where(col(Throttle.key) == key)
        await session.execute(statement.values(attempts=0 if key == pair else left))


async def consume_factor_attempt(session: AsyncSession, *, user_id: UUID) -> bool:
    """Count a code that somebody enters for a user; return False if a limit is exceeded.

    The limits are 10 codes within 15 minutes and 30 within a day, from all addresses: whoever enters codes
    knows the password. Counted before the code is checked; a right one is to be forgotten.
    """
    return await _consume_guess(session, "factor", user_id)


async def forget_factor_attempts(session: AsyncSession, *, user_id: UUID) -> None:
    """Forget the codes of a user who has now entered a right one."""
    await _forget_guesses(session, "factor", user_id)


async def consume_own_password_attempt(session: AsyncSession, *, user_id: UUID) -> bool:
    """Count a password that somebody in a session enters as the present one: same limits as for codes.

    Counted apart from sign-ins, so that whoever has got hold of a session keeps nobody from signing in.
    """
    return await _consume_guess(session, "own-password", user_id)


async def forget_own_password_attempts(session: AsyncSession, *, user_id: UUID) -> None:
    """Forget the passwords that a user entered before the right one."""
    await _forget_guesses(session, "own-password", user_id)


async def take_back_own_password_attempt(session: AsyncSession, *, user_id: UUID) -> None:
    """Count a password no longer: it was not checked."""
    left = func.greatest(col(Throttle.attempts) - 1, 0)
    for key in _guess_keys("own-password", user_id):
        await session.execute(update(Throttle).where(col(Throttle.key) == key).values(attempts=left))


async def _consume_guess(session: AsyncSession, purpose: str, user_id: UUID) -> bool:
    quick, daily = _guess_keys(purpose, user_id)
    attempts = await _consume(session, [quick], window=SIGN_IN_WINDOW)
    attempts |= await _consume(session, [daily], window=DAY)
    return attempts[quick] <= GUESSES_PER_WINDOW and attempts[daily] <= GUESSES_PER_DAY


async def _forget_guesses(session: AsyncSession, purpose: str, user_id: UUID) -> None:
    for key in _guess_keys(purpose, user_id):
        await session.execute(update(Throttle).where(col(Throttle.key) == key).values(attempts=0))


def _guess_keys(purpose: str, user_id: UUID) -> tuple[str, str]:
    return f"{purpose}:{user_id}", f"{purpose}-day:{user_id}"


async def consume_passkey_challenge(session: AsyncSession, *, address: str, per_address: int) -> bool:
    """Count a sign-in by passkey that is begun; return False after `per_address` within 15 minutes."""
    key = f"passkey:{normalize_address(address)}"
    return (await _consume(session, [key], window=SIGN_IN_WINDOW))[key] <= per_address


def _sign_in_keys(email: str, address: str) -> tuple[str, str, str]:
    network = normalize_address(address)
    return f"sign-in:{email}:{network}", f"sign-in:account:{email}", f"sign-in:address:{network}"


async def consume_sign_up_attempt(
    session: AsyncSession, *, email: str, address: str, per_address: int
) -> bool:
    """Count a requested sign-up mail; return False if a limit is exceeded.

    The limits are 5 mails per email address and `per_address` per network address within an hour. An empty
    network address stands for this process and is not counted. The email address must be normalized. The
    caller commits whether or not the sign-up succeeds.
    """
    return await _consume_mail(session, "sign-up", email=email, address=address, per_address=per_address)


async def consume_password_reset_attempt(
    session: AsyncSession, *, email: str, address: str, per_address: int
) -> bool:
    """Count a password-reset mail: same limits as `consume_sign_up_attempt`, counted separately."""
    return await _consume_mail(
        session, "password-reset", email=email, address=address, per_address=per_address
    )


async def consume_email_change_attempt(
    session: AsyncSession, *, user_id: UUID | None, email: str, address: str, per_address: int
) -> bool:
    """Count a change of address: same limits as `consume_sign_up_attempt`, and 5 by a user."""
    purpose = "email-change"
    by_user = await _consume(session, [f"{purpose}:user:{user_id}"], window=SIGN_UP_WINDOW)
    is_allowed = await _consume_mail(session, purpose, email=email, address=address, per_address=per_address)
    return is_allowed and max(by_user.values()) <= SIGN_UPS_PER_ACCOUNT


async def consume_guest_gift(session: AsyncSession, *, email: str, address: str) -> bool:
    """Count a gift of a guest; return False after 5 by an email address, or 20 by a network, in an hour."""
    return await _consume_mail(
        session, "guest-gift", email=email, address=address, per_address=GUEST_GIFTS_PER_NETWORK
    )


async def _consume_mail(
    session: AsyncSession, purpose: str, *, email: str, address: str, per_address: int
) -> bool:
    account_key = f"{purpose}:account:{email}"
    address_key = f"{purpose}:address:{normalize_address(address)}"
    keys = [account_key, address_key] if address else [account_key]
    attempts = await _consume(session, keys, window=SIGN_UP_WINDOW)
    return attempts[account_key] <= SIGN_UPS_PER_ACCOUNT and attempts.get(address_key, 0) <= per_address


async def consume_upload(session: AsyncSession, *, user_id: UUID) -> bool:
    """Count a file uploaded by a user; return False after 100 within a day."""
    key = f"upload:{user_id}"
    return (await _consume(session, [key], window=DAY))[key] <= UPLOADS_PER_DAY


async def consume_creation(session: AsyncSession, *, user_id: UUID, per_day: int) -> bool:
    """Count a collective that a user creates; return False after `per_day` within a day."""
    key = f"creation:{user_id}"
    return (await _consume(session, [key], window=DAY))[key] <= per_day


async def consume_export(session: AsyncSession, *, user_id: UUID) -> bool:
    """Count a copy of personal data that a user asks for; return False after 3 within a day."""
    key = f"export:{user_id}"
    return (await _consume(session, [key], window=DAY))[key] <= EXPORTS_PER_DAY


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
