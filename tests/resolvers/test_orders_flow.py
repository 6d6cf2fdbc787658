"""The states of an order: every way through them, with balances before and after."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from models import now
from models.enums import MemberRole
from services.approvals import decisions
from tests.donation_world import DonationScene, decode_order_id, error_code, expect_order, expect_status
from tests.factories import World, money, ref

HISTORY = """query($id: ID!) { order(id: $id) { status approvedAmount { minorUnits } actions {
    type fromStatus toStatus reason amount { minorUnits } actor { slug } } } }"""


@pytest.fixture
async def scene(shared: World) -> DonationScene:
    """Return a scene in which webpack has 100.00."""
    return await DonationScene.among_others(shared)


async def history(scene: DonationScene, order_id: str) -> list[tuple[Any, ...]]:
    """Return the steps of an order as its holder reads them."""
    order = (await scene.world.query(HISTORY, by=scene.holder, id=order_id))["order"]
    return [
        (
            step["type"],
            step["fromStatus"],
            step["toStatus"],
            int(step["amount"]["minorUnits"]),
            step["actor"] and step["actor"]["slug"].removesuffix(scene.suffix),
            step["reason"],
        )
        for step in order["actions"]
    ]


async def test_a_donation_from_a_balance_is_paid_at_once(scene: DonationScene) -> None:
    world = scene.world

    order_id = expect_order(await scene.donate("10.00"))

    assert await world.balance(scene.webpack) == (9000, 0)
    assert await world.balance(scene.babel) == (1000, 0)
    assert await history(scene, order_id) == [
        ("CREATE", None, "PENDING", 1000, "giver", None),
        ("PAY", "PENDING", "PAID", 1000, "giver", None),
    ]
    await world.assert_clean_ledger()


async def test_a_donation_makes_the_donor_a_backer_once(scene: DonationScene) -> None:
    for _ in range(2):
        expect_order(await scene.donate("1.00"))

    assert (
        await scene.world.scalar(
            "SELECT count(*) FROM member WHERE collective_id = :to AND member_id = :from AND role = :role",
            to=scene.babel.id,
            role=MemberRole.BACKER,
            **{"from": scene.webpack.id},
        )
        == 1
    )


async def test_a_donation_by_bank_transfer_waits_for_the_host(scene: DonationScene) -> None:
    world = scene.world
    payload = await scene.donate("10.00", by=scene.payee, from_=scene.payee, paymentMethod="MANUAL")
    order_id = expect_order(payload)
    assert expect_status(payload) == "PENDING"
    assert await world.balance(scene.babel) == (0, 0)

    assert expect_status(await scene.approve(order_id, by=scene.holder)) == "PAID"

    assert await world.balance(scene.babel) == (1000, 0)
    assert [(s[0], *s[3:]) for s in await history(scene, order_id)] == [
        ("CREATE", 1000, "xdamman", None),
        ("APPROVE", 1000, "holder", None),
        ("PAY", 1000, "holder", None),
    ]
    assert error_code(await scene.approve(order_id, by=scene.holder)) == "INVALID_STATE"
    await world.assert_clean_ledger()


@pytest.mark.parametrize(("value", "minor"), [("7.00", 700), ("12.34", 1234)])
async def test_approving_another_amount_needs_a_reason_and_keeps_the_first_in_the_history(
    scene: DonationScene, value: str, minor: int
) -> None:
    order_id = expect_order(
        await scene.donate("10.00", by=scene.payee, from_=scene.payee, paymentMethod="MANUAL")
    )
    before = await scene.world.fingerprint()
    refused = await scene.approve(order_id, by=scene.holder, amount=money(value))
    assert error_code(refused) == "INVALID_INPUT"
    assert await scene.world.fingerprint() == before

    paid = await scene.approve(order_id, by=scene.holder, amount=money(value), reason="what arrived")

    assert paid["order"]["amount"]["minorUnits"] == "1000"
    assert paid["order"]["approvedAmount"]["minorUnits"] == str(minor)
    assert await scene.world.balance(scene.babel) == (minor, 0)
    assert [(step[0], step[3], step[5]) for step in await history(scene, order_id)] == [
        ("CREATE", 1000, None),
        ("APPROVE", minor, "what arrived"),
        ("PAY", minor, None),
    ]
    await scene.world.assert_clean_ledger()


@pytest.mark.parametrize(("value", "minor"), [("7.00", 700), ("9.99", 999)])
async def test_an_expense_may_be_approved_for_a_smaller_amount(
    scene: DonationScene, value: str, minor: int
) -> None:
    order_id = await scene.expense("10.00")
    assert error_code(await scene.approve(order_id, amount=money(value))) == "INVALID_INPUT"
    assert error_code(await scene.approve(order_id, amount=money(value), reason=" ")) == "INVALID_INPUT"

    expect_order(await scene.approve(order_id, amount=money(value), reason="receipts say so"))
    assert await scene.world.balance(scene.webpack) == (10_000, minor)
    expect_order(await scene.pay(order_id))

    assert await scene.world.balance(scene.webpack) == (10_000 - minor, 0)
    assert [(step[0], step[3], step[5]) for step in await history(scene, order_id)] == [
        ("CREATE", 1000, None),
        ("APPROVE", minor, "receipts say so"),
        ("PAY", minor, None),
    ]


async def test_the_same_amount_needs_no_reason(scene: DonationScene) -> None:
    order_id = await scene.expense("10.00")

    assert expect_status(await scene.approve(order_id, amount=money("10.00"))) == "APPROVED"


async def test_added_funds_are_paid_at_once(scene: DonationScene) -> None:
    added = await scene.world.mutate(
        "addFunds",
        "order { id status from { slug } }",
        by=scene.holder,
        to=ref(scene.babel),
        amount=money("5.00"),
        **{"from": ref(scene.holder)},
    )

    assert expect_status(added) == "PAID"
    assert added["order"]["from"] == {"slug": scene.holder.slug}
    assert await scene.world.balance(scene.babel) == (500, 0)
    assert await scene.world.balance(scene.payee.user) == (0, 0)
    await scene.world.assert_clean_ledger()


async def test_a_transfer_moves_balance_without_a_fee_inside_one_host(world: World) -> None:
    scene = await DonationScene.create(world)
    await world.platform_fee(500)

    assert expect_status(await scene.transfer("10.00")) == "PAID"

    assert await scene.world.balance(scene.webpack) == (9000, 0)
    assert await scene.world.balance(scene.babel) == (1000, 0)
    await scene.world.assert_clean_ledger()


async def test_an_expense_is_held_then_paid(scene: DonationScene) -> None:
    world = scene.world
    order_id = await scene.expense("10.00")
    assert await world.balance(scene.webpack) == (10_000, 0)

    assert expect_status(await scene.approve(order_id)) == "APPROVED"
    assert await world.balance(scene.webpack) == (10_000, 1000)
    await world.assert_clean_ledger()

    assert expect_status(await scene.pay(order_id)) == "PAID"
    assert await world.balance(scene.webpack) == (9000, 0)
    assert await history(scene, order_id) == [
        ("CREATE", None, "PENDING", 1000, "xdamman", None),
        ("APPROVE", "PENDING", "APPROVED", 1000, "giver", None),
        ("PAY", "APPROVED", "PAID", 1000, "holder", None),
    ]
    await world.assert_clean_ledger()


async def test_each_step_of_the_history_starts_at_the_status_of_the_previous_one(
    scene: DonationScene,
) -> None:
    manual = expect_order(
        await scene.donate("5.00", by=scene.payee, from_=scene.payee, paymentMethod="MANUAL")
    )
    into = await scene.expense("5.00", payoutMethod="BALANCE")
    expect_order(await scene.approve(manual, by=scene.holder))
    expect_order(await scene.approve(into))
    expect_order(await scene.refund(into, "2.00", by=scene.holder))

    for order_id in (manual, into, expect_order(await scene.transfer("1.00")), await _in(scene, "REFUNDED")):
        steps = await history(scene, order_id)
        assert [step[1] for step in steps] == [None, *(step[2] for step in steps[:-1])], steps


async def test_held_money_cannot_be_spent(scene: DonationScene) -> None:
    expect_order(await scene.approve(await scene.expense("60.00")))

    assert error_code(await scene.donate("40.01")) == "INSUFFICIENT_FUNDS"
    assert expect_status(await scene.donate("40.00")) == "PAID"


async def test_an_expense_paid_into_a_balance_is_paid_at_once(scene: DonationScene) -> None:
    order_id = await scene.expense("10.00", payoutMethod="BALANCE")

    assert expect_status(await scene.approve(order_id)) == "PAID"

    assert await scene.world.balance(scene.webpack) == (9000, 0)
    assert await scene.world.balance(scene.payee.user) == (1000, 0)
    assert error_code(await scene.pay(order_id)) == "INVALID_STATE"
    await scene.world.assert_clean_ledger()


async def test_an_expense_of_items_adds_up(scene: DonationScene) -> None:
    payload = await scene.world.mutate(
        "submitExpense",
        "order { amount { minorUnits } items { description amount { minorUnits } } }",
        by=scene.payee,
        to=ref(scene.payee),
        **{"from": ref(scene.webpack)},
        items=[
            {"description": name, "amount": money(value)}
            for name, value in (("train", "12.50"), ("bread", "0.75"))
        ],
    )

    assert payload["order"]["amount"]["minorUnits"] == "1325"
    assert [(i["description"], i["amount"]["minorUnits"]) for i in payload["order"]["items"]] == [
        ("train", "1250"),
        ("bread", "75"),
    ]


@pytest.mark.parametrize("reason", ["", "  \n"])
async def test_a_rejection_needs_a_reason(scene: DonationScene, reason: str) -> None:
    order_id = await scene.expense("10.00")
    before = await scene.world.fingerprint()

    assert error_code(await scene.reject(order_id, reason=reason)) == "INVALID_INPUT"
    assert await scene.world.fingerprint() == before


@pytest.mark.parametrize("way", ["reject", "cancel"])
@pytest.mark.parametrize("approved", [True, False])
async def test_closing_an_expense_releases_its_hold(
    scene: DonationScene, way: str, *, approved: bool
) -> None:
    order_id = await scene.expense("10.00")
    if approved:
        expect_order(await scene.approve(order_id))

    closed = await (scene.reject(order_id) if way == "reject" else scene.cancel(order_id))

    after = "REJECTED" if way == "reject" else "CANCELLED"
    assert expect_status(closed) == after
    assert await scene.world.balance(scene.webpack) == (10_000, 0)
    last = (await history(scene, order_id))[-1]
    was = "APPROVED" if approved else "PENDING"
    who, why = ("giver", "no") if way == "reject" else ("xdamman", None)
    assert last == (way.upper(), was, after, 1000, who, why)
    expect_order(await scene.donate("100.00"))
    await scene.world.assert_clean_ledger()


@pytest.mark.parametrize(
    ("mutation", "who"), [("payOrder", "giver"), ("rejectOrder", "payee"), ("cancelOrder", "giver")]
)
async def test_who_may_see_an_expense_may_not_do_everything_with_it(
    scene: DonationScene, mutation: str, who: str
) -> None:
    order_id = await scene.expense("10.00")
    expect_order(await scene.approve(order_id))
    before = await scene.world.fingerprint()
    more = {"reason": "no"} if mutation == "rejectOrder" else {}
    type_ = mutation[0].upper() + mutation[1:]
    body = await scene.world.execute(
        f"mutation($i: {type_}Input!) {{ {mutation}(input: $i) {{ order {{ id }} }} }}",
        by=getattr(scene, who),
        i={"id": order_id, **more},
    )
    assert [error["extensions"]["code"] for error in body["errors"]] == ["FORBIDDEN"]
    assert await scene.world.fingerprint() == before


async def _in(scene: DonationScene, state: str) -> str:
    """Return an expense in a state."""
    order_id = await scene.expense("10.00")
    if state in {"APPROVED", "PAID", "REFUNDED"}:
        expect_order(await scene.approve(order_id))
    if state in {"PAID", "REFUNDED"}:
        expect_order(await scene.pay(order_id))
    if state == "REFUNDED":
        expect_order(await scene.refund(order_id))
    if state == "REJECTED":
        expect_order(await scene.reject(order_id))
    if state == "CANCELLED":
        expect_order(await scene.cancel(order_id))
    return order_id


@pytest.mark.parametrize(
    ("state", "ways"),
    [
        ("PENDING", {"approve", "reject", "cancel"}),
        ("APPROVED", {"pay", "reject", "cancel"}),
        ("PAID", {"refund"}),
        ("REFUNDED", set()),
        ("REJECTED", set()),
        ("CANCELLED", set()),
    ],
)
async def test_other_transitions_are_refused(scene: DonationScene, state: str, ways: set[str]) -> None:
    order_id = await _in(scene, state)
    before = await scene.world.fingerprint()
    for way in {"approve", "pay", "reject", "cancel", "refund"} - ways:
        assert error_code(await getattr(scene, way)(order_id)) == "INVALID_STATE", way
    assert await scene.world.fingerprint() == before

    for way in ways:
        expect_order(await getattr(scene, way)(order_id if way == min(ways) else await _in(scene, state)))
    await scene.world.assert_clean_ledger()


async def test_an_undecided_order_expires(scene: DonationScene) -> None:
    world = scene.world
    results = [
        await scene.expense("10.00"),
        expect_order(await scene.donate("3.00", by=scene.payee, from_=scene.payee, paymentMethod="MANUAL")),
        await scene.expense("11.00"),
    ]
    approved = await scene.expense("1.00")
    expect_order(await scene.approve(approved))
    async with world.sessions() as session, session.begin():
        await session.execute(
            text('UPDATE "order" SET expires_at = :past WHERE id = ANY(:ids)'),
            {
                "past": now() - timedelta(seconds=1),
                "ids": [decode_order_id(i) for i in (*results[:2], approved)],
            },
        )

    async with world.sessions() as session, session.begin():
        assert await decisions.expire_due_orders(session) == 2
    async with world.sessions() as session, session.begin():
        assert await decisions.expire_due_orders(session) == 0

    for order_id, amount, by in (
        (results[0], 1000, scene.giver),
        (results[1], 300, scene.holder),
    ):
        assert (await history(scene, order_id))[1:] == [("EXPIRE", "PENDING", "EXPIRED", amount, None, None)]
        assert error_code(await scene.approve(order_id, by=by)) == "INVALID_STATE"
    assert len(await history(scene, results[2])) == 1
    assert await world.balance(scene.webpack) == (10_000, 100)
    await world.assert_clean_ledger()


async def test_users_cannot_approve_their_own_expenses(scene: DonationScene) -> None:
    await scene.world.member(scene.babel, scene.giver, MemberRole.ADMIN)
    own = await scene.expense("1.00", by=scene.giver)
    to_own = await scene.expense("1.00", by=scene.friend, to=scene.babel)
    to_self = await scene.expense("1.00", by=scene.giver, to=scene.giver)

    for order_id in (own, to_own, to_self):
        assert error_code(await scene.approve(order_id)) == "SELF_APPROVAL"


async def test_many_orders_are_approved_with_a_result_for_each(scene: DonationScene) -> None:
    world = scene.world
    own = await scene.expense("1.00", by=scene.giver)
    good, dear, also = [await scene.expense(value) for value in ("60.00", "50.00", "40.00")]
    rejected = await scene.expense("1.00")
    expect_order(await scene.reject(rejected))
    foreign = await scene.expense("1.00", from_=scene.babel)
    ids = [rejected, also, own, "ord_nonsense", good, foreign, "txn_aaaa", dear]

    answer = await world.mutate(
        "approveOrders",
        "results { id order { id status } errors { code } }",
        by=scene.giver,
        ids=ids,
    )

    assert answer["errors"] == []
    results = answer["results"]
    assert [result["id"] for result in results] == ids
    outcome = {r["id"]: [e["code"] for e in r["errors"]] or r["order"]["status"] for r in results}
    assert outcome == {
        rejected: ["INVALID_STATE"],
        own: ["SELF_APPROVAL"],
        "ord_nonsense": ["INVALID_INPUT"],
        foreign: ["FORBIDDEN"],
        "txn_aaaa": ["INVALID_INPUT"],
        good: "APPROVED",
        dear: ["INSUFFICIENT_FUNDS"],
        also: "APPROVED",
    }
    assert all((r["order"] and r["order"]["id"]) == (None if r["errors"] else r["id"]) for r in results)
    assert await world.balance(scene.webpack) == (10_000, 10_000)
    await world.assert_clean_ledger()


async def test_duplicate_missing_and_too_many_orders_are_refused(scene: DonationScene) -> None:
    order_id = await scene.expense("1.00")
    for ids in ([order_id, order_id], [], [f"ord_{i}" for i in range(101)]):
        answer = await scene.world.mutate("approveOrders", "results { id }", by=scene.giver, ids=ids)
        assert (error_code(answer), answer["results"]) == ("INVALID_INPUT", [])
