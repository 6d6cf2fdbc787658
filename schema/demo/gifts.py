"""Recurring gifts of the demo, one in each state."""

from datetime import date, timedelta
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
    paused, cancelled = await _give(demo, "2.00"), await _give(demo, "1.00")
    await demo.mutate("xdamman", "pauseSubscription", "", id=paused, reason="On holiday")
    await demo.mutate("webpack-admin", "cancelSubscription", "", id=cancelled, reason="Please give to others")
    async with sessions() as session, session.begin():
        await _add_due(
            session,
            ("webpack", "wwcodeberlin", "webpack-admin"),
            currency="EUR",
            amount_minor=9_999_999,
            description="More than there is",
        )
        await _add_due(
            session,
            ("xdamman", "webpack", "xdamman"),
            currency="USD",
            amount_minor=400,
            description="Once more",
            starts_on=(month_ago := _month_before(now().date())),
            next_charge_on=month_ago,
            ends_after=now().date(),
        )
    for _ in range(2):  # the period of a month ago, which is over, and today's
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


async def _add_due(session: AsyncSession, slugs: tuple[str, str, str], **terms: Any) -> None:
    """Add a gift that is due today, of the first to the second, which the third began."""
    rows = await session.execute(select(Collective).where(col(Collective.slug).in_(slugs)))
    by_slug = {row.slug: row.id for row in rows.scalars()}
    from_id, to_id, created_by_id = (by_slug[slug] for slug in slugs)
    today = now().date()
    gift: dict[str, Any] = {
        "interval": GiftInterval.MONTH,
        "anchor_day": today.day,
        "timezone": "UTC",
        "payment_method_kind": PaymentMethodKind.BALANCE,
        "starts_on": today,
        "next_charge_on": today,
        "due_at": now(),
    }
    session.add(RecurringGift(from_id=from_id, to_id=to_id, created_by_id=created_by_id, **(gift | terms)))


def _month_before(day: date) -> date:
    last = day.replace(day=1) - timedelta(days=1)
    return last.replace(day=min(day.day, last.day))
