"""Challenges: what the second step of a sign-in, or a passkey, has to answer. Each for minutes, and once."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Uuid, delete, func, literal, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Challenge, now
from models.enums import ChallengePurpose, Proof
from services.access import factors

VALID_FOR = timedelta(minutes=5)


@dataclass(frozen=True)
class FactorChallenge:
    """What a sign-in still needs: one of the ways, together with the token, which is not stored."""

    token: str
    expires_at: datetime
    ways: tuple[Proof, ...]


async def ask_for_factor(session: AsyncSession, *, user_id: UUID) -> FactorChallenge | None:
    """Begin the second step of a user's sign-in; return None if they have no second factor."""
    state = await load_ways(session, user_id=user_id)
    if state == (Proof.PASSWORD,):
        return None
    token = "cwc_" + secrets.token_urlsafe(32)
    expires_at = await _store(session, token.encode(), ChallengePurpose.SIGN_IN, user_id)
    return FactorChallenge(token, expires_at, state)


async def load_ways(session: AsyncSession, *, user_id: UUID) -> tuple[Proof, ...]:
    """Load the ways in which a user shows who they are."""
    key = literal(user_id, Uuid)
    totp, passkey = (await session.execute(select(factors.has_totp(key), factors.has_passkey(key)))).one()
    return factors.list_ways(totp=totp, passkey=passkey)


async def issue(session: AsyncSession, *, purpose: ChallengePurpose, user_id: UUID | None) -> bytes:
    """Issue the challenge that a passkey signs; it is not stored."""
    challenge = secrets.token_bytes(32)
    await _store(session, challenge, purpose, user_id)
    return challenge


async def _store(
    session: AsyncSession, challenge: bytes, purpose: ChallengePurpose, user_id: UUID | None
) -> datetime:
    expires_at = now() + VALID_FOR
    session.add(
        Challenge(challenge_hash=_hash(challenge), purpose=purpose, user_id=user_id, expires_at=expires_at)
    )
    await session.flush()
    return expires_at


async def find_user(session: AsyncSession, *, token: str) -> UUID | None:
    """Find whose sign-in a token continues; it stays valid."""
    statement = select(col(Challenge.user_id)).where(
        col(Challenge.challenge_hash) == _hash(token.encode()),
        col(Challenge.purpose) == ChallengePurpose.SIGN_IN,
        col(Challenge.expires_at) > func.now(),
    )
    user_id: UUID | None = (await session.execute(statement)).scalar_one_or_none()
    return user_id


async def take(
    session: AsyncSession, *, challenge: bytes, purpose: ChallengePurpose, user_id: UUID | None = None
) -> bool:
    """Delete a challenge that is answered; return False if it was none, is over, or another user's."""
    statement = (
        delete(Challenge)
        .where(
            col(Challenge.challenge_hash) == _hash(challenge),
            col(Challenge.purpose) == purpose,
            col(Challenge.expires_at) > func.now(),
            true() if user_id is None else col(Challenge.user_id) == user_id,
        )
        .returning(col(Challenge.challenge_hash))
    )
    return (await session.execute(statement)).scalar_one_or_none() is not None


async def end_all(session: AsyncSession, *, user_id: UUID) -> None:
    """End what a user, or somebody with their password, has begun."""
    await session.execute(delete(Challenge).where(col(Challenge.user_id) == user_id))


def _hash(challenge: bytes) -> bytes:
    return hashlib.sha256(challenge).digest()
