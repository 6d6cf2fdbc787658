"""Recurring gifts through the API: beginning, changing, pausing, resuming and ending them."""

from datetime import date, timedelta
from typing import Any

import pytest

from models.enums import CollectiveType, GiftInterval, GiftStatus
from services.database import engine as database_engine
from services.recurring import charging, periods
from tests.conftest import Database
from tests.donation_world import DonationScene
from tests.factories import World, error_codes, money, public_id, ref
from tests.gift_world import (
    all_gifts,
    begun,
    begun_on,
    change,
    charge,
    give,
    load,
    mails,
    move_to_last_year,
    orders_of,
    problem_of,
    today,
)
from tests.tier_world import create_tier, event_of


@pytest.fixture
def database(shared_database: Database) -> Database:
    """Return the database in which the scene is."""
    return shared_database


@pytest.fixture
async def scene(shared: World) -> DonationScene:
    """Return a scene in which webpack has 100.00."""
    return await DonationScene.among_others(shared)


@pytest.fixture
async def alone(make_database: Any) -> Any:
    """Return a scene in a database of its own, for the job that charges all that is due."""
    database = make_database()
    engine = database_engine.create_pool(database.settings)
    world = await World.create(database.settings, database_engine.session_factory(engine))
    yield await DonationScene.create(world)
    await engine.dispose()


def donation(scene: DonationScene, **more: Any) -> dict[str, Any]:
    """Return the input of a gift of 10.00 a month."""
    terms = {
        "from": ref(scene.webpack),
        "to": ref(scene.babel),
        "amount": money("10.00"),
        "interval": "MONTH",
    }
    return {name: value for name, value in (terms | more).items() if value is not None}


async def test_a_donation_with_an_interval_begins_a_gift(scene: DonationScene) -> None:
    payload = await give(scene, description="Monthly")
    gift = payload["subscription"]
    assert gift.pop("id").startswith("sub_")
    following = periods.next_day(today(), GiftInterval.MONTH, today().day)
    assert gift == {
        "status": "ACTIVE",
        "interval": "MONTH",
        "anchorDay": today().day,
        "quantity": None,
        "amount": {"value": "10.00"},
        "nextChargeOn": str(following),
        "resumesOn": None,
        "pausedBy": None,
        "pauseReason": None,
        "endedReason": None,
        "failures": 0,
        "paymentMethodType": "BALANCE",
        "tier": None,
        "from": {"slug": scene.webpack.slug},
        "to": {"slug": scene.babel.slug},
    }
    assert payload["order"]["status"] == "PAID"
    assert await scene.world.balance(scene.babel) == (1000, 0)


async def test_a_gift_by_bank_transfer_waits_for_it_until_the_next_one(scene: DonationScene) -> None:
    payload = await give(scene, payWith={"type": "MANUAL"})
    assert payload["order"]["status"] == "PENDING"
    assert payload["order"]["expiresAt"][:10] == payload["subscription"]["nextChargeOn"]


async def test_the_same_key_returns_the_first_gift_and_a_dry_run_stores_none(scene: DonationScene) -> None:
    first = await give(scene, idempotencyKey="g")
    again = await give(scene, idempotencyKey="g")
    assert again["subscription"] == first["subscription"] and again["order"] == first["order"]
    before = await scene.world.fingerprint()
    dry = await give(scene, dryRun=True)
    assert dry["errors"] == [] and dry["subscription"]["status"] == "ACTIVE"
    assert await scene.world.fingerprint() == before


async def test_a_tier_with_an_interval_makes_its_gifts_repeat(scene: DonationScene) -> None:
    tier = await create_tier(scene, interval="YEAR")
    payload = await give(scene, tier=tier, interval=None, quantity=2, value="20.00")
    assert payload["errors"] == []
    gift = payload["subscription"]
    assert (gift["interval"], gift["quantity"], gift["tier"]) == ("YEAR", 2, {"name": "Backer"})


async def test_what_a_gift_cannot_be_is_refused(scene: DonationScene) -> None:
    world = scene.world
    yearly, ticket = await create_tier(scene, interval="YEAR"), await create_tier(scene, kind="TICKET")
    archived = await create_tier(scene)
    await world.mutate("archiveTier", by=scene.friend, id=archived)
    full = await create_tier(scene, capacity=1, interval="MONTH")
    await begun(scene, tier=full)
    early = await create_tier(scene, opensAt="2999-01-01T00:00Z")
    closed = await create_tier(scene, opensAt="2000-01-01T00:00Z", closesAt="2001-01-01T00:00Z")
    minimum = await create_tier(scene, pricing="FLEXIBLE", amount=None, minimum=money("11.00"))
    other = await create_tier(scene, of=scene.webpack, by=scene.giver)
    event = await event_of(scene)
    event_tier = await create_tier(scene, of=event, kind="DONATION")
    other_host = await scene.host_of("elsewhere")
    method = await world.mutate(
        "createPaymentMethod",
        "paymentMethod { id }",
        by=scene.holder,
        host=ref(other_host),
        name="Bank",
        type="MANUAL",
    )
    cases: list[tuple[dict[str, Any], tuple[str, str]]] = [
        ({"tier": yearly}, ("INVALID_INPUT", "input.interval")),
        ({"tier": ticket}, ("INVALID_INPUT", "input.interval")),
        ({"tier": event_tier}, ("INVALID_INPUT", "input.interval")),
        ({"tier": other}, ("INVALID_INPUT", "input.tier")),
        ({"tier": archived}, ("NOT_FOUND", "input.tier")),
        ({"tier": full}, ("LIMIT_EXCEEDED", "input.quantity")),
        ({"tier": early}, ("INVALID_STATE", "input.tier")),
        ({"tier": closed}, ("INVALID_STATE", "input.tier")),
        ({"tier": minimum}, ("INVALID_INPUT", "input.amount.value")),
        ({"tier": yearly, "interval": None, "quantity": 0}, ("INVALID_INPUT", "input.quantity")),
        ({"tier": yearly, "interval": None, "quantity": 1001}, ("INVALID_INPUT", "input.quantity")),
        ({"payWith": {"id": method["paymentMethod"]["id"]}}, ("NOT_FOUND", "input.payWith.id")),
        ({"amount": money("1.000", "CUR")}, ("INVALID_INPUT", "input.interval")),
        ({"endsAfter": "2020-01-01"}, ("INVALID_INPUT", "input.endsAfter")),
        ({"endsAfter": "2030-01-01", "interval": None}, ("INVALID_INPUT", "input.endsAfter")),
        (
            {
                "payWith": {"type": "MANUAL"},
                "expiresAt": (today() + timedelta(days=9)).isoformat() + "T00:00Z",
            },
            ("INVALID_INPUT", "input.expiresAt"),
        ),
        ({"amount": money("100.01")}, ("INSUFFICIENT_FUNDS", "input.amount")),
    ]
    for more, expected in cases:
        assert await problem_of(scene, "donate", **donation(scene, **more)) == expected, more


async def test_a_gift_keeps_its_place_until_it_ends_however_often_it_is_charged(alone: DonationScene) -> None:
    scene = alone
    tier = await create_tier(scene, interval="MONTH", capacity=3, maxPerPerson=2)
    gift_id = await begun(scene, tier=tier, quantity=2, value="20.00")
    move_to_last_year(scene)
    (gift,) = await all_gifts(scene)
    await charge(scene, gift.next_charge_on)
    sold = "SELECT sold FROM tier WHERE id = :id"
    assert await scene.world.scalar(sold, id=gift.tier_id) == 2
    more = donation(scene, tier=tier)
    assert await problem_of(scene, "donate", **more) == ("LIMIT_EXCEEDED", "input.quantity")
    await scene.world.mutate("updateTier", by=scene.friend, id=tier, amount=money("12.00"))
    following = (await load(scene, gift)).next_charge_on
    assert await charge(scene, following) == 1  # at the price of its beginning
    assert len(await orders_of(scene, gift)) == 3
    await change(scene, "cancelSubscription", gift_id)
    assert await scene.world.scalar(sold, id=gift.tier_id) == 0


async def test_the_payer_changes_amount_tier_and_way_of_paying_from_the_next_charge(
    alone: DonationScene,
) -> None:
    scene = alone
    gift_id = await begun(scene)
    payload = await change(scene, "updateSubscription", gift_id, amount=money("12.00"))
    assert payload["subscription"]["amount"] == {"value": "12.00"}
    move_to_last_year(scene)
    (gift,) = await all_gifts(scene)
    await charge(scene, gift.next_charge_on)
    assert await scene.world.balance(scene.babel) == (2200, 0)
    tier = await create_tier(scene, interval="MONTH")
    payload = await change(scene, "updateSubscription", gift_id, tier=tier, quantity=2)
    assert payload["subscription"]["amount"] == {"value": "20.00"}
    payload = await change(scene, "updateSubscription", gift_id, quantity=3)
    assert (payload["subscription"]["quantity"], payload["subscription"]["amount"]["value"]) == (3, "30.00")
    payload = await change(scene, "updateSubscription", gift_id, payWith={"type": "MANUAL"})
    assert payload["subscription"]["paymentMethodType"] == "MANUAL"
    payload = await change(scene, "updateSubscription", gift_id, tier=None, amount=money("7.00"))
    assert (payload["subscription"]["tier"], payload["subscription"]["amount"]["value"]) == (None, "7.00")
    assert await scene.world.scalar("SELECT sold FROM tier") == 0


async def test_the_day_moves_once_a_period(alone: DonationScene) -> None:
    scene = alone
    gift_id = await begun(scene)
    (gift,) = await all_gifts(scene)
    day = 1 if gift.anchor_day != 1 else 2
    payload = await change(scene, "updateSubscription", gift_id, anchorDay=day)
    assert payload["errors"] == []
    moved = date.fromisoformat(payload["subscription"]["nextChargeOn"])
    assert moved == periods.move_day(gift.next_charge_on, day, gift.interval, after=today())
    assert await problem_of(scene, "updateSubscription", id=gift_id, anchorDay=day + 1) == (
        "INVALID_STATE",
        "input.anchorDay",
    )
    move_to_last_year(scene)
    assert await charge(scene, (await load(scene, gift)).next_charge_on) == 1
    assert (await change(scene, "updateSubscription", gift_id, anchorDay=day + 1))["errors"] == []


async def test_changes_that_cannot_be_are_refused(scene: DonationScene) -> None:
    fixed = await create_tier(scene, interval="MONTH", capacity=5)
    yearly, ticket = await create_tier(scene, interval="YEAR"), await create_tier(scene, kind="TICKET")
    other = await create_tier(scene, of=scene.webpack, by=scene.giver)
    plain, in_tier = await begun(scene), await begun(scene, tier=fixed)
    cases: list[tuple[str, dict[str, Any], tuple[str, str]]] = [
        (plain, {}, ("INVALID_INPUT", "input")),
        (plain, {"quantity": 2}, ("INVALID_INPUT", "input.quantity")),
        (plain, {"tier": yearly}, ("INVALID_INPUT", "input.tier")),
        (plain, {"tier": ticket}, ("INVALID_INPUT", "input.tier")),
        (plain, {"tier": other}, ("INVALID_INPUT", "input.tier")),
        (plain, {"amount": money("0.00")}, ("INVALID_INPUT", "input.amount.value")),
        (plain, {"amount": money("5.00", "EUR")}, ("INVALID_INPUT", "input.amount.currency")),
        (plain, {"anchorDay": 0}, ("INVALID_INPUT", "input.anchorDay")),
        (plain, {"anchorDay": 32}, ("INVALID_INPUT", "input.anchorDay")),
        (
            plain,
            {"payWith": {"id": public_id("PaymentMethod", scene.babel.id)}},
            ("NOT_FOUND", "input.payWith.id"),
        ),
        (in_tier, {"quantity": 0}, ("INVALID_INPUT", "input.quantity")),
        (in_tier, {"quantity": 1001}, ("INVALID_INPUT", "input.quantity")),
        (in_tier, {"quantity": 6}, ("LIMIT_EXCEEDED", "input.quantity")),
        (in_tier, {"amount": money("11.00")}, ("INVALID_INPUT", "input.amount.value")),
        (public_id("RecurringGift", scene.babel.id), {"anchorDay": 3}, ("NOT_FOUND", "input.id")),
        (public_id("Order", scene.babel.id), {"anchorDay": 3}, ("INVALID_INPUT", "input.id")),
    ]
    for gift, more, expected in cases:
        assert await problem_of(scene, "updateSubscription", id=gift, **more) == expected, more


async def test_each_party_pauses_and_who_paused_resumes(scene: DonationScene) -> None:
    for by, party, others in (
        (scene.giver, "PAYER", (scene.friend, scene.holder)),
        (scene.friend, "PAYEE", (scene.giver,)),
        (scene.holder, "HOST", (scene.giver, scene.friend)),
    ):
        gift = await begun(scene, value="1.00")
        paused = await change(scene, "pauseSubscription", gift, by=by, reason="Later")
        assert (paused["subscription"]["status"], paused["subscription"]["pausedBy"]) == ("PAUSED", party)
        assert paused["subscription"]["pauseReason"] == "Later"
        assert await problem_of(scene, "pauseSubscription", by=by, id=gift) == ("INVALID_STATE", "input.id")
        for other in others:
            problem = await problem_of(scene, "resumeSubscription", by=other, id=gift)
            assert problem == ("INVALID_STATE", "input.id")
        resumed = await change(scene, "resumeSubscription", gift, by=by)
        assert (resumed["subscription"]["status"], resumed["subscription"]["pausedBy"]) == ("ACTIVE", None)
        assert await problem_of(scene, "resumeSubscription", by=by, id=gift) == ("INVALID_STATE", "input.id")


async def test_a_pause_and_an_end_tell_the_other_side(alone: DonationScene) -> None:
    scene = alone
    gift = await begun(scene)
    await change(scene, "pauseSubscription", gift)
    assert await mails(scene) == [("gift_paused", "friend")]
    await change(scene, "resumeSubscription", gift)
    await change(scene, "cancelSubscription", gift, by=scene.friend, reason="No more")
    assert await mails(scene) == [
        ("gift_paused", "friend"),
        ("gift_resumed", "friend"),
        ("gift_ended", "giver"),
    ]
    other = await begun(scene)
    ended = await change(scene, "cancelSubscription", other, by=scene.holder)
    assert (ended["subscription"]["status"], ended["subscription"]["nextChargeOn"]) == ("CANCELLED", None)
    assert sorted((await mails(scene))[3:]) == [("gift_ended", "friend"), ("gift_ended", "giver")]
    assert await scene.world.balance(scene.babel) == (2000, 0)  # nothing is refunded


async def test_an_ended_gift_stays_ended(scene: DonationScene) -> None:
    gift = await begun(scene)
    await change(scene, "cancelSubscription", gift)
    cases: tuple[tuple[str, dict[str, Any]], ...] = (
        ("cancelSubscription", {}),
        ("pauseSubscription", {}),
        ("resumeSubscription", {}),
        ("updateSubscription", {"amount": money("5.00")}),
    )
    for mutation, more in cases:
        assert await problem_of(scene, mutation, id=gift, **more) == ("INVALID_STATE", "input.id")


@pytest.mark.parametrize("mutation", ["updateSubscription", "pauseSubscription", "cancelSubscription"])
async def test_a_change_runs_once_a_key_and_not_in_a_dry_run(scene: DonationScene, mutation: str) -> None:
    gift = await begun(scene)
    more: dict[str, Any] = {"amount": money("11.00")} if mutation == "updateSubscription" else {}
    before = await scene.world.fingerprint()
    dry = await change(scene, mutation, gift, dryRun=True, **more)
    assert dry["errors"] == [] and await scene.world.fingerprint() == before
    first = await change(scene, mutation, gift, idempotencyKey=mutation, **more)
    again = await change(scene, mutation, gift, idempotencyKey=mutation, **more)
    assert first["errors"] == [] and first == again
    conflict = await change(scene, mutation, await begun(scene), idempotencyKey=mutation, **more)
    assert error_codes(conflict)[0][0] == "IDEMPOTENCY_CONFLICT"


async def test_a_gift_is_seen_by_both_sides_and_their_hosts_alone(scene: DonationScene) -> None:
    world = scene.world
    gift = await begun(scene)
    query = """query($id: ID!, $from: String!, $to: String!) { node(id: $id) { id }
        orders(filter: {subscription: $id}) { nodes { period } }
        given: collective(slug: $from) { subscriptions { totalCount nodes { id } }
            orders { nodes { subscription { id } } } }
        received: collective(slug: $to) {
            subscriptions(direction: RECEIVED, status: [ACTIVE]) { nodes { id } } } }"""
    names = {"id": gift, "from": scene.webpack.slug, "to": scene.babel.slug}
    stranger = await world.person("stranger" + scene.suffix)
    for viewer in (scene.giver, scene.friend, scene.holder, world.admin, stranger, scene.payee, None):
        seen = viewer in (scene.giver, scene.friend, scene.holder, world.admin)
        data = await world.query(query, by=viewer, **names)
        assert data["node"] == ({"id": gift} if seen else None)
        assert len(data["orders"]["nodes"]) == int(seen)
        assert data["given"]["subscriptions"]["totalCount"] == int(seen)
        nodes = [{"id": gift}] if seen else []
        assert data["given"]["subscriptions"]["nodes"] == data["received"]["subscriptions"]["nodes"] == nodes
        orders = [order["subscription"] for order in data["given"]["orders"]["nodes"]]
        assert [{"id": gift} in orders, None in orders] == [seen, True]


async def test_archiving_a_side_ends_its_gifts_and_tells_both(alone: DonationScene) -> None:
    scene = alone
    payer = await scene.community("payer", scene.host, scene.giver)
    await scene.world.fund(payer, "10.00", by=scene.holder)
    await begun(scene, **{"from": ref(payer)})
    archived = await scene.world.mutate("archiveCollective", by=scene.giver, collective=ref(payer))
    assert archived["errors"] == []
    (gift,) = await all_gifts(scene)
    assert (gift.status, gift.notice) == (GiftStatus.CANCELLED, "ARCHIVED")
    await charge(scene, today() + timedelta(days=1))
    assert ("gift_ended", "friend") in await mails(scene)
    assert ("gift_ended", "giver") in await mails(scene)
    assert await charge(scene, today() + timedelta(days=40)) == 0


async def test_leaving_a_host_pauses_the_gifts_and_a_new_host_lets_the_payer_resume_them(
    alone: DonationScene,
) -> None:
    scene, world = alone, alone.world
    payee = await scene.community("payee", scene.host, scene.friend)
    gift_id = await begun(scene, to=ref(payee))
    sides: dict[str, Any] = {"from": ref(payee), "to": ref(scene.host)}
    await world.mutate("transferFunds", by=scene.friend, amount=money("10.00"), **sides)
    left = await world.mutate("leaveHost", by=scene.friend, collective=ref(payee))
    assert left["errors"] == []
    (gift,) = await all_gifts(scene)
    assert (gift.status, gift.paused_by) == (GiftStatus.PAUSED, "PLATFORM")
    assert await charge(scene, today() + timedelta(days=1)) == 1
    assert sorted(await mails(scene)) == [("gift_paused", "friend"), ("gift_paused", "giver")]
    assert await charge(scene, today() + timedelta(days=40)) == 0
    problem = await problem_of(scene, "resumeSubscription", id=gift_id)
    assert problem[0] == "INVALID_STATE"
    application = await world.mutate(
        "applyToHost", "application { id }", by=scene.friend, collective=ref(payee), host=ref(scene.host)
    )
    await world.mutate(
        "decideHostApplication", by=scene.holder, id=application["application"]["id"], approve=True
    )
    resumed = await change(scene, "resumeSubscription", gift_id)
    assert resumed["subscription"]["status"] == "ACTIVE"


async def test_a_suspended_host_pauses_the_gifts_to_its_collectives(alone: DonationScene) -> None:
    scene = alone
    await begun(scene)
    suspended = await scene.world.mutate(
        "suspendHost", by=scene.world.admin, host=ref(scene.host), reason="x"
    )
    assert suspended["errors"] == []
    (gift,) = await all_gifts(scene)
    assert (gift.status, gift.notice) == (GiftStatus.PAUSED, "HOST_SUSPENDED")


async def test_a_suspended_person_gives_nothing(alone: DonationScene) -> None:
    scene = alone
    await scene.world.fund(scene.payee.user, "50.00", by=scene.world.admin)
    await begun(scene, by=scene.payee, **{"from": ref(scene.payee)})
    await scene.world.mutate("suspendUser", by=scene.world.admin, user=ref(scene.payee), reason="x")
    (gift,) = await all_gifts(scene)
    assert (gift.status, gift.notice) == (GiftStatus.PAUSED, "USER_SUSPENDED")


async def test_a_new_way_of_paying_is_tried_at_once(alone: DonationScene) -> None:
    scene = alone
    day = today() - timedelta(days=1)
    before = day.replace(day=1) - timedelta(days=1)
    start = periods.day_in_month(before.year, before.month, day.day)
    gift = await begun_on(scene, start, amount_minor=6000, anchor_day=day.day)
    gift_id = public_id("RecurringGift", gift.id)
    await charge(scene, start)
    await charge(scene, day)
    assert (await load(scene, gift)).status == GiftStatus.PAST_DUE
    problem = await problem_of(scene, "updateSubscription", id=gift_id, anchorDay=gift.anchor_day % 28 + 1)
    assert problem == ("INVALID_STATE", "input.anchorDay")
    await change(scene, "updateSubscription", gift_id, payWith={"type": "MANUAL"})
    assert await charging.charge_due(scene.world.sessions) == 1
    assert [status for _, status in await orders_of(scene, gift)] == ["PAID", "PENDING"]
    assert (await load(scene, gift)).status == GiftStatus.ACTIVE


async def test_a_business_and_a_nonprofit_may_be_given_to_monthly_too(scene: DonationScene) -> None:
    business = await scene.community("biz", scene.host, scene.friend, collective_type=CollectiveType.BUSINESS)
    assert (await give(scene, to=ref(business)))["errors"] == []
    assert (await give(scene, to=ref(scene.host)))["errors"] == []


async def test_changes_of_a_gift_are_in_the_audit_log_and_its_charges_are_not(alone: DonationScene) -> None:
    scene = alone
    gift = await begun(scene)
    move_to_last_year(scene)
    (row,) = await all_gifts(scene)
    assert await charge(scene, row.next_charge_on) == 1
    await change(scene, "pauseSubscription", gift, by=scene.friend, reason="Secret")
    query = """query($slug: String!) { collective(slug: $slug) { auditLog { nodes {
        kind change mutation actor { slug } values { field old new } } } } }"""
    log = (await scene.world.query(query, by=scene.friend, slug=scene.babel.slug))["collective"]["auditLog"]
    acts = [node for node in log["nodes"] if node["kind"] == "RECURRING_GIFT"]
    assert [(act["change"], act["mutation"], act["actor"]["slug"]) for act in acts] == [
        ("CHANGED", "pauseSubscription", "friend"),
        ("ADDED", "donate", "giver"),
    ]
    assert "Secret" not in str(acts)
