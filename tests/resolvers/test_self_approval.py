"""Nobody approves an order in which they have had an interest; a host decides where nobody else is free."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text

from models import MergeConsent, new_id
from models.enums import MemberRole
from tests.donation_world import DonationScene, decode_order_id, error_code, expect_order, expect_status
from tests.factories import Person, World, public_id


@pytest.fixture
async def scene(world: World) -> DonationScene:
    return await DonationScene.create(world)


async def insert_approval(scene: DonationScene, order_id: UUID, actor: Person) -> None:
    """Insert a step of approval without the application's check."""
    async with scene.world.sessions() as session, session.begin():
        await session.execute(
            text(
                "INSERT INTO order_action (id, order_id, type, actor_id, from_status, to_status)"
                " VALUES (:id, :order, 'APPROVE', :actor, 'PENDING', 'APPROVED')"
            ),
            {"id": new_id(), "order": order_id, "actor": actor.user.id},
        )


async def leave(scene: DonationScene, row_id: UUID) -> None:
    removed = await scene.world.mutate("removeMember", by=scene.giver, id=public_id("Member", row_id))
    assert removed["errors"] == []


async def test_a_former_admin_of_the_payee_cannot_approve(scene: DonationScene) -> None:
    await scene.world.member(scene.webpack, scene.holder, MemberRole.ADMIN)
    row = await scene.world.member(scene.babel, scene.giver, MemberRole.ADMIN)
    order_id = await scene.expense("1.00", by=scene.friend, to=scene.babel)
    await leave(scene, row.id)

    assert error_code(await scene.approve(order_id)) == "SELF_APPROVAL"
    with pytest.raises(Exception, match="nobody may approve"):
        await insert_approval(scene, decode_order_id(order_id), scene.giver)

    assert expect_status(await scene.approve(order_id, by=scene.holder)) == "APPROVED"


async def test_who_left_before_the_order_was_made_can_approve(scene: DonationScene) -> None:
    row = await scene.world.member(scene.babel, scene.giver, MemberRole.ADMIN)
    await leave(scene, row.id)
    order_id = await scene.expense("1.00", by=scene.friend, to=scene.babel)

    assert expect_status(await scene.approve(order_id)) == "APPROVED"


async def test_leaving_and_approving_at_once_is_refused(scene: DonationScene) -> None:
    row = await scene.world.member(scene.babel, scene.giver, MemberRole.ADMIN)
    order_id = await scene.expense("1.00", by=scene.friend, to=scene.babel)

    results = await asyncio.gather(
        leave(scene, row.id), scene.approve(order_id), scene.approve(order_id), return_exceptions=True
    )

    assert [error_code(r) for r in results[1:]] == ["SELF_APPROVAL"] * 2
    assert await scene.world.balance(scene.webpack) == (10_000, 0)


async def test_an_account_merged_into_the_actors_counts_as_the_actor(scene: DonationScene) -> None:
    order_id = await scene.expense("1.00")
    for person in (scene.payee, scene.giver):
        await scene.world.add(
            MergeConsent(from_id=scene.payee.user.id, into_id=scene.giver.user.id, by_id=person.user.id)
        )
    async with scene.world.sessions() as session, session.begin():
        await session.execute(
            text("UPDATE collective SET archived_at = now(), merged_into_id = :into WHERE id = :id"),
            {"into": scene.giver.user.id, "id": scene.payee.user.id},
        )

    with pytest.raises(Exception, match="nobody may approve"):
        await insert_approval(scene, decode_order_id(order_id), scene.giver)


async def test_a_host_decides_where_the_only_admin_is_the_payee(scene: DonationScene) -> None:
    order_id = await scene.expense("1.00", by=scene.giver, to=scene.giver)
    assert error_code(await scene.approve(order_id)) == "SELF_APPROVAL"

    assert expect_status(await scene.approve(order_id, by=scene.holder)) == "APPROVED"
    expect_order(await scene.pay(order_id))
    await scene.world.assert_clean_ledger()


async def test_a_host_does_not_decide_where_another_admin_can(scene: DonationScene) -> None:
    await scene.world.member(scene.webpack, scene.friend, MemberRole.ADMIN)
    order_id = await scene.expense("1.00", by=scene.giver, to=scene.giver)
    before = await scene.world.fingerprint()

    body = await scene.world.execute(
        "mutation($i: ApproveOrderInput!) { approveOrder(input: $i) { errors { code } } }",
        by=scene.holder,
        i={"id": order_id},
    )

    assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert await scene.world.fingerprint() == before


async def test_the_platform_decides_where_a_self_hosted_nonprofit_has_one_admin(scene: DonationScene) -> None:
    await scene.world.fund(scene.host, "10.00", by=scene.holder)
    order_id = await scene.expense("1.00", by=scene.holder, from_=scene.host, to=scene.holder)
    assert error_code(await scene.approve(order_id, by=scene.holder)) == "SELF_APPROVAL"

    assert expect_status(await scene.approve(order_id, by=scene.world.admin)) == "APPROVED"
    expect_order(await scene.pay(order_id))
    await scene.world.assert_clean_ledger()


async def test_the_platform_decides_where_the_only_admin_of_the_host_is_the_payee(
    scene: DonationScene,
) -> None:
    club = await scene.community("club", scene.host, scene.holder)
    await scene.world.fund(club, "10.00", by=scene.holder)
    order_id = await scene.expense("1.00", by=scene.holder, from_=club, to=scene.holder)
    assert error_code(await scene.approve(order_id, by=scene.holder)) == "SELF_APPROVAL"

    assert expect_status(await scene.approve(order_id, by=scene.world.admin)) == "APPROVED"


@pytest.mark.parametrize("has_free_host", [True, False])
async def test_the_platform_does_not_decide_where_somebody_else_can(
    scene: DonationScene, has_free_host: bool
) -> None:
    payer = scene.webpack if has_free_host else scene.host
    only = scene.giver if has_free_host else scene.holder
    if not has_free_host:
        await scene.world.fund(scene.host, "10.00", by=scene.holder)
        await scene.world.member(scene.host, scene.friend, MemberRole.ADMIN)
    order_id = await scene.expense("1.00", by=only, from_=payer, to=only)
    before = await scene.world.fingerprint()

    body = await scene.world.execute(
        "mutation($i: ApproveOrderInput!) { approveOrder(input: $i) { errors { code } } }",
        by=scene.world.admin,
        i={"id": order_id},
    )

    assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert await scene.world.fingerprint() == before


async def test_leaving_returning_and_approving_at_once_is_refused(scene: DonationScene) -> None:
    """Whoever leaves the payee, approves and returns is refused, in whichever order the calls arrive."""
    for _ in range(3):
        row = await scene.world.member(scene.babel, scene.giver, MemberRole.ADMIN)
        order_id = await scene.expense("1.00", by=scene.friend, to=scene.babel)
        await leave(scene, row.id)
        invited = await scene.world.mutate(
            "inviteMember",
            "invitation { id }",
            by=scene.friend,
            collective={"slug": scene.babel.slug},
            role="ADMIN",
            user={"slug": scene.giver.slug},
        )
        back, *approvals = await asyncio.gather(
            scene.world.mutate(
                "respondToInvitation",
                "member { id }",
                by=scene.giver,
                id=invited["invitation"]["id"],
                accept=True,
            ),
            *(scene.approve(order_id) for _ in range(3)),
        )
        assert back["errors"] == []
        assert [error_code(payload) for payload in approvals] == ["SELF_APPROVAL"] * 3
        removed = await scene.world.mutate("removeMember", by=scene.giver, id=back["member"]["id"])
        assert removed["errors"] == []
    assert await scene.world.balance(scene.webpack) == (10_000, 0)


async def test_a_host_admin_confirms_the_own_bank_transfer_only_if_nobody_else_can(
    scene: DonationScene,
) -> None:
    async def transfer() -> str:
        return expect_order(
            await scene.donate("5.00", by=scene.holder, from_=scene.holder, paymentMethod="MANUAL")
        )

    assert expect_status(await scene.approve(await transfer(), by=scene.holder)) == "PAID"
    await scene.world.member(scene.host, scene.friend, MemberRole.ADMIN)
    order_id = await transfer()
    assert error_code(await scene.approve(order_id, by=scene.holder)) == "SELF_APPROVAL"
    assert expect_status(await scene.approve(order_id, by=scene.friend)) == "PAID"


async def test_a_cash_out_is_approved_in_its_own_currency(scene: DonationScene) -> None:
    world = scene.world
    await world.fund(scene.payee.user, "10.00", by=world.admin)
    payload = await world.mutate(
        "cashOut", "order { id }", by=scene.payee, amount={"value": "3.00", "currency": "USD"}
    )
    order_id = expect_order(payload)

    refused = await scene.approve(order_id, by=world.admin, amount={"value": "300", "currency": "JPY"})
    assert error_code(refused) == "INVALID_INPUT"
    approved = await scene.approve(order_id, by=world.admin, amount={"value": "3.00", "currency": "USD"})
    assert expect_status(approved) == "APPROVED"
