"""New passwords: with a mailed token, or by a user who is signed in."""

import secrets
from datetime import timedelta

from sqlalchemy import DateTime, LargeBinary, Text, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, EmailToken, now
from models.enums import EmailTokenPurpose
from services.access.actor import Actor, hash_token
from services.access.permissions import Action, require
from services.core.errors import InvalidState
from services.identity import access_tokens, credentials, email_tokens
from services.identity.sessions import NewSession, Origin, start_session
from services.messaging import outbox, reader_languages

RESET_HOURS = 2


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
    await reader_languages.note_browser(session, owner, is_proved=False)
    await outbox.mail_users(session, user_ids=owner, template="password_reset", payload={"token": token})


async def reset(
    session: AsyncSession, actor: Actor, *, token: str, password_hash: str, origin: Origin
) -> NewSession:
    """Set a new password with the mailed token, once; end all sessions and start a new one.

    The user's access tokens and every other mailed token end, too: an older one could restore an older
    password. The user is notified by mail. Locks: the credential, so that two resets of a user queue.

    Raises:
        NotFound: the token is unknown, used, expired, or has another purpose.
    """
    del actor
    claim = await email_tokens.claim(session, token, EmailTokenPurpose.RESET)
    claim.credential.password_hash = password_hash
    await access_tokens.revoke_all_tokens(session, user_id=claim.user.id)
    await _report_change(session, claim.user, claim.credential)
    return await start_session(session, claim.user, origin)


async def load_own_hash(session: AsyncSession, actor: Actor) -> str | None:
    """Load the hash of the viewer's password, which a change is checked against.

    Raises:
        Forbidden: an access token asks.
    """
    require(actor, Action.CHANGE_PASSWORD)
    statement = select(col(Credential.password_hash)).where(col(Credential.user_id) == actor.id)
    return (await session.execute(statement)).scalar_one_or_none()


async def change(session: AsyncSession, actor: Actor, *, old_hash: str, password_hash: str) -> Collective:
    """Change the password; end all other sessions, access tokens and mailed tokens of the user.

    The user is notified by mail. Locks: the credential.

    Raises:
        InvalidState: the password changed while the old one was verified.
    """
    require(actor, Action.CHANGE_PASSWORD)
    assert actor.user is not None
    credential = await credentials.lock(session, user_id=actor.user.id)
    if credential is None or credential.password_hash != old_hash:
        raise InvalidState("Your password has just been changed. Try again.", field="currentPassword")
    credential.password_hash = password_hash
    await access_tokens.revoke_all_tokens(session, user_id=actor.user.id, except_id=actor.token_id)
    await email_tokens.end_all(session, user_id=actor.user.id)
    await _report_change(session, actor.user, credential)
    return actor.user


async def _report_change(session: AsyncSession, user: Collective, credential: Credential) -> None:
    await outbox.mail_address(
        session, address=credential.email, template="password_changed", payload={"name": user.name}
    )
    await session.flush()
