"""Refunds through the provider, and disputes: money goes back there first, and then here."""

import asyncio

import pytest

from models.enums import OrderStatus, ProviderName, ProviderRefundStatus, TransactionKind
from services.ledger import posting
from services.operation import diagnosis
from services.operation.diagnosis import Finding, State
from services.payments import losses, returned, uncovered
from services.providers import fake
from services.providers.fake import FakeProvider
from services.providers.protocol import EventKind, ProviderAway, RefundAnswer, RefundRequest
from tests.donation_world import decode_order_id, error_code
from tests.factories import World, money, ref
from tests.payment_world import CardScene, order_of

FIELDS = "order { id status } transactions { kind }"


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


class NamelessProvider(FakeProvider):
    """A provider that confirms before it names a refund."""

    async def refund(self, _: RefundRequest, /) -> RefundAnswer:
        """Give everything back."""
        return RefundAnswer(status=ProviderRefundStatus.CONFIRMED)


@pytest.fixture
async def scene(world: World) -> CardScene:
    """Return a host that takes cards, with fees of 5 % for it and for the platform."""
    return await CardScene.create(world)


async def refund(scene: CardScene, order: str, value: str | None = None) -> None:
    """Ask for a refund as the host's ADMIN."""
    more = {"amount": money(value)} if value else {}
    payload = await scene.world.mutate("refundOrder", FIELDS, by=scene.donations.holder, id=order, **more)
    assert payload["errors"] == [], payload
    assert payload["transactions"] == []  # the provider has not confirmed it


async def kinds(scene: CardScene, order: str) -> list[str]:
    """Return the kinds of an order's transactions."""
    return [row.kind for row in await scene.transactions(order)]


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
        "refundOrder", FIELDS, by=scene.donations.holder, id=order, amount=money("1.00")
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
    await _spend(scene, "50.00")
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
    assert [finding.name for finding in await _findings(scene)] == ["refunds"]
    await scene.world.assert_clean_ledger()

    await scene.world.fund(scene.donations.host, "10.00", by=scene.donations.holder)
    assert await uncovered.post_waiting(scene.world.sessions) == 1
    assert await uncovered.post_waiting(scene.world.sessions) == 0
    assert await scene.status(order) is OrderStatus.REFUNDED
    assert await scene.world.balance(scene.donations.babel) == (0, 0)
    assert await _findings(scene) == []
    await scene.world.assert_clean_ledger()


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
    await _spend(scene, "50.00")
    payload = await scene.world.mutate("refundOrder", FIELDS, by=scene.donations.holder, id=order)
    assert error_code(payload) == "INSUFFICIENT_FUNDS"
    assert await scene.world.scalar("SELECT count(*) FROM provider_refund") == 0


async def _spend(scene: CardScene, value: str) -> None:
    payload = await scene.world.mutate(
        "donate",
        "order { status }",
        by=scene.donations.friend,
        amount=money(value),
        **{"from": ref(scene.donations.babel), "to": ref(scene.donations.host)},
    )
    assert payload["errors"] == [], payload


def dispute(scene: CardScene, order: str, kind: EventKind) -> fake.SignedEvent:
    """Build what the provider tells of a dispute, whose fee is 15.00."""
    return scene.event(kind, order, dispute="dp_1", dispute_fee=1500)


async def test_a_dispute_sets_aside_amount_and_fee_and_a_won_one_frees_them(scene: CardScene) -> None:
    order = await scene.paid()
    await scene.world.fund(scene.donations.babel, "50.00", by=scene.donations.holder)
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED))
    assert await scene.world.balance(scene.donations.babel) == (13430, 11500)
    await scene.world.assert_clean_ledger()
    payload = await scene.world.mutate("refundOrder", FIELDS, by=scene.donations.holder, id=order)
    assert error_code(payload) == "INVALID_STATE"
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_WON))
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED))  # late
    assert await scene.world.balance(scene.donations.babel) == (13430, 0)
    assert await kinds(scene, order) == ["DONATION"]


async def test_a_lost_dispute_gives_the_gift_back_and_its_fee_is_the_hosts_own_line(scene: CardScene) -> None:
    await scene.world.fund(scene.donations.host, "100.00", by=scene.donations.holder)
    order = await scene.paid()
    before, _ = await scene.world.balance(scene.donations.host)
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED))
    assert await scene.tell(dispute(scene, order, EventKind.DISPUTE_LOST)) is None
    rows = await scene.transactions(order)
    assert [row.kind for row in rows] == ["DONATION", "REFUND", "PAYMENT_PROCESSOR_COVER", "DISPUTE_FEE"]
    assert rows[-1].amount == 1500
    assert await scene.status(order) is OrderStatus.REFUNDED
    assert await scene.world.balance(scene.donations.babel) == (0, 0)
    # Its fee of 5.00 goes back, it covers 3.20 that the processor keeps, and pays 15.00.
    assert await scene.world.balance(scene.donations.host) == (before - 500 - 320 - 1500, 0)
    await scene.world.assert_clean_ledger()


async def test_the_host_adds_what_the_payee_has_spent(scene: CardScene) -> None:
    await scene.world.fund(scene.donations.host, "100.00", by=scene.donations.holder)
    order = await scene.paid()
    await _spend(scene, "50.00")
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED))
    assert await scene.world.balance(scene.donations.babel) == (3680, 3680)
    assert (await scene.world.balance(scene.donations.host))[1] == 11500 - 3680
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_LOST))
    assert TransactionKind.DISPUTE_COVER in await kinds(scene, order)
    assert await scene.world.balance(scene.donations.babel) == (0, 0)
    await scene.world.assert_clean_ledger()


async def test_what_is_set_aside_on_the_payees_balance_pays_for_a_host_without_money(
    scene: CardScene,
) -> None:
    order = await scene.paid()
    await scene.world.fund(scene.donations.babel, "50.00", by=scene.donations.holder)
    before, _ = await scene.world.balance(scene.donations.babel)
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED))
    host_before, _ = await scene.world.balance(scene.donations.host)
    assert await scene.tell(dispute(scene, order, EventKind.DISPUTE_LOST)) is None
    assert await kinds(scene, order) == [
        "DONATION",
        "DISPUTE_COVER",
        "REFUND",
        "PAYMENT_PROCESSOR_COVER",
        "DISPUTE_FEE",
    ]
    assert await scene.status(order) is OrderStatus.REFUNDED
    # It gives back 86.80, and what its host lacks for its fee, the processor's and the bank's.
    lacked = 500 + 320 + 1500 - host_before
    assert await scene.world.balance(scene.donations.babel) == (before - 8680 - lacked, 0)
    assert await scene.world.balance(scene.donations.host) == (0, 0)
    await scene.world.assert_clean_ledger()


async def test_a_lost_dispute_of_a_payee_in_another_currency_is_covered_too(scene: CardScene) -> None:
    donations = scene.donations
    euros = await donations.community("euros", donations.host, donations.friend, currency="EUR")
    await scene.world.rate("EUR", "USD", "1.0937")
    order = order_of(await scene.give(to=ref(euros), amount=money("100.00", "EUR")))
    await scene.tell(scene.event(EventKind.SUCCEEDED, order))
    await scene.world.fund(euros, "50.00", by=donations.holder)
    await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED))
    assert await scene.tell(dispute(scene, order, EventKind.DISPUTE_LOST)) is None
    assert await scene.status(order) is OrderStatus.REFUNDED
    assert (await scene.world.balance(donations.host))[0] <= 1
    await scene.world.assert_clean_ledger()


async def test_a_dispute_that_nobody_can_cover_is_noted_and_not_posted(scene: CardScene) -> None:
    order = await scene.paid()
    payload = await scene.world.mutate(
        "submitExpense",
        "order { id }",
        by=scene.donations.friend,
        amount=money("86.80"),
        **{
            "from": ref(scene.donations.babel),
            "to": ref(scene.donations.friend),
            "payTo": {"type": "MANUAL"},
        },
    )
    assert payload["errors"] == [], payload
    async with scene.world.sessions.begin() as session:
        await posting.place_hold(
            session,
            order_id=decode_order_id(payload["order"]["id"]),
            book_id=scene.donations.host.id,
            owner_id=scene.donations.babel.id,
            currency="USD",
            amount_minor=8680,
        )
    assert await scene.tell(dispute(scene, order, EventKind.DISPUTE_OPENED)) == losses.NOT_COVERED
    assert await scene.tell(dispute(scene, order, EventKind.DISPUTE_LOST)) == losses.NOT_COVERED
    assert await kinds(scene, order) == ["DONATION"]
    assert await scene.world.scalar("SELECT is_dispute_posted FROM provider_payment") is False
    async with scene.world.sessions.begin() as session:
        await posting.release_hold(session, order_id=decode_order_id(payload["order"]["id"]))
    assert await uncovered.post_waiting(scene.world.sessions) == 0  # 15.00 are still lacking
    (finding,) = await _findings(scene)
    assert finding.state is State.WRONG
    await scene.world.fund(scene.donations.host, "100.00", by=scene.donations.holder)

    assert await uncovered.post_waiting(scene.world.sessions) == 1
    assert await uncovered.post_waiting(scene.world.sessions) == 0
    assert await scene.status(order) is OrderStatus.REFUNDED
    assert await _findings(scene) == []
    await scene.world.assert_clean_ledger()


async def _findings(scene: CardScene) -> list[Finding]:
    found = await asyncio.to_thread(diagnosis.diagnose, scene.world.settings, is_embedded=False)
    return [finding for finding in found if finding.name in {"disputes", "refunds"}]
