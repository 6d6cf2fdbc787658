"""What waits for a payment provider: given up after a day, taken up again, and never lost in silence."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import select
from sqlmodel import col

from models import ProviderEvent
from models.enums import OrderStatus, ProviderName
from services.operation import diagnosis
from services.payments import processing, returned, taking_up, waiting
from services.providers import fake
from services.providers.fake import FakeProvider
from services.providers.offered import offered
from services.providers.protocol import EventKind, PaymentAt, ProviderAway
from tests.donation_world import decode_order_id
from tests.factories import World
from tests.payment_world import CardScene, order_of, refund

JOBS = "SELECT count(*) FROM jobs.procrastinate_jobs WHERE status = 'todo'"


class LateProvider(FakeProvider):
    """A provider that is collecting one payment, which it no longer gives up."""

    def __init__(self, order: str) -> None:
        """Keep the order of that payment, and how often it was asked."""
        self.payment, self.asked = fake.payment_of(decode_order_id(order)), 0

    async def cancel(self, payment: PaymentAt, /) -> bool:
        """Give up every other payment."""
        self.asked += 1
        return payment.payment != self.payment


class BrokenProvider(LateProvider):
    """A provider whose answer for one payment is none."""

    async def cancel(self, payment: PaymentAt, /) -> bool:
        """Give up every other payment."""
        if not await super().cancel(payment):
            raise RuntimeError
        return True


@pytest.fixture
async def scene(world: World) -> CardScene:
    """Return a host that takes cards."""
    return await CardScene.create(world)


def _run_as_owner(scene: CardScene, *statements: str) -> None:
    with psycopg.connect(scene.world.settings.owner_database_url, autocommit=True) as owner:
        for statement in statements:
            owner.execute(statement.encode())


def _age(scene: CardScene, *orders: str) -> None:
    """Let payments have waited for more than a day, the first for the longest."""
    ids: Sequence[UUID] = [decode_order_id(order) for order in orders]
    _run_as_owner(
        scene,
        *(
            "UPDATE provider_payment SET created_at = created_at - interval '25 hours'"
            f" WHERE order_id = '{order_id}'"
            for order_id in ids
        ),
    )


async def test_an_unpaid_gift_is_cancelled_after_a_day_and_its_giver_told(scene: CardScene) -> None:
    order, fresh = order_of(await scene.give()), order_of(await scene.give())
    providers = offered(scene.world.settings)
    assert await waiting.cancel_unpaid(scene.world.sessions, providers) == 0
    _age(scene, order)
    assert await waiting.cancel_unpaid(scene.world.sessions, providers) == 1
    assert await scene.status(order) is OrderStatus.CANCELLED
    assert await scene.status(fresh) is OrderStatus.PENDING
    mails = "SELECT recipient FROM outbox WHERE template = 'order_closed'"
    assert await scene.world.scalar(mails) == scene.giver.email


async def test_what_the_provider_is_collecting_holds_up_nothing_else(
    scene: CardScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_AT_ONCE", 1)
    late, other = order_of(await scene.give()), order_of(await scene.give())
    _age(scene, late, other)
    provider = LateProvider(late)
    for expected in (1, 0):
        cancelled = await waiting.cancel_unpaid(scene.world.sessions, {ProviderName.FAKE: provider})
        assert cancelled == expected
    assert provider.asked == 2
    assert await scene.status(other) is OrderStatus.CANCELLED
    assert await scene.tell(scene.event(EventKind.SUCCEEDED, late)) is None
    assert await scene.status(late) is OrderStatus.PAID


async def test_a_payment_that_cannot_be_given_up_keeps_no_other_waiting(
    scene: CardScene, caplog: pytest.LogCaptureFixture
) -> None:
    broken, other = order_of(await scene.give()), order_of(await scene.give())
    _age(scene, broken, other)
    assert await waiting.cancel_unpaid(scene.world.sessions, {ProviderName.FAKE: BrokenProvider(broken)}) == 1
    assert "cannot be given up" in caplog.text
    assert await scene.status(broken) is OrderStatus.PENDING
    assert await scene.status(other) is OrderStatus.CANCELLED


async def test_work_for_a_provider_that_is_not_offered_fails_and_is_taken_up_later(scene: CardScene) -> None:
    sessions, providers = scene.world.sessions, offered(scene.world.settings)
    order = await scene.paid()
    await refund(scene, order, "10.00")
    await scene.receive(scene.event(EventKind.DISPUTE_OPENED, order, dispute="dp_1"))
    refund_id = await scene.world.scalar("SELECT id FROM provider_refund")
    async with sessions() as session:
        waits = select(col(ProviderEvent.id)).where(col(ProviderEvent.processed_at).is_(None))
        event_id = (await session.execute(waits)).scalar_one()
    with pytest.raises(ProviderAway, match="do not offer"):
        await returned.send(sessions, {}, refund_id=refund_id)
    with pytest.raises(ProviderAway, match="do not offer"):
        await processing.process(sessions, {}, event_id=event_id)

    _run_as_owner(scene, "UPDATE jobs.procrastinate_jobs SET status = 'failed'")
    assert await taking_up.queue_again(sessions, providers) == 0  # too fresh
    _run_as_owner(
        scene,
        "ALTER TABLE provider_event DISABLE TRIGGER provider_event_guard",
        "UPDATE provider_event SET received_at = now() - interval '2 hours' WHERE processed_at IS NULL",
        "ALTER TABLE provider_event ENABLE ALWAYS TRIGGER provider_event_guard",
        "UPDATE provider_refund SET created_at = now() - interval '2 hours'",
    )
    found = await asyncio.to_thread(diagnosis.diagnose, scene.world.settings, is_embedded=False)
    assert [f.message.split()[0] for f in found if f.name == "providers"] == ["2"]
    assert await taking_up.queue_again(sessions, {}) == 0
    assert await taking_up.queue_again(sessions, providers) == 2
    assert await taking_up.queue_again(sessions, providers) == 0
    assert await scene.world.scalar(JOBS) == 2
