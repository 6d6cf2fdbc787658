"""The decision on a refund: who may ask for it, how much goes back, and what is posted. No database."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from models import Collective, Order, Transaction, new_id
from models.enums import LedgerAccountKind, OrderType, TransactionKind
from services.access.actor import Actor
from services.access.collective_refs import require_collective
from services.access.permissions import Action, Subject, require
from services.core.errors import Invalid, InvalidState
from services.core.money import UncheckedAmount, to_minor
from services.core.party import OUTSIDE, Party
from services.ledger import posting
from services.ledger.legs import Leg, currents_legs, merge_legs, posting_legs
from services.ledger.transaction_amounts import TransactionAmounts, same_currency_amounts
from services.orders.refund_amounts import negate_amounts, split_amounts
from services.orders.refundable import Refundable

REFUNDABLE = {
    OrderType.DONATION: Action.REFUND_DONATION,
    OrderType.ADDED_FUNDS: Action.REFUND_DONATION,
    OrderType.EXPENSE: Action.REFUND_EXPENSE,
    OrderType.TRANSFER: Action.REFUND_TRANSFER,
    OrderType.HOURS: Action.REFUND_HOURS,
    OrderType.REDEMPTION: Action.REFUND_REDEMPTION,
    OrderType.CASH_OUT: Action.REFUND_CASH_OUT,
}
"""The types of order that can be refunded, with the permission each needs."""


@dataclass(frozen=True)
class Draft:
    """A transaction of a refund that is not posted yet."""

    row: dict[str, Any]
    legs: list[Leg]


@dataclass(frozen=True, kw_only=True)
class RefundPlan:
    """What a refund posts, and what becomes of its order."""

    drafts: list[Draft]
    """None of them for too little of a tip: it comes with the next part."""
    is_last: bool
    """True if nothing of the order and its tip remains."""
    step_minor: int
    """The amount in the order's history."""


def require_may_refund(actor: Actor, order: Order, subject: Subject) -> None:
    """Require that orders of this type can be refunded, and that the actor may do it.

    Raises:
        AccessDenied: no rule allows the actor.
        InvalidState: orders of this type cannot be refunded.
    """
    if order.type not in REFUNDABLE:
        require(actor, Action.REFUND_DONATION, subject)
        raise InvalidState(f"Orders of type {order.type} cannot be refunded.", field="id")
    require(actor, REFUNDABLE[OrderType(order.type)], subject)


def decide_part(order: Order, refundable: Refundable, amount: UncheckedAmount | None) -> int:
    """Decide how much is given back, with the tip if nothing of the gift would be left.

    Raises:
        Invalid: the amount is not positive, in another currency, or more than remains.
    """
    remaining_minor = refundable.remaining["amount"]
    if amount is None:
        return refundable.total_minor
    part_minor = to_minor(amount, field="amount", currency=order.currency)
    if part_minor > remaining_minor:
        raise Invalid("This is more than remains to be refunded. Enter a smaller amount.", field="amount")
    return refundable.total_minor if part_minor == remaining_minor else part_minor


def decide_refund(
    actor: Actor, order: Order, refundable: Refundable, part_minor: int, *, refund_id: UUID
) -> RefundPlan:
    """Decide what the refund of a part posts: in the currency of the order, and at most what is left.

    What is more than the order's own amount is of the tip. The host covers what a payment processor keeps
    with a transaction of its own, unless it returns the money itself.
    """
    return RefundPlan(
        drafts=_draft_refunds(actor, order, refundable, part_minor, refund_id=refund_id),
        is_last=part_minor == refundable.total_minor,
        step_minor=refundable.own_part(part_minor) or part_minor,
    )


def _draft_refunds(
    actor: Actor, order: Order, refundable: Refundable, part_minor: int, *, refund_id: UUID
) -> list[Draft]:
    """Draft the refunds of an order and of its tip, as far as they are part of this one, in one group."""
    own_minor = refundable.own_part(part_minor)
    group_id = refund_id if order.type == OrderType.REDEMPTION else new_id()
    drafts = []
    if own_minor:
        amounts = refundable.split(own_minor)
        drafts += _draft(actor, order, refundable, amounts, refund_id=refund_id, group_id=group_id)
    tip = refundable.tip
    if tip is not None and (tip_minor := tip.convert_part(part_minor - own_minor)):
        tip_id = new_id() if own_minor else refund_id
        drafts += _draft(actor, order, tip, tip.split(tip_minor), refund_id=tip_id, group_id=group_id)
    return drafts


def _draft(
    actor: Actor,
    order: Order,
    refundable: Refundable,
    amounts: TransactionAmounts,
    *,
    refund_id: UUID,
    group_id: UUID,
) -> list[Draft]:
    """Draft a refund, and what the host covers of it."""
    (payer, payee), platform_id = refundable.parties, actor.platform_id
    assert platform_id is not None
    row = posting.transaction_row(
        negate_amounts(amounts),
        payer,
        payee,
        kind=TransactionKind.REFUND,
        order=order,
        transaction_id=refund_id,
        group_id=group_id,
    )
    mirrored = [
        replace(leg, amount_minor=-leg.amount_minor)
        for leg in _original_legs(order, amounts, payer, payee, platform_id=platform_id)
    ]
    refund = Draft({**row, "refund_of_id": refundable.original.id}, mirrored)
    # The host of the payee covers the fees, or that of the payer if the payee was paid outside.
    host = payee.host or payer.host
    cover = _draft_cover(order, host, amounts.payment_processor_fee_minor, group_id=group_id)
    return [refund, *cover]


def _original_legs(
    order: Order, amounts: TransactionAmounts, payer: Party, payee: Party, *, platform_id: UUID
) -> list[Leg]:
    """Return the legs that the original would have with these amounts; hours were issued."""
    if order.type != OrderType.HOURS:
        return posting_legs(amounts, payer, payee, platform_id=platform_id)
    return currents_legs(
        book_id=platform_id,
        from_id=require_collective(payer).id,
        to_id=require_collective(payee).id,
        amount_minor=amounts.amount_minor,
        kind_from=LedgerAccountKind.ISSUANCE,
    )


def _draft_cover(order: Order, host: Collective | None, fee_minor: int, *, group_id: UUID) -> list[Draft]:
    """Draft the payment by which the host covers what the payment processor keeps, if that is something."""
    assert host is not None or not fee_minor
    if host is None or not fee_minor:
        return []
    legs = merge_legs(
        [
            Leg(host.id, host.id, host.currency, LedgerAccountKind.BALANCE, -fee_minor),
            Leg(host.id, host.id, host.currency, LedgerAccountKind.CASH, fee_minor),
        ]
    )
    row = posting.transaction_row(
        same_currency_amounts(fee_minor, host.currency),
        Party(host, host),
        OUTSIDE,
        kind=TransactionKind.PAYMENT_PROCESSOR_COVER,
        order=order,
        group_id=group_id,
    )
    return [Draft(row, legs)]


def share_dollars(remaining: dict[str, int], part_of: tuple[int, int]) -> int:
    """Return how much of the dollars of a redemption goes back with a part of a whole of its currents."""
    part_minor, whole_minor = part_of
    return remaining["amount"] * part_minor // whole_minor


def draft_dollars(
    order: Order,
    user: Party,
    platform: Collective,
    original: Transaction,
    remaining: dict[str, int],
    dollars_minor: int,
    *,
    group_id: UUID,
) -> Draft:
    """Draft the refund of the dollars of a redemption, from the user to the platform."""
    payer = Party(platform, platform, original.currency)
    payee = Party(user.collective, platform, original.currency)
    amounts = split_amounts(remaining, dollars_minor, original, host_pays_itself=False)
    row = posting.transaction_row(
        negate_amounts(amounts), payer, payee, kind=TransactionKind.REFUND, order=order, group_id=group_id
    )
    legs = posting_legs(amounts, payer, payee, platform_id=platform.id)
    mirrored = [replace(leg, amount_minor=-leg.amount_minor) for leg in legs]
    return Draft({**row, "refund_of_id": original.id, "has_public_side": False}, mirrored)
