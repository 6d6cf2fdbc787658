"""The job that charges recurring gifts: its days, its order a period, and what a refusal leads to."""

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest

from models.enums import GiftInterval, GiftStatus, OrderStatus, PaymentMethodKind
from services.approvals import decisions
from services.recurring import charging
from tests.donation_world import DonationScene
from tests.factories import World, money, ref
from tests.gift_world import (
    all_gifts,
    at,
    begun,
    begun_on,
    charge,
    give,
    load,
    mails,
    move_to_last_year,
    orders_of,
    spend,
    today,
)

PAID, FAILED, PENDING = OrderStatus.PAID, OrderStatus.FAILED, OrderStatus.PENDING
JANUARY = date(2026, 1, 31)


@pytest.fixture
async def scene(world: World) -> DonationScene:
    """Return a scene in which webpack has 100.00."""
    return await DonationScene.create(world)


async def test_a_gift_of_31_january_is_charged_on_the_last_days_of_shorter_months(
    scene: DonationScene,
) -> None:
    gift = await begun_on(scene, JANUARY)
    days = [JANUARY, date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30)]
    for day in days:
        assert await charge(scene, day - timedelta(days=1)) == 0
        assert await charge(scene, day) == 1
    assert await orders_of(scene, gift) == [(str(day), PAID) for day in days]
    assert (await load(scene, gift)).next_charge_on == date(2026, 5, 31)
    assert await scene.world.balance(scene.babel) == (4000, 0)
    await scene.world.assert_clean_ledger()


async def test_a_charge_has_the_history_mails_and_live_events_of_any_donation(scene: DonationScene) -> None:
    world = scene.world
    await begun_on(scene, JANUARY, description="Thanks")
    events = "SELECT count(*) FROM live_event WHERE kind IN ('ORDER', 'TRANSACTION')"
    before = await world.scalar(events)
    await charge(scene, JANUARY)
    query = """{ orders(filter: {type: [DONATION]}) { nodes { status period description createdBy { slug }
        actions { type toStatus actor { slug } } transactions { kind amount { value } } } } }"""
    (order,) = (await world.query(query))["orders"]["nodes"]
    assert order == {
        "status": "PAID",
        "period": "2026-01-31",
        "description": "Thanks",
        "createdBy": None,
        "actions": [
            {"type": "CREATE", "toStatus": "PENDING", "actor": None},
            {"type": "PAY", "toStatus": "PAID", "actor": None},
        ],
        "transactions": [{"kind": "DONATION", "amount": {"value": "10.00"}}],
    }
    assert await world.scalar(events) == before + 2
    assert ("money_received", "friend") in await mails(scene, "money")
    backer = "SELECT count(*) FROM member WHERE role = 'BACKER' AND member_id = :id"
    assert await world.scalar(backer, id=scene.webpack.id) == 1


@pytest.mark.parametrize(("late", "charged"), [(3, True), (14, True), (15, False)])
async def test_a_server_that_was_away_charges_once_and_keeps_the_day(
    scene: DonationScene, late: int, charged: bool
) -> None:
    gift = await begun_on(scene, JANUARY)
    assert await charge(scene, JANUARY + timedelta(days=late)) == 1
    assert await orders_of(scene, gift) == ([("2026-01-31", PAID)] if charged else [])
    row = await load(scene, gift)
    assert (row.next_charge_on, row.status) == (date(2026, 2, 28), GiftStatus.ACTIVE)
    assert await mails(scene) == ([] if charged else [("gift_skipped", "giver")])


async def test_of_two_periods_the_older_is_left_out_and_the_other_charged(scene: DonationScene) -> None:
    gift = await begun_on(scene, JANUARY)
    await charge(scene, date(2026, 3, 5))
    assert await orders_of(scene, gift) == [("2026-02-28", PAID)]
    assert await mails(scene) == [("gift_skipped", "giver")]


async def test_a_refused_charge_is_tried_on_four_more_days_and_then_ends_the_gift(
    scene: DonationScene,
) -> None:
    await spend(scene, "95.00")
    gift = await begun_on(scene, JANUARY)
    failures = []
    for offset in range(16):
        failures += [offset] * await charge(scene, JANUARY + timedelta(days=offset))
    assert failures == [0, 2, 4, 9, 14]
    assert await orders_of(scene, gift) == [("2026-01-31", FAILED)]
    row = await load(scene, gift)
    assert (row.status, row.due_at, row.failures) == (GiftStatus.CANCELLED, None, 5)
    assert await mails(scene) == [
        ("gift_refused", "giver"),
        ("gift_refused", "giver"),
        ("gift_ended", "friend"),
        ("gift_ended", "giver"),
    ]
    steps = """SELECT string_agg(a.type || ' ' || a.to_status, ',' ORDER BY a.at, a.id)
        FROM order_action a JOIN "order" o ON o.id = a.order_id WHERE o.subscription_id = :id"""
    assert await scene.world.scalar(steps, id=gift.id) == "CREATE PENDING" + ",FAIL FAILED" * 5
    assert await scene.world.balance(scene.webpack) == (500, 0)


async def test_a_charge_that_succeeds_in_the_end_is_paid_in_its_own_order(scene: DonationScene) -> None:
    world = scene.world
    await spend(scene, "95.00")
    gift = await begun_on(scene, JANUARY)
    await charge(scene, JANUARY)
    row = await load(scene, gift)
    assert (row.status, row.failures, row.next_charge_on) == (GiftStatus.PAST_DUE, 1, JANUARY)
    await world.fund(scene.webpack, "10.00", by=scene.holder)
    await charge(scene, JANUARY + timedelta(days=2))
    assert await orders_of(scene, gift) == [("2026-01-31", PAID)]
    row = await load(scene, gift)
    assert (row.status, row.failures, row.next_charge_on) == (GiftStatus.ACTIVE, 0, date(2026, 2, 28))
    assert await world.balance(scene.webpack) == (500, 0)
    await world.assert_clean_ledger()


async def test_a_missing_rate_is_ours_and_told_the_third_time(scene: DonationScene) -> None:
    world = scene.world
    berlin = await world.community("berlin", scene.host, scene.friend, currency="EUR")
    gift = await begun_on(scene, JANUARY, to_id=berlin.id, currency="EUR")
    for count, told in ((1, 0), (2, 0), (3, 1), (4, 1)):
        moment = at(JANUARY, 12) + (count - 1) * timedelta(hours=6)
        assert await charging.charge_due(world.sessions, at=moment) == 1
        assert await charging.charge_due(world.sessions, at=moment + timedelta(hours=5)) == 0
        assert len(await mails(scene)) == told
    row = await load(scene, gift)
    assert (row.status, row.failures, row.delays) == (GiftStatus.ACTIVE, 0, 4)
    assert await orders_of(scene, gift) == []
    await world.rate("EUR", "USD", "1.10")
    await charge(scene, JANUARY + timedelta(days=2))
    assert await orders_of(scene, gift) == [("2026-01-31", PAID)]
    assert (await load(scene, gift)).delays == 0


async def test_a_full_clearing_limit_between_hosts_is_not_the_payers_fault(scene: DonationScene) -> None:
    world = scene.world
    other = await scene.host_of("other")
    payee = await scene.community("payee", other, scene.friend)
    limit = await world.mutate(
        "setClearingLimit",
        "clearing { limit { value } }",
        by=scene.holder,
        host=ref(other),
        counterpart=ref(scene.host),
        amount=money("5.00"),
    )
    assert limit["errors"] == []
    gift = await begun_on(scene, JANUARY, to_id=payee.id)
    await charge(scene, JANUARY)
    row = await load(scene, gift)
    assert (row.status, row.delays) == (GiftStatus.ACTIVE, 1)
    assert await orders_of(scene, gift) == []


async def test_a_transfer_is_asked_for_five_days_earlier_and_expires_with_the_next(
    scene: DonationScene,
) -> None:
    world = scene.world
    day = date(2026, 11, 10)
    gift = await begun_on(
        scene,
        day,
        payment_method_kind=PaymentMethodKind.MANUAL,
        due_at=at(day - timedelta(days=5), 0),
    )
    assert await charge(scene, day - timedelta(days=6)) == 0
    assert await charge(scene, day - timedelta(days=5)) == 1
    assert await orders_of(scene, gift) == [("2026-11-10", PENDING)]
    expires = 'SELECT expires_at::date::text FROM "order" WHERE subscription_id = :id'
    assert await world.scalar(expires, id=gift.id) == "2026-12-10"
    assert await mails(scene) == [("gift_transfer_due", "giver")]
    assert ("donation_expected", "holder") in await mails(scene, "donation")
    query = "{ orders(filter: {type: [DONATION]}) { nodes { id } } }"
    (order,) = (await world.query(query, by=scene.holder))["orders"]["nodes"]
    paid = await world.mutate("approveOrder", "order { status }", by=scene.holder, id=order["id"])
    assert paid["order"] == {"status": "PAID"}
    assert (await load(scene, gift)).next_charge_on == date(2026, 12, 10)


async def test_three_unpaid_transfers_in_a_row_pause_the_gift(scene: DonationScene) -> None:
    world = scene.world
    start = today() - timedelta(days=130)
    gift = await begun_on(
        scene, start, payment_method_kind=PaymentMethodKind.MANUAL, due_at=at(start - timedelta(days=5), 0)
    )
    row = await load(scene, gift)
    for count in range(1, 4):
        assert row.status == GiftStatus.ACTIVE
        await charge(scene, row.next_charge_on - timedelta(days=5))
        assert await expire(world) == 1
        row = await load(scene, gift)
        assert row.status == (GiftStatus.PAUSED if count == 3 else GiftStatus.ACTIVE)
    assert (row.paused_by, row.due_at) == ("PLATFORM", None)
    assert [status for _, status in await orders_of(scene, gift)] == ["EXPIRED"] * 3
    assert sorted(await mails(scene, "gift_paused")) == [("gift_paused", "friend"), ("gift_paused", "giver")]


async def expire(world: World) -> int:
    """Run the job that expires orders."""
    async with world.sessions.begin() as session:
        return await decisions.expire_due_orders(session)


async def test_a_gift_ends_after_the_day_that_its_payer_chose(scene: DonationScene) -> None:
    gift = await begun_on(scene, JANUARY, ends_after=date(2026, 3, 30))
    for day in (JANUARY, date(2026, 2, 28), date(2026, 3, 31)):
        await charge(scene, day)
    assert await orders_of(scene, gift) == [("2026-01-31", PAID), ("2026-02-28", PAID)]
    assert (await load(scene, gift)).status == GiftStatus.ENDED


async def test_a_pause_until_a_day_ends_on_it_and_leaves_out_what_was_missed(scene: DonationScene) -> None:
    day = today()
    gift_id = await begun(scene)
    until = day + timedelta(days=70)
    await scene.world.mutate("pauseSubscription", "", by=scene.giver, id=gift_id, until=str(until))
    (gift,) = await all_gifts(scene)
    assert await charge(scene, until - timedelta(days=1)) == 0
    await charge(scene, until)
    row = await load(scene, gift)
    assert (row.status, row.paused_by, row.resumes_on) == (GiftStatus.ACTIVE, None, None)
    assert row.next_charge_on >= until
    assert len(await orders_of(scene, gift)) in {1, 2}  # the second if the day is one of the gift's


async def test_four_workers_charge_each_gift_once(scene: DonationScene) -> None:
    world = scene.world
    await world.fund(scene.webpack, "5000.00", by=scene.holder)
    gifts = [await begun_on(scene, JANUARY, amount_minor=100 + n) for n in range(120)]
    done = await asyncio.gather(*(charging.charge_due(world.sessions, at=at(JANUARY)) for _ in range(4)))
    assert sum(done) == len(gifts)
    once = """SELECT count(*) || ' ' || count(DISTINCT subscription_id) FROM "order"
        WHERE status = 'PAID' AND period IS NOT NULL"""
    assert await world.scalar(once) == "120 120"
    await world.assert_clean_ledger()


async def test_the_first_donation_is_the_first_period(scene: DonationScene) -> None:
    payload = await give(scene)
    assert payload["order"]["status"] == "PAID"
    assert payload["order"]["period"] == str(today())
    assert payload["order"]["subscription"]["id"] == payload["subscription"]["id"]
    (gift,) = await all_gifts(scene)
    assert gift.interval == GiftInterval.MONTH
    assert await charge(scene, today()) == 0
    move_to_last_year(scene)
    assert await charge(scene, (await load(scene, gift)).next_charge_on) == 1
    assert len(await orders_of(scene, gift)) == 2


async def test_a_bug_in_one_gift_does_not_stop_the_others(scene: DonationScene, owner: Any) -> None:
    first, second = await begun_on(scene, JANUARY, amount_minor=666), await begun_on(scene, JANUARY)
    owner.execute(
        """CREATE FUNCTION break_it() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN IF NEW.amount = 666 THEN RAISE EXCEPTION ''a bug''; END IF; RETURN NEW; END'"""
    )
    owner.execute('CREATE TRIGGER break_it BEFORE INSERT ON "order" FOR EACH ROW EXECUTE FUNCTION break_it()')
    owner.commit()
    await charge(scene, JANUARY)
    assert await orders_of(scene, second) == [("2026-01-31", PAID)]
    row = await load(scene, first)
    assert (row.status, row.delays) == (GiftStatus.ACTIVE, 1)
