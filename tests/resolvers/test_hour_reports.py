"""Reports of a nonprofit's hours: pending hours by week, and sums by volunteer, admin and period."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.donation_world import expect_order
from tests.factories import Person, World, money, ref
from tests.hours_world import HoursScene, yesterday
from tests.statement_counts import record_statements, without_control

WAITING = """query($s: String!, $a: CollectiveRef) { collective(slug: $s) { ... on Nonprofit {
    hoursToApprove(first: 100, addressedTo: $a) { week volunteer { slug } amount { minorUnits }
    orders { id status } } } } }"""
REPORT = """query($s: String!, $b: HoursBy!, $f: DateTime, $u: DateTime) { collective(slug: $s) {
    ... on Nonprofit { hoursReport(by: $b, startsFrom: $f, startsUntil: $u) { collective { slug } period
    requested { minorUnits } requestedCount approved { minorUnits } approvedCount } } } }"""


@pytest.fixture
async def scene(world: World) -> HoursScene:
    return await HoursScene.create(world)


async def waiting(scene: HoursScene, by: Person | None = None, **more: Any) -> list[dict[str, Any]]:
    data = await scene.world.query(WAITING, by=by or scene.chris, s=scene.nonprofit.slug, **more)
    rows: list[dict[str, Any]] = data["collective"]["hoursToApprove"]
    return rows


async def report(scene: HoursScene, by: str, viewer: Person | None = None, **more: Any) -> list[Any]:
    data = await scene.world.query(REPORT, by=viewer or scene.chris, s=scene.nonprofit.slug, b=by, **more)
    return [
        (
            row["collective"] and row["collective"]["slug"],
            int(row["requested"]["minorUnits"]),
            row["requestedCount"],
            int(row["approved"]["minorUnits"]),
            row["approvedCount"],
        )
        for row in data["collective"]["hoursReport"]
    ]


async def test_pending_hours_are_grouped_by_week_and_volunteer_and_approved_in_one_call(
    scene: HoursScene,
) -> None:
    ann = await scene.world.person("ann")
    monday = yesterday(8, days=7) - timedelta(days=yesterday(8, days=7).weekday())
    days = [monday, monday + timedelta(days=1)]
    order_ids = [expect_order(await scene.log(1, start=day)) for day in days]
    expect_order(await scene.log(2, start=days[0], by=ann))
    rows = await waiting(scene)
    assert {row["volunteer"]["slug"]: row["amount"]["minorUnits"] for row in rows} == {
        "john": "2000",
        "ann": "2000",
    }
    assert {row["week"] for row in rows} == {monday.date().isoformat()}
    johns = next(row for row in rows if row["volunteer"]["slug"] == "john")
    assert [order["id"] for order in johns["orders"]] == order_ids
    done_ = await scene.world.mutate(
        "approveOrders", "results { errors { code } }", by=scene.chris, ids=order_ids
    )
    assert [r["errors"] for r in done_["results"]] == [[], []]
    assert [row["volunteer"]["slug"] for row in await waiting(scene)] == ["ann"]


async def test_a_coordinator_lists_the_requests_addressed_to_them(scene: HoursScene) -> None:
    expect_order(await scene.log(1))
    mine = expect_order(await scene.log(1, start=yesterday(12), coordinatorEmail=scene.chris.email))
    rows = await waiting(scene, a=ref(scene.chris))
    assert [[order["id"] for order in row["orders"]] for row in rows] == [[mine]]
    query = "query($f: OrderFilter) { orders(filter: $f) { nodes { id addressedTo { slug } } } }"
    data = await scene.world.query(query, by=scene.chris, f={"addressedTo": ref(scene.chris)})
    assert data["orders"]["nodes"] == [{"id": mine, "addressedTo": {"slug": "chris"}}]


async def test_hours_are_summed_by_volunteer_admin_and_period(scene: HoursScene) -> None:
    ann = await scene.world.person("ann")
    first = expect_order(await scene.log(3, start=yesterday(8)))
    expect_order(await scene.log(1, start=yesterday(12)))
    second = expect_order(await scene.log(2, start=yesterday(8), by=ann))
    refused = expect_order(await scene.log(2, start=yesterday(12), by=ann))
    await scene.approve(first, amount=money("2.500", "CUR"), reason="Lunch")
    await scene.approve(second)
    await scene.world.mutate("rejectOrder", by=scene.chris, id=refused, reason="No")
    assert await report(scene, "VOLUNTEER") == [("john", 1000, 1, 2500, 1), ("ann", 0, 0, 2000, 1)]
    assert sorted(await report(scene, "ADMIN"), key=str) == [
        ("chris", 0, 0, 4500, 2),
        (None, 1000, 1, 0, 0),
    ]
    for by in ("WEEK", "MONTH"):
        assert await report(scene, by) == [(None, 1000, 1, 4500, 2)]
    since = yesterday(10).isoformat()
    assert await report(scene, "VOLUNTEER", f=since) == [("john", 1000, 1, 0, 0)]
    assert await report(scene, "VOLUNTEER", u=yesterday(7).isoformat()) == []


async def test_hours_are_visible_to_the_nonprofits_admins_and_accountants(scene: HoursScene) -> None:
    expect_order(await scene.log(1))
    for stranger in (scene.mark, scene.john):
        assert await waiting(scene, stranger) == []
        assert await report(scene, "VOLUNTEER", stranger) == []
    assert len(await waiting(scene, scene.world.admin)) == 1


async def test_the_number_of_statements_does_not_depend_on_the_list(
    scene: HoursScene, engine: AsyncEngine
) -> None:
    await waiting(scene)  # the viewer is known from now on
    counts = []
    for part in range(2):
        for i in range(1 + 3 * part):
            expect_order(await scene.log(0.25, start=yesterday(8 + part, i * 15)))
        with record_statements(engine) as statements:
            await waiting(scene)
        counts.append(len(without_control(statements)))
    assert counts[0] == counts[1] == 1


@pytest.mark.parametrize("first", [0, 101])
async def test_a_page_has_1_to_100_rows(scene: HoursScene, first: int) -> None:
    query = f'{{ collective(slug: "greatdeeds") {{ ... on Nonprofit {{ hoursToApprove(first: {first})'
    body = await scene.world.execute(query + " { week } } } }", by=scene.chris)
    assert body["errors"][0]["extensions"]["code"] == "INVALID_INPUT"
