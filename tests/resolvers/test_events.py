"""Events: making, editing, calling off, coming, waiting, inviting and writing; who hears of it."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from models import now
from tests.donation_world import code
from tests.event_world import EventScene, times
from tests.factories import World, of
from tests.test_statement_counts import counted, statements

EVENT = """event { slug name description location timezone startsAt endsAt capacity isPublic creditPolicy
    isCancelled cancelledAt coordinator { slug } }"""
RESULTS = "results { email member { role member { slug } } errors { code path } }"


@pytest.fixture
async def scene(shared: World) -> EventScene:
    return await EventScene.create(shared)


async def update(scene: EventScene, event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    done = await scene.world.do("updateEvent", EVENT, by=scene.chris, event=event, **changes)
    assert done["errors"] == [], done
    found: dict[str, Any] = done["event"]
    return found


# Making and editing -------------------------------------------------------------------------------------


async def test_who_makes_an_event_coordinates_it_unless_an_admin_is_named_who_gets_a_mail(
    scene: EventScene,
) -> None:
    kim = await scene.admin(scene.nonprofit, "kim")
    fields, given = EVENT, {"parent": of(scene.nonprofit), "name": "Gala", **times(24)}
    made = await scene.world.do("createEvent", fields, by=scene.chris, **given, description="A ball")
    assert (made["event"]["coordinator"], made["event"]["description"]) == (of(scene.chris), "A ball")
    assert await scene.mails("change_event_coordinator") == []
    made = await scene.world.do("createEvent", fields, by=scene.chris, **given, coordinator=of(kim))
    assert made["event"]["coordinator"] == of(kim)
    assert await scene.mails("change_event_coordinator") == ["kim"]


async def test_a_coordinator_is_an_admin(scene: EventScene) -> None:
    ann = await scene.person("ann")
    given: dict[str, Any] = {"parent": of(scene.nonprofit), "name": "Gala", **times(24)}
    for who in (of(ann), of(scene.nonprofit)):
        await scene.refused(
            "createEvent", "INVALID_INPUT", "coordinator", by=scene.chris, **given, coordinator=who
        )
    event = await scene.event()
    await scene.register(event, "ann")
    change: dict[str, Any] = {"event": event, "coordinator": of(ann)}
    await scene.refused("updateEvent", "INVALID_INPUT", "coordinator", by=scene.chris, **change)
    await scene.admin(scene.nonprofit, "ann")
    assert (await update(scene, event, coordinator=of(ann)))["coordinator"] == of(ann)
    assert await scene.mails("change_event_coordinator") == ["ann"]
    await update(scene, event, coordinator=of(ann))
    assert await scene.mails("change_event_coordinator") == ["ann"]


async def test_what_is_not_given_stays_and_null_takes_away_what_can_go(scene: EventScene) -> None:
    event = await scene.event(location="Park", description="x", capacity=9, creditPolicy="ACTUAL")
    before = await update(scene, event)
    assert await update(scene, event, name="Party") == before | {"name": "Party"}
    gone = await update(scene, event, location=None, description=None, capacity=None, name="Cleanup")
    assert gone == before | {"location": None, "description": None, "capacity": None}


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"name": None}, "name"),
        ({"name": " "}, "name"),
        ({"startsAt": None}, "startsAt"),
        ({"endsAt": None}, "endsAt"),
        ({"timezone": None}, "timezone"),
        ({"timezone": "x"}, "timezone"),
        ({"isPublic": None}, "isPublic"),
        ({"creditPolicy": None}, "creditPolicy"),
        ({"creditPolicy": "X"}, "creditPolicy"),
        ({"coordinator": None}, "coordinator"),
        ({"capacity": 0}, "capacity"),
        ({"startsAt": "2200-01-01T00:00Z"}, "endsAt"),
    ],
)
async def test_a_change_that_cannot_be(scene: EventScene, given: dict[str, Any], path: str) -> None:
    event = await scene.event()
    given = {"description": "changed", **given}
    await scene.refused("updateEvent", "INVALID_INPUT", path, by=scene.chris, event=event, **given)


@pytest.mark.parametrize("field", ["location", "timezone"])
async def test_a_place_changes_in_no_way_that_the_registered_do_not_hear_of(
    scene: EventScene, field: str
) -> None:
    event = await scene.event()
    given: dict[str, Any] = {"collective": event, field: "Europe/Paris"}
    await scene.refused("updateCollective", "INVALID_INPUT", field, by=scene.chris, **given)


async def test_a_change_of_time_or_place_is_mailed_to_the_registered_alone(scene: EventScene) -> None:
    event, other = (
        await scene.event(capacity=2, location="Park", timezone="Europe/Berlin"),
        await scene.event(),
    )
    await scene.register(event, "ann", "bob", "waiting")
    await scene.register(other, "elsewhere")
    await scene.person("stranger")
    await update(scene, event, name="Party", description="new", capacity=3)
    assert await scene.mails("edit_event") == []
    changes = (times(30), {"timezone": "Europe/Paris"}, {"location": "Lake"})
    for number, change in enumerate(changes, 1):
        await update(scene, event, **change)
        await update(scene, event, **change)  # nothing new
        assert Counter(await scene.mails("edit_event")) == dict.fromkeys(["ann", "bob", "waiting"], number)
    assert len(await scene.mails("edit_event", location="Lake")) == 3


async def test_an_event_is_edited_before_its_end_and_while_it_takes_place(scene: EventScene) -> None:
    over, off = await scene.event(starts=-3), await scene.event()
    running = await scene.event(starts=-1)
    await scene.world.do("cancelEvent", by=scene.chris, event=off)
    for event in (over, off):
        await scene.refused("updateEvent", "INVALID_STATE", "event", by=scene.chris, event=event, name="x")
    assert (await update(scene, running, name="x"))["name"] == "x"


async def test_who_may_edit_and_call_off_an_event(scene: EventScene) -> None:
    event, hidden = await scene.event(), await scene.event(isPublic=False)
    await scene.register(event, "ann")
    for mutation in ("updateEvent", "cancelEvent", "inviteToEvent"):
        for by in (scene.people["ann"], await scene.person("stranger"), scene.world.admin):
            await scene.forbidden(mutation, by=by, event=event)
        stranger = scene.people["stranger"]
        await scene.refused(mutation, "NOT_FOUND", "event", by=stranger, event=hidden)
        await scene.forbidden(mutation, by=None, code="UNAUTHENTICATED", event=event)
        await scene.refused(mutation, "INVALID_INPUT", "event", by=scene.chris, event=of(scene.nonprofit))


# Calling off --------------------------------------------------------------------------------------------


async def test_calling_an_event_off_ends_registrations_and_mails_those_who_had_one(
    scene: EventScene,
) -> None:
    event = await scene.event(capacity=1)
    await scene.register(event, "ann", "bob")
    await scene.person("stranger")
    done = await scene.world.do("cancelEvent", EVENT, by=scene.chris, event=event, reason="Storm")
    assert (done["errors"], done["event"]["isCancelled"]) == ([], True)
    assert done["event"]["cancelledAt"] is not None
    assert await scene.mails("event_cancelled", reason="Storm") == ["ann", "bob"]
    assert await scene.mails("event_place_free") == []
    assert (await scene.roles(event), await scene.counts(event)) == ({}, (0, 0))
    chris = scene.chris
    await scene.refused("cancelEvent", "INVALID_STATE", "event", by=chris, event=event)
    await scene.refused("registerForEvent", "INVALID_STATE", "event", by=scene.people["ann"], event=event)
    emails = ["a@example.org"]
    await scene.refused("inviteToEvent", "INVALID_STATE", "event", by=chris, event=event, emails=emails)
    await scene.refused("sendEventMessage", "INVALID_STATE", "event", by=chris, event=event, message="x")


async def test_an_event_that_is_over_is_not_called_off(scene: EventScene) -> None:
    event = await scene.event(starts=-5)
    await scene.refused("cancelEvent", "INVALID_STATE", "event", by=scene.chris, event=event)


async def test_events_are_listed_by_time_and_by_whether_they_take_place(scene: EventScene) -> None:
    first, second, third = [await scene.event(starts=hours) for hours in (24, 48, 72)]
    await scene.world.do("cancelEvent", by=scene.chris, event=second)
    query = """query($s: String!, $from: DateTime, $until: DateTime, $off: Boolean) { collective(slug: $s) {
        events(from: $from, until: $until, isCancelled: $off) { totalCount nodes { slug } } } }"""

    async def listed(**given: Any) -> list[dict[str, Any]]:
        found = await scene.world.ask(query, s=scene.nonprofit.slug, **given)
        nodes: list[dict[str, Any]] = found["collective"]["events"]["nodes"]
        assert found["collective"]["events"]["totalCount"] == len(nodes)
        return nodes

    at = {hours: (now() + timedelta(hours=hours)).isoformat() for hours in (30, 60)}
    assert await listed() == [first, second, third]
    assert await listed(off=True) == [second]
    assert await listed(off=False) == [first, third]
    assert await listed(**{"from": at[30]}) == [second, third]
    assert await listed(**{"from": at[30], "until": at[60]}) == [second]


# Statements ---------------------------------------------------------------------------------------------

PAGE = """query($first: Int!, $s: String!) { collective(slug: $s) { events(first: $first) { nodes {
    registrationCount waitingCount coordinator { slug }
    attendances(first: 5) { nodes { user { slug } order { status } } } } } } }"""


async def test_a_page_of_events_takes_as_many_statements_for_10_as_for_2(
    world: World, engine: AsyncEngine
) -> None:
    scene = await EventScene.create(world)
    for number in range(10):
        event = await scene.event(starts=-3 * number)
        for name in ("ann", "bob"):
            assert code(await scene.check_in(event, await scene.person(name))) is None

    async def used(first: int) -> int:
        with counted(engine) as sent:
            found = await world.ask(PAGE, by=scene.chris, first=first, s=scene.nonprofit.slug)
        nodes = found["collective"]["events"]["nodes"]
        assert len(nodes) == first
        assert all(len(row["attendances"]["nodes"]) == row["registrationCount"] == 2 for row in nodes)
        return len(statements(sent))

    assert await used(2) == await used(10) == 8
