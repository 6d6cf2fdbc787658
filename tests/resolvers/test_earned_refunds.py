"""Refunds of hours, redemptions and cash-outs, and the end of the roles that donations and hours earned."""

import asyncio

from models.enums import MemberRole
from tests.donation_world import DonationScene, error_code, expect_order, expect_status
from tests.factories import Person, World, money
from tests.hours_world import HoursScene
from tests.offer_world import OfferScene


async def refund(
    world: World, order_id: str, by: Person, value: str | None = None, currency: str = "CUR"
) -> str:
    """Refund an order or a part of it; return its status, or the error's code."""
    more = {"amount": money(value, currency)} if value else {}
    payload = await world.mutate("refundOrder", "order { status }", by=by, id=order_id, **more)
    return error_code(payload) or expect_status(payload)


async def open_roles(world: World, role: MemberRole) -> int:
    return int(
        await world.scalar("SELECT count(*) FROM member WHERE role = :role AND until IS NULL", role=role)
    )


async def test_a_backer_ends_with_the_last_unrefunded_donation(world: World) -> None:
    scene = await DonationScene.create(world)
    first, second = [expect_order(await scene.donate("10.00")) for _ in range(2)]
    expect_order(await scene.refund(first))
    expect_order(await scene.refund(second, "4.00"))
    assert await open_roles(world, MemberRole.BACKER) == 1

    expect_order(await scene.refund(second))

    assert await open_roles(world, MemberRole.BACKER) == 0
    expect_order(await scene.donate("1.00"))
    assert await open_roles(world, MemberRole.BACKER) == 1


async def test_a_refund_and_a_new_donation_at_once_leave_a_backer(world: World) -> None:
    scene = await DonationScene.create(world)
    for _ in range(3):
        order_id = expect_order(await scene.donate("1.00"))
        results = await asyncio.gather(scene.refund(order_id), scene.donate("1.00"))
        assert [error_code(result) for result in results] == [None, None]
        assert await open_roles(world, MemberRole.BACKER) == 1


async def test_hours_are_refunded_and_the_volunteer_ends(world: World) -> None:
    scene = await HoursScene.create(world)
    order_id = expect_order(await scene.log())
    expect_order(await scene.approve(order_id))
    assert await open_roles(world, MemberRole.VOLUNTEER) == 1
    admin = scene.chris

    assert await refund(world, order_id, admin, "0.250") == "PAID"
    assert await open_roles(world, MemberRole.VOLUNTEER) == 1
    assert await refund(world, order_id, admin) == "REFUNDED"

    assert await open_roles(world, MemberRole.VOLUNTEER) == 0
    assert await world.scalar("SELECT sum(posted) FROM ledger_account WHERE currency = 'CUR'") == 0
    assert await world.scalar("SELECT max(abs(posted)) FROM ledger_account WHERE currency = 'CUR'") == 0
    await world.assert_clean_ledger()


async def test_a_redemption_is_refunded_in_both_currencies(world: World) -> None:
    scene = await OfferScene.create(world)
    order_id = expect_order(await scene.redeem(await scene.offer()))
    expect_order(await scene.decide("approveOrder", order_id))
    expect_order(await scene.decide("payOrder", order_id))
    assert (await scene.balance(scene.john, "USD"))["available"] == "4.50"

    assert await refund(world, order_id, world.admin, "0.100") == "PAID"
    assert (await scene.balance(scene.john, "CUR"))["available"] == "29.850"
    assert (await scene.balance(scene.john, "USD"))["available"] == "2.70"
    assert await refund(world, order_id, world.admin) == "REFUNDED"

    assert (await scene.balance(scene.john, "CUR"))["available"] == "30.000"
    assert (await scene.balance(scene.john, "USD"))["available"] == "0.00"
    assert (await scene.balance(scene.cafe, "CUR"))["available"] == "0.000"
    assert (await scene.balance(world.platform, "USD"))["available"] == "100.00"
    await world.assert_clean_ledger()


async def test_what_is_spent_cannot_be_taken_back(world: World) -> None:
    scene = await OfferScene.create(world)
    order_id = expect_order(await scene.redeem(await scene.offer()))
    expect_order(await scene.decide("approveOrder", order_id))
    expect_order(await scene.decide("payOrder", order_id))
    expect_order(await world.mutate("cashOut", "order { id }", by=scene.john, amount=money("1.00")))
    before = await world.fingerprint()

    assert await refund(world, order_id, world.admin) == "INSUFFICIENT_FUNDS"
    assert await world.fingerprint() == before


async def test_a_cash_out_that_the_bank_returned_is_refunded_with_its_fee(world: World) -> None:
    scene = await DonationScene.create(world)
    await world.fund(scene.payee.user, "10.00", by=world.admin)
    await world.fund(world.platform, "10.00", by=world.admin)
    payload = await world.mutate("cashOut", "order { id }", by=scene.payee, amount=money("4.00"))
    order_id = expect_order(payload)
    expect_order(await scene.approve(order_id, by=world.admin))
    expect_order(await scene.pay(order_id, by=world.admin, processorFee=money("0.50")))
    assert await world.balance(scene.payee.user) == (600, 0)

    assert await refund(world, order_id, world.admin) == "REFUNDED"

    assert await world.balance(scene.payee.user) == (1000, 0)
    assert await world.balance(world.platform) == (950, 0)
    await world.assert_clean_ledger()


async def test_nobody_refunds_their_own_cash_out(world: World) -> None:
    scene = await DonationScene.create(world)
    await world.member(world.platform, scene.holder, MemberRole.ADMIN)
    await world.fund(world.admin.user, "10.00", by=scene.holder)
    order_id = expect_order(
        await world.mutate("cashOut", "order { id }", by=world.admin, amount=money("4.00"))
    )
    expect_order(await scene.approve(order_id, by=scene.holder))
    await world.member(world.platform, scene.friend, MemberRole.ADMIN)
    expect_order(await scene.pay(order_id, by=scene.friend))

    assert await refund(world, order_id, world.admin) == "SELF_APPROVAL"
