"""What Stripe tells, word for word as its documentation shows it with few fields, in any order.

localstripe tells of payments alone, so refunds by the host, disputes and accounts are written here.
"""

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from itertools import chain, permutations
from typing import Any

import psycopg
import pytest

from models import new_id
from models.enums import OrderStatus, TransactionKind
from services.payments import disputes, waiting
from services.payments.processing import FOREIGN, OTHER_MODE, NotYetKnown
from services.payments.returned import FAILED_LATE
from services.providers.offered import offered
from tests.donation_world import error_code
from tests.factories import World
from tests.stripe_server import StripeServer, encode, run_stripe, sign
from tests.stripe_world import WEBHOOK, StripeScene, stripe_scene


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


def event_of(account: str, kind: str, about: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Write an event as Stripe does."""
    return {
        "id": f"evt_{new_id().hex}",
        "object": "event",
        "api_version": "2026-10-29",
        "account": account,
        "created": int(time.time()),
        "livemode": False,
        "pending_webhooks": 1,
        "type": kind,
        "data": {"object": about},
    } | more


def intent_of(payment: str, status: str, **more: Any) -> dict[str, Any]:
    """Write a payment as Stripe does."""
    return {
        "id": payment,
        "object": "payment_intent",
        "amount": 10000,
        "currency": "usd",
        "status": status,
    } | more


def refund_of(payment: str, status: str = "succeeded", **more: Any) -> dict[str, Any]:
    """Write a refund as Stripe does."""
    return {
        "id": "re_1",
        "object": "refund",
        "amount": 4000,
        "charge": "ch_1",
        "currency": "usd",
        "metadata": {},
        "payment_intent": payment,
        "reason": "requested_by_customer",
        "status": status,
    } | more


def dispute_of(payment: str, status: str, **more: Any) -> dict[str, Any]:
    """Write a dispute as Stripe does."""
    moved = {"object": "balance_transaction", "amount": -10000, "currency": "usd", "fee": 1500, "net": -11500}
    return {
        "id": "dp_1",
        "object": "dispute",
        "amount": 10000,
        "balance_transactions": [moved],
        "charge": "ch_1",
        "currency": "usd",
        "payment_intent": payment,
        "reason": "fraudulent",
        "status": status,
    } | more


async def test_success_first_and_the_rest_in_any_order(scene: StripeScene) -> None:
    order, payment = await scene.paid()
    charge = scene.stripe.ask("GET", f"payment_intents/{payment}", account=scene.account)["latest_charge"]
    for name in chain(*permutations(["processing", "payment_failed", "canceled", "succeeded"])):
        told = event_of(
            scene.account, f"payment_intent.{name}", intent_of(payment, name, latest_charge=charge)
        )
        assert await scene.tell(told) is None
    assert await scene.status(order) is OrderStatus.PAID
    assert len(await scene.transactions(order)) == 1


async def test_a_payment_that_a_bank_refuses_days_later_ends_the_order(scene: StripeScene) -> None:
    order, payment = await scene.begun()
    await scene.tell(event_of(scene.account, "payment_intent.processing", intent_of(payment, "processing")))
    problem = {"code": "payment_intent_payment_attempt_failed", "message": "The bank has refused."}
    failed = intent_of(payment, "requires_payment_method", last_payment_error=problem)
    await scene.tell(event_of(scene.account, "payment_intent.payment_failed", failed))
    assert await scene.status(order) is OrderStatus.FAILED
    assert await scene.world.scalar("SELECT failure FROM provider_payment") == "The bank has refused."


async def test_a_late_word_of_a_refused_attempt_ends_no_payment(scene: StripeScene) -> None:
    order, payment = await scene.begun()
    await scene.tell(event_of(scene.account, "payment_intent.processing", intent_of(payment, "processing")))
    scene.stripe.pay(payment, account=scene.account)
    failed = intent_of(payment, "requires_payment_method", last_payment_error={"message": "Declined."})
    await scene.tell(event_of(scene.account, "payment_intent.payment_failed", failed))
    assert await scene.status(order) is OrderStatus.PENDING
    await scene.tell_all()
    assert await scene.status(order) is OrderStatus.PAID


async def test_what_was_collected_before_the_account_left_is_paid(scene: StripeScene) -> None:
    order, payment = await scene.begun()
    scene.stripe.pay(payment, account=scene.account)
    told = scene.stripe.events(account=scene.account)
    scene.stripe.set_up(left=[scene.account])
    with psycopg.connect(scene.world.settings.owner_database_url, autocommit=True) as owner:
        owner.execute("UPDATE provider_payment SET created_at = created_at - interval '25 hours'")
    assert await waiting.cancel_unpaid(scene.world.sessions, offered(scene.world.settings)) == 0
    assert await scene.status(order) is OrderStatus.PENDING
    for event in told:
        await scene.receive(event)
    assert await scene.process_all() is None
    assert await scene.status(order) is OrderStatus.PAID
    assert await scene.world.balance(scene.donations.babel) == (8680, 0)  # by the terms of the method


async def test_a_payment_that_is_given_up_at_stripe_cancels_the_order(scene: StripeScene) -> None:
    order, payment = await scene.begun()
    about = intent_of(payment, "canceled", cancellation_reason="abandoned")
    await scene.tell(event_of(scene.account, "payment_intent.canceled", about))
    assert await scene.status(order) is OrderStatus.CANCELLED


async def test_a_refund_by_the_host_at_stripe_is_posted_once(scene: StripeScene) -> None:
    order, payment = await scene.paid()
    for kind in ("refund.created", "refund.updated"):
        await scene.tell(event_of(scene.account, kind, refund_of(payment, "pending")))
    assert await scene.posted(order) == [10000]
    for kind in ("refund.updated", "refund.created", "refund.updated"):
        assert await scene.tell(event_of(scene.account, kind, refund_of(payment))) is None
    assert await scene.posted(order) == [10000, -4000]
    await scene.world.assert_clean_ledger()


async def test_a_refunded_charge_says_no_more_than_its_refund(scene: StripeScene) -> None:
    order, payment = await scene.paid()
    made = scene.stripe.ask("POST", "refunds", account=scene.account, payment_intent=payment, amount="4000")
    charge = {"id": made["charge"], "object": "charge", "amount_refunded": 4000, "payment_intent": payment}
    told = [
        event_of(scene.account, "charge.refunded", charge),
        event_of(scene.account, "refund.created", made),
        event_of(scene.account, "charge.refunded", charge),
    ]
    for event in told:
        assert await scene.tell(event) is None
    assert await scene.posted(order) == [10000, -4000]


async def test_a_refund_that_the_givers_bank_did_not_take_is_noted(scene: StripeScene) -> None:
    order, payment = await scene.paid()
    await scene.tell(event_of(scene.account, "refund.created", refund_of(payment)))
    failed = refund_of(payment, "failed", failure_reason="expired_or_canceled_card")
    assert await scene.tell(event_of(scene.account, "refund.failed", failed)) == FAILED_LATE
    assert await scene.posted(order) == [10000, -4000]


async def test_a_dispute_is_set_aside_and_lost_with_stripes_fee(scene: StripeScene) -> None:
    order, payment = await scene.paid()
    opened = event_of(scene.account, "charge.dispute.created", dispute_of(payment, "needs_response"))
    taken = event_of(scene.account, "charge.dispute.funds_withdrawn", dispute_of(payment, "needs_response"))
    for event in (opened, taken):
        assert await scene.tell(event) is None
    assert await scene.world.scalar("SELECT is_dispute_held FROM provider_payment")
    closed = event_of(scene.account, "charge.dispute.closed", dispute_of(payment, "lost"))
    assert await scene.tell(closed) is None
    kinds = [row.kind for row in await scene.transactions(order)]
    assert TransactionKind.DISPUTE_FEE in kinds
    assert await scene.status(order) is OrderStatus.REFUNDED
    await scene.world.assert_clean_ledger()


@pytest.mark.parametrize("status", ["lost", "won", "prevented", "charge_refunded"])
async def test_a_dispute_of_a_part_takes_the_part_alone(scene: StripeScene, status: str) -> None:
    order, payment = await scene.paid()
    part = {"amount": 2000, "balance_transactions": []}
    opened = dispute_of(payment, "needs_response", **part)
    assert await scene.tell(event_of(scene.account, "charge.dispute.created", opened)) is None
    assert await scene.world.balance(scene.donations.babel) == (8680, 2000)
    taken = dispute_of(payment, "needs_response", amount=2000)
    assert await scene.tell(event_of(scene.account, "charge.dispute.funds_withdrawn", taken)) is None
    assert await scene.world.balance(scene.donations.babel) == (8680, 3500)

    closed = dispute_of(payment, status, amount=2000)
    assert await scene.tell(event_of(scene.account, "charge.dispute.closed", closed)) is None
    is_lost = status == "lost"
    assert await scene.posted(order) == ([10000, -2000, 1500] if is_lost else [10000])
    assert await scene.status(order) is OrderStatus.PAID
    assert (await scene.world.balance(scene.donations.babel))[1] == 0
    await scene.world.assert_clean_ledger()


async def test_the_fee_of_a_dispute_in_another_currency_is_converted(scene: StripeScene) -> None:
    order, payment = await scene.paid()
    moved = {"amount": -9000, "currency": "eur", "fee": 1000, "net": -10000}
    lost = dispute_of(payment, "lost", balance_transactions=[moved])
    opened = dispute_of(payment, "needs_response", balance_transactions=[moved])
    assert await scene.tell(event_of(scene.account, "charge.dispute.created", opened)) == disputes.NO_RATE
    await scene.world.rate("EUR", "USD", "1.50")
    assert await scene.tell(event_of(scene.account, "charge.dispute.closed", lost)) is None
    assert (await scene.posted(order))[-1] == 1500


async def test_a_fee_that_is_told_after_the_end_leaves_a_note(scene: StripeScene) -> None:
    _, payment = await scene.paid()
    lost = dispute_of(payment, "lost", balance_transactions=[])
    assert await scene.tell(event_of(scene.account, "charge.dispute.closed", lost)) is None
    late = event_of(scene.account, "charge.dispute.funds_withdrawn", dispute_of(payment, "lost"))
    assert await scene.tell(late) == disputes.FEE_LATE


async def test_a_dispute_of_what_was_refunded_has_a_note_of_its_own(scene: StripeScene) -> None:
    _, payment = await scene.paid()
    await scene.tell(event_of(scene.account, "refund.created", refund_of(payment, amount=10000)))
    for status in ("needs_response", "lost"):
        told = event_of(scene.account, "charge.dispute.closed", dispute_of(payment, status))
        assert await scene.tell(told) == disputes.CLOSED


async def test_a_dispute_that_is_won_frees_everything(scene: StripeScene) -> None:
    order, payment = await scene.paid()
    won = event_of(scene.account, "charge.dispute.closed", dispute_of(payment, "won"))
    opened = event_of(scene.account, "charge.dispute.created", dispute_of(payment, "needs_response"))
    for event in (won, opened):
        assert await scene.tell(event) is None
    assert await scene.world.balance(scene.donations.babel) == (8680, 0)
    assert await scene.status(order) is OrderStatus.PAID


async def test_a_banks_question_is_no_dispute(scene: StripeScene) -> None:
    _, payment = await scene.paid()
    for status in ("warning_needs_response", "warning_closed"):
        about = dispute_of(payment, status, balance_transactions=[])
        assert await scene.tell(event_of(scene.account, "charge.dispute.created", about)) is None
    assert await scene.world.scalar("SELECT dispute_id FROM provider_payment") is None


async def test_only_the_account_itself_tells_whether_it_collects(scene: StripeScene) -> None:
    def told(*, charges: bool) -> dict[str, Any]:
        about = {"id": scene.account, "object": "account", "charges_enabled": charges}
        return event_of(scene.account, "account.updated", about)

    await scene.tell(told(charges=False))  # an old word: it collects again by now
    assert (await scene.give())["errors"] == []
    scene.stripe.set_up(accounts={scene.account: {"charges_enabled": False}})
    await scene.tell(told(charges=True))
    assert error_code(await scene.give()) in {"INVALID_STATE", "NOT_FOUND"}
    scene.stripe.set_up(accounts={scene.account: {"charges_enabled": True}})
    await scene.tell(told(charges=True))
    assert (await scene.give())["errors"] == []


async def test_an_account_that_leaves_the_platform_collects_no_more(scene: StripeScene) -> None:
    scene.stripe.set_up(left=[scene.account])
    about = {"id": "ca_commonweal", "object": "application"}
    await scene.tell(event_of(scene.account, "account.application.deauthorized", about))
    assert await scene.world.scalar("SELECT status FROM provider_account") == "DISABLED"
    assert error_code(await scene.give()) in {"INVALID_STATE", "NOT_FOUND"}


async def test_events_of_the_other_mode_do_nothing(scene: StripeScene) -> None:
    order, payment = await scene.begun()
    about = intent_of(payment, "succeeded", latest_charge="ch_1")
    told = event_of(scene.account, "payment_intent.succeeded", about, livemode=True)
    assert await scene.tell(told) == OTHER_MODE
    assert await scene.status(order) is OrderStatus.PENDING


@pytest.mark.parametrize("account", ["acct_another", ""])
async def test_events_of_other_accounts_do_nothing(scene: StripeScene, account: str) -> None:
    order, payment = await scene.begun()
    about = intent_of(payment, "canceled")
    assert await scene.tell(event_of(account, "payment_intent.canceled", about)) == FOREIGN
    assert await scene.status(order) is OrderStatus.PENDING


async def test_payments_that_a_host_takes_for_itself_are_not_ours(scene: StripeScene) -> None:
    for metadata in ({}, {"order": "6735"}, {"commonweal_order": "6735"}):
        about = intent_of("pi_of_its_shop", "canceled", metadata=metadata)
        assert await scene.tell(event_of(scene.account, "payment_intent.canceled", about)) == FOREIGN


async def test_a_word_about_an_order_that_is_not_stored_yet_waits(scene: StripeScene) -> None:
    about = intent_of("pi_soon", "canceled", metadata={"commonweal_order": new_id().hex})
    with pytest.raises(NotYetKnown):
        await scene.tell(event_of(scene.account, "payment_intent.canceled", about))
    assert await scene.world.scalar("SELECT count(*) FROM provider_event WHERE processed_at IS NULL") == 1


async def test_other_types_are_kept_and_say_nothing(scene: StripeScene) -> None:
    about = {"id": "po_1", "object": "payout"}
    assert await scene.tell(event_of(scene.account, "payout.paid", about)) is None


async def test_only_stripes_own_word_of_the_last_minutes_is_taken(scene: StripeScene) -> None:
    body = encode(event_of(scene.account, "payout.paid", {"id": "po_1"}))
    refused = [
        (body, {}),
        (body, sign(body, secret="whsec_of_somebody_else")),
        (body, sign(body, at=time.time() - 320)),
        (body, sign(body, at=time.time() + 320)),
        (body + b" ", sign(body)),
        (b"[]", sign(b"[]")),
        (b"\xff", {"stripe-signature": "t=1,v1=2"}),
        (b'{"type": "payout.paid"}', sign(b'{"type": "payout.paid"}')),
    ]
    for content, headers in refused:
        answer = await scene.client.post(WEBHOOK, content=content, headers=dict(headers))
        assert answer.status_code == 400, content
    assert await scene.world.scalar("SELECT count(*) FROM provider_event") == 0
    at = time.time() - 280
    answer = await scene.client.post(WEBHOOK, content=body, headers=dict(sign(body, at=at)))
    assert answer.status_code == 200


async def test_without_its_settings_stripe_is_not_offered(scene: StripeScene) -> None:
    settings = scene.world.settings
    scene.world.settings = replace(
        settings, stripe_secret="", stripe_webhook_secret="", stripe_client_id="", stripe_public_key=""
    )
    assert error_code(await scene.give()) == "INVALID_STATE"
    assert error_code(await scene.begin(await scene.donations.host_of("another"))) == "INVALID_STATE"
