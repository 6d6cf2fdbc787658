"""Approval by two people: above the amount of a policy, and for many hours of who never signed in.

The first approval is kept, the second decides the order. What counts is the policy at that moment, and
whether the first person could still approve.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Integer, Select, Uuid, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Approval, Order
from models.enums import OrderActionType, OrderStatus
from services.access.actor import ANONYMOUS, Actor
from services.core.pagination import Sort
from services.core.sql_files import read_clauses
from services.database import fetch
from services.orders.history import add_actions, history_step
from services.orders.two_people_decision import (
    PEOPLE,
    ApprovalFacts,
    Decision,
    decide_approval,
    needs_facts,
)

_SQL = read_clauses(Path(__file__).parent / "sql" / "two_people.sql")
_NEEDS = _SQL["needs"].bindparams(bindparam("order_ids", type_=ARRAY(Uuid)))
_NEEDED = {"needed": Integer, "missing": Integer}


@dataclass(frozen=True)
class ApprovalNeeds:
    """How many people have to approve an order, and how many are missing."""

    needed: int = 1
    missing: int = 0


async def decide(
    session: AsyncSession,
    actor: Actor,
    order: Order,
    *,
    amount_minor: int,
    is_amount_given: bool,
    single_limit: int | None,
    reason: str | None,
) -> Decision:
    """Decide an order by this approval, or keep it as the first of the two that the order needs.

    `single_limit` is the largest amount that one person may approve, in minor units of the order's currency.
    Up to it this approval decides, without a statement. Above it the first approval is kept and the second
    decides; a second person who gives no amount approves that of the first. Locks: the order, so that two
    people who approve at once are not both the first.

    Raises:
        SelfApproval: the actor has approved the order already, or logged these hours.
        Invalid: another amount than that of the first approval.
        InvalidState: the order has changed meanwhile.
    """
    if not needs_facts(order, amount_minor=amount_minor, single_limit=single_limit):
        return Decision(amount_minor=amount_minor, is_final=True)
    await session.execute(select(col(Order.id)).where(col(Order.id) == order.id).with_for_update())
    keys = {"order_id": order.id, "person_id": actor.id}
    row = (await session.execute(_SQL["approvals"], keys)).one()
    facts = ApprovalFacts(
        status=row.status,
        updated_at=row.updated_at,
        single_limit=row.single_limit,
        people=row.people,
        person_id=row.person_id,
        first_minor=row.amount,
    )
    decision = decide_approval(order, facts, amount_minor=amount_minor, is_amount_given=is_amount_given)
    if decision.is_kept:
        await _add_approval(session, actor, order, decision.amount_minor)
    if decision.is_final:
        return decision
    step = history_step(
        order,
        OrderActionType.APPROVE,
        actor,
        from_status=OrderStatus.PENDING,
        amount_minor=decision.amount_minor,
        reason=reason,
    )
    await add_actions(session, [step])
    return decision


async def vouch(session: AsyncSession, actor: Actor, order: Order, *, amount_minor: int) -> bool:
    """Return True if hours that were attended may be paid now; above the limit, keep who vouches for them.

    The server vouches for nobody. Whoever checks in and out is one person. Callers hold the order's lock, or
    its event's.
    """
    single_limit = await session.scalar(_SQL["single_limit"], {"order_id": order.id})
    if single_limit is None or amount_minor <= single_limit:
        return True
    if actor.id is None:
        return False
    await _add_approval(session, actor, order, amount_minor)
    row = (await session.execute(_SQL["approvals"], {"order_id": order.id, "person_id": actor.id})).one()
    return len(row.people) >= PEOPLE


async def _add_approval(session: AsyncSession, actor: Actor, order: Order, amount_minor: int) -> None:
    assert actor.id is not None
    session.add(Approval(order_id=order.id, approver_id=actor.id, amount=amount_minor))
    await session.flush()


async def load_needs(session: AsyncSession, *, order_ids: Sequence[UUID]) -> dict[UUID, ApprovalNeeds]:
    """Load how many approvals orders need and miss under the policies in force, in one statement."""
    rows = await session.execute(_NEEDS, {"order_ids": list(order_ids)})
    return {row.id: ApprovalNeeds(row.needed, row.missing) for row in rows}


def select_needs(order: Any) -> Any:
    """Select how many approvals an order, whose columns are given, needs and misses."""
    of_order = text(_NEEDS.text.replace(":order_ids", f"ARRAY[{order.id}]")).columns(**_NEEDED)
    return select(of_order.subquery("needs"))


APPROVALS_OLDEST = Sort("APPROVALS_OLDEST", col(Approval.created_at), col(Approval.id), descending=False)


def select_approvals(actor: Actor, *, where: object = None, owner: Any) -> tuple[Select[Approval]]:
    """Select the approvals of a visible order that no edit has ended, the first one first."""
    del actor, where  # everybody sees them, and they have no conditions
    return (select(Approval).where(col(Approval.order_id) == owner, col(Approval.voided_at).is_(None)),)


async def load_approvals(session: AsyncSession, *, order_ids: Sequence[UUID]) -> dict[UUID, list[Approval]]:
    """Load the approvals of orders that no edit has ended, the first one first, in one statement."""
    return await fetch.fetch_lists(
        session,
        ANONYMOUS,
        select_of=select_approvals,
        sort=APPROVALS_OLDEST,
        by="order_id",
        owner_ids=order_ids,
    )
