"""Money above the amount of the platform's policy moves in sessions that were confirmed lately."""

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order
from services.access.actor import Actor
from services.access.permissions import is_confirmed, require_confirmed
from services.collectives import platform_policy
from services.core.money import convert
from services.ledger import exchange_rates
from services.orders.base import charged_minor

DOLLARS = "USD"


async def require_confirmed_above(session: AsyncSession, actor: Actor, *orders: Order) -> None:
    """Require a confirmed session if one of the orders, just decided or paid, is above the policy's amount.

    An amount without an exchange rate to dollars counts as above. Asked after all other rules: the problem
    undoes what was written. No statement if the session is confirmed.

    Raises:
        ConfirmationRequired: the session was not confirmed within 10 minutes.
    """
    if is_confirmed(actor) or not orders:
        return
    limit_minor = (await platform_policy.load_policy(session)).confirm_above_minor
    for order in orders:
        dollars_minor = await _to_dollars(session, order)
        if dollars_minor is None or dollars_minor > limit_minor:
            require_confirmed(actor)


async def _to_dollars(session: AsyncSession, order: Order) -> int | None:
    quote = await exchange_rates.find_quote(session, base=order.currency, target=DOLLARS)
    if quote is None:
        return None
    return convert(charged_minor(order), quote.rate, source=order.currency, target=DOLLARS)
