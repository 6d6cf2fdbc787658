"""Password reset with a mailed token."""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, DateTime, LargeBinary, Text, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, EmailToken, now
from models.enums import EmailTokenPurpose
from services.access.actor import Actor, hash_token
from services.core.errors import NotFound
from services.identity import access_tokens, passwords
from services.identity.authentication import NewSession, start_session
from services.messaging import outbox

RESET_HOURS = 2


@dataclass(frozen=True)
class _Claim:
    """The user and locked credential whose password is reset."""

    user: Collective
    credential: Credential


async def request_reset(session: AsyncSession, actor: Actor, *, email: str) -> None:
    """Mail a reset token to a verified address; do nothing for any other address.

    `email` is as returned by `email_addresses.require_email`. The statements are the same for every
    address, so that timing reveals nothing. Callers limit the number of requests.
    """
    del actor
    token = secrets.token_urlsafe(32)
    owner = select(col(Credential.user_id)).where(
        col(Credential.email) == email, col(Credential.verified_at).is_not(None)
    )
    ends = now() + timedelta(hours=RESET_HOURS)
    row = owner.add_columns(
        literal(hash_token(token), LargeBinary),
        literal(EmailTokenPurpose.RESET.value, Text),
        literal(ends, DateTime(timezone=True)),
    )
    columns = ["user_id", "token_hash", "purpose", "expires_at"]
    await session.execute(insert(EmailToken).from_select(columns, row, include_defaults=False))
    await outbox.mail_users(session, user_ids=owner, template="password_reset", payload={"token": token})


async def reset(
    session: AsyncSession, actor: Actor, *, token: str, password: str, session_days: int
) -> NewSession:
    """Set a new password with the mailed token, once; end all sessions and start a new one.

    The user's access tokens and every other mailed token end, too: an older one could restore an older
    password. The user is notified by mail. Locks: the credential, so that two resets of a user queue.

    Raises:
        Invalid: the password is too short or too long.
        NotFound: the token is unknown, used, expired, or has another purpose.
    """
    del actor
    passwords.require_password(password)
    claim = await _claim_token(session, token)
    secret = await passwords.hash_password(password)
    await session.execute(
        update(Credential).where(col(Credential.user_id) == claim.user.id).values(password_hash=secret)
    )
    await access_tokens.revoke_all_tokens(session, user_id=claim.user.id)
    await outbox.mail_address(
        session,
        address=claim.credential.email,
        template="password_changed",
        payload={"name": claim.user.name},
    )
    return await start_session(session, claim.user, session_days)


async def _claim_token(session: AsyncSession, token: str) -> _Claim:
    """Mark the token and all others of its user as used; lock the user's credential."""
    invalid_link = NotFound("This link is no longer valid. Request a new one.", field="token")
    digest = hash_token(token)
    statement = (
        select(Collective, Credential)
        .join(Credential, col(Credential.user_id) == Collective.id)
        .join(EmailToken, col(EmailToken.user_id) == Collective.id)
        .where(col(EmailToken.token_hash) == digest, *_token_conditions())
        .with_for_update(of=Credential)
    )
    match = (await session.execute(statement)).one_or_none()
    if match is None:
        raise invalid_link
    claim = _Claim(*match)
    used = await session.execute(
        update(EmailToken)
        .where(col(EmailToken.user_id) == claim.user.id, col(EmailToken.used_at).is_(None))
        .values(used_at=now())
        .returning(col(EmailToken.token_hash))
    )
    if digest not in used.scalars().all():  # used by another reset while this one waited for the lock
        raise invalid_link
    return claim


def _token_conditions() -> list[ColumnElement[bool]]:
    return [
        col(EmailToken.purpose) == EmailTokenPurpose.RESET,
        col(EmailToken.used_at).is_(None),
        col(EmailToken.expires_at) > now(),
    ]
