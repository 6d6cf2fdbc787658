"""A new password for who forgot the old one, by a mailed token."""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, DateTime, LargeBinary, Text, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, EmailToken, now
from models.enums import EmailTokenPurpose
from services.access.actor import Actor, token_hash
from services.core.errors import NotFound
from services.identity import access_tokens
from services.identity.authentication import SignedIn, checked_password, hash_password, start_session
from services.messaging import outbox

RESET_HOURS = 2


@dataclass(frozen=True)
class _Claim:
    """A row to change the password of, locked."""

    user: Collective
    credential: Credential


async def request_reset(session: AsyncSession, actor: Actor, *, email: str) -> None:
    """Mail a token to an address that was proved; for any other address do nothing.

    `email` is as `addresses.checked_email` returns it. The statements are the same for every address. The
    caller counts the mails that are asked for.
    """
    del actor
    token = secrets.token_urlsafe(32)
    owner = select(col(Credential.user_id)).where(
        col(Credential.email) == email, col(Credential.verified_at).is_not(None)
    )
    ends = now() + timedelta(hours=RESET_HOURS)
    row = owner.add_columns(
        literal(token_hash(token), LargeBinary),
        literal(EmailTokenPurpose.RESET.value, Text),
        literal(ends, DateTime(timezone=True)),
    )
    columns = ["user_id", "token_hash", "purpose", "expires_at"]
    await session.execute(insert(EmailToken).from_select(columns, row, include_defaults=False))
    await outbox.to_users(session, user_ids=owner, template="password_reset", payload={"token": token})


async def reset(
    session: AsyncSession, actor: Actor, *, token: str, password: str, session_days: int
) -> SignedIn:
    """Set a new password with the mailed token, once; end all that was signed in, and sign in anew.

    The user's access tokens end as well, and every other mailed token: an older one could bring back an
    older password. A mail tells the user. Locks: the credential, which two resets of a user queue for.

    Raises:
        Invalid: the password is too short or too long.
        NotFound: the token is unknown, used, expired, or not for this.
    """
    del actor
    checked_password(password)
    claim = await _claim(session, token)
    secret = await hash_password(password)
    await session.execute(
        update(Credential).where(col(Credential.user_id) == claim.user.id).values(password_hash=secret)
    )
    await access_tokens.revoke_all(session, user_id=claim.user.id)
    await outbox.to_address(
        session,
        address=claim.credential.email,
        template="password_changed",
        payload={"name": claim.user.name},
    )
    return await start_session(session, claim.user, session_days)


async def _claim(session: AsyncSession, token: str) -> _Claim:
    """Use up the token with all others of its user."""
    missing = NotFound("This link is not valid any more", path=["input", "token"])
    digest = token_hash(token)
    statement = (
        select(Collective, Credential)
        .join(Credential, col(Credential.user_id) == Collective.id)
        .join(EmailToken, col(EmailToken.user_id) == Collective.id)
        .where(col(EmailToken.token_hash) == digest, *_holds())
        .with_for_update(of=Credential)
    )
    found = (await session.execute(statement)).one_or_none()
    if found is None:
        raise missing
    claim = _Claim(*found)
    used = await session.execute(
        update(EmailToken)
        .where(col(EmailToken.user_id) == claim.user.id, col(EmailToken.used_at).is_(None))
        .values(used_at=now())
        .returning(col(EmailToken.token_hash))
    )
    if digest not in used.scalars().all():  # used by another while this one waited for the lock
        raise missing
    return claim


def _holds() -> list[ColumnElement[bool]]:
    return [
        col(EmailToken.purpose) == EmailTokenPurpose.RESET,
        col(EmailToken.used_at).is_(None),
        col(EmailToken.expires_at) > now(),
    ]
