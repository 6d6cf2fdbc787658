"""Currents for part of a price: what the server computes, who decides, and what moves."""

import asyncio
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from models import PlatformPolicy, now
from services.approvals import decisions
from tests.donation_world import error_code, expect_order, expect_status
from tests.factories import World, money, public_id, ref, unused_id
from tests.offer_world import OfferScene


@pytest.fixture
async def scene(world: World) -> OfferScene:
    return await OfferScene.create(world)


async def problem_of(scene: OfferScene, offer: str, value: str = "20.00", **more: Any) -> tuple[str, str]:
    """Return code and field of a redemption that is refused and changes nothing."""
    before = await scene.world.fingerprint()
    payload = await scene.redeem(offer, value, **more)
    assert payload["order"] is None
    assert payload["caps"] == []
    assert await scene.world.fingerprint() == before
    (error,) = payload["errors"]
    return error["code"], ".".join(error["path"])


async def test_the_worked_example(scene: OfferScene) -> None:
    payload = await scene.redeem(await scene.offer())
    order_id = expect_order(payload)
    order = payload["order"]
    assert (order["type"], order["status"], payload["caps"]) == ("REDEMPTION", "PENDING", [])
    assert (order["amount"], order["price"]) == ({"value": "0.250", "currency": "CUR"}, {"value": "20.00"})
    assert (order["payout"], order["payoutFee"]) == (
        {"value": "4.50", "currency": "USD"},
        {"value": "0.50"},
    )
    assert (order["from"]["slug"], order["to"]["slug"]) == ("john", "cafe")
    assert await scene.balance(scene.john, "CUR") == {
        "posted": "30.000",
        "held": "0.250",
        "available": "29.750",
        "pending": "0.000",
    }
    assert (await scene.balance(scene.john, "USD"))["pending"] == "4.50"
    assert await scene.balance(scene.cafe, "CUR") == {
        "posted": "0.000",
        "held": "0.000",
        "available": "0.000",
        "pending": "0.250",
    }
    await scene.world.assert_clean_ledger()

    approved = await scene.decide("approveOrder", order_id)
    assert expect_status(approved) == "APPROVED"
    assert approved["order"]["approvedPrice"] == {"value": "20.00"}
    assert await scene.balance(scene.john, "CUR") == {
        "posted": "29.750",
        "held": "0.000",
        "available": "29.750",
        "pending": "0.000",
    }
    assert (await scene.balance(scene.cafe, "CUR"))["available"] == "0.250"
    assert await scene.balance(scene.john, "USD") == {
        "posted": "0.00",
        "held": "0.00",
        "available": "0.00",
        "pending": "4.50",
    }
    await scene.world.assert_clean_ledger()

    assert expect_status(await scene.decide("payOrder", order_id)) == "PAID"
    assert await scene.balance(scene.john, "USD") == {
        "posted": "4.50",
        "held": "0.00",
        "available": "4.50",
        "pending": "0.00",
    }
    assert (await scene.balance(scene.world.platform, "USD"))["posted"] == "95.50"
    await scene.world.assert_clean_ledger()


async def test_the_dollars_are_three_postings_that_show_the_fee(scene: OfferScene) -> None:
    order_id = expect_order(await scene.redeem(await scene.offer()))
    await scene.decide("approveOrder", order_id)
    await scene.decide("payOrder", order_id)
    data = await scene.world.query(
        """query($i: ID!) { order(id: $i) { transactions { kind amount { value currency }
            fromCollective { slug } toCollective { slug } fromHost { slug } toHost { slug }
            toHostAmount { value } toCollectiveAmount { value } fromCollectiveAmount { value }
            platformFeeInHostCurrency { value }
            postings { account { owner { slug } } amount { value } } } } }""",
        by=scene.world.admin,
        i=order_id,
    )
    moved, paid = data["order"]["transactions"]
    assert (moved["kind"], moved["amount"]) == ("REDEMPTION", {"value": "0.250", "currency": "CUR"})
    assert (moved["fromCollective"]["slug"], moved["toCollective"]["slug"]) == ("john", "cafe")
    assert (paid["kind"], paid["amount"]) == ("REDEMPTION_PAYOUT", {"value": "5.00", "currency": "USD"})
    assert (paid["fromCollective"]["slug"], paid["toCollective"]["slug"]) == ("commonweal", "john")
    assert paid["fromHost"] == paid["toHost"] == moved["fromHost"] == {"slug": "commonweal"}
    assert (paid["fromCollectiveAmount"], paid["platformFeeInHostCurrency"]) == (
        {"value": "-5.00"},
        {"value": "0.50"},
    )
    assert paid["toHostAmount"] == paid["toCollectiveAmount"] == {"value": "4.50"}
    assert [(p["account"]["owner"]["slug"], p["amount"]["value"]) for p in paid["postings"]] == [
        ("commonweal", "-5.00"),
        ("commonweal", "0.50"),
        ("john", "4.50"),
    ]


async def test_a_rejected_redemption_releases_the_currents(scene: OfferScene) -> None:
    order_id = expect_order(await scene.redeem(await scene.offer()))
    assert expect_status(await scene.decide("rejectOrder", order_id)) == "REJECTED"
    assert (await scene.balance(scene.john, "CUR"))["available"] == "30.000"
    assert (await scene.balance(scene.john, "USD"))["pending"] == "0.00"
    assert (await scene.balance(scene.cafe, "CUR"))["pending"] == "0.000"
    await scene.world.assert_clean_ledger()


async def test_the_user_can_cancel_before_the_business_decides(scene: OfferScene) -> None:
    first, second = [expect_order(await scene.redeem(await scene.offer(item))) for item in ("Tea", "Cake")]
    assert expect_status(await scene.decide("cancelOrder", first, by=scene.john)) == "CANCELLED"
    await scene.decide("approveOrder", second)
    assert error_code(await scene.decide("cancelOrder", second, by=scene.john)) == "INVALID_STATE"
    assert error_code(await scene.decide("rejectOrder", second)) == "INVALID_STATE"
    assert (await scene.balance(scene.john, "CUR"))["available"] == "29.750"
    await scene.world.assert_clean_ledger()


async def test_an_undecided_redemption_expires_and_releases_the_currents(scene: OfferScene) -> None:
    expect_order(await scene.redeem(await scene.offer()))
    world = scene.world
    async with world.sessions() as session, session.begin():
        await session.execute(text('UPDATE "order" SET expires_at = now()'))
    async with world.sessions() as session, session.begin():
        assert await decisions.expire_due_orders(session) == 1
    assert (await scene.balance(scene.john, "CUR"))["available"] == "30.000"
    await world.assert_clean_ledger()


WORTH = [
    ("20.00", 25, "0.250", "4.50", "0.50"),
    ("0.01", 100, "0.001", "0.01", "0.00"),  # half of a thousandth rounds up; a tenth of a cent down
    ("0.10", 50, "0.003", "0.04", "0.01"),  # 2.5 thousandths, half a cent of fee
    ("19.99", 33, "0.330", "5.94", "0.66"),  # 6.5967 dollars
    ("9.99", 100, "0.500", "8.99", "1.00"),  # 499.5 thousandths
    ("0.30", 5, "0.001", "0.02", "0.00"),  # 1.5 cents
]


async def test_each_figure_is_rounded_once_half_away_from_zero(scene: OfferScene) -> None:
    for number, (price, share, *expected) in enumerate(WORTH):
        payload = await scene.redeem(await scene.offer(f"Item {number}", share=share), price)
        expect_order(payload)
        order = payload["order"]
        figures = [order[name]["value"] for name in ("amount", "payout", "payoutFee")]
        assert figures == expected, price


async def test_the_largest_price_is_capped(scene: OfferScene) -> None:
    payload = await scene.redeem(await scene.offer(share=100), "92233720368547758.07")
    order_id = expect_order(payload)
    assert (payload["order"]["amount"]["value"], payload["order"]["payout"]["value"]) == ("30.000", "540.00")
    highest: dict[str, Any] = {"amount": money("92233720368547758.06"), "reason": "a cent less"}
    approved = await scene.decide("approveOrder", order_id, **highest)
    assert approved["order"]["approvedAmount"]["value"] == "30.000"


async def test_the_balance_caps_a_redemption_and_the_payload_says_so(world: World) -> None:
    scene = await OfferScene.create(world, currents="1.000")
    payload = await scene.redeem(await scene.offer(), "2000.00")
    order_id = expect_order(payload)
    assert (payload["order"]["amount"]["value"], payload["caps"]) == ("1.000", ["BALANCE"])
    assert (payload["order"]["payout"]["value"], payload["order"]["caps"]) == ("18.00", ["BALANCE"])
    another = await scene.offer("Another")
    assert await problem_of(scene, another) == ("INSUFFICIENT_FUNDS", "input.price")
    await scene.decide("approveOrder", order_id)
    assert (await scene.balance(scene.john, "CUR"))["posted"] == "0.000"
    await world.assert_clean_ledger()


async def test_master_offers_are_capped_by_the_weekly_limit(scene: OfferScene) -> None:
    world, master = scene.world, await scene.offer("All products", share=100, isMaster=True)
    payload = await scene.redeem(master, "100.00", place="The shop")
    first = expect_order(payload)
    assert (payload["order"]["amount"]["value"], payload["caps"]) == ("0.625", ["WEEKLY_LIMIT"])
    assert (payload["order"]["payout"]["value"], payload["order"]["place"]) == ("11.25", "The shop")
    assert await problem_of(scene, master) == ("LIMIT_EXCEEDED", "input.offer")
    expect_order(await scene.redeem(await scene.offer()))  # other offers have no part in it
    await scene.decide("rejectOrder", first)
    expect_order(await scene.redeem(master, "10.00"))  # what was refused does not count
    third = await scene.redeem(master, "10.00")
    assert (third["order"]["amount"]["value"], third["caps"]) == ("0.125", ["WEEKLY_LIMIT"])
    assert await problem_of(scene, master) == ("LIMIT_EXCEEDED", "input.offer")
    await world.assert_clean_ledger()


async def test_redemptions_of_a_week_ago_do_not_count(scene: OfferScene) -> None:
    master = await scene.offer("All products", share=100, isMaster=True)
    await scene.add_redemption(master, 600, at=now() - timedelta(days=7.01), is_master=True)
    await scene.add_redemption(master, 25, at=now() - timedelta(days=6.99), is_master=True)
    payload = await scene.redeem(master, "100.00")
    assert (payload["order"]["amount"]["value"], payload["caps"]) == ("0.600", ["WEEKLY_LIMIT"])
    assert await problem_of(scene, master) == ("LIMIT_EXCEEDED", "input.offer")
    await scene.world.assert_clean_ledger()


async def test_both_caps_are_named_if_both_apply(world: World) -> None:
    scene = await OfferScene.create(world, currents="0.700")
    master = await scene.offer(share=100, isMaster=True)
    payload = await scene.redeem(master, "100.00")
    assert (payload["order"]["amount"]["value"], payload["caps"]) == ("0.625", ["BALANCE", "WEEKLY_LIMIT"])


async def test_an_offer_has_a_monthly_limit(scene: OfferScene) -> None:
    offer = await scene.offer(monthlyLimit=2)
    await scene.add_redemption(offer, at=now() - timedelta(days=32))  # last month
    first, _ = [expect_order(await scene.redeem(offer)) for _ in range(2)]
    assert await problem_of(scene, offer) == ("LIMIT_EXCEEDED", "input.offer")
    await scene.decide("rejectOrder", first)
    expect_order(await scene.redeem(offer))
    assert await problem_of(scene, offer) == ("LIMIT_EXCEEDED", "input.offer")
    query = "query($i: ID!) { node(id: $i) { ... on Offer { redemptionCount remainingThisMonth } } }"
    data = await scene.world.query(query, i=offer)
    assert data["node"] == {"redemptionCount": 2, "remainingThisMonth": 0}


@pytest.mark.parametrize("is_this_month", [False, True])
async def test_the_month_is_in_the_businesss_time_zone(scene: OfferScene, *, is_this_month: bool) -> None:
    world, offer = scene.world, await scene.offer(monthlyLimit=1)
    zone = ZoneInfo("Pacific/Kiritimati")  # 14 hours ahead
    here = now().astimezone(zone)
    began = here.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    await world.mutate("updateCollective", by=scene.mark, collective=ref(scene.cafe), timezone=zone.key)
    await scene.add_redemption(offer, at=began + timedelta(seconds=1 if is_this_month else -1))
    if is_this_month:
        assert await problem_of(scene, offer) == ("LIMIT_EXCEEDED", "input.offer")
    else:
        expect_order(await scene.redeem(offer))


async def test_one_of_20_concurrent_redemptions_gets_the_last_place(scene: OfferScene) -> None:
    world, offer = scene.world, await scene.offer(monthlyLimit=1)
    people = [await world.person(f"user-{i}") for i in range(20)]
    await world.currents(*people, value="1.000")
    answers = await asyncio.gather(*(scene.redeem(offer, by=person) for person in people))
    assert Counter(error_code(answer) for answer in answers) == {None: 1, "LIMIT_EXCEEDED": 19}
    assert await world.scalar("SELECT count(*) FROM hold WHERE released_at IS NULL") == 1
    await world.assert_clean_ledger()


async def test_one_of_two_concurrent_redemptions_of_the_whole_balance_succeeds(world: World) -> None:
    scene = await OfferScene.create(world, currents="1.000")
    offers = [await scene.offer(item, share=100) for item in ("Tea", "Cake")]
    answers = await asyncio.gather(*(scene.redeem(offer) for offer in offers))
    assert Counter(error_code(answer) for answer in answers) == {None: 1, "INSUFFICIENT_FUNDS": 1}
    await world.assert_clean_ledger()


async def test_concurrent_master_redemptions_stop_at_the_weekly_limit(scene: OfferScene) -> None:
    offers = [await scene.offer(f"Item {i}", share=100, isMaster=True) for i in range(4)]
    answers = await asyncio.gather(*(scene.redeem(offer, "10.00") for offer in offers))
    arguments = sorted(a["order"]["amount"]["value"] if a["order"] else "" for a in answers)
    assert arguments == ["", "", "0.125", "0.500"]
    await scene.world.assert_clean_ledger()


async def test_an_invalid_field_of_a_redemption_is_named(scene: OfferScene) -> None:
    world, offer = scene.world, await scene.offer(share=5)
    assert await problem_of(scene, offer, "0.05") == ("AMOUNT_TOO_SMALL", "input.price")
    for value in ("0.00", "-1.00", "1.001"):
        assert await problem_of(scene, offer, value) == ("INVALID_INPUT", "input.price.value")
    assert await problem_of(scene, offer, receipt="  ") == ("INVALID_INPUT", "input.receipt")
    assert await problem_of(scene, offer, receipt="x" * 8097) == ("INVALID_INPUT", "input.receipt")
    assert await problem_of(scene, offer, receipt="rcp_nothing") == ("INVALID_INPUT", "input.receipt")
    unknown = public_id("Receipt", unused_id())
    assert await problem_of(scene, offer, receipt=unknown) == ("NOT_FOUND", "input.receipt")
    assert await problem_of(scene, public_id("Offer", unused_id())) == ("NOT_FOUND", "input.offer")
    assert await problem_of(scene, "off_x") == ("INVALID_INPUT", "input.offer")
    euros = await world.mutate(
        "redeemOffer", by=scene.john, offer=offer, receipt="x", price=money("5", "EUR")
    )
    assert [(e["code"], e["path"]) for e in euros["errors"]] == [
        ("INVALID_INPUT", ["input", "price", "currency"])
    ]
    await world.mutate("deactivateOffer", by=scene.mark, id=offer)
    assert await problem_of(scene, offer) == ("INVALID_STATE", "input.offer")


async def test_users_without_currents_and_unclaimed_users_cannot_redeem(scene: OfferScene) -> None:
    world, offer = scene.world, await scene.offer()
    poor, unclaimed = await world.person("poor"), await world.person("unclaimed", claimed=False)
    await world.currents(unclaimed)
    assert await problem_of(scene, offer, by=poor) == ("INSUFFICIENT_FUNDS", "input.price")
    assert await problem_of(scene, offer, by=unclaimed) == ("INVALID_STATE", "input.offer")


async def test_a_key_redeems_once_and_a_dry_run_never(scene: OfferScene) -> None:
    world, offer = scene.world, await scene.offer()
    before = await world.fingerprint()
    dry = await scene.redeem(offer, "2000.00", dryRun=True)
    assert (dry["order"]["amount"]["value"], dry["caps"]) == ("25.000", [])
    assert await world.fingerprint() == before
    first = await scene.redeem(offer, "4000.00", idempotencyKey="k")
    after = await world.fingerprint()
    again = await scene.redeem(offer, "4000.00", idempotencyKey="k")
    assert (again["order"]["id"], again["caps"]) == (expect_order(first), ["BALANCE"])
    assert error_code(await scene.redeem(offer, "1.00", idempotencyKey="k")) == "IDEMPOTENCY_CONFLICT"
    assert await world.fingerprint() == after


async def test_an_order_keeps_the_share_and_policy_of_its_creation(scene: OfferScene) -> None:
    world, offer = scene.world, await scene.offer()
    order_id = expect_order(await scene.redeem(offer))
    await world.mutate("updateOffer", by=scene.mark, id=offer, currentsSharePercent=100)
    await world.add(PlatformPolicy(usd_per_current=Decimal(10), redemption_fee_bps=500, valid_from=now()))
    approved = await scene.decide("approveOrder", order_id, amount=money("40.00"), reason="two of them")
    order = approved["order"]
    assert (order["approvedAmount"]["value"], order["payout"]["value"]) == ("0.500", "9.00")
    after = (await scene.redeem(offer))["order"]
    assert (after["amount"]["value"], after["payout"]["value"]) == ("2.000", "19.00")
