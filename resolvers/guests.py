"""Gifts of guests, which are counted by address."""

from typing import Any

import models
from resolvers.context import Info
from services.access import attempt_limits
from services.core.errors import RateLimited
from services.identity import email_addresses
from services.orders import guest_gifts


async def donate(info: Info, *, email: str, is_rehearsal: bool, **gift: Any) -> models.Order:
    """Donate as a guest; the attempt counts even if this fails.

    Raises:
        RateLimited: too many gifts by the email address, or from the network address.
    """
    context = info.context
    address = email_addresses.require_email(email, field="email")
    if not is_rehearsal and not await context.in_own_transaction(
        attempt_limits.consume_guest_gift, email=address, address=context.address
    ):
        raise RateLimited("Too many gifts. Try again in an hour.", field="email")
    order: models.Order = await context.run(guest_gifts.donate, email=address, **gift)
    return order
