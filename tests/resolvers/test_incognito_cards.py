"""Incognito gifts by card: the payment, its tip, each charge and what goes back name nobody to others."""

import pytest

from models.enums import OrderStatus
from services.providers.protocol import EventKind
from tests.card_gift_world import charge_and_hear, due, orders
from tests.factories import Person, World, money
from tests.payment_world import CardScene, order_of, refund

SEEN = """query($id: ID!) { order(id: $id) { isIncognito from { slug } createdBy { slug }
    actions { actor { slug } } transactions { kind fromCollective { slug } } } }"""
FOUND = """query($slug: String!) { collective(slug: $slug) {
    orders(first: 9, filter: {type: [DONATION]}) { nodes { from { slug } } }
    transactions(first: 9) { nodes { fromCollective { slug } toCollective { slug } } }
    members(role: [BACKER]) { nodes { member { slug } } } } }"""


@pytest.fixture
async def scene(world: World) -> CardScene:
    """Return a host that takes cards and has 100.00 of its own."""
    scene = await CardScene.create(world)
    await world.fund(scene.donations.host, "100.00", by=scene.donations.holder)
    return scene


async def _is_named(scene: CardScene, order: str, by: Person | None) -> bool:
    """True if what a viewer sees of an order, or of its receiver, names the giver."""
    seen = await scene.world.query(SEEN, by=by, id=order)
    found = await scene.world.query(FOUND, by=by, slug=scene.donations.babel.slug)
    assert seen["order"]["isIncognito"] is True
    return scene.giver.slug in f"{seen}{found}"


async def _expect_unknown(scene: CardScene, order: str) -> None:
    donations = scene.donations
    for viewer in (None, donations.friend, donations.payee):
        assert await _is_named(scene, order, viewer) is False
    for viewer in (scene.giver, donations.holder, scene.world.admin):
        assert await _is_named(scene, order, viewer) is True


async def test_a_card_gift_with_its_tip_and_refund_names_nobody(scene: CardScene) -> None:
    order = order_of(await scene.give(platformTip=money("10.00"), isIncognito=True))
    await _expect_unknown_while_it_waits(scene, order)
    assert await scene.tell(scene.event(EventKind.SUCCEEDED, order)) is None
    await _expect_unknown(scene, order)
    await refund(scene, order)
    await scene.send_refunds()
    assert await scene.status(order) is OrderStatus.REFUNDED
    gifts = [row for row in await scene.transactions(order) if row.kind != "PAYMENT_PROCESSOR_COVER"]
    assert [row.is_incognito for row in gifts] == [True] * 4
    await _expect_unknown(scene, order)
    await scene.world.assert_clean_ledger()


async def _expect_unknown_while_it_waits(scene: CardScene, order: str) -> None:
    assert (await scene.world.query(SEEN, by=None, id=order))["order"] is None
    assert await _is_named(scene, order, scene.donations.friend) is False
    assert await _is_named(scene, order, scene.giver) is True


async def test_each_charge_of_a_recurring_card_gift_names_nobody(scene: CardScene) -> None:
    await due(scene, isIncognito=True)
    await charge_and_hear(scene)
    assert await orders(scene) == ["PAID", "PAID"]
    found = 'SELECT bool_and(is_incognito) FROM "order" WHERE subscription_id IS NOT NULL'
    assert await scene.world.scalar(found) is True
    seen = await scene.world.query(FOUND, by=scene.donations.friend, slug=scene.donations.babel.slug)
    assert scene.giver.slug not in f"{seen}"
    assert len(seen["collective"]["orders"]["nodes"]) == 2
    assert seen["collective"]["members"]["nodes"] == []
