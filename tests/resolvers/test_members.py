"""Invitations, roles, leaving and following."""

import asyncio
from typing import Any

import pytest

from models import Collective
from models.enums import CollectiveType, MemberRole
from tests.factories import Person, World, of, public_id

ASKED = "invitation { id status role message collective { slug } user { slug } }"
ANSWERED = "invitation { status } member { id role since collective { slug } member { slug } }"
MEMBER = "member { id role collective { slug } member { slug } }"


def codes(done: dict[str, Any]) -> list[tuple[str, list[str] | None]]:
    return [(error["code"], error["path"]) for error in done["errors"]]


async def refused(
    world: World, mutation: str, code: str, path: list[str], *, by: Person, **given: Any
) -> None:
    """Assert that a mutation is refused with one code and path, and changes nothing."""
    before = await world.fingerprint()
    assert codes(await world.do(mutation, by=by, **given)) == [(code, path)]
    assert await world.fingerprint() == before


async def invited(world: World, by: Person, collective: Collective, role: str = "MEMBER", **whom: Any) -> str:
    done = await world.do("inviteMember", ASKED, by=by, collective=of(collective), role=role, **whom)
    assert done["errors"] == [], done
    return str(done["invitation"]["id"])


async def roles(world: World, slug: str, by: Person | None = None) -> list[tuple[str, str]]:
    found = await world.ask(
        "query($s: String!) { collective(slug: $s) { members { nodes { role member { slug } } } } }",
        by=by,
        s=slug,
    )
    return [(m["role"], m["member"]["slug"]) for m in found["collective"]["members"]["nodes"]]


async def with_club(world: World) -> tuple[Person, Person, Collective]:
    """Return an admin, somebody else, and a club of the admin's."""
    ada, bob = await world.person("ada"), await world.person("bob")
    return ada, bob, await world.community("club", None, ada)


@pytest.mark.parametrize("role", ["ADMIN", "MEMBER", "ACCOUNTANT"])
async def test_an_invitation_is_accepted_once(world: World, role: str) -> None:
    ada, bob, club = await with_club(world)
    done = await world.do(
        "inviteMember", ASKED, by=ada, collective=of(club), role=role, user=of(bob), message="Come!"
    )
    asked = done["invitation"]
    invitation_id = asked.pop("id")
    assert asked == {
        "status": "PENDING",
        "role": role,
        "message": "Come!",
        "collective": {"slug": "club"},
        "user": {"slug": "bob"},
    }
    assert await roles(world, "club") == [("ADMIN", "ada")]
    waiting = await world.ask("{ myInvitations { id role } }", by=bob)
    assert waiting["myInvitations"] == [{"id": invitation_id, "role": role}]
    mail = await world.scalar("SELECT recipient FROM outbox WHERE template = 'invitation'")
    assert mail == bob.email

    done = await world.do("respondToInvitation", ANSWERED, by=bob, id=invitation_id, accept=True)
    assert done["errors"] == []
    assert done["invitation"]["status"] == "ACCEPTED"
    assert (done["member"]["role"], done["member"]["member"]) == (role, {"slug": "bob"})
    assert await roles(world, "club") == [("ADMIN", "ada"), (role, "bob")]
    for accept in (True, False):
        again: dict[str, Any] = {"id": invitation_id, "accept": accept}
        await refused(world, "respondToInvitation", "INVALID_STATE", ["input", "id"], by=bob, **again)
    assert (await world.ask("{ myInvitations { id } }", by=bob))["myInvitations"] == []
    taken: dict[str, Any] = {"collective": of(club), "role": role}
    for whom in ({"user": of(bob)}, {"email": bob.email}):
        await refused(world, "inviteMember", "CONFLICT", ["input", "role"], by=ada, **taken, **whom)


async def test_an_invitation_is_declined_and_may_come_again(world: World) -> None:
    ada, bob, club = await with_club(world)
    first = await invited(world, ada, club, user=of(bob))
    done = await world.do("respondToInvitation", ANSWERED, by=bob, id=first, accept=False)
    assert (done["invitation"], done["member"], done["errors"]) == ({"status": "DECLINED"}, None, [])
    assert await roles(world, "club") == [("ADMIN", "ada")]
    assert await invited(world, ada, club, user=of(bob)) != first


async def test_one_invitation_to_a_role_waits_at_a_time(world: World) -> None:
    ada, bob, club = await with_club(world)
    asked: dict[str, Any] = {"collective": of(club), "role": "MEMBER", "user": of(bob)}
    done = await asyncio.gather(*(world.do("inviteMember", by=ada, **asked) for _ in range(4)))
    assert sorted(len(answer["errors"]) for answer in done) == [0, 1, 1, 1]
    await refused(world, "inviteMember", "CONFLICT", ["input", "user"], by=ada, **asked)
    await invited(world, ada, club, "ADMIN", user=of(bob))


async def test_of_yes_and_no_at_once_one_counts(world: World) -> None:
    ada, bob, club = await with_club(world)
    invitation_id = await invited(world, ada, club, user=of(bob))
    done = await asyncio.gather(
        *(world.do("respondToInvitation", by=bob, id=invitation_id, accept=i % 2 == 0) for i in range(4))
    )
    assert sorted(str(codes(answer)[0][0]) if answer["errors"] else "" for answer in done) == [
        "",
        *["INVALID_STATE"] * 3,
    ]


async def test_an_unknown_address_becomes_an_unclaimed_user_with_an_invitation_and_a_mail(
    world: World,
) -> None:
    ada, _, club = await with_club(world)
    await invited(world, ada, club, email=" New@Example.org ")
    found = await world.scalar(
        "SELECT count(*) FROM invitation i JOIN collective c ON c.id = i.user_id JOIN credential r ON"
        " r.user_id = c.id WHERE r.email = 'new@example.org' AND c.claimed_at IS NULL"
        " AND r.verified_at IS NULL AND c.slug !~ 'new|example' AND c.name !~* 'example'"
    )
    assert found == 1
    assert await world.scalar("SELECT recipient FROM outbox") == "new@example.org"
    await invited(world, ada, club, "ADMIN", email="new@example.org")
    assert await world.scalar("SELECT count(*) FROM credential WHERE email = 'new@example.org'") == 1


async def test_inviting_an_address_does_not_tell_whose_it_is(world: World) -> None:
    ada, bob, club = await with_club(world)
    done = await world.do("inviteMember", ASKED, by=ada, collective=of(club), role="MEMBER", email=bob.email)
    assert done["errors"] == []
    assert done["invitation"]["user"] is None or done["invitation"]["user"]["slug"] != "bob"
    seen = await world.ask(
        "query($i: ID!) { node(id: $i) { ... on Invitation { user { slug } } } }",
        by=ada,
        i=done["invitation"]["id"],
    )
    assert "bob" not in str(seen)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        *(({"role": role}, "role") for role in ("HOST", "BACKER", "VOLUNTEER", "ATTENDEE", "FOLLOWER")),
        ({"user": None}, "user"),
        ({"email": "x@example.org"}, "user"),
        ({"user": None, "email": "nothing"}, "email"),
        ({"user": {"slug": "club"}}, "user"),
        ({"collective": {"slug": "ada"}}, "collective"),
        ({"message": "\x07"}, "message"),
    ],
)
async def test_an_invitation_that_cannot_be(world: World, given: dict[str, Any], path: str) -> None:
    ada, bob, club = await with_club(world)
    asked: dict[str, Any] = {"collective": of(club), "role": "MEMBER", "user": of(bob)} | given
    await refused(world, "inviteMember", "INVALID_INPUT", ["input", path], by=ada, **asked)


async def test_the_answer_to_a_private_events_invitation_shows_the_event(world: World) -> None:
    ada, bob, club = await with_club(world)
    made = await world.do(
        "createEvent",
        "event { slug }",
        by=ada,
        parent=of(club),
        name="Ball",
        isPublic=False,
        startsAt="2030-01-01T10:00Z",
        endsAt="2030-01-01T12:00Z",
    )
    asked = await world.do(
        "inviteMember", ASKED, by=ada, collective=made["event"], role="MEMBER", user=of(bob)
    )
    answer = await world.execute(
        "mutation($i: RespondToInvitationInput!) { respondToInvitation(input: $i) "
        f"{{ {ANSWERED} errors {{ code }} }} }}",
        by=bob,
        i={"id": asked["invitation"]["id"], "accept": True},
    )
    assert "errors" not in answer, answer
    assert answer["data"]["respondToInvitation"]["member"]["collective"] == made["event"]


async def test_an_admin_of_the_parent_ends_roles_in_its_event(world: World) -> None:
    ada, bob, club = await with_club(world)
    eve = await world.person("eve")
    await world.member(club, eve, MemberRole.ADMIN)
    made = await world.do(
        "createEvent",
        "event { slug }",
        by=ada,
        parent=of(club),
        name="Ball",
        startsAt="2030-01-01T10:00Z",
        endsAt="2030-01-01T12:00Z",
    )
    asked = await world.do(
        "inviteMember", ASKED, by=eve, collective=made["event"], role="MEMBER", user=of(bob)
    )
    answered = await world.do(
        "respondToInvitation", ANSWERED, by=bob, id=asked["invitation"]["id"], accept=True
    )
    follower = await world.do("followCollective", MEMBER, by=bob, collective=made["event"])
    for member in (answered["member"], follower["member"]):
        assert codes(await world.do("removeMember", by=eve, id=member["id"])) == []
    assert await roles(world, made["event"]["slug"], by=ada) == [("ADMIN", "ada")]


async def test_an_ended_role_keeps_its_row_and_may_come_again(world: World) -> None:
    ada, bob, club = await with_club(world)
    row = await world.member(club, bob, MemberRole.MEMBER)
    member_id = public_id("Member", row.id)
    done = await world.do("removeMember", MEMBER, by=bob, id=member_id)
    assert done["errors"] == []
    assert done["member"] == {
        "id": member_id,
        "role": "MEMBER",
        "collective": {"slug": "club"},
        "member": {"slug": "bob"},
    }
    assert await world.scalar("SELECT count(*) FROM member WHERE until >= since") == 1
    assert await roles(world, "club") == [("ADMIN", "ada")]
    await refused(world, "removeMember", "NOT_FOUND", ["input", "id"], by=bob, id=member_id)
    again = await invited(world, ada, club, user=of(bob))
    answered = await world.do("respondToInvitation", ANSWERED, by=bob, id=again, accept=True)
    assert answered["member"]["id"] != member_id


async def test_roles_of_the_server_are_not_ended_by_hand(world: World) -> None:
    ada, bob = await world.person("ada"), await world.person("bob")
    host = await world.host("host", ada)
    rows = [await world.member(host, bob, role) for role in (MemberRole.BACKER, MemberRole.VOLUNTEER)]
    found = await world.ask('{ collective(slug: "host") { members(role: HOST) { nodes { id } } } }')
    for row_id in [
        *(public_id("Member", r.id) for r in rows),
        found["collective"]["members"]["nodes"][0]["id"],
    ]:
        await refused(world, "removeMember", "INVALID_STATE", ["input", "id"], by=ada, id=row_id)


async def test_the_last_admin_cannot_leave_nor_be_removed(world: World) -> None:
    ada, bob, club = await with_club(world)
    found = await world.ask('{ collective(slug: "club") { members(role: ADMIN) { nodes { id } } } }')
    last = found["collective"]["members"]["nodes"][0]["id"]
    await refused(world, "removeMember", "INVALID_STATE", ["input", "id"], by=ada, id=last)
    other = public_id("Member", (await world.member(club, bob, MemberRole.ADMIN)).id)
    assert codes(await world.do("removeMember", by=bob, id=last)) == []
    await refused(world, "removeMember", "INVALID_STATE", ["input", "id"], by=bob, id=other)
    assert await roles(world, "club") == [("ADMIN", "bob")]


@pytest.mark.parametrize("by_each_other", [False, True])
async def test_of_two_admins_who_leave_at_once_one_stays(world: World, *, by_each_other: bool) -> None:
    people = [await world.person("ada"), await world.person("bob")]
    actors = people[::-1] if by_each_other else people
    query = "mutation($i: RemoveMemberInput!) { removeMember(input: $i) { errors { code } } }"
    for turn in range(5):
        club = await world.community(f"club-{turn}", None)
        rows = [await world.member(club, person, MemberRole.ADMIN) for person in people]
        ids = [{"id": public_id("Member", row.id)} for row in rows]
        done = await asyncio.gather(
            *(world.execute(query, by=by, i=given) for by, given in zip(actors, ids, strict=True))
        )
        # Who was removed before it began has no right any more.
        found = [answer.get("errors") or answer["data"]["removeMember"]["errors"] for answer in done]
        assert sorted(len(errors) for errors in found) == [0, 1]
        codes_found = {e.get("code") or e["extensions"]["code"] for errors in found for e in errors}
        assert codes_found <= ({"INVALID_STATE", "FORBIDDEN"} if by_each_other else {"INVALID_STATE"})
        assert len(await roles(world, club.slug)) == 1


async def test_following_twice_and_unfollowing_twice_is_well(world: World) -> None:
    ada, bob, club = await with_club(world)
    first, second = [
        await world.do("followCollective", MEMBER, by=bob, collective=of(club)) for _ in range(2)
    ]
    assert first == second
    assert first["member"]["role"] == "FOLLOWER"
    assert ("FOLLOWER", "bob") in await roles(world, "club", by=ada)
    for _ in range(2):
        done = await world.do("unfollowCollective", "collective { slug }", by=bob, collective=of(club))
        assert done == {"collective": {"slug": "club"}, "errors": []}
    assert await roles(world, "club", by=ada) == [("ADMIN", "ada")]
    await refused(
        world, "followCollective", "NOT_FOUND", ["input", "collective"], by=bob, collective={"slug": "no"}
    )


async def test_many_follow_at_once_and_each_has_one_row(world: World) -> None:
    _, bob, club = await with_club(world)
    done = await asyncio.gather(
        *(world.do("followCollective", MEMBER, by=bob, collective=of(club)) for _ in range(5))
    )
    assert len({answer["member"]["id"] for answer in done}) == 1


async def test_an_end_of_a_role_counts_from_the_next_operation_on(world: World) -> None:
    _, bob, club = await with_club(world)
    row = await world.member(club, bob, MemberRole.ADMIN)
    await world.do("removeMember", by=bob, id=public_id("Member", row.id))
    body = await world.execute(
        "mutation($i: UpdateCollectiveInput!) { updateCollective(input: $i) { errors { code } } }",
        by=bob,
        i={"collective": of(club), "name": "Mine"},
    )
    assert [error["extensions"]["code"] for error in body["errors"]] == ["FORBIDDEN"]


async def test_members_are_listed_by_role_on_both_sides(world: World) -> None:
    ada, bob, club = await with_club(world)
    firm = await world.community("firm", None, ada, type=CollectiveType.BUSINESS)
    await world.member(firm, bob, MemberRole.BACKER)
    await world.member(club, bob, MemberRole.MEMBER)
    query = """query($s: String!, $r: [MemberRole!]) { collective(slug: $s) {
        memberOf(role: $r) { totalCount nodes { role collective { slug } } } } }"""
    expected = {"BACKER": "firm", "MEMBER": "club"}
    for asked in (["BACKER"], ["MEMBER"], ["BACKER", "MEMBER"], [], None):
        found = (await world.ask(query, s="bob", r=asked))["collective"]["memberOf"]
        wanted = asked or list(expected)
        assert {m["role"]: m["collective"]["slug"] for m in found["nodes"]} == {
            r: expected[r] for r in wanted
        }
        assert found["totalCount"] == len(wanted)
