"""The amounts of a refund: the part of a transaction that it takes back. Pure arithmetic."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Context, Decimal

from models import Transaction
from services.access.collective_refs import require_collective
from services.core.money import allocate, round_half_away
from services.core.party import Party
from services.ledger.transaction_amounts import TransactionAmounts

_EXACT = Context(prec=60)
_SUMMED = (
    "amount",
    "gross",
    "payment_processor_fee",
    "platform_fee",
    "host_fee",
    "to_host_amount",
    "to_collective_amount",
    "from_host_amount",
    "from_collective_amount",
)
"""The columns of a transaction that its refunds add up to; `TransactionAmounts` adds their unit."""


def remaining_amounts(original: Transaction, earlier: Sequence[Transaction]) -> dict[str, int]:
    """Return each amount of the original, by column, less what earlier refunds took of it."""
    return {
        name: (getattr(original, name) or 0) + sum(getattr(row, name) or 0 for row in earlier)
        for name in _SUMMED
    }


def is_host_receiver(parties: tuple[Party, Party]) -> bool:
    """True if the payee is its own host, and so returns the money itself."""
    _, payee = parties
    return payee.host is not None and require_collective(payee).id == payee.host.id


def split_amounts(
    remaining: dict[str, int], part_minor: int, original: Transaction, *, host_pays_itself: bool
) -> TransactionAmounts:
    """Take a part of what remains: each amount in proportion, sums by largest remainder.

    A part is taken from what remains, never from the whole, so that the last part is exactly the rest.
    """
    total_minor = remaining["amount"]

    def take_part(name: str) -> int:
        whole = abs(remaining[name])
        share = whole if part_minor == total_minor else _share(whole, part_minor, total_minor)
        return share if remaining[name] >= 0 else -share

    components = [
        remaining["payment_processor_fee"],
        remaining["platform_fee"],
        remaining["host_fee"],
        remaining["to_host_amount"] - remaining["host_fee"],
    ]
    if host_pays_itself:
        components = [0, components[1], components[2], components[3] + components[0]]
    gross_minor = _share(sum(components), part_minor, total_minor)
    processor_minor, platform_minor, host_fee_minor, net_minor = allocate(gross_minor, components)
    is_unconverted = original.currency == original.host_currency
    amounts = TransactionAmounts(
        currency=original.currency,
        amount_minor=part_minor,
        host_currency=original.host_currency,
        fx_rate=original.fx_rate,
        fx_rate_id=original.fx_rate_id,
        gross_minor=gross_minor,
        payment_processor_fee_minor=processor_minor,
        platform_fee_minor=platform_minor,
        host_fee_minor=host_fee_minor,
        to_host_amount_minor=net_minor + host_fee_minor,
        to_collective_amount_minor=net_minor if is_unconverted else take_part("to_collective_amount"),
    )
    if original.from_host_id is None:
        return amounts
    return replace(
        amounts,
        from_host_currency=original.from_host_currency,
        from_host_fx_rate=original.from_host_fx_rate,
        from_host_amount_minor=take_part("from_host_amount"),
        from_collective_currency=original.from_collective_currency,
        from_collective_fx_rate=original.from_collective_fx_rate,
        from_collective_amount_minor=take_part("from_collective_amount"),
    )


def _share(whole: int, part: int, total: int) -> int:
    """Return `part` of `total` of a whole amount, rounded half away from zero."""
    return round_half_away(_EXACT.divide(Decimal(whole * part), Decimal(total)))


def negate_amounts(amounts: TransactionAmounts) -> TransactionAmounts:
    """Return the amounts with the opposite sign, as a refund posts them."""
    negative = {
        f"{name}_minor": -value
        for name in _SUMMED
        if (value := getattr(amounts, f"{name}_minor")) is not None
    }
    return replace(amounts, **negative)
