"""Archiving: what ends with it, what asks again afterwards, and the way back."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models import Collective, now
from models.enums import CollectiveType, MemberRole
from tests.factories import Person, World, error_codes, money, ref

TEN = money("10.00")
ARCHIVED = "collective { isArchived }"


async def with_event(world: World, *, kind: CollectiveType = CollectiveType.NONPROFIT) -> tuple[Any, ...]:
    """Return an admin, a registered user, a collective without a host, and its event."""
    ada, bob = await world.person("ada"), await world.person("bob")
    club = await world.community("club", None, ada, collective_type=kind)
    event = await created_event(world, ada, club)
    payload = await world.mutate("registerForEvent", by=bob, event=event)
    assert payload["errors"] == []
    return ada, bob, club, event


async def created_event(world: World, by: Person, parent: Collective) -> dict[str, str]:
    starts_at = now() + timedelta(days=1)
    payload = await world.mutate(
        "createEvent",
        "event { slug }",
        by=by,
        parent=ref(parent),
        name="Ball",
        startsAt=starts_at.isoformat(),
        endsAt=(starts_at + timedelta(hours=2)).isoformat(),
    )
    assert payload["errors"] == [], payload
    return {"slug": payload["event"]["slug"]}


async def archive(world: World, by: Person, slug: str) -> None:
    payload = await world.mutate("archiveCollective", ARCHIVED, by=by, collective={"slug": slug})
    assert payload == {"collective": {"isArchived": True}, "errors": []}


async def unarchive(world: World, by: Person, slug: str) -> None:
    payload = await world.mutate("unarchiveCollective", ARCHIVED, by=by, collective={"slug": slug})
    assert payload == {"collective": {"isArchived": False}, "errors": []}


@pytest.mark.parametrize("of", ["club", "event"])
async def test_archiving_ends_registrations_with_a_mail_and_hides_events(world: World, of: str) -> None:
    ada, bob, club, event = await with_event(world)
    await archive(world, ada, "club" if of == "club" else event["slug"])
    assert await world.scalar("SELECT recipient FROM outbox WHERE template = 'event_cancelled'") == bob.email
    registered = "SELECT count(*) FROM member WHERE role = 'ATTENDEE' AND until IS NULL"
    assert await world.scalar(registered) == 0
    data = await world.query(
        '{ collective(slug: "club") { events { totalCount nodes { slug } } } collectives(filter: '
        "{type: [EVENT]}) { totalCount } }"
    )
    assert data == {
        "collective": {"events": {"totalCount": 0, "nodes": []}},
        "collectives": {"totalCount": 0},
    }
    for mutation, by, arguments in (
        ("registerForEvent", bob, {}),
        ("updateEvent", ada, {"location": "x"}),
        ("cancelEvent", ada, {}),
        ("inviteToEvent", ada, {"users": [ref(bob)]}),
        ("sendEventMessage", ada, {"message": "x"}),
        ("checkIn", ada, {"user": ref(bob)}),
    ):
        path = ["input", "event"]
        await world.expect_problem(mutation, "INVALID_STATE", path, by=by, event=event, **arguments)
    renamed: dict[str, Any] = {"collective": event, "name": "x"}
    path = ["input", "collective"]
    await world.expect_problem("updateCollective", "INVALID_STATE", path, by=ada, **renamed)
    assert club.id


async def test_nothing_new_is_added_to_an_archived_collective(world: World) -> None:
    ada, bob, club, _ = await with_event(world)
    invited = await world.mutate(
        "inviteMember", "invitation { id }", by=ada, collective=ref(club), role="ADMIN", user=ref(bob)
    )
    await archive(world, ada, "club")
    answer: dict[str, Any] = {"id": invited["invitation"]["id"], "accept": True}
    path = ["input", "id"]
    await world.expect_problem("respondToInvitation", "INVALID_STATE", path, by=bob, **answer)
    assert (await world.query("{ myInvitations { id } }", by=bob))["myInvitations"] == []
    starts_at = now() + timedelta(days=1)
    times = {"startsAt": starts_at.isoformat(), "endsAt": (starts_at + timedelta(hours=1)).isoformat()}
    own: dict[str, Any] = {"collective": ref(club)}
    for mutation, field, arguments in (
        ("inviteMember", "collective", own | {"role": "MEMBER", "user": ref(bob)}),
        ("createEvent", "parent", {"parent": ref(club), "name": "x", **times}),
        ("createPayoutMethod", "collective", own | {"name": "x", "type": "OTHER", "details": {}}),
        ("applyAsHost", "collective", own),
        ("followCollective", "collective", own),
        ("updateCollective", "collective", own | {"name": "x"}),
    ):
        path = ["input", field]
        await world.expect_problem(mutation, "INVALID_STATE", path, by=ada, **arguments)


async def test_the_database_alone_keeps_an_archived_collective_closed(world: World) -> None:
    ada, bob, club, _ = await with_event(world)
    await archive(world, ada, "club")
    await archive(world, bob, "bob")
    ids = {"club": club.id, "ada": ada.user.id, "bob": bob.user.id}
    for statement, message in (
        (
            "INSERT INTO member (id, collective_id, member_id, role) VALUES"
            " (gen_random_uuid(), :club, :ada, 'MEMBER')",
            "nobody joins an archived collective",
        ),
        (
            "INSERT INTO member (id, collective_id, member_id, role) VALUES"
            " (gen_random_uuid(), :ada, :bob, 'FOLLOWER')",
            "no archived user joins",
        ),
        (
            "INSERT INTO collective (id, slug, type, name, currency, parent_id, starts_at, ends_at)"
            " VALUES (gen_random_uuid(), 'late', 'EVENT', 'x', 'USD', :club, now(), now() + interval '1 h')",
            "the parent of an open event is open",
        ),
        (
            "UPDATE collective SET archived_at = NULL WHERE parent_id = :club",
            "the parent of an open event is open",
        ),
        (
            "INSERT INTO token (id, user_id, kind, token_hash, scopes, expires_at) VALUES"
            " (gen_random_uuid(), :bob, 'SESSION', 'x', '{}', now() + interval '1 h')",
            "an archived user cannot sign in",
        ),
        (
            "INSERT INTO challenge (challenge_hash, purpose, user_id, expires_at) VALUES"
            " ('x', 'SIGN_IN', :bob, now() + interval '1 h')",
            "an archived user cannot sign in",
        ),
    ):
        values = {name: row_id for name, row_id in ids.items() if f":{name}" in statement}
        async with world.sessions() as session:
            with pytest.raises(DBAPIError, match=message):
                await session.execute(text(statement), values)


async def test_an_archived_collective_comes_back_with_what_was_archived_with_it(world: World) -> None:
    ada, bob, club, event = await with_event(world)
    early = await created_event(world, ada, club)
    await archive(world, ada, early["slug"])
    await archive(world, ada, "club")
    path = ["input", "collective"]
    await world.expect_problem("unarchiveCollective", "INVALID_STATE", path, by=ada, collective=event)
    await unarchive(world, ada, "club")
    data = await world.query('{ collective(slug: "club") { events { nodes { slug } } } }')
    assert data["collective"]["events"]["nodes"] == [event]
    payload = await world.mutate("registerForEvent", by=bob, event=event)
    assert payload["errors"] == []
    await unarchive(world, ada, early["slug"])
    await world.expect_problem("unarchiveCollective", "INVALID_STATE", path, by=ada, collective=ref(club))


async def test_a_collective_comes_back_without_a_host_that_is_closed(world: World) -> None:
    ada = await world.person("ada")
    host = await world.host("host", ada)
    for slug in ("club", "kept"):
        await world.community(slug, host, ada)
        await archive(world, ada, slug)
    await unarchive(world, ada, "kept")
    payload = await world.mutate("suspendHost", by=world.admin, host=ref(host), reason="x")
    assert payload["errors"] == []
    await unarchive(world, ada, "club")
    data = await world.query(
        '{ club: collective(slug: "club") { host { slug } }'
        ' kept: collective(slug: "kept") { host { slug } } }'
    )
    assert data == {"club": {"host": None}, "kept": {"host": {"slug": "host"}}}


async def test_an_archived_user_has_no_session_and_no_way_in(world: World) -> None:
    ada, bob = await world.person("ada"), await world.person("bob")
    token = await world.access_token(bob, "READ")
    own = await world.community("own", None, bob)
    path = ["input", "collective"]
    await world.expect_problem("archiveCollective", "INVALID_STATE", path, by=bob, collective=ref(bob))
    await world.member(own, ada, MemberRole.ADMIN)
    await archive(world, bob, "bob")
    for by in (bob, token):
        body = await world.execute("{ me { id } }", by=by)
        assert [error["extensions"]["code"] for error in body["errors"]] == ["UNAUTHENTICATED"]
    await unarchive(world, world.admin, "bob")
    assert (await world.execute("{ me { id } }", by=bob))["errors"]


async def test_a_merged_user_stays_archived(world: World) -> None:
    ada = await world.person("ada")
    merged = Collective(
        slug="bob",
        type=CollectiveType.USER,
        name="Bob",
        currency="USD",
        archived_at=now(),
        merged_into_id=ada.user.id,
    )
    await world.add(merged)
    path = ["input", "collective"]
    await world.expect_problem(
        "unarchiveCollective", "INVALID_STATE", path, by=world.admin, collective=ref(merged)
    )


async def refundable(world: World) -> tuple[Person, Collective, str]:
    """Return the holder of a host, its empty collective, and its donation that was passed on."""
    holder = await world.person("holder")
    host = await world.host("host", holder)
    club, other = await world.community("club", host, holder), await world.community("other", host, holder)
    await world.fund(club, "10.00", by=holder)
    given: dict[str, Any] = {"from": ref(club), "to": ref(other), "amount": TEN}
    payload = await world.mutate("donate", "order { id }", by=holder, **given)
    assert payload["errors"] == []
    return holder, club, str(payload["order"]["id"])


async def test_an_order_of_an_archived_collective_is_not_refunded(world: World) -> None:
    holder, club, order_id = await refundable(world)
    await archive(world, holder, "club")
    await world.expect_problem("refundOrder", "INVALID_STATE", ["input", "id"], by=holder, id=order_id)
    await unarchive(world, holder, club.slug)
    assert (await world.mutate("refundOrder", by=holder, id=order_id))["errors"] == []


async def test_of_archiving_and_a_refund_at_the_same_moment_one_wins(world: World) -> None:
    holder, club, order_id = await refundable(world)
    for _ in range(4):
        refunded, archived = await asyncio.gather(
            world.mutate("refundOrder", by=holder, id=order_id, amount=money("1.00")),
            world.mutate("archiveCollective", by=holder, collective=ref(club)),
        )
        results = sorted([code for code, _ in error_codes(payload)] for payload in (refunded, archived))
        assert results == [[], ["INVALID_STATE"]]
        if not archived["errors"]:
            await unarchive(world, holder, "club")
        else:
            back: dict[str, Any] = {"from": ref(club), "to": {"slug": "other"}, "amount": money("1.00")}
            assert (await world.mutate("transferFunds", by=holder, **back))["errors"] == []
    await world.assert_clean_ledger()


async def test_an_invitation_is_listed_withdrawn_and_expires(world: World) -> None:
    ada, bob = await world.person("ada"), await world.person("bob")
    club = await world.community("club", None, ada)
    request: dict[str, Any] = {"collective": ref(club), "role": "MEMBER", "user": ref(bob)}
    fields = "invitation { id status }"
    invitation = (await world.mutate("inviteMember", fields, by=ada, **request))["invitation"]
    sent = "{ sentInvitations { id status } }"
    assert (await world.query(sent, by=ada))["sentInvitations"] == [invitation]
    assert (await world.query(sent, by=bob))["sentInvitations"] == []
    payload = await world.mutate("withdrawInvitation", fields, by=ada, id=invitation["id"])
    assert (payload["errors"], payload["invitation"]["status"]) == ([], "WITHDRAWN")
    assert (await world.query(sent, by=ada))["sentInvitations"] == []
    path = ["input", "id"]
    await world.expect_problem("withdrawInvitation", "INVALID_STATE", path, by=ada, id=invitation["id"])
    answer: dict[str, Any] = {"accept": True}
    await world.expect_problem(
        "respondToInvitation", "INVALID_STATE", path, by=bob, id=invitation["id"], **answer
    )

    invitation = (await world.mutate("inviteMember", fields, by=ada, **request))["invitation"]
    async with world.sessions() as session, session.begin():
        await session.execute(text("UPDATE invitation SET expires_at = now() - interval '1 second'"))
    await world.expect_problem(
        "respondToInvitation", "INVALID_STATE", path, by=bob, id=invitation["id"], **answer
    )
    assert (await world.query("{ myInvitations { id } }", by=bob))["myInvitations"] == []
    payload = await world.mutate("inviteMember", fields, by=ada, **request)
    assert payload["errors"] == []
    assert await world.scalar("SELECT count(*) FROM invitation WHERE status = 'EXPIRED'") == 1
