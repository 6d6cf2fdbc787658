"""Approving many hours at once: a fixed number of statements, however many they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, Order, now
from models.enums import LedgerAccountKind, MemberRole, OrderStatus, OrderType, TransactionKind
from services.access import visibility
from services.access.actor import Actor
from services.access.permissions import Action, Subject, permits
from services.collectives import members
from services.ledger import posting
from services.messaging import outbox
from services.orders.base import add_actions
from services.volunteering.hours import approval_steps, summary

_NONPROFIT = aliased(Collective, name="nonprofit")


@dataclass(frozen=True)
class Approvable:
    """Hours that wait, with both sides."""

    order: Order
    nonprofit: Collective
    volunteer: Collective


async def approvable(session: AsyncSession, actor: Actor, *, order_ids: Sequence[UUID]) -> list[Approvable]:
    """Return those of the orders that are hours which the actor may approve now, in the order given."""
    statement = (
        select(Order, _NONPROFIT, Collective)
        .join(_NONPROFIT, col(Order.from_id) == _NONPROFIT.id)
        .join(Collective, col(Order.to_id) == Collective.id)
        .where(
            col(Order.id).in_(order_ids),
            col(Order.type) == OrderType.HOURS,
            col(Order.status) == OrderStatus.PENDING,
            visibility.of_order(actor),
        )
    )
    rows = {order.id: Approvable(order, np, user) for order, np, user in await session.execute(statement)}
    return [
        rows[i]
        for i in order_ids
        if i in rows
        and rows[i].volunteer.id != actor.id
        and permits(actor, Action.APPROVE_HOURS, Subject(payer=rows[i].nonprofit))
    ]


async def approve(session: AsyncSession, actor: Actor, *, found: Sequence[Approvable]) -> list[Order]:
    """Approve hours as they were asked for: issues their currents, PAID at once.

    The caller holds the orders' locks and has them from `approvable`. Locks: every account, in their order.

    Raises:
        LimitExceeded: from the database, where a cap of issuance is reached; nothing is then kept.
    """
    if not found:
        return []
    platform_id = actor.platform_id
    assert platform_id is not None
    orders = [each.order for each in found]
    await _move(session, orders)
    await add_actions(session, [s for o in orders for s in approval_steps(actor, o, reason=None)])
    postings = [
        posting.currents_posting(
            order, platform_id=platform_id, kind=TransactionKind.HOURS, kind_from=LedgerAccountKind.ISSUANCE
        )
        for order in orders
    ]
    await posting.post_many_currents(session, postings=postings)
    await members.add_many(session, {(o.from_id, o.to_id, MemberRole.VOLUNTEER) for o in orders})
    mails = [
        (
            each.volunteer.id,
            each.order.id,
            summary(each.order, nonprofit=each.nonprofit, volunteer=each.volunteer),
        )
        for each in found
    ]
    await outbox.to_each(session, template="hours_approved", mails=mails)
    return orders


async def _move(session: AsyncSession, orders: Sequence[Order]) -> None:
    moment = now()
    await session.execute(
        update(Order)
        .where(col(Order.id).in_([o.id for o in orders]), col(Order.status) == OrderStatus.PENDING)
        .values(status=OrderStatus.PAID, updated_at=moment, approved_amount=col(Order.amount))
        .execution_options(synchronize_session=False)
    )
    for order in orders:
        session.expunge(order)
        order.status, order.updated_at, order.approved_amount = OrderStatus.PAID, moment, order.amount
