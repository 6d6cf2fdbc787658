"""The legs of a transaction: one credit or debit for each ledger account it touches. Pure arithmetic."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from models import Collective
from models.enums import LedgerAccountKind
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
        legs += _payer_legs(amounts, payer)
    if payee.host is not None:
        legs += _payee_legs(amounts, payer, payee, platform_id=platform_id)
    return merge_legs(legs)


def _payer_legs(amounts: TransactionAmounts, payer: Party) -> list[Leg]:
    assert payer.host is not None and payer.collective is not None
    assert amounts.from_host_amount_minor is not None and amounts.from_collective_amount_minor is not None
    book, own, currency = payer.host, payer.collective, payer.currency
    host_minor, own_minor = amounts.from_host_amount_minor, amounts.from_collective_amount_minor
    legs = [
        _leg(book, own, currency, LedgerAccountKind.BALANCE, own_minor),
        _leg(book, book, book.currency, LedgerAccountKind.CASH, -host_minor),
    ]
    if currency != book.currency:
        legs += [
            _leg(book, book, currency, LedgerAccountKind.EXCHANGE, -own_minor),
            _leg(book, book, book.currency, LedgerAccountKind.EXCHANGE, host_minor),
        ]
    return legs


def _payee_legs(amounts: TransactionAmounts, payer: Party, payee: Party, *, platform_id: UUID) -> list[Leg]:
    assert payee.host is not None and payee.collective is not None
    book, own, currency = payee.host, payee.collective, payee.currency
    net_minor = amounts.to_host_amount_minor - amounts.host_fee_minor
    cash_minor = amounts.gross_minor - amounts.payment_processor_fee_minor
    if is_inside_one_host(payer, payee):
        # The payer releases exactly the cash that the payee takes: no cash moves.
        assert amounts.from_host_amount_minor is not None
        cash_minor = net_minor = -amounts.from_host_amount_minor
    legs = [
        _leg(book, book, book.currency, LedgerAccountKind.CASH, -cash_minor),
        Leg(book.id, platform_id, book.currency, LedgerAccountKind.BALANCE, amounts.platform_fee_minor),
        _leg(book, book, book.currency, LedgerAccountKind.BALANCE, amounts.host_fee_minor),
        _leg(book, own, currency, LedgerAccountKind.BALANCE, amounts.to_collective_amount_minor),
    ]
    if currency != book.currency:
        legs += [
            _leg(book, book, book.currency, LedgerAccountKind.EXCHANGE, net_minor),
            _leg(book, book, currency, LedgerAccountKind.EXCHANGE, -amounts.to_collective_amount_minor),
        ]
    return legs


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
