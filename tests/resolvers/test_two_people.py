"""Approval by two people: policies, first and second approvals, payers, and hours of who never signed in."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models import Collective, now
from models.enums import MemberRole
from tests.donation_world import DonationScene, error_code, expect_order
from tests.event_world import EventScene
from tests.factories import Person, World, money, ref
from tests.hours_world import HoursScene, yesterday

STATE = (
    "order { id status approvalsNeeded approvalsMissing approvals { approver { slug } amount { value } } }"
)


@dataclass
class Scene:
    """Webpack has two ADMINs, and a policy of 10.00; the payee asks for more."""

    base: DonationScene
    second: Person

    @property
    def world(self) -> World:
        """The world of the scene."""
        return self.base.world

    @property
    def first(self) -> Person:
        """One of the two ADMINs."""
        return self.base.giver

    async def limit(self, row: Collective, by: Person, value: str | None = "10.00", **more: Any) -> None:
        """Set a policy, or end it."""
        amount = None if value is None else money(value, **more)
        payload = await self.world.mutate(
            "setApprovalPolicy", "approvalPolicy { validFrom }", by=by, collective=ref(row), amount=amount
        )
        assert payload["errors"] == [], payload

    async def approve(self, order_id: str, by: Person, **more: Any) -> dict[str, Any]:
        """Approve an order; return the payload."""
        return await self.world.mutate("approveOrder", STATE, by=by, id=order_id, **more)


@pytest.fixture
async def scene(world: World) -> Scene:
    base = await DonationScene.create(world, funds="100.00")
    second = await world.person("second")
    await world.member(base.webpack, second, MemberRole.ADMIN)
    return Scene(base, second)


def state_of(payload: dict[str, Any]) -> tuple[Any, ...]:
    assert payload["errors"] == [], payload
    order = payload["order"]
    people = [a["approver"]["slug"] for a in order["approvals"]]
    return order["status"], order["approvalsNeeded"], order["approvalsMissing"], people


async def test_the_first_approval_waits_and_the_second_decides(scene: Scene) -> None:
    await scene.limit(scene.base.webpack, scene.first)
    order_id = await scene.base.expense("10.01")
    dry = await scene.approve(order_id, scene.first, dryRun=True)
    assert state_of(dry) == ("PENDING", 2, 1, [scene.first.slug])
    first = await scene.approve(order_id, scene.first, idempotencyKey="k")
    assert state_of(first) == ("PENDING", 2, 1, [scene.first.slug])
    again = await scene.approve(order_id, scene.first, idempotencyKey="k")
    assert state_of(again) == state_of(first)
    assert await scene.world.balance(scene.base.webpack) == (10_000, 0)
    await scene.world.expect_problem(
        "approveOrder", "SELF_APPROVAL", ["input", "id"], by=scene.first, id=order_id
    )
    second = await scene.approve(order_id, scene.second)
    assert state_of(second) == ("APPROVED", 2, 0, [scene.first.slug, scene.second.slug])
    assert await scene.world.balance(scene.base.webpack) == (10_000, 1_001)
    await scene.world.assert_clean_ledger()


async def test_up_to_the_amount_one_person_decides(scene: Scene) -> None:
    await scene.limit(scene.base.webpack, scene.first)
    payload = await scene.approve(await scene.base.expense("10.00"), scene.first)
    assert state_of(payload) == ("APPROVED", 1, 0, [])


@pytest.mark.parametrize("whose", ["host", "platform"])
async def test_policies_of_the_host_and_of_the_platform_count(scene: Scene, whose: str) -> None:
    row, by = (
        (scene.base.host, scene.base.holder) if whose == "host" else (scene.world.platform, scene.world.admin)
    )
    await scene.limit(row, by)
    payload = await scene.approve(await scene.base.expense("10.01"), scene.first)
    assert state_of(payload) == ("PENDING", 2, 1, [scene.first.slug])


async def test_another_currency_counts_with_its_value(scene: Scene) -> None:
    await scene.world.rate("EUR", "USD", "1.25")
    await scene.limit(scene.base.webpack, scene.first, "8.00", currency="EUR")
    one = await scene.approve(await scene.base.expense("10.00"), scene.first)
    two = await scene.approve(await scene.base.expense("10.01"), scene.first)
    assert (one["order"]["status"], two["order"]["status"]) == ("APPROVED", "PENDING")


async def test_two_first_approvals_at_once_are_one_posting(scene: Scene) -> None:
    await scene.limit(scene.base.webpack, scene.first)
    order_id = await scene.base.expense("10.01")
    payloads = await asyncio.gather(*(scene.approve(order_id, by) for by in (scene.first, scene.second)))
    assert sorted(p["order"]["status"] for p in payloads) == ["APPROVED", "PENDING"]
    assert await scene.world.balance(scene.base.webpack) == (10_000, 1_001)


async def test_the_policy_at_the_second_approval_counts(scene: Scene) -> None:
    order_id = await scene.base.expense("10.01")
    await scene.limit(scene.base.webpack, scene.first)
    assert state_of(await scene.approve(order_id, scene.first))[0] == "PENDING"
    await scene.limit(scene.base.webpack, scene.first, "5.00")  # stricter at once
    await scene.limit(scene.base.webpack, scene.first, None)  # laxer a day later
    assert state_of(await scene.approve(order_id, scene.second))[0] == "APPROVED"


async def test_an_edit_ends_the_first_approval(scene: Scene) -> None:
    await scene.limit(scene.base.webpack, scene.first)
    order_id = await scene.base.expense("10.01")
    await scene.approve(order_id, scene.first)
    edited = await scene.world.mutate(
        "updateExpense", STATE, by=scene.base.payee, id=order_id, amount=money("20.00")
    )
    assert state_of(edited) == ("PENDING", 2, 2, [])
    assert state_of(await scene.approve(order_id, scene.second))[0] == "PENDING"
    assert state_of(await scene.approve(order_id, scene.first))[0] == "APPROVED"


async def test_the_second_approves_the_amount_of_the_first(scene: Scene) -> None:
    await scene.limit(scene.base.webpack, scene.first)
    order_id = await scene.base.expense("30.00")
    await scene.approve(order_id, scene.first, amount=money("20.00"), reason="enough")
    await scene.world.expect_problem(
        "approveOrder",
        "INVALID_INPUT",
        ["input", "amount"],
        by=scene.second,
        id=order_id,
        amount=money("25.00"),
        reason="more",
    )
    assert state_of(await scene.approve(order_id, scene.second))[0] == "APPROVED"
    assert await scene.world.balance(scene.base.webpack) == (10_000, 2_000)


async def test_where_one_admin_is_left_the_host_stands_in(scene: Scene) -> None:
    await scene.limit(scene.base.babel, scene.base.friend)
    await scene.world.fund(scene.base.babel, "50.00", by=scene.base.holder)
    order_id = await scene.base.expense("10.01", from_=scene.base.babel)
    arguments = {"id": order_id}
    denied = await scene.world.execute(
        "mutation($i: ApproveOrderInput!) { approveOrder(input: $i) { errors { code } } }",
        by=scene.base.holder,
        i=arguments,
    )
    assert denied["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert state_of(await scene.approve(order_id, scene.base.friend))[0] == "PENDING"
    assert state_of(await scene.approve(order_id, scene.base.holder))[0] == "APPROVED"


async def test_what_is_paid_at_once_is_refused_above_the_amount(scene: Scene) -> None:
    await scene.limit(scene.base.webpack, scene.first)
    sides: dict[str, Any] = {"from": ref(scene.base.webpack), "to": ref(scene.base.babel)}
    for mutation in ("donate", "transferFunds"):
        await scene.world.expect_problem(
            mutation,
            "LIMIT_EXCEEDED",
            ["input", "amount"],
            by=scene.first,
            amount=money("10.01"),
            **sides,
        )
        payload = await scene.world.mutate(mutation, by=scene.first, amount=money("1.00"), **sides)
        assert payload["errors"] == []


async def test_a_laxer_policy_takes_effect_a_day_later(scene: Scene) -> None:
    await scene.limit(scene.base.webpack, scene.first)
    payload = await scene.world.mutate(
        "setApprovalPolicy",
        "approvalPolicy { validFrom amount { value } }",
        by=scene.first,
        collective=ref(scene.base.webpack),
    )
    policy = payload["approvalPolicy"]
    assert policy["amount"] is None
    assert policy["validFrom"] > (now() + timedelta(hours=23)).isoformat()
    query = "query($s: String!) { collective(slug: $s) { approvalPolicies { amount { value } } } }"
    seen = [
        (await scene.world.query(query, by=by, s=scene.base.webpack.slug))["collective"]["approvalPolicies"]
        for by in (scene.first, scene.base.payee)
    ]
    assert seen == [[{"amount": None}, {"amount": {"value": "10.00"}}], []]


async def test_who_approved_does_not_pay_where_another_could(scene: Scene) -> None:
    base, world = scene.base, scene.world
    await world.member(base.host, scene.first, MemberRole.ADMIN)
    order_id = await base.expense("5.00")
    assert state_of(await scene.approve(order_id, scene.first))[0] == "APPROVED"
    await world.expect_problem("payOrder", "SELF_APPROVAL", ["input", "id"], by=scene.first, id=order_id)
    assert error_code(await world.mutate("payOrder", by=base.holder, id=order_id)) is None


async def test_one_admin_approves_and_pays_where_there_is_one(world: World) -> None:
    base = await DonationScene.create(world, funds="100.00")
    await world.member(base.webpack, base.holder, MemberRole.ADMIN)
    order_id = await base.expense("5.00")
    assert error_code(await world.mutate("approveOrder", by=base.holder, id=order_id)) is None
    assert error_code(await world.mutate("payOrder", by=base.holder, id=order_id)) is None


# Hours of somebody who never signed in


async def test_above_8_hours_a_week_of_an_unclaimed_volunteer_two_admins_stand(world: World) -> None:
    scene = await HoursScene.create(world)
    other = await world.person("other")
    await world.member(scene.nonprofit, other, MemberRole.ADMIN)
    kim = await world.person("kim", claimed=False)
    start = yesterday(0)
    first = await scene.log(8, start=start, by=scene.chris, volunteer=ref(kim))
    approved = await world.mutate("approveOrder", STATE, by=scene.chris, id=expect_order(first))
    assert state_of(approved) == ("PAID", 1, 0, [])
    more = expect_order(
        await scene.log(1, start=start + timedelta(hours=9), by=scene.chris, volunteer=ref(kim))
    )
    await world.expect_problem("approveOrder", "SELF_APPROVAL", ["input", "id"], by=scene.chris, id=more)
    many = await world.mutate(
        "approveOrders", "results { order { status } errors { code } }", by=scene.chris, ids=[more]
    )
    assert [e["code"] for e in many["results"][0]["errors"]] == ["SELF_APPROVAL"]
    approved = await world.mutate("approveOrder", STATE, by=other, id=more)
    assert state_of(approved) == ("PAID", 2, 0, [other.slug])
    await world.assert_clean_ledger()


async def test_hours_of_who_signed_in_need_one(world: World) -> None:
    scene = await HoursScene.create(world)
    order_id = expect_order(
        await scene.log(12, start=yesterday(0), by=scene.chris, volunteer=ref(scene.john))
    )
    approved = await world.mutate("approveOrder", STATE, by=scene.chris, id=order_id)
    assert state_of(approved) == ("PAID", 1, 0, [])


async def test_a_long_attendance_of_a_walk_in_waits_for_a_second_admin(world: World) -> None:
    scene = await EventScene.create(world)
    other = await world.person("other")
    await world.member(scene.nonprofit, other, MemberRole.ADMIN)
    begun = now() - timedelta(hours=1)
    created = await world.mutate(
        "createEvent",
        "event { id }",
        by=scene.chris,
        parent=ref(scene.nonprofit),
        name="Marathon",
        startsAt=begun.isoformat(),
        endsAt=(begun + timedelta(hours=10)).isoformat(),
    )
    event = {"id": created["event"]["id"]}
    kim = await world.person("kim", claimed=False)
    checked_in = await world.mutate("checkIn", STATE, by=scene.chris, event=event, user=ref(kim))
    assert state_of(checked_in) == ("PENDING", 2, 1, [])
    approved = await world.mutate("approveOrder", STATE, by=other, id=checked_in["order"]["id"])
    assert state_of(approved)[0] == "PAID"
    await world.assert_clean_ledger()


# The database alone


async def run(world: World, statement: str, **values: Any) -> None:
    async with world.sessions() as session, session.begin():
        await session.execute(text(statement), values)


APPROVE = """UPDATE "order" SET status = 'APPROVED', approved_amount = amount WHERE type = 'EXPENSE'"""
APPROVAL = """INSERT INTO approval (id, order_id, approver_id, amount)
    SELECT gen_random_uuid(), id, :person, amount FROM "order" WHERE type = 'EXPENSE'"""
POLICY = """INSERT INTO approval_policy (id, collective_id, currency, amount_minor, created_by_id)
    VALUES (gen_random_uuid(), :row, 'USD', :amount, :person)"""
STEP = """INSERT INTO order_action (id, order_id, type, actor_id, to_status)
    SELECT gen_random_uuid(), id, :type, NULL, 'APPROVED' FROM "order" WHERE type = 'EXPENSE'"""


async def test_the_database_wants_two_people(scene: Scene) -> None:
    world, first, second = scene.world, scene.first.user.id, scene.second.user.id
    await scene.limit(scene.base.webpack, scene.first)
    await scene.base.expense("10.01")
    with pytest.raises(DBAPIError, match="two people have to approve"):
        await run(world, APPROVE)
    with pytest.raises(DBAPIError, match="approved by an ADMIN"):
        await run(world, APPROVAL, person=(await world.person("stranger")).user.id)
    with pytest.raises(DBAPIError, match="created for themselves"):
        await run(world, APPROVAL, person=scene.base.payee.user.id)
    await run(world, APPROVAL, person=first)
    with pytest.raises(DBAPIError, match="uq_approval_open"):
        await run(world, APPROVAL, person=first)
    with pytest.raises(DBAPIError, match="two people have to approve"):
        await run(world, APPROVE)
    for change in ("UPDATE approval SET amount = 1", "DELETE FROM approval"):
        with pytest.raises(DBAPIError, match="permission denied"):
            await run(world, change)
    await run(world, APPROVAL, person=second)


async def test_the_database_lets_nobody_lift_a_policy_at_once(scene: Scene) -> None:
    values = {"row": scene.base.webpack.id, "person": scene.first.user.id}
    await run(scene.world, POLICY, **values, amount=1000)
    for amount in (2000, None):
        with pytest.raises(DBAPIError, match="a day later"):
            await run(scene.world, POLICY, **values, amount=amount)
    await run(scene.world, POLICY, **values, amount=500)


@pytest.mark.parametrize("step", ["APPROVE", "PAY", "REFUND"])
async def test_nobody_is_no_approver(scene: Scene, step: str) -> None:
    """A comparison with nobody is unknown, and would let the step pass."""
    await scene.base.expense("5.00")
    with pytest.raises(DBAPIError, match="by somebody"):
        await run(scene.world, STEP, type=step)
