"""Tips to the platform: beside gifts of every kind, refunded with the last of them."""

from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from models import Collective, ProviderRefund
from models.enums import OrderStatus
from services.providers.protocol import EventKind
from tests.donation_world import DonationScene, expect_order
from tests.factories import World, money, ref
from tests.gift_world import all_gifts, begun_on, charge, load, today
from tests.payment_world import CardScene, dispute, kinds, order_of, refund

ORDER = """order { id status platformTip { value currency } transactions { id group kind
    amount { value currency } fromCollective { slug } toCollective { slug } toHost { slug }
    platformFeeInHostCurrency { value } hostFeeInHostCurrency { value }
    paymentProcessorFeeInHostCurrency { value } } }"""
KEPT = "SELECT posted FROM ledger_account WHERE book_id = :book AND owner_id = :owner AND kind = 'BALANCE'"


@pytest.fixture
async def scene(world: World) -> DonationScene:
    """Return a scene with a platform fee and rates, in which webpack has 1,000.00."""
    await world.rate("EUR", "USD", "1.1481")
    await world.rate("EUR", "JPY", "171.35")
    scene = await DonationScene.create(world, funds="1000.00")
    await world.platform_fee(500)
    return scene


@pytest.fixture
async def cards(world: World) -> CardScene:
    """Return a host that takes cards and has 100.00 of its own."""
    cards = await CardScene.create(world)
    await world.platform_fee(0)
    await world.fund(cards.donations.host, "100.00", by=cards.donations.holder)  # covers what processors keep
    await world.platform_fee(500)
    return cards


async def kept_for_platform(world: World, host: Collective) -> int:
    """Return what a host keeps for the platform, in minor units."""
    return int(await world.scalar(KEPT, book=host.id, owner=world.platform.id))


async def give(scene: DonationScene, tip: str, value: str = "100.00", **more: Any) -> dict[str, Any]:
    """Give from webpack to babel with a tip; return the payload."""
    arguments: dict[str, Any] = {
        "from": ref(scene.webpack),
        "to": ref(scene.babel),
        "amount": money(value),
        "platformTip": money(tip),
    }
    return await scene.world.mutate("donate", ORDER, by=scene.giver, **(arguments | more))


async def test_a_tip_is_a_transaction_of_its_own_in_the_group_of_the_gift(scene: DonationScene) -> None:
    payload = await give(scene, "10.00")
    order = payload["order"]
    assert (payload["errors"], order["status"]) == ([], "PAID")
    assert order["platformTip"] == money("10.00")
    gift, tip = order["transactions"]
    assert gift["group"] == tip["group"]
    assert (gift["kind"], tip["kind"]) == ("DONATION", "PLATFORM_TIP")
    assert tip["fromCollective"] == ref(scene.webpack)
    assert tip["toCollective"] == ref(scene.world.platform)
    assert tip["toHost"] == ref(scene.host)
    assert tip["amount"] == money("10.00")
    assert await scene.world.balance(scene.webpack) == (89000, 0)
    assert await scene.world.balance(scene.babel) == (10000, 0)
    assert await kept_for_platform(scene.world, scene.host) == 1000
    await scene.world.assert_clean_ledger()


async def test_a_gift_and_its_tip_are_made_once_for_each_key(scene: DonationScene) -> None:
    first = await give(scene, "10.00", idempotencyKey="k")
    assert await give(scene, "10.00", idempotencyKey="k") == first
    assert (await give(scene, "9.00", idempotencyKey="k"))["errors"][0]["code"] == "IDEMPOTENCY_CONFLICT"
    assert await scene.world.balance(scene.webpack) == (89000, 0)
    rehearsed = await give(scene, "10.00", dryRun=True)
    assert len(rehearsed["order"]["transactions"]) == 2
    assert await scene.world.balance(scene.webpack) == (89000, 0)


async def test_no_tip_is_none_and_a_wrong_one_changes_nothing(scene: DonationScene) -> None:
    payload = await give(scene, "0")
    assert (payload["errors"], payload["order"]["platformTip"]) == ([], None)
    assert [each["kind"] for each in payload["order"]["transactions"]] == ["DONATION"]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"platformTip": money("100.01")}, "platformTip"),
        ({"platformTip": money("1.00", "EUR")}, "platformTip.currency"),
        ({"platformTip": money("-1.00")}, "platformTip.value"),
        ({"platformTip": money("0.001")}, "platformTip.value"),
        ({"platformTip": money("1.00"), "to": ref(scene.world.platform)}, "platformTip"),
        (
            {"platformTip": money("1.000", "CUR"), "amount": money("1.000", "CUR")},
            "platformTip",
        ),
    ]
    arguments = {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("100.00")}
    for more, field in wrong:
        before = await scene.world.fingerprint()
        refused = await scene.world.mutate("donate", by=scene.giver, **(arguments | more))
        (error,) = refused["errors"]
        assert (error["code"], ".".join(error["path"])) == ("INVALID_INPUT", f"input.{field}"), more
        assert await scene.world.fingerprint() == before
    too_much = await give(scene, "450.00", "600.00")
    assert too_much["errors"][0]["code"] == "INSUFFICIENT_FUNDS"
    assert await scene.world.balance(scene.webpack) == (90000, 0)


async def test_a_tip_goes_back_with_the_last_of_its_gift(scene: DonationScene) -> None:
    order = expect_order(await give(scene, "10.00"))
    part = await scene.refund(order, "40.00")
    assert [each["amount"]["minorUnits"] for each in part["transactions"]][-1:] == ["-4000"]
    assert await kept_for_platform(scene.world, scene.host) == 1000
    assert part["order"]["status"] == "PAID"
    rest = await scene.refund(order, "60.00")
    assert rest["order"]["status"] == "REFUNDED"
    assert len(rest["transactions"]) == 2
    assert await kept_for_platform(scene.world, scene.host) == 0
    assert await scene.world.balance(scene.webpack) == (100000, 0)
    again = await scene.refund(order)
    assert again["errors"][0]["code"] == "INVALID_STATE"
    await scene.world.assert_clean_ledger()


@pytest.mark.parametrize("currency", ["EUR", "JPY"])
async def test_a_tip_between_books_and_currencies_leaves_nothing_when_refunded(
    scene: DonationScene, currency: str
) -> None:
    world = scene.world
    other = await scene.host_of("other", fee_bps=700)
    payee = await scene.community("payee", other, scene.friend, currency=currency)
    method = await scene.method(bps=290, fixed="0.30", host=other)
    value, tip = ("100.00", "7.77") if currency == "EUR" else ("10000", "777")
    payload = await give(
        scene,
        tip,
        to=ref(payee),
        amount=money(value, currency),
        platformTip=money(tip, currency),
        payWith={"id": method},
    )
    order = expect_order(payload)
    own = payload["order"]["transactions"][1]
    fees = [own[f"{side}FeeInHostCurrency"]["value"] for side in ("platform", "host", "paymentProcessor")]
    assert fees[:2] == ["0.00", "0.00"]
    assert fees[2] != "0.00"
    await world.assert_clean_ledger()
    before = await kept_for_platform(world, other)
    assert before > 0
    await world.platform_fee(0)
    await world.fund(other, "100.00", by=scene.holder)  # covers what the processor keeps
    refunded = await scene.refund(order)
    assert refunded["errors"] == []
    assert await kept_for_platform(world, other) == 0
    assert await world.balance(scene.webpack) == (100000, 0)
    assert await world.balance(payee) == (0, 0)
    await world.assert_clean_ledger()


async def test_a_gift_is_refunded_after_the_host_has_settled_its_tip(scene: DonationScene) -> None:
    world = scene.world
    order = expect_order(await give(scene, "10.00"))
    settled = await world.mutate(
        "settleHosts",
        "order { id }",
        by=scene.holder,
        **{"from": ref(scene.host), "to": ref(world.platform)},
        amount=money("10.00"),
        covers="PLATFORM_FEES",
        reference="bank 1",
    )
    assert settled["errors"] == []
    admin = world.admin
    approved = await world.mutate("approveOrder", by=admin, id=settled["order"]["id"])
    assert approved["errors"] == []
    assert await kept_for_platform(world, scene.host) == 0
    assert (await scene.refund(order))["order"]["status"] == "REFUNDED"
    assert await kept_for_platform(world, scene.host) == -1000  # the platform owes the host
    await world.assert_clean_ledger()


async def test_a_tip_by_bank_transfer_is_part_of_it(scene: DonationScene) -> None:
    payload = await scene.world.mutate(
        "donate",
        "order { id status } paymentInstructions { amount { value currency } }",
        by=scene.giver,
        **{"from": ref(scene.webpack), "to": ref(scene.babel)},
        amount=money("100.00"),
        platformTip=money("5.00"),
        payWith={"type": "MANUAL"},
    )
    assert payload["paymentInstructions"]["amount"] == money("105.00")
    approved = await scene.world.mutate(
        "approveOrder",
        ORDER,
        by=scene.holder,
        id=payload["order"]["id"],
        amount=money("80.00"),
        reason="less",
    )
    gift, tip = approved["order"]["transactions"]
    assert (gift["amount"], tip["amount"]) == (money("80.00"), money("5.00"))
    assert tip["fromCollective"] == ref(scene.webpack)
    await scene.world.assert_clean_ledger()


async def test_a_card_is_charged_once_for_gift_and_tip(cards: CardScene) -> None:
    order = order_of(await cards.give(platformTip=money("10.00")))
    assert await cards.tell(cards.event(EventKind.SUCCEEDED, order)) is None
    gift, tip = await cards.transactions(order)
    assert (gift.payment_processor_fee, tip.payment_processor_fee) == (317, 32)  # of 3.49 in all
    assert (gift.platform_fee, gift.host_fee, gift.to_collective_amount) == (500, 500, 8683)
    assert (tip.kind, tip.to_collective_amount, tip.from_collective_id) == (
        "PLATFORM_TIP",
        968,
        cards.giver.user.id,
    )
    assert await kept_for_platform(cards.world, cards.donations.host) == 500 + 968
    await refund(cards, order)
    await cards.send_refunds()
    assert await cards.status(order) is OrderStatus.REFUNDED
    statement = select(col(ProviderRefund.amount_minor))
    async with cards.world.sessions() as session:
        assert (await session.execute(statement)).scalars().all() == [11000]
    assert await kept_for_platform(cards.world, cards.donations.host) == 0
    await cards.world.assert_clean_ledger()


async def test_the_providers_own_figures_are_split(cards: CardScene) -> None:
    donations = cards.donations
    await cards.world.rate("EUR", "USD", "1.1000")
    euros = await donations.community("euros", donations.host, donations.friend, currency="EUR")
    more: dict[str, Any] = {
        "to": ref(euros),
        "amount": money("100.00", "EUR"),
        "platformTip": money("10.00", "EUR"),
    }
    order = order_of(await cards.give(**more))
    settled = {"currency": "USD", "gross_minor": 12345, "fee_minor": 400}
    assert await cards.tell(cards.event(EventKind.SUCCEEDED, order, settled=settled)) is None
    gift, tip = await cards.transactions(order)
    assert (gift.gross, tip.gross) == (11223, 1122)
    assert gift.payment_processor_fee + tip.payment_processor_fee == 400
    await cards.world.assert_clean_ledger()


async def test_a_refund_at_the_provider_takes_the_gift_before_the_tip(cards: CardScene) -> None:
    order = order_of(await cards.give(platformTip=money("10.00")))
    await cards.tell(cards.event(EventKind.SUCCEEDED, order))
    for number, minor in enumerate((6000, 4500, 500)):
        event = cards.event(EventKind.REFUNDED, order, refund=f"re_{number}", amount=minor)
        assert await cards.tell(event) is None
        status = await cards.status(order)
        assert status is (OrderStatus.REFUNDED if number == 2 else OrderStatus.PAID)
        await cards.world.assert_clean_ledger()
    assert await kept_for_platform(cards.world, cards.donations.host) == 0


async def test_a_lost_dispute_takes_the_tip_too(cards: CardScene) -> None:
    world = cards.world
    order = order_of(await cards.give(platformTip=money("10.00")))
    await cards.tell(cards.event(EventKind.SUCCEEDED, order))
    assert await cards.tell(dispute(cards, order, EventKind.DISPUTE_OPENED)) is None
    assert await cards.tell(dispute(cards, order, EventKind.DISPUTE_LOST)) is None
    assert await cards.status(order) is OrderStatus.REFUNDED
    assert (await kinds(cards, order)).count("REFUND") == 2
    assert await kept_for_platform(world, cards.donations.host) == 0
    await world.assert_clean_ledger()


async def test_a_guest_tips_and_the_receipt_tells_it(cards: CardScene) -> None:
    payload = await cards.world.mutate(
        "donateAsGuest",
        "order { id status platformTip { value } } clientSecret",
        by=None,
        email="gale@commonweal.test",
        name="Gale Guest",
        to=ref(cards.donations.babel),
        amount=money("100.00"),
        platformTip=money("3.00"),
        payWith={"id": cards.method},
    )
    order = order_of(payload)
    assert payload["order"]["platformTip"] == {"value": "3.00"}
    assert await cards.tell(cards.event(EventKind.SUCCEEDED, order)) is None
    gift, tip = await cards.transactions(order)
    assert gift.from_collective_id is tip.from_collective_id is None
    receipt = "SELECT payload ->> 'tip' FROM outbox WHERE template = 'guest_receipt'"
    assert await cards.world.scalar(receipt) == "3.00 USD"
    await cards.world.assert_clean_ledger()


async def test_a_recurring_gift_has_its_tip_each_period(scene: DonationScene) -> None:
    payload = await scene.world.mutate(
        "donate",
        f"{ORDER} subscription {{ id platformTip {{ value }} }}",
        by=scene.giver,
        **{"from": ref(scene.webpack), "to": ref(scene.babel)},
        amount=money("10.00"),
        platformTip=money("1.00"),
        interval="MONTH",
    )
    assert payload["subscription"]["platformTip"] == {"value": "1.00"}
    assert len(payload["order"]["transactions"]) == 2
    (gift,) = await all_gifts(scene)
    changed = await scene.world.mutate(
        "updateSubscription",
        "subscription { platformTip { value } }",
        by=scene.giver,
        id=payload["subscription"]["id"],
        platformTip=money("2.00"),
    )
    assert changed["subscription"]["platformTip"] == {"value": "2.00"}
    wrong: list[dict[str, Any]] = [{"platformTip": money("10.01")}, {"amount": money("1.00")}]
    for arguments in wrong:
        refused = await scene.world.mutate(
            "updateSubscription", by=scene.giver, id=payload["subscription"]["id"], **arguments
        )
        assert [(each["code"], each["path"]) for each in refused["errors"]] == [
            ("INVALID_INPUT", ["input", "platformTip"])
        ]
    assert (await load(scene, gift)).tip_minor == 200
    assert await kept_for_platform(scene.world, scene.host) == 100
    none = await scene.world.mutate(
        "updateSubscription",
        "subscription { platformTip { value } }",
        by=scene.giver,
        id=payload["subscription"]["id"],
        platformTip=money("0"),
    )
    assert none["subscription"]["platformTip"] is None


async def test_a_charge_of_a_recurring_gift_posts_its_tip(scene: DonationScene) -> None:
    await begun_on(scene, today(), tip_minor=150)
    assert await charge(scene, today()) == 1
    assert await kept_for_platform(scene.world, scene.host) == 150
    assert await scene.world.balance(scene.webpack) == (100000 - 1150, 0)
    await scene.world.assert_clean_ledger()
