"""Two users become one: nothing is lost or doubled, and the first leads to the second."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from models import Invitation, MergeConsent, now
from models.enums import CollectiveType, MemberRole
from services.identity import email_addresses
from tests.donation_world import error_code, expect_order
from tests.factor_world import with_app
from tests.factories import Person, World, error_codes, money, public_id, ref
from tests.hours_world import HoursScene, yesterday
from tests.statement_counts import record_statements, without_control

USER = "user { id slug } isMerged"


async def merge(world: World, from_: Person, into: Person, **more: Any) -> Any:
    """Merge with the consent of both persons."""
    await world.consent_to_merge(from_, into)
    return await merge_alone(world, from_, into, **more)


async def merge_alone(
    world: World, from_: Person, into: Person, *, by: Person | None = None, **more: Any
) -> Any:
    """Merge with the consent of a platform ADMIN alone, beside those given before."""
    arguments = {"from": ref(from_), "into": ref(into), **more}
    return await world.mutate("mergeUsers", USER, by=by or world.admin, **arguments)


async def expect_merge_problem(world: World, code: str, path: str, **arguments: Any) -> None:
    """Assert that a merge returns one error with this code and path, and stores nothing."""
    await world.expect_problem("mergeUsers", code, ["input", path], by=world.admin, **arguments)


async def sums(world: World, *people: Person) -> dict[str, int]:
    """Return the sum of people's balances by currency, in minor units."""
    async with world.sessions() as session:
        rows = await session.execute(
            text(
                "SELECT currency, sum(posted) FROM ledger_account WHERE owner_id = ANY(:ids)"
                " AND kind = 'BALANCE' GROUP BY 1 HAVING sum(posted) <> 0"
            ),
            {"ids": [person.user.id for person in people]},
        )
        return {row[0]: int(row[1]) for row in rows}


async def roles(world: World, person: Person) -> list[tuple[str, str]]:
    """Return the open roles of a person, with the collective's slug."""
    async with world.sessions() as session:
        rows = await session.execute(
            text(
                "SELECT c.slug, m.role FROM member m JOIN collective c ON c.id = m.collective_id"
                " WHERE m.member_id = :id AND m.until IS NULL ORDER BY 1, 2"
            ),
            {"id": person.user.id},
        )
        return [(row[0], row[1]) for row in rows]


async def owner_of(world: World, address: str) -> str | None:
    async with world.sessions() as session:
        result = await email_addresses.find_user(session, address)
        return result.slug if result else None


async def test_what_one_has_and_is_goes_to_the_other(world: World) -> None:
    scene = await HoursScene.create(world)
    john, twin = scene.john, await world.person("twin")
    await scene.earn("3.000", twin)
    await scene.earn("2.000")
    await world.fund(twin.user, "7.50", by=world.admin)
    club = await world.community("club", None, twin)
    await world.member(club, twin, MemberRole.FOLLOWER)
    await world.member(club, john, MemberRole.FOLLOWER)
    before = await sums(world, twin, john)
    history = await world.scalar('SELECT count(*) FROM "order" WHERE to_id = :id', id=twin.user.id)

    merged = await merge(world, twin, john)

    assert (merged["errors"], merged["user"]["slug"]) == ([], "john")
    assert await sums(world, twin) == {}
    assert await sums(world, john) == await sums(world, twin, john) == before == {"CUR": 5000, "USD": 750}
    assert await roles(world, twin) == []
    assert await roles(world, john) == [("club", "ADMIN"), ("club", "FOLLOWER"), ("greatdeeds", "VOLUNTEER")]
    kept = await world.scalar('SELECT count(*) FROM "order" WHERE to_id = :id', id=twin.user.id)
    assert kept == history
    await world.assert_clean_ledger()

    query = """{ transactions(filter: {kind: [MERGE]}) { nodes { amount { minorUnits currency } order { id }
        fromCollective { isArchived } toCollective { slug } postings { amount { minorUnits } } } } }"""
    nodes = (await world.query(query, by=john))["transactions"]["nodes"]
    assert {t["amount"]["currency"]: t["amount"]["minorUnits"] for t in nodes} == {
        "CUR": "3000",
        "USD": "750",
    }
    assert all(t["order"] is None and t["toCollective"] == {"slug": "john"} for t in nodes)
    assert all(t["fromCollective"] == {"isArchived": True} for t in nodes)
    assert len((await world.query(query, by=world.admin))["transactions"]["nodes"]) == 2
    for stranger in (None, scene.mark, scene.chris):
        assert (await world.query(query, by=stranger))["transactions"]["nodes"] == []


async def test_slugs_address_and_invitations_lead_to_the_one_who_remains(world: World) -> None:
    ada, twin, bob = [await world.person(name) for name in ("ada", "twin", "bob")]
    await world.mutate("updateCollective", by=twin, collective=ref(twin), slug="twin-of-ada")
    clubs = [await world.community(slug, None, bob) for slug in ("both", "one")]
    for club, person in ((clubs[0], twin), (clubs[0], ada), (clubs[1], twin)):
        await world.add(
            Invitation(
                collective_id=club.id,
                user_id=person.user.id,
                role=MemberRole.MEMBER,
                created_by_id=bob.user.id,
            )
        )

    assert (await merge(world, twin, ada))["errors"] == []
    for slug in ("twin", "twin-of-ada", "ada"):
        data = await world.query("query($s: String!) { collective(slug: $s) { slug } }", s=slug)
        assert data["collective"] == {"slug": "ada"}
    old = await world.query(
        "query($i: ID!) { collective(id: $i) { slug isArchived } }", i=public_id("Collective", twin.user.id)
    )
    assert old["collective"] == {"slug": f"merged-{twin.user.id.hex}", "isArchived": True}
    assert await owner_of(world, twin.email) == await owner_of(world, ada.email) == "ada"
    assert await world.scalar("SELECT count(*) FROM credential WHERE email = :e", e=twin.email) == 0
    waiting = await world.query("{ myInvitations { collective { slug } user { slug } } }", by=ada)
    assert sorted(i["collective"]["slug"] for i in waiting["myInvitations"]) == ["both", "one"]
    assert await world.scalar("SELECT count(*) FROM invitation WHERE status = 'DECLINED'") == 1
    await world.mutate("inviteMember", by=bob, collective=ref(clubs[1]), role="ACCOUNTANT", email=twin.email)
    invited = await world.scalar("SELECT user_id FROM invitation WHERE role = 'ACCOUNTANT'")
    assert invited == ada.user.id


async def test_the_merged_user_signs_in_no_more_and_nobody_signs_up_as_them(world: World) -> None:
    ada, twin = await world.person("ada"), await world.person("twin")
    access = await world.access_token(twin, "READ")
    assert (await merge(world, twin, ada))["errors"] == []
    for token in (twin.token, access):
        body = await world.execute("{ me { slug } }", by=token)
        assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert (await world.query("{ me { slug } }", by=ada))["me"] == {"slug": "ada"}
    people = await world.scalar("SELECT count(*) FROM collective")
    await world.mutate("signUp", email=twin.email, name="Twin")
    assert await world.scalar("SELECT count(*) FROM collective") == people
    sent = "SELECT count(*) FROM outbox WHERE recipient = :e AND template = 'address_in_use'"
    assert await world.scalar(sent, e=twin.email) == 1


async def test_addresses_lead_through_a_chain_of_merges(world: World) -> None:
    ada, twin, third = [await world.person(name) for name in ("ada", "twin", "third")]
    await world.fund(twin.user, "1.00", by=world.admin)
    assert (await merge(world, twin, third))["errors"] == []
    assert (await merge(world, third, ada))["errors"] == []
    assert await owner_of(world, twin.email) == "ada"
    data = await world.query('{ a: collective(slug: "twin") { slug } b: collective(slug: "third") { slug } }')
    assert data == {"a": {"slug": "ada"}, "b": {"slug": "ada"}}
    assert await sums(world, ada) == {"USD": 100}
    await world.assert_clean_ledger()


async def test_who_has_no_address_takes_the_other_ones_over(world: World) -> None:
    twin, imported = await world.person("twin"), await world.person("imported", claimed=False)
    async with world.sessions() as session, session.begin():
        await session.execute(text("DELETE FROM credential WHERE user_id = :id"), {"id": imported.user.id})
    assert (await merge(world, twin, imported))["errors"] == []
    assert await owner_of(world, twin.email) == "imported"
    assert await world.scalar("SELECT count(*) FROM merged_email") == 0
    claimed = "SELECT claimed_at IS NOT NULL FROM collective WHERE id = :id"
    assert await world.scalar(claimed, id=imported.user.id)


async def test_a_password_does_not_move_without_its_second_factor(world: World) -> None:
    twin, imported = await world.person("twin"), await world.person("imported", claimed=False)
    await with_app(world, twin)
    async with world.sessions() as session, session.begin():
        await session.execute(text("DELETE FROM credential WHERE user_id = :id"), {"id": imported.user.id})
    payload = await merge(world, twin, imported)
    assert error_codes(payload) == [("INVALID_STATE", ["input", "from"])]
    assert await owner_of(world, twin.email) == "twin"
    assert (await merge(world, imported, twin))["errors"] == []
    assert await owner_of(world, twin.email) == "twin"


async def test_open_orders_and_holds_of_the_first_stand_in_the_way_those_of_the_second_do_not(
    world: World,
) -> None:
    scene = await HoursScene.create(world)
    john, twin = scene.john, await world.person("twin")
    order = expect_order(await scene.log(1, by=twin))
    pair = {"from": ref(twin), "into": ref(john)}
    await expect_merge_problem(world, "INVALID_STATE", "from", **pair)
    await expect_merge_problem(world, "INVALID_STATE", "from", **pair, dryRun=True)
    await scene.approve(order)
    await world.fund(twin.user, "5.00", by=world.admin)
    cash_out = await world.mutate("cashOut", "order { id }", by=twin, amount=money("2.00"))
    await expect_merge_problem(world, "INVALID_STATE", "from", **pair)
    assert error_code(await world.mutate("cancelOrder", by=twin, id=expect_order(cash_out))) is None
    await scene.log(1)
    assert (await merge(world, twin, john))["errors"] == []
    await world.assert_clean_ledger()


async def test_only_two_different_people_who_are_here_are_merged(world: World) -> None:
    ada, twin, gone = [await world.person(name) for name in ("ada", "twin", "gone")]
    await world.community("shop", None, ada, collective_type=CollectiveType.BUSINESS)
    await world.mutate("archiveCollective", by=gone, collective=ref(gone))
    shop = {"slug": "shop"}
    await expect_merge_problem(world, "INVALID_INPUT", "from", **{"from": shop, "into": ref(ada)})
    await expect_merge_problem(world, "INVALID_INPUT", "into", **{"from": ref(ada), "into": shop})
    await expect_merge_problem(world, "INVALID_INPUT", "from", **{"from": ref(ada), "into": ref(ada)})
    await expect_merge_problem(world, "INVALID_STATE", "into", **{"from": ref(ada), "into": ref(gone)})
    await expect_merge_problem(world, "NOT_FOUND", "from", **{"from": {"slug": "nobody"}, "into": ref(ada)})
    assert (await merge(world, twin, ada))["errors"] == []
    merged = {"id": public_id("Collective", twin.user.id)}
    await expect_merge_problem(world, "INVALID_STATE", "from", **{"from": merged, "into": ref(gone)})
    await expect_merge_problem(world, "INVALID_STATE", "into", **{"from": ref(gone), "into": merged})
    await expect_merge_problem(world, "INVALID_INPUT", "from", **{"from": ref(twin), "into": ref(ada)})


async def consents(world: World) -> int:
    return int(await world.scalar("SELECT count(*) FROM merge_consent"))


async def test_a_merge_needs_both_persons(world: World) -> None:
    ada, twin = await world.person("ada"), await world.person("twin")
    for _ in range(2):
        first = await merge_alone(world, twin, ada, by=ada)
        assert first == {"user": None, "isMerged": False, "errors": []}
    assert not (await merge_alone(world, ada, twin, by=twin))[
        "isMerged"
    ]  # the other way round is another merge
    assert not (await merge_alone(world, twin, ada))["isMerged"]  # nor does an ADMIN stand in for a person
    assert await sums(world, twin) == {} and await owner_of(world, twin.email) == "twin"
    merged = await merge_alone(world, twin, ada, by=twin)
    assert (merged["user"]["slug"], merged["isMerged"]) == ("ada", True)
    assert await consents(world) == 5


async def test_or_two_admins_of_the_platform_who_are_neither(world: World) -> None:
    ada, twin, eve = [await world.person(name) for name in ("ada", "twin", "eve")]
    await world.member(world.platform, eve, MemberRole.ADMIN)
    await world.member(world.platform, ada, MemberRole.ADMIN)
    for by in (world.admin, world.admin, ada):
        assert not (await merge_alone(world, twin, ada, by=by))["isMerged"]
    assert (await merge_alone(world, twin, ada, by=eve))["isMerged"]


async def test_consents_end_and_the_database_wants_them_too(world: World) -> None:
    ada, twin = await world.person("ada"), await world.person("twin")
    for person in (ada, twin):
        await world.add(
            MergeConsent(
                from_id=twin.user.id,
                into_id=ada.user.id,
                by_id=person.user.id,
                created_at=now() - timedelta(days=8),
            )
        )
    assert not (await merge_alone(world, twin, ada))["isMerged"]
    with pytest.raises(DBAPIError, match="both persons or two ADMINs"):
        async with world.sessions() as session, session.begin():
            await session.execute(
                text("UPDATE collective SET merged_into_id = :ada, archived_at = now() WHERE id = :twin"),
                {"ada": ada.user.id, "twin": twin.user.id},
            )


@pytest.mark.parametrize("who", ["eve", None])
async def test_only_both_persons_and_platform_admins_merge(world: World, who: str | None) -> None:
    ada, twin, eve = [await world.person(name) for name in ("ada", "twin", "eve")]
    before = await world.fingerprint()
    body = await world.execute(
        "mutation($i: MergeUsersInput!) { mergeUsers(input: $i) { errors { code } } }",
        by=eve if who else None,
        i={"from": ref(twin), "into": ref(ada)},
    )
    assert body["errors"][0]["extensions"]["code"] == ("FORBIDDEN" if who else "UNAUTHENTICATED")
    assert await world.fingerprint() == before


async def test_a_repeated_key_answers_the_same_and_a_dry_run_stores_nothing(
    world: World, engine: AsyncEngine
) -> None:
    ada, twin = await world.person("ada"), await world.person("twin")
    await world.fund(twin.user, "1.00", by=world.admin)
    await world.consent_to_merge(twin, ada)
    before = await world.fingerprint()
    tried = await merge_alone(world, twin, ada, dryRun=True)
    assert await world.fingerprint() == before
    first = await merge_alone(world, twin, ada, idempotencyKey="once")
    after = await world.fingerprint()
    with record_statements(engine) as statements:
        again = await merge_alone(world, twin, ada, idempotencyKey="once")
    assert tried == first == again
    assert first["isMerged"]
    # One of them waits for the standby, and one finds that what the process knew of the viewer has changed.
    assert len(without_control(statements)) == 8
    assert await world.fingerprint() == after
    other = await merge_alone(world, ada, twin, idempotencyKey="once")
    assert error_code(other) == "IDEMPOTENCY_CONFLICT"


async def test_of_two_merges_of_one_user_at_once_one_wins(world: World) -> None:
    scene = await HoursScene.create(world)
    twin, into = await world.person("twin"), [scene.john, scene.mark, scene.chris]
    await scene.earn("4.000", twin)
    source = {"id": public_id("Collective", twin.user.id)}
    for who in into:
        await world.consent_to_merge(twin, who)
    answers = await asyncio.gather(
        *(world.mutate("mergeUsers", USER, by=world.admin, into=ref(who), **{"from": source}) for who in into)
    )
    assert Counter(error_code(answer) for answer in answers) == {None: 1, "INVALID_STATE": 2}
    assert await sums(world, twin, *into) == {"CUR": 4000}
    assert await sums(world, twin) == {}
    assert await world.scalar("SELECT count(*) FROM transaction WHERE kind = 'MERGE'") == 1
    await world.assert_clean_ledger()


async def test_a_merge_and_its_mirror_image_at_once_leave_one(world: World) -> None:
    ada, twin = await world.person("ada"), await world.person("twin")
    for person in (ada, twin):
        await world.fund(person.user, "1.00", by=world.admin)
    ids = [{"id": public_id("Collective", person.user.id)} for person in (ada, twin)]
    await world.consent_to_merge(ada, twin)
    await world.consent_to_merge(twin, ada)
    answers = await asyncio.gather(
        world.mutate("mergeUsers", USER, by=world.admin, **{"from": ids[0], "into": ids[1]}),
        world.mutate("mergeUsers", USER, by=world.admin, **{"from": ids[1], "into": ids[0]}),
    )
    assert Counter(error_code(answer) for answer in answers) == {None: 1, "INVALID_STATE": 1}
    assert await sums(world, ada, twin) == {"USD": 200}
    await world.assert_clean_ledger()


async def test_new_orders_and_a_merge_at_once_leave_no_open_order_behind(world: World) -> None:
    scene = await HoursScene.create(world)
    twin = await world.person("twin")
    source = {"id": public_id("Collective", twin.user.id)}
    arguments = {"from": source, "into": ref(scene.john)}
    await world.consent_to_merge(twin, scene.john)
    answers = await asyncio.gather(
        *(scene.log(1, by=scene.chris, start=yesterday(hour), volunteer=source) for hour in (8, 10, 12)),
        world.mutate("mergeUsers", USER, by=world.admin, **arguments),
    )
    merged = answers[-1]["errors"] == []
    left = await world.scalar(
        "SELECT count(*) FROM \"order\" WHERE to_id = :id AND status = 'PENDING'", id=twin.user.id
    )
    assert left == sum(answer["errors"] == [] for answer in answers[:-1])
    assert not (merged and left)


async def test_an_event_turns_to_the_one_who_remains(world: World) -> None:
    ada, twin = await world.person("ada"), await world.person("twin")
    club = await world.community("club", None, ada)
    payload = await world.mutate(
        "createEvent",
        "event { slug }",
        by=ada,
        parent=ref(club),
        name="Party",
        startsAt="2030-01-01T10:00Z",
        endsAt="2030-01-01T11:00Z",
    )
    async with world.sessions() as session, session.begin():
        await session.execute(
            text("UPDATE collective SET coordinator_id = :id, updated_at = :at WHERE slug = :slug"),
            {"id": twin.user.id, "at": now(), "slug": payload["event"]["slug"]},
        )
    assert (await merge(world, twin, ada))["errors"] == []
    turned = "SELECT coordinator_id FROM collective WHERE slug = :slug"
    assert await world.scalar(turned, slug=payload["event"]["slug"]) == ada.user.id
