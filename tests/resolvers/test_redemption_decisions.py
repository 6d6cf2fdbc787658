"""Decisions on a redemption: approval, price correction and payment, with their permissions."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import text

from models.enums import MemberRole
from services.messaging.links import Links
from services.messaging.rendering import render
from tests.donation_world import error_code, expect_order, expect_status
from tests.factories import Person, World, money
from tests.offer_world import OfferScene


@pytest.fixture
async def scene(world: World) -> OfferScene:
    return await OfferScene.create(world)


async def problem_of(scene: OfferScene, mutation: str, order_id: str, **more: Any) -> tuple[str, str]:
    """Return code and field of a decision that is refused and changes nothing."""
    before = await scene.world.fingerprint()
    payload = await scene.decide(mutation, order_id, **more)
    assert await scene.world.fingerprint() == before
    (error,) = payload["errors"]
    return error["code"], ".".join(error["path"])


async def denial_of(scene: OfferScene, mutation: str, order_id: str, by: Person | None) -> str:
    """Return the code of a decision that the viewer has no right to; nothing changes."""
    before = await scene.world.fingerprint()
    name = mutation[0].upper() + mutation[1:]
    arguments = {"id": order_id} | ({"reason": "x"} if mutation == "rejectOrder" else {})
    body = await scene.world.execute(
        f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ errors {{ code }} }} }}", by=by, i=arguments
    )
    assert await scene.world.fingerprint() == before
    if "errors" in body:
        return str(body["errors"][0]["extensions"]["code"])
    return str(body["data"][mutation]["errors"][0]["code"])


@pytest.mark.parametrize(
    ("price", "currents", "payout", "left"),
    [("10.00", "0.125", "2.25", "29.875"), ("40.00", "0.500", "9.00", "29.500")],
)
async def test_the_business_corrects_the_price_with_a_reason(
    scene: OfferScene, price: str, currents: str, payout: str, left: str
) -> None:
    order_id = expect_order(await scene.redeem(await scene.offer()))
    assert await problem_of(scene, "approveOrder", order_id, amount=money(price)) == (
        "INVALID_INPUT",
        "input.reason",
    )
    approved = await scene.decide("approveOrder", order_id, amount=money(price), reason="see the bill")
    order = approved["order"]
    assert (order["price"], order["approvedPrice"]) == ({"value": "20.00"}, {"value": price})
    assert (order["amount"]["value"], order["approvedAmount"]["value"]) == ("0.250", currents)
    assert order["payout"]["value"] == payout
    assert [(a["type"], a["reason"], a["amount"]["value"]) for a in order["actions"]] == [
        ("CREATE", None, "0.250"),
        ("APPROVE", "see the bill", currents),
    ]
    assert await scene.balance(scene.john, "CUR") == {
        "posted": left,
        "held": "0.000",
        "available": left,
        "pending": "0.000",
    }
    assert (await scene.balance(scene.john, "USD"))["pending"] == payout
    await scene.decide("payOrder", order_id)
    assert (await scene.balance(scene.john, "USD"))["available"] == payout
    await scene.world.assert_clean_ledger()


async def test_the_same_price_needs_no_reason(scene: OfferScene) -> None:
    order_id = expect_order(await scene.redeem(await scene.offer()))
    approved = await scene.decide("approveOrder", order_id, amount=money("20.00"))
    assert (expect_status(approved), approved["order"]["approvedAmount"]) == ("APPROVED", {"value": "0.250"})


async def test_a_corrected_price_is_capped_again(world: World) -> None:
    scene = await OfferScene.create(world, currents="1.000")
    first, second = [expect_order(await scene.redeem(await scene.offer(item))) for item in ("Tea", "Cake")]
    higher: dict[str, Any] = {"amount": money("2000.00"), "reason": "a big party"}
    approved = (await scene.decide("approveOrder", first, **higher))["order"]
    # 0.250 of the other order are held; what this one held is there for it.
    assert (approved["approvedAmount"]["value"], approved["caps"]) == ("0.750", ["BALANCE"])
    assert approved["payout"]["value"] == "13.50"
    lower = await scene.decide("approveOrder", second, amount=money("0.04"), reason="a crumb")
    assert (lower["order"]["approvedAmount"]["value"], lower["order"]["caps"]) == ("0.001", [])
    assert (await scene.balance(scene.john, "CUR"))["available"] == "0.249"
    await world.assert_clean_ledger()


async def test_a_corrected_price_stays_within_the_weekly_limit(scene: OfferScene) -> None:
    master = await scene.offer(share=100, isMaster=True)
    first, second = [expect_order(await scene.redeem(master, value)) for value in ("2.00", "10.00")]
    higher: dict[str, Any] = {"amount": money("100.00"), "reason": "more"}
    approved = (await scene.decide("approveOrder", first, **higher))["order"]
    assert (approved["approvedAmount"]["value"], approved["caps"]) == ("0.125", ["WEEKLY_LIMIT"])
    approved = (await scene.decide("approveOrder", second, **higher))["order"]
    assert (approved["approvedAmount"]["value"], approved["caps"]) == ("0.500", ["WEEKLY_LIMIT"])
    await scene.world.assert_clean_ledger()


async def test_an_invalid_corrected_price_is_refused(scene: OfferScene) -> None:
    order_id = expect_order(await scene.redeem(await scene.offer()))
    for amount, problem in (
        (money("20.00", "CUR"), ("INVALID_INPUT", "input.amount.currency")),
        (money("0"), ("INVALID_INPUT", "input.amount.value")),
        (money("0.01"), ("AMOUNT_TOO_SMALL", "input.amount")),
    ):
        assert await problem_of(scene, "approveOrder", order_id, amount=amount, reason="x") == problem


async def test_permissions_to_decide_a_redemption(scene: OfferScene) -> None:
    world, john = scene.world, scene.john
    stranger, waiter = await world.person("stranger"), await world.person("waiter")
    await world.member(scene.cafe, waiter, MemberRole.MEMBER)
    order_id = expect_order(await scene.redeem(await scene.offer()))
    for mutation in ("approveOrder", "rejectOrder"):
        assert await denial_of(scene, mutation, order_id, None) == "UNAUTHENTICATED"
        assert await denial_of(scene, mutation, order_id, stranger) == "NOT_FOUND"
        assert await denial_of(scene, mutation, order_id, waiter) == "NOT_FOUND"
        for person in (john, world.admin):
            assert await denial_of(scene, mutation, order_id, person) == "FORBIDDEN"
    assert await problem_of(scene, "payOrder", order_id) == ("INVALID_STATE", "input.id")
    expect_order(await scene.decide("approveOrder", order_id))
    for person in (john, scene.mark):
        assert await denial_of(scene, "payOrder", order_id, person) == "FORBIDDEN"
    assert await problem_of(scene, "approveOrder", order_id) == ("INVALID_STATE", "input.id")
    expect_order(await scene.decide("payOrder", order_id))
    assert await problem_of(scene, "payOrder", order_id) == ("INVALID_STATE", "input.id")


async def test_users_cannot_approve_or_pay_their_own_purchases(scene: OfferScene) -> None:
    world = scene.world
    await world.currents(scene.mark, world.admin)
    offer = await scene.offer()
    own = expect_order(await scene.redeem(offer, by=scene.mark))
    assert await problem_of(scene, "approveOrder", own) == ("SELF_APPROVAL", "input.id")
    assert expect_status(await scene.decide("approveOrder", own, by=scene.ann)) == "APPROVED"
    admins = expect_order(await scene.redeem(offer, by=world.admin))
    expect_order(await scene.decide("approveOrder", admins))
    assert await problem_of(scene, "payOrder", admins) == ("SELF_APPROVAL", "input.id")
    another = await world.person("another-admin")
    await world.member(world.platform, another, MemberRole.ADMIN)
    assert expect_status(await scene.decide("payOrder", admins, by=another)) == "PAID"


async def test_without_dollars_the_order_stays_approved(world: World) -> None:
    scene = await OfferScene.create(world, dollars="4.99")
    order_id = expect_order(await scene.redeem(await scene.offer()))
    expect_order(await scene.decide("approveOrder", order_id))
    assert (await problem_of(scene, "payOrder", order_id))[0] == "INSUFFICIENT_FUNDS"
    data = await world.query("query($i: ID!) { order(id: $i) { status } }", by=world.admin, i=order_id)
    assert data["order"]["status"] == "APPROVED"
    await world.fund(world.platform, "0.01", by=world.admin)
    assert expect_status(await scene.decide("payOrder", order_id)) == "PAID"
    assert (await scene.balance(world.platform, "USD"))["posted"] == "0.50"
    await world.assert_clean_ledger()


@pytest.mark.parametrize("mutation", ["approveOrder", "payOrder"])
async def test_exactly_one_of_many_concurrent_decisions_succeeds(scene: OfferScene, mutation: str) -> None:
    order_id = expect_order(await scene.redeem(await scene.offer()))
    if mutation == "payOrder":
        expect_order(await scene.decide("approveOrder", order_id))
    answers = await asyncio.gather(*(scene.decide(mutation, order_id) for _ in range(8)))
    assert Counter(error_code(answer) for answer in answers) == {None: 1, "INVALID_STATE": 7}
    await scene.world.assert_clean_ledger()


async def test_concurrent_corrected_approvals_never_overdraw(world: World) -> None:
    scene = await OfferScene.create(world, currents="1.000")
    order_ids = [expect_order(await scene.redeem(await scene.offer(f"Item {i}"), "4.00")) for i in range(4)]
    higher: dict[str, Any] = {"amount": money("2000.00"), "reason": "more"}
    answers = await asyncio.gather(*(scene.decide("approveOrder", i, **higher) for i in order_ids))
    taken = sorted(a["order"]["approvedAmount"]["value"] for a in answers)
    assert taken == ["0.050", "0.050", "0.050", "0.850"]
    assert (await scene.balance(scene.cafe, "CUR"))["available"] == "1.000"
    await world.assert_clean_ledger()


async def test_a_key_decides_once_and_queues_no_second_mail(scene: OfferScene) -> None:
    order_id = expect_order(await scene.redeem(await scene.offer(), idempotencyKey="r"))
    for mutation in ("approveOrder", "payOrder"):
        first = await scene.decide(mutation, order_id, idempotencyKey=mutation)
        after = await scene.world.fingerprint()
        again = await scene.decide(mutation, order_id, idempotencyKey=mutation)
        assert expect_status(again) == expect_status(first)
        assert await scene.world.fingerprint() == after


async def test_each_step_mails_the_people_concerned(scene: OfferScene) -> None:
    world = scene.world
    order_id = expect_order(await scene.redeem(await scene.offer()))
    await scene.decide("approveOrder", order_id)
    await scene.decide("payOrder", order_id)
    async with world.sessions() as session:
        rows = (
            await session.execute(
                text("SELECT template, recipient, payload FROM outbox WHERE template LIKE 'redemption%'")
            )
        ).all()
    sent = {(template, recipient) for template, recipient, _ in rows}
    assert sent == {
        ("redemption_requested", scene.mark.email),
        ("redemption_requested", scene.ann.email),
        ("redemption_approved", scene.john.email),
        ("redemption_paid", scene.john.email),
    }
    for template, _, payload in rows:
        subject, body, _ = render(template, payload, links=Links("http://here"))
        assert "0.250 CUR" in subject + body
    paid = next(payload for template, _, payload in rows if template == "redemption_paid")
    assert "4.50 USD" in render("redemption_paid", paid, links=Links(""))[0]


FIELDS = """status price { value } approvedPrice { value } payout { value } payoutFee { value } caps place
    receiptText"""


async def test_a_purchase_is_visible_only_to_the_people_concerned(scene: OfferScene) -> None:
    world = scene.world
    order_id = expect_order(await scene.redeem(await scene.offer(), receipt="Table 4", place="Main Street"))
    await scene.decide("approveOrder", order_id)
    query = f"query($i: ID!) {{ order(id: $i) {{ {FIELDS} transactions {{ kind }} }} }}"
    stranger = await world.person("stranger")
    for viewer in (None, stranger):
        assert (await world.query(query, by=viewer, i=order_id))["order"] is None
    for viewer in (scene.john, scene.ann, world.admin):
        assert (await world.query(query, by=viewer, i=order_id))["order"] == {
            "status": "APPROVED",
            "price": {"value": "20.00"},
            "approvedPrice": {"value": "20.00"},
            "payout": {"value": "4.50"},
            "payoutFee": {"value": "0.50"},
            "caps": [],
            "place": "Main Street",
            "receiptText": "Table 4",
            "transactions": [{"kind": "REDEMPTION"}],
        }
