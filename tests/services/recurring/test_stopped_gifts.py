"""Gifts that the database or their sides stopped: what the worker tells, and how they go on."""

import pytest

from models import Collective
from models.enums import GiftStatus
from tests.donation_world import DonationScene
from tests.factories import World, ref
from tests.gift_world import all_gifts, begun, change, charge, load, mails, orders_of, today


@pytest.fixture
async def scene(world: World) -> DonationScene:
    """Return a scene in which webpack has 100.00."""
    return await DonationScene.create(world)


async def leave(scene: DonationScene, payee: Collective) -> None:
    """Take the friend's collective from its host; its balance of 10.00 goes to the host first."""
    sent = await scene.transfer("10.00", by=scene.friend, from_=payee, to=scene.host)
    assert sent["errors"] == []
    left = await scene.world.mutate("leaveHost", by=scene.friend, collective=ref(payee))
    assert left["errors"] == []


async def join(scene: DonationScene, payee: Collective, host: Collective) -> None:
    """Make the friend's collective one of a host."""
    applied = await scene.world.mutate(
        "applyToHost", "application { id }", by=scene.friend, collective=ref(payee), host=ref(host)
    )
    decided = await scene.world.mutate(
        "decideHostApplication", by=scene.holder, id=applied["application"]["id"], approve=True
    )
    assert decided["errors"] == []


async def test_a_gift_that_is_resumed_before_the_worker_tells_of_its_pause_is_charged_again(
    scene: DonationScene,
) -> None:
    payee = await scene.community("payee", scene.host, scene.friend)
    gift_id = await begun(scene, to=ref(payee))
    await leave(scene, payee)
    await join(scene, payee, scene.host)
    resumed = await change(scene, "resumeSubscription", gift_id)
    assert resumed["subscription"]["status"] == "ACTIVE"
    (gift,) = await all_gifts(scene)
    assert (gift.status, gift.notice) == (GiftStatus.ACTIVE, None)
    assert await mails(scene) == [("gift_resumed", "friend")]
    assert await charge(scene, today()) == 0
    assert (await load(scene, gift)).status == GiftStatus.ACTIVE
    assert len(await orders_of(scene, gift)) == 1


async def test_a_gift_that_is_ended_before_the_worker_tells_of_its_pause_has_nothing_to_tell(
    scene: DonationScene,
) -> None:
    payee = await scene.community("payee", scene.host, scene.friend)
    gift_id = await begun(scene, to=ref(payee))
    await leave(scene, payee)
    ended = await change(scene, "cancelSubscription", gift_id)
    assert ended["subscription"]["status"] == "CANCELLED"
    (gift,) = await all_gifts(scene)
    assert (gift.notice, gift.due_at) == (None, None)
    assert await charge(scene, today()) == 0
    assert await mails(scene) == [("gift_ended", "friend")]
