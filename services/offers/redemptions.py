"""Redemptions: the business accepts currents for part of a price, the platform pays."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Uuid, bindparam, inspect, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Order, PlatformPolicy, Redemption, new_id
from models.enums import LedgerAccountKind, OrderActionType, OrderStatus, TransactionKind
from services.access.actor import Actor
from services.access.permissions import Action, Subject
from services.core.errors import InvalidState
from services.core.money import Money, UncheckedAmount
from services.ledger import posting
from services.ledger.legs import Leg
from services.ledger.transaction_amounts import CURRENTS, TransactionAmounts
from services.messaging import outbox
from services.offers.redemption_decision import decide_price, require_payable_redemption, with_quote
from services.offers.redemption_quote import (
    DOLLARS,
    RedemptionQuote,
    limits_when_pending,
    quote,
)
from services.orders import approval_rights, two_people
from services.orders.history import add_actions, history_step
from services.orders.sides import OrderSides
from services.orders.transitions import change_status
from services.round_trips import effects
from services.round_trips.pipelines import compile_statement


def balance_leg(platform_id: UUID, owner_id: UUID, currency: str, amount_minor: int = 0) -> Leg:
    """Build a leg of a balance in the platform's book."""
    return Leg(platform_id, owner_id, currency, LedgerAccountKind.BALANCE, amount_minor)


async def approve(
    session: AsyncSession,
    actor: Actor,
    sides: OrderSides,
    subject: Subject,
    *,
    amount: UncheckedAmount | None,
    reason: str | None,
) -> Order:
    """Approve a redemption and move its currents.

    `amount` corrects the price in dollars and needs a reason. A corrected price is quoted again, at the
    order's share and policy and within the current limits. Locks: the order, then the currents of both
    sides.

    Raises:
        SelfApproval: the actor is the user who redeems.
        InvalidState: the order is not pending.
        Invalid, AmountTooSmall, LimitExceeded, InsufficientFunds: the corrected price.
    """
    order, platform_id = sides.order, actor.platform_id
    single_limit = await approval_rights.require_may_approve(
        session, actor, sides, subject, Action.APPROVE_REDEMPTION
    )
    assert platform_id is not None
    row = _require_redemption(sides)
    price = decide_price(order, row, amount=amount, reason=reason)
    if price.is_corrected:
        price = with_quote(price, await _requote(session, order, row, price.price_minor, platform_id))
    decision = await two_people.decide(
        session,
        actor,
        order,
        amount_minor=price.currents_minor,
        is_amount_given=True,
        single_limit=single_limit,
        reason=reason,
    )
    if not decision.is_final:
        return order
    await change_status(
        session,
        order,
        from_status=OrderStatus.PENDING,
        to_status=OrderStatus.APPROVED,
        approved_amount=price.currents_minor,
    )
    step = history_step(order, OrderActionType.APPROVE, actor, from_status=OrderStatus.PENDING, reason=reason)
    await add_actions(session, [step])
    for name, value in price.changes.items():
        setattr(row, name, value)
    await _write_prices(session, row)
    await posting.post_currents(
        session, order=order, platform_id=platform_id, kind=TransactionKind.REDEMPTION, release=True
    )
    await outbox.mail_admins(
        session,
        collective_ids=[order.from_id],
        template="redemption_approved",
        order_id=order.id,
        payload=mail_payload(order, row, subject.payee) | {"reason": reason or ""},
        except_id=actor.id,
    )
    return order


def _require_redemption(sides: OrderSides) -> Redemption:
    assert sides.redemption is not None
    return sides.redemption


def select_redemption(order: Any) -> Select[Any]:
    """Select the details of a redemption, an order whose columns are given."""
    payout = col(Redemption.usd_gross_minor) - col(Redemption.usd_fee_minor)
    return select(*inspect(Redemption).local_table.c, payout.label("payout_minor")).where(
        col(Redemption.order_id) == order.id
    )


_PRICED = ("approved_price_minor", "usd_gross_minor", "usd_fee_minor", "caps")
"""Columns that an approval decides."""
_UPDATE = compile_statement(
    update(Redemption)
    .where(col(Redemption.order_id) == bindparam("key", type_=Uuid))
    .values({name: bindparam(name) for name in _PRICED})
)


async def _write_prices(session: AsyncSession, row: Redemption) -> None:
    values = {name: getattr(row, name) for name in _PRICED}
    await effects.write(session, _UPDATE, {"key": row.order_id, **values})


async def _requote(
    session: AsyncSession, order: Order, row: Redemption, price_minor: int, platform_id: UUID
) -> RedemptionQuote:
    """Quote a corrected price. Locks: the order, then the currents of both sides."""
    locked_status = select(col(Order.status)).where(col(Order.id) == order.id).with_for_update()
    if (await session.execute(locked_status)).scalar_one() != OrderStatus.PENDING:
        raise InvalidState("The order has changed. Load it again.", field="id")
    sides = [balance_leg(platform_id, owner_id, CURRENTS) for owner_id in (order.from_id, order.to_id)]
    await posting.lock_accounts(session, sides)
    policy = await session.get(PlatformPolicy, order.policy_id)
    assert policy is not None
    limits = await limits_when_pending(
        session, order, platform_id=platform_id, is_master=row.is_master, policy=policy
    )
    return quote(
        price_minor,
        percent=row.currents_share_percent,
        policy=policy,
        limits=limits,
        field="amount",
    )


async def pay(session: AsyncSession, actor: Actor, sides: OrderSides, subject: Subject) -> Order:
    """Pay the user the dollars of an approved redemption from the platform's own balance.

    Locks: the order, then the dollars of both.

    Raises:
        SelfApproval: the actor is the user who redeemed; or, raised by the database, approved and another
            ADMIN could pay.
        InvalidState: the order is not approved.
        InsufficientFunds: raised by the database if the platform lacks the gross; the order stays approved.
    """
    order, platform_id = sides.order, actor.platform_id
    require_payable_redemption(actor, order, subject)
    assert platform_id is not None
    row = _require_redemption(sides)
    await change_status(session, order, from_status=OrderStatus.APPROVED, to_status=OrderStatus.PAID)
    await add_actions(
        session, [history_step(order, OrderActionType.PAY, actor, from_status=OrderStatus.APPROVED)]
    )
    await _post_dollars(session, order, row, platform_id)
    await outbox.mail_admins(
        session,
        collective_ids=[order.from_id],
        template="redemption_paid",
        order_id=order.id,
        payload=mail_payload(order, row, subject.payee),
        except_id=actor.id,
    )
    return order


async def _post_dollars(session: AsyncSession, order: Order, row: Redemption, platform_id: UUID) -> None:
    """Post three legs: the platform's fee is a leg of its own and appears in its account."""
    gross_minor, fee_minor = row.usd_gross_minor, row.usd_fee_minor
    legs = [
        balance_leg(platform_id, platform_id, DOLLARS, -gross_minor),
        balance_leg(platform_id, platform_id, DOLLARS, fee_minor),
        balance_leg(platform_id, order.from_id, DOLLARS, gross_minor - fee_minor),
    ]
    columns = {
        "id": new_id(),
        "group_id": new_id(),
        "kind": TransactionKind.REDEMPTION_PAYOUT,
        "order_id": order.id,
        "from_collective_id": platform_id,
        "to_collective_id": order.from_id,
        "from_host_id": platform_id,
        "to_host_id": platform_id,
        "description": order.description,
        "has_public_side": False,
        **_payout_amounts(gross_minor, fee_minor).columns(),
    }
    await posting.post(session, row=columns, legs=sorted(leg for leg in legs if leg.amount_minor))


def _payout_amounts(gross_minor: int, fee_minor: int) -> TransactionAmounts:
    net_minor = gross_minor - fee_minor
    return TransactionAmounts(
        currency=DOLLARS,
        amount_minor=gross_minor,
        host_currency=DOLLARS,
        fx_rate=Decimal(1),
        fx_rate_id=None,
        gross_minor=gross_minor,
        payment_processor_fee_minor=0,
        platform_fee_minor=fee_minor,
        host_fee_minor=0,
        to_host_amount_minor=net_minor,
        to_collective_amount_minor=net_minor,
        from_host_currency=DOLLARS,
        from_host_fx_rate=Decimal(1),
        from_host_amount_minor=-gross_minor,
        from_collective_currency=DOLLARS,
        from_collective_fx_rate=Decimal(1),
        from_collective_amount_minor=-gross_minor,
    )


def mail_payload(order: Order, row: Redemption, business: Collective | None) -> dict[str, str]:
    """Return the values that mails show of a redemption."""
    currents = Money(order.approved_amount or order.amount, CURRENTS)
    price = Money(row.approved_price_minor or row.price_minor, DOLLARS)
    payout = Money(row.usd_gross_minor - row.usd_fee_minor, DOLLARS)
    return {
        "item": order.description or "",
        "business": business.name if business else "",
        "price": f"{price.value} {DOLLARS}",
        "currents": f"{currents.value} {CURRENTS}",
        "payout": f"{payout.value} {DOLLARS}",
    }


async def load_redemptions(session: AsyncSession, *, order_ids: Sequence[UUID]) -> dict[UUID, Redemption]:
    """Load the redemptions of orders by order; callers check that the orders are visible."""
    statement = select(Redemption).where(col(Redemption.order_id).in_(order_ids))
    return {row.order_id: row for row in (await session.execute(statement)).scalars()}
