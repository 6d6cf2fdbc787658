"""Writes the orders of an imported ledger, with the file's times of payments and refunds."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Member, Order, OrderAction, new_id
from models.enums import (
    FeesPayer,
    MemberRole,
    OrderActionType,
    OrderStatus,
    OrderType,
    PayoutMethodKind,
)
from services.core.party import OUTSIDE, Party
from services.database.insert_rows import insert_rows, skip_existing
from services.open_collective.csv_reader import Row
from services.open_collective.file_text import line_error
from services.open_collective.parties import Parties
from services.open_collective.plan import Entry
from services.orders.sides import has_public_side
from services.round_trips.records import new_record

_PAYOUTS = {"PAYPAL": PayoutMethodKind.PAYPAL, "BANK_ACCOUNT": PayoutMethodKind.BANK_ACCOUNT}


def sides(entry: Entry, parties: Parties) -> tuple[Party, Party]:
    """Return payer and payee; a counterpart's money is outside, unless it stays in the host's book."""
    own = _balance(entry.row.account, parties)
    if entry.partner is not None:
        other = _balance(entry.partner, parties)
    elif entry.is_inside_book:
        other = Party(parties.host, parties.host)
    elif entry.is_origin_unknown:
        other = OUTSIDE
    elif entry.opposite is not None:
        other = Party(parties.counterparts[entry.row.account, entry.opposite])
    else:
        other = Party(parties.host)
    return (other, own) if entry.is_incoming else (own, other)


def _balance(account: str, parties: Parties) -> Party:
    return Party(parties.collectives[account], parties.host, balance_currency=parties.currency)


async def write_orders(
    session: AsyncSession, parties: Parties, entries: Sequence[Entry], orders: dict[str, Order]
) -> int:
    """Write the orders of new rows with their history, and apply refunds; return how many are new.

    `orders` has the stored ones by import key, and gets the new ones.
    """
    new_orders: dict[str, Order] = {}
    actions: list[OrderAction] = []
    for entry in entries:
        if entry.makes_order:
            if entry.order_key in orders:
                raise line_error(
                    entry.row.line, "shortGroup", "this group was imported before with another row"
                )
            order = orders[entry.order_key] = new_orders[entry.order_key] = _build_order(parties, entry)
            actions += [
                _build_action(order, entry, OrderActionType.CREATE, None, OrderStatus.PENDING),
                _build_action(order, entry, OrderActionType.PAY, OrderStatus.PENDING, OrderStatus.PAID),
            ]
        elif entry.leads_to is not None:
            order = orders[entry.order_key]
            actions.append(
                _build_action(order, entry, OrderActionType.REFUND, OrderStatus.PAID, entry.leads_to)
            )
            if entry.order_key in new_orders:
                order.status, order.updated_at = entry.leads_to, max(order.updated_at, entry.row.at)
            else:
                await _update_status(session, order, entry.leads_to, entry.row.at)
    await insert_rows(session, list(new_orders.values()))
    await insert_rows(session, actions)
    await _add_backers(session, parties, entries)
    return len(new_orders)


async def _update_status(session: AsyncSession, order: Order, status: OrderStatus, at: datetime) -> None:
    await session.execute(
        update(Order)
        .where(col(Order.id) == order.id, col(Order.status) == OrderStatus.PAID)
        .values(status=status, updated_at=max(order.updated_at, at))
    )


def _build_order(parties: Parties, entry: Entry) -> Order:
    row, (payer, payee) = entry.row, sides(entry, parties)
    giver, taker = payer.collective or parties.host, payee.collective
    assert taker is not None
    is_expense = entry.order_type == OrderType.EXPENSE
    return new_record(
        Order,
        type=entry.order_type,
        status=OrderStatus.PAID,
        from_id=giver.id,
        to_id=taker.id,
        currency=parties.currency,
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
    return new_record(
        OrderAction,
        id=new_id(),
        order_id=order.id,
        type=action_type,
        at=entry.row.at,
        from_status=from_status,
        to_status=to_status,
        amount=abs(entry.row.amount_minor),
    )


async def _add_backers(session: AsyncSession, parties: Parties, entries: Iterable[Entry]) -> None:
    """Make every donor a BACKER since their first donation."""
    since: dict[tuple[UUID, UUID], datetime] = {}
    for entry in entries:
        if not entry.makes_order or entry.order_type != OrderType.DONATION:
            continue
        giver, payee = (side.collective for side in sides(entry, parties))
        if giver and payee and sides(entry, parties)[1].host is not None:
            since.setdefault((payee.id, giver.id), entry.row.at)
    backers = [
        new_record(Member, collective_id=collective_id, member_id=giver_id, role=MemberRole.BACKER, since=at)
        for (collective_id, giver_id), at in since.items()
    ]
    await insert_rows(session, backers, on_conflict=skip_existing)
