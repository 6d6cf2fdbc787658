"""Recurring gifts through Stripe: the card is kept at the first payment, and charged without its giver."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qs

import pytest

from models import RecurringGift
from models.enums import GiftStatus
from services.payments import charges
from services.providers.offered import offered
from services.providers.protocol import ProviderAway
from tests.card_gift_world import ask, charge, load, make_due, orders, run_as_owner
from tests.factories import World
from tests.stripe_server import StripeServer, run_stripe
from tests.stripe_world import StripeScene, stripe_scene

PAYMENT = "SELECT external_id FROM provider_payment ORDER BY created_at DESC LIMIT 1"
FEES = "SELECT array_agg(payment_processor_fee) FROM transaction WHERE kind = 'DONATION'"


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


async def _due(scene: StripeScene) -> str:
    """Begin a gift a month ago and pay it, so that a charge is due today; return its id."""
    payload = await scene.give("10.00", fields="subscription { id } clientSecret", interval="MONTH")
    assert payload["errors"] == [], payload
    scene.stripe.pay(payload["clientSecret"].partition("_secret_")[0], account=scene.account)
    await scene.tell_all()
    make_due(scene)
    return str(payload["subscription"]["id"])


def _asked(scene: StripeScene, ending: str) -> list[dict[str, list[str]]]:
    """Return the bodies of what was asked of the account at paths with an ending."""
    made = [r for r in scene.stripe.set_up() if r["account"] == scene.account]
    return [parse_qs(request["body"]) for request in made if request["path"].endswith(ending)]


async def test_the_card_is_kept_for_a_customer_and_charged_without_its_giver(scene: StripeScene) -> None:
    gift = await _due(scene)
    (begun,) = _asked(scene, "/payment_intents")
    customer = await scene.world.scalar("SELECT customer_id FROM instrument")
    assert (begun["setup_future_usage"], begun["customer"]) == (["off_session"], [customer])
    card = await scene.world.scalar("SELECT external_id FROM instrument WHERE brand || last4 = 'Visa4242'")

    await charge(scene)

    assert await orders(scene) == ["PAID", "PAID"]
    (_, again), (*_, charged) = _asked(scene, "/payment_intents"), _asked(scene, "/confirm")
    assert (again["customer"], "setup_future_usage" in again) == ([customer], False)
    assert (charged["off_session"], charged["payment_method"]) == (["true"], [card])
    assert await scene.world.scalar(FEES) == [59, 59]  # Stripe's own, not those of the method
    await scene.tell_all()
    assert await scene.world.scalar(FEES) == [59, 59]
    assert (await load(scene, gift)).status == GiftStatus.ACTIVE
    await scene.world.assert_clean_ledger()


@pytest.mark.parametrize("by", ["its word", "the same key", "another key"])
async def test_a_worker_that_is_killed_before_its_note_charges_once(
    scene: StripeScene, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    await _due(scene)
    (order_id,) = await ask(scene)

    async def die(*_: object) -> None:
        raise KeyboardInterrupt

    note = charges._take_answer
    monkeypatch.setattr(charges, "_take_answer", die)
    with pytest.raises(KeyboardInterrupt):
        await charges.charge(scene.world.sessions, offered(scene.world.settings), order_id=order_id)
    monkeypatch.setattr(charges, "_take_answer", note)
    assert await orders(scene) == ["PAID", "PENDING"]
    if by == "its word":
        await scene.tell_all()
        assert await orders(scene) == ["PAID", "PAID"]
    elif by == "another key":
        run_as_owner(scene, 'UPDATE "order" SET updated_at = now()')
    await charges.charge(scene.world.sessions, offered(scene.world.settings), order_id=order_id)
    assert await orders(scene) == ["PAID", "PAID"]
    assert await scene.world.scalar(FEES) == [59, 59]
    assert len(scene.stripe.ask("GET", "charges", account=scene.account)["data"]) >= 2
    payment = await scene.world.scalar(PAYMENT)
    intent = scene.stripe.ask("GET", f"payment_intents/{payment}", account=scene.account)
    assert intent["status"] == "succeeded"


async def test_a_declined_card_is_tried_again_with_the_same_payment(scene: StripeScene) -> None:
    gift = await _due(scene)
    scene.stripe.set_up(off_session="card_declined")
    await charge(scene)
    row = await load(scene, gift)
    assert (row.status, row.failures) == (GiftStatus.PAST_DUE, 1)
    assert await orders(scene) == ["PAID", "FAILED"]
    payment = await scene.world.scalar(PAYMENT)
    scene.stripe.set_up(off_session="")
    run_as_owner(scene, "UPDATE subscription SET due_at = now()")
    await charge(scene)
    assert await orders(scene) == ["PAID", "PAID"]
    assert await scene.world.scalar(PAYMENT) == payment
    assert (await load(scene, gift)).status == GiftStatus.ACTIVE


async def test_a_step_is_done_by_the_giver_with_a_card_that_is_kept_then(scene: StripeScene) -> None:
    gift = await _due(scene)
    before = await _card(scene, await load(scene, gift))
    scene.stripe.set_up(off_session="authentication_required")
    await charge(scene)
    assert (await load(scene, gift)).status == GiftStatus.PAST_DUE
    assert await scene.world.scalar("SELECT count(*) FROM outbox WHERE template = 'gift_step_needed'") == 1
    scene.stripe.set_up(off_session="")
    scene.stripe.pay(await scene.world.scalar(PAYMENT), account=scene.account)
    await scene.tell_all()
    assert await orders(scene) == ["PAID", "PAID"]
    row = await load(scene, gift)
    assert (row.status, row.failures) == (GiftStatus.ACTIVE, 0)
    assert await _card(scene, row) != before


async def _card(scene: StripeScene, row: RecurringGift) -> str:
    statement = "SELECT external_id FROM instrument WHERE id = :id"
    return str(await scene.world.scalar(statement, id=row.instrument_id))


async def test_while_stripe_is_away_nothing_counts(scene: StripeScene) -> None:
    gift = await _due(scene)
    scene.stripe.set_up(status=503)
    with pytest.raises(ProviderAway):
        await charge(scene)
    row = await load(scene, gift)
    assert (row.status, row.failures) == (GiftStatus.ACTIVE, 0)
    scene.stripe.set_up(status=0)
    run_as_owner(scene, "UPDATE subscription SET due_at = now()")
    await charge(scene)
    assert await orders(scene) == ["PAID", "PAID"]


async def test_an_account_that_left_is_not_the_givers_fault(scene: StripeScene) -> None:
    gift = await _due(scene)
    scene.stripe.set_up(left=[scene.account])
    await charge(scene)
    row = await load(scene, gift)
    assert (row.status, row.failures, row.delays) == (GiftStatus.ACTIVE, 0, 1)
