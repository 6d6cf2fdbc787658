"""Sign-up, sign-in and sign-out; attempts are counted before they are made."""

from models import Collective
from resolvers.context import Info
from services.access import attempt_limits
from services.access.actor import ANONYMOUS
from services.core.errors import RateLimited
from services.identity import authentication, email_addresses, password_reset
from services.identity.authentication import NewSession
from services.volunteering import issuers


async def sign_up(info: Info, *, email: str, name: str, password: str, currency: str | None) -> Collective:
    """Create a user; the attempt counts even if this fails.

    Raises:
        RateLimited: too many mails to the email address, or requested from the network address.
    """
    context = info.context
    address = email_addresses.require_email(email, field="email")
    if not await context.in_own_transaction(
        attempt_limits.consume_sign_up_attempt, email=address, address=context.address
    ):
        raise RateLimited("Too many mails. Try again in an hour.", field="email")
    return await context.run(
        authentication.sign_up, email=address, name=name, password=password, currency=currency
    )


async def request_password_reset(info: Info, *, email: str) -> None:
    """Queue the mail with a token for a new password; the attempt counts even if this fails.

    Raises:
        RateLimited: too many mails to the email address, or requested from the network address.
    """
    context = info.context
    address = email_addresses.require_email(email, field="email")
    if not await context.in_own_transaction(
        attempt_limits.consume_password_reset_attempt, email=address, address=context.address
    ):
        raise RateLimited("Too many mails. Try again in an hour.", field="email")
    await context.run(password_reset.request_reset, email=address)


async def reset_password(info: Info, *, token: str, password: str) -> NewSession:
    """Set a new password.

    This ends all sessions of the user: if the viewer is that user, the fields that follow have no viewer.
    """
    context = info.context
    session = await context.run(
        password_reset.reset, token=token, password=password, session_days=context.settings.session_days
    )
    if context.actor.id == session.user.id:
        context.actor = ANONYMOUS
    return session


async def sign_in(info: Info, *, email: str, password: str) -> NewSession:
    """Sign in; the attempt counts even if this fails.

    Raises:
        RateLimited: too many attempts on the account or from the network address.
    """
    context = info.context
    if not await context.in_own_transaction(
        attempt_limits.consume_sign_in_attempt, email=email, address=context.address
    ):
        raise RateLimited("Too many attempts. Try again in 15 minutes.", field="email")
    return await context.run(
        authentication.sign_in,
        email=email,
        password=password,
        session_days=context.settings.session_days,
    )


async def verify_email(info: Info, *, token: str) -> NewSession:
    """Verify an email address with the mailed token: claims the account and signs in."""
    days = info.context.settings.session_days
    return await info.context.run(issuers.claim_account, token=token, session_days=days)


async def sign_out(info: Info) -> Collective | None:
    """End the session; the fields that follow have no viewer. Return the user."""
    context = info.context
    await context.run(authentication.sign_out)
    context.session_cookie.has_ended = True
    user, context.actor = context.actor.user, ANONYMOUS
    return user
