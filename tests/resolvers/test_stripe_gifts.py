"""Gifts through Stripe, against localstripe with what it lacks: see tests/stripe_server_process.py."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import select
from sqlmodel import col

from models import Instrument, ProviderEvent
from models.enums import OrderStatus
from services.payments import processing, waiting
from services.providers.offered import offered
from services.providers.protocol import ProviderAway
from tests.donation_world import decode_order_id, error_code
from tests.factories import World, money, ref
from tests.stripe_server import DECLINED, StripeServer, run_stripe
from tests.stripe_world import StripeScene, stripe_scene


@pytest.fixture(scope="module")
def stripe() -> Iterator[StripeServer]:
    """Run a pretended Stripe for the tests of this file."""
    with run_stripe() as server:
        yield server


@pytest.fixture
async def scene(world: World, stripe: StripeServer) -> AsyncIterator[StripeScene]:
    """Return a host that takes cards through Stripe."""
    async with stripe_scene(world, stripe) as made:
        yield made


async def test_a_gift_is_begun_on_the_hosts_own_account(scene: StripeScene) -> None:
    payload = await scene.give("12.34")
    assert payload["errors"] == []
    assert payload["providerAccount"] == scene.account
    assert payload["clientSecret"].startswith("pi_")
    asked = scene.stripe.set_up()[-1]
    assert (asked["path"], asked["account"]) == ("/v1/payment_intents", scene.account)
    order = decode_order_id(payload["order"]["id"])
    for field in ("amount=1234", "currency=usd", "automatic_payment_methods[enabled]=true", order.hex):
        assert field in asked["body"].replace("%5B", "[").replace("%5D", "]")


async def test_the_fee_and_the_figures_are_stripes_own(scene: StripeScene) -> None:
    order, _ = await scene.paid("100.00")
    (posted,) = await scene.transactions(order)
    assert (posted.gross, posted.payment_processor_fee, posted.platform_fee, posted.host_fee) == (
        10000,
        320,
        500,
        500,
    )
    assert await scene.status(order) is OrderStatus.PAID
    assert await scene.world.balance(scene.donations.babel) == (8680, 0)
    await scene.world.assert_clean_ledger()


async def test_the_same_key_begins_one_payment(scene: StripeScene) -> None:
    first, second = [await scene.give(idempotencyKey="gift-once") for _ in range(2)]
    assert first == second
    begun = [asked for asked in scene.stripe.set_up() if asked["account"] == scene.account]
    assert [asked["path"] for asked in begun].count("/v1/payment_intents") == 1


async def test_twenty_words_at_once_post_one_transaction(scene: StripeScene) -> None:
    order, payment = await scene.begun()
    scene.stripe.pay(payment, account=scene.account)
    (event,) = [
        each
        for each in scene.stripe.events(account=scene.account)
        if each["type"] == "payment_intent.succeeded"
    ]
    await asyncio.gather(*(scene.receive(event) for _ in range(20)))
    async with scene.world.sessions() as session:
        event_id = (await session.execute(select(col(ProviderEvent.id)))).scalar_one()
    providers = offered(scene.world.settings)
    await asyncio.gather(
        *(processing.process(scene.world.sessions, providers, event_id=event_id) for _ in range(20))
    )
    await scene.tell(event | {"id": "evt_again"})
    assert len(await scene.transactions(order)) == 1
    assert await scene.world.balance(scene.donations.babel) == (8680, 0)


async def test_a_declined_card_leaves_the_gift_for_another_card(scene: StripeScene) -> None:
    order, payment = await scene.paid(number=DECLINED)
    assert await scene.status(order) is OrderStatus.PENDING
    assert await scene.world.scalar("SELECT failure FROM provider_payment") == "Your card was declined."
    scene.stripe.pay(payment, account=scene.account)
    assert await scene.tell_all() is None
    assert await scene.status(order) is OrderStatus.PAID


async def test_an_unpaid_gift_is_given_up_at_stripe_first(scene: StripeScene) -> None:
    order, payment = await scene.begun()
    paid, other = await scene.begun()
    scene.stripe.pay(other, account=scene.account)
    with psycopg.connect(scene.world.settings.owner_database_url, autocommit=True) as owner:
        owner.execute("UPDATE provider_payment SET created_at = created_at - interval '25 hours'")
    cancelled = await waiting.cancel_unpaid(scene.world.sessions, offered(scene.world.settings))
    assert cancelled == 1
    assert (await scene.status(order), await scene.status(paid)) == (
        OrderStatus.CANCELLED,
        OrderStatus.PENDING,
    )
    intent = scene.stripe.ask("GET", f"payment_intents/{payment}", account=scene.account)
    assert intent["status"] == "canceled"


async def test_a_refund_is_made_once_and_posted_when_stripe_confirms(scene: StripeScene) -> None:
    order, payment = await scene.paid()
    payload = await scene.world.mutate("refundOrder", by=scene.donations.holder, id=order)
    assert payload["errors"] == []
    await scene.send_refunds()
    await scene.send_refunds()
    refunds = scene.stripe.ask("GET", f"refunds?payment_intent={payment}", account=scene.account)["data"]
    assert [refund["amount"] for refund in refunds] == [10000]
    assert await scene.posted(order) == [10000, -10000]
    assert await scene.status(order) is OrderStatus.REFUNDED
    await scene.world.assert_clean_ledger()


@pytest.mark.parametrize("is_told_first", [True, False])
@pytest.mark.parametrize("part", [None, "30.00"])
async def test_what_the_host_refunded_at_stripe_is_not_taken_for_ours(
    scene: StripeScene, part: str | None, *, is_told_first: bool
) -> None:
    order, payment = await scene.paid()
    more: dict[str, Any] = {"amount": money(part)} if part else {}
    payload = await scene.world.mutate("refundOrder", by=scene.donations.holder, id=order, **more)
    assert payload["errors"] == []
    made = scene.stripe.ask("POST", "refunds", account=scene.account, payment_intent=payment, amount="10000")
    told = {"id": "evt_refund", "type": "refund.created", "livemode": False, "account": scene.account}
    if is_told_first:
        assert await scene.tell(told | {"data": {"object": made}}) is None
    await scene.send_refunds()
    states = "SELECT status FROM provider_refund WHERE requested_by_id IS NOT NULL"
    assert await scene.world.scalar(states) == "FAILED"
    if not is_told_first:
        assert await scene.world.balance(scene.donations.babel) == (8680, 0)
        assert await scene.tell(told | {"data": {"object": made}}) is None

    assert await scene.status(order) is OrderStatus.REFUNDED
    confirmed = "SELECT external_id FROM provider_refund WHERE status = 'CONFIRMED'"
    assert await scene.world.scalar(confirmed) == made["id"]
    assert await scene.posted(order) == [10000, -10000]
    assert await scene.world.balance(scene.donations.babel) == (0, 0)
    await scene.world.assert_clean_ledger()


async def test_our_own_refund_whose_answer_was_lost_is_found_by_its_key(scene: StripeScene) -> None:
    order, payment = await scene.paid()
    await scene.world.mutate("refundOrder", by=scene.donations.holder, id=order)
    key = str(await scene.world.scalar("SELECT id FROM provider_refund"))
    metadata = {"metadata[commonweal_refund]": key}
    made = scene.stripe.ask(
        "POST", "refunds", account=scene.account, payment_intent=payment, amount="10000", **metadata
    )
    await scene.send_refunds()
    assert await scene.world.scalar("SELECT external_id FROM provider_refund") == made["id"]
    assert await scene.posted(order) == [10000, -10000]


async def test_a_refund_that_is_too_large_is_refused(scene: StripeScene) -> None:
    order, payment = await scene.paid()
    scene.stripe.ask("POST", "refunds", account=scene.account, payment_intent=payment, amount="4000")
    await scene.world.mutate("refundOrder", by=scene.donations.holder, id=order)
    await scene.send_refunds()
    assert await scene.status(order) is OrderStatus.PAID
    assert await scene.world.scalar("SELECT status FROM provider_refund") == "FAILED"
    assert await scene.world.balance(scene.donations.babel) == (8680, 0)


@pytest.mark.parametrize("status", [429, 503])
async def test_while_stripe_is_away_nothing_is_stored(scene: StripeScene, status: int) -> None:
    scene.stripe.set_up(status=status)
    payload = await scene.give()
    assert error_code(payload) == "UNAVAILABLE"
    assert await scene.world.scalar("SELECT count(*) FROM provider_payment") == 0
    scene.stripe.set_up(status=0)
    assert (await scene.give())["errors"] == []


async def test_a_refund_waits_while_stripe_is_away(scene: StripeScene) -> None:
    order, _ = await scene.paid()
    await scene.world.mutate("refundOrder", by=scene.donations.holder, id=order)
    scene.stripe.set_up(status=500)
    with pytest.raises(ProviderAway):
        await scene.send_refunds()
    assert await scene.world.scalar("SELECT away_since IS NOT NULL FROM provider_account")
    scene.stripe.set_up(status=0)
    await scene.send_refunds()
    assert await scene.status(order) is OrderStatus.REFUNDED
    assert await scene.world.scalar("SELECT away_since IS NULL FROM provider_account")


async def test_an_amount_that_stripe_refuses_is_told(scene: StripeScene) -> None:
    scene.stripe.set_up(left=[scene.account])
    payload = await scene.give()
    assert error_code(payload) == "INVALID_STATE"
    assert "No such account." in payload["errors"][0]["message"]
    assert await scene.world.scalar("SELECT count(*) FROM provider_payment") == 0


async def test_a_currency_without_decimals_is_given_in_whole_units(scene: StripeScene) -> None:
    yen = await scene.donations.community("yen", scene.donations.host, scene.donations.friend, currency="JPY")
    await scene.world.rate("JPY", "USD", "0.0067")
    payload = await scene.give(to=ref(yen), amount=money("1000", "JPY"))
    assert payload["errors"] == []
    assert "amount=1000&currency=jpy" in scene.stripe.set_up()[-1]["body"]


async def test_no_secret_is_in_what_is_stored_or_answered(scene: StripeScene) -> None:
    order, _ = await scene.paid()
    found = await scene.world.scalar("SELECT json_agg(p)::text FROM provider_payment p")
    assert "_secret_" not in json.dumps(found)
    async with scene.world.sessions() as session:
        assert (await session.execute(select(Instrument))).scalars().all() == []
    assert order
