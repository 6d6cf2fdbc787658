"""Currents for part of a price: what the server computes, who decides, and what moves."""

import asyncio
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from sqlalchemy import text

from models import PlatformPolicy, now
from services.approvals import decisions
from tests.donation_world import code, done, row_id, status
from tests.factories import World, fresh, money, of, public_id
from tests.offer_world import OfferScene


@pytest.fixture
async def scene(world: World) -> OfferScene:
    return await OfferScene.create(world)


def age(world: World, order_id: str, days: float) -> None:
    """Make an order that many days older, as the tables' owner, who alone may."""
    with psycopg.connect(world.settings.owner_database_url) as owner:
        owner.execute(
            'UPDATE "order" SET created_at = created_at - %s WHERE id = %s',
            (timedelta(days=days), row_id(order_id)),
        )


async def refused(scene: OfferScene, offer: str, value: str = "20.00", **more: Any) -> tuple[str, str]:
    """Return code and field of a redemption that is refused and changes nothing."""
    before = await scene.world.fingerprint()
    payload = await scene.redeem(offer, value, **more)
    assert payload["order"] is None
    assert payload["caps"] == []
    assert await scene.world.fingerprint() == before
    (error,) = payload["errors"]
    return error["code"], ".".join(error["path"])


async def test_the_worked_example(scene: OfferScene) -> None:
    asked = await scene.redeem(await scene.offer())
    order_id = done(asked)
    order = asked["order"]
    assert (order["type"], order["status"], asked["caps"]) == ("REDEMPTION", "PENDING", [])
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
    await scene.world.audit_is_clean()

    approved = await scene.decide("approveOrder", order_id)
    assert status(approved) == "APPROVED"
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
    await scene.world.audit_is_clean()

    assert status(await scene.decide("payOrder", order_id)) == "PAID"
    assert await scene.balance(scene.john, "USD") == {
        "posted": "4.50",
        "held": "0.00",
        "available": "4.50",
        "pending": "0.00",
    }
    assert (await scene.balance(scene.world.platform, "USD"))["posted"] == "95.50"
    await scene.world.audit_is_clean()


async def test_the_dollars_are_three_lines_so_that_the_fee_shows(scene: OfferScene) -> None:
    order_id = done(await scene.redeem(await scene.offer()))
    await scene.decide("approveOrder", order_id)
    await scene.decide("payOrder", order_id)
    found = await scene.world.ask(
        """query($i: ID!) { order(id: $i) { transactions { kind amount { value currency }
            fromCollective { slug } toCollective { slug } fromHost { slug } toHost { slug }
            toHostAmount { value } toCollectiveAmount { value } fromCollectiveAmount { value }
            platformFeeInHostCurrency { value }
            postings { account { owner { slug } } amount { value } } } } }""",
        by=scene.world.admin,
        i=order_id,
    )
    moved, paid = found["order"]["transactions"]
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


async def test_a_rejected_redemption_gives_the_currents_back(scene: OfferScene) -> None:
    order_id = done(await scene.redeem(await scene.offer()))
    assert status(await scene.decide("rejectOrder", order_id)) == "REJECTED"
    assert (await scene.balance(scene.john, "CUR"))["available"] == "30.000"
    assert (await scene.balance(scene.john, "USD"))["pending"] == "0.00"
    assert (await scene.balance(scene.cafe, "CUR"))["pending"] == "0.000"
    await scene.world.audit_is_clean()


async def test_the_user_withdraws_while_the_business_has_not_decided(scene: OfferScene) -> None:
    first, second = [done(await scene.redeem(await scene.offer(item))) for item in ("Tea", "Cake")]
    assert status(await scene.decide("cancelOrder", first, by=scene.john)) == "CANCELLED"
    await scene.decide("approveOrder", second)
    assert code(await scene.decide("cancelOrder", second, by=scene.john)) == "INVALID_STATE"
    assert code(await scene.decide("rejectOrder", second)) == "INVALID_STATE"
    assert (await scene.balance(scene.john, "CUR"))["available"] == "29.750"
    await scene.world.audit_is_clean()


async def test_what_nobody_decides_expires_and_gives_the_currents_back(scene: OfferScene) -> None:
    done(await scene.redeem(await scene.offer()))
    world = scene.world
    async with world.sessions() as session, session.begin():
        await session.execute(text('UPDATE "order" SET expires_at = now()'))
    async with world.sessions() as session, session.begin():
        assert await decisions.expire(session) == 1
    assert (await scene.balance(scene.john, "CUR"))["available"] == "30.000"
    await world.audit_is_clean()


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
        asked = await scene.redeem(await scene.offer(f"Item {number}", share=share), price)
        done(asked)
        found = asked["order"]
        figures = [found[name]["value"] for name in ("amount", "payout", "payoutFee")]
        assert figures == expected, price


async def test_no_price_is_too_large_to_be_capped(scene: OfferScene) -> None:
    asked = await scene.redeem(await scene.offer(share=100), "92233720368547758.07")
    order_id = done(asked)
    assert (asked["order"]["amount"]["value"], asked["order"]["payout"]["value"]) == ("30.000", "540.00")
    highest: dict[str, Any] = {"amount": money("92233720368547758.06"), "reason": "a cent less"}
    approved = await scene.decide("approveOrder", order_id, **highest)
    assert approved["order"]["approvedAmount"]["value"] == "30.000"


async def test_the_balance_caps_and_the_answer_says_so(world: World) -> None:
    scene = await OfferScene.create(world, currents="1.000")
    asked = await scene.redeem(await scene.offer(), "2000.00")
    order_id = done(asked)
    assert (asked["order"]["amount"]["value"], asked["caps"]) == ("1.000", ["BALANCE"])
    assert (asked["order"]["payout"]["value"], asked["order"]["caps"]) == ("18.00", ["BALANCE"])
    another = await scene.offer("Another")
    assert await refused(scene, another) == ("INSUFFICIENT_FUNDS", "input.price")
    await scene.decide("approveOrder", order_id)
    assert (await scene.balance(scene.john, "CUR"))["posted"] == "0.000"
    await world.audit_is_clean()


async def test_master_offers_give_no_more_than_the_weeks_limit(scene: OfferScene) -> None:
    world, master = scene.world, await scene.offer("All products", share=100, isMaster=True)
    asked = await scene.redeem(master, "100.00", place="The shop")
    first = done(asked)
    assert (asked["order"]["amount"]["value"], asked["caps"]) == ("0.625", ["WEEKLY_LIMIT"])
    assert (asked["order"]["payout"]["value"], asked["order"]["place"]) == ("11.25", "The shop")
    assert await refused(scene, master) == ("LIMIT_EXCEEDED", "input.offer")
    done(await scene.redeem(await scene.offer()))  # other offers have no part in it
    await scene.decide("rejectOrder", first)
    second = done(await scene.redeem(master, "10.00"))  # what was refused does not count
    third = await scene.redeem(master, "10.00")
    assert (third["order"]["amount"]["value"], third["caps"]) == ("0.125", ["WEEKLY_LIMIT"])
    age(world, second, 6.99)
    assert await refused(scene, master) == ("LIMIT_EXCEEDED", "input.offer")
    age(world, second, 0.02)
    asked = await scene.redeem(master, "100.00")
    assert (asked["order"]["amount"]["value"], asked["caps"]) == ("0.500", ["WEEKLY_LIMIT"])
    await world.audit_is_clean()


async def test_both_caps_are_named_where_both_are_less_than_the_price_allows(world: World) -> None:
    scene = await OfferScene.create(world, currents="0.700")
    master = await scene.offer(share=100, isMaster=True)
    asked = await scene.redeem(master, "100.00")
    assert (asked["order"]["amount"]["value"], asked["caps"]) == ("0.625", ["BALANCE", "WEEKLY_LIMIT"])


async def test_an_offer_has_so_many_places_a_month(scene: OfferScene) -> None:
    offer = await scene.offer(monthlyLimit=2)
    first, second = [done(await scene.redeem(offer)) for _ in range(2)]
    assert await refused(scene, offer) == ("LIMIT_EXCEEDED", "input.offer")
    await scene.decide("rejectOrder", first)
    done(await scene.redeem(offer))
    assert await refused(scene, offer) == ("LIMIT_EXCEEDED", "input.offer")
    age(scene.world, second, 32)  # last month
    done(await scene.redeem(offer))
    query = "query($i: ID!) { node(id: $i) { ... on Offer { redemptionCount remainingThisMonth } } }"
    found = await scene.world.ask(query, i=offer)
    assert found["node"] == {"redemptionCount": 2, "remainingThisMonth": 0}


async def test_the_month_is_that_of_the_businesss_time_zone(scene: OfferScene) -> None:
    world, offer = scene.world, await scene.offer(monthlyLimit=1)
    order_id = done(await scene.redeem(offer))
    zone = ZoneInfo("Pacific/Kiritimati")  # 14 hours ahead
    here = now().astimezone(zone)
    began = here.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    await world.do("updateCollective", by=scene.mark, collective=of(scene.cafe), timezone=zone.key)
    age(world, order_id, (now() - began).total_seconds() / 86400 - 0.001)
    assert await refused(scene, offer) == ("LIMIT_EXCEEDED", "input.offer")
    age(world, order_id, 0.002)
    done(await scene.redeem(offer))


async def test_of_20_for_the_last_place_one_wins(scene: OfferScene) -> None:
    world, offer = scene.world, await scene.offer(monthlyLimit=1)
    people = [await world.person(f"user-{i}") for i in range(20)]
    await world.currents(*people, value="1.000")
    answers = await asyncio.gather(*(scene.redeem(offer, by=person) for person in people))
    assert Counter(code(answer) for answer in answers) == {None: 1, "LIMIT_EXCEEDED": 19}
    assert await world.scalar("SELECT count(*) FROM hold WHERE released_at IS NULL") == 1
    await world.audit_is_clean()


async def test_of_two_redemptions_of_the_whole_balance_one_wins(world: World) -> None:
    scene = await OfferScene.create(world, currents="1.000")
    offers = [await scene.offer(item, share=100) for item in ("Tea", "Cake")]
    answers = await asyncio.gather(*(scene.redeem(offer) for offer in offers))
    assert Counter(code(answer) for answer in answers) == {None: 1, "INSUFFICIENT_FUNDS": 1}
    await world.audit_is_clean()


async def test_of_many_master_redemptions_at_once_the_week_gets_its_limit(scene: OfferScene) -> None:
    offers = [await scene.offer(f"Item {i}", share=100, isMaster=True) for i in range(4)]
    answers = await asyncio.gather(*(scene.redeem(offer, "10.00") for offer in offers))
    given = sorted(a["order"]["amount"]["value"] if a["order"] else "" for a in answers)
    assert given == ["", "", "0.125", "0.500"]
    await scene.world.audit_is_clean()


async def test_what_is_not_acceptable_is_refused_by_name(scene: OfferScene) -> None:
    world, offer = scene.world, await scene.offer(share=5)
    assert await refused(scene, offer, "0.05") == ("AMOUNT_TOO_SMALL", "input.price")
    for value in ("0.00", "-1.00", "1.001"):
        assert await refused(scene, offer, value) == ("INVALID_INPUT", "input.price.value")
    assert await refused(scene, offer, receipt="  ") == ("INVALID_INPUT", "input.receipt")
    assert await refused(scene, offer, receipt="x" * 8097) == ("INVALID_INPUT", "input.receipt")
    assert await refused(scene, offer, receipt="rcp_nothing") == ("INVALID_INPUT", "input.receipt")
    unknown = public_id("Receipt", fresh())
    assert await refused(scene, offer, receipt=unknown) == ("NOT_FOUND", "input.receipt")
    assert await refused(scene, public_id("Offer", fresh())) == ("NOT_FOUND", "input.offer")
    assert await refused(scene, "off_x") == ("INVALID_INPUT", "input.offer")
    euros = await world.do("redeemOffer", by=scene.john, offer=offer, receipt="x", price=money("5", "EUR"))
    assert [(e["code"], e["path"]) for e in euros["errors"]] == [
        ("INVALID_INPUT", ["input", "price", "currency"])
    ]
    await world.do("deactivateOffer", by=scene.mark, id=offer)
    assert await refused(scene, offer) == ("INVALID_STATE", "input.offer")


async def test_who_has_no_currents_or_is_known_by_email_alone_gives_none(scene: OfferScene) -> None:
    world, offer = scene.world, await scene.offer()
    poor, unclaimed = await world.person("poor"), await world.person("unclaimed", claimed=False)
    await world.currents(unclaimed)
    assert await refused(scene, offer, by=poor) == ("INSUFFICIENT_FUNDS", "input.price")
    assert await refused(scene, offer, by=unclaimed) == ("INVALID_STATE", "input.offer")


async def test_a_key_redeems_once_and_a_dry_run_not_at_all(scene: OfferScene) -> None:
    world, offer = scene.world, await scene.offer()
    before = await world.fingerprint()
    dry = await scene.redeem(offer, "2000.00", dryRun=True)
    assert (dry["order"]["amount"]["value"], dry["caps"]) == ("25.000", [])
    assert await world.fingerprint() == before
    first = await scene.redeem(offer, "4000.00", idempotencyKey="k")
    after = await world.fingerprint()
    again = await scene.redeem(offer, "4000.00", idempotencyKey="k")
    assert (again["order"]["id"], again["caps"]) == (done(first), ["BALANCE"])
    assert code(await scene.redeem(offer, "1.00", idempotencyKey="k")) == "IDEMPOTENCY_CONFLICT"
    assert await world.fingerprint() == after


async def test_an_order_keeps_share_and_policy_of_when_it_was_made(scene: OfferScene) -> None:
    world, offer = scene.world, await scene.offer()
    order_id = done(await scene.redeem(offer))
    await world.do("updateOffer", by=scene.mark, id=offer, currentsSharePercent=100)
    await world.add(PlatformPolicy(usd_per_current=Decimal(10), redemption_fee_bps=0, valid_from=now()))
    approved = await scene.decide("approveOrder", order_id, amount=money("40.00"), reason="two of them")
    found = approved["order"]
    assert (found["approvedAmount"]["value"], found["payout"]["value"]) == ("0.500", "9.00")
    after = (await scene.redeem(offer))["order"]
    assert (after["amount"]["value"], after["payout"]["value"]) == ("2.000", "20.00")
