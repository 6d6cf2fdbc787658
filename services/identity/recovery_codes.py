"""Recovery codes: ten for each user with a second factor, each of which replaces it once."""

import hashlib
import secrets
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import RecoveryCode, now
from services.access.actor import Actor
from services.access.permissions import Action, require
from services.core.errors import WHOLE_INPUT, InvalidState
from services.identity import challenges, credentials, factor_mails

CODES = 10
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Without letters that look like others, which `_hash` understands."""
_LENGTH, _GROUP = 16, 4
"""80 random bits: they need neither salt nor a slow hash, and cannot be guessed."""


async def ensure(session: AsyncSession, *, user_id: UUID) -> list[str]:
    """Issue codes with a user's first factor; return none if there are some."""
    known = await session.scalar(select(func.count()).where(col(RecoveryCode.user_id) == user_id))
    return [] if known else await _issue(session, user_id)


async def renew(session: AsyncSession, actor: Actor) -> list[str]:
    """Issue ten new codes; the old ones end. The user is told by mail.

    Raises:
        InvalidState: the user has no second factor.
    """
    require(actor, Action.RENEW_RECOVERY_CODES)
    assert actor.user is not None
    await credentials.lock(session, user_id=actor.user.id)
    if len(await challenges.load_ways(session, user_id=actor.user.id)) == 1:
        raise InvalidState("Add a second factor first.", field=WHOLE_INPUT)
    await end_all(session, user_id=actor.user.id)
    codes = await _issue(session, actor.user.id)
    await factor_mails.report(session, actor.user, template="factor_added", factor="new recovery codes")
    return codes


async def _issue(session: AsyncSession, user_id: UUID) -> list[str]:
    texts = ["".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH)) for _ in range(CODES)]
    session.add_all([RecoveryCode(user_id=user_id, code_hash=_hash(text)) for text in texts])
    await session.flush()
    return ["-".join(text[i : i + _GROUP] for i in range(0, _LENGTH, _GROUP)) for text in texts]


async def take(session: AsyncSession, *, user_id: UUID, code: str) -> bool:
    """Use a code; return False if it is none of the user's, or was used."""
    statement = (
        update(RecoveryCode)
        .where(
            col(RecoveryCode.user_id) == user_id,
            col(RecoveryCode.code_hash) == _hash(code),
            col(RecoveryCode.used_at).is_(None),
        )
        .values(used_at=now())
        .returning(col(RecoveryCode.code_hash))
    )
    return (await session.execute(statement)).scalar_one_or_none() is not None


async def count_left(session: AsyncSession, *, user_id: UUID) -> int:
    """Count the user's codes that were not used."""
    statement = select(func.count()).where(
        col(RecoveryCode.user_id) == user_id, col(RecoveryCode.used_at).is_(None)
    )
    return int((await session.execute(statement)).scalar_one())


async def end_all(session: AsyncSession, *, user_id: UUID) -> None:
    """End the user's codes."""
    await session.execute(delete(RecoveryCode).where(col(RecoveryCode.user_id) == user_id))


def _hash(code: str) -> bytes:
    """Hash a code as people type it."""
    text = "".join(code.upper().split()).replace("-", "")
    return hashlib.sha256(text.translate(str.maketrans("OIL", "011")).encode(errors="replace")).digest()
