"""The community's figures, leaderboards, and what the platform owes."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col

from models import Collective, Order, Transaction, new_id, now
from models.enums import LedgerAccountKind, MemberRole, OrderStatus, OrderType
from services.collectives import platform_policy
from services.ledger import posting, transaction_amounts
from services.ledger.legs import currents_legs
from tests.donation_world import error_code, expect_order
from tests.factories import Person, World, money, ref
from tests.hours_world import HoursScene, create_issuer, yesterday
from tests.statement_counts import record_statements, without_control

_DAYS = count()
STATS = """query($p: Period) { communityStats(period: $p) {
    period issued { value currency } accepted { minorUnits } activeVolunteers } }"""
BOARD = """query($by: LeaderboardBy!, $p: Period, $n: Int) { leaderboard(by: $by, period: $p, first: $n) {
    rank amount { minorUnits } collective { slug name } } }"""
REPORT = """{ liabilityReport { owed { minorUnits currency } owedCount available { minorUnits }
    outstanding { issuer { slug } amount { minorUnits } } outstandingTotal { minorUnits currency } } }"""


@pytest.fixture
async def scene(world: World) -> HoursScene:
    return await HoursScene.create(world)


async def board(world: World, by: str, **arguments: Any) -> list[tuple[int, str, int]]:
    """Return rank, slug and minor units of each place, as anybody sees it."""
    query = BOARD.replace("$by: LeaderboardBy!, ", "").replace("$by", by)
    leaderboard = (await world.query(query, **arguments))["leaderboard"]
    return [(e["rank"], e["collective"]["slug"], int(e["amount"]["minorUnits"])) for e in leaderboard]


async def stats(world: World, period: str | None = None) -> dict[str, Any]:
    community_stats: dict[str, Any] = (await world.query(STATS, p=period))["communityStats"]
    return community_stats


async def issued(
    scene: HoursScene, amount: int, *, to: Person, days_ago: float = 0, refund_of: UUID | None = None
) -> UUID:
    """Post currents for hours, or take them back, at a moment in the past; return the transaction."""
    platform_id, from_id, to_id = scene.world.platform.id, scene.nonprofit.id, to.user.id
    order_id = await _order_of(scene, amount, to=to, refund_of=refund_of)
    row = {
        "id": new_id(),
        "group_id": new_id(),
        "kind": "REFUND" if refund_of else "HOURS",
        "refund_of_id": refund_of,
        "order_id": order_id,
        "from_collective_id": from_id,
        "to_collective_id": to_id,
        "from_host_id": platform_id,
        "to_host_id": platform_id,
        "has_public_side": False,
        "at": (now() - timedelta(days=days_ago)).isoformat(),
        **transaction_amounts.same_currency_amounts(amount, transaction_amounts.CURRENTS).columns(),
    }
    legs = currents_legs(
        book_id=platform_id,
        from_id=from_id,
        to_id=to_id,
        amount_minor=amount,
        kind_from=LedgerAccountKind.ISSUANCE,
    )
    async with scene.world.sessions() as session, session.begin():
        paid = update(Order).where(col(Order.id) == order_id, col(Order.status) == OrderStatus.PENDING)
        await session.execute(paid.values(status=OrderStatus.PAID, approved_amount=amount))
        await posting.post(session, row=row, legs=legs)
    return UUID(str(row["id"]))


async def _order_of(scene: HoursScene, amount: int, *, to: Person, refund_of: UUID | None) -> UUID | None:
    """Return the order of a transaction that is refunded, or insert one for hours on a day of their own."""
    async with scene.world.sessions() as session, session.begin():
        if refund_of is not None:
            return (await session.get_one(Transaction, refund_of)).order_id
        starts_at = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=next(_DAYS))
        order = Order(
            id=new_id(),
            type=OrderType.HOURS,
            status=OrderStatus.PENDING,
            created_by_id=to.user.id,
            from_id=scene.nonprofit.id,
            to_id=to.user.id,
            currency=transaction_amounts.CURRENTS,
            amount=amount,
            starts_at=starts_at,
            ends_at=starts_at + timedelta(hours=24),
            policy_id=(await platform_policy.load_policy(session)).id,
            has_public_side=False,
            platform_fee_bps=0,
        )
        session.add(order)
        return order.id


async def redeemed(scene: HoursScene, price: str = "20.00") -> str:
    """Redeem a quarter of a price as john, approved; return the order's id."""
    payload = await scene.world.mutate(
        "createOffer",
        "offer { id }",
        by=scene.mark,
        business=ref(scene.business),
        item=new_id().hex,
        currentsSharePercent=25,
    )
    order = expect_order(
        await scene.world.mutate(
            "redeemOffer",
            "order { id }",
            by=scene.john,
            offer=payload["offer"]["id"],
            price=money(price),
            receipt="no. 7",
        )
    )
    assert error_code(await scene.approve(order, by=scene.mark)) is None
    return order


async def test_a_new_community_has_empty_statistics(world: World) -> None:
    assert await stats(world) == {
        "period": "ALL_TIME",
        "issued": {"value": "0.000", "currency": "CUR"},
        "accepted": {"minorUnits": "0"},
        "activeVolunteers": 0,
    }
    for by in ("NONPROFIT", "BUSINESS", "VOLUNTEER"):
        assert await board(world, by) == []


async def test_hours_and_redemptions_are_counted(scene: HoursScene) -> None:
    world = scene.world
    await scene.earn("3.000")
    await redeemed(scene)
    await world.mutate("setPlatformPolicy", by=world.admin, signupBonus=money("5", "CUR"))
    assert await stats(world) == {
        "period": "ALL_TIME",
        "issued": {"value": "3.000", "currency": "CUR"},
        "accepted": {"minorUnits": "250"},
        "activeVolunteers": 1,
    }
    assert await board(world, "NONPROFIT") == [(1, "greatdeeds", 3000)]
    assert await board(world, "BUSINESS") == [(1, "consciousbiz", 250)]
    assert await board(world, "VOLUNTEER") == [(1, "john", 3000)]


async def test_equal_amounts_share_a_rank_and_are_sorted_by_slug(scene: HoursScene) -> None:
    world = scene.world
    for slug, hours in (("zoe", 2), ("ada", 2), ("bob", 5), ("cy", 1)):
        await issued(scene, hours * 1000, to=await world.person(slug))
    assert await board(world, "VOLUNTEER") == [
        (1, "bob", 5000),
        (2, "ada", 2000),
        (2, "zoe", 2000),
        (4, "cy", 1000),
    ]
    assert await board(world, "VOLUNTEER", n=2) == [(1, "bob", 5000), (2, "ada", 2000)]
    assert await board(world, "VOLUNTEER", n=None) == await board(world, "VOLUNTEER")
    for first in (0, 101):
        query = f"{{ leaderboard(by: VOLUNTEER, first: {first}) {{ rank }} }}"
        (error,) = (await world.execute(query))["errors"]
        assert (error["extensions"]["code"], error["extensions"]["path"]) == ("INVALID_INPUT", ["first"])


async def test_unclaimed_archived_and_merged_users_are_not_ranked_but_their_nonprofit_is(
    scene: HoursScene,
) -> None:
    world = scene.world
    walk_in, twin = await world.person("walk-in", claimed=False), await world.person("twin")
    for person in (walk_in, twin, scene.john):
        await issued(scene, 2000, to=person)
    arguments: dict[str, Any] = {"from": ref(twin), "into": ref(scene.mark)}
    await world.consent_to_merge(twin, scene.mark)
    merged = await world.mutate("mergeUsers", by=world.admin, **arguments)
    assert merged["errors"] == []
    assert await board(world, "VOLUNTEER") == [(1, "john", 2000)]
    assert await board(world, "NONPROFIT") == [(1, "greatdeeds", 6000)]
    assert (await stats(world))["activeVolunteers"] == 3
    async with world.sessions() as session, session.begin():
        (await session.get_one(Collective, scene.nonprofit.id)).archived_at = now()
    assert await board(world, "NONPROFIT") == []


async def test_a_period_looks_back_by_ledger_time(scene: HoursScene) -> None:
    world = scene.world
    people = [await world.person(name) for name in ("ages-ago", "this-year", "this-month", "this-week")]
    for person, days in zip(people, (400, 200, 20, 3), strict=True):
        await issued(scene, 1000, to=person, days_ago=days)
    for period, slugs in (
        ("ALL_TIME", 4),
        ("YEAR", 3),
        ("MONTH", 2),
        ("WEEK", 1),
        (None, 4),
    ):
        result = await stats(world, period)
        assert (result["issued"]["value"], result["activeVolunteers"]) == (f"{slugs}.000", slugs)
        assert len(await board(world, "VOLUNTEER", p=period)) == slugs
        assert await board(world, "NONPROFIT", p=period) == [(1, "greatdeeds", slugs * 1000)]


async def test_refunded_amounts_are_not_counted(scene: HoursScene) -> None:
    world = scene.world
    bob = await world.person("bob")
    first = await issued(scene, 3000, to=scene.john, days_ago=20)
    await issued(scene, 1000, to=bob, days_ago=20)
    await issued(scene, -2500, to=scene.john, refund_of=first)
    assert await board(world, "VOLUNTEER") == [(1, "bob", 1000), (2, "john", 500)]
    assert await board(world, "NONPROFIT") == [(1, "greatdeeds", 1500)]
    assert (await stats(world))["issued"]["value"] == "1.500"
    assert await board(world, "VOLUNTEER", p="WEEK") == []
    await issued(scene, -500, to=scene.john, refund_of=first)
    assert await board(world, "VOLUNTEER") == [(1, "bob", 1000)]
    await world.assert_clean_ledger()


async def test_the_statistics_and_a_leaderboard_are_one_statement(
    scene: HoursScene, engine: AsyncEngine
) -> None:
    for number in range(12):
        await issued(scene, 1000 + number, to=await scene.world.person(f"person-{number}"))
    with record_statements(engine) as statements:
        await stats(scene.world)
    assert len(without_control(statements)) == 1
    for first in (2, 12):
        with record_statements(engine) as statements:
            assert len(await board(scene.world, "VOLUNTEER", n=first)) == first
        assert len(without_control(statements)) == 1


async def test_the_platform_report_has_liabilities_and_outstanding_currents(
    scene: HoursScene, engine: AsyncEngine
) -> None:
    world = scene.world
    other = await create_issuer(world, "another", scene.chris)
    await world.fund(world.platform, "100.00", by=world.admin)
    await scene.earn("3.000")
    more = await scene.log(8, start=yesterday(12, days=5), nonprofit=ref(other))
    assert error_code(await scene.approve(expect_order(more))) is None
    first, _ = await redeemed(scene), await redeemed(scene, "40.00")
    query = {"owed": {"minorUnits": "1500", "currency": "USD"}, "owedCount": 2}
    with record_statements(engine) as statements:
        report = (await world.query(REPORT, by=world.admin))["liabilityReport"]
    assert len(without_control(statements)) == 1
    assert report == query | {
        "available": {"minorUnits": "10000"},
        "outstanding": [
            {"issuer": {"slug": "another"}, "amount": {"minorUnits": "8000"}},
            {"issuer": {"slug": "greatdeeds"}, "amount": {"minorUnits": "3000"}},
        ],
        "outstandingTotal": {"minorUnits": "11000", "currency": "CUR"},
    }
    assert error_code(await world.mutate("payOrder", by=world.admin, id=first)) is None
    paid = (await world.query(REPORT, by=world.admin))["liabilityReport"]
    assert (paid["owed"]["minorUnits"], paid["owedCount"]) == ("1000", 1)
    assert paid["available"]["minorUnits"] == str(10_000 - 500 + 50)


async def test_the_report_is_visible_to_platform_admins_and_accountants(scene: HoursScene) -> None:
    world = scene.world
    auditor = await world.person("auditor")
    await world.member(world.platform, auditor, MemberRole.ACCOUNTANT)
    assert (await world.query(REPORT, by=auditor))["liabilityReport"]["owedCount"] == 0
    for viewer, expected in (
        (None, "UNAUTHENTICATED"),
        (scene.chris, "FORBIDDEN"),
        (scene.john, "FORBIDDEN"),
    ):
        body = await world.execute(REPORT, by=viewer)
        assert body["errors"][0]["extensions"]["code"] == expected
        assert body["data"] == {"liabilityReport": None}
