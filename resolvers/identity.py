"""Sign-up, sign-in and sign-out; attempts are counted before they are made."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Token
from models.enums import EmailTokenPurpose
from resolvers.context import Context, Info
from services.access import attempt_limits
from services.core.errors import Busy, Invalid, RateLimited
from services.core.networks import normalize_address
from services.identity import (
    authentication,
    email_addresses,
    email_tokens,
    password_reset,
    passwords,
    sessions,
)
from services.identity.authentication import Candidate
from services.identity.sessions import NewSession, Origin
from services.volunteering import issuers


@dataclass(frozen=True)
class PasswordAttempt:
    """One attempt at a password: whose, from where."""

    email: str
    address: str
    is_known: bool

    async def forget(self, session: AsyncSession) -> None:
        """Forget the attempt and the failures before it."""
        await attempt_limits.forget_sign_in_attempt(
            session, email=self.email, address=self.address, is_known=self.is_known
        )


async def sign_up(info: Info, *, email: str, name: str, currency: str | None) -> Collective:
    """Create a user; the attempt counts even if this fails.

    Raises:
        RateLimited: too many mails to the email address, or requested from the network address.
    """
    context = info.context
    address = email_addresses.require_email(email, field="email")
    if not await context.in_own_transaction(
        attempt_limits.consume_sign_up_attempt,
        email=address,
        address=context.address,
        per_address=context.settings.sign_up_mails_per_address,
    ):
        raise RateLimited("Too many mails. Try again in an hour.", field="email")
    return await context.run(authentication.sign_up, email=address, name=name, currency=currency)


async def request_password_reset(info: Info, *, email: str) -> None:
    """Queue the mail with a token for a new password; the attempt counts even if this fails.

    Raises:
        RateLimited: too many mails to the email address, or requested from the network address.
    """
    context = info.context
    address = email_addresses.require_email(email, field="email")
    if not await context.in_own_transaction(
        attempt_limits.consume_password_reset_attempt,
        email=address,
        address=context.address,
        per_address=context.settings.sign_up_mails_per_address,
    ):
        raise RateLimited("Too many mails. Try again in an hour.", field="email")
    await context.run(password_reset.request_reset, email=address)


async def reset_password(info: Info, *, token: str, password: str) -> NewSession:
    """Set a new password.

    This ends all sessions of the user: if the viewer is that user, the fields that follow have no viewer.
    """
    context = info.context
    secret = await _hash_for_link(context, token, password, EmailTokenPurpose.RESET)
    started = await context.run(
        password_reset.reset, token=token, password_hash=secret, origin=origin_of(context)
    )
    if context.actor.id == started.user.id:
        context.forget_viewer()
    return started


async def sign_in(info: Info, *, email: str, password: str) -> NewSession:
    """Sign in; a failure counts.

    Raises:
        RateLimited: too many failures on the account or from the network address.
        Busy: too many others are signing in.
    """
    context = info.context
    candidate, counted = await require_password_of(context, email=email, password=password)
    started = await context.run(authentication.sign_in, candidate=candidate, origin=origin_of(context))
    await context.run_without_viewer(counted.forget)
    return started


async def require_password_of(
    context: Context, *, email: str, password: str
) -> tuple[Candidate, PasswordAttempt]:
    """Require the password of the account with an address; a wrong one counts as a failure.

    No connection is held while the password is verified.

    Raises:
        RateLimited: too many failures on the account or from the network address.
        Busy: too many others are signing in.
        Invalid: the address or the password is wrong.
    """
    address = email_addresses.canonical_guess(email)
    await let_go(context)
    candidate = await context.in_own_transaction(
        authentication.load_candidate,
        email=address,
        address=context.address,
        device_key=context.session_cookie.old_device,
    )
    counted = PasswordAttempt(address, context.address, is_known=candidate.is_known)
    await _count_attempt(context, counted)
    hash_ = candidate.password_hash or passwords.DUMMY_HASH
    try:
        matches = await passwords.verify_password(hash_, password)
    except Busy:
        await context.in_own_transaction(counted.forget)
        raise
    if not matches or candidate.password_hash is None:
        raise authentication.wrong_password()
    return candidate, counted


async def _count_attempt(context: Context, attempt: PasswordAttempt) -> None:
    if not await context.in_own_transaction(
        attempt_limits.consume_sign_in_attempt,
        email=attempt.email,
        address=attempt.address,
        is_known=attempt.is_known,
        per_address=context.settings.sign_in_failures_per_address,
    ):
        raise RateLimited("Too many failed attempts. Try again in 15 minutes.", field="email")


async def verify_email(info: Info, *, token: str, password: str) -> NewSession:
    """Verify an email address with the mailed token and set the password: claims the account and signs in."""
    context = info.context
    secret = await _hash_for_link(context, token, password, EmailTokenPurpose.VERIFY)
    return await context.run(
        issuers.claim_account, token=token, password_hash=secret, origin=origin_of(context)
    )


async def let_go(context: Context) -> None:
    """Return the connection before a password is hashed; where that cannot be, require that nobody waits.

    Raises:
        Busy: earlier fields of the operation hold the connection, and others wait.
    """
    if not await context.release():
        passwords.require_idle()


async def _hash_for_link(context: Context, token: str, password: str, purpose: EmailTokenPurpose) -> str:
    """Check the password and the link that it is chosen with, then hash it while holding no connection."""
    passwords.require_password(password)
    await let_go(context)
    await context.in_own_transaction(email_tokens.require_valid, token=token, purpose=purpose)
    return await passwords.hash_password(password)


async def change_password(info: Info, *, current_password: str, new_password: str) -> Collective:
    """Change the viewer's password; a wrong present one counts.

    Raises:
        RateLimited: too many failures.
        Busy: too many others are signing in.
    """
    context = info.context
    passwords.require_password(new_password, field="newPassword")
    old_hash = await context.run(password_reset.load_own_hash)
    await require_own_password(
        context, password_hash=old_hash, password=current_password, field="currentPassword"
    )
    assert old_hash is not None
    secret = await passwords.hash_password(new_password)
    user = await context.run(password_reset.change, old_hash=old_hash, password_hash=secret)
    await context.run_without_viewer(attempt_limits.forget_own_password_attempts, user_id=user.id)
    return user


async def require_own_password(
    context: Context, *, password_hash: str | None, password: str, field: str
) -> None:
    """Require the viewer's password, which was loaded before; a wrong one counts, from whatever network.

    The caller has the failures forgotten once what it does has worked.

    Raises:
        RateLimited: too many failures.
        Busy: too many others are signing in.
        Invalid: it is wrong.
    """
    user_id = context.actor.id
    assert user_id is not None
    await let_go(context)
    if not await context.in_own_transaction(attempt_limits.consume_own_password_attempt, user_id=user_id):
        raise RateLimited("Too many wrong passwords. Try again later, or sign in again.", field=field)
    try:
        is_right = password_hash is not None and await passwords.verify_password(password_hash, password)
    except Busy:
        await context.in_own_transaction(attempt_limits.take_back_own_password_attempt, user_id=user_id)
        raise
    if not is_right:
        raise Invalid("This is not your present password.", field=field)


async def keep_session(info: Info, started: NewSession) -> bool:
    """Keep a new session's token in the cookie if the request asks for it; end the cookie's old session."""
    cookie = info.context.session_cookie
    if not cookie.keep(started.token, started.expires_at):
        return False
    if cookie.old_token is not None:
        await info.context.run_without_viewer(sessions.end_session_of_token, token=cookie.old_token)
    return True


async def end_session(info: Info, *, session_id: UUID) -> Token:
    """End one of the viewer's sessions; after its own, the fields that follow have no viewer."""
    context = info.context
    ended = await context.run(sessions.end_session, session_id=session_id)
    if ended.id == context.actor.token_id:
        context.session_cookie.has_ended = True
        context.forget_viewer()
    return ended


def origin_of(context: Context) -> Origin:
    """Return where a session is started from."""
    network = normalize_address(context.address) if context.address else ""
    return Origin(
        context.settings.session_days,
        device=context.device,
        network=network,
        device_key=context.session_cookie.keep_device(),
    )


async def sign_out(info: Info) -> Collective | None:
    """End the session; the fields that follow have no viewer. Return the user."""
    context = info.context
    await context.run(authentication.sign_out)
    context.session_cookie.has_ended = True
    user = context.actor.user
    context.forget_viewer()
    return user
