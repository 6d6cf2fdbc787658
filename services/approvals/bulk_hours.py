"""Approval of many hours at once, with a fixed number of statements."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import exists, func, literal_column, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Attendance, Collective, Order, now
from models.enums import LedgerAccountKind, MemberRole, OrderStatus, OrderType, TransactionKind
from services.access import visibility
from services.access.actor import Actor
from services.approvals.bulk_decision import ApprovableHours, choose_hours
from services.collectives import members
from services.ledger import posting
from services.messaging import outbox
from services.orders.confirmed_amounts import require_confirmed_above
from services.orders.history import add_actions
from services.volunteering.hours import approval_steps, mail_payload, unagreed_volunteer

_NONPROFIT = aliased(Collective, name="nonprofit")


async def load_approvable(
    session: AsyncSession, actor: Actor, *, order_ids: Sequence[UUID]
) -> list[ApprovableHours]:
    """Load the pending hours that the actor may approve. Order: as in `order_ids`."""
    statement = (
        select(Order, _NONPROFIT, Collective)
        .join(_NONPROFIT, col(Order.from_id) == _NONPROFIT.id)
        .join(Collective, col(Order.to_id) == Collective.id)
        .where(
            col(Order.id).in_(order_ids),
            col(Order.type) == OrderType.HOURS,
            col(Order.status) == OrderStatus.PENDING,
            visibility.order_is_visible(actor),
            ~func.approval_excluded(literal_column('"order"'), actor.id),
            # Those that two people approve are approved one by one, and so are attendances, whose time may
            # have been shortened by a check-out.
            ~exists().where(col(Attendance.order_id) == col(Order.id)),
            func.coalesce(func.single_approval_limit(literal_column('"order"')) >= col(Order.amount), true()),
        )
    )
    rows = {
        order.id: ApprovableHours(order, np, user) for order, np, user in await session.execute(statement)
    }
    return choose_hours(actor, [rows[i] for i in order_ids if i in rows])


async def approve(session: AsyncSession, actor: Actor, *, hours: Sequence[ApprovableHours]) -> list[Order]:
    """Approve hours with the requested amounts: issues their currents, and so pays them.

    The caller holds the orders' locks and has them from `load_approvable`. Locks: all accounts, in their
    order.

    Raises:
        LimitExceeded: from the database, at a cap of issuance; nothing is kept then.
    """
    if not hours:
        return []
    platform_id = actor.platform_id
    assert platform_id is not None
    orders = [each.order for each in hours]
    await _mark_paid(session, orders)
    await add_actions(
        session, [step for order in orders for step in approval_steps(actor, order, reason=None)]
    )
    postings = [
        posting.currents_posting(
            order, platform_id=platform_id, kind=TransactionKind.HOURS, kind_from=LedgerAccountKind.ISSUANCE
        )
        for order in orders
    ]
    await posting.post_many_currents(session, postings=postings)
    await members.add_many(
        session,
        {(o.from_id, o.to_id, MemberRole.VOLUNTEER) for o in orders},
        named_by={o.to_id: unagreed_volunteer(o) for o in sorted(orders, key=_is_own_request)},
    )
    mails = [
        (
            each.volunteer.id,
            each.order.id,
            mail_payload(each.order, nonprofit=each.nonprofit, volunteer=each.volunteer),
        )
        for each in hours
    ]
    await outbox.mail_each(session, template="hours_approved", mails=mails)
    await require_confirmed_above(session, actor, *orders)
    return orders


async def _mark_paid(session: AsyncSession, orders: Sequence[Order]) -> None:
    updated_at = now()
    await session.execute(
        update(Order)
        .where(col(Order.id).in_([o.id for o in orders]), col(Order.status) == OrderStatus.PENDING)
        .values(status=OrderStatus.PAID, updated_at=updated_at, approved_amount=col(Order.amount))
        .execution_options(synchronize_session=False)
    )
    for order in orders:
        session.expunge(order)
        order.status, order.updated_at, order.approved_amount = OrderStatus.PAID, updated_at, order.amount


def _is_own_request(order: Order) -> bool:
    return order.created_by_id == order.to_id
