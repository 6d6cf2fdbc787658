"""Bounds of events: how long, how far away, how much an attendance credits, and who changes it when."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models import now
from services.approvals import decisions
from services.collectives import event_times
from services.core.errors import Invalid
from tests.conftest import Database
from tests.donation_world import error_code, expect_order
from tests.event_world import EventScene
from tests.event_world import event_times as times_of
from tests.factories import Person, World, money, ref

YEAR, DAY = 366 * 24, 24


@pytest.fixture
async def scene(shared: World) -> EventScene:
    return await EventScene.create(shared)


@pytest.mark.parametrize(
    ("starts", "hours", "field"),
    [
        (24, 37 * YEAR, "endsAt"),
        (24, 14 * DAY + 0.01, "endsAt"),
        (-YEAR - 1, 2, "startsAt"),
        (-37 * YEAR, 2, "startsAt"),
        (6 * YEAR, 2, "startsAt"),
        (5 * 365.25 * DAY + 2 * DAY, 2, "startsAt"),
        (24, 0, "endsAt"),
    ],
)
async def test_an_event_is_bounded_in_time(
    scene: EventScene, starts: float, hours: float, field: str
) -> None:
    times = times_of(starts, hours)
    arguments: dict[str, Any] = {"parent": ref(scene.nonprofit), "name": "Long"} | times
    await scene.expect_problem("createEvent", "INVALID_INPUT", field, by=scene.chris, **arguments)
    event = await scene.event()
    await scene.expect_problem("updateEvent", "INVALID_INPUT", field, by=scene.chris, event=event, **times)


@pytest.mark.parametrize(("starts", "hours"), [(24, 14 * DAY), (-YEAR + 1, 2), (5 * 365 * DAY, 2)])
async def test_an_event_may_reach_its_bounds(scene: EventScene, starts: float, hours: float) -> None:
    await scene.event(starts=starts, hours=hours)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("ends_at = starts_at + interval '14 days 1 second'", "event_duration"),
        (
            "starts_at = starts_at - interval '2 years', ends_at = starts_at - interval '729 days'",
            "event_not_long_ago",
        ),
        (
            "starts_at = now() + interval '6 years', ends_at = now() + interval '6 years 1 h'",
            "event_not_far_ahead",
        ),
    ],
)
async def test_the_database_bounds_events_too(scene: EventScene, change: str, constraint: str) -> None:
    event = await scene.event()
    with pytest.raises(DBAPIError, match=constraint):
        async with scene.world.sessions() as session, session.begin():
            await session.execute(
                text(f"UPDATE collective SET {change} WHERE slug = :slug"), {"slug": event["slug"]}
            )


async def test_the_application_bounds_events_by_itself() -> None:
    moment = now()
    for starts_at, ends_at in (
        (moment, moment + event_times.MAX_DURATION + timedelta(seconds=1)),
        (moment - event_times.MAX_AGE - timedelta(seconds=1), moment - event_times.MAX_AGE),
    ):
        with pytest.raises(Invalid):
            event_times.require_times(starts_at, ends_at)


@pytest.mark.parametrize("policy", ["FULL_EVENT", "ACTUAL"])
async def test_an_attendance_credits_at_most_the_policys_hours(scene: EventScene, policy: str) -> None:
    ann = await scene.person("ann")
    event = await scene.event(starts=-1, hours=13 * DAY, creditPolicy=policy)
    order = (await scene.check_in(event, ann))["order"]
    assert order["amount"]["value"] == "72.000"
    assert await scene.currents(ann) == (0 if policy == "ACTUAL" else 72_000)
    if policy == "ACTUAL":
        assert (await scene.check_out(event, ann))["errors"] == []
        assert await scene.currents(ann) == 1


@pytest.mark.parametrize("column", ["amount", "approved_amount"])
async def test_the_database_refuses_a_longer_credit(scene: EventScene, column: str) -> None:
    ann = await scene.person("ann")
    event = await scene.event(starts=-1, hours=13 * DAY, creditPolicy="ACTUAL")
    expect_order(await scene.check_in(event, ann))
    copy = (
        'INSERT INTO "order" SELECT (jsonb_populate_record(o, jsonb_build_object('
        f"'id', gen_random_uuid(), '{column}', 72001, 'starts_at', o.starts_at - interval '30 days',"
        " 'ends_at', o.ends_at - interval '20 days'))).* FROM \"order\" o WHERE o.to_id = :id"
    )
    update = f'UPDATE "order" SET {column} = 72001 WHERE to_id = :id'
    for statement in (copy, update) if column == "approved_amount" else (copy,):
        with pytest.raises(DBAPIError, match="exceed what can be credited"):
            async with scene.world.sessions() as session, session.begin():
                await session.execute(text(statement), {"id": ann.user.id})


async def test_the_database_refuses_more_hours_than_time(scene: EventScene) -> None:
    ann = await scene.person("ann")
    event = await scene.event(starts=0, creditPolicy="ACTUAL")
    expect_order(await scene.check_in(event, ann))
    copy = (
        'INSERT INTO "order" SELECT (jsonb_populate_record(o, jsonb_build_object('
        "'id', gen_random_uuid(), 'amount', 2001, 'starts_at', now() - interval '32 hours',"
        " 'ends_at', now() - interval '30 hours'))).* FROM \"order\" o WHERE o.to_id = :id"
    )
    with pytest.raises(DBAPIError, match="at most the time that they took"):
        async with scene.world.sessions() as session, session.begin():
            await session.execute(text(copy), {"id": ann.user.id})


async def test_a_check_in_is_at_most_two_weeks_late(scene: EventScene) -> None:
    ann = await scene.person("ann")
    late = await scene.event(starts=-14 * DAY - 3, hours=2.9)
    await scene.expect_problem("checkIn", "INVALID_STATE", "event", by=scene.chris, event=late, user=ref(ann))
    assert expect_order(await scene.check_in(await scene.event(starts=-14 * DAY - 1, hours=2), ann))
    over = await scene.event(starts=-3, hours=2, creditPolicy="ACTUAL")
    await scene.expect_problem("checkIn", "INVALID_STATE", "event", by=scene.chris, event=over, user=ref(ann))


async def event_admin(scene: EventScene, event: dict[str, Any]) -> Person:
    """Return an ADMIN of the event who is none of its parent."""
    eve = await scene.person("eve")
    row = await scene.world.scalar("SELECT id FROM collective WHERE slug = :s", s=event["slug"])
    async with scene.world.sessions() as session, session.begin():
        await session.execute(
            text(
                "INSERT INTO member (id, collective_id, member_id, role)"
                " VALUES (gen_random_uuid(), :event, :eve, 'ADMIN')"
            ),
            {"event": row, "eve": eve.user.id},
        )
    return eve


@pytest.mark.parametrize(
    "change", [times_of(-2000, 100), {"endsAt": times_of(100)["endsAt"]}, {"creditPolicy": "FULL_EVENT"}]
)
async def test_once_check_in_has_opened_an_admin_of_the_event_alone_cannot_change_what_it_credits(
    scene: EventScene, change: dict[str, Any]
) -> None:
    event = await scene.event(starts=0.9, creditPolicy="ACTUAL")
    eve, ann = await event_admin(scene, event), await scene.person("ann")
    await scene.expect_denied("updateEvent", by=eve, event=event, **change)
    renamed = await scene.world.mutate("updateEvent", by=eve, event=event, name="Cleanup of the river")
    assert renamed["errors"] == []
    later = await scene.event(starts=2)
    await event_admin(scene, later)
    assert (await scene.world.mutate("updateEvent", by=eve, event=later, **times_of(3)))["errors"] == []
    expect_order(await scene.check_in(event, ann))
    if "creditPolicy" not in change:
        return
    credited = await scene.world.scalar('SELECT ends_at FROM "order" WHERE to_id = :id', id=ann.user.id)
    moved = await scene.world.mutate("updateEvent", by=scene.chris, event=event, **times_of(0.5, 9))
    assert moved["errors"] == []
    kept = await scene.world.scalar('SELECT ends_at FROM "order" WHERE to_id = :id', id=ann.user.id)
    assert kept == credited  # what is credited stays


async def test_a_check_in_without_check_out_is_closed_at_the_end_by_the_job(
    shared_database: Database, scene: EventScene
) -> None:
    ann = await scene.person("ann")
    event = await scene.event(starts=-0.5, creditPolicy="ACTUAL")
    order_id = expect_order(await scene.check_in(event, ann))
    async with scene.world.sessions() as session, session.begin():
        await decisions.expire_due_orders(session)
    assert await scene.currents(ann) == 0  # not while it lasts
    set_end(shared_database, event, ann, present_hours=1.25)
    async with scene.world.sessions() as session, session.begin():
        await decisions.expire_due_orders(session)
    assert await scene.currents(ann) == 1250
    query = "query($id: ID!) { order(id: $id) { status actions { type actor { slug } } } }"
    order = (await scene.world.query(query, by=scene.chris, id=order_id))["order"]
    assert order["status"] == "PAID"
    assert [a["actor"] for a in order["actions"]] == [{"slug": scene.chris.slug}, None, None]
    late = await scene.check_out(event, ann)
    assert (late["order"]["id"], late["order"]["status"]) == (order_id, "PAID")
    assert await scene.currents(ann) == 1250


def set_end(database: Database, event: dict[str, Any], person: Person, *, present_hours: float) -> None:
    """Let an event end a moment ago, its attendee having been there for some hours, as the tables' owner."""
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE collective SET ends_at = now() - interval '1 second', starts_at = now()"
            " - interval '2 hours 1 second' WHERE slug = %s",
            [event["slug"]],
        )
        connection.execute(
            "UPDATE \"order\" SET ends_at = now() - interval '1 second',"
            " starts_at = now() - interval '1 second' - %s * interval '1 hour' WHERE to_id = %s",
            [present_hours, person.user.id],
        )


async def test_an_open_check_in_never_blocks_the_next_one(
    shared_database: Database, scene: EventScene
) -> None:
    ann = await scene.person("ann")
    event = await scene.event(starts=-0.5, creditPolicy="ACTUAL")
    expect_order(await scene.check_in(event, ann))
    set_end(shared_database, event, ann, present_hours=0.5)
    following = await scene.event(starts=0, hours=1)
    assert expect_order(await scene.check_in(following, ann))
    assert await scene.currents(ann) == 1500


async def test_hours_that_cannot_be_paid_expire_and_block_nothing(
    shared_database: Database, scene: EventScene
) -> None:
    ann = await scene.person("ann")
    event = await scene.event(starts=-0.5, creditPolicy="ACTUAL")
    order_id = expect_order(await scene.check_in(event, ann))
    set_end(shared_database, event, ann, present_hours=0.5)
    capped: dict[str, Any] = {
        "nonprofit": ref(scene.nonprofit),
        "period": "MONTH",
        "amount": money("0", "CUR"),
    }
    assert error_code(await scene.world.mutate("setIssuanceCap", by=scene.world.admin, **capped)) is None
    async with scene.world.sessions() as session, session.begin():
        await decisions.expire_due_orders(session)
    query = "query($id: ID!) { order(id: $id) { status } }"
    assert (await scene.world.query(query, by=scene.chris, id=order_id))["order"] == {"status": "EXPIRED"}
    assert await scene.currents(ann) == 0
