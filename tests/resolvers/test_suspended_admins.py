"""ADMINs who cannot act count neither as who could decide nor as who stands for an order."""

import pytest
from sqlalchemy import text

from models import Suspension
from models.enums import MemberRole
from tests.donation_world import DonationScene, error_code
from tests.factories import Person, World
from tests.resolvers.test_two_people import STATE, Scene, state_of

REINSTATE = "UPDATE suspension SET ended_at = now(), ended_by_id = by_id WHERE user_id = :person"
LEAVE = "UPDATE member SET until = now() WHERE member_id = :person AND collective_id = :row"


@pytest.fixture
async def scene(world: World) -> Scene:
    """Webpack has two ADMINs and a policy of 10.00."""
    base = await DonationScene.create(world, funds="100.00")
    second = await world.person("second")
    await world.member(base.webpack, second, MemberRole.ADMIN)
    made = Scene(base, second)
    await made.limit(base.webpack, made.first)
    return made


async def run(world: World, statement: str, **values: object) -> None:
    async with world.sessions() as session, session.begin():
        await session.execute(text(statement), values)


async def suspend(world: World, person: Person) -> None:
    await world.add(Suspension(user_id=person.user.id, by_id=world.admin.user.id, reason="x"))


async def read_state(scene: Scene, order_id: str) -> tuple[int, int]:
    data = await scene.world.query(
        "query($id: ID!) { order(id: $id) { approvalsNeeded approvalsMissing } }",
        by=scene.second,
        id=order_id,
    )
    return data["order"]["approvalsNeeded"], data["order"]["approvalsMissing"]


@pytest.mark.parametrize("how", ["suspended", "left"])
async def test_the_approval_of_who_can_act_no_longer_does_not_count(scene: Scene, how: str) -> None:
    world, order_id = scene.world, await scene.base.expense("10.01")
    assert state_of(await scene.approve(order_id, scene.first))[:3] == ("PENDING", 2, 1)
    if how == "suspended":
        await suspend(world, scene.first)
    else:
        await run(world, LEAVE, person=scene.first.user.id, row=scene.base.webpack.id)
    assert await read_state(scene, order_id) == (2, 2)
    assert state_of(await scene.approve(order_id, scene.second))[:3] == ("PENDING", 2, 1)
    assert await world.balance(scene.base.webpack) == (10_000, 0)
    third = await world.person("third")
    await world.member(scene.base.webpack, third, MemberRole.ADMIN)
    assert state_of(await scene.approve(order_id, third))[:3] == ("APPROVED", 2, 0)
    await world.assert_clean_ledger()


async def test_an_approval_counts_again_once_the_person_is_back(scene: Scene) -> None:
    world, order_id = scene.world, await scene.base.expense("10.01")
    await scene.approve(order_id, scene.first)
    await suspend(world, scene.first)
    await scene.approve(order_id, scene.second)
    await run(world, REINSTATE, person=scene.first.user.id)
    assert await read_state(scene, order_id) == (2, 1)
    decided = await scene.approve(order_id, scene.second)
    assert state_of(decided)[:3] == ("APPROVED", 2, 0)


async def test_a_suspended_admin_is_nobody_who_could_decide(world: World) -> None:
    """So the host's ADMIN, who has no other to ask, approves what they asked for themselves."""
    scene = await DonationScene.create(world, funds="100.00")
    order_id = await scene.expense("5.00", by=scene.giver, to=scene.giver)
    assert error_code(await scene.approve(order_id, by=scene.giver)) == "SELF_APPROVAL"
    await suspend(world, scene.holder)
    assert error_code(await scene.approve(order_id, by=scene.giver)) == "SELF_APPROVAL"
    assert await world.balance(scene.webpack) == (10_000, 0)


async def test_a_suspended_payer_is_no_other_payer(scene: Scene) -> None:
    """An approver pays alone only while nobody else could."""
    world, order_id = scene.world, await scene.base.expense("5.00")
    await world.member(scene.base.webpack, scene.base.holder, MemberRole.ADMIN)
    approved = await world.mutate("approveOrder", STATE, by=scene.base.holder, id=order_id)
    assert state_of(approved)[0] == "APPROVED"
    deputy = await world.person("deputy")
    await world.member(scene.base.host, deputy, MemberRole.ADMIN)
    refused = await world.mutate("payOrder", by=scene.base.holder, id=order_id)
    assert error_code(refused) == "SELF_APPROVAL"
    await suspend(world, deputy)
    paid = await world.mutate("payOrder", "order { status }", by=scene.base.holder, id=order_id)
    assert paid["errors"] == [], paid
    await world.assert_clean_ledger()
