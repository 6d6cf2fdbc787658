"""Money above the amount of the platform's policy moves in sessions that were confirmed lately."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, PlatformPolicy
from services.access.actor import Actor
from services.access.permissions import is_confirmed, require_confirmed
from services.collectives import platform_policy
from services.core.money import convert
from services.ledger import exchange_rates
from services.orders.base import charged_minor
from services.round_trips import effects

DOLLARS = "USD"
TakePolicy: TypeAlias = Callable[[], Awaitable[PlatformPolicy]]


async def read_policy_ahead(session: AsyncSession, actor: Actor) -> TakePolicy | None:
    """Read the policy for `require_confirmed_above` with what is read next; None if it needs none."""
    return None if is_confirmed(actor) else await platform_policy.read_policy_ahead(session)


async def require_confirmed_above(
    session: AsyncSession, actor: Actor, *orders: Order, policy: TakePolicy | None = None
) -> None:
    """Require a confirmed session if one of the orders, just decided or paid, is above the policy's amount.

    An amount without an exchange rate to dollars counts as above. Asked after all other rules: the problem
    undoes what was written. No statement if the session is confirmed, or the `policy` was read ahead.

    Raises:
        ConfirmationRequired: the session was not confirmed within 10 minutes.
    """
    if is_confirmed(actor) or not orders:
        return
    known = await (platform_policy.load_policy(session) if policy is None else policy())
    for order in orders:
        dollars_minor = await _to_dollars(session, order)
        if dollars_minor is None or dollars_minor > known.confirm_above_minor:
            await effects.flush(session)  # what the database has against the order comes first
            require_confirmed(actor)


async def _to_dollars(session: AsyncSession, order: Order) -> int | None:
    quote = await exchange_rates.find_quote(session, base=order.currency, target=DOLLARS)
    if quote is None:
        return None
    return convert(charged_minor(order), quote.rate, source=order.currency, target=DOLLARS)
