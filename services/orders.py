"""Making orders: donations, added funds and transfers; what all kinds of order share."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Order, OrderAction, PaymentMethod, new_id, now
from models.enums import (
    CollectiveType,
    FeesPayer,
    MemberRole,
    OrderActionType,
    OrderStatus,
    OrderType,
    PaymentMethodKind,
    PayoutMethodKind,
    TransactionKind,
)
from services import fx, ledger, members, methods, outbox, settlement, texts
from services.actors import Actor
from services.errors import Invalid, InvalidState
from services.money import AskedAmount, Money, to_minor
from services.permissions import Action, Subject, require
from services.refs import Ref, named, require_open, resolve
from services.settlement import Party, Terms

PENDING_DAYS = 60


@dataclass(frozen=True)
class Placed:
    """An order with its two sides as they settle: a side without a host pays or is paid outside."""

    order: Order
    payer: Party
    payee: Party


def sides(order: Order, payer: Party, payee: Party, *, platform_id: UUID | None) -> Placed:
    """Return the order with its sides as they settle: of currents, in the platform's book."""
    if order.currency == settlement.CURRENTS and platform_id is not None:
        book = settlement.book_of_currents(platform_id)
        return Placed(
            order,
            Party(settlement.kept_in(order.currency, named(payer)), book),
            Party(settlement.kept_in(order.currency, named(payee)), book),
        )
    from_outside = order.type == OrderType.ADDED_FUNDS or (
        order.type == OrderType.DONATION and order.payment_method_kind == PaymentMethodKind.MANUAL
    )
    if order.type == OrderType.CASH_OUT:
        payer = Party(settlement.kept_in(order.currency, named(payer)), payer.host)
    to_outside = order.type == OrderType.CASH_OUT or (
        order.type == OrderType.EXPENSE and order.payout_method_kind != PayoutMethodKind.BALANCE
    )
    giver = None if order.origin_unknown else payer.collective
    return Placed(
        order,
        Party(giver) if from_outside else payer,
        Party(payee.collective) if to_outside else payee,
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
    kind, method = await methods.payment_method(session, named_as=payment_method, to_host=payee.host)
    if amount.currency == settlement.CURRENTS and (method or kind is not PaymentMethodKind.BALANCE):
        raise Invalid("Currents are given from a balance", path=["input", "paymentMethod"])
    order = _new(
        actor, OrderType.DONATION, payer, payee, amount, order_id=order_id, description=description,
        private_message=private_message,
    )  # fmt: skip
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
    assert payee.host is not None  # noqa: S101 - _new has seen to it
    await outbox.to_admins(
        session, collective_ids=[payee.host.id], template="donation_expected",
        payload=summary(order, to=payee), order_id=order.id, except_id=actor.id,
    )  # fmt: skip


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
        actor, OrderType.ADDED_FUNDS, payer, payee, amount, order_id=order_id,
        description=description, host_fee_bps=host_fee_bps,
    )  # fmt: skip
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
    in_currents = amount.currency == settlement.CURRENTS and kind in {OrderType.DONATION, OrderType.TRANSFER}
    currency = settlement.CURRENTS if in_currents else to.currency
    _require_hosted(payee, "to", currency)
    minor = to_minor(amount, path=["input", "amount"], currency=currency)
    if host_fee_bps is not None and not 0 <= host_fee_bps <= 10_000:  # noqa: PLR2004 - basis points
        raise Invalid("A fee is 0 to 10000 basis points", path=["input", "hostFeeBps"])
    return Order(
        id=order_id, type=kind, status=OrderStatus.PENDING, created_by_id=actor.id,
        from_id=named(payer).id, to_id=to.id, currency=currency, amount=minor,
        description=texts.clean(description, path=["input", "description"]),
        private_message=texts.clean(private_message, path=["input", "privateMessage"]),
        host_fee_bps=_host_fee_bps(payee) if host_fee_bps is None else host_fee_bps,
        platform_fee_bps=actor.platform_fee_bps,
        has_public_side=has_public_side(payer, payee),
    )  # fmt: skip


def check_sides(payer: Party, payee: Party, *, same_allowed: bool = False) -> None:
    """Let through two different, open sides that can hold money.

    Raises:
        Invalid: they are one, or one is an event.
        InvalidState: one is archived.
    """
    for party, name in ((payer, "from"), (payee, "to")):
        collective = named(party)
        require_open(collective, path=["input", name])
        if collective.type == CollectiveType.EVENT:
            raise Invalid("An event holds no money; name its parent", path=["input", name])
    if named(payer).id == named(payee).id and not same_allowed:
        raise Invalid("The two sides are one", path=["input", "to"])


def has_public_side(payer: Party, payee: Party) -> bool:
    """Whether a side is no person."""
    return any(named(p).type != CollectiveType.USER for p in (payer, payee))


def _require_hosted(party: Party, name: str, currency: str | None = None) -> None:
    """Let through whom a host holds money for; currents are in the platform's book, whoever has them."""
    if party.host is None and currency != settlement.CURRENTS:
        raise InvalidState(f"{named(party).slug} has no host that holds its money", path=["input", name])


def _host_fee_bps(payee: Party) -> int:
    own, host = named(payee).host_fee_bps, payee.host.host_fee_bps if payee.host else None
    return own if own is not None else (host or 0)


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


async def settle(
    session: AsyncSession,
    actor: Actor,
    placed: Placed,
    kind: TransactionKind,
    *,
    method: PaymentMethod | None = None,
    payout_fee_minor: int = 0,
    release: bool = False,
    transaction_id: UUID | None = None,
) -> None:
    """Post the transaction of an order: its approved amount, at the rates of now.

    Locks: the ledger accounts. Raises AmountTooSmall, FxRateUnavailable, and what the database refuses.
    """
    order, payer, payee = placed.order, placed.payer, placed.payee
    platform_id = actor.platform_id
    assert platform_id is not None  # noqa: S101 - every installation has its platform
    terms = settlement.fees_of(
        Terms(
            processor_bps=method.fee_bps if method else 0,
            processor_fixed_minor=method.fee_fixed_minor if method else 0,
            platform_bps=order.platform_fee_bps, host_bps=order.host_fee_bps or 0,
            payout_fee_minor=payout_fee_minor,
            fees_payer=FeesPayer(order.fees_payer or FeesPayer.PAYER),
        ),
        payer, payee, platform_id=platform_id,
    )  # fmt: skip
    quotes = await fx.quotes(session, settlement.pairs(order.currency, payer, payee))
    found = settlement.figures(
        order.approved_amount or order.amount, order.currency, payer, payee, terms=terms,
        quotes=quotes,
    )  # fmt: skip
    await ledger.post(
        session,
        row=ledger.transaction_row(
            found, payer, payee, kind=kind, order=order, transaction_id=transaction_id
        ),
        legs=settlement.legs(found, payer, payee, platform_id=platform_id),
        release_order_id=order.id if release else None,
    )


async def after_payment(session: AsyncSession, actor: Actor, placed: Placed) -> None:
    """Write what follows from a paid order: the BACKER row of a donation, and mails to both sides.

    A user who gives gets a receipt, also when they acted themselves.
    """
    order, payer = placed.order, placed.payer
    if order.type == OrderType.DONATION and payer.collective is not None:
        await members.add(session, order.to_id, payer.collective.id, MemberRole.BACKER)
        if payer.collective.type == CollectiveType.USER:
            await outbox.to_users(
                session, user_ids=[payer.collective.id], template="donation_confirmation",
                payload=summary(order, to=placed.payee), order_id=order.id,
            )  # fmt: skip
    await outbox.to_admins(
        session, collective_ids=[order.to_id], template="money_received",
        payload=summary(order, to=placed.payee), order_id=order.id, except_id=actor.id,
    )  # fmt: skip


async def insert_order(session: AsyncSession, order: Order, actions: Sequence[OrderAction]) -> None:
    """Write an order and the first of its history: one statement each."""
    session.add(order)
    await session.flush()
    await add_actions(session, actions)


async def add_actions(session: AsyncSession, actions: Sequence[OrderAction]) -> None:
    """Write steps of history; one statement."""
    await session.execute(insert(OrderAction).values([row.model_dump() for row in actions]))


def created(order: Order) -> OrderAction:
    """Return the first step of an order's history."""
    return OrderAction(
        order_id=order.id, type=OrderActionType.CREATE, actor_id=order.created_by_id,
        to_status=OrderStatus.PENDING, amount=order.amount,
    )  # fmt: skip


def action(
    order: Order,
    kind: OrderActionType,
    actor: Actor,
    *,
    before: OrderStatus,
    after: OrderStatus | None = None,
    amount: int | None = None,
    reason: str | None = None,
) -> OrderAction:
    """Return a step that leads to `after`, or else to the order's present status."""
    return OrderAction(
        id=new_id(), order_id=order.id, type=kind, actor_id=actor.id, from_status=before,
        to_status=after or OrderStatus(order.status), reason=reason, at=now(),
        amount=amount if amount is not None else order.approved_amount or order.amount,
    )  # fmt: skip


def summary(order: Order, *, to: Party) -> dict[str, str]:
    """Return what mails say of an order."""
    money = Money(order.approved_amount or order.amount, order.currency)
    return {
        "amount": f"{money.value} {money.currency}",
        "to": _name(to.collective),
        "type": order.type,
        "description": order.description or "",
    }


def _name(collective: Collective | None) -> str:
    return collective.name if collective else ""
