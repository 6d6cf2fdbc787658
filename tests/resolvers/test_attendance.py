"""Check-in and check-out: who may, when, what is credited by whom, and that it is credited once."""

import asyncio
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from models.enums import CollectiveType
from tests.conftest import Database
from tests.donation_world import code, done
from tests.event_world import ORDER, EventScene
from tests.factories import Person, World, money, of
from tests.hours_world import issuer


@pytest.fixture
async def scene(shared: World) -> EventScene:
    return await EventScene.create(shared)


def pass_time(shared_database: Database, scene: EventScene, minutes: int) -> None:
    """Let so many minutes go by since each check-in of the scene: only the tables' owner can."""
    with psycopg.connect(shared_database.owner_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE \"order\" SET starts_at = starts_at - %s * interval '1 minute' WHERE from_id = %s",
            [minutes, scene.nonprofit.id],
        )


async def test_check_in_credits_the_whole_event_from_its_parent_at_once(scene: EventScene) -> None:
    ann = await scene.person("ann")
    event = await scene.event(starts=0.5, hours=2.5)

    payload = await scene.check_in(event, ann)

    order = payload["order"]
    assert payload["errors"] == []
    order.pop("id")
    assert order == {
        "status": "PAID",
        "type": "HOURS",
        "from": of(scene.nonprofit),
        "to": of(ann),
        "event": event,
        "amount": {"value": "2.500", "currency": "CUR"},
        "approvedAmount": {"value": "2.500"},
        "description": "Cleanup",
        "actions": [
            {"type": "CREATE", "toStatus": "PENDING"},
            {"type": "APPROVE", "toStatus": "APPROVED"},
            {"type": "PAY", "toStatus": "PAID"},
        ],
        "transactions": [{"kind": "HOURS", "amount": {"value": "2.500"}}],
    }
    member = payload["member"]
    assert (member["role"], member["member"], member["collective"]) == ("ATTENDEE", of(ann), event)
    assert (await scene.currents(ann), await scene.issued(scene.nonprofit)) == (2500, 2500)
    found = await scene.world.ask(
        "query($s: String!) { collective(slug: $s) { memberOf { nodes { role collective { slug } } } } }",
        s=ann.slug,
    )
    rows = [(m["role"], m["collective"]) for m in found["collective"]["memberOf"]["nodes"]]
    assert rows == [("ATTENDEE", event), ("VOLUNTEER", of(scene.nonprofit))]
    await scene.world.audit_is_clean()


async def test_an_event_of_48_hours_gives_48_currents(scene: EventScene) -> None:
    ann = await scene.person("ann")
    event = await scene.event(starts=-100, hours=48)  # long over: attendees are added after the fact
    payload = await scene.check_in(event, ann)
    assert payload["order"]["amount"]["value"] == "48.000"
    assert await scene.currents(ann) == 48_000


async def test_repeated_calls_return_the_same_order_under_whichever_key(scene: EventScene) -> None:
    ann, kim = await scene.person("ann"), await scene.admin(scene.nonprofit, "kim")
    event = await scene.event(starts=0)
    first = done(await scene.check_in(event, ann, idempotencyKey="a"))
    before = await scene.world.fingerprint()
    for by, key in ((scene.chris, None), (scene.chris, "a"), (kim, None)):
        more = {"idempotencyKey": key} if key else {}
        again = await scene.check_in(event, ann, by=by, **more)
        assert (done(again), again["member"]["role"]) == (first, "ATTENDEE")
    assert await scene.world.fingerprint() == before
    for _ in range(2):  # a key that found the order of another leads there again
        assert done(await scene.check_in(event, ann, idempotencyKey="b")) == first
    async with scene.world.sessions() as session, session.begin():
        gone = "UPDATE collective SET issuer_approved_at = NULL WHERE id = :id"
        await session.execute(text(gone), {"id": scene.nonprofit.id})
    assert done(await scene.check_in(event, ann)) == first  # whatever came after it
    other = await scene.person("bob")
    assert code(await scene.check_in(event, other)) == "INVALID_STATE"
    conflict = await scene.check_in(event, other, idempotencyKey="a")
    assert code(conflict) == "IDEMPOTENCY_CONFLICT"
    assert await scene.currents(ann) == 2000


async def test_of_20_concurrent_calls_one_credits(scene: EventScene) -> None:
    ann = await scene.person("ann")
    event = await scene.event(starts=0)
    payloads = await asyncio.gather(
        *(scene.check_in(event, ann, idempotencyKey=f"k{i % 5}") for i in range(20))
    )
    assert len({done(payload) for payload in payloads}) == 1
    assert (await scene.currents(ann), await scene.issued(scene.nonprofit)) == (2000, 2000)
    assert await scene.counts(event) == (1, 0)
    await scene.world.audit_is_clean()


async def test_a_walk_in_becomes_an_unclaimed_user_once_even_if_many_check_in_at_once(
    scene: EventScene,
) -> None:
    event = await scene.event(starts=0)
    email = f"Walk.In{scene.suffix}@Example.org"
    given: dict[str, Any] = {"event": event, "email": email}
    fields = f"{ORDER} member {{ role member {{ slug name ... on User {{ isClaimed }} }} }}"
    payloads = await asyncio.gather(
        *(scene.world.do("checkIn", fields, by=scene.chris, **given) for _ in range(8))
    )
    assert len({done(payload) for payload in payloads}) == 1
    member = payloads[0]["member"]
    assert (member["role"], member["member"]["isClaimed"]) == ("ATTENDEE", False)
    assert "walk" not in f"{member['member']['slug']} {member['member']['name']}".lower()
    count = "SELECT count(*) FROM credential WHERE email = :email"
    assert await scene.world.scalar(count, email=email.lower()) == 1
    assert await scene.issued(scene.nonprofit) == 2000


async def test_an_unclaimed_user_is_credited_by_name_and_by_address(scene: EventScene) -> None:
    guest = await scene.person("guest", claimed=False)
    first, second = await scene.event(starts=-20), await scene.event(starts=-10)
    done(await scene.check_in(first, guest))
    by_address = await scene.world.do(
        "checkIn", ORDER, by=scene.chris, event=second, email=guest.email.upper()
    )
    assert by_address["order"]["to"] == of(guest)
    assert await scene.currents(guest) == 4000


async def test_login_alone_is_not_enough_and_neither_is_registration(scene: EventScene) -> None:
    ann, bob = await scene.person("ann"), await scene.person("bob")
    event = await scene.event(starts=0)
    await scene.register(event, "ann")
    given: dict[str, Any] = {"event": event, "user": of(bob)}
    for by in (ann, bob, await scene.person("nobody")):
        for mutation in ("checkIn", "checkOut"):
            await scene.forbidden(mutation, by=by, **given)
    await scene.forbidden("checkIn", by=None, code="UNAUTHENTICATED", **given)


async def test_an_admin_of_another_nonprofit_checks_nobody_in(scene: EventScene) -> None:
    kate, ann = await scene.person("kate"), await scene.person("ann")
    await issuer(scene.world, f"goodvibes{scene.suffix}", kate)
    event, hidden = await scene.event(starts=0), await scene.event(starts=0, isPublic=False)
    await scene.forbidden("checkIn", by=kate, event=event, user=of(ann))
    await scene.refused("checkIn", "NOT_FOUND", "event", by=kate, event=hidden, user=of(ann))
    await scene.refused("checkOut", "NOT_FOUND", "event", by=kate, event=hidden, user=of(ann))


async def test_currents_come_from_the_events_parent_and_not_from_the_callers_own_nonprofit(
    scene: EventScene,
) -> None:
    kate, ann = await scene.person("kate"), await scene.person("ann")
    own = await issuer(scene.world, f"goodvibes{scene.suffix}", kate)
    await scene.admin(scene.nonprofit, "kate")
    payload = await scene.check_in(await scene.event(starts=0), ann, by=kate)
    assert payload["order"]["from"] == of(scene.nonprofit)
    assert (await scene.issued(scene.nonprofit), await scene.issued(own)) == (2000, 0)


async def test_an_admin_of_the_event_alone_checks_in(scene: EventScene) -> None:
    ann, lee = await scene.person("ann"), await scene.person("lee")
    event = await scene.event(starts=0)
    row = {"collective": event, "role": "ADMIN", "user": of(lee)}
    asked = await scene.world.do("inviteMember", "invitation { id }", by=scene.chris, **row)
    await scene.world.do("respondToInvitation", by=lee, id=asked["invitation"]["id"], accept=True)
    assert done(await scene.check_in(event, ann, by=lee))


async def test_nobody_checks_themselves_in_or_out(scene: EventScene) -> None:
    event, chris = await scene.event(starts=0), scene.chris
    await scene.refused("checkIn", "SELF_APPROVAL", "user", by=chris, event=event, user=of(chris))
    await scene.refused("checkIn", "SELF_APPROVAL", "email", by=chris, event=event, email=chris.email)
    kim = await scene.admin(scene.nonprofit, "kim")
    assert done(await scene.check_in(event, chris, by=kim))
    await scene.refused("checkOut", "SELF_APPROVAL", "user", by=chris, event=event, user=of(chris))


async def test_check_in_opens_the_policys_minutes_before_the_start(scene: EventScene) -> None:
    ann = await scene.person("ann")
    early, open_ = await scene.event(starts=1.02), await scene.event(starts=0.98)
    await scene.refused("checkIn", "INVALID_STATE", "event", by=scene.chris, event=early, user=of(ann))
    assert done(await scene.check_in(open_, ann))


async def test_what_cannot_be_checked_in(scene: EventScene) -> None:
    chris, ann = scene.chris, await scene.person("ann")
    off = await scene.event(starts=0)
    await scene.world.do("cancelEvent", by=chris, event=off)
    await scene.refused("checkIn", "INVALID_STATE", "event", by=chris, event=off, user=of(ann))
    event = await scene.event(starts=0)
    for given, path in (
        ({}, "user"),
        ({"user": of(ann), "email": "a@b.org"}, "user"),
        ({"email": "nobody"}, "email"),
        ({"user": of(scene.nonprofit)}, "user"),
    ):
        await scene.refused("checkIn", "INVALID_INPUT", path, by=chris, event=event, **given)
    await scene.refused(
        "checkIn", "INVALID_INPUT", "event", by=chris, event=of(scene.nonprofit), user=of(ann)
    )
    gone = await scene.person("gone")
    await scene.world.do("archiveCollective", by=gone, collective=of(gone))
    await scene.refused("checkIn", "INVALID_STATE", "user", by=chris, event=event, user=of(gone))


@pytest.mark.parametrize(
    "kind", [CollectiveType.COMMUNITY, CollectiveType.BUSINESS, CollectiveType.NONPROFIT]
)
async def test_only_an_approved_nonprofits_event_credits(scene: EventScene, kind: CollectiveType) -> None:
    parent = await scene.world.community(f"club{scene.suffix}", None, scene.chris, type=kind)
    event = await scene.event(starts=0, parent=parent)
    ann = await scene.person("ann")
    await scene.refused("checkIn", "INVALID_STATE", "event", by=scene.chris, event=event, user=of(ann))


async def test_hours_that_overlap_others_of_the_same_volunteer_are_a_conflict(scene: EventScene) -> None:
    ann = await scene.person("ann")
    done(await scene.check_in(await scene.event(starts=-1), ann))
    payload = await scene.check_in(await scene.event(starts=0), ann)
    assert code(payload) == "CONFLICT"
    assert await scene.currents(ann) == 2000


async def test_a_full_event_takes_no_walk_in_but_all_who_have_a_place(scene: EventScene) -> None:
    event = await scene.event(starts=0.5, capacity=1)
    assert await scene.register(event, "ann", "bob") == ["ATTENDEE", "WAITING"]
    email = f"walk{scene.suffix}@example.org"
    for given in ({"email": email}, {"user": of(scene.people["bob"])}):
        await scene.refused("checkIn", "LIMIT_EXCEEDED", "event", by=scene.chris, event=event, **given)
    assert done(await scene.check_in(event, scene.people["ann"]))


async def test_who_waits_and_is_checked_in_waits_no_more(scene: EventScene) -> None:
    event = await scene.event(starts=-0.1, hours=0.5, capacity=1)
    await scene.register(event, "ann", "bob")
    async with scene.world.sessions() as session, session.begin():  # the event is over: nobody moves up
        moved = "UPDATE collective SET starts_at = starts_at - interval '1 day', ends_at = ends_at"
        where = " - interval '1 day' WHERE slug = :s"
        await session.execute(text(moved + where), {"s": event["slug"]})
    await scene.world.do("cancelRegistration", by=scene.people["ann"], event=event)
    assert await scene.roles(event) == {"bob": "WAITING"}
    assert done(await scene.check_in(event, scene.people["bob"]))
    assert await scene.roles(event) == {"bob": "ATTENDEE"}


async def test_a_dry_run_stores_nothing(scene: EventScene) -> None:
    event, ann = await scene.event(starts=0), await scene.person("ann")
    before = await scene.world.fingerprint()
    payload = await scene.check_in(event, ann, dryRun=True, idempotencyKey="dry")
    assert (payload["order"]["status"], payload["member"]["role"]) == ("PAID", "ATTENDEE")
    assert await scene.world.fingerprint() == before


async def test_check_out_is_noted_once_and_leaves_the_credit_of_a_full_event(scene: EventScene) -> None:
    event, ann = await scene.event(starts=0), await scene.person("ann")
    given: dict[str, Any] = {"event": event, "user": of(ann)}
    await scene.refused("checkOut", "INVALID_STATE", "user", by=scene.chris, **given)
    order_id = done(await scene.check_in(event, ann))
    for key in ("a", "b", "a"):
        payload = await scene.check_out(event, ann, idempotencyKey=key)
        assert (done(payload), payload["order"]["amount"]["value"]) == (order_id, "2.000")
    left = "SELECT checked_out_at FROM attendance WHERE user_id = :id"
    first = await scene.world.scalar(left, id=ann.user.id)
    await scene.check_out(event, ann)
    assert await scene.world.scalar(left, id=ann.user.id) == first
    assert await scene.currents(ann) == 2000


async def test_actual_time_is_credited_at_check_out_once(
    shared_database: Database, scene: EventScene
) -> None:
    event, ann = await scene.event(starts=-0.5, creditPolicy="ACTUAL"), await scene.person("ann")
    payload = await scene.check_in(event, ann)
    assert (payload["order"]["status"], payload["order"]["transactions"]) == ("PENDING", [])
    assert done(await scene.check_in(event, ann)) == payload["order"]["id"]
    assert await scene.currents(ann) == 0
    pass_time(shared_database, scene, 45)

    payloads = await asyncio.gather(*(scene.check_out(event, ann) for _ in range(10)))

    assert {done(p) for p in payloads} == {payload["order"]["id"]}
    assert {p["order"]["status"] for p in payloads} == {"PAID"}
    assert await scene.currents(ann) in {750, 751, 752}
    paid = payloads[0]["order"]
    assert float(paid["approvedAmount"]["value"]) * 1000 == await scene.currents(ann)
    await scene.world.audit_is_clean()


async def test_actual_time_is_at_most_the_event_and_at_least_one_minor_unit(
    shared_database: Database, scene: EventScene
) -> None:
    event = await scene.event(starts=0.9, creditPolicy="ACTUAL")  # an early bird gains nothing
    ann, bob = await scene.person("ann"), await scene.person("bob")
    done(await scene.check_in(event, ann))
    pass_time(shared_database, scene, 180)
    done(await scene.check_in(event, bob))
    assert (await scene.check_out(event, ann))["order"]["approvedAmount"]["value"] == "2.000"
    assert (await scene.check_out(event, bob))["order"]["approvedAmount"]["value"] == "0.001"
    assert (await scene.currents(ann), await scene.currents(bob)) == (2000, 1)


async def test_a_cap_of_issuance_holds_at_check_in_too(scene: EventScene) -> None:
    ann, bob = await scene.person("ann"), await scene.person("bob")
    async with scene.world.sessions() as session, session.begin():
        await session.execute(
            text(
                "INSERT INTO issuance_cap (id, nonprofit_id, period, amount_minor, valid_from)"
                " VALUES (gen_random_uuid(), :id, 'MONTH', 3000, now())"
            ),
            {"id": scene.nonprofit.id},
        )
    event = await scene.event(starts=0)
    assert done(await scene.check_in(event, ann))
    payload = await scene.check_in(event, bob)
    assert code(payload) == "LIMIT_EXCEEDED"
    assert await scene.roles(event) == {"ann": "ATTENDEE"}


async def attendances(scene: EventScene, event: dict[str, Any], by: Person | None, **page: Any) -> Any:
    query = """query($s: String!, $first: Int, $after: String) { collective(slug: $s) { ... on Event {
        attendances(first: $first, after: $after) { totalCount pageInfo { hasNextPage endCursor } nodes {
            checkedInAt checkedOutAt user { slug } order { amount { value } } } } } } }"""
    found = await scene.world.ask(query, by=by, s=event["slug"], **page)
    return found["collective"]["attendances"]


async def test_those_who_run_the_event_see_who_was_there(scene: EventScene) -> None:
    event = await scene.event(starts=0)
    people = [await scene.person(name) for name in ("ann", "bob", "cy")]
    for person in people:
        done(await scene.check_in(event, person))
    done(await scene.check_out(event, people[0]))
    first = await attendances(scene, event, scene.chris, first=2)
    rest = await attendances(scene, event, scene.chris, first=2, after=first["pageInfo"]["endCursor"])
    assert (first["totalCount"], first["pageInfo"]["hasNextPage"]) == (3, True)
    nodes = first["nodes"] + rest["nodes"]
    assert [row["user"] for row in nodes] == [of(person) for person in people]
    assert [row["checkedOutAt"] is not None for row in nodes] == [True, False, False]
    assert {row["order"]["amount"]["value"] for row in nodes} == {"2.000"}
    for viewer in (None, people[0], await scene.person("stranger")):
        hidden = await attendances(scene, event, viewer)
        assert (hidden["totalCount"], hidden["nodes"]) == (0, [])


async def test_who_was_checked_in_stays_registered(scene: EventScene) -> None:
    event, ann = await scene.event(starts=0), await scene.person("ann")
    member = (await scene.check_in(event, ann))["member"]
    await scene.refused("cancelRegistration", "INVALID_STATE", "event", by=ann, event=event)
    await scene.refused("removeMember", "INVALID_STATE", "id", by=scene.chris, id=member["id"])
    await scene.refused("cancelEvent", "INVALID_STATE", "event", by=scene.chris, event=event)


async def test_an_attendee_spends_what_was_credited(scene: EventScene) -> None:
    ann, bob = await scene.person("ann"), await scene.person("bob")
    done(await scene.check_in(await scene.event(starts=0), ann))
    sides: dict[str, Any] = {"from": of(ann), "to": of(bob), "amount": money("1.500", "CUR")}
    done(await scene.world.do("transferFunds", "order { id }", by=ann, **sides))
    assert (await scene.currents(ann), await scene.currents(bob)) == (500, 1500)
    await scene.world.audit_is_clean()
