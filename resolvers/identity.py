"""Signing in, counted before it is tried."""

from resolvers.context import Info
from services import identity, throttle
from services.errors import RateLimited
from services.identity import SignedIn


async def sign_in(info: Info, *, email: str, password: str) -> SignedIn:
    """Count the try, kept whatever comes of it; then sign in.

    Raises:
        RateLimited: too many tries of the account or from the address.
    """
    context = info.context
    if not await context.aside(throttle.count_sign_in, email=email, address=context.address):
        raise RateLimited("Too many tries; wait 15 minutes", path=["input", "email"])
    return await context.run(
        identity.sign_in, email=email, password=password,
        session_days=context.settings.session_days,
    )  # fmt: skip
