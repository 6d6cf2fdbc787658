"""Recurring gifts as tests need them: begun by donations, or long ago; and the job that charges them."""

from datetime import date, datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import select
from sqlmodel import col

from models import Collective, Order, Outbox, RecurringGift, now
from models.enums import GiftInterval, OrderStatus, PaymentMethodKind
from services.recurring import charging, periods
from tests.donation_world import DonationScene
from tests.factories import Person, error_codes, money, ref

GIFT = """subscription { id status interval anchorDay quantity amount { value } nextChargeOn resumesOn
    pausedBy pauseReason endedReason failures paymentMethodType tier { name } from { slug } to { slug } }"""


async def give(
    scene: DonationScene, value: str = "10.00", *, by: Person | None = None, **more: Any
) -> dict[str, Any]:
    """Donate every month from webpack to babel by default; return the payload."""
    more = {"from": ref(scene.webpack), "to": ref(scene.babel), "interval": "MONTH"} | more
    fields = f"{GIFT} order {{ id status period expiresAt subscription {{ id }} }}"
    return await scene.world.mutate("donate", fields, by=by or scene.giver, amount=money(value), **more)


async def begun(scene: DonationScene, **more: Any) -> str:
    """Begin a gift by a donation; return its id."""
    payload = await give(scene, **more)
    assert payload["errors"] == [], payload
    return str(payload["subscription"]["id"])


async def change(
    scene: DonationScene, mutation: str, gift: str, *, by: Person | None = None, **more: Any
) -> Any:
    """Run a mutation of a gift and return its payload."""
    return await scene.world.mutate(mutation, GIFT, by=by or scene.giver, id=gift, **more)


async def problem_of(
    scene: DonationScene, mutation: str, *, by: Person | None = None, **arguments: Any
) -> tuple[str, str]:
    """Return code and field of a mutation that is refused and changes nothing."""
    before = await scene.world.fingerprint()
    payload = await scene.world.mutate(mutation, by=by or scene.giver, **arguments)
    assert await scene.world.fingerprint() == before
    ((code, path),) = error_codes(payload)
    return code, ".".join(path or [])


async def begun_on(scene: DonationScene, day: date, **columns: Any) -> RecurringGift:
    """Store a gift whose first period is a day, and is due."""
    values: dict[str, Any] = {
        "from_id": scene.webpack.id,
        "to_id": scene.babel.id,
        "currency": "USD",
        "amount_minor": 1000,
        "interval": GiftInterval.MONTH,
        "anchor_day": day.day,
        "timezone": "UTC",
        "payment_method_kind": PaymentMethodKind.BALANCE,
        "starts_on": day,
        "next_charge_on": day,
        "due_at": periods.begin_of(day, "UTC"),
        "created_by_id": scene.giver.user.id,
    } | columns
    row = RecurringGift(**values)
    await scene.world.add(row)
    return row


def at(day: date, hour: int = 12) -> datetime:
    """Return a moment of a day in UTC."""
    return periods.begin_of(day, "UTC") + timedelta(hours=hour)


async def charge(scene: DonationScene, day: date) -> int:
    """Run the job on a day."""
    return await charging.charge_due(scene.world.sessions, at=at(day))


async def load(scene: DonationScene, gift: RecurringGift) -> RecurringGift:
    """Load a gift as it is now."""
    async with scene.world.sessions() as session:
        return await session.get_one(RecurringGift, gift.id)


async def orders_of(scene: DonationScene, gift: RecurringGift) -> list[tuple[str, OrderStatus]]:
    """Return periods and statuses of the orders of a gift, by period."""
    async with scene.world.sessions() as session:
        rows = await session.execute(
            select(col(Order.period), col(Order.status))
            .where(col(Order.subscription_id) == gift.id)
            .order_by(col(Order.period))
        )
        return [(str(period), OrderStatus(status)) for period, status in rows]


async def mails(scene: DonationScene, prefix: str = "gift_") -> list[tuple[str, str]]:
    """Return templates and recipients of the queued mails about gifts, oldest first."""
    async with scene.world.sessions() as session:
        rows = await session.execute(
            select(col(Outbox.template), col(Outbox.recipient))
            .where(col(Outbox.template).startswith(prefix))
            .order_by(col(Outbox.created_at), col(Outbox.template), col(Outbox.recipient))
        )
        return [(template, recipient.partition("@")[0]) for template, recipient in rows]


async def all_gifts(scene: DonationScene) -> list[RecurringGift]:
    """Load all gifts."""
    async with scene.world.sessions() as session:
        return list((await session.execute(select(RecurringGift))).scalars())


async def spend(scene: DonationScene, value: str, *, from_: Collective | None = None) -> None:
    """Take money from webpack's balance."""
    payload = await scene.world.mutate(
        "transferFunds",
        "order { id }",
        by=scene.giver,
        amount=money(value),
        **{"from": ref(from_ or scene.webpack), "to": ref(scene.host)},
    )
    assert payload["errors"] == [], payload


def move_to_last_year(scene: DonationScene) -> None:
    """Let all gifts have begun a year earlier: as the owner, without the guards of what never changes."""
    guards = {"subscription": "subscription_update_guard", '"order"': "order_terms_guard"}
    with psycopg.connect(str(scene.world.settings.owner_database_url)) as owner:
        for table, guard in guards.items():
            owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER {guard}".encode())
        owner.execute(
            """UPDATE subscription SET starts_on = starts_on - interval '1 year',
                next_charge_on = next_charge_on - interval '1 year', due_at = due_at - interval '1 year'"""
        )
        owner.execute("UPDATE \"order\" SET period = period - interval '1 year' WHERE period IS NOT NULL")
        for table, guard in guards.items():
            owner.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {guard}".encode())


def today() -> date:
    """Return the present day in UTC."""
    return now().date()
