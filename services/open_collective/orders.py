"""The orders of an imported ledger: made, paid and refunded when the file says."""

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
from services.open_collective.csv_reader import Row, broken
from services.open_collective.parties import Parties
from services.open_collective.plan import Entry
from services.orders.base import has_public_side

_PAYOUTS = {"PAYPAL": PayoutMethodKind.PAYPAL, "BANK_ACCOUNT": PayoutMethodKind.BANK_ACCOUNT}


@dataclass(frozen=True, kw_only=True)
class Job:
    """An import under way."""

    prefix: str
    """What the import keys of its orders begin with."""
    parties: Parties
    others: Mapping[str, Collective]
    plan: Sequence[Entry]
    ids: Mapping[Row, UUID]
    orders: dict[str, Order]
    """By import key: the stored ones, then the new ones, too."""
    stored: Mapping[int, Transaction]
    """By fingerprint."""
    new: Sequence[Entry]

    def sides(self, entry: Entry) -> tuple[Party, Party]:
        """Return payer and payee; the counterpart's money is outside but for the host's balance."""
        own = Party(self.parties.collective, self.parties.host)
        if entry.inside:
            other = Party(self.parties.host, self.parties.host)
        elif entry.origin_unknown:
            other = OUTSIDE
        else:
            other = Party(self.others[entry.opposite] if entry.opposite else self.parties.host)
        return (other, own) if entry.incoming else (own, other)


async def place_orders(session: AsyncSession, job: Job) -> int:
    """Write the new orders and their history, and what new refunds do; return how many are new."""
    made: dict[str, Order] = {}
    actions: list[OrderAction] = []
    for entry in job.new:
        if entry.makes_order:
            if entry.order_key in job.orders:
                raise broken(entry.row.line, "shortGroup", "imported before, with another row")
            order = job.orders[entry.order_key] = made[entry.order_key] = _order(job, entry)
            actions += [
                _action(order, entry, OrderActionType.CREATE, None, OrderStatus.PENDING),
                _action(order, entry, OrderActionType.PAY, OrderStatus.PENDING, OrderStatus.PAID),
            ]
    for entry, status in _refunds(job):
        order = job.orders[entry.order_key]
        actions.append(_action(order, entry, OrderActionType.REFUND, OrderStatus.PAID, status))
        if entry.order_key in made:
            order.status, order.updated_at = status, max(order.updated_at, entry.row.at)
        else:
            await session.execute(
                update(Order)
                .where(col(Order.id) == order.id, col(Order.status) == OrderStatus.PAID)
                .values(status=status, updated_at=max(order.updated_at, entry.row.at))
            )
    if made:
        await session.execute(insert(Order), [order.model_dump() for order in made.values()])
    if actions:
        await session.execute(insert(OrderAction), [action.model_dump() for action in actions])
    await _add_backers(session, job)
    return len(made)


def _order(job: Job, entry: Entry) -> Order:
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
        amount=abs(row.amount),
        import_key=entry.order_key,
        description=f"Open Collective {row.group}",
        origin_unknown=entry.origin_unknown,
        payout_method_kind=_payout(row) if is_expense else None,
        fees_payer=FeesPayer.PAYER if is_expense else None,
        has_public_side=has_public_side(Party(giver), Party(taker)),
        created_at=row.at,
        updated_at=row.at,
    )


def _payout(row: Row) -> PayoutMethodKind:
    """Never BALANCE: what the file's payees received is outside the ledger."""
    if not row.payout_method:
        return PayoutMethodKind.MANUAL
    return _PAYOUTS.get(row.payout_method, PayoutMethodKind.OTHER)


def _action(
    order: Order,
    entry: Entry,
    kind: OrderActionType,
    before: OrderStatus | None,
    after: OrderStatus,
) -> OrderAction:
    return OrderAction(
        id=new_id(),
        order_id=order.id,
        type=kind,
        at=entry.row.at,
        from_status=before,
        to_status=after,
        amount=abs(entry.row.amount),
    )


def _refunds(job: Job) -> list[tuple[Entry, OrderStatus]]:
    """Return the new refunds of what orders are about, with the status that each leads to."""
    about = {entry.row for entry in job.plan if entry.makes_order}
    new = {entry.row for entry in job.new}
    returned: dict[Row, int] = defaultdict(int)
    found = []
    for entry in job.plan:
        if (original := entry.original) is None or original not in about:
            continue
        returned[original] += abs(entry.row.amount)
        whole = returned[original] == abs(original.amount)
        if entry.row in new:
            found.append((entry, OrderStatus.REFUNDED if whole else OrderStatus.PAID))
    return found


async def _add_backers(session: AsyncSession, job: Job) -> None:
    """Let everybody who gave be a BACKER since the first gift."""
    since: dict[UUID, datetime] = {}
    for entry in job.new:
        giver = job.sides(entry)[0].collective
        if entry.makes_order and entry.incoming and entry.order_type == OrderType.DONATION and giver:
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
