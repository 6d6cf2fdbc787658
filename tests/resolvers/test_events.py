"""Events: making, editing, calling off, coming, waiting, inviting and writing; who hears of it."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from models import now
from tests.donation_world import error_code
from tests.event_world import EventScene, event_times
from tests.factories import World, ref
from tests.statement_counts import record_statements, without_control

EVENT = """event { slug name description location timezone startsAt endsAt capacity isPublic creditPolicy
    isCancelled cancelledAt coordinator { slug } }"""
RESULTS = "results { email member { role member { slug } } errors { code path } }"


@pytest.fixture
async def scene(shared: World) -> EventScene:
    return await EventScene.create(shared)


async def update(scene: EventScene, event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    payload = await scene.world.mutate("updateEvent", EVENT, by=scene.chris, event=event, **changes)
    assert payload["errors"] == [], payload
    result: dict[str, Any] = payload["event"]
    return result


# Making and editing -------------------------------------------------------------------------------------


async def test_the_creator_coordinates_an_event_unless_another_admin_is_named(
    scene: EventScene,
) -> None:
    kim = await scene.admin(scene.nonprofit, "kim")
    fields, arguments = EVENT, {"parent": ref(scene.nonprofit), "name": "Gala", **event_times(24)}
    payload = await scene.world.mutate(
        "createEvent", fields, by=scene.chris, **arguments, description="A ball"
    )
    assert (payload["event"]["coordinator"], payload["event"]["description"]) == (ref(scene.chris), "A ball")
    assert await scene.mails("change_event_coordinator") == []
    payload = await scene.world.mutate(
        "createEvent", fields, by=scene.chris, **arguments, coordinator=ref(kim)
    )
    assert payload["event"]["coordinator"] == ref(kim)
    assert await scene.mails("change_event_coordinator") == ["kim"]


async def test_events_made_at_once_get_slugs_from_their_name_and_one_the_plain_one(
    scene: EventScene,
) -> None:
    plain = f"fete-dete{scene.suffix}"
    events = await asyncio.gather(
        *(scene.event(name=f"F\u00eate d\u2019\u00e9t\u00e9 {scene.suffix}") for _ in range(4))
    )
    slugs = sorted(event["slug"] for event in events)
    assert slugs[0] == plain
    assert all(slug.startswith(f"{plain}-") for slug in slugs[1:])
    assert len({*slugs}) == 4


async def test_a_coordinator_is_an_admin(scene: EventScene) -> None:
    ann = await scene.person("ann")
    arguments: dict[str, Any] = {"parent": ref(scene.nonprofit), "name": "Gala", **event_times(24)}
    for who in (ref(ann), ref(scene.nonprofit)):
        await scene.expect_problem(
            "createEvent", "INVALID_INPUT", "coordinator", by=scene.chris, **arguments, coordinator=who
        )
    event = await scene.event()
    await scene.register(event, "ann")
    change: dict[str, Any] = {"event": event, "coordinator": ref(ann)}
    await scene.expect_problem("updateEvent", "INVALID_INPUT", "coordinator", by=scene.chris, **change)
    await scene.admin(scene.nonprofit, "ann")
    assert (await update(scene, event, coordinator=ref(ann)))["coordinator"] == ref(ann)
    assert await scene.mails("change_event_coordinator") == ["ann"]
    await update(scene, event, coordinator=ref(ann))
    assert await scene.mails("change_event_coordinator") == ["ann"]


async def test_omitted_fields_stay_and_null_clears_optional_ones(scene: EventScene) -> None:
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
async def test_an_invalid_change_is_refused(scene: EventScene, given: dict[str, Any], path: str) -> None:
    event = await scene.event()
    given = {"description": "changed", **given}
    await scene.expect_problem("updateEvent", "INVALID_INPUT", path, by=scene.chris, event=event, **given)


@pytest.mark.parametrize("field", ["location", "timezone"])
async def test_every_change_of_location_is_mailed_to_attendees(scene: EventScene, field: str) -> None:
    event = await scene.event()
    arguments: dict[str, Any] = {"collective": event, field: "Europe/Paris"}
    await scene.expect_problem("updateCollective", "INVALID_INPUT", field, by=scene.chris, **arguments)


async def test_a_change_of_time_or_location_is_mailed_only_to_attendees(scene: EventScene) -> None:
    event, other = (
        await scene.event(capacity=2, location="Park", timezone="Europe/Berlin"),
        await scene.event(),
    )
    await scene.register(event, "ann", "bob", "waiting")
    await scene.register(other, "elsewhere")
    await scene.person("stranger")
    await update(scene, event, name="Party", description="new", capacity=3)
    assert await scene.mails("edit_event") == []
    changes = (event_times(30), {"timezone": "Europe/Paris"}, {"location": "Lake"})
    for number, change in enumerate(changes, 1):
        await update(scene, event, **change)
        await update(scene, event, **change)  # nothing new
        assert Counter(await scene.mails("edit_event")) == dict.fromkeys(["ann", "bob", "waiting"], number)
    assert len(await scene.mails("edit_event", location="Lake")) == 3


async def test_an_event_can_be_edited_until_its_end_unless_cancelled(scene: EventScene) -> None:
    over, off = await scene.event(starts=-3), await scene.event()
    running = await scene.event(starts=-1)
    await scene.world.mutate("cancelEvent", by=scene.chris, event=off)
    for event in (over, off):
        await scene.expect_problem(
            "updateEvent", "INVALID_STATE", "event", by=scene.chris, event=event, name="x"
        )
    assert (await update(scene, running, name="x"))["name"] == "x"


async def test_permissions_to_edit_and_cancel_an_event(scene: EventScene) -> None:
    event, hidden = await scene.event(), await scene.event(isPublic=False)
    await scene.register(event, "ann")
    for mutation in ("updateEvent", "cancelEvent", "inviteToEvent"):
        for by in (scene.people["ann"], await scene.person("stranger"), scene.world.admin):
            await scene.expect_denied(mutation, by=by, event=event)
        stranger = scene.people["stranger"]
        await scene.expect_problem(mutation, "NOT_FOUND", "event", by=stranger, event=hidden)
        await scene.expect_denied(mutation, by=None, code="UNAUTHENTICATED", event=event)
        await scene.expect_problem(
            mutation, "INVALID_INPUT", "event", by=scene.chris, event=ref(scene.nonprofit)
        )


# Calling off --------------------------------------------------------------------------------------------


async def test_cancelling_an_event_ends_registrations_and_mails_attendees(
    scene: EventScene,
) -> None:
    event = await scene.event(capacity=1)
    await scene.register(event, "ann", "bob")
    await scene.person("stranger")
    payload = await scene.world.mutate("cancelEvent", EVENT, by=scene.chris, event=event, reason="Storm")
    assert (payload["errors"], payload["event"]["isCancelled"]) == ([], True)
    assert payload["event"]["cancelledAt"] is not None
    assert await scene.mails("event_cancelled", reason="Storm") == ["ann", "bob"]
    assert await scene.mails("event_place_free") == []
    assert (await scene.roles(event), await scene.counts(event)) == ({}, (0, 0))
    chris = scene.chris
    await scene.expect_problem("cancelEvent", "INVALID_STATE", "event", by=chris, event=event)
    await scene.expect_problem(
        "registerForEvent", "INVALID_STATE", "event", by=scene.people["ann"], event=event
    )
    emails = ["a@example.org"]
    await scene.expect_problem(
        "inviteToEvent", "INVALID_STATE", "event", by=chris, event=event, emails=emails
    )
    await scene.expect_problem(
        "sendEventMessage", "INVALID_STATE", "event", by=chris, event=event, message="x"
    )


async def test_a_past_event_cannot_be_cancelled(scene: EventScene) -> None:
    event = await scene.event(starts=-5)
    await scene.expect_problem("cancelEvent", "INVALID_STATE", "event", by=scene.chris, event=event)


async def test_events_are_filtered_by_time_and_cancellation(scene: EventScene) -> None:
    first, second, third = [await scene.event(starts=hours) for hours in (24, 48, 72)]
    await scene.world.mutate("cancelEvent", by=scene.chris, event=second)
    query = """query($s: String!, $from: DateTime, $until: DateTime, $off: Boolean) { collective(slug: $s) {
        events(from: $from, until: $until, isCancelled: $off) { totalCount nodes { slug } } } }"""

    async def listed(**arguments: Any) -> list[dict[str, Any]]:
        data = await scene.world.query(query, s=scene.nonprofit.slug, **arguments)
        nodes: list[dict[str, Any]] = data["collective"]["events"]["nodes"]
        assert data["collective"]["events"]["totalCount"] == len(nodes)
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


async def test_a_page_of_10_events_is_one_statement_as_one_of_2(world: World, engine: AsyncEngine) -> None:
    scene = await EventScene.create(world)
    for number in range(10):
        event = await scene.event(starts=-3 * number)
        for name in ("ann", "bob"):
            assert error_code(await scene.check_in(event, await scene.person(name))) is None

    async def used(first: int) -> int:
        with record_statements(engine) as statements:
            data = await world.query(PAGE, by=scene.chris, first=first, s=scene.nonprofit.slug)
        nodes = data["collective"]["events"]["nodes"]
        assert len(nodes) == first
        assert all(len(row["attendances"]["nodes"]) == row["registrationCount"] == 2 for row in nodes)
        return len(without_control(statements))

    await used(2)  # the viewer is known from now on
    assert await used(2) == await used(10) == 1
