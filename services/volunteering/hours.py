"""Volunteer hours: approving them and crediting attendance.

An approval issues one current an hour from the nonprofit's ISSUANCE account; its own balance is not touched.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Order, OrderAction, PlatformPolicy
from models.enums import (
    CollectiveType,
    LedgerAccountKind,
    MemberRole,
    OrderActionType,
    OrderStatus,
    OrderType,
    TransactionKind,
)
from services.access.actor import Actor
from services.access.collective_refs import named, require_open
from services.access.permissions import Action, Subject, require
from services.collectives import members, platform_policy
from services.core import user_text
from services.core.errors import Conflict, Invalid, InvalidState, SelfApproval
from services.core.money import AskedAmount, Money, round_half_away, to_minor
from services.ledger import posting
from services.ledger.transaction_amounts import CURRENTS
from services.messaging import outbox
from services.orders.base import Placed, action, add_actions, created, insert_order
from services.orders.transitions import change_status, wrong_status

MAX_MINOR_A_DAY = 24_000
_MICROSECONDS_OF_A_MINOR = 3_600_000
"""An hour is 1.000 CUR: a minor unit is 3.6 seconds."""


def currents_of(duration: timedelta) -> int:
    """Return the minor units of CUR that a duration is worth, rounded half away from zero."""
    microseconds = duration // timedelta(microseconds=1)
    return round_half_away(Decimal(microseconds) / _MICROSECONDS_OF_A_MINOR)


def require_issuer(nonprofit: Collective, *, path: list[str]) -> None:
    """Let through a nonprofit that may issue currents.

    Raises:
        Invalid: it is no nonprofit.
        InvalidState: it is archived, or no platform admin has approved it.
    """
    require_open(nonprofit, path=path)
    if nonprofit.type != CollectiveType.NONPROFIT:
        raise Invalid("Only a nonprofit issues currents", path=path)
    if nonprofit.issuer_approved_at is None:
        raise InvalidState(f"{nonprofit.slug} is not approved to issue currents", path=path)


def new_order(
    actor: Actor,
    *,
    order_id: UUID,
    nonprofit: Collective,
    user: Collective,
    starts_at: datetime,
    ends_at: datetime,
    event_id: UUID | None,
    description: str | None,
    policy: PlatformPolicy,
) -> Order:
    """Return the row of an order of hours, PENDING, with the policy that holds now."""
    return Order(
        id=order_id,
        type=OrderType.HOURS,
        status=OrderStatus.PENDING,
        created_by_id=actor.id,
        from_id=nonprofit.id,
        to_id=user.id,
        currency=CURRENTS,
        amount=currents_of(ends_at - starts_at),
        description=user_text.clean(description, path=["input", "description"]),
        event_id=event_id,
        starts_at=starts_at,
        ends_at=ends_at,
        policy_id=policy.id,
        has_public_side=False,
        platform_fee_bps=actor.platform_fee_bps,
    )


def summary(order: Order, *, nonprofit: Collective, volunteer: Collective) -> dict[str, str]:
    """Return what mails say of hours."""
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
    placed: Placed,
    subject: Subject,
    *,
    amount: AskedAmount | None,
    reason: str | None,
) -> Order:
    """Approve hours, perhaps with another amount of currents: issues them, PAID at once.

    Raises:
        SelfApproval: the actor is the volunteer, in whatever role.
        Invalid: another amount without a reason, or above 24 hours and above what was asked.
        LimitExceeded: from the database, where a cap of issuance is reached.
    """
    order = placed.order
    require_may_approve(actor, order, subject)
    if order.status != OrderStatus.PENDING:
        raise wrong_status(order, OrderStatus.PENDING)
    minor = _adjusted(order, amount, reason)
    await _settle(session, actor, order, minor=minor, reason=reason)
    await members.add(session, order.from_id, order.to_id, MemberRole.VOLUNTEER)
    await outbox.to_users(
        session,
        user_ids=[order.to_id],
        template="hours_approved",
        order_id=order.id,
        payload=summary(order, nonprofit=named(placed.payer), volunteer=named(placed.payee)),
    )
    return order


def require_may_approve(actor: Actor, order: Order, subject: Subject) -> None:
    """Let through an ADMIN of the nonprofit who is not the volunteer.

    Raises:
        SelfApproval: they are; which is said even to a volunteer without the role.
    """
    if actor.id == order.to_id:
        raise SelfApproval(path=["input", "id"])
    require(actor, Action.APPROVE_HOURS, subject)


def _adjusted(order: Order, amount: AskedAmount | None, reason: str | None) -> int:
    if amount is None:
        return order.amount
    minor = to_minor(amount, path=["input", "amount"], currency=CURRENTS)
    if minor != order.amount and not reason:
        raise Invalid("Another amount needs a reason", path=["input", "reason"])
    if minor > max(MAX_MINOR_A_DAY, order.amount):
        raise Invalid("A day has 24 hours", path=["input", "amount"])
    return minor


async def _settle(
    session: AsyncSession, actor: Actor, order: Order, *, minor: int, reason: str | None, **columns: Any
) -> None:
    await change_status(
        session, order, before=OrderStatus.PENDING, after=OrderStatus.PAID, approved_amount=minor, **columns
    )
    await add_actions(session, approval_steps(actor, order, reason=reason))
    await issue(session, actor, order)


def approval_steps(actor: Actor, order: Order, *, reason: str | None) -> list[OrderAction]:
    """Return the two steps of an approval that pays at once."""
    return [
        action(
            order,
            OrderActionType.APPROVE,
            actor,
            before=OrderStatus.PENDING,
            after=OrderStatus.APPROVED,
            reason=reason,
        ),
        action(order, OrderActionType.PAY, actor, before=OrderStatus.APPROVED),
    ]


async def issue(session: AsyncSession, actor: Actor, order: Order) -> None:
    """Issue the currents of an order from its nonprofit. Locks: the two accounts."""
    assert actor.platform_id is not None
    await posting.post_currents(
        session,
        order=order,
        platform_id=actor.platform_id,
        kind=TransactionKind.HOURS,
        kind_from=LedgerAccountKind.ISSUANCE,
    )


async def credit(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    nonprofit: Collective,
    user: Collective,
    starts_at: datetime,
    ends_at: datetime,
    event_id: UUID | None,
    description: str | None,
    pending: bool = False,
) -> Order:
    """Write hours that an ADMIN vouches for: PAID at once, or `pending` until their end is known.

    The caller has seen to the right to do it.

    Raises:
        Conflict: the user has other hours at that time; from the database, too, where they come at once.
        LimitExceeded: from the database, where a cap of issuance is reached.
    """
    require_issuer(nonprofit, path=["input", "event"])
    if await _is_busy(session, user, starts_at, ends_at):
        raise Conflict("The user has other hours at that time", path=["input", "user"])
    order = new_order(
        actor,
        order_id=order_id,
        nonprofit=nonprofit,
        user=user,
        starts_at=starts_at,
        ends_at=ends_at,
        event_id=event_id,
        description=description,
        policy=await platform_policy.policy(session),
    )
    steps: Sequence[OrderAction] = [created(order)]
    if not pending:
        order.status, order.approved_amount = OrderStatus.PAID, order.amount
        steps = [*steps, *approval_steps(actor, order, reason=None)]
    await insert_order(session, order, steps)
    if not pending:
        await issue(session, actor, order)
        await _credited(session, order, nonprofit=nonprofit, user=user)
    return order


async def _is_busy(session: AsyncSession, user: Collective, starts_at: datetime, ends_at: datetime) -> bool:
    others = exists().where(
        col(Order.to_id) == user.id,
        col(Order.type) == OrderType.HOURS,
        col(Order.status).in_([OrderStatus.PENDING, OrderStatus.PAID]),
        col(Order.starts_at) < ends_at,
        col(Order.ends_at) > starts_at,
    )
    return bool((await session.execute(select(others))).scalar_one())


async def settle_actual(
    session: AsyncSession, actor: Actor, *, order_id: UUID, amount_minor: int, ends_at: datetime
) -> Order:
    """Pay hours written `pending`, at what they came to: at least one minor unit; they end no later.

    Raises:
        InvalidState: they are not pending any more.
    """
    order = await session.get_one(Order, order_id)
    if order.status != OrderStatus.PENDING:
        raise wrong_status(order, OrderStatus.PENDING)
    nonprofit = await session.get_one(Collective, order.from_id)
    user = await session.get_one(Collective, order.to_id)
    assert order.ends_at is not None and order.starts_at is not None
    end = min(order.ends_at, max(ends_at, order.starts_at + timedelta(milliseconds=1)))
    minor = max(1, amount_minor)
    await _settle(session, actor, order, minor=minor, reason=None, ends_at=end)
    await _credited(session, order, nonprofit=nonprofit, user=user)
    return order


async def _credited(session: AsyncSession, order: Order, *, nonprofit: Collective, user: Collective) -> None:
    await members.add(session, order.from_id, order.to_id, MemberRole.VOLUNTEER)
    await outbox.to_users(
        session,
        user_ids=[user.id],
        template="hours_approved",
        order_id=order.id,
        payload=summary(order, nonprofit=nonprofit, volunteer=user),
    )
