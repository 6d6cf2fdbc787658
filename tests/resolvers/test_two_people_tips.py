"""A tip counts in what one ADMIN may give at once, and in what one of a host may confirm."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models import Collective
from models.enums import MemberRole
from tests.donation_world import DonationScene, expect_order
from tests.factories import Person, World, money, ref

STATE = "order { id status approvalsNeeded approvalsMissing }"


@pytest.fixture
async def scene(world: World) -> DonationScene:
    """Return a scene with a platform fee, so that there is one to tip."""
    await world.platform_fee(500)
    return await DonationScene.create(world, funds="100.00")


async def _limit(scene: DonationScene, row: Collective, value: str, *, by: Person) -> None:
    payload = await scene.world.mutate(
        "setApprovalPolicy", "approvalPolicy { validFrom }", by=by, collective=ref(row), amount=money(value)
    )
    assert payload["errors"] == [], payload


async def _announce(scene: DonationScene, value: str, tip: str) -> str:
    """Give by bank transfer with a tip; return the order that its host confirms."""
    return expect_order(
        await scene.world.mutate(
            "donate",
            "order { id status }",
            by=scene.giver,
            **{"from": ref(scene.webpack), "to": ref(scene.babel)},
            amount=money(value),
            platformTip=money(tip),
            payWith={"type": "MANUAL"},
        )
    )


async def test_a_tip_counts_in_what_one_person_gives_at_once(scene: DonationScene) -> None:
    world = scene.world
    await world.member(scene.webpack, await world.person("second"), MemberRole.ADMIN)
    await _limit(scene, scene.webpack, "10.00", by=scene.giver)
    sides: dict[str, Any] = {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("9.50")}
    await world.expect_problem(
        "donate", "LIMIT_EXCEEDED", ["input", "amount"], by=scene.giver, platformTip=money("0.51"), **sides
    )
    payload = await world.mutate("donate", by=scene.giver, platformTip=money("0.50"), **sides)
    assert payload["errors"] == []


@pytest.mark.parametrize(("tip", "needed"), [("5.00", 1), ("5.01", 2)])
async def test_a_tip_counts_in_what_one_person_confirms(scene: DonationScene, tip: str, needed: int) -> None:
    world = scene.world
    second = await world.person("second")
    await world.member(scene.host, second, MemberRole.ADMIN)
    await _limit(scene, scene.host, "50.00", by=scene.holder)
    order = await _announce(scene, "45.00", tip)
    first = await world.mutate("approveOrder", STATE, by=scene.holder, id=order)
    assert (first["errors"], first["order"]["approvalsNeeded"]) == ([], needed)
    if needed == 1:
        assert first["order"]["status"] == "PAID"
        return
    assert (first["order"]["status"], first["order"]["approvalsMissing"]) == ("PENDING", 1)
    last = await world.mutate("approveOrder", STATE, by=second, id=order)
    assert (last["errors"], last["order"]["status"]) == ([], "PAID")
    await world.assert_clean_ledger()


async def test_the_database_counts_a_tip_too(scene: DonationScene) -> None:
    second = await scene.world.person("second")
    await scene.world.member(scene.host, second, MemberRole.ADMIN)
    await _limit(scene, scene.host, "50.00", by=scene.holder)
    await _announce(scene, "45.00", "5.01")
    async with scene.world.sessions() as session:
        with pytest.raises(DBAPIError, match="two people have to approve"):
            await session.execute(text("UPDATE \"order\" SET status = 'PAID' WHERE tip IS NOT NULL"))


async def test_less_than_its_tip_is_no_amount_of_a_gift(scene: DonationScene) -> None:
    order = await _announce(scene, "45.00", "5.00")
    less = {"amount": money("4.99"), "reason": "Less came."}
    problem = await scene.world.mutate("approveOrder", STATE, by=scene.holder, id=order, **less)
    (error,) = problem["errors"]
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["input", "amount"])
    assert "5.00 USD" in error["message"]
    async with scene.world.sessions() as session:
        with pytest.raises(DBAPIError, match="ck_order_tip_of_gift"):
            await session.execute(text('UPDATE "order" SET approved_amount = 499 WHERE tip IS NOT NULL'))
    least = less | {"amount": money("5.00")}
    approved = await scene.world.mutate("approveOrder", STATE, by=scene.holder, id=order, **least)
    assert (approved["errors"], approved["order"]["status"]) == ([], "PAID")
    await scene.world.assert_clean_ledger()
