"""What becomes of gifts that could not be charged: terms of a retry, lateness, and faults of ours."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from models import Order, Outbox
from models.enums import GiftStatus, OrderStatus, PaymentMethodKind
from services.recurring import charging
from services.recurring.charge_methods import CHARGE_METHODS
from tests.donation_world import DonationScene
from tests.factories import World, public_id
from tests.gift_world import begun_on, change, charge, load, mails, orders_of, spend, today
from tests.tier_world import create_tier

PAID, FAILED = OrderStatus.PAID, OrderStatus.FAILED
MARCH = date(2026, 3, 1)


@pytest.fixture
async def scene(world: World) -> DonationScene:
    """Return a scene in which webpack has 100.00."""
    return await DonationScene.create(world)


async def test_a_refused_charge_keeps_its_terms_and_mails_name_its_amount(scene: DonationScene) -> None:
    await spend(scene, "95.00")
    day = today() - timedelta(days=4)
    gift = await begun_on(scene, day)
    await charge(scene, day)
    tier = await create_tier(scene, interval="MONTH")
    terms: dict[str, Any] = {"tier": tier, "quantity": 3}
    changed = await change(scene, "updateSubscription", public_id("RecurringGift", gift.id), **terms)
    assert changed["subscription"]["amount"] == {"value": "30.00"}
    await charge(scene, day + timedelta(days=2))
    await charge(scene, day + timedelta(days=4))
    async with scene.world.sessions() as session:
        rows = await session.execute(select(Outbox).where(col(Outbox.template) == "gift_refused"))
        assert [mail.payload["amount"] for mail in rows.scalars()] == ["10.00 USD"] * 2
    await scene.world.fund(scene.webpack, "10.00", by=scene.holder)
    await change(
        scene, "updateSubscription", public_id("RecurringGift", gift.id), payWith={"type": "BALANCE"}
    )
    assert await charging.charge_due(scene.world.sessions) == 1
    async with scene.world.sessions() as session:
        order = (
            await session.execute(select(Order).where(col(Order.subscription_id) == gift.id))
        ).scalar_one()
    assert (order.status, order.amount, order.tier_id, order.quantity) == (PAID, 1000, None, None)
    assert await scene.world.balance(scene.webpack) == (500, 0)


async def test_a_refused_charge_that_waited_for_more_than_two_weeks_is_left_out(
    scene: DonationScene,
) -> None:
    await spend(scene, "95.00")
    gift = await begun_on(scene, MARCH)
    await charge(scene, MARCH)
    await scene.world.fund(scene.webpack, "100.00", by=scene.holder)
    await charge(scene, date(2026, 4, 5))
    assert await orders_of(scene, gift) == [("2026-03-01", FAILED), ("2026-04-01", PAID)]
    assert await mails(scene) == [("gift_refused", "giver"), ("gift_skipped", "giver")]
    row = await load(scene, gift)
    assert (row.status, row.failures, row.failed_on) == (GiftStatus.ACTIVE, 0, None)


async def test_a_period_that_is_refused_late_has_its_two_weeks(scene: DonationScene) -> None:
    await spend(scene, "95.00")
    gift = await begun_on(scene, MARCH)
    await charge(scene, MARCH + timedelta(days=10))
    await charge(scene, MARCH + timedelta(days=12))
    await scene.world.fund(scene.webpack, "100.00", by=scene.holder)
    await charge(scene, MARCH + timedelta(days=24))
    assert await orders_of(scene, gift) == [("2026-03-01", PAID)]


async def test_an_error_that_nobody_expects_stops_one_gift_alone(
    scene: DonationScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfers, others = PaymentMethodKind.MANUAL, PaymentMethodKind.BALANCE
    broken = await begun_on(scene, MARCH, payment_method_kind=transfers)
    sound = [await begun_on(scene, MARCH, payment_method_kind=others) for _ in range(9)]
    monkeypatch.delitem(CHARGE_METHODS, transfers)
    assert await charge(scene, MARCH) == len(sound) + 1
    assert [await orders_of(scene, gift) for gift in sound] == [[("2026-03-01", PAID)]] * len(sound)
    row = await load(scene, broken)
    assert (row.status, row.delays) == (GiftStatus.ACTIVE, 1)


async def test_a_refusal_that_cannot_be_noted_is_tried_again_later(scene: DonationScene, owner: Any) -> None:
    await spend(scene, "95.00")
    gift = await begun_on(scene, MARCH)
    cheap = await begun_on(scene, MARCH, amount_minor=100)
    owner.execute(
        """CREATE FUNCTION break_it() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN IF NEW.status = ''FAILED'' THEN RAISE EXCEPTION ''a bug''; END IF; RETURN NEW; END'"""
    )
    owner.execute('CREATE TRIGGER break_it BEFORE INSERT ON "order" FOR EACH ROW EXECUTE FUNCTION break_it()')
    assert await charge(scene, MARCH) == 2
    assert await orders_of(scene, cheap) == [("2026-03-01", PAID)]
    row = await load(scene, gift)
    assert (row.status, row.delays, row.failures) == (GiftStatus.ACTIVE, 1, 0)
    assert await mails(scene) == []
