"""Coming to events: registering, waiting, moving up, inviting and writing; who hears of it."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import text

from services.access import attempt_limits
from services.database import engine as database_engine
from tests.conftest import Database
from tests.event_world import MEMBER, EventScene
from tests.factories import Person, World, of
from tests.test_statement_counts import counted, statements

RESULTS = "results { email member { role member { slug } } errors { code path } }"


@pytest.fixture
async def scene(shared: World) -> EventScene:
    return await EventScene.create(shared)


async def update(scene: EventScene, event: dict[str, Any], **changes: Any) -> None:
    done = await scene.world.do("updateEvent", by=scene.chris, event=event, **changes)
    assert done["errors"] == [], done


async def end(scene: EventScene, event: dict[str, Any]) -> None:
    """Let an event be over."""
    async with scene.world.sessions() as session, session.begin():
        moved = "UPDATE collective SET starts_at = starts_at - i, ends_at = ends_at - i"
        await session.execute(
            text(f"{moved} FROM (SELECT interval '9 days' AS i) AS d WHERE slug = :s"), {"s": event["slug"]}
        )


# Registering and waiting --------------------------------------------------------------------------------


async def test_registering_tells_the_coordinator_and_the_registrant_once(scene: EventScene) -> None:
    kim = await scene.admin(scene.nonprofit, "kim")
    event, ann = await scene.event(coordinator=of(kim)), await scene.person("ann")
    done = await scene.world.do("registerForEvent", MEMBER, by=ann, event=event, message="I bring cake")
    member = done["member"]
    assert (member["role"], member["member"], member["collective"]) == ("ATTENDEE", of(ann), event)
    assert await scene.mails("volunteer_registered", message="I bring cake") == ["kim"]
    assert await scene.mails("volunteer_confirmation", note="") == ["ann"]
    before = await scene.world.fingerprint()
    again = await scene.world.do("registerForEvent", MEMBER, by=ann, event=event, message="Again")
    assert again["member"] == member
    assert await scene.world.fingerprint() == before
    assert await scene.counts(event) == (1, 0)


async def test_only_who_sees_a_private_event_registers(scene: EventScene) -> None:
    event = await scene.event(isPublic=False)
    ann = await scene.person("ann")
    await scene.refused("registerForEvent", "NOT_FOUND", "event", by=ann, event=event)
    await scene.world.do("inviteToEvent", by=scene.chris, event=event, users=[of(ann)])
    assert (
        await scene.register(event, "ann", "chris") == ["ATTENDEE"] * 2 if "chris" in scene.people else True
    )
    done = await scene.world.do("registerForEvent", MEMBER, by=scene.chris, event=event)
    assert done["member"]["role"] == "ATTENDEE"


async def test_nobody_registers_for_what_is_over_or_no_event_or_with_too_long_a_message(
    scene: EventScene,
) -> None:
    ann, event = await scene.person("ann"), await scene.event()
    over = await scene.event(starts=-3)
    await scene.refused("registerForEvent", "INVALID_STATE", "event", by=ann, event=over)
    await scene.refused("registerForEvent", "INVALID_INPUT", "event", by=ann, event=of(scene.nonprofit))
    long = "x" * 2001
    await scene.refused("registerForEvent", "INVALID_INPUT", "message", by=ann, event=event, message=long)
    await scene.forbidden("registerForEvent", by=None, code="UNAUTHENTICATED", event=event)


async def test_who_comes_when_it_is_full_waits_and_moves_up_in_order(scene: EventScene) -> None:
    event = await scene.event(capacity=1)
    assert await scene.register(event, "ann", "bob", "cy") == ["ATTENDEE", "WAITING", "WAITING"]
    assert await scene.mails("volunteer_confirmation", note="") == ["ann"]
    assert await scene.counts(event) == (1, 2)

    done = await scene.world.do("cancelRegistration", MEMBER, by=scene.people["ann"], event=event)

    assert (done["errors"], done["member"]["role"]) == ([], "ATTENDEE")
    assert await scene.roles(event) == {"bob": "ATTENDEE", "cy": "WAITING"}
    assert await scene.mails("event_place_free") == ["bob"]
    await scene.world.do("cancelRegistration", by=scene.people["cy"], event=event)
    assert await scene.roles(event) == {"bob": "ATTENDEE"}
    ann = scene.people["ann"]
    await scene.refused("cancelRegistration", "INVALID_STATE", "event", by=ann, event=event)
    assert await scene.register(event, "ann") == ["WAITING"]


async def test_a_larger_capacity_moves_people_up_and_a_smaller_one_throws_nobody_out(
    scene: EventScene,
) -> None:
    event = await scene.event(capacity=1)
    await scene.register(event, "ann", "bob", "cy", "dee")
    await update(scene, event, capacity=2)
    found = await scene.roles(event)
    assert found == dict.fromkeys(["ann", "bob"], "ATTENDEE") | dict.fromkeys(["cy", "dee"], "WAITING")
    await scene.refused("updateEvent", "INVALID_INPUT", "capacity", by=scene.chris, event=event, capacity=1)
    await update(scene, event, capacity=None)
    assert set((await scene.roles(event)).values()) == {"ATTENDEE"}
    assert await scene.mails("event_place_free") == ["bob", "cy", "dee"]
    await update(scene, event, capacity=4)


async def test_an_admin_who_removes_an_attendee_makes_room_for_the_next(scene: EventScene) -> None:
    event = await scene.event(capacity=1)
    ann = await scene.world.do("registerForEvent", MEMBER, by=await scene.person("ann"), event=event)
    bob = await scene.world.do("registerForEvent", MEMBER, by=await scene.person("bob"), event=event)
    await scene.register(event, "cy")
    for member in (bob, ann):  # one who waits, one who has a place
        done = await scene.world.do("removeMember", by=scene.chris, id=member["member"]["id"])
        assert done["errors"] == []
    assert await scene.roles(event) == {"cy": "ATTENDEE"}
    assert await scene.mails("event_place_free") == ["cy"]


async def test_nobody_moves_up_after_the_end(scene: EventScene) -> None:
    event = await scene.event(capacity=1)
    await scene.register(event, "ann", "bob")
    await end(scene, event)
    await scene.world.do("cancelRegistration", by=scene.people["ann"], event=event)
    assert await scene.roles(event) == {"bob": "WAITING"}


async def test_of_20_who_want_the_last_place_one_gets_it(scene: EventScene) -> None:
    event = await scene.event(capacity=2)
    await scene.register(event, "first")
    people = [await scene.person(f"p{i}") for i in range(20)]
    done = await asyncio.gather(
        *(scene.world.do("registerForEvent", MEMBER, by=person, event=event) for person in people)
    )
    assert [answer["errors"] for answer in done] == [[]] * 20
    assert Counter(answer["member"]["role"] for answer in done) == {"ATTENDEE": 1, "WAITING": 19}
    assert await scene.counts(event) == (2, 19)


async def test_of_one_person_who_registers_ten_times_at_once_there_is_one_row(scene: EventScene) -> None:
    event, ann = await scene.event(capacity=5), await scene.person("ann")
    done = await asyncio.gather(
        *(scene.world.do("registerForEvent", MEMBER, by=ann, event=event) for _ in range(10))
    )
    assert len({answer["member"]["id"] for answer in done}) == 1
    assert await scene.mails("volunteer_confirmation") == ["ann"]


async def test_places_that_get_free_at_once_go_to_as_many_as_wait(scene: EventScene) -> None:
    event = await scene.event(capacity=4)
    await scene.register(event, *(f"in{i}" for i in range(4)), *(f"out{i}" for i in range(3)))
    done = await asyncio.gather(
        *(scene.world.do("cancelRegistration", by=scene.people[f"in{i}"], event=event) for i in range(4)),
        scene.world.do("cancelRegistration", by=scene.people["out1"], event=event),
    )
    assert [answer["errors"] for answer in done] == [[]] * 5
    assert await scene.roles(event) == {"out0": "ATTENDEE", "out2": "ATTENDEE"}


async def test_who_waits_is_seen_by_the_admins_and_by_themselves(scene: EventScene) -> None:
    event = await scene.event(capacity=1)
    await scene.register(event, "ann", "bob")
    query = """query($s: String!) { collective(slug: $s) {
        members(role: [ATTENDEE, WAITING]) { totalCount nodes { role } } } }"""
    for viewer, expected in ((scene.chris, 2), (scene.people["bob"], 2), (scene.people["ann"], 1), (None, 1)):
        found = await scene.world.ask(query, by=viewer, s=event["slug"])
        assert found["collective"]["members"]["totalCount"] == expected


# Inviting -----------------------------------------------------------------------------------------------


async def invite(scene: EventScene, event: dict[str, Any], **given: Any) -> list[dict[str, Any]]:
    done = await scene.world.do("inviteToEvent", RESULTS, by=scene.chris, event=event, **given)
    assert done["errors"] == [], done
    results: list[dict[str, Any]] = done["results"]
    return results


async def test_people_are_invited_by_address_and_by_name_and_one_that_fails_leaves_the_others(
    scene: EventScene,
) -> None:
    ann, bob, guest = [await scene.person(n, claimed=n != "guest") for n in ("ann", "bob", "guest")]
    event = await scene.event(capacity=4)
    new = f"new{scene.suffix}@commonweal.test"
    results = await invite(
        scene,
        event,
        message="Do come",
        emails=[ann.email.upper(), "nobody", new, new, guest.email],
        users=[of(bob), {"slug": "unknown"}, of(scene.nonprofit), of(ann)],
    )
    assert [r["email"] for r in results] == [ann.email.upper(), "nobody", new, new, guest.email, *[None] * 4]
    found = [r["errors"] or r["member"]["role"] for r in results]
    invalid = [{"code": "INVALID_INPUT", "path": ["input", "emails", "1"]}]
    missing = [{"code": "NOT_FOUND", "path": ["input", "users", "1"]}]
    no_person = [{"code": "INVALID_INPUT", "path": ["input", "users", "2"]}]
    yes = "ATTENDEE"
    assert found == [yes, invalid, yes, yes, yes, yes, missing, no_person, yes]
    assert results[0]["member"]["member"] == results[-1]["member"]["member"] == of(ann)
    assert results[2] == results[3]
    assert await scene.mails("invite_volunteer_event_existing", message="Do come") == ["ann", "bob"]
    assert await scene.mails("invite_volunteer_event_new", message="Do come") == ["guest", "new"]
    assert await scene.counts(event) == (4, 0)


async def test_who_is_invited_again_keeps_the_place_and_gets_no_second_mail(scene: EventScene) -> None:
    ann, event = await scene.person("ann"), await scene.event(capacity=1)
    first = await invite(scene, event, users=[of(ann)])
    again = await invite(scene, event, users=[of(ann), of(await scene.person("bob"))])
    assert again[0] == first[0]
    assert again[1]["member"]["role"] == "WAITING"
    assert await scene.mails("invite_volunteer_event_existing") == ["ann", "bob"]
    assert await scene.mails("invite_volunteer_event_existing", note="") == ["ann"]


async def test_without_mail_nobody_hears_of_it(scene: EventScene) -> None:
    event = await scene.event()
    new = f"new{scene.suffix}@commonweal.test"
    count = "SELECT count(*) FROM outbox"
    before = await scene.world.scalar(count)
    results = await invite(scene, event, emails=[new], users=[of(await scene.person("ann"))], sendMail=False)
    assert [r["member"]["role"] for r in results] == ["ATTENDEE"] * 2
    assert await scene.world.scalar(count) == before


async def test_1_to_100_people_are_invited_at_once_in_few_statements(
    shared_database: Database, scene: EventScene
) -> None:
    event, chris = await scene.event(), scene.chris
    emails = [f"n{i}{scene.suffix}@commonweal.test" for i in range(101)]
    for given in ([], emails):
        await scene.refused("inviteToEvent", "INVALID_INPUT", "emails", by=chris, event=event, emails=given)
    over = await scene.event(starts=-3)
    await scene.refused("inviteToEvent", "INVALID_STATE", "event", by=chris, event=over, emails=emails[:1])
    engine = database_engine.connect(shared_database.settings)
    world = World(scene.world.settings, database_engine.sessions(engine))
    used = []
    for some in (emails[:2], emails[2:100]):
        with counted(engine) as sent:
            done = await world.do("inviteToEvent", by=chris, event=event, emails=some)
        assert done["errors"] == []
        used.append(len(statements(sent)))
    await engine.dispose()
    assert used[0] == used[1] <= 13
    assert await scene.counts(event) == (100, 0)


async def test_the_same_new_address_invited_at_once_to_two_events_is_one_user(scene: EventScene) -> None:
    events = [await scene.event() for _ in range(4)]
    emails = [f"same{i}{scene.suffix}@commonweal.test" for i in range(3)]
    done = await asyncio.gather(
        *(
            scene.world.do("inviteToEvent", RESULTS, by=scene.chris, event=event, emails=emails[:: 1 - 2 * i])
            for i, event in zip((0, 1, 0, 1), events, strict=True)
        )
    )
    assert [answer["errors"] for answer in done] == [[]] * 4
    people: dict[str, set[str]] = {email: set() for email in emails}
    for answer in done:
        for result in answer["results"]:
            people[result["email"]].add(result["member"]["member"]["slug"])
    assert [len(slugs) for slugs in people.values()] == [1] * 3


# Messages -----------------------------------------------------------------------------------------------


async def test_the_coordinator_writes_to_all_registered_and_they_to_the_coordinator(
    scene: EventScene,
) -> None:
    kim = await scene.admin(scene.nonprofit, "kim")
    event = await scene.event(capacity=2, coordinator=of(kim))
    await scene.register(event, "ann", "bob", "waiting")
    stranger = await scene.person("stranger")

    async def write(by: Person, message: str) -> None:
        done = await scene.world.do("sendEventMessage", "event { slug }", by=by, event=event, message=message)
        assert (done["errors"], done["event"]) == ([], event)

    await write(kim, "Bring gloves")
    await write(scene.chris, "And boots")
    await write(scene.people["ann"], "Is there lunch?")
    for message in ("Bring gloves", "And boots"):
        assert await scene.mails("coordinator_messaged", message=message) == ["ann", "bob"]
    assert await scene.mails("volunteer_messaged", message="Is there lunch?") == ["kim"]
    for by in (stranger, scene.people["waiting"]):
        await scene.forbidden("sendEventMessage", by=by, event=event, message="x")
    for message in ("", " ", "x" * 2001):
        await scene.refused(
            "sendEventMessage", "INVALID_INPUT", "message", by=kim, event=event, message=message
        )
    await write(kim, "x" * 2000)


async def test_a_user_writes_at_most_50_messages_a_day(scene: EventScene) -> None:
    event = await scene.event()
    await scene.register(event, "ann", "bob")
    ann, bob = scene.people["ann"], scene.people["bob"]
    given: dict[str, Any] = {"event": event, "message": "x"}
    done = await scene.world.do("sendEventMessage", by=ann, **given)
    assert done["errors"] == []
    async with scene.world.sessions() as session, session.begin():
        await session.execute(
            text("UPDATE throttle SET attempts = :most WHERE key = :key"),
            {"most": attempt_limits.MESSAGES_PER_DAY - 1, "key": f"message:{ann.user.id}"},
        )
    assert (await scene.world.do("sendEventMessage", by=ann, **given))["errors"] == []
    for _ in range(2):
        await scene.refused("sendEventMessage", "RATE_LIMITED", "message", by=ann, **given)
    assert (await scene.world.do("sendEventMessage", by=bob, **given))["errors"] == []
    assert len(await scene.mails("volunteer_messaged")) == 3


async def test_who_does_not_see_an_event_writes_nobody(scene: EventScene) -> None:
    event, stranger = await scene.event(isPublic=False), await scene.person("stranger")
    given: dict[str, Any] = {"event": event, "message": "x"}
    await scene.refused("sendEventMessage", "NOT_FOUND", "event", by=stranger, **given)
    await scene.forbidden("sendEventMessage", by=None, code="UNAUTHENTICATED", **given)


async def test_who_muted_events_gets_no_mail_about_them(scene: EventScene) -> None:
    event = await scene.event()
    await scene.register(event, "ann", "bob")
    async with scene.world.sessions() as session, session.begin():
        await session.execute(
            text("INSERT INTO muted_topic (user_id, topic) VALUES (:id, 'EVENTS')"),
            {"id": scene.people["ann"].user.id},
        )
    await update(scene, event, location="Lake")
    assert await scene.mails("edit_event") == ["bob"]


async def test_a_place_that_got_free_unseen_goes_to_who_waits_and_not_to_who_comes(scene: EventScene) -> None:
    event = await scene.event(capacity=1)
    await scene.register(event, "ann", "bob")
    async with scene.world.sessions() as session, session.begin():
        await session.execute(
            text("UPDATE member SET until = now() WHERE member_id = :id"),
            {"id": scene.people["ann"].user.id},
        )
    assert await scene.register(event, "cy") == ["WAITING"]
    assert await scene.roles(event) == {"bob": "ATTENDEE", "cy": "WAITING"}
