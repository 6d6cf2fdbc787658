"""The legs of a transaction: one credit or debit for each ledger account it touches. Pure arithmetic."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from models import Collective
from models.enums import LedgerAccountKind, TransactionKind
from services.core.party import Party
from services.ledger.transaction_amounts import CURRENTS, TransactionAmounts, is_inside_one_host


@dataclass(frozen=True, order=True)
class Leg:
    """A credit to one account, or a debit if negative. Legs sort in the order of locking."""

    book_id: UUID
    owner_id: UUID
    currency: str
    kind: str
    amount_minor: int


def posting_legs(amounts: TransactionAmounts, payer: Party, payee: Party, *, platform_id: UUID) -> list[Leg]:
    """Return the legs of a movement, one for each account, in the order of locking.

    They sum to zero per book and currency.
    """
    legs: list[Leg] = []
    if payer.host is not None:
        legs += _payer_legs(amounts, payer, payee)
    if payee.host is not None:
        legs += _payee_legs(amounts, payer, payee, platform_id=platform_id)
    return merge_legs(legs)


def _payer_legs(amounts: TransactionAmounts, payer: Party, payee: Party) -> list[Leg]:
    """Return what the payer's balance gives, and what its host gives for it.

    That is the same money inside one host, a debt to the payee's host, or cash to the outside.
    """
    assert payer.host is not None and payer.collective is not None
    assert amounts.from_host_amount_minor is not None and amounts.from_collective_amount_minor is not None
    book, own_minor = payer.host, amounts.from_collective_amount_minor
    currency, paid_minor, legs = book.currency, -amounts.from_host_amount_minor, []
    if payee.host is None:
        legs = [_leg(book, book, currency, LedgerAccountKind.CASH, paid_minor)]
    elif payee.host.id != book.id:
        currency, paid_minor = payee.host.currency, amounts.gross_minor
        legs = [_leg(book, payee.host, currency, LedgerAccountKind.CLEARING, paid_minor)]
    if payer.currency != currency:
        legs += [
            _leg(book, book, payer.currency, LedgerAccountKind.EXCHANGE, -own_minor),
            _leg(book, book, currency, LedgerAccountKind.EXCHANGE, -paid_minor),
        ]
    return [_leg(book, payer.collective, payer.currency, LedgerAccountKind.BALANCE, own_minor), *legs]


def _payee_legs(amounts: TransactionAmounts, payer: Party, payee: Party, *, platform_id: UUID) -> list[Leg]:
    """Return where the payee's host gets the money from, the fees, and what arrives in the balance."""
    assert payee.host is not None and payee.collective is not None
    book, currency = payee.host, payee.currency
    fee_legs = [
        Leg(book.id, platform_id, book.currency, LedgerAccountKind.BALANCE, amounts.platform_fee_minor),
        _leg(book, book, book.currency, LedgerAccountKind.BALANCE, amounts.host_fee_minor),
    ]
    fees_minor = amounts.platform_fee_minor + amounts.host_fee_minor
    legs: list[Leg] = []
    if is_inside_one_host(payer, payee):
        assert amounts.from_host_amount_minor is not None
        net_minor = -amounts.from_host_amount_minor - fees_minor
    else:
        legs = _receipt_legs(amounts, payer, book)
        net_minor = amounts.gross_minor - amounts.payment_processor_fee_minor - fees_minor
    arrived_minor = amounts.to_collective_amount_minor
    if currency != book.currency:
        legs += [
            _leg(book, book, book.currency, LedgerAccountKind.EXCHANGE, net_minor),
            _leg(book, book, currency, LedgerAccountKind.EXCHANGE, -arrived_minor),
        ]
    return [
        *legs,
        *fee_legs,
        _leg(book, payee.collective, currency, LedgerAccountKind.BALANCE, arrived_minor),
    ]


def _receipt_legs(amounts: TransactionAmounts, payer: Party, book: Collective) -> list[Leg]:
    """Return the cash that came from outside, or the debt of the payer's host and the processor's fee."""
    fee_minor = amounts.payment_processor_fee_minor
    if payer.host is None:
        return [_leg(book, book, book.currency, LedgerAccountKind.CASH, fee_minor - amounts.gross_minor)]
    return [
        _leg(book, payer.host, book.currency, LedgerAccountKind.CLEARING, -amounts.gross_minor),
        _leg(book, book, book.currency, LedgerAccountKind.CASH, fee_minor),
    ]


def settlement_legs(
    amounts: TransactionAmounts, debtor: Collective, creditor: Collective, *, kind: TransactionKind
) -> list[Leg]:
    """Return the legs of a payment from host to host, of what clearing owes or of the platform's fees.

    The bank of each moves; so does the debt in both books, or the balance that the platform has in each.
    """
    assert amounts.from_host_currency is not None and amounts.from_host_amount_minor is not None
    currency, amount_minor = amounts.currency, amounts.amount_minor
    paid_currency, paid_minor = amounts.from_host_currency, -amounts.from_host_amount_minor
    legs = [
        _leg(debtor, debtor, paid_currency, LedgerAccountKind.CASH, paid_minor),
        _leg(creditor, creditor, currency, LedgerAccountKind.CASH, -amount_minor),
    ]
    if kind == TransactionKind.PLATFORM_FEE_SETTLEMENT:
        legs += [
            _leg(debtor, creditor, paid_currency, LedgerAccountKind.BALANCE, -paid_minor),
            _leg(creditor, creditor, currency, LedgerAccountKind.BALANCE, amount_minor),
        ]
        return merge_legs(legs)
    legs += [
        _leg(debtor, creditor, currency, LedgerAccountKind.CLEARING, -amount_minor),
        _leg(creditor, debtor, currency, LedgerAccountKind.CLEARING, amount_minor),
    ]
    if paid_currency != currency:
        legs += [
            _leg(debtor, debtor, currency, LedgerAccountKind.EXCHANGE, amount_minor),
            _leg(debtor, debtor, paid_currency, LedgerAccountKind.EXCHANGE, -paid_minor),
        ]
    return merge_legs(legs)


def currents_legs(
    *,
    book_id: UUID,
    from_id: UUID,
    to_id: UUID,
    amount_minor: int,
    kind_from: LedgerAccountKind = LedgerAccountKind.BALANCE,
) -> list[Leg]:
    """Return the two legs that move or issue currents, in the order of locking."""
    return merge_legs(
        [
            Leg(book_id, from_id, CURRENTS, kind_from, -amount_minor),
            Leg(book_id, to_id, CURRENTS, LedgerAccountKind.BALANCE, amount_minor),
        ]
    )


def _leg(
    book: Collective, owner: Collective, currency: str, kind: LedgerAccountKind, amount_minor: int
) -> Leg:
    return Leg(book.id, owner.id, currency, kind, amount_minor)


def merge_legs(legs: Iterable[Leg]) -> list[Leg]:
    """Add up the legs of each account, drop zeros, and sort in the order of locking."""
    totals: dict[tuple[UUID, UUID, str, str], int] = {}
    for leg in legs:
        key = (leg.book_id, leg.owner_id, leg.currency, str(leg.kind))
        totals[key] = totals.get(key, 0) + leg.amount_minor
    return [Leg(*key, total) for key, total in sorted(totals.items()) if total]
