"""What all kinds of order share: their sides, their settlement, their history."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from services.access.actor import Actor
from services.access.collective_refs import named, require_open
from services.collectives import members
from services.core.errors import Invalid
from services.core.money import Money
from services.core.party import Party
from services.ledger import exchange_rates, posting, transaction_amounts
from services.ledger.transaction_amounts import Terms
from services.messaging import outbox

PENDING_DAYS = 60


@dataclass(frozen=True)
class Placed:
    """An order with its two sides as they settle: a side without a host pays or is paid outside."""

    order: Order
    payer: Party
    payee: Party


def sides(order: Order, payer: Party, payee: Party, *, platform_id: UUID | None) -> Placed:
    """Return the order with its sides as they settle: of currents, in the platform's book."""
    if order.currency == transaction_amounts.CURRENTS and platform_id is not None:
        book = transaction_amounts.book_of_currents(platform_id)
        return Placed(
            order,
            Party(payer.collective, book, order.currency),
            Party(payee.collective, book, order.currency),
        )
    from_outside = order.type == OrderType.ADDED_FUNDS or (
        order.type == OrderType.DONATION and order.payment_method_kind == PaymentMethodKind.MANUAL
    )
    if order.type == OrderType.CASH_OUT:
        payer = replace(payer, kept_in=order.currency)
    to_outside = order.type == OrderType.CASH_OUT or (
        order.type == OrderType.EXPENSE and order.payout_method_kind != PayoutMethodKind.BALANCE
    )
    giver = None if order.origin_unknown else payer.collective
    return Placed(
        order,
        Party(giver) if from_outside else payer,
        Party(payee.collective) if to_outside else payee,
    )


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
    assert platform_id is not None
    terms = transaction_amounts.fees_of(
        Terms(
            processor_bps=method.fee_bps if method else 0,
            processor_fixed_minor=method.fee_fixed_minor if method else 0,
            platform_bps=order.platform_fee_bps,
            host_bps=order.host_fee_bps or 0,
            payout_fee_minor=payout_fee_minor,
            fees_payer=FeesPayer(order.fees_payer or FeesPayer.PAYER),
        ),
        payer,
        payee,
        platform_id=platform_id,
    )
    quotes = await exchange_rates.quotes(session, transaction_amounts.pairs(order.currency, payer, payee))
    found = transaction_amounts.figures(
        order.approved_amount or order.amount,
        order.currency,
        payer,
        payee,
        terms=terms,
        quotes=quotes,
    )
    await posting.post(
        session,
        row=posting.transaction_row(
            found, payer, payee, kind=kind, order=order, transaction_id=transaction_id
        ),
        legs=transaction_amounts.legs(found, payer, payee, platform_id=platform_id),
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
                session,
                user_ids=[payer.collective.id],
                template="donation_confirmation",
                payload=summary(order, to=placed.payee),
                order_id=order.id,
            )
    await outbox.to_admins(
        session,
        collective_ids=[order.to_id],
        template="money_received",
        payload=summary(order, to=placed.payee),
        order_id=order.id,
        except_id=actor.id,
    )


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
        order_id=order.id,
        type=OrderActionType.CREATE,
        actor_id=order.created_by_id,
        to_status=OrderStatus.PENDING,
        amount=order.amount,
    )


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
        id=new_id(),
        order_id=order.id,
        type=kind,
        actor_id=actor.id,
        from_status=before,
        to_status=after or OrderStatus(order.status),
        reason=reason,
        at=now(),
        amount=amount if amount is not None else order.approved_amount or order.amount,
    )


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
