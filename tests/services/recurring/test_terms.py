"""Changes of a gift's terms that the API, or the database, does not take."""

from datetime import date, timedelta
from typing import Any

import pytest

from models import RecurringGift
from models.enums import GiftInterval
from services.recurring import periods
from tests.donation_world import DonationScene
from tests.factor_world import age_confirmation, top_error
from tests.factories import World, money, public_id, ref
from tests.gift_world import begun, begun_on, change, load, problem_of, today
from tests.payment_world import connect

UPDATE = "mutation($i: UpdateSubscriptionInput!) { updateSubscription(input: $i) { errors { code } } }"


@pytest.fixture
async def scene(world: World) -> DonationScene:
    """Return a scene in which webpack has 100.00."""
    return await DonationScene.create(world)


@pytest.mark.parametrize(("value", "is_asked"), [("100.00", False), ("100.01", True)])
async def test_a_large_gift_that_is_paid_from_the_balance_from_now_on_is_confirmed(
    scene: DonationScene, value: str, is_asked: bool
) -> None:
    await age_confirmation(scene.world, scene.giver)
    gift_id = await begun(scene, value=value, payWith={"type": "MANUAL"})
    before = await scene.world.fingerprint()
    terms = {"id": gift_id, "payWith": {"type": "BALANCE"}}
    body = await scene.world.execute(UPDATE, by=scene.giver, i=terms)
    if is_asked:
        assert top_error(body)["code"] == "CONFIRMATION_REQUIRED"
        assert await scene.world.fingerprint() == before
    else:
        assert body["data"]["updateSubscription"] == {"errors": []}
        again = await scene.world.execute(UPDATE, by=scene.giver, i=terms | {"quantity": None})
        assert again["data"]["updateSubscription"] == {"errors": []}


async def test_a_day_after_the_gifts_last_one_is_refused(scene: DonationScene) -> None:
    start = today().replace(day=1)
    following = periods.next_day(start, GiftInterval.MONTH, 15)
    gift = await begun_on(
        scene, start, ends_after=following + timedelta(days=5), due_at=periods.begin_of(following, "UTC")
    )
    gift_id = public_id("RecurringGift", gift.id)
    await set_next(scene, gift, following)
    assert await problem_of(scene, "updateSubscription", id=gift_id, anchorDay=28) == (
        "INVALID_INPUT",
        "input.anchorDay",
    )
    moved = await change(scene, "updateSubscription", gift_id, anchorDay=20)
    assert moved["subscription"]["nextChargeOn"] == str(following.replace(day=20))
    assert (await load(scene, gift)).anchor_day == 20


async def set_next(scene: DonationScene, gift: RecurringGift, day: date) -> None:
    """Move a gift to a day, as a charge of the period before would."""
    async with scene.world.sessions.begin() as session:
        row = await session.get_one(RecurringGift, gift.id)
        row.next_charge_on = day


async def test_a_gift_goes_on_by_card_only_where_one_is_kept(scene: DonationScene) -> None:
    card = await connect(scene.world, scene.host, scene.holder)
    gift_id = await begun(scene)
    refused = ("INVALID_INPUT", "input.payWith.id")
    assert await problem_of(scene, "updateSubscription", id=gift_id, payWith={"id": card}) == refused
    deprecated = await problem_of(scene, "updateSubscription", id=gift_id, paymentMethod=card)
    assert deprecated == ("INVALID_INPUT", "input.paymentMethod")


async def test_a_gift_does_not_end_before_its_second_charge(scene: DonationScene) -> None:
    second = periods.next_day(today(), GiftInterval.MONTH, today().day)
    sides: dict[str, Any] = {
        "from": ref(scene.webpack),
        "to": ref(scene.babel),
        "amount": money("1.00"),
        "interval": "MONTH",
    }
    for early in (today(), second - timedelta(days=1)):
        problem = await problem_of(scene, "donate", **sides, endsAfter=str(early))
        assert problem == ("INVALID_INPUT", "input.endsAfter")
    await begun(scene, endsAfter=str(second))
