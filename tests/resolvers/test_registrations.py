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
from tests.factories import Person, World, ref
from tests.statement_counts import record_statements, without_control

RESULTS = "results { email role member { role member { slug } } errors { code path } }"


@pytest.fixture
async def scene(shared: World) -> EventScene:
    return await EventScene.create(shared)


async def update(scene: EventScene, event: dict[str, Any], **changes: Any) -> None:
    payload = await scene.world.mutate("updateEvent", by=scene.chris, event=event, **changes)
    assert payload["errors"] == [], payload


async def end(scene: EventScene, event: dict[str, Any]) -> None:
    """Move an event into the past."""
    async with scene.world.sessions() as session, session.begin():
        moved = "UPDATE collective SET starts_at = starts_at - i, ends_at = ends_at - i"
        await session.execute(
            text(f"{moved} FROM (SELECT interval '9 days' AS i) AS d WHERE slug = :s"), {"s": event["slug"]}
        )


# Registering and waiting --------------------------------------------------------------------------------


async def test_registering_mails_the_coordinator_and_the_attendee_once(scene: EventScene) -> None:
    kim = await scene.admin(scene.nonprofit, "kim")
    event, ann = await scene.event(coordinator=ref(kim)), await scene.person("ann")
    payload = await scene.world.mutate(
        "registerForEvent", MEMBER, by=ann, event=event, message="I bring cake"
    )
    member = payload["member"]
    assert (member["role"], member["member"], member["collective"]) == ("ATTENDEE", ref(ann), event)
    assert await scene.mails("volunteer_registered", message="I bring cake") == ["kim"]
    assert await scene.mails("volunteer_confirmation", note="") == ["ann"]
    before = await scene.world.fingerprint()
    again = await scene.world.mutate("registerForEvent", MEMBER, by=ann, event=event, message="Again")
    assert again["member"] == member
    assert await scene.world.fingerprint() == before
    assert await scene.counts(event) == (1, 0)


async def test_only_viewers_of_a_private_event_can_register(scene: EventScene) -> None:
    event = await scene.event(isPublic=False)
    ann = await scene.person("ann")
    await scene.expect_problem("registerForEvent", "NOT_FOUND", "event", by=ann, event=event)
    await scene.world.mutate("inviteToEvent", by=scene.chris, event=event, users=[ref(ann)])
    assert (
        await scene.register(event, "ann", "chris") == ["ATTENDEE"] * 2 if "chris" in scene.people else True
    )
    payload = await scene.world.mutate("registerForEvent", MEMBER, by=scene.chris, event=event)
    assert payload["member"]["role"] == "ATTENDEE"


async def test_invalid_registrations_are_refused(
    scene: EventScene,
) -> None:
    ann, event = await scene.person("ann"), await scene.event()
    over = await scene.event(starts=-3)
    await scene.expect_problem("registerForEvent", "INVALID_STATE", "event", by=ann, event=over)
    await scene.expect_problem(
        "registerForEvent", "INVALID_INPUT", "event", by=ann, event=ref(scene.nonprofit)
    )
    long = "x" * 2001
    await scene.expect_problem(
        "registerForEvent", "INVALID_INPUT", "message", by=ann, event=event, message=long
    )
    await scene.expect_denied("registerForEvent", by=None, code="UNAUTHENTICATED", event=event)


async def test_a_full_event_has_a_waiting_list_in_order(scene: EventScene) -> None:
    event = await scene.event(capacity=1)
    assert await scene.register(event, "ann", "bob", "cy") == ["ATTENDEE", "WAITING", "WAITING"]
    assert await scene.mails("volunteer_confirmation", note="") == ["ann"]
    assert await scene.counts(event) == (1, 2)

    payload = await scene.world.mutate("cancelRegistration", MEMBER, by=scene.people["ann"], event=event)

    assert (payload["errors"], payload["member"]["role"]) == ([], "ATTENDEE")
    assert await scene.roles(event) == {"bob": "ATTENDEE", "cy": "WAITING"}
    assert await scene.mails("event_place_free") == ["bob"]
    await scene.world.mutate("cancelRegistration", by=scene.people["cy"], event=event)
    assert await scene.roles(event) == {"bob": "ATTENDEE"}
    ann = scene.people["ann"]
    await scene.expect_problem("cancelRegistration", "INVALID_STATE", "event", by=ann, event=event)
    assert await scene.register(event, "ann") == ["WAITING"]


async def test_more_capacity_promotes_waiting_people_and_less_removes_nobody(
    scene: EventScene,
) -> None:
    event = await scene.event(capacity=1)
    await scene.register(event, "ann", "bob", "cy", "dee")
    await update(scene, event, capacity=2)
    result = await scene.roles(event)
    assert result == dict.fromkeys(["ann", "bob"], "ATTENDEE") | dict.fromkeys(["cy", "dee"], "WAITING")
    await scene.expect_problem(
        "updateEvent", "INVALID_INPUT", "capacity", by=scene.chris, event=event, capacity=1
    )
    await update(scene, event, capacity=None)
    assert set((await scene.roles(event)).values()) == {"ATTENDEE"}
    assert await scene.mails("event_place_free") == ["bob", "cy", "dee"]
    await update(scene, event, capacity=4)


async def test_removing_an_attendee_promotes_the_next(scene: EventScene) -> None:
    event = await scene.event(capacity=1)
    ann = await scene.world.mutate("registerForEvent", MEMBER, by=await scene.person("ann"), event=event)
    bob = await scene.world.mutate("registerForEvent", MEMBER, by=await scene.person("bob"), event=event)
    await scene.register(event, "cy")
    for member in (bob, ann):  # one who waits, one who has a place
        payload = await scene.world.mutate("removeMember", by=scene.chris, id=member["member"]["id"])
        assert payload["errors"] == []
    assert await scene.roles(event) == {"cy": "ATTENDEE"}
    assert await scene.mails("event_place_free") == ["cy"]


async def test_nobody_is_promoted_after_the_end(scene: EventScene) -> None:
    event = await scene.event(capacity=1)
    await scene.register(event, "ann", "bob")
    await end(scene, event)
    await scene.world.mutate("cancelRegistration", by=scene.people["ann"], event=event)
    assert await scene.roles(event) == {"bob": "WAITING"}


async def test_one_of_20_concurrent_users_gets_the_last_place(scene: EventScene) -> None:
    event = await scene.event(capacity=2)
    await scene.register(event, "first")
    people = [await scene.person(f"p{i}") for i in range(20)]
    payloads = await asyncio.gather(
        *(scene.world.mutate("registerForEvent", MEMBER, by=person, event=event) for person in people)
    )
    assert [answer["errors"] for answer in payloads] == [[]] * 20
    assert Counter(answer["member"]["role"] for answer in payloads) == {"ATTENDEE": 1, "WAITING": 19}
    assert await scene.counts(event) == (2, 19)


async def test_ten_concurrent_registrations_of_a_user_create_one_row(scene: EventScene) -> None:
    event, ann = await scene.event(capacity=5), await scene.person("ann")
    payloads = await asyncio.gather(
        *(scene.world.mutate("registerForEvent", MEMBER, by=ann, event=event) for _ in range(10))
    )
    assert len({answer["member"]["id"] for answer in payloads}) == 1
    assert await scene.mails("volunteer_confirmation") == ["ann"]


async def test_places_freed_concurrently_go_to_waiting_people(scene: EventScene) -> None:
    event = await scene.event(capacity=4)
    await scene.register(event, *(f"in{i}" for i in range(4)), *(f"out{i}" for i in range(3)))
    payloads = await asyncio.gather(
        *(scene.world.mutate("cancelRegistration", by=scene.people[f"in{i}"], event=event) for i in range(4)),
        scene.world.mutate("cancelRegistration", by=scene.people["out1"], event=event),
    )
    assert [answer["errors"] for answer in payloads] == [[]] * 5
    assert await scene.roles(event) == {"out0": "ATTENDEE", "out2": "ATTENDEE"}


async def test_waiting_people_are_visible_to_admins_and_themselves(scene: EventScene) -> None:
    event = await scene.event(capacity=1)
    await scene.register(event, "ann", "bob")
    query = """query($s: String!) { collective(slug: $s) {
        members(role: [ATTENDEE, WAITING]) { totalCount nodes { role } } } }"""
    for viewer, expected in ((scene.chris, 2), (scene.people["bob"], 2), (scene.people["ann"], 1), (None, 1)):
        data = await scene.world.query(query, by=viewer, s=event["slug"])
        assert data["collective"]["members"]["totalCount"] == expected


# Inviting -----------------------------------------------------------------------------------------------


async def invite(scene: EventScene, event: dict[str, Any], **arguments: Any) -> list[dict[str, Any]]:
    payload = await scene.world.mutate("inviteToEvent", RESULTS, by=scene.chris, event=event, **arguments)
    assert payload["errors"] == [], payload
    results: list[dict[str, Any]] = payload["results"]
    return results


async def test_people_are_invited_by_address_and_user_and_failures_are_separate(
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
        users=[ref(bob), {"slug": "unknown"}, ref(scene.nonprofit), ref(ann)],
    )
    assert [r["email"] for r in results] == [ann.email.upper(), "nobody", new, new, guest.email, *[None] * 4]
    result = [r["errors"] or r["role"] for r in results]
    invalid = [{"code": "INVALID_INPUT", "path": ["input", "emails", "1"]}]
    missing = [{"code": "NOT_FOUND", "path": ["input", "users", "1"]}]
    no_person = [{"code": "INVALID_INPUT", "path": ["input", "users", "2"]}]
    yes = "ATTENDEE"
    assert result == [yes, invalid, yes, yes, yes, yes, missing, no_person, yes]
    assert results[0]["member"] is None
    assert results[-1]["member"]["member"] == ref(ann)
    assert results[2] == results[3]
    assert await scene.mails("invite_volunteer_event_existing", message="Do come") == ["ann", "bob"]
    assert await scene.mails("invite_volunteer_event_new", message="Do come") == ["guest", "new"]
    assert await scene.counts(event) == (4, 0)


async def test_a_repeated_invitation_keeps_the_registration_and_sends_no_mail(scene: EventScene) -> None:
    ann, event = await scene.person("ann"), await scene.event(capacity=1)
    first = await invite(scene, event, users=[ref(ann)])
    again = await invite(scene, event, users=[ref(ann), ref(await scene.person("bob"))])
    assert again[0] == first[0]
    assert again[1]["member"]["role"] == "WAITING"
    assert await scene.mails("invite_volunteer_event_existing") == ["ann", "bob"]
    assert await scene.mails("invite_volunteer_event_existing", note="") == ["ann"]


async def test_an_invitation_without_mail_sends_nothing(scene: EventScene) -> None:
    event = await scene.event()
    new = f"new{scene.suffix}@commonweal.test"
    count = "SELECT count(*) FROM outbox"
    before = await scene.world.scalar(count)
    results = await invite(scene, event, emails=[new], users=[ref(await scene.person("ann"))], sendMail=False)
    assert [r["role"] for r in results] == ["ATTENDEE"] * 2
    assert await scene.world.scalar(count) == before


async def test_1_to_100_people_are_invited_at_once_in_few_statements(
    shared_database: Database, scene: EventScene
) -> None:
    event, chris = await scene.event(), scene.chris
    emails = [f"n{i}{scene.suffix}@commonweal.test" for i in range(101)]
    for arguments in ([], emails):
        await scene.expect_problem(
            "inviteToEvent", "INVALID_INPUT", "emails", by=chris, event=event, emails=arguments
        )
    over = await scene.event(starts=-3)
    await scene.expect_problem(
        "inviteToEvent", "INVALID_STATE", "event", by=chris, event=over, emails=emails[:1]
    )
    engine = database_engine.create_pool(shared_database.settings)
    world = World(scene.world.settings, database_engine.session_factory(engine))
    used = []
    for some in (emails[:2], emails[2:100]):
        with record_statements(engine) as statements:
            payload = await world.mutate("inviteToEvent", by=chris, event=event, emails=some)
        assert payload["errors"] == []
        used.append(len(without_control(statements)))
    await engine.dispose()
    assert used[0] == used[1] <= 13
    assert await scene.counts(event) == (100, 0)


async def test_the_same_new_address_invited_at_once_to_two_events_is_one_user(scene: EventScene) -> None:
    events = [await scene.event() for _ in range(4)]
    emails = [f"same{i}{scene.suffix}@commonweal.test" for i in range(3)]
    payloads = await asyncio.gather(
        *(
            scene.world.mutate(
                "inviteToEvent", RESULTS, by=scene.chris, event=event, emails=emails[:: 1 - 2 * i]
            )
            for i, event in zip((0, 1, 0, 1), events, strict=True)
        )
    )
    assert [answer["errors"] for answer in payloads] == [[]] * 4
    assert [[r["role"] for r in answer["results"]] for answer in payloads] == [["ATTENDEE"] * 3] * 4
    sql = """SELECT count(DISTINCT m.member_id) FROM member m
        JOIN credential c ON c.user_id = m.member_id
        JOIN collective e ON e.id = m.collective_id
        WHERE c.email = ANY (:emails) AND e.slug = ANY (:events)"""
    slugs = [event["slug"] for event in events]
    assert await scene.world.scalar(sql, emails=emails, events=slugs) == 3


# Messages -----------------------------------------------------------------------------------------------


async def test_the_coordinator_mails_all_attendees_and_they_mail_the_coordinator(
    scene: EventScene,
) -> None:
    kim = await scene.admin(scene.nonprofit, "kim")
    event = await scene.event(capacity=2, coordinator=ref(kim))
    await scene.register(event, "ann", "bob", "waiting")
    stranger = await scene.person("stranger")

    async def write(by: Person, message: str) -> None:
        payload = await scene.world.mutate(
            "sendEventMessage", "event { slug }", by=by, event=event, message=message
        )
        assert (payload["errors"], payload["event"]) == ([], event)

    await write(kim, "Bring gloves")
    await write(scene.chris, "And boots")
    await write(scene.people["ann"], "Is there lunch?")
    for message in ("Bring gloves", "And boots"):
        assert await scene.mails("coordinator_messaged", message=message) == ["ann", "bob"]
    assert await scene.mails("volunteer_messaged", message="Is there lunch?") == ["kim"]
    for by in (stranger, scene.people["waiting"]):
        await scene.expect_denied("sendEventMessage", by=by, event=event, message="x")
    for message in ("", " ", "x" * 2001):
        await scene.expect_problem(
            "sendEventMessage", "INVALID_INPUT", "message", by=kim, event=event, message=message
        )
    await write(kim, "x" * 2000)


async def test_a_user_sends_at_most_50_messages_a_day(scene: EventScene) -> None:
    event = await scene.event()
    await scene.register(event, "ann", "bob")
    ann, bob = scene.people["ann"], scene.people["bob"]
    arguments: dict[str, Any] = {"event": event, "message": "x"}
    payload = await scene.world.mutate("sendEventMessage", by=ann, **arguments)
    assert payload["errors"] == []
    async with scene.world.sessions() as session, session.begin():
        await session.execute(
            text("UPDATE throttle SET attempts = :most WHERE key = :key"),
            {"most": attempt_limits.MESSAGES_PER_DAY - 1, "key": f"message:{ann.user.id}"},
        )
    assert (await scene.world.mutate("sendEventMessage", by=ann, **arguments))["errors"] == []
    for _ in range(2):
        await scene.expect_problem("sendEventMessage", "RATE_LIMITED", "message", by=ann, **arguments)
    assert (await scene.world.mutate("sendEventMessage", by=bob, **arguments))["errors"] == []
    assert len(await scene.mails("volunteer_messaged")) == 3


async def test_messages_need_a_visible_event(scene: EventScene) -> None:
    event, stranger = await scene.event(isPublic=False), await scene.person("stranger")
    arguments: dict[str, Any] = {"event": event, "message": "x"}
    await scene.expect_problem("sendEventMessage", "NOT_FOUND", "event", by=stranger, **arguments)
    await scene.expect_denied("sendEventMessage", by=None, code="UNAUTHENTICATED", **arguments)


async def test_muting_events_ends_their_mails(scene: EventScene) -> None:
    event = await scene.event()
    await scene.register(event, "ann", "bob")
    async with scene.world.sessions() as session, session.begin():
        await session.execute(
            text("INSERT INTO muted_topic (user_id, topic) VALUES (:id, 'EVENTS')"),
            {"id": scene.people["ann"].user.id},
        )
    await update(scene, event, location="Lake")
    assert await scene.mails("edit_event") == ["bob"]


async def test_a_free_place_goes_to_the_waiting_list_before_newcomers(scene: EventScene) -> None:
    event = await scene.event(capacity=1)
    await scene.register(event, "ann", "bob")
    async with scene.world.sessions() as session, session.begin():
        await session.execute(
            text("UPDATE member SET until = now() WHERE member_id = :id"),
            {"id": scene.people["ann"].user.id},
        )
    assert await scene.register(event, "cy") == ["WAITING"]
    assert await scene.roles(event) == {"bob": "ATTENDEE", "cy": "WAITING"}
