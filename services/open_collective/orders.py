"""Writes the orders of an imported ledger, with the file's times of payments and refunds."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Member, Order, OrderAction, Transaction, new_id
from models.enums import (
    FeesPayer,
    MemberRole,
    OrderActionType,
    OrderStatus,
    OrderType,
    PayoutMethodKind,
)
from services.core.party import OUTSIDE, Party
from services.open_collective.csv_reader import Row, line_error
from services.open_collective.parties import Parties
from services.open_collective.plan import Entry
from services.orders.sides import has_public_side

_PAYOUTS = {"PAYPAL": PayoutMethodKind.PAYPAL, "BANK_ACCOUNT": PayoutMethodKind.BANK_ACCOUNT}


@dataclass(frozen=True, kw_only=True)
class Job:
    """The state of a running import."""

    prefix: str
    """Prefix of the import keys of its orders."""
    parties: Parties
    others: Mapping[str, Collective]
    plan: Sequence[Entry]
    ids: Mapping[Row, UUID]
    orders: dict[str, Order]
    """By import key: stored orders, and new ones once written."""
    stored: Mapping[int, Transaction]
    """By fingerprint."""
    new: Sequence[Entry]

    def sides(self, entry: Entry) -> tuple[Party, Party]:
        """Return payer and payee; a counterpart's money is outside, except for the host's balance."""
        own = Party(self.parties.collective, self.parties.host)
        if entry.is_inside_book:
            other = Party(self.parties.host, self.parties.host)
        elif entry.is_origin_unknown:
            other = OUTSIDE
        else:
            other = Party(self.others[entry.opposite] if entry.opposite else self.parties.host)
        return (other, own) if entry.is_incoming else (own, other)


async def write_orders(session: AsyncSession, job: Job) -> int:
    """Write new orders with their history, and apply new refunds; return how many are new."""
    new_orders: dict[str, Order] = {}
    actions: list[OrderAction] = []
    for entry in job.new:
        if entry.makes_order:
            if entry.order_key in job.orders:
                raise line_error(
                    entry.row.line, "shortGroup", "this group was imported before with another row"
                )
            order = job.orders[entry.order_key] = new_orders[entry.order_key] = _build_order(job, entry)
            actions += [
                _build_action(order, entry, OrderActionType.CREATE, None, OrderStatus.PENDING),
                _build_action(order, entry, OrderActionType.PAY, OrderStatus.PENDING, OrderStatus.PAID),
            ]
    for entry, status in _find_refunds(job):
        order = job.orders[entry.order_key]
        actions.append(_build_action(order, entry, OrderActionType.REFUND, OrderStatus.PAID, status))
        if entry.order_key in new_orders:
            order.status, order.updated_at = status, max(order.updated_at, entry.row.at)
        else:
            await session.execute(
                update(Order)
                .where(col(Order.id) == order.id, col(Order.status) == OrderStatus.PAID)
                .values(status=status, updated_at=max(order.updated_at, entry.row.at))
            )
    if new_orders:
        await session.execute(insert(Order), [order.model_dump() for order in new_orders.values()])
    if actions:
        await session.execute(insert(OrderAction), [action.model_dump() for action in actions])
    await _add_backers(session, job)
    return len(new_orders)


def _build_order(job: Job, entry: Entry) -> Order:
    row, (payer, payee) = entry.row, job.sides(entry)
    giver, taker = payer.collective or job.parties.host, payee.collective
    assert taker is not None
    is_expense = entry.order_type == OrderType.EXPENSE
    return Order(
        type=entry.order_type,
        status=OrderStatus.PAID,
        from_id=giver.id,
        to_id=taker.id,
        currency=job.parties.currency,
        amount=abs(row.amount_minor),
        import_key=entry.order_key,
        description=f"Open Collective {row.group}",
        origin_unknown=entry.is_origin_unknown,
        payout_method_kind=_payout_kind(row) if is_expense else None,
        fees_payer=FeesPayer.PAYER if is_expense else None,
        has_public_side=has_public_side(Party(giver), Party(taker)),
        created_at=row.at,
        updated_at=row.at,
    )


def _payout_kind(row: Row) -> PayoutMethodKind:
    """Return how an expense was paid; never BALANCE, as payees are outside the ledger."""
    if not row.payout_method:
        return PayoutMethodKind.MANUAL
    return _PAYOUTS.get(row.payout_method, PayoutMethodKind.OTHER)


def _build_action(
    order: Order,
    entry: Entry,
    action_type: OrderActionType,
    from_status: OrderStatus | None,
    to_status: OrderStatus,
) -> OrderAction:
    return OrderAction(
        id=new_id(),
        order_id=order.id,
        type=action_type,
        at=entry.row.at,
        from_status=from_status,
        to_status=to_status,
        amount=abs(entry.row.amount_minor),
    )


def _find_refunds(job: Job) -> list[tuple[Entry, OrderStatus]]:
    """Return the new refunds of the orders' own rows, with the status that each leads to."""
    own_rows = {entry.row for entry in job.plan if entry.makes_order}
    new = {entry.row for entry in job.new}
    refunded_minor: dict[Row, int] = defaultdict(int)
    refunds = []
    for entry in job.plan:
        if (original := entry.original) is None or original not in own_rows:
            continue
        refunded_minor[original] += abs(entry.row.amount_minor)
        is_whole = refunded_minor[original] == abs(original.amount_minor)
        if entry.row in new:
            refunds.append((entry, OrderStatus.REFUNDED if is_whole else OrderStatus.PAID))
    return refunds


async def _add_backers(session: AsyncSession, job: Job) -> None:
    """Make every donor a BACKER since their first donation."""
    since: dict[UUID, datetime] = {}
    for entry in job.new:
        giver = job.sides(entry)[0].collective
        if entry.makes_order and entry.is_incoming and entry.order_type == OrderType.DONATION and giver:
            since.setdefault(giver.id, entry.row.at)
    if since:
        await session.execute(
            upsert(Member).on_conflict_do_nothing(),
            [
                Member(
                    collective_id=job.parties.collective.id,
                    member_id=giver_id,
                    role=MemberRole.BACKER,
                    since=at,
                ).model_dump()
                for giver_id, at in since.items()
            ],
        )
