"""Asking a collective to pay a bill."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Order, OrderItem, now
from models.enums import FeesPayer, OrderStatus, OrderType, PayoutMethodKind
from services.access.actor import Actor
from services.access.collective_refs import Ref, named, resolve
from services.access.permissions import Action, Subject, require
from services.core import user_text
from services.core.errors import Invalid, InvalidState
from services.core.money import MAX_MINOR, AskedAmount, to_minor
from services.core.party import Party
from services.messaging import outbox
from services.orders import payment_methods
from services.orders.base import check_sides, created, has_public_side, insert_order, summary

MAX_ITEMS = 300
MAX_RECEIPTS = 20
PENDING_DAYS = 365


@dataclass(frozen=True)
class AskedItem:
    """A line of a bill."""

    description: str
    amount: AskedAmount


async def submit(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    from_: Ref,
    to: Ref,
    amount: AskedAmount | None = None,
    items: Sequence[AskedItem] | None = None,
    payout_method: str | None = None,
    fees_payer: FeesPayer = FeesPayer.PAYER,
    description: str | None = None,
    private_message: str | None = None,
    receipts: Sequence[str] = (),
) -> Order:
    """Ask `from_` to pay `to`, by one amount or by lines that add up; both in the payee's currency.

    Raises:
        Invalid: not exactly one of amount and items, an amount, a currency, a receipt.
        InvalidState: the payer has no host, or the payee is to be paid into a balance it has not.
    """
    parties = await resolve(session, actor, {"from": from_, "to": to})
    payer, payee = parties["from"], parties["to"]
    require(actor, Action.SUBMIT_EXPENSE, Subject(payer=payer.collective, payee=payee.collective))
    check_sides(payer, payee)
    if payer.host is None:
        raise InvalidState("The payer has no host that pays", path=["input", "from"])
    kind, method_id = await payment_methods.payout_method(session, named_as=payout_method, payee=named(payee))
    if kind is PayoutMethodKind.BALANCE and payee.host is None:
        raise InvalidState("The payee has no balance here", path=["input", "payoutMethod"])
    lines = _lines(named(payee).currency, amount, items, description)
    order = Order(
        id=order_id,
        type=OrderType.EXPENSE,
        status=OrderStatus.PENDING,
        created_by_id=actor.id,
        from_id=named(payer).id,
        to_id=named(payee).id,
        currency=named(payee).currency,
        amount=sum(minor for _, minor in lines),
        payout_method_kind=kind,
        payout_method_id=method_id,
        fees_payer=fees_payer,
        platform_fee_bps=actor.platform_fee_bps,
        host_fee_bps=_receiving_fee_bps(kind, payee),
        description=user_text.clean(description, path=["input", "description"]),
        private_message=user_text.clean(private_message, path=["input", "privateMessage"]),
        receipts=_receipts(receipts),
        has_public_side=has_public_side(payer, payee),
        expires_at=now() + timedelta(days=PENDING_DAYS),
    )
    if order.amount > MAX_MINOR:
        raise Invalid("The amount is too large", path=["input", "items"])
    await insert_order(session, order, [created(order)])
    if items:
        await session.execute(insert(OrderItem).values(_item_rows(order, lines)))
    await outbox.to_admins(
        session,
        collective_ids=[order.from_id],
        template="expense_submitted",
        payload=summary(order, to=payee),
        order_id=order.id,
        except_id=actor.id,
    )
    return order


def _receiving_fee_bps(kind: PayoutMethodKind, payee: Party) -> int | None:
    if kind is not PayoutMethodKind.BALANCE or payee.host is None:
        return None
    own = named(payee).host_fee_bps
    return own if own is not None else payee.host.host_fee_bps or 0


def _lines(
    currency: str,
    amount: AskedAmount | None,
    items: Sequence[AskedItem] | None,
    description: str | None,
) -> list[tuple[str, int]]:
    if (amount is None) == (not items):
        raise Invalid("Give an amount, or items that add up to it", path=["input", "amount"])
    if amount is not None:
        return [(description or "", to_minor(amount, path=["input", "amount"], currency=currency))]
    assert items is not None
    if len(items) > MAX_ITEMS:
        raise Invalid(f"An expense has at most {MAX_ITEMS} items", path=["input", "items"])
    return [
        (
            user_text.required(item.description, path=["input", "items", str(i), "description"]),
            to_minor(item.amount, path=["input", "items", str(i), "amount"], currency=currency),
        )
        for i, item in enumerate(items)
    ]


def _item_rows(order: Order, lines: list[tuple[str, int]]) -> list[dict[str, object]]:
    return [
        {"order_id": order.id, "position": i, "description": text, "amount": minor}
        for i, (text, minor) in enumerate(lines)
    ]


def _receipts(receipts: Sequence[str]) -> list[str]:
    path = ["input", "receipts"]
    if len(receipts) > MAX_RECEIPTS:
        raise Invalid(f"An expense has at most {MAX_RECEIPTS} receipts", path=path)
    return [user_text.required(receipt, path=path, max_length=500) for receipt in receipts]


async def items_of(session: AsyncSession, *, order_ids: Sequence[UUID]) -> dict[UUID, list[OrderItem]]:
    """Return the lines of expenses, in order; of orders that the viewer may see."""
    statement = (
        select(OrderItem)
        .where(col(OrderItem.order_id).in_(order_ids))
        .order_by(col(OrderItem.order_id), col(OrderItem.position))
    )
    lines: dict[UUID, list[OrderItem]] = {order_id: [] for order_id in order_ids}
    for item in (await session.execute(statement)).scalars():
        lines[item.order_id].append(item)
    return lines
