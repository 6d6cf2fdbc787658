"""User accounts: signing up, verifying an address, signing in and out."""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, EmailToken, SlugRedirect, Token, now
from models.enums import CollectiveType, EmailTokenPurpose, TokenKind
from services.access.actor import Actor, hash_token
from services.access.permissions import Action, require
from services.core import slugs
from services.core.errors import WHOLE_INPUT, Invalid, InvalidState, NotFound
from services.core.money import require_currency
from services.core.user_text import require_text
from services.identity import email_addresses, passwords
from services.identity.access_tokens import build_token
from services.messaging import outbox

VERIFY_DAYS = 7
PLACEHOLDER_NAME = "New member"


@dataclass(frozen=True)
class NewSession:
    """A user and the token of their new session; the token is not stored and returned once."""

    user: Collective
    token: str
    expires_at: datetime
    is_claimed_now: bool = False
    """True if this claimed the user's account."""


async def sign_up(
    session: AsyncSession,
    actor: Actor,
    *,
    email: str,
    name: str,
    password: str,
    currency: str | None = None,
) -> Collective:
    """Mail a verification token; a new address gets a user who cannot sign in before using it.

    The chosen name and password are kept with the token: until then the stored user has a neutral name and
    slug. The result is a decoy that is not stored, whether the address is new, unclaimed or in use (its
    owner gets a mail about that): callers cannot learn which addresses have accounts.

    Raises:
        Invalid: the address, name, password or currency.
    """
    del actor
    address = email_addresses.require_email(email, field="email")
    chosen_name = require_text(name, field="name")
    secret = await passwords.hash_password(passwords.require_password(password))
    if currency is not None:
        require_fiat(currency)
    user, is_proved = await _find_or_create_user(session, address, currency=currency)
    if is_proved:
        await outbox.mail_address(
            session, address=address, template="address_in_use", payload={"name": user.name}
        )
    else:
        await _mail_verification(session, user.id, address, name=chosen_name, password_hash=secret)
    await session.flush()
    return await _build_user(session, chosen_name, currency)


async def _find_or_create_user(
    session: AsyncSession, address: str, *, currency: str | None
) -> tuple[Collective, bool]:
    """Return the user of an address, created if unknown, and True if the address is verified.

    The address of a merged user counts as verified: nobody signs in with it any more.
    """
    match = await _lock_by_email(session, address)
    if match is None and (remaining := await email_addresses.find_user(session, address)) is not None:
        return remaining, True
    user, credential = match or await create_user(
        session, email=address, name=PLACEHOLDER_NAME, currency=currency
    )
    return user, credential.verified_at is not None


def require_fiat(currency: str) -> str:
    """Return the code of a currency that can be an account's main currency.

    Raises:
        Invalid: it is unknown, or CUR.
    """
    code = require_currency(currency, field="currency")
    if code == "CUR":
        raise Invalid("CUR cannot be an account's main currency.", field="currency")
    return code


async def _build_user(session: AsyncSession, name: str, currency: str | None) -> Collective:
    """Build a new user whose money the platform holds; it is not stored."""
    statement = select(col(Collective.id)).where(col(Collective.is_platform))
    platform_id = (await session.execute(statement)).scalar_one_or_none()
    return Collective(
        slug=slugs.suggest(name, suffix=secrets.token_hex(3)),
        type=CollectiveType.USER,
        name=name,
        currency=currency or "USD",
        host_id=platform_id,
        host_approved_at=now() if platform_id else None,
    )


async def create_user(
    session: AsyncSession, *, email: str, name: str, currency: str | None = None
) -> tuple[Collective, Credential]:
    """Create an unclaimed user whose money the platform holds.

    If another transaction has just created a user of the address, return that one. Locks: the credential.
    """
    user = await _build_user(session, name, currency)
    user.slug = slugs.suggest(name, suffix=secrets.token_hex(6))
    async with session.begin_nested() as savepoint:
        session.add(user)
        await session.flush()
        inserted = insert(Credential).values(user_id=user.id, email=email).on_conflict_do_nothing()
        if (await session.execute(inserted.returning(col(Credential.user_id)))).scalar_one_or_none() is None:
            await savepoint.rollback()
    user_and_credential = await _lock_by_email(session, email)
    assert user_and_credential is not None
    return user_and_credential


async def _lock_by_email(session: AsyncSession, email: str) -> tuple[Collective, Credential] | None:
    statement = (
        select(Collective, Credential)
        .join(Credential, col(Credential.user_id) == Collective.id)
        .where(col(Credential.email) == email)
        .with_for_update(of=Credential)
    )
    row = (await session.execute(statement)).one_or_none()
    return (row[0], row[1]) if row else None


async def _mail_verification(
    session: AsyncSession, user_id: UUID, address: str, *, name: str, password_hash: str
) -> None:
    """Mail a token that keeps the chosen name and password until the address is verified."""
    token = secrets.token_urlsafe(32)
    session.add(
        EmailToken(
            token_hash=hash_token(token),
            user_id=user_id,
            purpose=EmailTokenPurpose.VERIFY,
            expires_at=now() + timedelta(days=VERIFY_DAYS),
            name=name,
            password_hash=password_hash,
        )
    )
    await outbox.mail_address(
        session, address=address, template="verify_email", payload={"name": name, "token": token}
    )


async def verify_email(session: AsyncSession, actor: Actor, *, token: str, session_days: int) -> NewSession:
    """Verify an address with the mailed token, once, and start a session.

    This claims the user's account. Claiming is confirmed by mail. Locks: the user.

    Raises:
        NotFound: the token is unknown, used or expired.
    """
    del actor
    used = await session.execute(
        update(EmailToken)
        .where(
            col(EmailToken.token_hash) == hash_token(token),
            col(EmailToken.purpose) == EmailTokenPurpose.VERIFY,
            col(EmailToken.used_at).is_(None),
            col(EmailToken.expires_at) > now(),
        )
        .values(used_at=now())
        .returning(col(EmailToken.user_id), col(EmailToken.name), col(EmailToken.password_hash))
    )
    email_token = used.one_or_none()
    if email_token is None:
        raise NotFound("This link is no longer valid. Sign up again for a new one.", field="token")
    user: Collective = (
        await session.execute(
            select(Collective).where(col(Collective.id) == email_token.user_id).with_for_update()
        )
    ).scalar_one()
    is_new = user.claimed_at is None
    if is_new and email_token.name is not None:
        _apply_chosen_name(session, user, email_token.name)
    user.claimed_at = user.claimed_at or now()
    user.updated_at = now()
    verified = await session.execute(
        update(Credential)
        .where(col(Credential.user_id) == user.id)
        .values(
            verified_at=func.coalesce(col(Credential.verified_at), now()),
            password_hash=func.coalesce(email_token.password_hash, col(Credential.password_hash)),
        )
        .returning(col(Credential.email))
    )
    if is_new:
        await outbox.mail_address(
            session, address=verified.scalar_one(), template="email_confirmed", payload={"name": user.name}
        )
    return replace(await start_session(session, user, session_days), is_claimed_now=is_new)


def _apply_chosen_name(session: AsyncSession, user: Collective, name: str) -> None:
    """Set the chosen name, and a matching slug unless the user has a slug of their own choice."""
    if slugs.is_suggested(user.slug, name=user.name):
        session.add(SlugRedirect(slug=user.slug, collective_id=user.id))
        user.slug = slugs.suggest(name, suffix=secrets.token_hex(3))
    user.name = name


async def sign_in(
    session: AsyncSession, actor: Actor, *, email: str, password: str, session_days: int
) -> NewSession:
    """Check the password and start a session. Callers limit the attempts first.

    Raises:
        Invalid: the address or password is wrong, or the address is unverified; it does not say which.
    """
    del actor
    statement = (
        select(Collective, Credential)
        .join(Credential, col(Credential.user_id) == Collective.id)
        .where(
            col(Credential.email) == email.strip().lower().replace("\x00", ""),
            col(Credential.verified_at).is_not(None),
        )
    )
    row = (await session.execute(statement)).one_or_none()
    stored = row[1].password_hash if row else None
    matches = await passwords.verify_password(stored or passwords.DUMMY_HASH, password)
    if (
        row is None
        or stored is None
        or not matches
        or not await _password_unchanged(session, row[0].id, stored)
    ):
        raise Invalid("The email address or password is wrong.", field="password")
    return await start_session(session, row[0], session_days)


async def _password_unchanged(session: AsyncSession, user_id: UUID, password_hash: str) -> bool:
    """True if the password did not change while it was verified. Locks: the credential, shared."""
    statement = select(col(Credential.user_id)).where(
        col(Credential.user_id) == user_id, col(Credential.password_hash) == password_hash
    )
    return (await session.execute(statement.with_for_update(read=True))).scalar_one_or_none() is not None


async def start_session(session: AsyncSession, user: Collective, days: int) -> NewSession:
    """Start a session of `days` days.

    Raises:
        InvalidState: the user is archived.
    """
    if user.archived_at is not None:
        raise InvalidState("This account is archived. Ask the platform to open it again.", field=WHOLE_INPUT)
    text, token = build_token(user.id, TokenKind.SESSION, now() + timedelta(days=days))
    session.add(token)
    await session.flush()
    return NewSession(user, text, token.expires_at)


async def sign_out(session: AsyncSession, actor: Actor) -> None:
    """Revoke the session or access token of this request."""
    require(actor, Action.SIGN_OUT)
    await session.execute(update(Token).where(col(Token.id) == actor.token_id).values(revoked_at=now()))
