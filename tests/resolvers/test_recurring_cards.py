"""Recurring gifts by card: charged once a period by the provider's word."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlmodel import col

from models import Order, RecurringGift, now
from models.enums import GiftStatus, ProviderName
from services.core import public_ids
from services.payments import charges, waiting
from services.providers import fake
from services.providers.fake import (
    DECLINED,
    DECLINED_LATER,
    PAYS_LATE,
    STEP_LATER,
    SUCCEEDS,
    FakeProvider,
)
from services.providers.offered import offered
from services.providers.protocol import (
    EventKind,
)
from tests.card_gift_world import (
    SUBSCRIPTION,
    ForgetfulProvider,
    ask,
    begun,
    change,
    charge,
    charge_and_hear,
    due,
    last_order,
    load,
    orders,
    pay,
    run_as_owner,
    waiting_payment,
)
from tests.donation_world import error_code
from tests.factories import World, ref
from tests.payment_world import CardScene

MAILS = "SELECT array_agg(template ORDER BY template) FROM outbox WHERE template LIKE 'gift_%'"


@pytest.fixture
async def scene(world: World) -> CardScene:
    """Return a host that takes cards, with fees of 5 % for it and for the platform."""
    return await CardScene.create(world)


async def test_a_period_is_charged_once_and_posted_with_the_real_fee(scene: CardScene) -> None:
    gift = await due(scene)
    (order_id,) = await ask(scene)
    assert await orders(scene) == ["PAID", "PENDING"]
    row = await load(scene, gift)
    await charges.charge(scene.world.sessions, offered(scene.world.settings), order_id=order_id)
    assert await orders(scene) == ["PAID", "PAID"]
    after = await load(scene, gift)
    assert (after.status, after.next_charge_on > row.next_charge_on) == (GiftStatus.ACTIVE, True)
    await charges.charge(scene.world.sessions, offered(scene.world.settings), order_id=order_id)
    await scene.process_all()
    assert await ask(scene) == []
    assert await scene.world.scalar("SELECT count(*) FROM transaction WHERE order_id = :id", id=order_id) == 1
    await scene.world.assert_clean_ledger()


@pytest.mark.parametrize("is_word_first", [True, False])
async def test_word_and_answer_come_in_any_order(scene: CardScene, *, is_word_first: bool) -> None:
    await due(scene)
    (order_id,) = await ask(scene)
    settled = {"currency": "USD", "gross_minor": 1000, "fee_minor": 17}
    event = fake.build_event(
        EventKind.SUCCEEDED,
        account=scene.account,
        payment=fake.payment_of(order_id),
        order=order_id.hex,
        settled=settled,
    )
    if is_word_first:
        await scene.tell(event)
    await charges.charge(scene.world.sessions, offered(scene.world.settings), order_id=order_id)
    await scene.tell(event)
    assert await orders(scene) == ["PAID", "PAID"]
    fees = "SELECT array_agg(payment_processor_fee) FROM transaction WHERE order_id = :id"
    assert await scene.world.scalar(fees, id=order_id) == [17 if is_word_first else 59]


async def test_the_word_twenty_times_at_once_pays_one_period(scene: CardScene) -> None:
    gift = await due(scene)
    (order_id,) = await ask(scene)
    for _ in range(20):
        await scene.receive(
            fake.build_event(
                EventKind.SUCCEEDED,
                account=scene.account,
                payment=fake.payment_of(order_id),
                order=order_id.hex,
            )
        )
    ids = await scene.world.scalar("SELECT array_agg(id) FROM provider_event WHERE processed_at IS NULL")
    providers = offered(scene.world.settings)
    await asyncio.gather(
        *(scene.process(event_id) for event_id in ids),
        charges.charge(scene.world.sessions, providers, order_id=order_id),
        charges.charge(scene.world.sessions, providers, order_id=order_id),
    )
    assert await orders(scene) == ["PAID", "PAID"]
    assert (await load(scene, gift)).next_charge_on > now().date()
    assert await scene.world.scalar("SELECT count(*) FROM transaction WHERE order_id = :id", id=order_id) == 1


async def test_a_worker_that_is_killed_between_charge_and_note_charges_once(scene: CardScene) -> None:
    gift = await due(scene)
    provider = ForgetfulProvider()
    with pytest.raises(KeyboardInterrupt):
        await charge(scene, {ProviderName.FAKE: provider})
    assert await orders(scene) == ["PAID", "PENDING"]
    assert await ask(scene) == []  # within the hour nobody asks again
    run_as_owner(scene, "UPDATE subscription SET due_at = now()")
    await charge(scene, {ProviderName.FAKE: provider})
    assert len(set(provider.keys)) == 1
    row = await load(scene, gift)
    assert provider.begun == [f"sub:{row.id.hex}:{now().date()}"]
    assert await orders(scene) == ["PAID", "PAID"]


async def test_a_declined_card_is_tried_again_and_ends_the_gift(scene: CardScene) -> None:
    gift = await due(scene, DECLINED_LATER)
    for failures in range(1, 5):
        await charge_and_hear(scene)
        row = await load(scene, gift)
        assert (row.status, row.failures) == (GiftStatus.PAST_DUE, failures)
        assert await orders(scene) == ["PAID", "FAILED"]
        assert row.failed_on is not None and row.due_at is not None
        days = (row.due_at.date() - row.failed_on).days
        assert days == (2, 4, 9, 14)[failures - 1]
        run_as_owner(
            scene,
            f"UPDATE subscription SET failed_on = current_date - {days}, due_at = now(),"
            f" next_charge_on = next_charge_on",
        )
    await charge_and_hear(scene)
    row = await load(scene, gift)
    assert (row.status, row.ended_reason) == (GiftStatus.CANCELLED, "The payment was refused for two weeks.")
    assert await scene.world.scalar(MAILS) == [
        "gift_card_refused",
        "gift_card_refused",
        "gift_ended",
        "gift_ended",
    ]
    assert await waiting.cancel_unpaid(scene.world.sessions, offered(scene.world.settings)) == 1
    assert await orders(scene) == ["PAID", "FAILED"]


async def test_a_step_is_asked_for_by_mail_and_done_by_the_giver(scene: CardScene) -> None:
    gift = await due(scene, STEP_LATER)
    await charge_and_hear(scene)
    assert (await load(scene, gift)).status == GiftStatus.PAST_DUE
    order_id = await last_order(scene)
    order = public_ids.encode("Order", order_id)
    payload = await scene.world.scalar("SELECT payload FROM outbox WHERE template = 'gift_step_needed'")
    assert payload["pay_page"] == f"{scene.donations.babel.slug}?order={order}"
    assert await waiting.cancel_unpaid(scene.world.sessions, offered(scene.world.settings)) == 0
    for by in (None, scene.donations.friend, scene.donations.holder):
        assert await waiting_payment(scene, order, by) is None
    secret = (await waiting_payment(scene, order, scene.giver))["clientSecret"]

    await pay(scene, secret, DECLINED)  # another card, which is refused: nothing counts
    assert (await load(scene, gift)).failures == 1
    await pay(scene, secret, SUCCEEDS)

    row = await load(scene, gift)
    assert (row.status, row.failures) == (GiftStatus.ACTIVE, 0)
    assert await orders(scene) == ["PAID", "PAID"]
    assert await _card_of(scene, row) == "4242"
    assert await waiting_payment(scene, order, scene.giver) is None
    await scene.world.assert_clean_ledger()


async def _card_of(scene: CardScene, row: RecurringGift) -> str:
    return str(await scene.world.scalar("SELECT last4 FROM instrument WHERE id = :id", id=row.instrument_id))


async def test_a_bank_that_takes_its_time_pays_the_period_later(scene: CardScene) -> None:
    gift = await due(scene, PAYS_LATE)
    await charge(scene)
    assert await scene.world.scalar("SELECT array_agg(DISTINCT status) FROM provider_payment") == [
        "PROCESSING",
        "SUCCEEDED",
    ]
    run_as_owner(scene, "UPDATE subscription SET due_at = now()")
    await charge(scene)  # it is not asked again while the bank works
    await scene.process_all()
    assert await orders(scene) == ["PAID", "PAID"]
    assert (await load(scene, gift)).status == GiftStatus.ACTIVE


async def test_what_a_bank_refuses_days_later_is_tried_again(scene: CardScene) -> None:
    gift = await due(scene, PAYS_LATE)
    (order_id,) = await ask(scene)
    await charges.charge(scene.world.sessions, offered(scene.world.settings), order_id=order_id)
    declined = fake.build_event(
        EventKind.DECLINED, account=scene.account, payment=fake.payment_of(order_id), failure="No."
    )
    run_as_owner(scene, "UPDATE provider_event SET processed_at = now() WHERE processed_at IS NULL")
    assert await scene.tell(declined) is None
    assert await orders(scene) == ["PAID", "FAILED"]
    row = await load(scene, gift)
    assert (row.status, row.failures) == (GiftStatus.PAST_DUE, 1)
    run_as_owner(scene, "UPDATE subscription SET due_at = now()")
    await charge_and_hear(scene)
    assert await orders(scene) == ["PAID", "PAID"]


async def test_a_new_card_is_tried_at_once(scene: CardScene) -> None:
    gift = await due(scene, DECLINED_LATER)
    await charge_and_hear(scene)
    assert (await load(scene, gift)).status == GiftStatus.PAST_DUE
    await begun(scene, SUCCEEDS)
    changed = await change(scene, "updateSubscription", gift, payWith={"id": scene.method})
    assert changed["errors"] == []
    assert changed["subscription"]["card"]["last4"] == "4242"
    await charge_and_hear(scene)
    assert (await load(scene, gift)).status == GiftStatus.ACTIVE
    refused = "SELECT count(*) FROM \"order\" WHERE status = 'FAILED'"
    assert await scene.world.scalar(refused) == 0


async def test_another_way_of_paying_takes_the_period_up(scene: CardScene) -> None:
    gift = await due(
        scene, DECLINED_LATER, **{"from": ref(scene.donations.webpack)}, by=scene.donations.giver
    )
    await charge_and_hear(scene)
    await scene.world.mutate(
        "updateSubscription", by=scene.donations.giver, id=gift, payWith={"type": "BALANCE"}
    )
    assert await ask(scene) == []
    assert await orders(scene) == ["PAID", "PAID"]
    assert await waiting.cancel_unpaid(scene.world.sessions, offered(scene.world.settings)) == 1
    assert await orders(scene) == ["PAID", "PAID"]


async def test_without_a_kept_card_no_gift_is_changed_to_one(scene: CardScene) -> None:
    payload = await scene.world.mutate(
        "donate",
        SUBSCRIPTION,
        by=scene.giver,
        amount={"value": "5.00", "currency": "USD"},
        interval="MONTH",
        payWith={"type": "MANUAL"},
        **{"from": ref(scene.giver), "to": ref(scene.donations.babel)},
    )
    gift, before = payload["subscription"]["id"], await scene.world.fingerprint()
    refused = await change(scene, "updateSubscription", gift, payWith={"id": scene.method})
    assert error_code(refused) == "INVALID_INPUT"
    assert await scene.world.fingerprint() == before


async def test_no_provider_is_asked_while_anything_is_locked(
    scene: CardScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[str]()
    sides = [scene.giver.user.id, scene.donations.babel.id]

    def watch(name: str) -> None:
        call = getattr(FakeProvider, name)

        async def look(self: FakeProvider, request: Any) -> Any:
            async with scene.world.sessions() as session:
                locked = select(col(RecurringGift.id)).with_for_update(nowait=True)
                await session.execute(locked)
                await session.execute(
                    text("SELECT FROM collective WHERE id = ANY(:ids) FOR UPDATE NOWAIT"), {"ids": sides}
                )
                await session.execute(select(col(Order.id)).with_for_update(nowait=True))
            asked.append(name)
            return await call(self, request)

        monkeypatch.setattr(FakeProvider, name, look)

    watch("start")
    watch("charge")
    await due(scene)
    await charge(scene)
    assert asked == ["start", "start", "charge"]
    assert await orders(scene) == ["PAID", "PAID"]
