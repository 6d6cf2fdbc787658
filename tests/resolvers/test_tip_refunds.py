"""Tips that go back in parts: after the gift, to the last minor unit, whatever the currencies are."""

from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from models import ProviderRefund
from models.enums import OrderStatus
from services.providers.protocol import EventKind
from tests.donation_world import error_code
from tests.factories import World, money, ref
from tests.payment_world import REFUND, CardScene, dispute, findings_of_refunds, kinds, order_of, refund

KEPT = """SELECT coalesce(sum(posted), 0) FROM ledger_account
    WHERE book_id = :book AND owner_id = :owner AND kind = 'BALANCE'"""
MAILS = "SELECT count(*) FROM outbox WHERE template = 'order_refunded'"


@pytest.fixture
async def scene(world: World) -> CardScene:
    """Return a host that takes cards and has 100.00 of its own, and rates."""
    await world.rate("EUR", "USD", "1.1481")
    await world.rate("EUR", "JPY", "171.35")
    scene = await CardScene.create(world)
    await world.platform_fee(0)
    await world.fund(scene.donations.host, "100.00", by=scene.donations.holder)
    await world.platform_fee(500)
    return scene


async def _paid(scene: CardScene, value: str, tip: str, currency: str = "USD") -> str:
    """Give by card with a tip to a payee that keeps its money in the gift's currency; return the order."""
    donations = scene.donations
    payee = donations.babel
    if currency != "USD":
        payee = await donations.community("parts", donations.host, donations.friend, currency=currency)
    more: dict[str, Any] = {
        "to": ref(payee),
        "amount": money(value, currency),
        "platformTip": money(tip, currency),
    }
    order = order_of(await scene.give(**more))
    assert await scene.tell(scene.event(EventKind.SUCCEEDED, order)) is None
    return order


async def _give_back(scene: CardScene, order: str, *parts_minor: int) -> None:
    """Let the provider tell of refunds that were begun there."""
    for number, minor in enumerate(parts_minor):
        event = scene.event(EventKind.REFUNDED, order, refund=f"re_{number}_{minor}", amount=minor)
        assert await scene.tell(event) is None
        await scene.world.assert_clean_ledger()


async def _kept(scene: CardScene) -> int:
    """Return what the host keeps for the platform, in minor units."""
    book, owner = scene.donations.host.id, scene.world.platform.id
    return int(await scene.world.scalar(KEPT, book=book, owner=owner))


@pytest.mark.parametrize(
    ("currency", "value", "tip", "parts_minor"),
    [
        ("EUR", "100.00", "10.00", [10001, 999]),
        ("EUR", "100.00", "10.00", [9999, 2, 1, 997, 1]),
        ("EUR", "0.50", "0.50", [49, 2, 1, 48]),
        ("JPY", "10000", "777", [10000, 1, 1, 1, 774]),
        ("JPY", "100", "7", [99, 2, 1, 1, 1, 1, 1, 1]),
    ],
)
async def test_parts_of_a_tip_add_up_in_every_currency(
    scene: CardScene, currency: str, value: str, tip: str, parts_minor: list[int]
) -> None:
    before_minor = await _kept(scene)
    order = await _paid(scene, value, tip, currency)
    assert await _kept(scene) > before_minor
    *parts, last = parts_minor
    await _give_back(scene, order, *parts)
    assert await scene.status(order) is OrderStatus.PAID
    await _give_back(scene, order, last)
    assert await scene.status(order) is OrderStatus.REFUNDED
    assert await _kept(scene) == before_minor
    assert await findings_of_refunds(scene) == []


async def test_a_part_too_small_to_be_posted_tells_nobody_twice(scene: CardScene) -> None:
    order = await _paid(scene, "10000", "777", "JPY")
    await _give_back(scene, order, 10000)
    mails, posted = await scene.world.scalar(MAILS), await kinds(scene, order)
    for minor in range(1, 4):  # three parts of a cent or less
        event = scene.event(EventKind.REFUNDED, order, refund=f"re_{minor}", amount=1)
        assert await scene.tell(event) is None
        assert await scene.tell(event) is None
    assert len(await kinds(scene, order)) <= len(posted) + 3
    assert await scene.world.scalar(MAILS) <= mails + 3
    await scene.world.assert_clean_ledger()


async def test_what_is_left_of_a_tip_is_refunded_by_the_host(scene: CardScene) -> None:
    order = await _paid(scene, "100.00", "10.00")
    await _give_back(scene, order, 10500)
    too_much = await scene.world.mutate(
        "refundOrder", REFUND, by=scene.donations.holder, id=order, amount=money("5.01")
    )
    assert error_code(too_much) == "INVALID_INPUT"
    await refund(scene, order)
    await scene.send_refunds()
    assert await scene.status(order) is OrderStatus.REFUNDED
    async with scene.world.sessions() as session:
        asked = select(col(ProviderRefund.amount_minor)).order_by(col(ProviderRefund.id))
        assert (await session.execute(asked)).scalars().all() == [10500, 500]
    assert await _kept(scene) == 0
    await scene.world.assert_clean_ledger()


async def test_a_dispute_lost_after_a_part_takes_what_is_left_of_both(scene: CardScene) -> None:
    order = await _paid(scene, "100.00", "10.00", "EUR")
    await _give_back(scene, order, 10001)
    assert await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED)) is None
    assert await scene.tell(dispute(scene, order, EventKind.DISPUTE_LOST)) is None
    assert await scene.status(order) is OrderStatus.REFUNDED
    assert await _kept(scene) == 0
    await scene.world.assert_clean_ledger()
