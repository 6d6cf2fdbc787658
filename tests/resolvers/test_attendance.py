"""Check-in and check-out: permissions, times, and the credit, which is given once."""

import asyncio
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from models.enums import CollectiveType
from tests.conftest import Database
from tests.donation_world import error_code, expect_order
from tests.event_world import ORDER, EventScene
from tests.factories import Person, World, money, ref
from tests.hours_world import create_issuer
from tests.postgres_backends import waiting_backend


@pytest.fixture
async def scene(shared: World) -> EventScene:
    return await EventScene.create(shared)


def pass_time(shared_database: Database, scene: EventScene, minutes: int) -> None:
    """Move each check-in of the scene into the past, as the tables' owner."""
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
        "from": ref(scene.nonprofit),
        "to": ref(ann),
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
    assert (member["role"], member["member"], member["collective"]) == ("ATTENDEE", ref(ann), event)
    assert (await scene.currents(ann), await scene.issued(scene.nonprofit)) == (2500, 2500)
    data = await scene.world.query(
        "query($s: String!) { collective(slug: $s) { memberOf { nodes { role collective { slug } } } } }",
        by=scene.chris,  # not for others: she has not agreed
        s=ann.slug,
    )
    rows = [(m["role"], m["collective"]) for m in data["collective"]["memberOf"]["nodes"]]
    assert rows == [("ATTENDEE", event), ("VOLUNTEER", ref(scene.nonprofit))]
    await scene.world.assert_clean_ledger()


async def test_an_event_of_48_hours_earns_48_currents(scene: EventScene) -> None:
    ann = await scene.person("ann")
    event = await scene.event(starts=-100, hours=48)  # long over: attendees are added after the fact
    payload = await scene.check_in(event, ann)
    assert payload["order"]["amount"]["value"] == "48.000"
    assert await scene.currents(ann) == 48_000


async def test_repeated_calls_return_the_same_order_under_whichever_key(scene: EventScene) -> None:
    ann, kim = await scene.person("ann"), await scene.admin(scene.nonprofit, "kim")
    event = await scene.event(starts=0)
    first = expect_order(await scene.check_in(event, ann, idempotencyKey="a"))
    before = await scene.world.fingerprint()
    for by, key in ((scene.chris, None), (scene.chris, "a"), (kim, None)):
        more = {"idempotencyKey": key} if key else {}
        again = await scene.check_in(event, ann, by=by, **more)
        assert (expect_order(again), again["member"]["role"]) == (first, "ATTENDEE")
    assert await scene.world.fingerprint() == before
    for _ in range(2):  # a key that found the order of another leads there again
        assert expect_order(await scene.check_in(event, ann, idempotencyKey="b")) == first
    async with scene.world.sessions() as session, session.begin():
        gone = "UPDATE collective SET issuer_approved_at = NULL WHERE id = :id"
        await session.execute(text(gone), {"id": scene.nonprofit.id})
    assert expect_order(await scene.check_in(event, ann)) == first  # whatever came after it
    other = await scene.person("bob")
    assert error_code(await scene.check_in(event, other)) == "INVALID_STATE"
    conflict = await scene.check_in(event, other, idempotencyKey="a")
    assert error_code(conflict) == "IDEMPOTENCY_CONFLICT"
    assert await scene.currents(ann) == 2000


async def test_one_of_20_concurrent_check_ins_credits(scene: EventScene) -> None:
    ann = await scene.person("ann")
    event = await scene.event(starts=0)
    payloads = await asyncio.gather(
        *(scene.check_in(event, ann, idempotencyKey=f"k{i % 5}") for i in range(20))
    )
    assert len({expect_order(payload) for payload in payloads}) == 1
    assert (await scene.currents(ann), await scene.issued(scene.nonprofit)) == (2000, 2000)
    assert await scene.counts(event) == (1, 0)
    await scene.world.assert_clean_ledger()


async def test_concurrent_check_ins_of_a_walk_in_create_one_unclaimed_user(
    scene: EventScene,
) -> None:
    event = await scene.event(starts=0)
    email = f"Walk.In{scene.suffix}@Example.org"
    arguments: dict[str, Any] = {"event": event, "email": email}
    fields = f"{ORDER} member {{ role member {{ slug name ... on User {{ isClaimed }} }} }}"
    payloads = await asyncio.gather(
        *(scene.world.mutate("checkIn", fields, by=scene.chris, **arguments) for _ in range(8))
    )
    assert len({expect_order(payload) for payload in payloads}) == 1
    member = payloads[0]["member"]
    assert (member["role"], member["member"]["isClaimed"]) == ("ATTENDEE", False)
    assert "walk" not in f"{member['member']['slug']} {member['member']['name']}".lower()
    count = "SELECT count(*) FROM credential WHERE email = :email"
    assert await scene.world.scalar(count, email=email.lower()) == 1
    assert await scene.issued(scene.nonprofit) == 2000


async def test_an_unclaimed_user_is_credited_by_name_and_by_address(scene: EventScene) -> None:
    guest = await scene.person("guest", claimed=False)
    first, second = await scene.event(starts=-20), await scene.event(starts=-10)
    expect_order(await scene.check_in(first, guest))
    by_address = await scene.world.mutate(
        "checkIn", ORDER, by=scene.chris, event=second, email=guest.email.upper()
    )
    assert by_address["order"]["to"] == ref(guest)
    assert await scene.currents(guest) == 4000


async def test_neither_sign_in_nor_registration_allows_checking_in(scene: EventScene) -> None:
    ann, bob = await scene.person("ann"), await scene.person("bob")
    event = await scene.event(starts=0)
    await scene.register(event, "ann")
    arguments: dict[str, Any] = {"event": event, "user": ref(bob)}
    for by in (ann, bob, await scene.person("nobody")):
        for mutation in ("checkIn", "checkOut"):
            await scene.expect_denied(mutation, by=by, **arguments)
    await scene.expect_denied("checkIn", by=None, code="UNAUTHENTICATED", **arguments)


async def test_an_admin_of_another_nonprofit_cannot_check_in(scene: EventScene) -> None:
    kate, ann = await scene.person("kate"), await scene.person("ann")
    await create_issuer(scene.world, f"goodvibes{scene.suffix}", kate)
    event, hidden = await scene.event(starts=0), await scene.event(starts=0, isPublic=False)
    await scene.expect_denied("checkIn", by=kate, event=event, user=ref(ann))
    await scene.expect_problem("checkIn", "NOT_FOUND", "event", by=kate, event=hidden, user=ref(ann))
    await scene.expect_problem("checkOut", "NOT_FOUND", "event", by=kate, event=hidden, user=ref(ann))


async def test_old_slugs_lead_to_the_event_and_to_the_user(scene: EventScene) -> None:
    event, ann = await scene.event(starts=0), await scene.person("ann")
    for old, by in ((event, scene.chris), (ref(ann), ann)):
        renamed: dict[str, Any] = {"collective": old, "slug": f"{old['slug'][:50]}-new"}
        assert (await scene.world.mutate("updateCollective", by=by, **renamed))["errors"] == []
    order_id = expect_order(await scene.check_in(event, ann))
    again: dict[str, Any] = {
        "event": {"slug": f"{event['slug'][:50]}-new"},
        "user": {"slug": f"{ann.slug[:50]}-new"},
    }
    payload = await scene.world.mutate("checkIn", ORDER, by=scene.chris, **again)
    assert expect_order(payload) == order_id


async def test_whoever_may_not_check_in_waits_for_nobody(
    scene: EventScene, shared_database: Database
) -> None:
    event, ann = await scene.event(starts=0), await scene.person("ann")
    arguments: dict[str, Any] = {"event": event, "user": ref(ann)}
    with psycopg.connect(shared_database.app_url) as other:
        other.execute("SELECT FROM collective WHERE slug = %s FOR UPDATE", [event["slug"]])
        async with asyncio.timeout(10):
            await scene.expect_denied("checkIn", by=ann, **arguments)


async def test_a_check_in_credits_what_the_event_is_once_it_has_waited(
    scene: EventScene, shared_database: Database
) -> None:
    event, ann = await scene.event(starts=0), await scene.person("ann")
    with psycopg.connect(shared_database.app_url) as other:
        other.execute(
            "UPDATE collective SET ends_at = ends_at - interval '1 hour' WHERE slug = %s", [event["slug"]]
        )
        check_in = asyncio.create_task(scene.check_in(event, ann))
        await waiting_backend(shared_database)
        other.commit()
    payload = await check_in
    assert (payload["errors"], payload["order"]["amount"]["value"]) == ([], "1.000")


async def test_currents_come_from_the_events_parent_and_not_from_the_callers_own_nonprofit(
    scene: EventScene,
) -> None:
    kate, ann = await scene.person("kate"), await scene.person("ann")
    own = await create_issuer(scene.world, f"goodvibes{scene.suffix}", kate)
    await scene.admin(scene.nonprofit, "kate")
    payload = await scene.check_in(await scene.event(starts=0), ann, by=kate)
    assert payload["order"]["from"] == ref(scene.nonprofit)
    assert (await scene.issued(scene.nonprofit), await scene.issued(own)) == (2000, 0)


async def test_an_admin_of_the_event_alone_checks_in(scene: EventScene) -> None:
    ann, lee = await scene.person("ann"), await scene.person("lee")
    event = await scene.event(starts=0)
    row = {"collective": event, "role": "ADMIN", "user": ref(lee)}
    payload = await scene.world.mutate("inviteMember", "invitation { id }", by=scene.chris, **row)
    await scene.world.mutate("respondToInvitation", by=lee, id=payload["invitation"]["id"], accept=True)
    assert expect_order(await scene.check_in(event, ann, by=lee))


async def test_users_cannot_check_themselves_in_or_out(scene: EventScene) -> None:
    event, chris = await scene.event(starts=0), scene.chris
    await scene.expect_problem("checkIn", "SELF_APPROVAL", "user", by=chris, event=event, user=ref(chris))
    await scene.expect_problem("checkIn", "SELF_APPROVAL", "email", by=chris, event=event, email=chris.email)
    kim = await scene.admin(scene.nonprofit, "kim")
    assert expect_order(await scene.check_in(event, chris, by=kim))
    await scene.expect_problem("checkOut", "SELF_APPROVAL", "user", by=chris, event=event, user=ref(chris))


async def test_check_in_opens_the_policys_minutes_before_the_start(scene: EventScene) -> None:
    ann = await scene.person("ann")
    early, open_ = await scene.event(starts=1.02), await scene.event(starts=0.98)
    await scene.expect_problem(
        "checkIn", "INVALID_STATE", "event", by=scene.chris, event=early, user=ref(ann)
    )
    assert expect_order(await scene.check_in(open_, ann))


async def test_invalid_check_ins_are_refused(scene: EventScene) -> None:
    chris, ann = scene.chris, await scene.person("ann")
    off = await scene.event(starts=0)
    await scene.world.mutate("cancelEvent", by=chris, event=off)
    await scene.expect_problem("checkIn", "INVALID_STATE", "event", by=chris, event=off, user=ref(ann))
    event = await scene.event(starts=0)
    for arguments, path in (
        ({}, "user"),
        ({"user": ref(ann), "email": "a@b.org"}, "user"),
        ({"email": "nobody"}, "email"),
        ({"user": ref(scene.nonprofit)}, "user"),
    ):
        await scene.expect_problem("checkIn", "INVALID_INPUT", path, by=chris, event=event, **arguments)
    await scene.expect_problem(
        "checkIn", "INVALID_INPUT", "event", by=chris, event=ref(scene.nonprofit), user=ref(ann)
    )
    gone = await scene.person("gone")
    await scene.world.mutate("archiveCollective", by=gone, collective=ref(gone))
    await scene.expect_problem("checkIn", "INVALID_STATE", "user", by=chris, event=event, user=ref(gone))


@pytest.mark.parametrize(
    "kind", [CollectiveType.COMMUNITY, CollectiveType.BUSINESS, CollectiveType.NONPROFIT]
)
async def test_only_an_approved_nonprofits_event_credits(scene: EventScene, kind: CollectiveType) -> None:
    parent = await scene.world.community(f"club{scene.suffix}", None, scene.chris, collective_type=kind)
    event = await scene.event(starts=0, parent=parent)
    ann = await scene.person("ann")
    await scene.expect_problem(
        "checkIn", "INVALID_STATE", "event", by=scene.chris, event=event, user=ref(ann)
    )


async def test_hours_that_overlap_others_of_the_same_volunteer_are_a_conflict(scene: EventScene) -> None:
    ann = await scene.person("ann")
    expect_order(await scene.check_in(await scene.event(starts=-1), ann))
    payload = await scene.check_in(await scene.event(starts=0), ann)
    assert error_code(payload) == "CONFLICT"
    assert await scene.currents(ann) == 2000


async def test_a_full_event_refuses_walk_ins_but_not_attendees(scene: EventScene) -> None:
    event = await scene.event(starts=0.5, capacity=1)
    assert await scene.register(event, "ann", "bob") == ["ATTENDEE", "WAITING"]
    email = f"walk{scene.suffix}@example.org"
    for arguments in ({"email": email}, {"user": ref(scene.people["bob"])}):
        await scene.expect_problem(
            "checkIn", "LIMIT_EXCEEDED", "event", by=scene.chris, event=event, **arguments
        )
    assert expect_order(await scene.check_in(event, scene.people["ann"]))


async def test_checking_in_removes_a_user_from_the_waiting_list(scene: EventScene) -> None:
    event = await scene.event(starts=-0.1, hours=0.5, capacity=1)
    await scene.register(event, "ann", "bob")
    async with scene.world.sessions() as session, session.begin():  # the event is over: nobody moves up
        moved = "UPDATE collective SET starts_at = starts_at - interval '1 day', ends_at = ends_at"
        where = " - interval '1 day' WHERE slug = :s"
        await session.execute(text(moved + where), {"s": event["slug"]})
    await scene.world.mutate("cancelRegistration", by=scene.people["ann"], event=event)
    assert await scene.roles(event) == {"bob": "WAITING"}
    assert expect_order(await scene.check_in(event, scene.people["bob"]))
    assert await scene.roles(event) == {"bob": "ATTENDEE"}


async def test_a_dry_run_stores_nothing(scene: EventScene) -> None:
    event, ann = await scene.event(starts=0), await scene.person("ann")
    before = await scene.world.fingerprint()
    payload = await scene.check_in(event, ann, dryRun=True, idempotencyKey="dry")
    assert (payload["order"]["status"], payload["member"]["role"]) == ("PAID", "ATTENDEE")
    assert await scene.world.fingerprint() == before


async def test_check_out_is_recorded_once_and_keeps_the_credit_for_the_full_event(scene: EventScene) -> None:
    event, ann = await scene.event(starts=0), await scene.person("ann")
    arguments: dict[str, Any] = {"event": event, "user": ref(ann)}
    await scene.expect_problem("checkOut", "INVALID_STATE", "user", by=scene.chris, **arguments)
    order_id = expect_order(await scene.check_in(event, ann))
    for key in ("a", "b", "a"):
        payload = await scene.check_out(event, ann, idempotencyKey=key)
        assert (expect_order(payload), payload["order"]["amount"]["value"]) == (order_id, "2.000")
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
    assert expect_order(await scene.check_in(event, ann)) == payload["order"]["id"]
    assert await scene.currents(ann) == 0
    pass_time(shared_database, scene, 45)

    payloads = await asyncio.gather(*(scene.check_out(event, ann) for _ in range(10)))

    assert {expect_order(p) for p in payloads} == {payload["order"]["id"]}
    assert {p["order"]["status"] for p in payloads} == {"PAID"}
    assert await scene.currents(ann) in {750, 751, 752}
    paid = payloads[0]["order"]
    assert float(paid["approvedAmount"]["value"]) * 1000 == await scene.currents(ann)
    await scene.world.assert_clean_ledger()


async def test_actual_time_is_at_most_the_event_and_at_least_one_minor_unit(
    shared_database: Database, scene: EventScene
) -> None:
    event = await scene.event(starts=0.9, creditPolicy="ACTUAL")  # an early bird gains nothing
    ann, bob = await scene.person("ann"), await scene.person("bob")
    expect_order(await scene.check_in(event, ann))
    pass_time(shared_database, scene, 180)
    expect_order(await scene.check_in(event, bob))
    assert (await scene.check_out(event, ann))["order"]["approvedAmount"]["value"] == "2.000"
    assert (await scene.check_out(event, bob))["order"]["approvedAmount"]["value"] == "0.001"
    assert (await scene.currents(ann), await scene.currents(bob)) == (2000, 1)


async def test_the_issuance_cap_applies_to_check_ins(scene: EventScene) -> None:
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
    assert expect_order(await scene.check_in(event, ann))
    payload = await scene.check_in(event, bob)
    assert error_code(payload) == "LIMIT_EXCEEDED"
    assert await scene.roles(event) == {"ann": "ATTENDEE"}


async def attendances(scene: EventScene, event: dict[str, Any], by: Person | None, **page: Any) -> Any:
    query = """query($s: String!, $first: Int, $after: String, $last: Int, $before: String) {
        collective(slug: $s) { ... on Event {
        attendances(first: $first, after: $after, last: $last, before: $before) {
            totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor } nodes {
            checkedInAt checkedOutAt user { slug } order { amount { value } } } } } } }"""
    data = await scene.world.query(query, by=by, s=event["slug"], **page)
    return data["collective"]["attendances"]


async def test_the_events_admins_see_the_attendance(scene: EventScene) -> None:
    event = await scene.event(starts=0)
    people = [await scene.person(name) for name in ("ann", "bob", "cy")]
    for person in people:
        expect_order(await scene.check_in(event, person))
    expect_order(await scene.check_out(event, people[0]))
    first = await attendances(scene, event, scene.chris, first=2)
    rest = await attendances(scene, event, scene.chris, first=2, after=first["pageInfo"]["endCursor"])
    assert (first["totalCount"], first["pageInfo"]["hasNextPage"]) == (3, True)
    nodes = first["nodes"] + rest["nodes"]
    end = await attendances(scene, event, scene.chris, last=2)
    start = await attendances(scene, event, scene.chris, last=2, before=end["pageInfo"]["startCursor"])
    assert start["nodes"] + end["nodes"] == nodes
    assert (start["pageInfo"]["hasPreviousPage"], end["pageInfo"]["hasPreviousPage"]) == (False, True)
    assert [row["user"] for row in nodes] == [ref(person) for person in people]
    assert [row["checkedOutAt"] is not None for row in nodes] == [True, False, False]
    assert {row["order"]["amount"]["value"] for row in nodes} == {"2.000"}
    for viewer in (None, people[0], await scene.person("stranger")):
        hidden = await attendances(scene, event, viewer)
        assert (hidden["totalCount"], hidden["nodes"]) == (0, [])


async def test_a_checked_in_user_stays_registered(scene: EventScene) -> None:
    event, ann = await scene.event(starts=0), await scene.person("ann")
    member = (await scene.check_in(event, ann))["member"]
    await scene.expect_problem("cancelRegistration", "INVALID_STATE", "event", by=ann, event=event)
    await scene.expect_problem("removeMember", "INVALID_STATE", "id", by=scene.chris, id=member["id"])
    await scene.expect_problem("cancelEvent", "INVALID_STATE", "event", by=scene.chris, event=event)


async def test_an_attendee_can_spend_the_credit(scene: EventScene) -> None:
    ann, bob = await scene.person("ann"), await scene.person("bob")
    expect_order(await scene.check_in(await scene.event(starts=0), ann))
    sides: dict[str, Any] = {"from": ref(ann), "to": ref(bob), "amount": money("1.500", "CUR")}
    expect_order(await scene.world.mutate("transferFunds", "order { id }", by=ann, **sides))
    assert (await scene.currents(ann), await scene.currents(bob)) == (500, 1500)
    await scene.world.assert_clean_ledger()
