"""Accounts of people: signing up, proving an address, signing in and out, tokens for programs."""

import asyncio
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, EmailToken, Token, new_id, now
from models.enums import CollectiveType, EmailTokenPurpose, Scope, TokenKind
from services import outbox, slugs
from services.actors import Actor, token_hash
from services.errors import Invalid, NotFound
from services.money import known_currency
from services.permissions import Action, require
from services.texts import required

VERIFY_DAYS = 7
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


def checked_email(email: str, *, path: list[str]) -> str:
    """Return the address in lower case.

    Raises:
        Invalid: it is no address.
    """
    address = required(email, path=path, max_length=254).lower()
    name, at, domain = address.rpartition("@")
    if not (name and at and "." in domain.strip(".")) or any(c.isspace() for c in address):
        raise Invalid("This is not an email address", path=path)
    return address


def _checked_password(password: str, *, demo: bool) -> str:
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
    """Create a user who cannot sign in before the mailed token is used.

    An address that is known by email alone gets the password and another mail. For an address in use the
    answer is the same, and its owner gets a mail that says so: nobody learns whose addresses are here.
    """
    del actor
    address = checked_email(email, path=["input", "email"])
    shown = required(name, path=["input", "name"])
    secret = await hash_password(_checked_password(password, demo=demo))
    if currency is not None:
        fiat(currency)
    known = await _by_email(session, address)
    if known is not None and known[1].verified_at is not None:
        await outbox.to_address(
            session, address=address, template="address_in_use", payload={"name": known[0].name}
        )
        return _like_new(shown, currency, host_of=known[0])
    answered = _like_new(shown, currency, host_of=known[0] if known else None)
    if known is None:
        answered, _ = await create_user(session, email=address, name=shown, currency=currency)
    user_id = known[0].id if known else answered.id
    await _mail_verification(session, user_id, address, name=shown, password_hash=secret)
    await session.flush()
    return answered


def fiat(currency: str) -> str:
    """Return the code of a currency that money is kept in.

    Raises:
        Invalid: it is unknown, or CUR.
    """
    code = known_currency(currency, path=["input", "currency"])
    if code == "CUR":
        raise Invalid("Money is kept in a currency; CUR comes beside it", path=["input", "currency"])
    return code


def _like_new(name: str, currency: str | None, *, host_of: Collective | None = None) -> Collective:
    """Return what a new user would look like; with `host_of`, hosted as that one is."""
    return Collective(
        slug=slugs.suggest(name, suffix=secrets.token_hex(3)), type=CollectiveType.USER, name=name,
        currency=currency or "USD", host_id=host_of.host_id if host_of else None,
        host_approved_at=now() if host_of and host_of.host_id else None,
    )  # fmt: skip


async def create_user(
    session: AsyncSession, *, email: str, name: str, currency: str | None = None
) -> tuple[Collective, Credential]:
    """Create an unclaimed user whose cash the platform would hold."""
    platform = (
        await session.execute(select(Collective).where(col(Collective.is_platform)))
    ).scalar_one_or_none()
    user = _like_new(name, currency)
    if platform is not None:
        user.host_id, user.host_approved_at = platform.id, now()
    session.add(user)
    await session.flush()
    credential = Credential(user_id=user.id, email=email)
    session.add(credential)
    await session.flush()
    return user, credential


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
            token_hash=token_hash(token), user_id=user_id, purpose=EmailTokenPurpose.VERIFY,
            expires_at=now() + timedelta(days=VERIFY_DAYS), name=name, password_hash=password_hash,
        )
    )  # fmt: skip
    await outbox.to_address(
        session, address=address, template="verify_email", payload={"name": name, "token": token}
    )


async def verify_email(session: AsyncSession, actor: Actor, *, token: str, session_days: int) -> SignedIn:
    """Prove an address with the mailed token, once: claims the user's row and signs in.

    Raises:
        NotFound: the token is unknown, used or expired.
    """
    del actor
    used = await session.execute(
        update(EmailToken)
        .where(
            col(EmailToken.token_hash) == token_hash(token),
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
        await session.execute(select(Collective).where(col(Collective.id) == proof.user_id))
    ).scalar_one()
    if user.claimed_at is None:
        user.name = proof.name or user.name
    user.claimed_at = user.claimed_at or now()
    user.updated_at = now()
    await session.execute(
        update(Credential)
        .where(col(Credential.user_id) == user.id)
        .values(
            verified_at=func.coalesce(col(Credential.verified_at), now()),
            password_hash=func.coalesce(proof.password_hash, col(Credential.password_hash)),
        )
    )
    return await _start_session(session, user, session_days)


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
    if row is None or stored is None or not matches:
        raise Invalid("The address or the password is wrong", path=["input", "password"])
    return await _start_session(session, row[0], session_days)


async def _start_session(session: AsyncSession, user: Collective, days: int) -> SignedIn:
    text, token = _new_token(user.id, TokenKind.SESSION, now() + timedelta(days=days))
    session.add(token)
    await session.flush()
    return SignedIn(user, text, token.expires_at)


def _new_token(user_id: UUID, kind: TokenKind, expires_at: datetime, **columns: Any) -> tuple[str, Token]:
    text = ("cws_" if kind is TokenKind.SESSION else "cwa_") + secrets.token_urlsafe(32)
    return text, Token(
        id=new_id(), user_id=user_id, kind=kind, token_hash=token_hash(text),
        expires_at=expires_at, **columns,
    )  # fmt: skip


async def sign_out(session: AsyncSession, actor: Actor) -> None:
    """End the session, or the access token, that asks."""
    require(actor, Action.SIGN_OUT)
    await session.execute(update(Token).where(col(Token.id) == actor.token_id).values(revoked_at=now()))


async def create_access_token(
    session: AsyncSession, actor: Actor, *, name: str, scopes: list[Scope], expires_at: datetime
) -> tuple[str, Token]:
    """Make a token for a program, with at most the maker's own scopes; its text is not stored.

    Raises:
        Invalid: no name, no scope, a scope that the maker's own token lacks, or an end outside the next
            year.
    """
    require(actor, Action.CREATE_ACCESS_TOKEN)
    assert actor.user is not None  # noqa: S101 - require has seen to it
    shown = required(name, path=["input", "name"])
    if not scopes:
        raise Invalid("Name at least one scope", path=["input", "scopes"])
    if actor.scopes is not None and not actor.scopes.issuperset(scopes):
        raise Invalid("A token cannot make one that may do more", path=["input", "scopes"])
    if actor.scopes is not None and actor.expires_at is not None and expires_at > actor.expires_at:
        raise Invalid("A token cannot make one that lasts longer", path=["input", "expiresAt"])
    if not now() < expires_at <= now() + timedelta(days=366):
        raise Invalid("The end must lie within the next year", path=["input", "expiresAt"])
    text, token = _new_token(
        actor.user.id, TokenKind.ACCESS, expires_at, name=shown, scopes=sorted(set(scopes))
    )
    session.add(token)
    await session.flush()
    return text, token


async def revoke_access_token(session: AsyncSession, actor: Actor, *, token_id: UUID) -> Token:
    """End one of the user's own access tokens; ended already is well, too.

    Raises:
        NotFound: the user has no such token.
    """
    require(actor, Action.REVOKE_ACCESS_TOKEN)
    token = (
        await session.execute(
            select(Token).where(
                col(Token.id) == token_id,
                col(Token.user_id) == actor.id,
                col(Token.kind) == TokenKind.ACCESS,
            )
        )
    ).scalar_one_or_none()
    if token is None:
        raise NotFound("There is no such access token", path=["input", "id"])
    token.revoked_at = token.revoked_at or now()
    await session.flush()
    return token


async def access_tokens(session: AsyncSession, actor: Actor) -> list[Token]:
    """Return the user's access tokens that still hold, newest first."""
    statement = (
        select(Token)
        .where(
            col(Token.user_id) == actor.id,
            col(Token.kind) == TokenKind.ACCESS,
            col(Token.revoked_at).is_(None),
            col(Token.expires_at) > now(),
        )
        .order_by(col(Token.id).desc())
    )
    return list((await session.execute(statement)).scalars())


async def email_of(session: AsyncSession, *, user_ids: list[UUID]) -> dict[UUID, str]:
    """Return the addresses of users; who may see them is the caller's to decide."""
    rows = await session.execute(
        select(col(Credential.user_id), col(Credential.email)).where(col(Credential.user_id).in_(user_ids))
    )
    return {row.user_id: row.email for row in rows}
