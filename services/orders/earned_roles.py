"""Roles that paid orders earn, and their end when the last of those orders is refunded."""

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Member, Order, now
from models.enums import MemberRole, OrderStatus, OrderType
from services.core.party import Party


async def end_unless_earned(session: AsyncSession, order: Order, parties: tuple[Party, Party]) -> None:
    """End the BACKER or VOLUNTEER row that a refunded order earned, unless another paid order earns it.

    `parties` are payer and payee, with merged users replaced. Locks: the member row; `members.add_many`
    locks it, too, so that no donation made meanwhile is missed.
    """
    payer, payee = parties
    if order.type == OrderType.DONATION:
        person, role, own, other_side = payer, MemberRole.BACKER, col(Order.from_id), col(Order.to_id)
        collective_id = order.to_id
    elif order.type == OrderType.HOURS:
        person, role, own, other_side = payee, MemberRole.VOLUNTEER, col(Order.to_id), col(Order.from_id)
        collective_id = order.from_id
    else:
        return
    if person.collective is None:
        return
    locked = (
        select(col(Member.id))
        .where(
            col(Member.collective_id) == collective_id,
            col(Member.member_id) == person.collective.id,
            col(Member.role) == role,
            col(Member.until).is_(None),
        )
        .with_for_update()
    )
    member_id = (await session.execute(locked)).scalar_one_or_none()
    if member_id is None:
        return
    accounts = select(func.person_ids(person.collective.id).column_valued("id"))
    earning = select(col(Order.id)).where(
        own.in_(accounts),
        other_side == collective_id,
        col(Order.type) == order.type,
        col(Order.status) == OrderStatus.PAID,
    )
    await session.execute(
        update(Member)
        .where(col(Member.id) == member_id, ~earning.exists())
        .values(until=func.greatest(now(), col(Member.since)))
        .execution_options(synchronize_session=False)
    )
