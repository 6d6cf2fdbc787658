"""The job that asks each host, once a month, to settle the fees and tips that it keeps for the platform."""

import logging
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from models import Collective, Order, Settlement, new_id, now
from models.enums import OrderStatus, OrderType
from models.settlement import SettlementSubject
from services.collectives import platform_policy
from services.core import public_ids
from services.core.errors import FxRateUnavailable
from services.core.money import Money, convert
from services.core.sql_files import read_clauses
from services.database.constraint_errors import is_outage
from services.ledger import exchange_rates
from services.messaging import outbox
from services.orders.base import DECISION_DAYS
from services.orders.history import creation_step, insert_order
from services.round_trips.records import new_record

LEAST_MINOR = 10_00
"""What is less, in dollars, is carried to the next month. Units: minor."""
DOLLARS = "USD"
_SQL = read_clauses(Path(__file__).parent / "sql" / "monthly_settlements.sql")

log = logging.getLogger(__name__)


async def make_due(sessions: async_sessionmaker[AsyncSession], *, at: datetime | None = None) -> int:
    """Make the settlements of the month before `at`, or now, that are still missing; return how many.

    Each is made in a transaction of its own, by one of any number of workers; one that fails keeps no other
    waiting. Months are those of UTC.
    """
    until = (at or now()).astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    month = (until - timedelta(days=1)).date().replace(day=1)
    async with sessions.begin() as session:
        platform_id = await platform_policy.load_platform_id(session)
        hosts = await _list_due(session, platform_id=platform_id, month=month)
    made = 0
    for host_id in hosts:
        try:
            async with sessions.begin() as session:
                made += await _make(
                    session, host_id=host_id, platform_id=platform_id, month=month, until=until
                )
        except Exception as error:
            if is_outage(error):
                raise
            log.exception("a settlement cannot be made", extra={"host": str(host_id)})
    return made


async def _list_due(session: AsyncSession, *, platform_id: UUID, month: date) -> Sequence[UUID]:
    rows = await session.execute(_SQL["due"], {"platform_id": platform_id, "month": month})
    return rows.scalars().all()


async def _make(
    session: AsyncSession, *, host_id: UUID, platform_id: UUID, month: date, until: datetime
) -> bool:
    """Make a host's settlement of a month, unless it has one or too little to settle; True if so."""
    if not await session.scalar(_SQL["claim"], {"host_id": host_id}):
        return False
    host = await session.get_one(Collective, host_id)
    platform = await session.get_one(Collective, platform_id)
    keys = {
        "host_id": host.id,
        "platform_id": platform.id,
        "currency": host.currency,
        "month": month,
        "until": until,
    }
    kept = (await session.execute(_SQL["kept"], keys)).one_or_none()
    if kept is None:
        return False
    due_minor = min(kept.now_minor, kept.then_minor) - kept.open_minor
    try:
        amount_minor = await _convert_due(session, due_minor, host=host, platform=platform)
    except FxRateUnavailable:
        log.warning("a settlement waits for an exchange rate", extra={"host": host.slug})
        return False
    if not amount_minor:
        return False
    tips_minor = max(0, min(kept.tips_minor, due_minor))
    order_id = new_id()
    row = Settlement(
        order_id=order_id,
        reference=public_ids.encode("Order", order_id),
        paid_minor=due_minor,
        covers=SettlementSubject.PLATFORM_FEES,
        host_id=host.id,
        month=month,
        fees_minor=due_minor - tips_minor,
        tips_minor=tips_minor,
    )
    await _store(session, row, amount_minor, host=host, platform=platform)
    return True


async def _convert_due(
    session: AsyncSession, due_minor: int, *, host: Collective, platform: Collective
) -> int:
    """Return what is due in the platform's currency, or 0 if it is too little to be settled.

    Raises:
        FxRateUnavailable: of the host's currency.
    """
    if due_minor <= 0:
        return 0
    pairs = [(host.currency, DOLLARS), (host.currency, platform.currency)]
    quotes = await exchange_rates.load_quotes(session, pairs)
    dollars_minor, amount_minor = (
        convert(due_minor, quotes[pair].rate, source=pair[0], target=pair[1]) for pair in pairs
    )
    return amount_minor if dollars_minor >= LEAST_MINOR else 0


async def _store(
    session: AsyncSession, row: Settlement, amount_minor: int, *, host: Collective, platform: Collective
) -> None:
    """Store the order of a settlement, which waits for the host's payment, and tell the host."""
    assert row.month is not None
    order = new_record(
        Order,
        id=row.order_id,
        type=OrderType.SETTLEMENT,
        status=OrderStatus.PENDING,
        from_id=host.id,
        to_id=platform.id,
        currency=platform.currency,
        amount=amount_minor,
        description=f"{row.month:%Y-%m}",
        platform_fee_bps=0,
        has_public_side=False,
        expires_at=now() + timedelta(days=DECISION_DAYS),
    )
    await insert_order(session, order, [creation_step(order)])
    session.add(row)
    await session.flush()
    await outbox.mail_admins(
        session,
        collective_ids=[host.id],
        template="settlement_due",
        payload=_mail_payload(row, host=host, platform=platform),
        order_id=order.id,
    )


def _mail_payload(row: Settlement, *, host: Collective, platform: Collective) -> dict[str, Any]:
    amounts = {"amount": row.paid_minor, "fees": row.fees_minor, "tips": row.tips_minor}
    return {
        **{
            name: f"{Money(minor, host.currency).value} {host.currency}" if minor else ""
            for name, minor in amounts.items()
        },
        "payer": host.name,
        "to": platform.name,
        "reference": row.reference,
        "description": f"{row.month:%Y-%m}",
    }
