"""Changes of a gift's terms that the API, or the database, does not take."""

import pytest

from tests.donation_world import DonationScene
from tests.factor_world import age_confirmation, top_error
from tests.factories import World
from tests.gift_world import begun

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
