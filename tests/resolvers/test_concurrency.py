"""Many at once: one wins, the others hear why, and nothing is lost, doubled or overdrawn."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import psycopg
import pytest

from tests.conftest import Database
from tests.donation_world import DonationScene, decode_order_id, error_code, expect_order, expect_status
from tests.factories import World, money, ref
from tests.postgres_backends import waiting_backend


@pytest.fixture
def database(shared_database: Database) -> Database:
    """Return the database in which the scene is."""
    return shared_database


@pytest.fixture
async def scene(shared: World) -> DonationScene:
    """Return a scene in which webpack has 100.00."""
    return await DonationScene.among_others(shared)


async def together(*operations: Awaitable[dict[str, Any]]) -> list[str | None]:
    """Run operations at once; return the code of each, None for success."""
    return [error_code(payload) for payload in await asyncio.gather(*operations)]


async def donations(scene: DonationScene) -> int:
    """Return how many donations of webpack's there are."""
    count: int = await scene.world.scalar(
        "SELECT count(*) FROM \"order\" WHERE type = 'DONATION' AND from_id = :id", id=scene.webpack.id
    )
    return count


async def history(world: World, order_id: str) -> list[str]:
    """Return the types of an order's steps."""
    value = await world.scalar(
        "SELECT array_agg(type ORDER BY at, id) FROM order_action WHERE order_id = :id",
        id=decode_order_id(order_id),
    )
    return list(value)


async def test_exactly_one_of_many_concurrent_approvals_succeeds(scene: DonationScene) -> None:
    order_id = await scene.expense("10.00")

    codes = await together(*(scene.approve(order_id) for _ in range(20)))

    assert Counter(codes) == {None: 1, "INVALID_STATE": 19}
    assert await scene.world.balance(scene.webpack) == (10_000, 1000)
    assert await history(scene.world, order_id) == ["CREATE", "APPROVE"]
    await scene.world.assert_clean_ledger()


async def test_one_of_two_expenses_that_overdraw_together_is_approved(scene: DonationScene) -> None:
    orders = [await scene.expense("60.00") for _ in range(2)]

    codes = await together(*(scene.approve(order_id) for order_id in orders))

    assert Counter(codes) == {None: 1, "INSUFFICIENT_FUNDS": 1}
    assert await scene.world.balance(scene.webpack) == (10_000, 6000)
    await scene.world.assert_clean_ledger()


async def test_concurrent_donations_stop_at_the_balance(scene: DonationScene) -> None:
    codes = await together(*(scene.donate("30.00") for _ in range(8)))

    assert Counter(codes) == {None: 3, "INSUFFICIENT_FUNDS": 5}
    assert await scene.world.balance(scene.webpack) == (1000, 0)
    assert await scene.world.balance(scene.babel) == (9000, 0)
    await scene.world.assert_clean_ledger()


async def test_concurrent_approval_rejection_and_cancellation_leave_one_status(scene: DonationScene) -> None:
    world = scene.world
    for _ in range(6):
        order_id = await scene.expense("10.00")

        codes = await together(scene.approve(order_id), scene.cancel(order_id), scene.reject(order_id))

        assert set(codes) <= {None, "INVALID_STATE"}
        steps = await history(world, order_id)
        value = await world.scalar('SELECT status FROM "order" WHERE id = :id', id=decode_order_id(order_id))
        last = {"APPROVE": "APPROVED", "CANCEL": "CANCELLED", "REJECT": "REJECTED"}[steps[-1]]
        assert value == last
        assert len(steps) == 1 + codes.count(None)
        _, held = await world.balance(scene.webpack)
        assert held == (1000 if value == "APPROVED" else 0)
        if value == "APPROVED":
            expect_order(await scene.cancel(order_id))
    await world.assert_clean_ledger()


async def test_concurrent_payment_and_rejection_leave_one_status(scene: DonationScene) -> None:
    order_id = await scene.expense("10.00")
    expect_order(await scene.approve(order_id))

    codes = await together(
        scene.pay(order_id), scene.reject(order_id), scene.cancel(order_id), scene.pay(order_id)
    )

    assert Counter(codes) == {None: 1, "INVALID_STATE": 3}
    posted, held = await scene.world.balance(scene.webpack)
    assert (posted, held) in {(9000, 0), (10_000, 0)}
    await scene.world.assert_clean_ledger()


async def test_exactly_one_of_many_concurrent_payments_succeeds(scene: DonationScene) -> None:
    order_id = await scene.expense("10.00")
    expect_order(await scene.approve(order_id))

    codes = await together(*(scene.pay(order_id) for _ in range(10)))

    assert Counter(codes) == {None: 1, "INVALID_STATE": 9}
    assert await scene.world.balance(scene.webpack) == (9000, 0)
    await scene.world.assert_clean_ledger()


async def test_exactly_one_of_many_concurrent_full_refunds_succeeds(scene: DonationScene) -> None:
    order_id = expect_order(await scene.transfer("10.00"))

    codes = await together(*(scene.refund(order_id) for _ in range(6)))

    assert Counter(codes) == {None: 1, "INVALID_STATE": 5}
    assert await scene.world.balance(scene.webpack) == (10_000, 0)
    await scene.world.assert_clean_ledger()


async def test_concurrent_partial_refunds_never_exceed_the_whole(scene: DonationScene) -> None:
    order_id = expect_order(await scene.transfer("10.00"))

    codes = await together(*(scene.refund(order_id, "3.00") for _ in range(8)))

    assert codes.count(None) == 3
    assert set(codes) == {None, "INVALID_INPUT"}
    assert await scene.world.balance(scene.babel) == (100, 0)
    await scene.world.assert_clean_ledger()


async def test_concurrent_transfers_in_both_directions_lose_nothing(scene: DonationScene) -> None:
    await scene.world.fund(scene.babel, "100.00", by=scene.holder)
    codes: list[str | None] = []
    for _ in range(2):  # 50 at once: twice as many as there are connections
        there = [scene.transfer("1.00") for _ in range(25)]
        back = [
            scene.transfer("0.50", by=scene.friend, from_=scene.babel, to=scene.webpack) for _ in range(25)
        ]
        codes += await together(*(one for pair in zip(there, back, strict=True) for one in pair))

    assert codes == [None] * 100
    assert await scene.world.balance(scene.webpack) == (10_000 - 2500, 0)
    assert await scene.world.balance(scene.babel) == (10_000 + 2500, 0)
    await scene.world.assert_clean_ledger()


async def test_a_ring_of_donations_between_hosts_does_not_deadlock(scene: DonationScene) -> None:
    world, holder = scene.world, scene.holder
    ring = []
    for i in range(5):
        host = scene.host if i % 2 else await scene.host_of(f"host-{i}")
        ring.append(await scene.community(f"ring-{i}", host, holder))
    for one in ring:
        await world.fund(one, "10.00", by=holder)

    codes = await together(
        *(
            scene.transfer("1.00", by=holder, from_=ring[i], to=ring[(i + 1) % 5])
            for _ in range(10)
            for i in range(5)
        )
    )

    assert set(codes) == {None}
    assert [await world.balance(one) for one in ring] == [(1000, 0)] * 5
    await world.assert_clean_ledger()


async def test_covered_refunds_do_not_deadlock_with_added_funds(scene: DonationScene) -> None:
    """Both touch the host's balance and its cash: the cover after the refund, the fee at once."""
    world, holder, giver = scene.world, scene.holder, scene.giver
    far = await scene.host_of("wwcode", fee_bps=500)
    payer, other = await scene.community("payer", far, giver), await scene.community("other", far)
    for row in (far, payer):
        await world.fund(row, "50.00", by=holder)
    bills = [await scene.expense("2.00", from_=payer) for _ in range(10)]
    for order_id in bills:
        expect_order(await scene.approve(order_id))
        expect_order(await scene.pay(order_id, processorFee=money("0.10")))

    codes = await together(
        *(scene.refund(order_id) for order_id in bills),
        *(
            world.mutate("addFunds", "order { id }", by=holder, to=ref(other), amount=money("2.00"))
            for _ in range(20)
        ),
    )

    assert set(codes) == {None}
    assert await world.balance(payer) == (5000, 0)
    assert await world.balance(other) == (20 * (200 - 10), 0)
    assert await world.balance(far) == (5000 + 20 * 10 - 10 * 10, 0)
    await world.assert_clean_ledger()


async def test_concurrent_requests_with_one_key_create_one_order(scene: DonationScene) -> None:
    payloads = await asyncio.gather(*(scene.donate("10.00", idempotencyKey="one") for _ in range(20)))

    assert all(payload == payloads[0] for payload in payloads)
    assert expect_status(payloads[0]) == "PAID"
    assert await donations(scene) == 1
    assert await scene.world.balance(scene.babel) == (1000, 0)
    await scene.world.assert_clean_ledger()


async def test_concurrent_mutations_with_one_key_create_one_order(scene: DonationScene) -> None:
    codes = await together(*(scene.donate(f"{1 + i % 2}.00", idempotencyKey="one") for i in range(10)))

    assert Counter(codes) == {None: 5, "IDEMPOTENCY_CONFLICT": 5}
    assert await donations(scene) == 1


async def test_concurrent_first_donations_open_one_account(scene: DonationScene) -> None:
    world = scene.world
    far = await scene.host_of("wwcode")
    new = await scene.community("brand-new", far, currency="EUR")
    await world.rate("EUR", "USD", "1.10")

    codes = await together(*(scene.donate("1.00", to=new, currency="EUR") for _ in range(12)))

    assert set(codes) == {None}
    assert await world.balance(new) == (1200, 0)
    assert await world.scalar("SELECT count(*) FROM ledger_account WHERE owner_id = :id", id=new.id) == 1
    assert (
        await world.scalar(
            "SELECT count(*) FROM member WHERE collective_id = :id AND role = 'BACKER'", id=new.id
        )
        == 1
    )
    await world.assert_clean_ledger()


async def _archive(scene: DonationScene, slug: str) -> dict[str, Any]:
    return await scene.world.mutate(
        "archiveCollective", "collective { isArchived }", by=scene.friend, collective={"slug": slug}
    )


async def test_archiving_and_a_concurrent_donation_exclude_each_other(scene: DonationScene) -> None:
    world = scene.world
    for i in range(6):
        target = await scene.community(f"target-{i}", scene.host, scene.friend)

        codes = await together(
            *(scene.donate("1.00", to=target) for _ in range(3)), _archive(scene, target.slug)
        )

        donations, archived = codes[:3], codes[3]
        assert (archived is None) == all(donations), codes
        assert set(codes) <= {None, "INVALID_STATE"}
        assert await world.balance(target) == (100 * donations.count(None), 0)
    await world.assert_clean_ledger()


async def test_a_donation_during_an_uncommitted_archiving_is_refused(
    scene: DonationScene, database: Database
) -> None:
    babel = [scene.babel.id]
    with psycopg.connect(database.app_url) as archiving:
        archiving.execute("SELECT FROM collective WHERE id = %s FOR UPDATE", babel)
        archiving.execute("UPDATE collective SET archived_at = now() WHERE id = %s", babel)
        donation = asyncio.create_task(scene.donate("1.00"))
        await waiting_backend(database)
        archiving.commit()
        assert error_code(await donation) == "INVALID_STATE"

    assert await scene.world.balance(scene.babel) == (0, 0)
    await scene.world.assert_clean_ledger()


async def test_a_refund_with_a_lost_response_is_not_repeated(scene: DonationScene) -> None:
    order_id = expect_order(await scene.transfer("10.00"))

    payloads = await asyncio.gather(*(scene.refund(order_id, "4.00", idempotencyKey="k") for _ in range(6)))

    assert all(payload == payloads[0] for payload in payloads)
    assert [t["amount"]["minorUnits"] for t in payloads[0]["transactions"]] == ["-400"]
    assert await scene.world.balance(scene.babel) == (600, 0)
    await scene.world.assert_clean_ledger()


async def test_overlapping_bulk_approvals_approve_each_order_once(scene: DonationScene) -> None:
    orders = [await scene.expense("1.00") for _ in range(8)]

    async def approve(ids: list[str]) -> list[str | None]:
        payload = await scene.world.mutate(
            "approveOrders", "results { id errors { code } }", by=scene.giver, ids=ids
        )
        assert [result["id"] for result in payload["results"]] == ids
        return [r["errors"][0]["code"] if r["errors"] else None for r in payload["results"]]

    payloads = await asyncio.gather(*(approve(orders[i:] + orders[: i // 2]) for i in range(8)))

    codes = Counter(one for each in payloads for one in each)
    assert codes[None] == 8
    assert codes.keys() <= {None, "INVALID_STATE"}
    assert await scene.world.balance(scene.webpack) == (10_000, 800)
    await scene.world.assert_clean_ledger()


async def test_concurrent_uses_of_the_same_money_spend_it_once(scene: DonationScene) -> None:
    """A hold, a donation, a transfer and a payout into a balance reach for the same 100.00."""
    held = await scene.expense("60.00")
    paid = await scene.expense("60.00", payoutMethod="BALANCE")

    codes = await together(
        scene.approve(held),
        scene.approve(paid),
        scene.donate("60.00"),
        scene.transfer("60.00"),
        scene.world.mutate(
            "donate",
            "order { id }",
            by=scene.giver,
            amount=money("60.00"),
            to=ref(scene.payee),
            **{"from": ref(scene.webpack)},
        ),
    )

    assert Counter(codes) == {None: 1, "INSUFFICIENT_FUNDS": 4}
    posted, kept = await scene.world.balance(scene.webpack)
    assert posted - kept == 4000
    await scene.world.assert_clean_ledger()
