"""Signing up and in, counted before it is tried."""

from models import Collective
from resolvers.context import Info
from services.access import attempt_limits
from services.access.actor import ANONYMOUS
from services.core.errors import RateLimited
from services.identity import authentication, email_addresses, password_reset
from services.identity.authentication import SignedIn


async def sign_up(info: Info, *, email: str, name: str, password: str, currency: str | None) -> Collective:
    """Count the mail that is asked for, kept whatever comes of it; then sign up. The demo is not counted.

    Raises:
        RateLimited: too many mails to the address, or asked for from the network address.
    """
    context = info.context
    to = email_addresses.checked_email(email, path=["input", "email"])
    if not context.demo and not await context.aside(
        attempt_limits.count_sign_up, email=to, address=context.address
    ):
        raise RateLimited("Too many mails; wait an hour", path=["input", "email"])
    return await context.run(
        authentication.sign_up, email=to, name=name, password=password, currency=currency, demo=context.demo
    )


async def request_password_reset(info: Info, *, email: str) -> None:
    """Count the mail that is asked for, kept whatever comes of it; then queue it. The demo is not counted.

    Raises:
        RateLimited: too many mails to the address, or asked for from the network address.
    """
    context = info.context
    to = email_addresses.checked_email(email, path=["input", "email"])
    if not context.demo and not await context.aside(
        attempt_limits.count_password_reset, email=to, address=context.address
    ):
        raise RateLimited("Too many mails; wait an hour", path=["input", "email"])
    await context.run(password_reset.request_reset, email=to)


async def reset_password(info: Info, *, token: str, password: str) -> SignedIn:
    """Set a new password; where its user asks, the token that asks has ended for the fields that follow."""
    context = info.context
    done = await context.run(
        password_reset.reset, token=token, password=password, session_days=context.settings.session_days
    )
    if context.actor.id == done.user.id:
        context.actor = ANONYMOUS
    return done


async def sign_in(info: Info, *, email: str, password: str) -> SignedIn:
    """Count the try, kept whatever comes of it; then sign in.

    Raises:
        RateLimited: too many tries of the account or from the address.
    """
    context = info.context
    if not await context.aside(attempt_limits.count_sign_in, email=email, address=context.address):
        raise RateLimited("Too many tries; wait 15 minutes", path=["input", "email"])
    return await context.run(
        authentication.sign_in,
        email=email,
        password=password,
        session_days=context.settings.session_days,
    )
