"""Volunteer hours: approving them and crediting attendance.

An approval issues one current per hour from the nonprofit's ISSUANCE account, not from its balance.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Text, case, exists, literal, null
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Member, Order, OrderAction, PlatformPolicy
from models.enums import (
    LedgerAccountKind,
    MemberRole,
    NamedBy,
    OrderActionType,
    OrderStatus,
    OrderType,
    TransactionKind,
)
from services.access.actor import Actor
from services.access.collective_refs import require_collective
from services.access.permissions import Action, Subject
from services.collectives import members
from services.core import user_text
from services.core.errors import Invalid, SelfApproval
from services.core.money import Money, UncheckedAmount, round_half_away, to_minor
from services.ledger import posting
from services.ledger.transaction_amounts import CURRENTS
from services.messaging import outbox
from services.orders import approval_rights, two_people
from services.orders.history import add_actions, history_step
from services.orders.sides import OrderSides
from services.orders.transitions import change_status, require_status
from services.round_trips.records import new_record

MAX_DAY_MINOR = 24_000
_MICROSECONDS_PER_MINOR = 3_600_000
"""An hour is 1.000 CUR: a minor unit is 3.6 seconds."""


def to_currents_minor(duration: timedelta) -> int:
    """Convert a duration to minor units of CUR, rounded half away from zero."""
    microseconds = duration // timedelta(microseconds=1)
    return round_half_away(Decimal(microseconds) / _MICROSECONDS_PER_MINOR)


def build_order(
    actor: Actor,
    *,
    order_id: UUID,
    nonprofit_id: UUID,
    user: Collective,
    starts_at: datetime,
    ends_at: datetime,
    event_id: UUID | None,
    description: str | None,
    policy: PlatformPolicy,
) -> Order:
    """Build a PENDING order of hours under a policy."""
    return new_record(
        Order,
        id=order_id,
        type=OrderType.HOURS,
        status=OrderStatus.PENDING,
        created_by_id=actor.id,
        from_id=nonprofit_id,
        to_id=user.id,
        currency=CURRENTS,
        amount=to_currents_minor(ends_at - starts_at),
        description=user_text.clean_text(description, field="description"),
        event_id=event_id,
        starts_at=starts_at,
        ends_at=ends_at,
        policy_id=policy.id,
        has_public_side=False,
        platform_fee_bps=actor.platform_fee_bps,
    )


def mail_payload(order: Order, *, nonprofit: Collective, volunteer: Collective) -> dict[str, str]:
    """Return the values that mails show of an order of hours."""
    money = Money(order.approved_amount or order.amount, order.currency)
    starts_at = order.starts_at or order.created_at
    return {
        "amount": f"{money.value} {money.currency}",
        "nonprofit": nonprofit.name,
        "name": volunteer.name,
        "day": f"{starts_at.astimezone(ZoneInfo(nonprofit.timezone or 'UTC')):%Y-%m-%d}",
        "description": order.description or "",
    }


async def approve(
    session: AsyncSession,
    actor: Actor,
    sides: OrderSides,
    subject: Subject,
    *,
    amount: UncheckedAmount | None,
    reason: str | None,
) -> Order:
    """Approve hours, with the requested or another amount of currents, and pay them at once.

    Raises:
        SelfApproval: the actor is the volunteer, in any role.
        InvalidState: the order is not pending.
        Invalid: another amount without a reason, or above both 24 hours and the requested amount.
        LimitExceeded: raised by the database if an issuance cap is reached.
    """
    order = sides.order
    if actor.id == order.to_id:  # before a missing role
        raise SelfApproval(field="id")
    single_limit = await approval_rights.require_may_approve(
        session, actor, sides, subject, Action.APPROVE_HOURS
    )
    amount_minor = decide_hours_amount(order, amount, reason)
    decision = await two_people.decide(
        session,
        actor,
        order,
        amount_minor=amount_minor,
        is_amount_given=amount is not None,
        single_limit=single_limit,
        reason=reason,
    )
    if not decision.is_final:
        return order
    await pay_order(session, actor, order, amount_minor=decision.amount_minor, reason=reason)
    nonprofit, volunteer = require_collective(sides.payer), require_collective(sides.payee)
    await add_volunteer(
        session, order, nonprofit=nonprofit, user=volunteer, named_by=unagreed_volunteer(order)
    )
    return order


def decide_hours_amount(order: Order, amount: UncheckedAmount | None, reason: str | None) -> int:
    """Decide how many currents pending hours are approved with; return their minor units.

    Raises:
        InvalidState: the order is not pending.
        Invalid: the amount, another one without a reason, or above both 24 hours and the requested amount.
    """
    require_status(order, OrderStatus.PENDING)
    asked_minor = _asked_minor(order)
    if amount is None:
        return asked_minor
    amount_minor = to_minor(amount, field="amount", currency=CURRENTS)
    if amount_minor != asked_minor and not reason:
        raise Invalid("Enter a reason for changing the amount.", field="reason")
    if amount_minor > max(MAX_DAY_MINOR, order.amount):
        raise Invalid("Enter at most 24 hours.", field="amount")
    return amount_minor


def _asked_minor(order: Order) -> int:
    """Return the amount asked for; a check-out has shortened the time, but not the amount of the order."""
    assert order.starts_at is not None and order.ends_at is not None
    return min(order.amount, max(1, to_currents_minor(order.ends_at - order.starts_at)))


async def pay_order(
    session: AsyncSession,
    actor: Actor,
    order: Order,
    *,
    amount_minor: int,
    reason: str | None,
    **columns: Any,
) -> None:
    """Mark a pending order as PAID at an amount, record both steps and issue its currents."""
    await change_status(
        session,
        order,
        from_status=OrderStatus.PENDING,
        to_status=OrderStatus.PAID,
        approved_amount=amount_minor,
        **columns,
    )
    await add_actions(session, approval_steps(actor, order, reason=reason))
    await issue_currents(session, actor, order)


def approval_steps(actor: Actor, order: Order, *, reason: str | None) -> list[OrderAction]:
    """Build the two history steps of an approval that pays at once."""
    return [
        history_step(
            order,
            OrderActionType.APPROVE,
            actor,
            from_status=OrderStatus.PENDING,
            to_status=OrderStatus.APPROVED,
            reason=reason,
        ),
        history_step(order, OrderActionType.PAY, actor, from_status=OrderStatus.APPROVED),
    ]


async def issue_currents(session: AsyncSession, actor: Actor, order: Order) -> None:
    """Issue the currents of an order from its nonprofit. Locks: both accounts."""
    assert actor.platform_id is not None
    await posting.post_currents(
        session,
        order=order,
        platform_id=actor.platform_id,
        kind=TransactionKind.HOURS,
        kind_from=LedgerAccountKind.ISSUANCE,
    )


def unagreed_volunteer(order: Order) -> Any:
    """Return how a volunteer was named who has not agreed to be one, or an expression for that.

    Volunteers agree by logging the hours themselves, or by registering for the event.
    """
    if order.created_by_id == order.to_id:
        return None
    has_agreed = exists().where(
        col(Member.collective_id) == order.event_id,
        col(Member.member_id) == order.to_id,
        col(Member.role) == MemberRole.ATTENDEE,
        col(Member.until).is_(None),
        col(Member.named_by).is_(None),
    )
    return case((has_agreed, null()), else_=literal(NamedBy.REFERENCE.value, Text))


async def add_volunteer(
    session: AsyncSession, order: Order, *, nonprofit: Collective, user: Collective, named_by: Any
) -> None:
    """Make a credited user a VOLUNTEER of the nonprofit, and notify them.

    `named_by` is how they were named if they have not agreed, or an expression for that.
    """
    await members.add(session, order.from_id, order.to_id, MemberRole.VOLUNTEER, named_by=named_by)
    await outbox.mail_users(
        session,
        user_ids=[user.id],
        template="hours_approved",
        order_id=order.id,
        payload=mail_payload(order, nonprofit=nonprofit, volunteer=user),
    )
