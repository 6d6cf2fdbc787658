"""Roles that paid orders earn, and their end when the last of those orders is refunded."""

from typing import Any

from sqlalchemy import Text, Uuid, bindparam, func, inspect, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Member, Order, now
from models.enums import MemberRole, OrderStatus, OrderType
from services.core.party import Party
from services.round_trips import effects
from services.round_trips.pipelines import Statement, compile_statement

_MEMBER: Any = inspect(Member).local_table
_IS_ROW = (
    _MEMBER.c.collective_id == bindparam("owner", type_=Uuid),
    _MEMBER.c.member_id == bindparam("person", type_=Uuid),
    _MEMBER.c.role == bindparam("held_role", type_=Text),
    _MEMBER.c.until.is_(None),
)
_LOCK = compile_statement(select(_MEMBER.c.id).where(*_IS_ROW).with_for_update())


def _end_statement(own: Any, other_side: Any) -> Statement:
    """Build the UPDATE that ends the row unless a paid order of the person, on this side, earns it."""
    earning = select(col(Order.id)).where(
        own.in_(select(func.person_ids(bindparam("person", type_=Uuid)).column_valued("id"))),
        other_side == bindparam("owner", type_=Uuid),
        col(Order.type) == bindparam("earned_by", type_=Text),
        col(Order.status) == OrderStatus.PAID,
        ~col(Order.is_incognito),  # earns none: a row that outlives the public gift would tell of it
    )
    until = func.greatest(bindparam("ended_at", type_=_MEMBER.c.until.type), _MEMBER.c.since)
    return compile_statement(update(_MEMBER).where(*_IS_ROW, ~earning.exists()).values(until=until))


_END_BACKER = _end_statement(col(Order.from_id), col(Order.to_id))
_END_VOLUNTEER = _end_statement(col(Order.to_id), col(Order.from_id))


async def end_unless_earned(session: AsyncSession, order: Order, parties: tuple[Party, Party]) -> None:
    """End the BACKER or VOLUNTEER row that a refunded order earned, unless another paid order earns it.

    An incognito gift earns none.

    `parties` are payer and payee, with merged users replaced. Locks: the member row; `members.add_many`
    locks it, too, so that no donation made meanwhile is missed.
    """
    payer, payee = parties
    if order.is_incognito:
        return
    if order.type == OrderType.DONATION:
        person, role, owner_id, statement = payer, MemberRole.BACKER, order.to_id, _END_BACKER
    elif order.type == OrderType.HOURS:
        person, role, owner_id, statement = payee, MemberRole.VOLUNTEER, order.from_id, _END_VOLUNTEER
    else:
        return
    if person.collective is None:
        return
    row = {"owner": owner_id, "person": person.collective.id, "held_role": str(role)}
    # Two statements: the second sees what was paid while the first waited for the row.
    await effects.write(session, _LOCK, row)
    await effects.write(session, statement, {**row, "earned_by": str(order.type), "ended_at": now()})
