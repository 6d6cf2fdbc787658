"""The community's figures, leaderboards, and what the platform owes."""

from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from models import Collective, new_id, now
from models.enums import LedgerAccountKind, MemberRole
from services.ledger import posting, transaction_amounts
from tests.donation_world import code, done
from tests.factories import Person, World, money, of
from tests.hours_world import TimeScene, issuer, yesterday
from tests.test_statement_counts import counted, statements

STATS = """query($p: Period) { communityStats(period: $p) {
    period issued { value currency } accepted { minorUnits } activeVolunteers } }"""
BOARD = """query($by: LeaderboardBy!, $p: Period, $n: Int) { leaderboard(by: $by, period: $p, first: $n) {
    rank amount { minorUnits } collective { slug name } } }"""
REPORT = """{ liabilityReport { owed { minorUnits currency } owedCount available { minorUnits }
    outstanding { issuer { slug } amount { minorUnits } } outstandingTotal { minorUnits currency } } }"""


@pytest.fixture
async def scene(world: World) -> TimeScene:
    return await TimeScene.create(world)


async def board(world: World, by: str, **given: Any) -> list[tuple[int, str, int]]:
    """Return rank, slug and minor units of each place, as anybody sees it."""
    query = BOARD.replace("$by: LeaderboardBy!, ", "").replace("$by", by)
    found = (await world.ask(query, **given))["leaderboard"]
    return [(e["rank"], e["collective"]["slug"], int(e["amount"]["minorUnits"])) for e in found]


async def stats(world: World, period: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = (await world.ask(STATS, p=period))["communityStats"]
    return found


async def issued(
    scene: TimeScene, amount: int, *, to: Person, days_ago: float = 0, refund_of: UUID | None = None
) -> UUID:
    """Post currents for hours, or take them back, at a moment in the past; return the transaction."""
    platform_id, from_id, to_id = scene.world.platform.id, scene.nonprofit.id, to.user.id
    row = {
        "id": new_id(),
        "group_id": new_id(),
        "kind": "REFUND" if refund_of else "HOURS",
        "refund_of_id": refund_of,
        "from_collective_id": from_id,
        "to_collective_id": to_id,
        "from_host_id": platform_id,
        "to_host_id": platform_id,
        "has_public_side": False,
        "at": (now() - timedelta(days=days_ago)).isoformat(),
        **asdict(transaction_amounts.unconverted(amount, transaction_amounts.CURRENTS)),
    }
    legs = transaction_amounts.currents_legs(
        book_id=platform_id, from_id=from_id, to_id=to_id, amount=amount, kind_from=LedgerAccountKind.ISSUANCE
    )
    async with scene.world.sessions() as session, session.begin():
        await posting.post(session, row=row, legs=legs)
    return UUID(str(row["id"]))


async def redeemed(scene: TimeScene, price: str = "20.00") -> str:
    """Let john give the business currents for a quarter of a price, approved; return the order's id."""
    made = await scene.world.do(
        "createOffer",
        "offer { id }",
        by=scene.mark,
        business=of(scene.business),
        item=new_id().hex,
        currentsSharePercent=25,
    )
    order = done(
        await scene.world.do(
            "redeemOffer",
            "order { id }",
            by=scene.john,
            offer=made["offer"]["id"],
            price=money(price),
            receipt="no. 7",
        )
    )
    assert code(await scene.approve(order, by=scene.mark)) is None
    return order


async def test_a_new_community_has_done_nothing(world: World) -> None:
    assert await stats(world) == {
        "period": "ALL_TIME",
        "issued": {"value": "0.000", "currency": "CUR"},
        "accepted": {"minorUnits": "0"},
        "activeVolunteers": 0,
    }
    for by in ("NONPROFIT", "BUSINESS", "VOLUNTEER"):
        assert await board(world, by) == []


async def test_hours_and_redemptions_count(scene: TimeScene) -> None:
    world = scene.world
    await scene.earn("3.000")
    await redeemed(scene)
    await world.do("setPlatformPolicy", by=world.admin, signupBonus=money("5", "CUR"))
    assert await stats(world) == {
        "period": "ALL_TIME",
        "issued": {"value": "3.000", "currency": "CUR"},
        "accepted": {"minorUnits": "250"},
        "activeVolunteers": 1,
    }
    assert await board(world, "NONPROFIT") == [(1, "greatdeeds", 3000)]
    assert await board(world, "BUSINESS") == [(1, "consciousbiz", 250)]
    assert await board(world, "VOLUNTEER") == [(1, "john", 3000)]


async def test_equal_amounts_have_equal_ranks_in_the_order_of_slugs(scene: TimeScene) -> None:
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
        assert (error["extensions"]["code"], error["extensions"]["path"]) == ("INVALID_INPUT", ("first",))


async def test_who_is_unclaimed_archived_or_merged_has_no_place_but_their_nonprofit_does(
    scene: TimeScene,
) -> None:
    world = scene.world
    walk_in, twin = await world.person("walk-in", claimed=False), await world.person("twin")
    for person in (walk_in, twin, scene.john):
        await issued(scene, 2000, to=person)
    given: dict[str, Any] = {"from": of(twin), "into": of(scene.mark)}
    merged = await world.do("mergeUsers", by=world.admin, **given)
    assert merged["errors"] == []
    assert await board(world, "VOLUNTEER") == [(1, "john", 2000)]
    assert await board(world, "NONPROFIT") == [(1, "greatdeeds", 6000)]
    assert (await stats(world))["activeVolunteers"] == 3
    async with world.sessions() as session, session.begin():
        (await session.get_one(Collective, scene.nonprofit.id)).archived_at = now()
    assert await board(world, "NONPROFIT") == []


async def test_a_period_looks_back_by_ledger_time(scene: TimeScene) -> None:
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
        found = await stats(world, period)
        assert (found["issued"]["value"], found["activeVolunteers"]) == (f"{slugs}.000", slugs)
        assert len(await board(world, "VOLUNTEER", p=period)) == slugs
        assert await board(world, "NONPROFIT", p=period) == [(1, "greatdeeds", slugs * 1000)]


async def test_what_was_taken_back_does_not_count(scene: TimeScene) -> None:
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
    await world.audit_is_clean()


async def test_each_figure_is_one_statement_and_a_leaderboard_one_more_for_all_its_names(
    scene: TimeScene, engine: AsyncEngine
) -> None:
    for number in range(12):
        await issued(scene, 1000 + number, to=await scene.world.person(f"person-{number}"))
    with counted(engine) as sent:
        await stats(scene.world)
    assert len(statements(sent)) == 1
    for first in (2, 12):
        with counted(engine) as sent:
            assert len(await board(scene.world, "VOLUNTEER", n=first)) == first
        assert len(statements(sent)) == 2


async def test_the_platform_sees_what_it_owes_and_what_is_out(scene: TimeScene, engine: AsyncEngine) -> None:
    world = scene.world
    other = await issuer(world, "another", scene.chris)
    await world.fund(world.platform, "100.00", by=world.admin)
    await scene.earn("3.000")
    more = await scene.log(8, start=yesterday(12, days=5), nonprofit=of(other))
    assert code(await scene.approve(done(more))) is None
    first, _ = await redeemed(scene), await redeemed(scene, "40.00")
    query = {"owed": {"minorUnits": "1500", "currency": "USD"}, "owedCount": 2}
    with counted(engine) as sent:
        report = (await world.ask(REPORT, by=world.admin))["liabilityReport"]
    assert len(statements(sent)) == 4  # the viewer, two of the report, the issuers
    assert report == query | {
        "available": {"minorUnits": "10000"},
        "outstanding": [
            {"issuer": {"slug": "another"}, "amount": {"minorUnits": "8000"}},
            {"issuer": {"slug": "greatdeeds"}, "amount": {"minorUnits": "3000"}},
        ],
        "outstandingTotal": {"minorUnits": "11000", "currency": "CUR"},
    }
    assert code(await world.do("payOrder", by=world.admin, id=first)) is None
    paid = (await world.ask(REPORT, by=world.admin))["liabilityReport"]
    assert (paid["owed"]["minorUnits"], paid["owedCount"]) == ("1000", 1)
    assert paid["available"]["minorUnits"] == str(10_000 - 500 + 50)


async def test_the_report_is_for_the_platforms_admins_and_accountants(scene: TimeScene) -> None:
    world = scene.world
    auditor = await world.person("auditor")
    await world.member(world.platform, auditor, MemberRole.ACCOUNTANT)
    assert (await world.ask(REPORT, by=auditor))["liabilityReport"]["owedCount"] == 0
    for viewer, expected in (
        (None, "UNAUTHENTICATED"),
        (scene.chris, "FORBIDDEN"),
        (scene.john, "FORBIDDEN"),
    ):
        body = await world.execute(REPORT, by=viewer)
        assert body["errors"][0]["extensions"]["code"] == expected
        assert body["data"] == {"liabilityReport": None}
