"""Contributions of money or currents: added funds, transfers, and what donations share with them."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, PaymentMethod
from models.enums import (
    GiverStatus,
    OrderActionType,
    OrderStatus,
    OrderType,
    TransactionKind,
)
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, resolve
from services.access.permissions import Action, Subject, require
from services.collectives.collectives import WHOLE_BPS
from services.core import user_text
from services.core.errors import Invalid, InvalidState
from services.core.money import UncheckedAmount, to_minor
from services.core.party import Party
from services.ledger import transaction_amounts
from services.messaging import outbox
from services.orders import approval_rights, confirmed_amounts
from services.orders.base import mail_payload
from services.orders.history import creation_step, history_step, insert_order
from services.orders.settling import post_order, record_payment_effects
from services.orders.sides import (
    has_public_side,
    order_sides,
    receiving_fee_bps,
    require_open_book,
    require_valid_sides,
)
from services.round_trips.records import new_record


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
    payee = parties["to"]
    require(actor, Action.ADD_FUNDS, Subject(payee=payee.collective, payee_host=payee.host))
    require_hosted(payee, "to")
    host = Party(payee.host)
    payer = parties.get("from", host)
    order = build_order(
        actor,
        OrderType.ADDED_FUNDS,
        payer,
        payee,
        amount,
        order_id=order_id,
        description=description,
        host_fee_bps=host_fee_bps,
    )
    giver_id = require_collective(payer).id
    is_claim = from_ is not None and await approval_rights.must_giver_confirm(
        session, actor, giver_id=giver_id
    )
    if is_claim:
        order.claimed_giver_id, order.giver_status = giver_id, GiverStatus.WAITING
        order.from_id, payer = require_collective(host).id, host
    if from_ is None or is_claim:
        hide_origin(order, payee)
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
    require(actor, Action.TRANSFER_FUNDS, Subject(payer=payer.collective, payee=payee.collective))
    require_hosted(payer, "from", amount.currency)
    order = build_order(
        actor, OrderType.TRANSFER, payer, payee, amount, order_id=order_id, description=description
    )
    await create_paid_order(session, actor, order, (payer, payee))
    await confirmed_amounts.require_confirmed_above(session, actor, order, policy=policy)
    return order


def hide_origin(order: Order, payee: Party) -> None:
    """Mark the origin of an order as unknown: the host that stands for it is then no side of the order."""
    order.origin_unknown = True
    order.has_public_side = has_public_side(payee, payee)


def build_order(
    actor: Actor,
    kind: OrderType,
    payer: Party,
    payee: Party,
    amount: UncheckedAmount,
    *,
    order_id: UUID,
    description: str | None,
    private_message: str | None = None,
    host_fee_bps: int | None = None,
) -> Order:
    """Build an order for a hosted payee, with the present fees."""
    require_valid_sides(payer, payee, same_allowed=kind == OrderType.ADDED_FUNDS)
    to = require_collective(payee)
    in_currents = amount.currency == transaction_amounts.CURRENTS and kind in {
        OrderType.DONATION,
        OrderType.TRANSFER,
    }
    currency = transaction_amounts.CURRENTS if in_currents else to.currency
    require_hosted(payee, "to", currency)
    if not in_currents:
        require_open_book(payee, field="to")
    amount_minor = to_minor(amount, field="amount", currency=currency)
    if host_fee_bps is not None and not 0 <= host_fee_bps <= WHOLE_BPS:
        raise Invalid("Enter a fee from 0 to 10000 basis points.", field="hostFeeBps")
    return new_record(
        Order,
        id=order_id,
        type=kind,
        status=OrderStatus.PENDING,
        created_by_id=actor.id,
        from_id=require_collective(payer).id,
        to_id=to.id,
        currency=currency,
        amount=amount_minor,
        description=user_text.clean_text(description, field="description"),
        private_message=user_text.clean_text(private_message, field="privateMessage"),
        host_fee_bps=receiving_fee_bps(payee) if host_fee_bps is None else host_fee_bps,
        platform_fee_bps=actor.platform_fee_bps,
        has_public_side=has_public_side(payer, payee),
    )


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


def require_hosted(party: Party, name: str, currency: str | None = None) -> None:
    """Require that a host holds the party's money; currents are always in the platform's book."""
    if party.host is None and currency != transaction_amounts.CURRENTS:
        raise InvalidState(f"{require_collective(party).slug} has no host that holds its money.", field=name)
