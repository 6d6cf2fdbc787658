"""Gifts by card: the provider's word decides, once, in whatever order it comes."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import col

from models import Instrument, ProviderEvent, new_id
from models.enums import OrderStatus, TransactionKind
from services.access import viewer_cache
from services.payments import fake_payments
from services.payments.fake_payments import Outcome
from services.payments.processing import FOREIGN, NotYetKnown
from services.providers import fake
from services.providers.offered import offered
from services.providers.protocol import EventKind
from tests.donation_world import decode_order_id, error_code
from tests.factories import World, money, ref
from tests.payment_world import CardScene, connect, order_of, payment_of

QUOTE = """query($to: CollectiveRef!, $amount: AmountInput!, $payWith: PaymentMethodRef) {
    donationQuote(to: $to, amount: $amount, payWith: $payWith) { gross { minorUnits }
    processorFee { minorUnits } platformFee { minorUnits } hostFee { minorUnits } net { minorUnits } } }"""


@pytest.fixture
async def scene(world: World) -> CardScene:
    """Return a host that takes cards, with fees of 5 % for it and for the platform."""
    return await CardScene.create(world)


async def test_a_gift_by_card_waits_for_the_provider_and_posts_what_was_quoted(scene: CardScene) -> None:
    babel = scene.donations.babel
    quote = (
        await scene.world.query(QUOTE, to=ref(babel), amount=money("100.00"), payWith={"id": scene.method})
    )["donationQuote"]
    order = order_of(await scene.give())
    assert await scene.transactions(order) == []

    assert await scene.tell(scene.event(EventKind.SUCCEEDED, order)) is None

    (posted,) = await scene.transactions(order)
    assert posted.kind == TransactionKind.DONATION
    assert (posted.gross, posted.payment_processor_fee, posted.platform_fee, posted.host_fee) == (
        10000,
        320,
        500,
        500,
    )
    assert (posted.to_host_amount, posted.to_collective_amount) == (9180, 8680)
    assert {name: int(quote[name]["minorUnits"]) for name in quote} == {
        "gross": posted.gross,
        "processorFee": posted.payment_processor_fee,
        "platformFee": posted.platform_fee,
        "hostFee": posted.host_fee,
        "net": posted.to_collective_amount,
    }
    assert await scene.status(order) is OrderStatus.PAID
    assert await scene.world.balance(babel) == (8680, 0)
    await scene.world.assert_clean_ledger()


async def test_the_providers_own_fee_counts(scene: CardScene) -> None:
    order = order_of(await scene.give())
    settled = {"currency": "USD", "gross_minor": 10000, "fee_minor": 175}
    await scene.tell(scene.event(EventKind.SUCCEEDED, order, settled=settled))
    (posted,) = await scene.transactions(order)
    assert (posted.payment_processor_fee, posted.to_collective_amount) == (175, 8825)


async def test_the_providers_own_rate_counts(scene: CardScene) -> None:
    donations = scene.donations
    euros = await donations.community("euros", donations.host, donations.friend, currency="EUR")
    await scene.world.rate("EUR", "USD", "1.1000")
    order = order_of(await scene.give(to=ref(euros), amount=money("100.00", "EUR")))
    settled = {"currency": "USD", "gross_minor": 11481, "fee_minor": 363}
    await scene.tell(scene.event(EventKind.SUCCEEDED, order, settled=settled))
    (posted,) = await scene.transactions(order)
    assert (posted.gross, posted.payment_processor_fee, posted.to_host_amount) == (11481, 363, 10544)
    assert posted.to_collective_amount == 8684
    await scene.world.assert_clean_ledger()


async def test_the_same_word_twenty_times_at_once_posts_one_transaction(scene: CardScene) -> None:
    order = order_of(await scene.give())
    event = scene.event(EventKind.SUCCEEDED, order)
    received = await asyncio.gather(*(scene.receive(event) for _ in range(20)))
    assert sorted(received) == [False] * 19 + [True]
    async with scene.world.sessions() as session:
        event_id = (await session.execute(select(col(ProviderEvent.id)))).scalar_one()

    await asyncio.gather(*(scene.process(event_id) for _ in range(20)))
    await scene.tell(scene.event(EventKind.SUCCEEDED, order))  # told once more, in other words

    assert len(await scene.transactions(order)) == 1
    assert await scene.world.balance(scene.donations.babel) == (8680, 0)


async def test_success_before_anything_else_and_the_rest_later(scene: CardScene) -> None:
    order = order_of(await scene.give())
    await scene.tell(scene.event(EventKind.SUCCEEDED, order))
    for late in (EventKind.PROCESSING, EventKind.FAILED, EventKind.CANCELLED):
        assert await scene.tell(scene.event(late, order)) is None
    assert await scene.status(order) is OrderStatus.PAID
    assert len(await scene.transactions(order)) == 1


async def test_a_word_about_an_order_that_is_not_stored_yet_waits(scene: CardScene) -> None:
    order_id = new_id()
    event = fake.build_event(
        EventKind.SUCCEEDED,
        account=scene.account,
        payment=fake.payment_of(order_id),
        order=order_id.hex,
    )
    await scene.receive(event)
    with pytest.raises(NotYetKnown):
        await scene.process_all()
    assert await scene.world.scalar("SELECT count(*) FROM provider_event WHERE processed_at IS NULL") == 1


async def test_a_word_about_an_order_that_is_never_stored_is_kept_with_a_note(scene: CardScene) -> None:
    order_id = new_id()
    event = fake.build_event(
        EventKind.SUCCEEDED, account=scene.account, payment=fake.payment_of(order_id), order=order_id.hex
    )
    await scene.receive(event)
    with psycopg.connect(scene.world.settings.owner_database_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE provider_event DISABLE TRIGGER provider_event_guard")
        owner.execute("UPDATE provider_event SET received_at = received_at - interval '25 hours'")
        owner.execute("ALTER TABLE provider_event ENABLE ALWAYS TRIGGER provider_event_guard")
    assert await scene.process_all() == FOREIGN


async def test_a_declined_card_ends_the_order(scene: CardScene) -> None:
    order = await scene.paid(number=fake.DECLINED)
    assert await scene.status(order) is OrderStatus.FAILED
    assert await scene.transactions(order) == []
    actions = (
        await scene.world.query(
            "query($id: ID!) { order(id: $id) { actions { type toStatus reason } } }",
            by=scene.giver,
            id=order,
        )
    )["order"]["actions"]
    assert actions[-1] == {"type": "FAIL", "toStatus": "FAILED", "reason": fake.DECLINED_REASON}


async def test_money_that_comes_for_a_closed_order_goes_back(scene: CardScene) -> None:
    order = order_of(await scene.give())
    payload = await scene.world.mutate("cancelOrder", by=scene.giver, id=order)
    assert payload["errors"] == []
    error = await scene.tell(scene.event(EventKind.SUCCEEDED, order))
    assert error == "The order was CANCELLED when the money came."
    await scene.send_refunds()
    assert await scene.transactions(order) == []
    assert await scene.world.scalar("SELECT status FROM provider_refund WHERE is_stray") == "CONFIRMED"


async def test_money_for_a_payee_that_left_its_host_meanwhile_goes_back(scene: CardScene) -> None:
    order = order_of(await scene.give())
    other = await scene.donations.host_of("elsewhere")
    async with scene.world.sessions.begin() as session:
        await session.execute(
            text("UPDATE collective SET host_id = :host, host_approved_at = now() WHERE id = :id"),
            {"host": other.id, "id": scene.donations.babel.id},
        )
    error = await scene.tell(scene.event(EventKind.SUCCEEDED, order))
    assert error == "The payee has left the host that collected the money."
    assert await scene.transactions(order) == []
    assert await scene.world.scalar("SELECT count(*) FROM provider_refund WHERE is_stray") == 1


async def test_a_host_cannot_be_left_while_a_card_gift_waits(scene: CardScene) -> None:
    order_of(await scene.give())
    payload = await scene.world.mutate(
        "leaveHost", by=scene.donations.friend, collective=ref(scene.donations.babel)
    )
    assert error_code(payload) == "INVALID_STATE"


@pytest.mark.parametrize("account", ["another", "foreign"])
async def test_a_word_about_somebody_elses_payment_does_nothing(scene: CardScene, account: str) -> None:
    order = order_of(await scene.give())
    if account == "another":
        other = await scene.donations.host_of("others")
        await connect(scene.world, other, scene.donations.holder)
        account = await scene.world.scalar(
            "SELECT external_id FROM provider_account WHERE host_id = :id", id=other.id
        )
    event = fake.build_event(EventKind.SUCCEEDED, account=account, payment=payment_of(order))
    assert await scene.tell(event) == FOREIGN
    assert await scene.status(order) is OrderStatus.PENDING


async def test_only_the_provider_pays_the_order(scene: CardScene) -> None:
    order = order_of(await scene.give())
    payload = await scene.world.mutate("approveOrder", by=scene.donations.holder, id=order)
    assert error_code(payload) == "INVALID_STATE"
    async with scene.world.sessions() as session:
        with pytest.raises(DBAPIError, match="when its provider says so"):
            await session.execute(
                text("UPDATE \"order\" SET status = 'PAID' WHERE id = :id"), {"id": decode_order_id(order)}
            )


async def test_the_test_cards_do_what_they_say(scene: CardScene) -> None:
    expected = {
        fake.SUCCEEDS: OrderStatus.PAID,
        fake.DECLINED: OrderStatus.FAILED,
        fake.NEEDS_STEP: OrderStatus.PAID,
        fake.PAYS_LATE: OrderStatus.PAID,
        fake.DECLINED_LATER: OrderStatus.PAID,
        fake.STEP_LATER: OrderStatus.PAID,
        fake.DISPUTED: OrderStatus.PAID,
        fake.DISPUTE_WON: OrderStatus.PAID,
        fake.DISPUTE_LOST: OrderStatus.REFUNDED,
    }
    assert set(expected) == set(fake.NUMBERS)
    await scene.world.fund(scene.donations.host, "100.00", by=scene.donations.holder)
    for number, status in expected.items():
        payload = await scene.give()
        order, secret = order_of(payload), payload["clientSecret"]
        if number == fake.NEEDS_STEP:
            assert await _pay(scene, secret, number) is Outcome.NEEDS_STEP
        outcome = Outcome.DECLINED if number == fake.DECLINED else Outcome.TAKEN
        assert await _pay(scene, secret, number, is_step_done=True) is outcome
        await scene.process_all()
        assert await scene.status(order) is status, number
    await scene.world.assert_clean_ledger()


async def _pay(scene: CardScene, secret: str, number: str, *, is_step_done: bool = False) -> Outcome:
    provider = next(iter(offered(scene.world.settings).values()))
    async with scene.world.sessions.begin() as session:
        return await fake_payments.pay(
            session, provider, client_secret=secret, number=number, is_step_done=is_step_done
        )


async def test_the_card_is_kept_by_its_last_digits_alone(scene: CardScene) -> None:
    await scene.paid()
    async with scene.world.sessions() as session:
        (kept,) = (await session.execute(select(Instrument))).scalars()
    assert (kept.owner_id, kept.brand, kept.last4) == (scene.giver.user.id, "Visa", "4242")


async def test_a_gift_is_begun_once_for_each_key_and_not_in_a_dry_run(scene: CardScene) -> None:
    first = await scene.give(idempotencyKey="k")
    again = await scene.give(idempotencyKey="k")
    assert first == again
    assert (await scene.give(dryRun=True))["errors"] == []
    assert await scene.world.scalar("SELECT count(*) FROM provider_payment") == 1


async def test_denials_store_nothing(scene: CardScene) -> None:
    world, donations = scene.world, scene.donations
    giving: dict[str, Any] = {
        "from": ref(scene.giver),
        "to": ref(donations.babel),
        "amount": money("100.00"),
        "payWith": {"id": scene.method},
    }
    bare = giving | {"payWith": {"type": "PROVIDER"}}
    await world.expect_problem(
        "donate", "INVALID_INPUT", ["input", "payWith", "type"], by=scene.giver, **bare
    )
    tiny = giving | {"amount": money("0.30")}
    await world.expect_problem("donate", "AMOUNT_TOO_SMALL", ["input", "amount"], by=scene.giver, **tiny)
    await world.expect_problem(
        "connectHost",
        "CONFLICT",
        ["input", "provider"],
        by=donations.holder,
        host=ref(donations.host),
        provider="FAKE",
    )
    body = await world.execute(
        "mutation($i: ConnectHostInput!) { connectHost(input: $i) { status } }",
        by=donations.friend,
        i={"host": ref(donations.host), "provider": "FAKE"},
    )
    assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_without_the_setting_no_provider_is_offered(scene: CardScene) -> None:
    methods = "query($s: String) { collective(slug: $s) { ... on Nonprofit { paymentMethods { id } } } }"
    read = partial(scene.world.query, methods, s=scene.donations.host.slug)
    for by in (None, scene.donations.holder):
        assert (await read(by=by))["collective"]["paymentMethods"] == [{"id": scene.method}]
    scene.world.settings = replace(scene.world.settings, fake_provider=False)
    viewer_cache.forget(scene.donations.holder.token)  # as in a process that starts with them
    for by in (None, scene.donations.holder):
        assert (await read(by=by))["collective"]["paymentMethods"] == []
    assert error_code(await scene.give()) == "INVALID_STATE"
    host = await scene.donations.host_of("unconnected")
    payload = await scene.world.mutate(
        "connectHost", by=scene.donations.holder, host=ref(host), provider="FAKE"
    )
    assert error_code(payload) == "INVALID_STATE"


async def test_a_disconnected_account_takes_nothing_more(scene: CardScene) -> None:
    order = order_of(await scene.give())
    await scene.tell(scene.event(EventKind.ACCOUNT_DISABLED, order))
    assert error_code(await scene.give()) == "INVALID_STATE"
    methods = await scene.world.query(
        "query($s: String) { collective(slug: $s) { ... on Nonprofit { paymentMethods { id } } } }",
        s=scene.donations.host.slug,
    )
    assert methods["collective"]["paymentMethods"] == []
