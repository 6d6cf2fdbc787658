"""Funds that a host adds in somebody's name: the giver confirms or denies."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from tests.donation_world import DonationScene, decode_order_id, error_code, expect_order
from tests.factories import Person, World, money, ref

SEEN = """query($id: ID!) { order(id: $id) {
  status from { slug } claimedGiver { slug } giverStatus refundedAmount { minorUnits }
  actions { type actor { slug } } transactions { fromCollective { slug } } } }"""


@pytest.fixture
async def scene(world: World) -> DonationScene:
    return await DonationScene.create(world)


async def add(scene: DonationScene) -> str:
    """Add funds to babel in the name of xdamman; return the order's id."""
    return expect_order(
        await scene.world.mutate(
            "addFunds",
            "order { id }",
            by=scene.holder,
            to=ref(scene.babel),
            amount=money("50.00"),
            description="We love babel",
            **{"from": ref(scene.payee)},
        )
    )


async def see(scene: DonationScene, order_id: str, by: Person | None) -> dict[str, Any]:
    order: dict[str, Any] = (await scene.world.query(SEEN, by=by, id=order_id))["order"]
    return order


async def test_until_the_giver_answers_only_its_host_and_the_giver_know(scene: DonationScene) -> None:
    order_id = await add(scene)

    assert await scene.world.balance(scene.babel) == (5000, 0)
    for viewer in (None, scene.friend, scene.giver):
        seen = await see(scene, order_id, viewer)
        assert (seen["from"], seen["claimedGiver"], seen["giverStatus"]) == (ref(scene.host), None, None)
        assert seen["transactions"] == [{"fromCollective": None}]
    for viewer in (scene.holder, scene.payee, scene.world.admin):
        seen = await see(scene, order_id, viewer)
        assert (seen["claimedGiver"], seen["giverStatus"]) == (ref(scene.payee), "WAITING")
    query = "query($s: CollectiveRef!) { orders(filter: {claimedGiver: $s}) { totalCount } }"
    for viewer, count in ((None, 0), (scene.friend, 0), (scene.payee, 1), (scene.holder, 1)):
        data = await scene.world.query(query, by=viewer, s=ref(scene.payee))
        assert data["orders"]["totalCount"] == count
    assert await scene.world.scalar("SELECT count(*) FROM member WHERE role = 'BACKER'") == 0
    await scene.world.assert_clean_ledger()


async def test_a_confirmed_giver_is_shown(scene: DonationScene) -> None:
    order_id = await add(scene)
    body = await scene.world.execute(
        "mutation($i: ConfirmContributionInput!) { confirmContribution(input: $i) { errors { code } } }",
        by=scene.holder,
        i={"id": order_id},
    )
    assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN"

    for _ in range(2):
        confirmed = await scene.world.mutate(
            "confirmContribution", "order { id }", by=scene.payee, id=order_id, idempotencyKey="k"
        )
        assert confirmed["errors"] == []

    seen = await see(scene, order_id, None)
    assert seen["from"] == ref(scene.payee)
    assert [step["type"] for step in seen["actions"]] == ["CREATE", "PAY", "CONFIRM"]
    again = await scene.world.mutate("denyContribution", by=scene.payee, id=order_id)
    assert error_code(again) == "INVALID_STATE"
    expect_order(await scene.refund(order_id, "20.00"))
    assert (await see(scene, order_id, None))["refundedAmount"] == {"minorUnits": "2000"}
    await scene.world.assert_clean_ledger()


async def test_a_giver_who_denies_stays_unknown(scene: DonationScene) -> None:
    order_id = await add(scene)

    denied = await scene.world.mutate("denyContribution", by=scene.payee, id=order_id, reason="not me")

    assert denied["errors"] == []
    seen = await see(scene, order_id, None)
    assert (seen["from"], seen["claimedGiver"]) == (ref(scene.host), None)
    assert [step["type"] for step in seen["actions"]] == ["CREATE", "PAY"]
    assert (await see(scene, order_id, scene.holder))["actions"][-1] == {
        "type": "DENY",
        "actor": ref(scene.payee),
    }
    assert error_code(await scene.world.mutate("confirmContribution", by=scene.payee, id=order_id)) == (
        "INVALID_STATE"
    )


async def test_a_denial_and_a_refund_at_once_both_hold(scene: DonationScene) -> None:
    order_id = await add(scene)

    denied, refunded = await asyncio.gather(
        scene.world.mutate("denyContribution", by=scene.payee, id=order_id), scene.refund(order_id)
    )

    assert {error_code(denied), error_code(refunded)} <= {None, "INVALID_STATE"}
    if error_code(denied):
        assert (await scene.world.mutate("denyContribution", by=scene.payee, id=order_id))["errors"] == []
    if error_code(refunded):
        expect_order(await scene.refund(order_id))
    assert (await see(scene, order_id, scene.holder))["giverStatus"] == "DENIED"
    assert await scene.world.balance(scene.babel) == (0, 0)
    await scene.world.assert_clean_ledger()


async def test_the_database_alone_refuses_to_name_a_giver_unasked(scene: DonationScene) -> None:
    order_id = decode_order_id(await add(scene))
    for sql in (
        'UPDATE "order" SET from_id = claimed_giver_id, origin_unknown = false WHERE id = :id',
        "UPDATE \"order\" SET giver_status = 'CONFIRMED' WHERE id = :id",
    ):
        async with scene.world.sessions() as session:
            with pytest.raises(Exception, match="the terms of an order cannot change"):
                await session.execute(text(sql), {"id": order_id})
    named = (
        'INSERT INTO "order"'
        " (id, type, status, created_by_id, from_id, to_id, currency, amount, platform_fee_bps)"
        " SELECT gen_random_uuid(), type, 'PENDING', created_by_id, claimed_giver_id, to_id, currency,"
        " amount, 0"
        ' FROM "order" WHERE id = :id'
    )
    async with scene.world.sessions() as session:
        with pytest.raises(Exception, match="only once the giver confirms"):
            await session.execute(text(named), {"id": order_id})
