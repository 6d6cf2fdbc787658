"""Sign-ins with other providers under way: bound to one browser, used once, and what they lead to."""

import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, ProviderSignIn, Token, now
from services.access.actor import Actor, hash_token, is_valid_token
from services.access.permissions import Action, require
from services.core.errors import WHOLE_INPUT, Invalid, InvalidState, NotFound
from services.identity import email_addresses, identities, sessions
from services.identity.oidc_providers import Claims, CodeRequest, Provider
from services.identity.sessions import NewSession, Origin

VALID_FOR = timedelta(minutes=10)
MAX_PATH_LENGTH = 500
_OWN_PATH = re.compile(r"/(?![/\\])[!-~]*")
_DELETED_AT_ONCE = 100


@dataclass(frozen=True)
class Outcome:
    """What a provider's answer leads to: a session, a link, an account to create, or one to link."""

    next_path: str
    session: NewSession | None = None
    is_linked: bool = False
    address_to_sign_up: str | None = None
    """The verified address of a person who has no account."""
    address_to_link: str | None = None
    """The verified address of an account that is linked once its password is given."""


def derive_secrets(*, browser_key: str, state: str, redirect_uri: str) -> CodeRequest:
    """Derive a sign-in's nonce and PKCE verifier, which only the browser that began it can repeat."""
    return CodeRequest(
        redirect_uri,
        nonce=_derive("nonce", browser_key, state),
        verifier=_derive("verifier", browser_key, state),
    )


def seal_challenge(challenge: str, *, provider: str, browser_key: str) -> str:
    """Derive what shows that a browser was asked for a second factor, after a sign-in with a provider."""
    return _derive(f"factor:{provider}", browser_key, challenge)


def _derive(purpose: str, browser_key: str, what: str) -> str:
    digest = sha256(f"{purpose}:{browser_key}:{what}".encode()).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def require_own_path(path: str | None) -> str:
    """Return a path of this server to which a browser may be sent; "/" if there is none.

    Raises:
        Invalid: it leads, or may lead, to another server.
    """
    if not path:
        return "/"
    if len(path) > MAX_PATH_LENGTH or not _OWN_PATH.fullmatch(path) or "\\" in path:
        raise Invalid("Enter a path of this server that begins with one slash.", field="next")
    return path


async def begin_sign_in(
    session: AsyncSession, actor: Actor, *, provider: Provider, browser_key: str, next_path: str, link: bool
) -> str:
    """Begin a sign-in, or the linking of an identity to the actor; return its state, which is not stored.

    Raises:
        AccessDenied: to link, a person has to be signed in, in a session confirmed lately.
    """
    if link:
        require(actor, Action.LINK_IDENTITY)
    old = (
        select(col(ProviderSignIn.state_hash))
        .where(col(ProviderSignIn.expires_at) < func.now())
        .limit(_DELETED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    await session.execute(delete(ProviderSignIn).where(col(ProviderSignIn.state_hash).in_(old)))
    state = secrets.token_urlsafe(32)
    session.add(
        ProviderSignIn(
            state_hash=hash_token(state),
            browser_hash=hash_token(browser_key),
            provider=provider.name,
            next_path=next_path,
            user_id=actor.id if link else None,
            session_id=actor.token_id if link else None,
            expires_at=now() + VALID_FOR,
        )
    )
    await session.flush()
    return state


async def use(session: AsyncSession, *, provider: Provider, state: str, browser_key: str | None) -> None:
    """Mark a sign-in as used, before its code is redeemed; the caller commits.

    Raises:
        NotFound: it was begun in another browser or with another provider, was used before, or is over.
    """
    used = await session.execute(
        update(ProviderSignIn)
        .where(
            col(ProviderSignIn.state_hash) == hash_token(state),
            col(ProviderSignIn.browser_hash) == hash_token(browser_key or ""),
            col(ProviderSignIn.provider) == provider.name,
            col(ProviderSignIn.used_at).is_(None),
            col(ProviderSignIn.expires_at) > func.now(),
        )
        .values(used_at=func.now())
        .returning(col(ProviderSignIn.state_hash))
    )
    if used.scalar_one_or_none() is None:
        raise _no_such_sign_in()


async def finish(
    session: AsyncSession, actor: Actor, *, provider: Provider, state: str, claims: Claims, origin: Origin
) -> Outcome:
    """Sign in whom a provider has proved, link the identity, or say what is missing. Locks: the sign-in.

    An address counts only if the provider has verified it.

    Raises:
        Conflict: the identity to link is another user's.
        Invalid: nobody has linked the identity, and the provider has not verified an address.
        InvalidState: the user is archived or suspended, or their session has ended meanwhile.
    """
    del actor
    row = await _lock_used(session, state)
    if row.user_id is not None:
        await _link_to_beginner(session, row, provider, claims)
        return Outcome(row.next_path, is_linked=True)
    user = await identities.find_user(session, issuer=claims.issuer, subject=claims.subject)
    if user is not None:
        started = await sessions.start_reported_session(session, user, origin)
        return Outcome(row.next_path, session=started)
    address = _require_verified_address(claims)
    owner = await email_addresses.find_user(session, address)
    if owner is None or not await _is_verified(session, owner.id):
        return Outcome(row.next_path, address_to_sign_up=address)
    row.subject, row.email = claims.subject, address
    await session.flush()
    return Outcome(row.next_path, address_to_link=address)


async def find_account_to_link(session: AsyncSession, *, state: str, browser_key: str | None) -> str:
    """Find the address of the account that a proved identity is to be linked to.

    Raises:
        NotFound: there is no such sign-in in this browser, or it is over.
    """
    statement = select(col(ProviderSignIn.email)).where(*_waits_for_password(state, browser_key))
    address = (await session.execute(statement)).scalar_one_or_none()
    owner = await email_addresses.find_user(session, address) if address is not None else None
    if owner is None:
        raise _no_such_sign_in()
    return (await email_addresses.load_emails(session, user_ids=[owner.id]))[owner.id]


async def link_account(
    session: AsyncSession,
    actor: Actor,
    *,
    provider: Provider,
    state: str,
    browser_key: str | None,
    user_id: UUID,
    origin: Origin,
) -> Outcome:
    """Link a proved identity to the user whose password was given, once, and sign them in.

    Raises:
        NotFound: there is no such sign-in in this browser, or it is over.
    """
    del actor
    ended = await session.execute(
        update(ProviderSignIn)
        .where(*_waits_for_password(state, browser_key), col(ProviderSignIn.provider) == provider.name)
        .values(ended_at=func.now())
        .returning(col(ProviderSignIn.subject), col(ProviderSignIn.email), col(ProviderSignIn.next_path))
    )
    row = ended.one_or_none()
    owner = await email_addresses.find_user(session, row.email) if row is not None else None
    if row is None or owner is None or owner.id != user_id:
        raise _no_such_sign_in()
    await identities.link(
        session,
        owner,
        issuer=provider.issuer,
        subject=row.subject,
        email=row.email,
        provider=provider.label,
    )
    started = await sessions.start_reported_session(session, owner, origin)
    return Outcome(row.next_path, session=started)


def _waits_for_password(state: str, browser_key: str | None) -> list[ColumnElement[bool]]:
    return [
        col(ProviderSignIn.state_hash) == hash_token(state),
        col(ProviderSignIn.browser_hash) == hash_token(browser_key or ""),
        col(ProviderSignIn.subject).is_not(None),
        col(ProviderSignIn.ended_at).is_(None),
        col(ProviderSignIn.expires_at) > func.now(),
    ]


async def _lock_used(session: AsyncSession, state: str) -> ProviderSignIn:
    statement = (
        select(ProviderSignIn)
        .where(
            col(ProviderSignIn.state_hash) == hash_token(state),
            col(ProviderSignIn.used_at).is_not(None),
            col(ProviderSignIn.ended_at).is_(None),
            col(ProviderSignIn.subject).is_(None),
        )
        .with_for_update()
    )
    row: ProviderSignIn | None = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise _no_such_sign_in()
    return row


async def _link_to_beginner(
    session: AsyncSession, row: ProviderSignIn, provider: Provider, claims: Claims
) -> None:
    is_open = exists().where(col(Token.id) == row.session_id, *is_valid_token())
    user = (
        await session.execute(select(Collective).where(col(Collective.id) == row.user_id, is_open))
    ).scalar_one_or_none()
    if user is None:
        raise InvalidState("Your session has ended. Sign in, and link the identity again.", field=WHOLE_INPUT)
    row.ended_at = now()
    await identities.link(
        session,
        user,
        issuer=claims.issuer,
        subject=claims.subject,
        email=claims.email,
        provider=provider.label,
    )


def _require_verified_address(claims: Claims) -> str:
    if claims.email is None or not claims.is_email_verified:
        raise Invalid(
            "The provider has not verified an email address of yours. Verify one there, or sign up here.",
            field=WHOLE_INPUT,
        )
    return email_addresses.require_email(claims.email, field="email")


async def _is_verified(session: AsyncSession, user_id: UUID) -> bool:
    statement = select(col(Credential.verified_at)).where(col(Credential.user_id) == user_id)
    row = (await session.execute(statement)).one_or_none()
    return row is None or row[0] is not None


def _no_such_sign_in() -> NotFound:
    return NotFound("This sign-in is over, or was begun in another browser. Start again.", field="state")
