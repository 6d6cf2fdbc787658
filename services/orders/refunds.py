"""Giving money back: a transaction that mirrors the first, whole or in part."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Order, Transaction, new_id
from models.enums import (
    LedgerAccountKind,
    OrderActionType,
    OrderStatus,
    OrderType,
    TransactionKind,
)
from services.access.actor import Actor
from services.access.collective_refs import named
from services.access.permissions import Action, require
from services.core import user_text
from services.core.errors import Invalid, InvalidState
from services.core.money import AskedAmount, allocate, round_half_away, to_minor
from services.core.party import OUTSIDE, Party
from services.ledger import posting
from services.ledger.transaction_amounts import Figures, Leg, legs, merged, unconverted
from services.messaging import outbox
from services.orders import transitions
from services.orders.base import Placed, action, add_actions, summary

REFUNDABLE = {
    OrderType.DONATION: Action.REFUND_DONATION,
    OrderType.ADDED_FUNDS: Action.REFUND_DONATION,
    OrderType.EXPENSE: Action.REFUND_EXPENSE,
    OrderType.TRANSFER: Action.REFUND_TRANSFER,
}
_EXACT = Context(prec=60)
_SUMMED = (
    "amount",
    "gross",
    "payment_processor_fee",
    "platform_fee",
    "host_fee",
    "to_host_amount",
    "to_collective_amount",
    "from_host_amount",
    "from_collective_amount",
)


@dataclass(frozen=True)
class Refunded:
    """A refunded order, and the ids of the transactions that this refund wrote."""

    order: Order
    transaction_ids: list[UUID]


async def refund(
    session: AsyncSession,
    actor: Actor,
    *,
    order_id: UUID,
    refund_id: UUID,
    amount: AskedAmount | None = None,
    reason: str | None = None,
) -> Refunded:
    """Return an amount of a paid order, or the rest of it, at the rates of the original.

    What a processor keeps is covered by the host in a line of its own, unless the host is the one who
    returns the money. Locks: the order, then ledger accounts.

    Raises:
        InvalidState: the order is not paid, or of a kind that has no refund.
        Invalid: more than is left.
        InsufficientFunds: from the database, where the receiver has spent it.
    """
    placed, subject, _ = await transitions.load_for_decision(session, actor, order_id=order_id)
    order = placed.order
    if order.type not in REFUNDABLE:
        require(actor, Action.REFUND_DONATION, subject)
        raise InvalidState(f"There is no refund of {order.type}", path=["input", "id"])
    require(actor, REFUNDABLE[OrderType(order.type)], subject)
    why = user_text.clean(reason, path=["input", "reason"])
    original, earlier = await _lock(session, order)
    left = _left(original, earlier)
    part = _asked(order, left, amount)
    at_once = await _parties(session, placed, original)
    found = _part(left, part, original, host_pays_itself=_host_is_receiver(at_once))
    written = await _post(session, actor, order, at_once, found, original, refund_id=refund_id)
    before = OrderStatus(order.status)
    if part == left["amount"]:
        await transitions.change_status(session, order, before=before, after=OrderStatus.REFUNDED)
    await add_actions(
        session,
        [action(order, OrderActionType.REFUND, actor, before=before, amount=part, reason=why)],
    )
    await _tell(session, actor, placed)
    return Refunded(order, written)


async def _tell(session: AsyncSession, actor: Actor, placed: Placed) -> None:
    order = placed.order
    await outbox.to_admins(
        session,
        collective_ids=[order.from_id, order.to_id],
        template="order_refunded",
        payload=summary(order, to=placed.payee),
        order_id=order.id,
        except_id=actor.id,
    )


async def _lock(session: AsyncSession, order: Order) -> tuple[Transaction, Sequence[Transaction]]:
    """Lock the order, then read what it emitted and what of that was refunded."""
    locked = await session.execute(
        select(col(Order.status)).where(col(Order.id) == order.id).with_for_update()
    )
    if locked.scalar_one() != OrderStatus.PAID:
        raise InvalidState("Only a paid order is refunded", path=["input", "id"])
    rows = (
        (
            await session.execute(
                select(Transaction)
                .where(
                    col(Transaction.order_id) == order.id,
                    col(Transaction.kind).in_([order.type, TransactionKind.REFUND]),
                )
                .order_by(col(Transaction.at), col(Transaction.id))
            )
        )
        .scalars()
        .all()
    )
    originals = [row for row in rows if row.refund_of_id is None]
    if not originals:
        raise InvalidState("This order has no transaction to refund", path=["input", "id"])
    return originals[0], [row for row in rows if row.refund_of_id == originals[0].id]


def _left(original: Transaction, earlier: Sequence[Transaction]) -> dict[str, int]:
    """Return each figure of the original less what earlier refunds took of it."""
    return {
        name: (getattr(original, name) or 0) + sum(getattr(row, name) or 0 for row in earlier)
        for name in _SUMMED
    }


def _asked(order: Order, left: dict[str, int], amount: AskedAmount | None) -> int:
    if amount is None:
        return left["amount"]
    part = to_minor(amount, path=["input", "amount"], currency=order.currency)
    if part > left["amount"]:
        raise Invalid("This is more than is left to refund", path=["input", "amount"])
    return part


async def _parties(session: AsyncSession, placed: Placed, original: Transaction) -> tuple[Party, Party]:
    """Return the sides as they were when the original was posted; for a merged user, who took it over."""
    payer = await _survivor(session, placed.payer)
    payee = await _survivor(session, placed.payee)
    return (
        payer if original.from_host_id else Party(payer.collective),
        payee if original.to_host_id else Party(payee.collective),
    )


async def _survivor(session: AsyncSession, party: Party) -> Party:
    row = party.collective
    if row is None or row.merged_into_id is None:
        return party
    while row.merged_into_id is not None:
        row = await session.get_one(Collective, row.merged_into_id)
    return replace(party, collective=row, kept_in=party.currency)


def _receiver(sides: tuple[Party, Party]) -> Party:
    """The side whose host covers fees: the payee's, or the payer's where the payee was paid outside."""
    payer, payee = sides
    return payee if payee.host is not None else payer


def _host_is_receiver(sides: tuple[Party, Party]) -> bool:
    _, payee = sides
    return payee.host is not None and named(payee).id == payee.host.id


def _part(left: dict[str, int], part: int, original: Transaction, *, host_pays_itself: bool) -> Figures:
    """Split what is left: each figure in proportion, the sums by largest remainder.

    A part takes from what is left, never from the whole, so that the last one takes exactly the rest.
    """
    total = left["amount"]

    def of(name: str) -> int:
        whole = abs(left[name])
        share = whole if part == total else _share(whole, part, total)
        return share if left[name] >= 0 else -share

    components = [
        left["payment_processor_fee"],
        left["platform_fee"],
        left["host_fee"],
        left["to_host_amount"] - left["host_fee"],
    ]
    if host_pays_itself:
        components = [0, components[1], components[2], components[3] + components[0]]
    gross = _share(sum(components), part, total)
    processor, platform, host_fee, net = allocate(gross, components)
    one_currency = original.currency == original.host_currency
    found = Figures(
        currency=original.currency,
        amount=part,
        host_currency=original.host_currency,
        fx_rate=original.fx_rate,
        fx_rate_id=original.fx_rate_id,
        gross=gross,
        payment_processor_fee=processor,
        platform_fee=platform,
        host_fee=host_fee,
        to_host_amount=net + host_fee,
        to_collective_amount=net if one_currency else of("to_collective_amount"),
    )
    if original.from_host_id is None:
        return found
    return replace(
        found,
        from_host_currency=original.from_host_currency,
        from_host_fx_rate=original.from_host_fx_rate,
        from_host_amount=of("from_host_amount"),
        from_collective_currency=original.from_collective_currency,
        from_collective_fx_rate=original.from_collective_fx_rate,
        from_collective_amount=of("from_collective_amount"),
    )


def _share(whole: int, part: int, total: int) -> int:
    """Return `part` of `total` of a whole amount, rounded half away from zero."""
    return round_half_away(_EXACT.divide(Decimal(whole * part), Decimal(total)))


def _negated(found: Figures) -> Figures:
    values: dict[str, Any] = {name: -value for name in _SUMMED if (value := getattr(found, name)) is not None}
    return replace(found, **values)


async def _post(
    session: AsyncSession,
    actor: Actor,
    order: Order,
    at_once: tuple[Party, Party],
    found: Figures,
    original: Transaction,
    *,
    refund_id: UUID,
) -> list[UUID]:
    payer, payee = at_once
    platform_id = actor.platform_id
    assert platform_id is not None
    group_id = new_id()
    row = posting.transaction_row(
        _negated(found),
        payer,
        payee,
        kind=TransactionKind.REFUND,
        order=order,
        transaction_id=refund_id,
        group_id=group_id,
    )
    mirrored = [
        replace(leg, amount=-leg.amount) for leg in legs(found, payer, payee, platform_id=platform_id)
    ]
    cover = _cover_legs(_receiver(at_once), found.payment_processor_fee)
    if cover:
        await posting.lock(session, [*mirrored, *cover])
    await posting.post(session, row={**row, "refund_of_id": original.id}, legs=mirrored)
    written = [refund_id]
    if cover:
        written.append(await _cover(session, order, _receiver(at_once), found, legs=cover, group_id=group_id))
    return written


def _cover_legs(receiver: Party, fee: int) -> list[Leg]:
    host = receiver.host
    assert host is not None or not fee
    if host is None or not fee:
        return []
    return merged(
        [
            Leg(host.id, host.id, host.currency, LedgerAccountKind.BALANCE, -fee),
            Leg(host.id, host.id, host.currency, LedgerAccountKind.CASH, fee),
        ]
    )


async def _cover(
    session: AsyncSession,
    order: Order,
    receiver: Party,
    found: Figures,
    *,
    legs: list[Leg],
    group_id: UUID,
) -> UUID:
    """Let the host pay what the processor keeps."""
    host, fee = receiver.host, found.payment_processor_fee
    assert host is not None
    row = posting.transaction_row(
        unconverted(fee, host.currency),
        Party(host, host),
        OUTSIDE,
        kind=TransactionKind.PAYMENT_PROCESSOR_COVER,
        order=order,
        group_id=group_id,
    )
    await posting.post(session, row=row, legs=legs)
    cover_id: UUID = row["id"]
    return cover_id
