"""What can be refunded of an order and of the tip beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, bindparam, func, inspect, select
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Order, Tier, Transaction
from models.enums import OrderStatus, OrderType, TransactionKind
from services.core.errors import InvalidState
from services.core.party import Party
from services.ledger.transaction_amounts import TransactionAmounts
from services.orders import tips, transitions
from services.orders.refund_amounts import is_host_receiver, remaining_amounts, split_amounts
from services.orders.sides import OrderSides
from services.round_trips import effects
from services.round_trips.pipelines import Call, compile_statement
from services.round_trips.records import split_records

_ORDER_ID = bindparam("order_id", type_=Uuid)
_ORDER = compile_statement(select(col(Order.status)).where(col(Order.id) == _ORDER_ID).with_for_update())
_SIDES = compile_statement(
    select(col(Collective.id), col(Collective.archived_at))
    .where(
        col(Collective.id).in_(
            select(func.unnest(array([col(Order.from_id), col(Order.to_id)]))).where(
                col(Order.id) == _ORDER_ID
            )
        )
    )
    .order_by(col(Collective.id))
    .with_for_update(read=True)
)
_TIER = compile_statement(
    select(col(Tier.id))
    .where(col(Tier.id) == select(col(Order.tier_id)).where(col(Order.id) == _ORDER_ID).scalar_subquery())
    .with_for_update(key_share=True)
)
"""Before any ledger account, so that the tier's places can be given back."""
_TRANSACTIONS = compile_statement(
    select(*inspect(Transaction).local_table.c)
    .where(col(Transaction.order_id) == _ORDER_ID)
    .order_by(col(Transaction.at), col(Transaction.id))
)


@dataclass(frozen=True)
class Refundable:
    """What an order moved, and how much of it has not been refunded."""

    original: Transaction
    remaining: dict[str, int]
    parties: tuple[Party, Party]
    """Payer and payee as of the original posting."""
    history: Sequence[Transaction] = ()
    """All transactions of the order, in their order."""
    tip: "RefundableTip | None" = None

    @property
    def total_minor(self) -> int:
        """What is left of the order and its tip. Units: minor, of the order's currency."""
        return self.remaining["amount"] + (self.tip.left_minor if self.tip else 0)

    def own_part(self, part_minor: int) -> int:
        """Return how much of a refund is the order's own: only what is more than that is of the tip."""
        return min(part_minor, self.remaining["amount"])

    def split(self, part_minor: int) -> TransactionAmounts:
        """Return the amounts of a refund of a part without the tip. Units: minor, of the order's currency."""
        pays_itself = is_host_receiver(self.parties)
        part_minor = self.own_part(part_minor)
        return split_amounts(self.remaining, part_minor, self.original, host_pays_itself=pays_itself)

    def payee_minor(self, part_minor: int) -> int:
        """Return what a refund takes from the payee. Units: minor, of its currency."""
        return self.split(part_minor).to_collective_amount_minor if self.own_part(part_minor) else 0


@dataclass(frozen=True)
class RefundableTip(Refundable):
    """What a tip moved, in the currency of its host, and how much of it is left in that of its order."""

    left_minor: int = 0
    whole_minor: int = 0
    """The tip as it was given, in the currency of its order."""

    def convert_part(self, part_minor: int) -> int:
        """Return a part in the currency of the transaction; all that is left is exactly the rest.

        All parts so far are converted together, so that what rounds away from one comes with another.
        """
        if part_minor <= 0:
            return 0
        if part_minor >= self.left_minor:
            return self.remaining["amount"]
        original_minor = self.original.amount
        given_minor = self.whole_minor - self.left_minor + part_minor
        before_minor = original_minor - self.remaining["amount"]
        return max(0, original_minor * given_minor // self.whole_minor - before_minor)


def calls_to_refund(order_id: UUID) -> list[Call]:
    """Return the calls that lock the sides and the tier of an order, and read its transactions.

    They follow the lock of the order; `to_refundable` takes their rows.
    """
    return [Call(statement, {"order_id": order_id}) for statement in (_SIDES, _TIER, _TRANSACTIONS)]


async def load_refundable(session: AsyncSession, sides: OrderSides, *, is_told: bool = False) -> Refundable:
    """Load what can be refunded of an order. Locks: the order, then both sides, then its tier.

    `is_told` and errors as in `to_refundable`.
    """
    order_id = sides.order.id
    locked, *rows = await effects.fetch(
        session, Call(_ORDER, {"order_id": order_id}), *calls_to_refund(order_id)
    )
    return await to_refundable(session, sides, rows, status=locked[0][0], is_told=is_told)


async def to_refundable(
    session: AsyncSession,
    sides: OrderSides,
    rows: Sequence[Sequence[Any]],
    *,
    status: str,
    is_told: bool = False,
) -> Refundable:
    """Return what can be refunded of a locked order with this status, from the rows of `calls_to_refund`.

    If a payment provider has told of it, a giver without a balance may be archived or erased by now: the
    money goes back to their card, and has left the host already. Locks: those who merged users are now.

    Raises:
        InvalidState: the order is not paid, or a side is archived or has left the host that held its money.
    """
    if status != OrderStatus.PAID:
        raise InvalidState("Only a paid order can be refunded.", field="id")
    locked_sides, _, transactions = rows
    history = [split_records((Transaction,), row)[0] for row in transactions]
    original, earlier = find_refunds(history, OrderType(sides.order.type))
    parties = await _original_parties(session, sides, original)
    may_giver_be_gone = is_told and original.from_host_id is None
    await _require_open(session, parties[1:] if may_giver_be_gone else parties, locked_sides)
    tip = None if sides.order.tip is None else _find_tip(sides.order, history, parties)
    return Refundable(original, remaining_amounts(original, earlier), parties, history, tip)


def _find_tip(order: Order, history: Sequence[Transaction], parties: tuple[Party, Party]) -> RefundableTip:
    original, earlier = find_refunds(history, TransactionKind.PLATFORM_TIP)
    payer, payee = parties
    assert payee.host is not None and original.to_collective_id is not None and order.tip is not None
    remaining = remaining_amounts(original, earlier)
    return RefundableTip(
        original,
        remaining,
        (payer, tips.receiver(original.to_collective_id, payee.host)),
        left_minor=_left_of(order.tip, remaining["amount"], original.amount),
        whole_minor=order.tip,
    )


def _left_of(tip_minor: int, remaining_minor: int, original_minor: int) -> int:
    """Return what is left of a tip in the currency of its order; nothing only where nothing remains."""
    return max(1, tip_minor * remaining_minor // original_minor) if remaining_minor else 0


async def _require_open(session: AsyncSession, parties: Sequence[Party], locked: Sequence[Any]) -> None:
    """Require that the parties are open, by the rows of the locked sides; others are locked now."""
    row_by_id = {row[0]: row for row in locked}
    ids = [party.collective.id for party in parties if party.collective is not None]
    if any(id_ not in row_by_id for id_ in ids):
        await transitions.lock_open_sides(session, parties)
        return
    if any(row_by_id[id_][-1] is not None for id_ in ids):
        raise InvalidState(transitions.SIDE_ARCHIVED, field="id")


def find_refunds(
    history: Sequence[Transaction], kind: OrderType | TransactionKind
) -> tuple[Transaction, Sequence[Transaction]]:
    """Return the transaction of this kind of an order's transactions, and the refunds of it."""
    original = next((row for row in history if row.kind == kind and row.refund_of_id is None), None)
    if original is None:
        raise InvalidState("This order has no transaction to refund.", field="id")
    return original, [row for row in history if row.refund_of_id == original.id]


async def _original_parties(
    session: AsyncSession, sides: OrderSides, original: Transaction
) -> tuple[Party, Party]:
    """Return payer and payee as of the original posting, with merged users replaced."""
    payer = await _follow_merges(session, sides.payer)
    payee = await _follow_merges(session, sides.payee)
    for party, host_id in ((payer, original.from_host_id), (payee, original.to_host_id)):
        if host_id is not None and (party.host is None or party.host.id != host_id):
            raise InvalidState(
                "A side of this order has left the host that held its money. Its hosts settle outside.",
                field="id",
            )
    return (
        payer if original.from_host_id else Party(payer.collective if original.from_collective_id else None),
        payee if original.to_host_id else Party(payee.collective),
    )


async def _follow_merges(session: AsyncSession, party: Party) -> Party:
    row = party.collective
    if row is None or row.merged_into_id is None:
        return party
    while row.merged_into_id is not None:
        row = await session.get_one(Collective, row.merged_into_id)
    return replace(party, collective=row, balance_currency=party.currency)
