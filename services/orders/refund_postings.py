"""The postings of refunds, and what else a refund undoes."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Order, Transaction
from models.enums import GiverStatus, OrderActionType, OrderStatus, OrderType, TransactionKind
from services.access.actor import Actor
from services.core.party import Party
from services.ledger import posting
from services.messaging import outbox
from services.orders import earned_roles, guest_receipts, tier_choices, transitions
from services.orders.base import mail_payload
from services.orders.history import add_actions, history_step
from services.orders.refund_amounts import remaining_amounts
from services.orders.refund_decision import decide_refund, draft_dollars, share_dollars
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
    plan = decide_refund(actor, order, refundable, part_minor, refund_id=refund_id)
    drafts = plan.drafts
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
    if plan.is_last:
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
        amount_minor=plan.step_minor,
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
    dollars_minor = share_dollars(remaining, part_of)
    if not dollars_minor:
        return []
    platform = await session.get_one(Collective, actor.platform_id)
    draft = draft_dollars(order, user, platform, original, remaining, dollars_minor, group_id=first_id)
    await posting.post(session, row=draft.row, legs=draft.legs)
    return [draft.row["id"]]
