"""The fee of a payout, and its limit."""

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Order
from services.core.errors import Invalid
from services.core.money import Money, UncheckedAmount, apply_bps, convert, exponent, to_minor_or_zero
from services.ledger import exchange_rates

FEE_LIMIT_BPS = 1000
"""Highest fee as a share of the amount, ..."""
FEE_LIMIT_UNITS = 50
"""... or in units of the host's currency, whichever is more."""


def highest_fee_minor(amount_minor: int, currency: str) -> int:
    """Return the highest fee of a payout. Units: minor, of the host's currency."""
    return max(apply_bps(amount_minor, FEE_LIMIT_BPS), FEE_LIMIT_UNITS * int(10 ** exponent(currency)))


async def parse_payout_fee(
    session: AsyncSession, order: Order, host: Collective, fee: UncheckedAmount | None
) -> int:
    """Return the fee of paying an order in minor units of the host's currency.

    Raises:
        Invalid: the fee is in another currency, or above the limit.
        FxRateUnavailable: the order's amount cannot be converted.
    """
    field = "processorFee"
    fee_minor = to_minor_or_zero(fee, field=field, currency=host.currency) if fee is not None else 0
    if not fee_minor:
        return 0
    pair = (order.currency, host.currency)
    rate = (await exchange_rates.load_quotes(session, [pair]))[pair].rate
    amount_minor = convert(order.approved_amount or order.amount, rate, source=pair[0], target=pair[1])
    require_fee_within_limit(fee_minor, amount_minor=amount_minor, currency=host.currency)
    return fee_minor


def require_fee_within_limit(fee_minor: int, *, amount_minor: int, currency: str) -> None:
    """Require that the fee of paying an amount is not above the limit, all in the host's currency.

    Raises:
        Invalid: it is.
    """
    limit = Money(highest_fee_minor(amount_minor, currency), currency)
    if fee_minor > limit.minor_units:
        raise Invalid(
            f"The fee of this payout can be at most {limit.value} {limit.currency}: 10 % of the amount, or"
            f" {FEE_LIMIT_UNITS} {limit.currency} if that is more.",
            field="processorFee",
        )
