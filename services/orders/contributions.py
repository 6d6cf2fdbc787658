"""Contributions of money or currents: added funds, transfers, and what donations share with them."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, PaymentMethod
from models.enums import OrderActionType, OrderStatus, TransactionKind
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, resolve
from services.core.money import UncheckedAmount
from services.core.party import Party
from services.messaging import outbox
from services.orders import approval_rights, confirmed_amounts
from services.orders.base import mail_payload
from services.orders.contribution_decision import (
    AddedFunds,
    claim_origin,
    decide_added_funds,
    decide_transfer,
)
from services.orders.history import creation_step, history_step, insert_order
from services.orders.settling import post_order, record_payment_effects
from services.orders.sides import order_sides


async def add_funds(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    to: CollectiveKey,
    amount: UncheckedAmount,
    from_: CollectiveKey | None = None,
    description: str | None = None,
    host_fee_bps: int | None = None,
) -> Order:
    """Add money received outside to a balance; without `from_`, its origin is unknown.

    A giver for whom the actor does not act is asked to confirm, and until then the origin counts as unknown.
    """
    keys = {"to": to} | ({"from": from_} if from_ else {})
    parties = await resolve(session, actor, keys, are_records=True)
    payee, giver = parties["to"], parties.get("from")
    funds = AddedFunds(amount=amount, description=description, host_fee_bps=host_fee_bps)
    order = decide_added_funds(actor, giver, payee, funds, order_id=order_id)
    host = Party(payee.host)
    payer = giver or host
    giver_id = order.from_id
    is_claim = giver is not None and await approval_rights.must_giver_confirm(
        session, actor, giver_id=giver_id
    )
    if is_claim:
        claim_origin(order, payee)
        payer = host
    await create_paid_order(session, actor, order, (payer, payee))
    if is_claim:
        await outbox.mail_admins(
            session,
            collective_ids=[giver_id],
            template="contribution_claimed",
            payload=mail_payload(order, to=payee),
            order_id=order.id,
            except_id=actor.id,
        )
    return order


async def transfer(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    from_: CollectiveKey,
    to: CollectiveKey,
    amount: UncheckedAmount,
    description: str | None = None,
) -> Order:
    """Transfer from one balance to another; inside one host, without fees."""
    policy = await confirmed_amounts.read_policy_ahead(session, actor)
    parties = await resolve(session, actor, {"from": from_, "to": to}, are_records=True)
    payer, payee = parties["from"], parties["to"]
    order = decide_transfer(actor, payer, payee, amount, order_id=order_id, description=description)
    await create_paid_order(session, actor, order, (payer, payee))
    await confirmed_amounts.require_confirmed_above(session, actor, order, policy=policy)
    return order


async def create_paid_order(
    session: AsyncSession,
    actor: Actor,
    order: Order,
    parties: tuple[Party, Party],
    *,
    method: PaymentMethod | None = None,
) -> None:
    """Insert and post an order that is created and paid in one step."""
    sides = order_sides(order, *parties, platform_id=actor.platform_id, payment_method=method)
    order.status = OrderStatus.PAID
    creation = creation_step(order)  # first, because steps are ordered by their time and id
    payment = history_step(order, OrderActionType.PAY, actor, from_status=OrderStatus.PENDING)
    await insert_order(session, order, [creation, payment])
    await post_order(session, actor, sides, TransactionKind(order.type))
    await record_payment_effects(session, actor, sides)
