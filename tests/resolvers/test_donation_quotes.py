"""Quotes of donations equal what the donation posts, to the minor unit.

COMMONWEAL_TEST_GIFTS compares more of them, chosen by COMMONWEAL_TEST_SEED.
"""

import os
import random
from decimal import Decimal
from typing import Any

import pytest

from models import Collective
from tests.conftest import Database
from tests.donation_world import DonationScene
from tests.factories import Person, World, money, ref
from tests.tier_world import create_tier, funded_user

QUOTE = """query($from: CollectiveRef, $to: CollectiveRef!, $amount: AmountInput, $tier: ID, $quantity: Int,
    $payWith: PaymentMethodRef, $tip: AmountInput) { donationQuote(from: $from, to: $to, amount: $amount,
    tier: $tier, quantity: $quantity, payWith: $payWith, tip: $tip) { platformTip { value currency }
    total { value currency } tipGross { value currency } tipProcessorFee { value currency }
    amount { value currency } net { value currency } debited { value currency } gross { value currency }
    processorFee { value currency } platformFee { value currency } hostFee { value currency }
    fxRate rateValidFrom } }"""
POSTED = """order { id platformTip { value currency } transactions { kind amount { value currency }
    toCollectiveAmount { value currency } fromCollectiveAmount { value currency }
    paymentProcessorFeeInHostCurrency { value currency } platformFeeInHostCurrency { value currency }
    hostFeeInHostCurrency { value currency } toHostAmount { value } fxRate } }"""
GIFTS = int(os.environ.get("COMMONWEAL_TEST_GIFTS") or 25)
SEED = int(os.environ.get("COMMONWEAL_TEST_SEED") or 7)
FUNDS = f"{100_000 + 100 * GIFTS}.00"
DECIMALS = {"USD": 2, "EUR": 2, "JPY": 0}


@pytest.fixture
def database(shared_database: Database) -> Database:
    """Return the database in which the scene is."""
    return shared_database


@pytest.fixture
async def scene(shared: World) -> DonationScene:
    """Return a scene with rates, a platform fee and rich givers."""
    await shared.platform_fee(500)
    await shared.rate("EUR", "USD", "1.1481")
    await shared.rate("EUR", "JPY", "171.35")
    return await DonationScene.create(shared, funds=FUNDS, suffix="-quotes")


async def quoted(scene: DonationScene, *, by: Person | None = None, **arguments: Any) -> Any:
    """Return the quote of a donation, as anybody by default."""
    return (await scene.world.query(QUOTE, by=by, **arguments))["donationQuote"]


async def refused(scene: DonationScene, **arguments: Any) -> str:
    """Return the code of a quote that fails."""
    body = await scene.world.execute(QUOTE, **arguments)
    assert body["data"] == {"donationQuote": None}
    return str(body["errors"][0]["extensions"]["code"])


def figures_of(quote: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a quote by the names that a transaction has for them."""
    return {
        "amount": quote["amount"],
        "toCollectiveAmount": quote["net"],
        "fromCollectiveAmount": quote["debited"]
        and {**quote["debited"], "value": "-" + quote["debited"]["value"]},
        "paymentProcessorFeeInHostCurrency": quote["processorFee"],
        "platformFeeInHostCurrency": quote["platformFee"],
        "hostFeeInHostCurrency": quote["hostFee"],
        "fxRate": quote["fxRate"],
    }


def add_sides(*figures: dict[str, Any]) -> dict[str, str] | None:
    """Return what the giver's balance pays in all transactions of a gift."""
    sides = [each["fromCollectiveAmount"] for each in figures]
    if None in sides:
        return None
    total = sum(Decimal(side["value"]) for side in sides)
    return {"value": str(-total), "currency": sides[0]["currency"]}


def require_quoted(quote: dict[str, Any], order: dict[str, Any], tip: str | None) -> None:
    """Require that a gift with or without a tip has posted what was quoted."""
    posted, *tips = order["transactions"]
    wanted = figures_of(quote) | (
        {} if tip is None else {"fromCollectiveAmount": posted["fromCollectiveAmount"]}
    )
    assert wanted.items() <= posted.items()
    assert quote["debited"] == add_sides(posted, *tips)
    assert Decimal(quote["total"]["value"]) == Decimal(quote["amount"]["value"]) + Decimal(tip or 0)
    if tip is None:
        assert (tips, order["platformTip"]) == ([], None)
        return
    (own,) = tips
    assert order["platformTip"] == quote["platformTip"] == money(tip, quote["amount"]["currency"])
    assert (posted["kind"], own["kind"]) == ("DONATION", "PLATFORM_TIP")
    assert own["amount"] == quote["tipGross"]
    assert own["paymentProcessorFeeInHostCurrency"] == quote["tipProcessorFee"]
    assert {own[f"{side}FeeInHostCurrency"]["value"].strip("0.") for side in ("platform", "host")} == {""}


async def parties(scene: DonationScene) -> tuple[list[Any], list[Collective], dict[str, str]]:
    """Return givers with their admins, payees, and a card of the host of each payee by its slug."""
    other = await scene.host_of("other", fee_bps=750)
    euros = await scene.community("euros", other, scene.friend, currency="EUR")
    yen = await scene.community("yen", scene.host, scene.friend, currency="JPY")
    user = await funded_user(scene, "user", FUNDS)
    await scene.world.fund(euros, FUNDS, by=scene.holder)
    givers = [(scene.webpack, scene.giver), (euros, scene.friend), (user, user)]
    cards = {host.slug: await scene.method(bps=290, fixed="0.30", host=host) for host in (scene.host, other)}
    hosts = {scene.babel.slug: scene.host, euros.slug: other, yen.slug: scene.host}
    return givers, [scene.babel, euros, yen], {slug: cards[host.slug] for slug, host in hosts.items()}


async def test_a_quote_equals_the_posting_to_the_cent(scene: DonationScene) -> None:
    givers, payees, cards = await parties(scene)
    chance = random.Random(SEED)
    compared = 0
    while compared < GIFTS:
        (giver, admin), payee = chance.choice(givers), chance.choice(payees)
        if giver is payee:
            continue
        least = 100 if payee.currency == "JPY" else 1  # of less the fees would leave nothing
        value = f"{chance.choice([1, 20, 300]) * chance.random() + least:.{DECIMALS[payee.currency]}f}"
        arguments: dict[str, Any] = {
            "from": ref(giver),
            "to": ref(payee),
            "amount": money(value, payee.currency),
        }
        if chance.random() < 0.5:
            arguments["payWith"] = {"id": cards[payee.slug]}
        tip: str | None = None
        extra: dict[str, Any] = {}
        if chance.random() < 0.6:
            share = Decimal(value) * Decimal(chance.choice(["1", "0.5", "0.1"]))
            tip = f"{share:.{DECIMALS[payee.currency]}f}"
            extra = {"platformTip": money(tip, payee.currency)}
        quote = await quoted(scene, **arguments, tip=extra.get("platformTip"))
        payload = await scene.world.mutate("donate", POSTED, by=admin, **arguments, **extra)
        assert payload["errors"] == [], arguments
        require_quoted(quote, payload["order"], tip)
        compared += 1
    await scene.world.assert_clean_ledger()


async def test_quotes_of_money_from_outside_and_of_tiers(shared: World) -> None:
    scene = await DonationScene.among_others(shared)
    outside = await quoted(scene, to=ref(scene.babel), amount=money("10.00"))
    assert (outside["debited"], outside["rateValidFrom"], outside["fxRate"]) == (None, None, "1")
    transfer = {"from": ref(scene.webpack), "to": ref(scene.babel), "paymentMethod": "MANUAL"}
    order = await shared.mutate("donate", "order { id }", by=scene.giver, amount=money("10.00"), **transfer)
    approved = await shared.mutate("approveOrder", POSTED, by=scene.holder, id=order["order"]["id"])
    (posted,) = approved["order"]["transactions"]
    assert figures_of(outside).items() <= posted.items()
    tier = await create_tier(scene, amount="3.00")
    of_tier = await quoted(scene, to=ref(scene.babel), tier=tier, quantity=4)
    assert of_tier["amount"]["value"] == "12.00"


async def test_a_quote_tells_what_a_donation_would_refuse_and_nothing_of_balances(shared: World) -> None:
    scene = await DonationScene.among_others(shared)
    sides: dict[str, Any] = {"from": ref(scene.webpack), "to": ref(scene.babel)}
    before = await shared.fingerprint()
    rich = await quoted(scene, **sides, amount=money("1000000.00"))
    assert rich["debited"]["value"] == "1000000.00"
    free = await scene.community("free", None, scene.friend)
    assert await refused(scene, **sides) == "INVALID_INPUT"
    assert await refused(scene, **sides, amount=money("1.00", "EUR")) == "INVALID_INPUT"
    assert await refused(scene, to=ref(free), amount=money("1.00")) == "INVALID_STATE"
    assert await refused(scene, to={"slug": "nobody"}, amount=money("1.00")) == "NOT_FOUND"
    assert (
        await refused(scene, to=ref(scene.babel), amount=money("1.00"), payWith={"id": "x"})
        == "INVALID_INPUT"
    )
    assert {key: before[key] for key in ("order", "posting")} == {
        key: (await shared.fingerprint())[key] for key in ("order", "posting")
    }
