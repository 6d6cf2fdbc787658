"""Gifts that the database or their sides stopped: what the worker tells, and how they go on."""

from datetime import timedelta
from typing import Any

import pytest

from models import Collective
from models.enums import GiftStatus
from tests.donation_world import DonationScene
from tests.factories import World, ref
from tests.gift_world import all_gifts, begun, change, charge, load, mails, orders_of, problem_of, today


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


async def transfers_to(scene: DonationScene, host: Collective) -> str:
    """Offer bank transfers to a host; return the payment method."""
    bank: dict[str, Any] = {"name": "Bank", "type": "MANUAL", "feeBps": 100}
    created = await scene.world.mutate(
        "createPaymentMethod", "paymentMethod { id }", by=scene.holder, host=ref(host), **bank
    )
    return str(created["paymentMethod"]["id"])


async def cancel_transfer(scene: DonationScene) -> None:
    """Cancel the only donation."""
    query = "{ orders(filter: {type: [DONATION]}) { nodes { id } } }"
    (order,) = (await scene.world.query(query, by=scene.giver))["orders"]["nodes"]
    assert (await scene.cancel(order["id"], by=scene.giver))["errors"] == []


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


async def test_a_gift_that_is_stopped_says_why_once_the_worker_has_told(scene: DonationScene) -> None:
    payee = await scene.community("payee", scene.host, scene.friend)
    paused_id = await begun(scene, to=ref(payee), value="4.00")
    left = await scene.transfer("4.00", by=scene.friend, from_=payee, to=scene.host)
    assert left["errors"] == []
    await scene.world.mutate("leaveHost", by=scene.friend, collective=ref(payee))
    await charge(scene, today() + timedelta(days=1))
    node = "query($id: ID!) { node(id: $id) { ... on RecurringGift { status pauseReason endedReason } } }"
    shown = (await scene.world.query(node, by=scene.giver, id=paused_id))["node"]
    assert shown["status"] == "PAUSED"
    assert (shown["pauseReason"], shown["endedReason"]) == ("One of the two sides has left its host.", None)
    await scene.world.mutate("archiveCollective", by=scene.friend, collective=ref(payee))
    await charge(scene, today() + timedelta(days=1))
    shown = (await scene.world.query(node, by=scene.giver, id=paused_id))["node"]
    assert shown["status"] == "CANCELLED"
    assert (shown["pauseReason"], shown["endedReason"]) == (None, "One of the two sides was archived.")


async def test_a_payee_with_another_host_is_not_paid_through_the_old_one(scene: DonationScene) -> None:
    world = scene.world
    payee = await scene.community("payee", scene.host, scene.friend)
    method = await transfers_to(scene, scene.host)
    gift_id = await begun(scene, to=ref(payee), payWith={"id": method}, value="4.00")
    (gift,) = await all_gifts(scene)
    assert gift.payment_method_id is not None
    await cancel_transfer(scene)
    other = await scene.host_of("other")
    left = await world.mutate("leaveHost", by=scene.friend, collective=ref(payee))
    assert left["errors"] == []
    await join(scene, payee, other)
    assert await problem_of(scene, "resumeSubscription", id=gift_id) == ("INVALID_STATE", "input.id")
    new = await transfers_to(scene, other)
    changed = await change(scene, "updateSubscription", gift_id, payWith={"id": new})
    assert changed["errors"] == []
    resumed = await change(scene, "resumeSubscription", gift_id)
    assert resumed["subscription"]["status"] == "ACTIVE"


async def test_a_pause_with_a_day_does_not_end_in_a_way_of_paying_that_is_gone(scene: DonationScene) -> None:
    world = scene.world
    payee = await scene.community("payee", scene.host, scene.friend)
    method = await transfers_to(scene, scene.host)
    gift_id = await begun(scene, to=ref(payee), payWith={"id": method}, value="4.00")
    await cancel_transfer(scene)
    until = today() + timedelta(days=10)
    await change(scene, "pauseSubscription", gift_id, until=str(until))
    await world.mutate("leaveHost", by=scene.friend, collective=ref(payee))
    await join(scene, payee, await scene.host_of("other"))
    (gift,) = await all_gifts(scene)
    assert (gift.paused_by, gift.notice) == ("PAYER", None)
    assert await charge(scene, until) == 1
    gift = await load(scene, gift)
    assert (gift.status, gift.paused_by, gift.resumes_on, gift.due_at) == ("PAUSED", "PLATFORM", None, None)
    assert gift.pause_reason is not None and gift.delays == 0
    assert sorted((await mails(scene))[-2:]) == [("gift_paused", "friend"), ("gift_paused", "giver")]
    assert await charge(scene, until + timedelta(days=40)) == 0


async def test_a_merged_persons_gifts_end_with_a_mail_to_the_person(scene: DonationScene) -> None:
    world = scene.world
    twin = await world.person("twin")
    await world.fund(scene.payee.user, "50.00", by=world.admin)
    await begun(scene, by=scene.payee, **{"from": ref(scene.payee)})
    await world.consent_to_merge(scene.payee, twin)
    sides: dict[str, Any] = {"from": ref(scene.payee), "into": ref(twin)}
    merged = await world.mutate("mergeUsers", by=world.admin, **sides)
    assert merged["errors"] == []
    await charge(scene, today() + timedelta(days=1))
    assert sorted(await mails(scene)) == [("gift_ended", "friend"), ("gift_ended", "twin")]
