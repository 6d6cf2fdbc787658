"""The amounts of an imported transaction, from the figures of its row. Pure arithmetic."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from services.core.money import convert
from services.ledger.transaction_amounts import TransactionAmounts
from services.open_collective.file_text import line_error
from services.open_collective.plan import Entry


@dataclass(frozen=True)
class Rate:
    """The currency of the host, and what one of the file's currency was worth in it."""

    currency: str
    host_currency: str
    rate: Decimal
    rate_id: UUID | None

    def to_host(self, amount_minor: int) -> int:
        """Convert minor units of the file's currency to those of the host's."""
        return convert(amount_minor, self.rate, source=self.currency, target=self.host_currency)


@dataclass(frozen=True)
class _Figures:
    """The figures of a row without signs, in minor units of the file's currency."""

    amount_minor: int
    """What the payee is meant to get."""
    processor_minor: int
    host_fee_minor: int
    paid_minor: int
    """What leaves the payer's balance, if it has one here."""
    net_minor: int
    """What arrives in the payee's balance, if it has one here."""


def entry_amounts(entry: Entry, rate: Rate) -> TransactionAmounts:
    """Return the amounts of an entry, all negative for a refund.

    Raises:
        Invalid: amount, fee and netAmount are inconsistent, or nothing is left in the host's currency.
    """
    sign, figures = -1 if entry.original else 1, _figures(entry)
    has_payer = entry.is_inside_book or not entry.is_incoming
    # A payee's balance is in the file's currency, but for the host's own.
    to_host_balance = entry.is_inside_book and entry.partner is None and not entry.is_incoming
    from_host_balance = entry.is_inside_book and entry.partner is None and entry.is_incoming
    gross_minor = rate.to_host(figures.paid_minor if has_payer else figures.amount_minor)
    processor_minor, host_fee_minor = (
        rate.to_host(figures.processor_minor),
        rate.to_host(figures.host_fee_minor),
    )
    if gross_minor <= 0 or gross_minor < processor_minor + host_fee_minor:
        raise line_error(entry.row.line, "amount", f"too small to be an amount in {rate.host_currency}")
    in_host_currency = to_host_balance or rate.currency == rate.host_currency
    currency = rate.host_currency if in_host_currency else rate.currency
    to_host_minor = gross_minor - processor_minor
    paid = _paid(figures.paid_minor, rate, currency, from_host_balance=from_host_balance)
    return TransactionAmounts(
        currency=currency,
        amount_minor=sign
        * (rate.to_host(figures.amount_minor) if in_host_currency else figures.amount_minor),
        host_currency=rate.host_currency,
        fx_rate=Decimal(1) if in_host_currency else rate.rate,
        fx_rate_id=None if in_host_currency else rate.rate_id,
        gross_minor=sign * gross_minor,
        payment_processor_fee_minor=sign * processor_minor,
        platform_fee_minor=0,
        host_fee_minor=sign * host_fee_minor,
        to_host_amount_minor=sign * to_host_minor,
        to_collective_amount_minor=sign
        * (to_host_minor - host_fee_minor if in_host_currency else figures.net_minor),
        from_host_currency=rate.host_currency if has_payer else None,
        from_host_fx_rate=(Decimal(1) if in_host_currency else rate.rate) if has_payer else None,
        from_host_amount_minor=-sign * gross_minor if has_payer else None,
        from_collective_currency=paid[0] if has_payer else None,
        from_collective_fx_rate=paid[1] if has_payer else None,
        from_collective_amount_minor=-sign * paid[2] if has_payer else None,
    )


def _paid(paid_minor: int, rate: Rate, currency: str, *, from_host_balance: bool) -> tuple[str, Decimal, int]:
    """Return the currency of the payer's balance, the rate to it, and what leaves it."""
    if from_host_balance:
        own = Decimal(1) if currency == rate.host_currency else rate.rate
        return rate.host_currency, own, rate.to_host(paid_minor)
    own = Decimal(1) if currency == rate.currency else 1 / rate.rate
    return rate.currency, own, paid_minor


def _figures(entry: Entry) -> _Figures:
    row, sign = entry.row, -1 if entry.original else 1
    net_minor = row.net_minor if row.is_credit else -row.net_minor
    if entry.is_stray_refund:
        amount_minor, processor_minor = net_minor, 0
    else:
        amount_minor, processor_minor = abs(row.amount_minor), -row.fee_minor * sign
    if processor_minor < 0:
        raise line_error(
            row.line, "paymentProcessorFee", "a fee must be negative, and a refund's fee positive"
        )
    if entry.is_inside_book and processor_minor:
        raise line_error(
            row.line, "paymentProcessorFee", "no processor fee is possible between host and collective"
        )
    is_outgoing = not entry.is_incoming
    gross_minor = amount_minor + processor_minor if is_outgoing else amount_minor
    host_fee_minor = 0 if is_outgoing else amount_minor - processor_minor - net_minor
    if (
        net_minor < 0
        or host_fee_minor < 0
        or (is_outgoing and net_minor != gross_minor)
        or (entry.is_inside_book and net_minor != amount_minor)
    ):
        raise line_error(row.line, "netAmount", "this does not follow from amount and paymentProcessorFee")
    if gross_minor == processor_minor:
        raise line_error(row.line, "paymentProcessorFee", "the fee leaves nothing to transfer")
    return _Figures(
        amount_minor,
        processor_minor,
        host_fee_minor,
        gross_minor,
        gross_minor - processor_minor - host_fee_minor,
    )
