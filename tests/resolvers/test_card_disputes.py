"""Disputes: a giver's bank wants the money back, and it is set aside until it decides."""

import pytest

from models.enums import OrderStatus, TransactionKind
from services.ledger import posting
from services.operation.findings import State
from services.payments import losses, uncovered
from services.providers.protocol import EventKind
from tests.donation_world import decode_order_id, error_code
from tests.factories import World, money, ref
from tests.payment_world import REFUND, CardScene, dispute, findings_of_refunds, kinds, order_of, spend


@pytest.fixture
async def scene(world: World) -> CardScene:
    """Return a host that takes cards, with fees of 5 % for it and for the platform."""
    return await CardScene.create(world)


async def test_a_dispute_sets_aside_amount_and_fee_and_a_won_one_frees_them(scene: CardScene) -> None:
    order = await scene.paid()
    await scene.world.fund(scene.donations.babel, "50.00", by=scene.donations.holder)
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED))
    assert await scene.world.balance(scene.donations.babel) == (13430, 11500)
    await scene.world.assert_clean_ledger()
    payload = await scene.world.mutate("refundOrder", REFUND, by=scene.donations.holder, id=order)
    assert error_code(payload) == "INVALID_STATE"
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_WON))
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED))  # late
    assert await scene.world.balance(scene.donations.babel) == (13430, 0)
    assert await kinds(scene, order) == ["DONATION"]


async def test_a_lost_dispute_gives_the_gift_back_and_its_fee_is_the_hosts_own_line(scene: CardScene) -> None:
    await scene.world.fund(scene.donations.host, "100.00", by=scene.donations.holder)
    order = await scene.paid()
    before, _ = await scene.world.balance(scene.donations.host)
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED))
    assert await scene.tell(dispute(scene, order, EventKind.DISPUTE_LOST)) is None
    rows = await scene.transactions(order)
    assert [row.kind for row in rows] == ["DONATION", "REFUND", "PAYMENT_PROCESSOR_COVER", "DISPUTE_FEE"]
    assert rows[-1].amount == 1500
    assert await scene.status(order) is OrderStatus.REFUNDED
    assert await scene.world.balance(scene.donations.babel) == (0, 0)
    # Its fee of 5.00 goes back, it covers 3.20 that the processor keeps, and pays 15.00.
    assert await scene.world.balance(scene.donations.host) == (before - 500 - 320 - 1500, 0)
    await scene.world.assert_clean_ledger()


async def test_the_host_adds_what_the_payee_has_spent(scene: CardScene) -> None:
    await scene.world.fund(scene.donations.host, "100.00", by=scene.donations.holder)
    order = await scene.paid()
    await spend(scene, "50.00")
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED))
    assert await scene.world.balance(scene.donations.babel) == (3680, 3680)
    assert (await scene.world.balance(scene.donations.host))[1] == 11500 - 3680
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_LOST))
    assert TransactionKind.DISPUTE_COVER in await kinds(scene, order)
    assert await scene.world.balance(scene.donations.babel) == (0, 0)
    await scene.world.assert_clean_ledger()


async def test_what_is_set_aside_on_the_payees_balance_pays_for_a_host_without_money(
    scene: CardScene,
) -> None:
    order = await scene.paid()
    await scene.world.fund(scene.donations.babel, "50.00", by=scene.donations.holder)
    before, _ = await scene.world.balance(scene.donations.babel)
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED))
    host_before, _ = await scene.world.balance(scene.donations.host)
    assert await scene.tell(dispute(scene, order, EventKind.DISPUTE_LOST)) is None
    assert await kinds(scene, order) == [
        "DONATION",
        "DISPUTE_COVER",
        "REFUND",
        "PAYMENT_PROCESSOR_COVER",
        "DISPUTE_FEE",
    ]
    assert await scene.status(order) is OrderStatus.REFUNDED
    # It gives back 86.80, and what its host lacks for its fee, the processor's and the bank's.
    lacked = 500 + 320 + 1500 - host_before
    assert await scene.world.balance(scene.donations.babel) == (before - 8680 - lacked, 0)
    assert await scene.world.balance(scene.donations.host) == (0, 0)
    await scene.world.assert_clean_ledger()


async def test_a_lost_dispute_of_a_payee_in_another_currency_is_covered_too(scene: CardScene) -> None:
    donations = scene.donations
    euros = await donations.community("euros", donations.host, donations.friend, currency="EUR")
    await scene.world.rate("EUR", "USD", "1.0937")
    order = order_of(await scene.give(to=ref(euros), amount=money("100.00", "EUR")))
    await scene.tell(scene.event(EventKind.SUCCEEDED, order))
    await scene.world.fund(euros, "50.00", by=donations.holder)
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED))
    assert await scene.tell(dispute(scene, order, EventKind.DISPUTE_LOST)) is None
    assert await scene.status(order) is OrderStatus.REFUNDED
    assert (await scene.world.balance(donations.host))[0] <= 1
    await scene.world.assert_clean_ledger()


async def test_a_dispute_that_nobody_can_cover_is_noted_and_not_posted(scene: CardScene) -> None:
    order = await scene.paid()
    payload = await scene.world.mutate(
        "submitExpense",
        "order { id }",
        by=scene.donations.friend,
        amount=money("86.80"),
        **{
            "from": ref(scene.donations.babel),
            "to": ref(scene.donations.friend),
            "payTo": {"type": "MANUAL"},
        },
    )
    assert payload["errors"] == [], payload
    async with scene.world.sessions.begin() as session:
        await posting.place_hold(
            session,
            order_id=decode_order_id(payload["order"]["id"]),
            book_id=scene.donations.host.id,
            owner_id=scene.donations.babel.id,
            currency="USD",
            amount_minor=8680,
        )
    assert await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED)) == losses.NOT_COVERED
    assert await scene.tell(dispute(scene, order, EventKind.DISPUTE_LOST)) == losses.NOT_COVERED
    assert await kinds(scene, order) == ["DONATION"]
    assert await scene.world.scalar("SELECT is_dispute_posted FROM provider_payment") is False
    async with scene.world.sessions.begin() as session:
        await posting.release_hold(session, order_id=decode_order_id(payload["order"]["id"]))
    assert await uncovered.post_waiting(scene.world.sessions) == 0  # 15.00 are still lacking
    (finding,) = await findings_of_refunds(scene)
    assert finding.state is State.WRONG
    await scene.world.fund(scene.donations.host, "100.00", by=scene.donations.holder)

    assert await uncovered.post_waiting(scene.world.sessions) == 1
    assert await uncovered.post_waiting(scene.world.sessions) == 0
    assert await scene.status(order) is OrderStatus.REFUNDED
    assert await findings_of_refunds(scene) == []
    await scene.world.assert_clean_ledger()
