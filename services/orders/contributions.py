"""Giving: donations, money that a host adds, transfers from balance to balance; of money and of currents."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import Order, PaymentMethod, now
from models.enums import OrderActionType, OrderStatus, OrderType, PaymentMethodKind, TransactionKind
from services.access.actor import Actor
from services.access.collective_refs import Ref, named, resolve
from services.access.permissions import Action, Subject, require
from services.core import user_text
from services.core.errors import Invalid, InvalidState
from services.core.money import AskedAmount, to_minor
from services.core.party import Party
from services.ledger import transaction_amounts
from services.messaging import outbox
from services.orders import payment_methods
from services.orders.base import (
    PENDING_DAYS,
    action,
    after_payment,
    check_sides,
    created,
    has_public_side,
    insert_order,
    settle,
    sides,
    summary,
)


async def donate(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    from_: Ref,
    to: Ref,
    amount: AskedAmount,
    payment_method: str | None = None,
    description: str | None = None,
    private_message: str | None = None,
    expires_at: datetime | None = None,
) -> Order:
    """Give to a hosted collective: from a balance, settled at once; by bank transfer, when the host sees it.

    Raises:
        Invalid: the amount, its currency, or a side that holds no money.
        InsufficientFunds: from the database, where the balance is too small.
    """
    parties = await resolve(session, actor, {"from": from_, "to": to})
    payer, payee = parties["from"], parties["to"]
    require(actor, Action.DONATE, Subject(payer=payer.collective, payee=payee.collective))
    kind, method = await payment_methods.payment_method(session, named_as=payment_method, to_host=payee.host)
    if amount.currency == transaction_amounts.CURRENTS and (method or kind is not PaymentMethodKind.BALANCE):
        raise Invalid("Currents are given from a balance", path=["input", "paymentMethod"])
    order = _new(
        actor,
        OrderType.DONATION,
        payer,
        payee,
        amount,
        order_id=order_id,
        description=description,
        private_message=private_message,
    )
    order.payment_method_kind = kind
    order.payment_method_id = method.id if method else None
    if kind is PaymentMethodKind.MANUAL:
        order.expires_at = _expiry(expires_at)
        await insert_order(session, order, [created(order)])
        await _tell_host(session, actor, order, payee)
        return order
    _require_hosted(payer, "from", order.currency)
    await _settle_at_once(session, actor, order, (payer, payee), method=method)
    return order


def _expiry(asked: datetime | None) -> datetime:
    latest = now() + timedelta(days=PENDING_DAYS)
    if asked is not None and not now() < asked <= latest:
        raise Invalid(f"An order waits at most {PENDING_DAYS} days", path=["input", "expiresAt"])
    return asked or latest


async def _tell_host(session: AsyncSession, actor: Actor, order: Order, payee: Party) -> None:
    assert payee.host is not None
    await outbox.to_admins(
        session,
        collective_ids=[payee.host.id],
        template="donation_expected",
        payload=summary(order, to=payee),
        order_id=order.id,
        except_id=actor.id,
    )


async def add_funds(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    to: Ref,
    amount: AskedAmount,
    from_: Ref | None = None,
    description: str | None = None,
    host_fee_bps: int | None = None,
) -> Order:
    """Add money that the host received outside to a balance; without `from_`, of unknown origin."""
    wanted = {"to": to} | ({"from": from_} if from_ else {})
    parties = await resolve(session, actor, wanted)
    payee = parties["to"]
    require(actor, Action.ADD_FUNDS, Subject(payee=payee.collective, payee_host=payee.host))
    _require_hosted(payee, "to")
    payer = parties.get("from", Party(payee.host))
    order = _new(
        actor,
        OrderType.ADDED_FUNDS,
        payer,
        payee,
        amount,
        order_id=order_id,
        description=description,
        host_fee_bps=host_fee_bps,
    )
    order.origin_unknown = from_ is None
    if order.origin_unknown:  # the host is no side of it
        order.has_public_side = has_public_side(payee, payee)
    await _settle_at_once(session, actor, order, (payer, payee))
    return order


async def transfer(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    from_: Ref,
    to: Ref,
    amount: AskedAmount,
    description: str | None = None,
) -> Order:
    """Move balance to another balance; without fees inside one host."""
    parties = await resolve(session, actor, {"from": from_, "to": to})
    payer, payee = parties["from"], parties["to"]
    require(actor, Action.TRANSFER_FUNDS, Subject(payer=payer.collective, payee=payee.collective))
    _require_hosted(payer, "from", amount.currency)
    order = _new(actor, OrderType.TRANSFER, payer, payee, amount, order_id=order_id, description=description)
    await _settle_at_once(session, actor, order, (payer, payee))
    return order


def _new(
    actor: Actor,
    kind: OrderType,
    payer: Party,
    payee: Party,
    amount: AskedAmount,
    *,
    order_id: UUID,
    description: str | None,
    private_message: str | None = None,
    host_fee_bps: int | None = None,
) -> Order:
    """Make the row of an order for a hosted payee, with the fees that hold now."""
    check_sides(payer, payee, same_allowed=kind == OrderType.ADDED_FUNDS)
    to = named(payee)
    in_currents = amount.currency == transaction_amounts.CURRENTS and kind in {
        OrderType.DONATION,
        OrderType.TRANSFER,
    }
    currency = transaction_amounts.CURRENTS if in_currents else to.currency
    _require_hosted(payee, "to", currency)
    minor = to_minor(amount, path=["input", "amount"], currency=currency)
    if host_fee_bps is not None and not 0 <= host_fee_bps <= 10_000:  # noqa: PLR2004 - basis points
        raise Invalid("A fee is 0 to 10000 basis points", path=["input", "hostFeeBps"])
    return Order(
        id=order_id,
        type=kind,
        status=OrderStatus.PENDING,
        created_by_id=actor.id,
        from_id=named(payer).id,
        to_id=to.id,
        currency=currency,
        amount=minor,
        description=user_text.clean(description, path=["input", "description"]),
        private_message=user_text.clean(private_message, path=["input", "privateMessage"]),
        host_fee_bps=_host_fee_bps(payee) if host_fee_bps is None else host_fee_bps,
        platform_fee_bps=actor.platform_fee_bps,
        has_public_side=has_public_side(payer, payee),
    )


async def _settle_at_once(
    session: AsyncSession,
    actor: Actor,
    order: Order,
    parties: tuple[Party, Party],
    *,
    method: PaymentMethod | None = None,
) -> None:
    """Write an order that is created, approved and paid in one act."""
    placed = sides(order, *parties, platform_id=actor.platform_id)
    order.status = OrderStatus.PAID
    first = created(order)
    paid = action(order, OrderActionType.PAY, actor, before=OrderStatus.PENDING)
    await insert_order(session, order, [first, paid])
    await settle(session, actor, placed, TransactionKind(order.type), method=method)
    await after_payment(session, actor, placed)


def _require_hosted(party: Party, name: str, currency: str | None = None) -> None:
    """Let through whom a host holds money for; currents are in the platform's book, whoever has them."""
    if party.host is None and currency != transaction_amounts.CURRENTS:
        raise InvalidState(f"{named(party).slug} has no host that holds its money", path=["input", name])


def _host_fee_bps(payee: Party) -> int:
    own, host = named(payee).host_fee_bps, payee.host.host_fee_bps if payee.host else None
    return own if own is not None else (host or 0)
