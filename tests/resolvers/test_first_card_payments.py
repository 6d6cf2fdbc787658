"""Recurring gifts by card begin with their first payment, which keeps the card."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from models import Instrument, ProviderAccount, RecurringGift, new_id, now
from models.enums import GiftStatus, OrderStatus
from services.payments import waiting
from services.providers.fake import (
    DECLINED,
    SUCCEEDS,
)
from services.providers.offered import offered
from services.providers.protocol import (
    EventKind,
)
from services.recurring import charging, periods
from tests.card_gift_world import (
    begun,
    change,
    due,
    give,
    load,
    run_as_owner,
)
from tests.donation_world import error_code
from tests.factories import World
from tests.payment_world import CardScene, connect

MAILS = "SELECT array_agg(template ORDER BY template) FROM outbox WHERE template LIKE 'gift_%'"


@pytest.fixture
async def scene(world: World) -> CardScene:
    """Return a host that takes cards, with fees of 5 % for it and for the platform."""
    return await CardScene.create(world)


async def test_a_gift_begins_with_its_first_payment(scene: CardScene) -> None:
    payload = await give(scene)
    assert payload["errors"] == []
    gift, order = payload["subscription"], payload["order"]
    assert (gift["status"], gift["card"], order["status"]) == ("PENDING", None, "PENDING")
    assert (await load(scene, gift["id"])).due_at is None
    assert await charging.charge_due(scene.world.sessions, at=now() + timedelta(days=400)) == 0

    await scene.tell(scene.event(EventKind.SUCCEEDED, order["id"], instrument=_card(SUCCEEDS)))

    kept = {"brand": "Visa", "last4": "4242", "expiresOn": "2099-12-31"}
    facts = " ".join(kept)
    query = f"query($id: ID!) {{ node(id: $id) {{ ... on RecurringGift {{ status card {{ {facts} }} }} }} }}"
    for by, card in ((scene.giver, kept), (scene.donations.friend, None), (scene.donations.holder, None)):
        seen = (await scene.world.query(query, by=by, id=gift["id"]))["node"]
        assert seen == {"status": "ACTIVE", "card": card}
    assert await scene.status(order["id"]) is OrderStatus.PAID
    row = await load(scene, gift["id"])
    assert (row.next_charge_on, row.due_at is None) == (_second(row), False)


def _card(number: str) -> dict[str, str]:
    return {
        "external_id": f"fake_card_{number}",
        "brand": "Visa",
        "last4": number[-4:],
        "expires_on": "2099-12-31",
    }


def _second(row: RecurringGift) -> Any:
    return periods.next_day(row.starts_on, row.interval, row.anchor_day)


@pytest.mark.parametrize("how", ["declined", "unpaid", "given up there"])
async def test_a_gift_whose_first_payment_never_comes_ends(scene: CardScene, how: str) -> None:
    if how == "declined":
        gift, order = await begun(scene, DECLINED)
    else:
        payload = await give(scene)
        gift, order = payload["subscription"]["id"], payload["order"]["id"]
    if how == "unpaid":
        run_as_owner(scene, "UPDATE provider_payment SET created_at = created_at - interval '25 hours'")
        assert await waiting.cancel_unpaid(scene.world.sessions, offered(scene.world.settings)) == 1
    elif how == "given up there":
        await scene.tell(scene.event(EventKind.CANCELLED, order))
    assert (await load(scene, gift)).status == GiftStatus.CANCELLED
    assert await scene.status(order) is (OrderStatus.FAILED if how == "declined" else OrderStatus.CANCELLED)
    assert await scene.world.scalar(MAILS) == ["gift_ended"]
    late = await scene.tell(scene.event(EventKind.SUCCEEDED, order))
    assert "when the money came" in (late or "")
    assert (await load(scene, gift)).status == GiftStatus.CANCELLED
    assert await scene.world.scalar("SELECT count(*) FROM provider_refund WHERE is_stray") == 1


async def test_until_then_it_can_be_cancelled_and_nothing_else(scene: CardScene) -> None:
    payload = await give(scene)
    gift, order = payload["subscription"]["id"], payload["order"]["id"]
    before = await scene.world.fingerprint()
    for mutation, more in (
        ("updateSubscription", {"anchorDay": 3}),
        ("pauseSubscription", {}),
        ("resumeSubscription", {}),
    ):
        assert error_code(await change(scene, mutation, gift, **more)) == "INVALID_STATE"
    assert await scene.world.fingerprint() == before
    assert (await change(scene, "cancelSubscription", gift))["subscription"]["status"] == "CANCELLED"
    assert await waiting.cancel_unpaid(scene.world.sessions, offered(scene.world.settings)) == 1
    assert await scene.status(order) is OrderStatus.CANCELLED


async def test_it_is_begun_once_for_each_key_and_not_in_a_dry_run(scene: CardScene) -> None:
    first, again = [await give(scene, idempotencyKey="k") for _ in range(2)]
    assert first == again
    assert (await give(scene, dryRun=True))["errors"] == []
    assert await scene.world.scalar("SELECT count(*) FROM subscription") == 1


async def test_denials_store_nothing(scene: CardScene) -> None:
    before = await scene.world.fingerprint()
    assert error_code(await give(scene, endsAfter=str(now().date()))) == "INVALID_INPUT"
    assert error_code(await give(scene, amount={"value": "0.30", "currency": "USD"})) == "AMOUNT_TOO_SMALL"
    scene.donations.babel.slug = scene.donations.webpack.slug  # whose host takes no cards
    assert error_code(await give(scene)) == "NOT_FOUND"
    assert await scene.world.fingerprint() == before


async def test_the_database_refuses_cards_of_others_and_gifts_that_nobody_paid(scene: CardScene) -> None:
    world, row = scene.world, await load(scene, await due(scene))
    other_host = await scene.donations.host_of("others")
    await connect(world, other_host, scene.donations.holder)
    async with world.sessions.begin() as session:
        accounts = (await session.execute(select(ProviderAccount))).scalars().all()
        ours = next(a for a in accounts if a.host_id == scene.donations.host.id)
        theirs = next(a for a in accounts if a.host_id == other_host.id)
        cards = [
            Instrument(
                id=new_id(),
                owner_id=owner,
                provider_account_id=account.id,
                external_id=f"card_{new_id().hex}",
                brand="Visa",
                last4="4242",
            )
            for owner, account in ((scene.donations.friend.user.id, ours), (scene.giver.user.id, theirs))
        ]
        session.add_all(cards)
    for card in cards:
        await _refused(scene, f"UPDATE subscription SET instrument_id = '{card.id}'", "card of its giver")
    await _refused(
        scene,
        "UPDATE subscription SET payment_method_kind = 'BALANCE', payment_method_id = NULL",
        "card of its giver",
    )
    await _refused(scene, "UPDATE provider_payment SET external_id = 'another'", "has ended")
    waiting_gift = (await give(scene))["subscription"]["id"]
    waiting_id = (await load(scene, waiting_gift)).id
    begins = (
        f"UPDATE subscription SET status = 'ACTIVE', due_at = now(), instrument_id = '{row.instrument_id}'"
        f" WHERE id = '{waiting_id}'"
    )
    await _refused(scene, begins, "begins with its first payment")


async def _refused(scene: CardScene, statement: str, message: str) -> None:
    async with scene.world.sessions() as session:
        with pytest.raises(DBAPIError, match=message):
            await session.execute(text(statement))


async def test_erasing_a_giver_erases_the_card(scene: CardScene) -> None:
    gift, _ = await begun(scene)
    erased = await scene.world.mutate("eraseMe", "pseudonym", by=scene.giver, slug=scene.giver.slug)
    assert erased["errors"] == [], erased
    assert (await load(scene, gift)).status == GiftStatus.CANCELLED
    facts = "SELECT brand || last4 || coalesce(customer_id, '') FROM instrument WHERE archived_at IS NOT NULL"
    assert await scene.world.scalar(facts) == "erased0000"


async def test_a_first_payment_whose_card_cannot_be_kept_ends_the_gift(scene: CardScene) -> None:
    payload = await give(scene)
    await scene.tell(scene.event(EventKind.SUCCEEDED, payload["order"]["id"]))
    assert await scene.status(payload["order"]["id"]) is OrderStatus.PAID
    assert (await load(scene, payload["subscription"]["id"])).status == GiftStatus.CANCELLED
