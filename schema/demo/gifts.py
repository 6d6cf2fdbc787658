"""Recurring gifts of the demo, one in each state."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Collective, RecurringGift, now
from models.enums import GiftInterval, PaymentMethodKind
from schema.demo.driver import Demo
from services.recurring import charging

_WEBPACK = {"slug": "webpack"}


async def load(demo: Demo, sessions: async_sessionmaker[AsyncSession]) -> None:
    """Begin gifts that go on, by balance and by bank transfer, and others that are paused or have ended."""
    await _give(demo, "3.00", description="Every month")
    await _give(demo, "25.00", interval="YEAR", payWith={"type": "MANUAL"}, description="Every year")
    await _give(demo, "4.00", endsAfter=now().date().isoformat(), description="Once more")
    paused, cancelled = await _give(demo, "2.00"), await _give(demo, "1.00")
    await demo.mutate("xdamman", "pauseSubscription", "", id=paused, reason="On holiday")
    await demo.mutate("webpack-admin", "cancelSubscription", "", id=cancelled, reason="Please give to others")
    async with sessions() as session, session.begin():
        await _add_unaffordable(session)
    await charging.charge_due(sessions)


async def _give(demo: Demo, value: str, **fields: Any) -> str:
    """Begin a gift of xdamman to webpack; return its id."""
    payload = await demo.mutate(
        "xdamman",
        "donate",
        "subscription { id }",
        **(
            {
                "from": {"slug": "xdamman"},
                "to": _WEBPACK,
                "amount": {"value": value, "currency": "USD"},
                "interval": "MONTH",
                "description": "Recurring gift",
            }
            | fields
        ),
    )
    gift_id: str = payload["subscription"]["id"]
    return gift_id


async def _add_unaffordable(session: AsyncSession) -> None:
    """Add a gift that is due today, of more than its payer has."""
    slugs = ("wwcodeberlin", "webpack", "webpack-admin")
    rows = await session.execute(select(Collective).where(col(Collective.slug).in_(slugs)))
    by_slug = {row.slug: row for row in rows.scalars()}
    today = now().date()
    session.add(
        RecurringGift(
            from_id=by_slug["webpack"].id,
            to_id=by_slug["wwcodeberlin"].id,
            currency="EUR",
            amount_minor=9_999_999,
            interval=GiftInterval.MONTH,
            anchor_day=today.day,
            timezone="UTC",
            payment_method_kind=PaymentMethodKind.BALANCE,
            description="More than there is",
            starts_on=today,
            next_charge_on=today,
            due_at=now(),
            created_by_id=by_slug["webpack-admin"].id,
        )
    )
