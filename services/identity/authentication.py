"""User accounts: signing up, verifying an address, signing in and out."""

import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy import exists, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, Device, EmailToken, Token, now
from models.enums import CollectiveType, EmailTokenPurpose, TokenKind
from services.access.actor import Actor, hash_token
from services.access.permissions import Action, require
from services.core import slugs
from services.core.errors import WHOLE_INPUT, Invalid, InvalidState
from services.core.money import require_currency
from services.core.networks import normalize_address
from services.core.user_text import require_name
from services.identity import email_addresses, email_tokens, free_slugs, sessions
from services.identity.claiming import claim_user
from services.identity.sessions import NewSession, Origin
from services.messaging import outbox, reader_languages

VERIFY_DAYS = 7
PLACEHOLDER_NAME = "New member"


@dataclass(frozen=True)
class Candidate:
    """The user who may be signing in, and the hash to verify the password against."""

    user_id: UUID | None
    password_hash: str | None
    is_known: bool = False
    """True if the user has signed in from this network address, or with this browser, before."""


async def sign_up(
    session: AsyncSession, actor: Actor, *, email: str, name: str, currency: str | None = None
) -> Collective:
    """Mail a verification token; a new address gets a user who cannot sign in before using it.

    The chosen name is kept with the token: until then the stored user has a neutral name and slug. The
    password is chosen with the token, so that nobody else's can come with it. The result is a decoy that is
    not stored, whether the address is new, unclaimed or in use (its owner gets a mail about that): callers
    cannot learn which addresses have accounts.

    Raises:
        Invalid: the address, name or currency.
    """
    del actor
    address = email_addresses.require_email(email, field="email")
    chosen_name = require_name(name, field="name")
    if currency is not None:
        require_fiat(currency)
    user, is_proved = await _find_or_create_user(session, address, currency=currency)
    await reader_languages.note_browser(session, user.id, is_proved=False)
    if is_proved:
        await outbox.mail_address(
            session, address=address, template="address_in_use", payload={"name": user.name}
        )
    else:
        await _mail_verification(session, user.id, address, name=chosen_name)
    await session.flush()
    slug = await free_slugs.choose(session, name=chosen_name)
    return await _build_user(session, chosen_name, slug, currency)


async def _find_or_create_user(
    session: AsyncSession, address: str, *, currency: str | None
) -> tuple[Collective, bool]:
    """Return the user of an address, created if unknown, and True if the address is verified.

    The address of a merged user counts as verified: nobody signs in with it any more.
    """
    match = await _lock_by_email(session, address)
    if match is None and (remaining := await email_addresses.find_user(session, address)) is not None:
        match = await _lock_by_email(session, address)  # another sign-up may have created it just now
        if match is None:
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


async def _build_user(session: AsyncSession, name: str, slug: str, currency: str | None) -> Collective:
    """Build a new user whose money the platform holds; it is not stored."""
    statement = select(col(Collective.id)).where(col(Collective.is_platform))
    platform_id = (await session.execute(statement)).scalar_one_or_none()
    return Collective(
        slug=slug,
        type=CollectiveType.USER,
        name=name,
        currency=currency or "USD",
        host_id=platform_id,
        host_approved_at=now() if platform_id else None,
    )


async def create_user(
    session: AsyncSession, *, email: str, name: str, currency: str | None = None
) -> tuple[Collective, Credential]:
    """Create an unclaimed user whose money the platform holds; the name is neutral, and the slug random.

    If another transaction has just created a user of the address, return that one. Locks: the credential.
    """
    slug = slugs.suggest(name, suffix=secrets.token_hex(6))
    user = await _build_user(session, name, slug, currency)
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


async def _mail_verification(session: AsyncSession, user_id: UUID, address: str, *, name: str) -> None:
    """Mail a token that keeps the chosen name until the address is verified."""
    token = secrets.token_urlsafe(32)
    session.add(
        EmailToken(
            token_hash=hash_token(token),
            user_id=user_id,
            purpose=EmailTokenPurpose.VERIFY,
            expires_at=now() + timedelta(days=VERIFY_DAYS),
            name=name,
        )
    )
    await outbox.mail_address(
        session, address=address, template="verify_email", payload={"name": name, "token": token}
    )


async def verify_email(
    session: AsyncSession, actor: Actor, *, token: str, password_hash: str, origin: Origin
) -> NewSession:
    """Verify an address with the mailed token, once, set the password and start a session.

    This claims the user's account. Every other mailed token of the user ends, and an address that is proved
    takes none. Claiming is confirmed by mail. Locks: the user's credential, then the user.

    Raises:
        NotFound: the token is unknown, used or expired.
    """
    del actor
    claim = await email_tokens.claim(session, token, EmailTokenPurpose.VERIFY)
    if claim.credential.verified_at is not None:
        raise email_tokens.no_such_link()
    claim.credential.password_hash = password_hash
    user, is_new = await claim_user(session, claim.credential, name=claim.name)
    return replace(await sessions.start_session(session, user, origin), is_claimed_now=is_new)


async def claim_proved_address(
    session: AsyncSession, *, address: str, name: str | None, origin: Origin
) -> NewSession:
    """Claim the user of an address that a provider has verified, new or not, and start a session.

    There is no password yet. Mailed tokens of the user end. Locks: the user's credential, then the user.

    Raises:
        InvalidState: the address has been verified meanwhile.
    """
    match = await _lock_by_email(session, address)
    user, credential = match or await create_user(session, email=address, name=PLACEHOLDER_NAME)
    if credential.verified_at is not None:
        raise InvalidState("This email address has just been signed up. Start again.", field=WHOLE_INPUT)
    await email_tokens.end_all(session, user_id=user.id)
    credential.password_hash = None
    user, is_new = await claim_user(session, credential, name=name)
    return replace(await sessions.start_session(session, user, origin), is_claimed_now=is_new)


async def load_candidate(
    session: AsyncSession, *, email: str, address: str, device_key: str | None = None
) -> Candidate:
    """Load what a sign-in is checked against; for an unknown or unverified address, too."""
    has_device = exists().where(
        col(Device.user_id) == Credential.user_id, col(Device.key_hash) == hash_token(device_key or "")
    )
    statement = select(
        col(Credential.user_id),
        col(Credential.password_hash),
        exists().where(
            col(Token.user_id) == Credential.user_id,
            col(Token.kind) == TokenKind.SESSION,
            col(Token.network) == normalize_address(address),
        ),
        has_device,
    ).where(col(Credential.email) == email, col(Credential.verified_at).is_not(None))
    row = (await session.execute(statement)).one_or_none()
    return (
        Candidate(None, None)
        if row is None
        else Candidate(row[0], row[1], is_known=(row[2] and bool(address)) or row[3])
    )


async def sign_in(session: AsyncSession, actor: Actor, *, candidate: Candidate, origin: Origin) -> NewSession:
    """Start a session for a user whose password was verified. A device that is new is told by mail.

    Raises:
        Invalid: the password has changed meanwhile.
        InvalidState: the user is archived or suspended.
    """
    del actor
    user_id = await require_unchanged(session, candidate)
    user = (await session.execute(select(Collective).where(col(Collective.id) == user_id))).scalar_one()
    return await sessions.start_reported_session(session, user, origin)


def wrong_password() -> Invalid:
    """Return the problem of a failed sign-in, which does not say what was wrong."""
    return Invalid("The email address or password is wrong.", field="password")


async def require_unchanged(session: AsyncSession, candidate: Candidate) -> UUID:
    """Return the user whose password was verified, if it is still the same. Locks: the credential, shared.

    Raises:
        Invalid: it is not.
    """
    if candidate.user_id is None or candidate.password_hash is None:
        raise wrong_password()
    if not await _password_unchanged(session, candidate.user_id, candidate.password_hash):
        raise wrong_password()
    return candidate.user_id


async def _password_unchanged(session: AsyncSession, user_id: UUID, password_hash: str) -> bool:
    """True if the password did not change while it was verified. Locks: the credential, shared."""
    statement = select(col(Credential.user_id)).where(
        col(Credential.user_id) == user_id, col(Credential.password_hash) == password_hash
    )
    return (await session.execute(statement.with_for_update(read=True))).scalar_one_or_none() is not None


async def sign_out(session: AsyncSession, actor: Actor) -> None:
    """Revoke the session or access token of this request."""
    require(actor, Action.SIGN_OUT)
    await session.execute(update(Token).where(col(Token.id) == actor.token_id).values(revoked_at=now()))
