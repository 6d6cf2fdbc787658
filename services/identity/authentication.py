"""Accounts of people: signing up, proving an address, signing in and out."""

import asyncio
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, EmailToken, SlugRedirect, Token, now
from models.enums import CollectiveType, EmailTokenPurpose, TokenKind
from services.access.actor import Actor, token_hash
from services.access.permissions import Action, require
from services.core import slugs
from services.core.errors import Invalid, NotFound
from services.core.money import known_currency
from services.core.user_text import required
from services.identity import email_addresses
from services.identity.access_tokens import new_token
from services.messaging import outbox

VERIFY_DAYS = 7
NEW_MEMBER = "New member"
MIN_PASSWORD, MAX_PASSWORD = 8, 200
_hasher = PasswordHasher()
_hashing = asyncio.Semaphore(2)
# Verified when an address is unknown, so that the answer takes as long as for a known one.
_NOBODYS_HASH = _hasher.hash(secrets.token_urlsafe())


@dataclass(frozen=True)
class SignedIn:
    """A user with the token of a new session; the token is not stored and shown once."""

    user: Collective
    token: str
    expires_at: datetime
    is_claimed_now: bool = False
    """Whether the user's row was claimed by it."""


async def hash_password(password: str) -> str:
    """Hash with argon2id, beside the event loop; at most two at once, for each takes 64 MiB."""
    async with _hashing:
        return await asyncio.to_thread(_hasher.hash, password)


async def _matches(password_hash: str, password: str) -> bool:
    async with _hashing:
        try:
            return await asyncio.to_thread(_hasher.verify, password_hash, password)
        except (VerificationError, InvalidHashError):
            return False


def checked_password(password: str, *, demo: bool = False) -> str:
    """Return a password that is long enough, and not too long.

    Raises:
        Invalid: it is not.
    """
    path = ["input", "password"]
    if len(password) < (1 if demo else MIN_PASSWORD) or len(password) > MAX_PASSWORD:
        raise Invalid(f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters", path=path)
    return password


async def sign_up(
    session: AsyncSession,
    actor: Actor,
    *,
    email: str,
    name: str,
    password: str,
    currency: str | None = None,
    demo: bool = False,
) -> Collective:
    """Mail a token to the address; a new one gets a user who cannot sign in before the token is used.

    What was chosen goes with the token: the user stored for a new address has a name and a slug that say
    nothing. The answer is a look-alike that is stored nowhere, whether the address is new, known by email
    alone or in use (the mail to its owner says so): nobody learns whose addresses are here.
    """
    del actor
    address = email_addresses.checked_email(email, path=["input", "email"])
    shown = required(name, path=["input", "name"])
    secret = await hash_password(checked_password(password, demo=demo))
    if currency is not None:
        fiat(currency)
    user, is_proved = await _whose(session, address, currency=currency)
    if is_proved:
        await outbox.to_address(
            session, address=address, template="address_in_use", payload={"name": user.name}
        )
    else:
        await _mail_verification(session, user.id, address, name=shown, password_hash=secret)
    await session.flush()
    return await _like_new(session, shown, currency)


async def _whose(session: AsyncSession, address: str, *, currency: str | None) -> tuple[Collective, bool]:
    """Return the user of an address, made if there is none, and whether the address is proved.

    That of a user who was merged counts as proved: it signs nobody in any more.
    """
    known = await _by_email(session, address)
    if known is None and (remaining := await email_addresses.user_of_email(session, address)) is not None:
        return remaining, True
    user, credential = known or await create_user(session, email=address, name=NEW_MEMBER, currency=currency)
    return user, credential.verified_at is not None


def fiat(currency: str) -> str:
    """Return the code of a currency that money is kept in.

    Raises:
        Invalid: it is unknown, or CUR.
    """
    code = known_currency(currency, path=["input", "currency"])
    if code == "CUR":
        raise Invalid("Money is kept in a currency; CUR comes beside it", path=["input", "currency"])
    return code


async def _like_new(session: AsyncSession, name: str, currency: str | None) -> Collective:
    """Return a new user, not stored, whose cash the platform would hold."""
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
    """Create an unclaimed user whose cash the platform would hold.

    Where another transaction has just created one of the address, that one is returned. Locks: the
    credential.
    """
    user = await _like_new(session, name, currency)
    user.slug = slugs.suggest(name, suffix=secrets.token_hex(6))
    async with session.begin_nested() as savepoint:
        session.add(user)
        await session.flush()
        made = insert(Credential).values(user_id=user.id, email=email).on_conflict_do_nothing()
        if (await session.execute(made.returning(col(Credential.user_id)))).scalar_one_or_none() is None:
            await savepoint.rollback()
    found = await _by_email(session, email)
    assert found is not None
    return found


async def _by_email(session: AsyncSession, email: str) -> tuple[Collective, Credential] | None:
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
    """Mail a token that carries what was chosen: nothing of it counts before the address is proved."""
    token = secrets.token_urlsafe(32)
    session.add(
        EmailToken(
            token_hash=token_hash(token),
            user_id=user_id,
            purpose=EmailTokenPurpose.VERIFY,
            expires_at=now() + timedelta(days=VERIFY_DAYS),
            name=name,
            password_hash=password_hash,
        )
    )
    await outbox.to_address(
        session, address=address, template="verify_email", payload={"name": name, "token": token}
    )


async def verify_email(session: AsyncSession, actor: Actor, *, token: str, session_days: int) -> SignedIn:
    """Prove an address with the mailed token, once: claims the user's row, which a mail confirms; signs in.

    Raises:
        NotFound: the token is unknown, used or expired.
    """
    del actor
    used = await session.execute(
        update(EmailToken)
        .where(
            col(EmailToken.token_hash) == token_hash(token),
            col(EmailToken.purpose) == EmailTokenPurpose.VERIFY,
            col(EmailToken.used_at).is_(None),
            col(EmailToken.expires_at) > now(),
        )
        .values(used_at=now())
        .returning(col(EmailToken.user_id), col(EmailToken.name), col(EmailToken.password_hash))
    )
    proof = used.one_or_none()
    if proof is None:
        raise NotFound("This link is not valid any more", path=["input", "token"])
    user: Collective = (
        await session.execute(select(Collective).where(col(Collective.id) == proof.user_id).with_for_update())
    ).scalar_one()
    is_new = user.claimed_at is None
    if is_new and proof.name is not None:
        _take_name(session, user, proof.name)
    user.claimed_at = user.claimed_at or now()
    user.updated_at = now()
    proved = await session.execute(
        update(Credential)
        .where(col(Credential.user_id) == user.id)
        .values(
            verified_at=func.coalesce(col(Credential.verified_at), now()),
            password_hash=func.coalesce(proof.password_hash, col(Credential.password_hash)),
        )
        .returning(col(Credential.email))
    )
    if is_new:
        await outbox.to_address(
            session, address=proved.scalar_one(), template="email_confirmed", payload={"name": user.name}
        )
    return replace(await start_session(session, user, session_days), is_claimed_now=is_new)


def _take_name(session: AsyncSession, user: Collective, name: str) -> None:
    """Give a user the chosen name, and a slug like it unless another slug was chosen for the user."""
    if slugs.is_suggested(user.slug, name=user.name):
        session.add(SlugRedirect(slug=user.slug, collective_id=user.id))
        user.slug = slugs.suggest(name, suffix=secrets.token_hex(3))
    user.name = name


async def sign_in(
    session: AsyncSession, actor: Actor, *, email: str, password: str, session_days: int
) -> SignedIn:
    """Start a session. The caller counts tries before this.

    Raises:
        Invalid: address or password are wrong, or the address is not proved yet; it does not say which.
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
    matches = await _matches(stored or _NOBODYS_HASH, password)
    if row is None or stored is None or not matches or not await _still(session, row[0].id, stored):
        raise Invalid("The address or the password is wrong", path=["input", "password"])
    return await start_session(session, row[0], session_days)


async def _still(session: AsyncSession, user_id: UUID, password_hash: str) -> bool:
    """Whether the password was not changed while it was being compared. Locks: the credential, shared."""
    statement = select(col(Credential.user_id)).where(
        col(Credential.user_id) == user_id, col(Credential.password_hash) == password_hash
    )
    return (await session.execute(statement.with_for_update(read=True))).scalar_one_or_none() is not None


async def start_session(session: AsyncSession, user: Collective, days: int) -> SignedIn:
    """Sign a user in for so many days."""
    text, token = new_token(user.id, TokenKind.SESSION, now() + timedelta(days=days))
    session.add(token)
    await session.flush()
    return SignedIn(user, text, token.expires_at)


async def sign_out(session: AsyncSession, actor: Actor) -> None:
    """End the session, or the access token, that asks."""
    require(actor, Action.SIGN_OUT)
    await session.execute(update(Token).where(col(Token.id) == actor.token_id).values(revoked_at=now()))
