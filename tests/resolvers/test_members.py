"""Invitations, roles, leaving and following."""

import asyncio
from typing import Any

import pytest

from models import Collective
from models.enums import CollectiveType, MemberRole
from tests.factories import Person, World, error_codes, public_id, ref

ASKED = "invitation { id status role message collective { slug } user { slug } }"
ANSWERED = "invitation { status } member { id role since collective { slug } member { slug } }"
MEMBER = "member { id role collective { slug } member { slug } }"


async def invited(world: World, by: Person, collective: Collective, role: str = "MEMBER", **whom: Any) -> str:
    payload = await world.mutate("inviteMember", ASKED, by=by, collective=ref(collective), role=role, **whom)
    assert payload["errors"] == [], payload
    return str(payload["invitation"]["id"])


async def roles(world: World, slug: str, by: Person | None = None) -> list[tuple[str, str]]:
    data = await world.query(
        "query($s: String!) { collective(slug: $s) { members { nodes { role member { slug } } } } }",
        by=by,
        s=slug,
    )
    return [(m["role"], m["member"]["slug"]) for m in data["collective"]["members"]["nodes"]]


async def with_club(world: World) -> tuple[Person, Person, Collective]:
    """Return an admin, somebody else, and a club of the admin's."""
    ada, bob = await world.person("ada"), await world.person("bob")
    return ada, bob, await world.community("club", None, ada)


@pytest.mark.parametrize("role", ["ADMIN", "MEMBER", "ACCOUNTANT"])
async def test_an_invitation_is_accepted_once(world: World, role: str) -> None:
    ada, bob, club = await with_club(world)
    payload = await world.mutate(
        "inviteMember", ASKED, by=ada, collective=ref(club), role=role, user=ref(bob), message="Come!"
    )
    invitation = payload["invitation"]
    invitation_id = invitation.pop("id")
    assert invitation == {
        "status": "PENDING",
        "role": role,
        "message": "Come!",
        "collective": {"slug": "club"},
        "user": {"slug": "bob"},
    }
    assert await roles(world, "club") == [("ADMIN", "ada")]
    waiting = await world.query("{ myInvitations { id role } }", by=bob)
    assert waiting["myInvitations"] == [{"id": invitation_id, "role": role}]
    mail = await world.scalar("SELECT recipient FROM outbox WHERE template = 'invitation'")
    assert mail == bob.email

    payload = await world.mutate("respondToInvitation", ANSWERED, by=bob, id=invitation_id, accept=True)
    assert payload["errors"] == []
    assert payload["invitation"]["status"] == "ACCEPTED"
    assert (payload["member"]["role"], payload["member"]["member"]) == (role, {"slug": "bob"})
    assert await roles(world, "club") == [("ADMIN", "ada"), (role, "bob")]
    for accept in (True, False):
        again: dict[str, Any] = {"id": invitation_id, "accept": accept}
        await world.expect_problem("respondToInvitation", "INVALID_STATE", ["input", "id"], by=bob, **again)
    assert (await world.query("{ myInvitations { id } }", by=bob))["myInvitations"] == []
    taken: dict[str, Any] = {"collective": ref(club), "role": role}
    await world.expect_problem("inviteMember", "CONFLICT", ["input", "role"], by=ada, **taken, user=ref(bob))
    by_address = await world.mutate("inviteMember", by=ada, **taken, email=bob.email)
    assert by_address["errors"] == []  # a refusal would tell whose address it is


async def test_a_declined_invitation_may_be_repeated(world: World) -> None:
    ada, bob, club = await with_club(world)
    first = await invited(world, ada, club, user=ref(bob))
    payload = await world.mutate("respondToInvitation", ANSWERED, by=bob, id=first, accept=False)
    assert (payload["invitation"], payload["member"], payload["errors"]) == ({"status": "DECLINED"}, None, [])
    assert await roles(world, "club") == [("ADMIN", "ada")]
    assert await invited(world, ada, club, user=ref(bob)) != first


async def test_a_role_has_one_pending_invitation_at_a_time(world: World) -> None:
    ada, bob, club = await with_club(world)
    results: dict[str, Any] = {"collective": ref(club), "role": "MEMBER", "user": ref(bob)}
    payloads = await asyncio.gather(*(world.mutate("inviteMember", by=ada, **results) for _ in range(4)))
    assert sorted(len(answer["errors"]) for answer in payloads) == [0, 1, 1, 1]
    await world.expect_problem("inviteMember", "CONFLICT", ["input", "user"], by=ada, **results)
    await invited(world, ada, club, "ADMIN", user=ref(bob))


async def test_one_of_two_concurrent_responses_counts(world: World) -> None:
    ada, bob, club = await with_club(world)
    invitation_id = await invited(world, ada, club, user=ref(bob))
    payloads = await asyncio.gather(
        *(world.mutate("respondToInvitation", by=bob, id=invitation_id, accept=i % 2 == 0) for i in range(4))
    )
    assert sorted(str(error_codes(answer)[0][0]) if answer["errors"] else "" for answer in payloads) == [
        "",
        *["INVALID_STATE"] * 3,
    ]


async def test_inviting_an_unknown_address_creates_an_unclaimed_user_and_a_mail(
    world: World,
) -> None:
    ada, _, club = await with_club(world)
    await invited(world, ada, club, email=" New@Example.org ")
    count = await world.scalar(
        "SELECT count(*) FROM invitation i JOIN collective c ON c.id = i.user_id JOIN credential r ON"
        " r.user_id = c.id WHERE r.email = 'new@example.org' AND c.claimed_at IS NULL"
        " AND r.verified_at IS NULL AND c.slug !~ 'new|example' AND c.name !~* 'example'"
    )
    assert count == 1
    assert await world.scalar("SELECT recipient FROM outbox") == "new@example.org"
    await invited(world, ada, club, "ADMIN", email="new@example.org")
    assert await world.scalar("SELECT count(*) FROM credential WHERE email = 'new@example.org'") == 1


async def test_inviting_an_address_does_not_reveal_its_user(world: World) -> None:
    ada, bob, club = await with_club(world)
    payload = await world.mutate(
        "inviteMember", ASKED, by=ada, collective=ref(club), role="MEMBER", email=bob.email
    )
    assert payload["errors"] == []
    assert payload["invitation"]["user"] is None or payload["invitation"]["user"]["slug"] != "bob"
    seen = await world.query(
        "query($i: ID!) { node(id: $i) { ... on Invitation { user { slug } } } }",
        by=ada,
        i=payload["invitation"]["id"],
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
async def test_an_invalid_invitation_is_refused(world: World, given: dict[str, Any], path: str) -> None:
    ada, bob, club = await with_club(world)
    request: dict[str, Any] = {"collective": ref(club), "role": "MEMBER", "user": ref(bob)} | given
    await world.expect_problem("inviteMember", "INVALID_INPUT", ["input", path], by=ada, **request)


async def test_the_answer_to_a_private_events_invitation_shows_the_event(world: World) -> None:
    ada, bob, club = await with_club(world)
    payload = await world.mutate(
        "createEvent",
        "event { slug }",
        by=ada,
        parent=ref(club),
        name="Ball",
        isPublic=False,
        startsAt="2030-01-01T10:00Z",
        endsAt="2030-01-01T12:00Z",
    )
    request = await world.mutate(
        "inviteMember", ASKED, by=ada, collective=payload["event"], role="MEMBER", user=ref(bob)
    )
    answer = await world.execute(
        "mutation($i: RespondToInvitationInput!) { respondToInvitation(input: $i) "
        f"{{ {ANSWERED} errors {{ code }} }} }}",
        by=bob,
        i={"id": request["invitation"]["id"], "accept": True},
    )
    assert "errors" not in answer, answer
    assert answer["data"]["respondToInvitation"]["member"]["collective"] == payload["event"]


async def test_an_admin_of_the_parent_ends_roles_in_its_event(world: World) -> None:
    ada, bob, club = await with_club(world)
    eve = await world.person("eve")
    await world.member(club, eve, MemberRole.ADMIN)
    payload = await world.mutate(
        "createEvent",
        "event { slug }",
        by=ada,
        parent=ref(club),
        name="Ball",
        startsAt="2030-01-01T10:00Z",
        endsAt="2030-01-01T12:00Z",
    )
    request = await world.mutate(
        "inviteMember", ASKED, by=eve, collective=payload["event"], role="MEMBER", user=ref(bob)
    )
    answered = await world.mutate(
        "respondToInvitation", ANSWERED, by=bob, id=request["invitation"]["id"], accept=True
    )
    follower = await world.mutate("followCollective", MEMBER, by=bob, collective=payload["event"])
    for member in (answered["member"], follower["member"]):
        assert error_codes(await world.mutate("removeMember", by=eve, id=member["id"])) == []
    assert await roles(world, payload["event"]["slug"], by=ada) == [("ADMIN", "ada")]


async def test_an_ended_role_keeps_its_row_and_may_be_granted_again(world: World) -> None:
    ada, bob, club = await with_club(world)
    row = await world.member(club, bob, MemberRole.MEMBER)
    member_id = public_id("Member", row.id)
    payload = await world.mutate("removeMember", MEMBER, by=bob, id=member_id)
    assert payload["errors"] == []
    assert payload["member"] == {
        "id": member_id,
        "role": "MEMBER",
        "collective": {"slug": "club"},
        "member": {"slug": "bob"},
    }
    assert await world.scalar("SELECT count(*) FROM member WHERE until >= since") == 1
    assert await roles(world, "club") == [("ADMIN", "ada")]
    await world.expect_problem("removeMember", "NOT_FOUND", ["input", "id"], by=bob, id=member_id)
    again = await invited(world, ada, club, user=ref(bob))
    answered = await world.mutate("respondToInvitation", ANSWERED, by=bob, id=again, accept=True)
    assert answered["member"]["id"] != member_id


async def test_roles_kept_by_the_server_cannot_be_removed(world: World) -> None:
    ada, bob = await world.person("ada"), await world.person("bob")
    host = await world.host("host", ada)
    rows = [await world.member(host, bob, role) for role in (MemberRole.BACKER, MemberRole.VOLUNTEER)]
    data = await world.query('{ collective(slug: "host") { members(role: HOST) { nodes { id } } } }')
    for row_id in [
        *(public_id("Member", r.id) for r in rows),
        data["collective"]["members"]["nodes"][0]["id"],
    ]:
        await world.expect_problem("removeMember", "INVALID_STATE", ["input", "id"], by=ada, id=row_id)


async def test_the_last_admin_cannot_leave_nor_be_removed(world: World) -> None:
    ada, bob, club = await with_club(world)
    data = await world.query('{ collective(slug: "club") { members(role: ADMIN) { nodes { id } } } }')
    last = data["collective"]["members"]["nodes"][0]["id"]
    await world.expect_problem("removeMember", "INVALID_STATE", ["input", "id"], by=ada, id=last)
    other = public_id("Member", (await world.member(club, bob, MemberRole.ADMIN)).id)
    assert error_codes(await world.mutate("removeMember", by=bob, id=last)) == []
    await world.expect_problem("removeMember", "INVALID_STATE", ["input", "id"], by=bob, id=other)
    assert await roles(world, "club") == [("ADMIN", "bob")]


@pytest.mark.parametrize("by_each_other", [False, True])
async def test_the_last_of_two_concurrently_leaving_admins_stays(
    world: World, *, by_each_other: bool
) -> None:
    people = [await world.person("ada"), await world.person("bob")]
    actors = people[::-1] if by_each_other else people
    query = "mutation($i: RemoveMemberInput!) { removeMember(input: $i) { errors { code } } }"
    for turn in range(5):
        club = await world.community(f"club-{turn}", None)
        rows = [await world.member(club, person, MemberRole.ADMIN) for person in people]
        ids = [{"id": public_id("Member", row.id)} for row in rows]
        payloads = await asyncio.gather(
            *(world.execute(query, by=by, i=arguments) for by, arguments in zip(actors, ids, strict=True))
        )
        # Who was removed before it began has no right any more.
        results = [answer.get("errors") or answer["data"]["removeMember"]["errors"] for answer in payloads]
        assert sorted(len(errors) for errors in results) == [0, 1]
        codes_found = {e.get("code") or e["extensions"]["code"] for errors in results for e in errors}
        assert codes_found <= ({"INVALID_STATE", "FORBIDDEN"} if by_each_other else {"INVALID_STATE"})
        assert len(await roles(world, club.slug)) == 1


async def test_following_and_unfollowing_are_idempotent(world: World) -> None:
    ada, bob, club = await with_club(world)
    first, second = [
        await world.mutate("followCollective", MEMBER, by=bob, collective=ref(club)) for _ in range(2)
    ]
    assert first == second
    assert first["member"]["role"] == "FOLLOWER"
    assert ("FOLLOWER", "bob") in await roles(world, "club", by=ada)
    for _ in range(2):
        payload = await world.mutate(
            "unfollowCollective", "collective { slug }", by=bob, collective=ref(club)
        )
        assert payload == {"collective": {"slug": "club"}, "errors": []}
    assert await roles(world, "club", by=ada) == [("ADMIN", "ada")]
    await world.expect_problem(
        "followCollective", "NOT_FOUND", ["input", "collective"], by=bob, collective={"slug": "no"}
    )


async def test_concurrent_followers_get_one_row_each(world: World) -> None:
    _, bob, club = await with_club(world)
    payloads = await asyncio.gather(
        *(world.mutate("followCollective", MEMBER, by=bob, collective=ref(club)) for _ in range(5))
    )
    assert len({answer["member"]["id"] for answer in payloads}) == 1


async def test_an_ended_role_gives_no_permission_in_the_next_operation(world: World) -> None:
    _, bob, club = await with_club(world)
    row = await world.member(club, bob, MemberRole.ADMIN)
    await world.mutate("removeMember", by=bob, id=public_id("Member", row.id))
    body = await world.execute(
        "mutation($i: UpdateCollectiveInput!) { updateCollective(input: $i) { errors { code } } }",
        by=bob,
        i={"collective": ref(club), "name": "Mine"},
    )
    assert [error["extensions"]["code"] for error in body["errors"]] == ["FORBIDDEN"]


async def test_members_are_listed_by_role_on_both_sides(world: World) -> None:
    ada, bob, club = await with_club(world)
    firm = await world.community("firm", None, ada, collective_type=CollectiveType.BUSINESS)
    await world.member(firm, bob, MemberRole.BACKER)
    await world.member(club, bob, MemberRole.MEMBER)
    query = """query($s: String!, $r: [MemberRole!]) { collective(slug: $s) {
        memberOf(role: $r) { totalCount nodes { role collective { slug } } } } }"""
    expected = {"BACKER": "firm", "MEMBER": "club"}
    for request in (["BACKER"], ["MEMBER"], ["BACKER", "MEMBER"], [], None):
        member_of = (await world.query(query, s="bob", r=request))["collective"]["memberOf"]
        outcome = request or list(expected)
        assert {m["role"]: m["collective"]["slug"] for m in member_of["nodes"]} == {
            r: expected[r] for r in outcome
        }
        assert member_of["totalCount"] == len(outcome)
