"""The tokens in mailed links: each works once, and using one ends all others of its user."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, EmailToken, now
from models.enums import EmailTokenPurpose
from services.access import act_origin
from services.access.actor import hash_token
from services.core.errors import NotFound
from services.identity import email_change_states


@dataclass(frozen=True)
class ClaimedToken:
    """The user and locked credential of a token that was used now."""

    user: Collective
    credential: Credential
    name: str | None
    """The name chosen at sign-up."""


def no_such_link() -> NotFound:
    """Return the problem of a token that is unknown, used, expired, or has another purpose."""
    return NotFound("This link is no longer valid. Request a new one.", field="token")


async def require_valid(session: AsyncSession, *, token: str, purpose: EmailTokenPurpose) -> None:
    """Require that a token works, before its password is hashed.

    Raises:
        NotFound: it does not.
    """
    statement = select(exists().where(col(EmailToken.token_hash) == hash_token(token), *_conditions(purpose)))
    if not (await session.execute(statement)).scalar_one():
        raise no_such_link()


async def claim(session: AsyncSession, token: str, purpose: EmailTokenPurpose) -> ClaimedToken:
    """Mark a token and all others of its user as used; lock the user's credential.

    Raises:
        NotFound: the token does not work, or not any more once the credential is locked.
    """
    digest = hash_token(token)
    statement = (
        select(Collective, Credential, col(EmailToken.name))
        .join(Credential, col(Credential.user_id) == Collective.id)
        .join(EmailToken, col(EmailToken.user_id) == Collective.id)
        .where(col(EmailToken.token_hash) == digest, *_conditions(purpose))
        .with_for_update(of=Credential)
    )
    match = (await session.execute(statement)).one_or_none()
    if match is None:
        raise no_such_link()
    claimed = ClaimedToken(*match)
    await act_origin.name_person(session, claimed.user.id)
    if digest not in await end_all(session, user_id=claimed.user.id):
        raise no_such_link()  # used by another request while this one waited for the lock
    return claimed


async def end_all(session: AsyncSession, *, user_id: UUID) -> Sequence[bytes]:
    """End every mailed token of a user and a change of address that waits; return the tokens' hashes.

    Links that undo a change of address go on: they save the account from whoever holds the new address.
    """
    await email_change_states.end_waiting(session, user_id=user_id)
    used = await session.execute(
        update(EmailToken)
        .where(col(EmailToken.user_id) == user_id, col(EmailToken.used_at).is_(None))
        .values(used_at=now())
        .returning(col(EmailToken.token_hash))
    )
    return used.scalars().all()


def _conditions(purpose: EmailTokenPurpose) -> list[ColumnElement[bool]]:
    return [
        col(EmailToken.purpose) == purpose,
        col(EmailToken.used_at).is_(None),
        col(EmailToken.expires_at) > now(),
    ]
