"""Charges of recurring gifts that wait, are given up, or come for a gift that stopped."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models import now
from models.enums import GiftStatus, ProviderName
from services.core import public_ids
from services.payments import charges, waiting
from services.providers import fake
from services.providers.fake import (
    PAYS_LATE,
    STEP_LATER,
    FakeProvider,
)
from services.providers.offered import offered
from services.providers.protocol import (
    Charged,
    ChargeRequest,
    CollectRequest,
    EventKind,
    ProviderAway,
    ProviderRefused,
    Started,
)
from tests.card_gift_world import (
    ForgetfulProvider,
    ask,
    change,
    charge,
    charge_and_hear,
    due,
    last_order,
    load,
    orders,
    run_as_owner,
)
from tests.factories import World, money
from tests.payment_world import CardScene, order_of, payment_of, spend


@pytest.fixture
async def scene(world: World) -> CardScene:
    """Return a host that takes cards, with fees of 5 % for it and for the platform."""
    return await CardScene.create(world)


class AwayProvider(FakeProvider):
    """A provider that does not answer."""

    async def charge(self, _: ChargeRequest, /) -> Charged:
        """Do not answer."""
        raise ProviderAway


async def test_a_provider_that_is_away_is_not_the_givers_fault(scene: CardScene) -> None:
    gift = await due(scene)
    for _ in range(3):
        run_as_owner(scene, "UPDATE subscription SET due_at = now()")
        with pytest.raises(ProviderAway):
            await charge(scene, {ProviderName.FAKE: AwayProvider()})
    row = await load(scene, gift)
    assert (row.status, row.failures) == (GiftStatus.ACTIVE, 0)
    told = "SELECT count(*) FROM outbox WHERE template = 'provider_away'"
    assert await scene.world.scalar(told) == 1
    run_as_owner(scene, "UPDATE subscription SET due_at = now()")
    await charge_and_hear(scene)
    assert await orders(scene) == ["PAID", "PAID"]


async def test_an_account_that_takes_no_payments_delays_the_gift(scene: CardScene) -> None:
    gift = await due(scene)
    run_as_owner(scene, "UPDATE provider_account SET status = 'DISABLED'")
    assert await ask(scene) == []
    row = await load(scene, gift)
    assert (row.status, row.failures, row.delays) == (GiftStatus.ACTIVE, 0, 1)
    assert await orders(scene) == ["PAID"]


class RefusingProvider(FakeProvider):
    """A provider that does not take the request, whatever the card is."""

    async def charge(self, _: ChargeRequest, /) -> Charged:
        """Refuse before anything is sent."""
        raise ProviderRefused("The account is restricted.")


async def test_what_the_provider_does_not_take_is_not_the_givers_fault(scene: CardScene) -> None:
    gift = await due(scene)
    await charge(scene, {ProviderName.FAKE: RefusingProvider()})
    row = await load(scene, gift)
    assert (row.status, row.failures, row.delays) == (GiftStatus.ACTIVE, 0, 1)
    assert await orders(scene) == ["PAID", "PENDING"]
    run_as_owner(scene, "UPDATE subscription SET due_at = now()")
    await charge_and_hear(scene)
    assert await orders(scene) == ["PAID", "PAID"]


async def test_a_disabled_account_is_not_asked(scene: CardScene) -> None:
    gift = await due(scene)
    (order_id,) = await ask(scene)
    run_as_owner(scene, "UPDATE provider_account SET status = 'DISABLED'")
    provider = ForgetfulProvider()
    await charges.charge(scene.world.sessions, {ProviderName.FAKE: provider}, order_id=order_id)
    assert (provider.begun, provider.keys) == ([], [])
    row = await load(scene, gift)
    assert (row.status, row.failures, row.delays) == (GiftStatus.ACTIVE, 0, 1)


class SlowProvider(ForgetfulProvider):
    """A provider that takes so long to begin a payment that its gift is paused meanwhile."""

    def __init__(self, scene: CardScene, gift: str) -> None:
        """Keep the gift that is paused."""
        super().__init__()
        self.scene, self.gift = scene, gift

    async def start(self, request: CollectRequest) -> Started:
        """Begin a payment, after its giver has paused the gift."""
        assert (await change(self.scene, "pauseSubscription", self.gift))["errors"] == []
        return await super().start(request)


async def test_a_gift_that_is_paused_while_its_payment_begins_is_not_charged(scene: CardScene) -> None:
    gift = await due(scene)
    provider = SlowProvider(scene, gift)
    await charge(scene, {ProviderName.FAKE: provider})
    assert (len(provider.begun), provider.keys) == (1, [])
    assert await waiting.cancel_unpaid(scene.world.sessions, offered(scene.world.settings)) == 1
    assert await orders(scene) == ["PAID", "CANCELLED"]


def _let_be_late(scene: CardScene, days: int) -> None:
    """Let the present period have begun some days ago: as the owner, without the guards of what is fixed."""
    tables = (
        ("subscription", "subscription_update_guard", "next_charge_on", "true"),
        ('"order"', "order_terms_guard", "period", "status = 'PENDING'"),
    )
    for table, guard, column, condition in tables:
        run_as_owner(
            scene,
            f"ALTER TABLE {table} DISABLE TRIGGER {guard}",
            f"UPDATE {table} SET {column} = {column} - {days} WHERE {condition}",
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {guard}",
        )


@pytest.mark.parametrize(("days", "is_given_up"), [(13, False), (20, True)])
async def test_a_period_that_could_not_be_charged_for_two_weeks_is_skipped(
    scene: CardScene, days: int, is_given_up: bool
) -> None:
    gift = await due(scene)
    (order_id,) = await ask(scene)
    _let_be_late(scene, days)
    run_as_owner(
        scene,
        "UPDATE provider_payment SET created_at = created_at - interval '30 days' WHERE status = 'OPEN'",
        "UPDATE subscription SET due_at = now()",
    )
    assert (await ask(scene) == []) is is_given_up
    providers = offered(scene.world.settings)
    assert await waiting.cancel_unpaid(scene.world.sessions, providers) == int(is_given_up)
    await charges.charge(scene.world.sessions, providers, order_id=order_id)
    await scene.process_all()
    row = await load(scene, gift)
    assert (row.status, row.failures) == (GiftStatus.ACTIVE, 0)
    assert row.next_charge_on > now().date() - timedelta(days=15)
    assert await orders(scene) == ["PAID", "CANCELLED" if is_given_up else "PAID"]


async def test_the_day_stays_while_a_period_is_charged(scene: CardScene) -> None:
    gift = await due(scene)
    await ask(scene)
    day = (await load(scene, gift)).anchor_day % 28 + 1
    refused = await change(scene, "updateSubscription", gift, anchorDay=day)
    assert [(error["code"], error["path"]) for error in refused["errors"]] == [
        ("INVALID_STATE", ["input", "anchorDay"])
    ]
    moved = f"UPDATE subscription SET anchor_day = {day}, is_anchor_changed = true"
    async with scene.world.sessions() as session:
        with pytest.raises(DBAPIError, match="the day moves once a period"):
            await session.execute(text(moved))
    (order_id,) = await ask(scene) or [await last_order(scene)]
    await charges.charge(scene.world.sessions, offered(scene.world.settings), order_id=order_id)
    await scene.process_all()
    changed = await change(scene, "updateSubscription", gift, anchorDay=day)
    assert changed["errors"] == []


async def test_a_payment_waits_again_only_for_a_recurring_gift(scene: CardScene) -> None:
    order = order_of(await scene.give())
    await scene.tell(scene.event(EventKind.PROCESSING, order))
    again = "UPDATE provider_payment SET status = 'OPEN' WHERE status = 'PROCESSING'"
    async with scene.world.sessions() as session:
        with pytest.raises(DBAPIError, match="provider_payment"):
            await session.execute(text(again))


async def test_what_waits_is_told_with_its_tip(scene: CardScene) -> None:
    await due(scene, STEP_LATER, platformTip=money("1.50"))
    await charge_and_hear(scene)
    order = public_ids.encode("Order", await last_order(scene))
    query = "query($id: ID!) { order(id: $id) { waitingPayment { amount { value currency } } } }"
    seen = await scene.world.query(query, by=scene.giver, id=order)
    assert seen["order"]["waitingPayment"] == {"amount": money("11.50")}


async def test_a_payee_that_leaves_its_host_between_charge_and_word_gets_nothing(scene: CardScene) -> None:
    gift = await due(scene, PAYS_LATE)
    (order_id,) = await ask(scene)
    await charges.charge(scene.world.sessions, offered(scene.world.settings), order_id=order_id)
    balance_minor, _ = await scene.world.balance(scene.donations.babel)
    await spend(scene, f"{balance_minor / 100:.2f}")
    other = await scene.donations.host_of("elsewhere")
    async with scene.world.sessions.begin() as session:
        await session.execute(
            text("UPDATE collective SET host_id = :host, host_approved_at = now() WHERE id = :id"),
            {"host": other.id, "id": scene.donations.babel.id},
        )
    assert await scene.process_all() == "The payee has left the host that collected the money."
    assert await orders(scene) == ["PAID", "CANCELLED"]
    assert (await load(scene, gift)).status == GiftStatus.PAUSED
    assert await scene.world.scalar("SELECT count(*) FROM provider_refund WHERE is_stray") == 1
    assert await scene.world.scalar("SELECT count(*) FROM transaction WHERE order_id = :id", id=order_id) == 0


async def test_a_gift_that_stops_before_it_is_charged_is_not(scene: CardScene) -> None:
    gift = await due(scene)
    (order_id,) = await ask(scene)
    assert (await change(scene, "pauseSubscription", gift))["errors"] == []
    provider = ForgetfulProvider()
    await charges.charge(scene.world.sessions, {ProviderName.FAKE: provider}, order_id=order_id)
    assert (provider.begun, provider.keys) == ([], [])
    assert await waiting.cancel_unpaid(scene.world.sessions, offered(scene.world.settings)) == 1
    assert await orders(scene) == ["PAID", "CANCELLED"]
    resumed = await change(scene, "resumeSubscription", gift)
    assert resumed["errors"] == []
    assert await ask(scene) == []


async def test_what_was_charged_while_a_gift_was_paused_is_paid_once(scene: CardScene) -> None:
    gift = await due(scene, PAYS_LATE)
    await charge(scene)
    assert (await change(scene, "pauseSubscription", gift))["errors"] == []
    await scene.process_all()
    assert await orders(scene) == ["PAID", "PAID"]
    row = await load(scene, gift)
    assert (row.status, row.next_charge_on > now().date()) == (GiftStatus.PAUSED, True)
    assert (await change(scene, "resumeSubscription", gift))["errors"] == []
    assert await ask(scene) == []


async def test_money_for_a_suspended_host_goes_back(scene: CardScene) -> None:
    gift = await due(scene, PAYS_LATE)
    await charge(scene)
    run_as_owner(
        scene,
        "UPDATE collective SET host_suspended_at = now(), host_suspension_reason = 'Closed'"
        f" WHERE id = '{scene.donations.host.id}'",
    )
    assert await scene.process_all() == "The host was suspended when the money came."
    assert await orders(scene) == ["PAID", "CANCELLED"]
    assert (await load(scene, gift)).status == GiftStatus.PAUSED


async def test_a_payment_that_is_given_up_at_the_provider_skips_its_period(scene: CardScene) -> None:
    gift = await due(scene, STEP_LATER)
    await charge_and_hear(scene)
    order = public_ids.encode("Order", await last_order(scene))
    await scene.tell(fake.build_event(EventKind.CANCELLED, account=scene.account, payment=payment_of(order)))
    row = await load(scene, gift)
    assert (row.status, row.next_charge_on > now().date()) == (GiftStatus.ACTIVE, True)
    assert await orders(scene) == ["PAID", "FAILED"]


async def test_a_giver_who_cancels_the_order_of_a_period_skips_it(scene: CardScene) -> None:
    gift = await due(scene)
    (order_id,) = await ask(scene)
    cancelled = await scene.world.mutate(
        "cancelOrder", by=scene.giver, id=public_ids.encode("Order", order_id)
    )
    assert cancelled["errors"] == []
    assert await waiting.cancel_unpaid(scene.world.sessions, offered(scene.world.settings)) == 1
    row = await load(scene, gift)
    assert (row.status, row.next_charge_on > now().date()) == (GiftStatus.ACTIVE, True)
    assert await orders(scene) == ["PAID", "CANCELLED"]
