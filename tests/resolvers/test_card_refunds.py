"""Refunds through the provider: money goes back there first, and then here."""

from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from models import ProviderEvent
from models.enums import OrderStatus, ProviderName, ProviderRefundStatus
from services.payments import losses, returned, uncovered
from services.payments.processing import NotYetKnown
from services.providers.fake import FakeProvider
from services.providers.protocol import EventKind, ProviderAway, ProviderRefused, RefundAnswer, RefundRequest
from tests.donation_world import error_code
from tests.factories import World, money
from tests.payment_world import (
    REFUND,
    CardScene,
    dispute,
    findings_of_refunds,
    kinds,
    order_of,
    refund,
    spend,
)


class AwayProvider(FakeProvider):
    """A provider that does not answer."""

    async def refund(self, _: RefundRequest, /) -> RefundAnswer:
        """Do not answer."""
        raise ProviderAway


class EmptyProvider(FakeProvider):
    """A provider that has less left than is to be refunded."""

    async def refund(self, _: RefundRequest, /) -> RefundAnswer:
        """Refuse."""
        return RefundAnswer(status=ProviderRefundStatus.FAILED, failure="Less is left of this charge.")


class RoundProvider(FakeProvider):
    """A provider that gives back no fractions that small."""

    async def refund(self, _: RefundRequest, /) -> RefundAnswer:
        """Refuse before anything is sent."""
        raise ProviderRefused("Round the amount.")


class NamelessProvider(FakeProvider):
    """A provider that confirms before it names a refund."""

    async def refund(self, _: RefundRequest, /) -> RefundAnswer:
        """Give everything back."""
        return RefundAnswer(status=ProviderRefundStatus.CONFIRMED)


@pytest.fixture
async def scene(world: World) -> CardScene:
    """Return a host that takes cards, with fees of 5 % for it and for the platform."""
    return await CardScene.create(world)


async def test_a_refund_goes_to_the_provider_first_and_is_posted_when_it_confirms(scene: CardScene) -> None:
    await scene.world.fund(scene.donations.host, "10.00", by=scene.donations.holder)
    order = await scene.paid()
    await refund(scene, order)
    assert await scene.world.balance(scene.donations.babel) == (8680, 8680)
    assert await scene.status(order) is OrderStatus.PAID
    await scene.world.assert_clean_ledger()

    await scene.send_refunds()

    assert await scene.status(order) is OrderStatus.REFUNDED
    assert await kinds(scene, order) == ["DONATION", "REFUND", "PAYMENT_PROCESSOR_COVER"]
    assert await scene.world.balance(scene.donations.babel) == (0, 0)
    await scene.world.assert_clean_ledger()


async def test_parts_add_up_and_one_refund_waits_at_a_time(scene: CardScene) -> None:
    await scene.world.fund(scene.donations.host, "10.00", by=scene.donations.holder)
    order = await scene.paid()
    await refund(scene, order, "33.33")
    second = await scene.world.mutate(
        "refundOrder", REFUND, by=scene.donations.holder, id=order, amount=money("1.00")
    )
    assert error_code(second) == "INVALID_STATE"
    await scene.send_refunds()
    await refund(scene, order)
    await scene.send_refunds()
    assert await scene.status(order) is OrderStatus.REFUNDED
    assert await scene.world.balance(scene.donations.babel) == (0, 0)


async def test_more_than_the_provider_has_left_frees_what_was_set_aside(scene: CardScene) -> None:
    order = await scene.paid()
    await refund(scene, order)
    await _send_with(scene, EmptyProvider())
    assert await scene.status(order) is OrderStatus.PAID
    assert await scene.world.balance(scene.donations.babel) == (8680, 0)
    assert await kinds(scene, order) == ["DONATION"]
    assert await scene.world.scalar("SELECT failure FROM provider_refund") == "Less is left of this charge."


async def test_a_part_that_the_provider_does_not_give_back_frees_what_was_set_aside(scene: CardScene) -> None:
    order = await scene.paid()
    await refund(scene, order, "33.33")
    await _send_with(scene, RoundProvider())
    assert await scene.world.balance(scene.donations.babel) == (8680, 0)
    assert await scene.world.scalar("SELECT failure FROM provider_refund") == "Round the amount."


async def test_a_refund_at_the_provider_that_leaves_too_little_ends_ours(scene: CardScene) -> None:
    await scene.world.fund(scene.donations.host, "10.00", by=scene.donations.holder)
    order = await scene.paid()
    await refund(scene, order, "30.00")
    await scene.tell(scene.event(EventKind.REFUNDED, order, refund="re_there", amount=10000))
    states = "SELECT array_agg(status ORDER BY amount_minor) FROM provider_refund"
    assert await scene.world.scalar(states) == ["FAILED", "CONFIRMED"]
    assert await kinds(scene, order) == ["DONATION", "REFUND", "PAYMENT_PROCESSOR_COVER"]
    assert await scene.world.balance(scene.donations.babel) == (0, 0)
    await scene.send_refunds()
    assert await scene.status(order) is OrderStatus.REFUNDED
    await scene.world.assert_clean_ledger()


async def test_a_refund_at_the_provider_that_leaves_enough_lets_ours_wait(scene: CardScene) -> None:
    await scene.world.fund(scene.donations.host, "10.00", by=scene.donations.holder)
    order = await scene.paid()
    await refund(scene, order, "30.00")
    await scene.tell(scene.event(EventKind.REFUNDED, order, refund="re_there", amount=7000))
    await scene.send_refunds()
    assert await scene.world.scalar("SELECT bool_and(status = 'CONFIRMED') FROM provider_refund")
    assert await scene.status(order) is OrderStatus.REFUNDED
    await scene.world.assert_clean_ledger()


async def test_a_refund_waits_for_a_provider_that_is_away_and_the_host_is_told_once(scene: CardScene) -> None:
    await scene.world.fund(scene.donations.host, "10.00", by=scene.donations.holder)
    order = await scene.paid()
    await refund(scene, order)
    for _ in range(3):
        with pytest.raises(ProviderAway):
            await _send_with(scene, AwayProvider())
    told = "SELECT count(*) FROM outbox WHERE template = :template"
    assert await scene.world.scalar(told, template="provider_away") == 1
    await scene.send_refunds()
    assert await scene.status(order) is OrderStatus.REFUNDED
    assert await scene.world.scalar(told, template="provider_back") == 1


async def _send_with(scene: CardScene, provider: FakeProvider) -> None:
    refund_id = await scene.world.scalar("SELECT id FROM provider_refund WHERE status = 'REQUESTED'")
    await returned.send(scene.world.sessions, {ProviderName.FAKE: provider}, refund_id=refund_id)


async def test_a_refund_made_at_the_provider_is_posted_once(scene: CardScene) -> None:
    await scene.world.fund(scene.donations.host, "10.00", by=scene.donations.holder)
    order = await scene.paid()
    for _ in range(2):
        await scene.tell(scene.event(EventKind.REFUNDED, order, refund="re_there", amount=4000))
    assert await kinds(scene, order) == ["DONATION", "REFUND", "PAYMENT_PROCESSOR_COVER"]
    assert await scene.status(order) is OrderStatus.PAID
    await scene.tell(scene.event(EventKind.REFUNDED, order, refund="re_rest", amount=6000))
    assert await scene.status(order) is OrderStatus.REFUNDED


async def test_a_refund_that_fails_after_its_confirmation_is_told_to_the_host(scene: CardScene) -> None:
    await scene.world.fund(scene.donations.host, "10.00", by=scene.donations.holder)
    order = await scene.paid()
    await refund(scene, order)
    await scene.send_refunds()
    external_id = await scene.world.scalar("SELECT external_id FROM provider_refund")
    failed = scene.event(EventKind.REFUND_FAILED, order, refund=external_id)
    assert await scene.tell(failed) == returned.FAILED_LATE
    mails = "SELECT recipient FROM outbox WHERE template = 'refund_failed_late'"
    assert await scene.world.scalar(mails) == scene.donations.holder.email
    assert await scene.status(order) is OrderStatus.REFUNDED


async def test_our_refund_is_known_by_its_key_when_the_provider_names_it_later(scene: CardScene) -> None:
    await scene.world.fund(scene.donations.host, "10.00", by=scene.donations.holder)
    order = await scene.paid()
    await refund(scene, order, "30.00")
    await _send_with(scene, NamelessProvider())
    key = str(await scene.world.scalar("SELECT id FROM provider_refund"))
    for kind, error in (
        (EventKind.REFUNDED, None),
        (EventKind.REFUND_FAILED, returned.FAILED_LATE),
    ):
        told = scene.event(kind, order, refund="re_1", refund_key=key, amount=3000)
        assert await scene.tell(told) == error
    assert (await kinds(scene, order)).count("REFUND") == 1


async def test_a_refund_that_succeeds_after_its_failure_leaves_a_note(scene: CardScene) -> None:
    order = await scene.paid()
    await refund(scene, order)
    key = str(await scene.world.scalar("SELECT id FROM provider_refund"))
    await _send_with(scene, EmptyProvider())
    told = scene.event(EventKind.REFUNDED, order, refund="re_1", refund_key=key, amount=10000)
    assert await scene.tell(told) == returned.CONFIRMED_LATE
    assert await kinds(scene, order) == ["DONATION"]


async def test_the_host_adds_what_the_payee_lacks_for_a_refund_made_at_the_provider(scene: CardScene) -> None:
    await scene.world.fund(scene.donations.host, "100.00", by=scene.donations.holder)
    order = await scene.paid()
    await spend(scene, "50.00")
    told = scene.event(EventKind.REFUNDED, order, refund="re_there", amount=12000)
    assert await scene.tell(told) == returned.TOO_MUCH
    assert await kinds(scene, order) == ["DONATION", "DISPUTE_COVER", "REFUND", "PAYMENT_PROCESSOR_COVER"]
    assert await scene.world.balance(scene.donations.babel) == (0, 0)
    assert await scene.status(order) is OrderStatus.REFUNDED
    more = scene.event(EventKind.REFUNDED, order, refund="re_more", amount=100)
    assert await scene.tell(more) == returned.TOO_MUCH
    await scene.world.assert_clean_ledger()


@pytest.mark.parametrize("by", ["us", "the host"])
async def test_a_confirmed_refund_that_nobody_can_cover_is_posted_later(scene: CardScene, by: str) -> None:
    order = await scene.paid()  # of which the host has its 5.00, and the processor kept 3.20
    if by == "us":
        await refund(scene, order)
        await scene.send_refunds()
    else:
        told = scene.event(EventKind.REFUNDED, order, refund="re_there", amount=10000)
        assert await scene.tell(told) == losses.NOT_COVERED
    assert await kinds(scene, order) == ["DONATION"]
    assert await scene.world.scalar("SELECT status FROM provider_refund") == "CONFIRMED"
    assert await uncovered.post_waiting(scene.world.sessions) == 0
    assert [finding.name for finding in await findings_of_refunds(scene)] == ["refunds"]
    await scene.world.assert_clean_ledger()

    await scene.world.fund(scene.donations.host, "10.00", by=scene.donations.holder)
    assert await uncovered.post_waiting(scene.world.sessions) == 1
    assert await uncovered.post_waiting(scene.world.sessions) == 0
    assert await scene.status(order) is OrderStatus.REFUNDED
    assert await scene.world.balance(scene.donations.babel) == (0, 0)
    assert await findings_of_refunds(scene) == []
    await scene.world.assert_clean_ledger()


async def test_what_is_told_before_the_money_came_waits(scene: CardScene) -> None:
    order = order_of(await scene.give())
    told = scene.event(EventKind.REFUNDED, order, refund="re_there", amount=4000)
    with pytest.raises(NotYetKnown):
        await scene.tell(told)
    await scene.world.fund(scene.donations.host, "10.00", by=scene.donations.holder)
    await scene.receive(scene.event(EventKind.SUCCEEDED, order))
    async with scene.world.sessions() as session:
        waiting = select(col(ProviderEvent.id)).order_by(col(ProviderEvent.received_at).desc())
        for event_id in list((await session.execute(waiting)).scalars()):
            await scene.process(event_id)
    assert await kinds(scene, order) == ["DONATION", "REFUND", "PAYMENT_PROCESSOR_COVER"]


async def test_a_refund_at_the_provider_of_a_closed_order_posts_nothing(scene: CardScene) -> None:
    order = await scene.paid()
    await scene.world.fund(scene.donations.host, "100.00", by=scene.donations.holder)
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_LOST))
    before = await kinds(scene, order)
    told = scene.event(EventKind.REFUNDED, order, refund="re_there", amount=10000)
    assert await scene.tell(told) == "The order was REFUNDED when the provider gave money back."
    assert await kinds(scene, order) == before


@pytest.mark.parametrize("told", ["dispute", "our refund", "its own refund"])
async def test_a_giver_who_left_gets_the_money_back_all_the_same(scene: CardScene, told: str) -> None:
    await scene.world.fund(scene.donations.host, "100.00", by=scene.donations.holder)
    order = await scene.paid()
    if told == "our refund":
        await refund(scene, order)
    erased = await scene.world.mutate("eraseMe", "pseudonym", by=scene.giver, slug=scene.giver.slug)
    assert erased["errors"] == [], erased
    if told == "our refund":
        await scene.send_refunds()
    elif told == "its own refund":
        await scene.tell(scene.event(EventKind.REFUNDED, order, refund="re_there", amount=10000))
    else:
        await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED))
        assert await scene.tell(dispute(scene, order, EventKind.DISPUTE_LOST)) is None
    assert await scene.status(order) is OrderStatus.REFUNDED
    assert await scene.world.balance(scene.donations.babel) == (0, 0)
    await scene.world.assert_clean_ledger()


async def test_what_the_payee_has_spent_is_not_refunded(scene: CardScene) -> None:
    order = await scene.paid()
    await spend(scene, "50.00")
    payload = await scene.world.mutate("refundOrder", REFUND, by=scene.donations.holder, id=order)
    assert error_code(payload) == "INSUFFICIENT_FUNDS"
    assert await scene.world.scalar("SELECT count(*) FROM provider_refund") == 0


async def test_a_stray_refund_that_fails_is_told_to_the_host_and_found(scene: CardScene) -> None:
    order = order_of(await scene.give())
    await scene.world.mutate("cancelOrder", by=scene.giver, id=order)
    await scene.tell(scene.event(EventKind.SUCCEEDED, order))
    await _send_with(scene, EmptyProvider())
    mails = "SELECT array_agg(recipient) FROM outbox WHERE template = 'stray_refund_failed'"
    assert await scene.world.scalar(mails) == [scene.donations.holder.email]
    (finding,) = await findings_of_refunds(scene)
    assert "could not be given back" in finding.message
    await scene.tell(scene.event(EventKind.REFUNDED, order, refund="re_there", amount=10000))
    assert await findings_of_refunds(scene) == []


async def test_what_cannot_be_posted_keeps_nothing_else_waiting(
    scene: CardScene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    orders = [await scene.paid() for _ in range(2)]
    await scene.world.fund(scene.donations.host, "100.00", by=scene.donations.holder)
    post, failed = losses.post_refund, list[Any]()

    async def lack(*_: Any) -> str:
        return losses.NOT_COVERED

    async def fail_once(session: Any, actor: Any, refund: Any) -> Any:
        if not failed:
            failed.append(refund.id)
            raise RuntimeError
        return await post(session, actor, refund)

    monkeypatch.setattr(losses, "post_refund", lack)
    for order in orders:
        await scene.tell(scene.event(EventKind.REFUNDED, order, refund=f"re_{order}", amount=10000))
    monkeypatch.setattr(losses, "post_refund", fail_once)
    assert await uncovered.post_waiting(scene.world.sessions) == 1
    assert "cannot be posted" in caplog.text
    assert await uncovered.post_waiting(scene.world.sessions) == 1
    assert [await scene.status(order) for order in orders] == [OrderStatus.REFUNDED] * 2
