"""The postings of refunds, and what else a refund undoes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Order, Transaction, new_id
from models.enums import (
    GiverStatus,
    LedgerAccountKind,
    OrderActionType,
    OrderStatus,
    OrderType,
    TransactionKind,
)
from services.access.actor import Actor
from services.access.collective_refs import require_collective
from services.core.party import OUTSIDE, Party
from services.ledger import posting
from services.ledger.legs import Leg, currents_legs, merge_legs, posting_legs
from services.ledger.transaction_amounts import TransactionAmounts, same_currency_amounts
from services.messaging import outbox
from services.orders import earned_roles, guest_receipts, tier_choices, transitions
from services.orders.base import mail_payload
from services.orders.history import add_actions, history_step
from services.orders.refund_amounts import negate_amounts, remaining_amounts, split_amounts
from services.orders.refundable import Refundable, find_refunds
from services.orders.sides import OrderSides


@dataclass(frozen=True)
class RefundResult:
    """A refunded order, and the ids of the transactions that this refund posted."""

    order: Order
    transaction_ids: list[UUID]


async def give_back(
    session: AsyncSession,
    actor: Actor,
    sides: OrderSides,
    refundable: Refundable,
    part_minor: int,
    *,
    refund_id: UUID,
    reason: str | None,
) -> RefundResult:
    """Post a refund, and end the order and what it earned if nothing of it and its tip remains.

    What is more than the order's own amount is of the tip. The host covers what a payment processor keeps
    with a transaction of its own, unless it returns the money itself. Locks: ledger accounts.

    Raises:
        InsufficientFunds: from the database, if the receiver has spent it.
    """
    order, parties, remaining_minor = sides.order, refundable.parties, refundable.remaining["amount"]
    drafts = _draft_refunds(actor, order, refundable, part_minor, refund_id=refund_id)
    if not drafts:  # too little of a tip for its book's currency: it comes with the next part
        return RefundResult(order, [])
    if len(drafts) > 1:
        await posting.lock_accounts(session, [leg for draft in drafts for leg in draft.legs])
    for draft in drafts:
        await posting.post(session, row=draft.row, legs=draft.legs)
    transaction_ids = [draft.row["id"] for draft in drafts]
    if order.type == OrderType.REDEMPTION:
        transaction_ids += await _refund_dollars(
            session,
            actor,
            order,
            parties[0],
            (part_minor, remaining_minor),
            history=refundable.history,
            first_id=refund_id,
        )
    from_status = OrderStatus(order.status)
    if part_minor == refundable.total_minor:
        await transitions.change_status(
            session, order, from_status=from_status, to_status=OrderStatus.REFUNDED
        )
        await earned_roles.end_unless_earned(session, order, parties)
        await tier_choices.end_registration(session, order, parties[0])
    step = history_step(
        order,
        OrderActionType.REFUND,
        actor,
        from_status=from_status,
        amount_minor=refundable.own_part(part_minor) or part_minor,
        reason=reason,
    )
    await add_actions(session, [step])
    await _tell_both(session, actor, sides)
    return RefundResult(order, transaction_ids)


async def _tell_both(session: AsyncSession, actor: Actor, sides: OrderSides) -> None:
    order, payload = sides.order, mail_payload(sides.order, to=sides.payee)
    is_unclaimed = order.type == OrderType.DONATION and order.giver_status == GiverStatus.WAITING
    await outbox.mail_admins(
        session,
        collective_ids=[order.to_id] if is_unclaimed else [order.from_id, order.to_id],
        template="order_refunded",
        payload=payload,
        order_id=order.id,
        except_id=actor.id,
    )
    if is_unclaimed:
        await guest_receipts.tell_giver(session, order, template="order_refunded", payload=payload)


@dataclass(frozen=True)
class _Draft:
    """A transaction of a refund that is not posted yet."""

    row: dict[str, Any]
    legs: list[Leg]


def _draft_refunds(
    actor: Actor, order: Order, refundable: Refundable, part_minor: int, *, refund_id: UUID
) -> list[_Draft]:
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
) -> list[_Draft]:
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
    refund = _Draft({**row, "refund_of_id": refundable.original.id}, mirrored)
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


async def _refund_dollars(
    session: AsyncSession,
    actor: Actor,
    order: Order,
    user: Party,
    part_of: tuple[int, int],
    *,
    history: Sequence[Transaction],
    first_id: UUID,
) -> list[UUID]:
    """Take back the dollars of a redemption in the proportion `part_of`; return the transaction, if any."""
    original, earlier = find_refunds(history, TransactionKind.REDEMPTION_PAYOUT)
    remaining = remaining_amounts(original, earlier)
    part_minor, whole_minor = part_of
    dollars_minor = remaining["amount"] * part_minor // whole_minor
    if not dollars_minor:
        return []
    platform = await session.get_one(Collective, actor.platform_id)
    payer = Party(platform, platform, original.currency)
    payee = Party(user.collective, platform, original.currency)
    amounts = split_amounts(remaining, dollars_minor, original, host_pays_itself=False)
    row = posting.transaction_row(
        negate_amounts(amounts), payer, payee, kind=TransactionKind.REFUND, order=order, group_id=first_id
    )
    legs = posting_legs(amounts, payer, payee, platform_id=platform.id)
    mirrored = [replace(leg, amount_minor=-leg.amount_minor) for leg in legs]
    await posting.post(
        session, row={**row, "refund_of_id": original.id, "has_public_side": False}, legs=mirrored
    )
    return [row["id"]]


def _draft_cover(order: Order, host: Collective | None, fee_minor: int, *, group_id: UUID) -> list[_Draft]:
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
    return [_Draft(row, legs)]
