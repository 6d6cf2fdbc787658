"""Signing up does not reveal registered addresses and cannot flood anybody with mails."""

import asyncio
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, text

from models import Collective, MergedEmail, now
from models.enums import CollectiveType
from schema.execution import unit_of_work
from services.access import attempt_limits
from services.core.settings import Settings
from tests.conftest import Database
from tests.factories import Person, World, ref

ADA = {"email": "ada@example.org", "name": "Ada"}
PASSWORD = "correct horse"
USER = """user { id slug name type currency isClaimed isArchived description email host { slug }
    members { totalCount } memberOf { totalCount } orders { totalCount } }"""
READ = "query($i: ID!, $s: String!) { node(id: $i) { id } collective(slug: $s) { id } }"
LISTED = """query($f: CollectiveFilter) { collectives(filter: $f) { totalCount nodes { slug } } }"""
LIMITS = {"account": attempt_limits.SIGN_UPS_PER_ACCOUNT, "address": Settings().sign_up_mails_per_address}


UNCLAIMED = """
    WITH made AS (
        INSERT INTO collective SELECT made.* FROM collective admin, jsonb_populate_record(admin,
            '{"slug": "other-one", "name": "New member", "claimed_at": null}'::jsonb
            || jsonb_build_object('id', gen_random_uuid())) AS made
        WHERE admin.slug = 'platform-admin' RETURNING id)
    INSERT INTO credential (user_id, email) SELECT id, %(email)s FROM made"""


async def signed_up(world: World, **arguments: str) -> dict[str, Any]:
    payload = await world.mutate("signUp", USER, **(ADA | arguments))
    assert payload["errors"] == []
    user: dict[str, Any] = payload["user"]
    return user


async def mails(world: World) -> list[tuple[str, str]]:
    """Return template and recipient of the mails that wait, oldest first."""
    async with world.sessions() as session:
        rows = await session.execute(text("SELECT template, recipient FROM outbox ORDER BY created_at, id"))
        return [(row.template, row.recipient) for row in rows]


async def verified(world: World, email: str = ADA["email"]) -> dict[str, Any]:
    """Use the last token mailed to an address."""
    token = await world.scalar(
        "SELECT payload->>'token' FROM outbox WHERE recipient = :email AND template = 'verify_email'"
        " ORDER BY created_at DESC, id DESC LIMIT 1",
        email=email,
    )
    payload = await world.mutate(
        "verifyEmail", "user { id slug name currency isClaimed }", token=token, password=PASSWORD
    )
    assert payload["errors"] == []
    user: dict[str, Any] = payload["user"]
    return user


async def invited(world: World, email: str) -> Collective:
    """Invite an address as an unclaimed user; return the inviting collective."""
    admin = await world.person("admin")
    club = await world.community("club", None, admin)
    await world.mutate("inviteMember", by=admin, collective=ref(club), role="MEMBER", email=email)
    return club


async def merged(world: World, email: str) -> None:
    """Create an address of a merged user."""
    into = await world.person("into")
    await world.add(
        gone := Collective(
            slug="gone",
            type=CollectiveType.USER,
            name="Gone",
            currency="USD",
            archived_at=now(),
            merged_into_id=into.user.id,
        )
    )
    await world.add(MergedEmail(email=email, user_id=gone.id))


async def test_no_response_reveals_if_an_address_is_registered(world: World) -> None:
    emails = {kind: f"{kind}@commonweal.test" for kind in ("known", "unclaimed", "invited", "merged", "new")}
    known = await world.person("known")
    async with world.sessions() as session, session.begin():  # hosted otherwise than a new user would be
        await session.execute(
            text("UPDATE collective SET host_id = NULL, host_approved_at = NULL WHERE id = :id"),
            {"id": known.user.id},
        )
    await world.person("unclaimed", claimed=False)
    await invited(world, emails["invited"])
    await merged(world, emails["merged"])
    answers = {kind: await signed_up(world, email=email) for kind, email in emails.items()}
    again = {kind: await signed_up(world, email=email) for kind, email in emails.items()}
    for viewer in (None, known, world.admin):
        for answer in (*answers.values(), *again.values()):
            read = await world.query(READ, by=viewer, i=answer["id"], s=answer["slug"])
            assert read == {"node": None, "collective": None}
    assert len({answer.pop("id") for answer in (*answers.values(), *again.values())}) == 10
    assert all(answer.pop("slug") == "ada" for answer in (*answers.values(), *again.values()))
    assert all(answer == answers["new"] for answer in (*answers.values(), *again.values()))
    assert answers["new"]["host"] == {"slug": "commonweal"}


async def test_the_owner_of_the_address_is_told_by_mail(world: World) -> None:
    known = await world.person("known")
    await merged(world, "merged@example.org")
    for email in (known.email, "merged@example.org", "new@example.org"):
        await signed_up(world, email=email)
    assert await mails(world) == [
        ("address_in_use", known.email),
        ("address_in_use", "merged@example.org"),
        ("verify_email", "new@example.org"),
    ]
    assert await world.scalar("SELECT count(*) FROM credential WHERE email = 'merged@example.org'") == 0


async def test_a_sign_up_is_not_visible_before_the_address_is_verified(world: World) -> None:
    await signed_up(world, name="Ada Lovelace", currency="EUR")
    stored = "FROM collective c JOIN credential r ON r.user_id = c.id WHERE r.email = 'ada@example.org'"
    assert await world.scalar(f"SELECT c.name {stored}") == "New member"
    neutral = await world.scalar(f"SELECT c.slug {stored}")
    assert neutral.startswith("new-member-")
    user = await verified(world)
    assert (user["name"], user["currency"], user["isClaimed"]) == ("Ada Lovelace", "EUR", True)
    assert user["slug"] == "ada-lovelace"
    data = await world.query("query($s: String!) { collective(slug: $s) { id slug } }", s=neutral)
    assert data["collective"] == {"id": user["id"], "slug": user["slug"]}


async def test_an_invited_user_gets_a_slug_from_the_chosen_name(world: World) -> None:
    await invited(world, ADA["email"])
    await signed_up(world)
    assert (await verified(world))["slug"] == "ada"


async def test_only_a_taken_slug_gets_a_tail(world: World) -> None:
    holder = await world.person("holder")
    await world.community("ada", None, holder)
    await world.mutate("updateCollective", by=holder, collective={"slug": "ada"}, slug="lovelace")
    for name, slug in (("Ada", "ada-"), ("Lovelace", "lovelace-"), ("Admin", "admin-"), ("\u6771", "dong")):
        email = f"{slug}x@example.org"
        answer = await signed_up(world, email=email, name=name)
        user = await verified(world, email)
        for chosen in (answer["slug"], user["slug"]):
            assert chosen.startswith(slug)
            assert len(chosen) == len(slug) + (6 if slug.endswith("-") else 0)


async def test_a_chosen_slug_stays(world: World) -> None:
    await world.person("ghost", claimed=False)
    await signed_up(world, email="ghost@commonweal.test", name="Casper")
    user = await verified(world, "ghost@commonweal.test")
    assert (user["slug"], user["name"]) == ("ghost", "Casper")


async def test_verifying_again_does_not_change_the_name_and_slug(world: World) -> None:
    await signed_up(world)
    await signed_up(world, name="Another")
    first = await verified(world)
    other = await world.scalar(
        "SELECT payload->>'token' FROM outbox WHERE template = 'verify_email' ORDER BY created_at LIMIT 1"
    )
    payload = await world.mutate("verifyEmail", "user { id slug name }", token=other, password=PASSWORD)
    assert [e["code"] for e in payload["errors"]] == ["NOT_FOUND"]
    stored = await world.query(
        "query($i: ID!) { node(id: $i) { id ... on User { slug name } } }", i=first["id"]
    )
    assert stored["node"] == {key: first[key] for key in ("id", "slug", "name")}


async def test_concurrent_sign_ups_of_a_new_address_get_the_same_response(world: World) -> None:
    answers = await asyncio.gather(*(signed_up(world) for _ in range(LIMITS["account"])))
    for answer in answers:
        del answer["id"], answer["slug"]
    assert all(answer == answers[0] for answer in answers)
    assert await world.scalar("SELECT count(*) FROM credential WHERE email = 'ada@example.org'") == 1
    assert await world.scalar("SELECT count(*) FROM collective WHERE name = 'New member'") == 1
    assert await mails(world) == [("verify_email", "ada@example.org")] * LIMITS["account"]
    assert await world.scalar("SELECT count(DISTINCT user_id) FROM email_token") == 1


async def test_an_address_that_is_taken_between_two_statements_is_verified_all_the_same(
    world: World, database: Database
) -> None:
    engine = world.sessions.kw["bind"].sync_engine
    before: list[str] = []

    def sign_up_elsewhere(_c: Any, _k: Any, statement: str, *_: Any) -> None:
        if "WITH RECURSIVE chain" in statement and not before:
            before.append(statement)
            with psycopg.connect(database.owner_url) as other:
                other.execute(UNCLAIMED, {"email": ADA["email"]})

    event.listen(engine, "before_cursor_execute", sign_up_elsewhere)
    try:
        await signed_up(world)
    finally:
        event.remove(engine, "before_cursor_execute", sign_up_elsewhere)
    assert len(before) == 1
    assert await mails(world) == [("verify_email", ADA["email"])]
    assert (await verified(world))["name"] == ADA["name"]


async def test_concurrent_invitations_of_a_new_address_create_one_user(world: World) -> None:
    admin = await world.person("admin")
    clubs = [await world.community(f"club-{i}", None, admin) for i in range(4)]
    payloads = await asyncio.gather(
        *(
            world.mutate("inviteMember", by=admin, collective=ref(club), role="MEMBER", email=ADA["email"])
            for club in clubs
        )
    )
    assert [answer["errors"] for answer in payloads] == [[]] * 4
    assert await world.scalar("SELECT count(DISTINCT user_id) FROM invitation") == 1


@pytest.mark.parametrize("role", ["", "ADMIN", "ACCOUNTANT"])
async def test_unverified_users_are_listed_only_for_readers_of_the_platform(world: World, role: str) -> None:
    viewer: Person | None = await world.person("viewer")
    if role:
        statement = "INSERT INTO member (id, collective_id, member_id, role)"
        async with world.sessions() as session, session.begin():
            await session.execute(
                text(f"{statement} VALUES (gen_random_uuid(), :platform, :viewer, :role)"),
                {"platform": world.platform.id, "viewer": viewer and viewer.user.id, "role": role},
            )
    ghost = await world.person("ghost", claimed=False)
    await signed_up(world)
    for asked in ({"type": ["USER"]}, {"search": "ghost"}, {"host": {"slug": "commonweal"}}, {}):
        page = (await world.query(LISTED, by=viewer, f=asked))["collectives"]
        slugs = {node["slug"] for node in page["nodes"]}
        assert page["totalCount"] == len(slugs)
        assert (ghost.slug in slugs) == bool(role)
        hidden = {slug for slug in slugs if slug.startswith("new-member-")}
        assert len(hidden) == (1 if role and "search" not in asked else 0)
    direct = await world.query('{ collective(slug: "ghost") { slug } }', by=viewer)
    assert direct["collective"] == {"slug": "ghost"}


async def test_an_unverified_user_can_be_a_side_of_an_order(world: World) -> None:
    holder = await world.person("holder")
    club = await world.community("club", await world.host("host", holder), holder)
    await world.person("ghost", claimed=False)
    payload = await world.mutate(
        "submitExpense",
        "order { toCollective: to { slug } }",
        by=holder,
        to={"slug": "ghost"},
        amount={"value": "5.00", "currency": "USD"},
        description="Snacks",
        **{"from": ref(club)},
    )
    assert payload == {"order": {"toCollective": {"slug": "ghost"}}, "errors": []}


async def asked(world: World, *, email: str, address: str = "192.0.2.1") -> str:
    """Sign up from a network address; return the error's code, or OK."""
    request = unit_of_work.OperationRequest(
        query="mutation($i: SignUpInput!) { signUp(input: $i) { user { id } errors { code path } } }",
        variables={"i": ADA | {"email": email}},
        address=address,
    )
    answer = await unit_of_work.execute(request, sessions=world.sessions, settings=world.settings)
    payload = answer.body["data"]["signUp"]
    if not payload["errors"]:
        return "OK"
    assert payload["user"] is None
    assert payload["errors"][0]["path"] == ["input", "email"]
    return str(payload["errors"][0]["code"])


async def count_attempts(world: World, kind: str, subject: str) -> int:
    """Return the number of attempts in the current hour."""
    value: int = await world.scalar(
        "SELECT coalesce(max(attempts), 0) FROM throttle WHERE key = :key", key=f"sign-up:{kind}:{subject}"
    )
    return value


async def all_but_used(world: World, kind: str) -> None:
    """Leave one sign-up within the limit."""
    async with world.sessions() as session, session.begin():
        statement = text("UPDATE throttle SET attempts = :attempts WHERE key LIKE :key")
        values = {"attempts": LIMITS[kind] - 1, "key": f"sign-up:{kind}:%"}
        await session.execute(statement, values)


async def test_an_address_gets_five_mails_an_hour(world: World, database: Database) -> None:
    known = await world.person("known")
    for email in (known.email, "new@example.org"):
        assert await asked(world, email=f" {email.upper()} ") == "OK"
        await all_but_used(world, "account")
        assert await asked(world, email=email) == "OK"
        before = await world.fingerprint()
        for address in ("192.0.2.1", "192.0.2.2", ""):
            assert await asked(world, email=email, address=address) == "RATE_LIMITED"
        assert await world.fingerprint() == before
        assert await count_attempts(world, "account", email) == 8
    assert await asked(world, email="other@example.org") == "OK"
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        (left,) = owner.execute("SELECT max(window_ends_at) - now() FROM throttle").fetchone() or ()
        assert 3500 < left.total_seconds() <= 3600
        owner.execute("UPDATE throttle SET window_ends_at = now() - interval '1 second'")
    assert await asked(world, email="new@example.org") == "OK"


async def test_a_network_address_requests_a_limited_number_of_mails_an_hour(world: World) -> None:
    assert await asked(world, email="first@example.org") == "OK"
    await all_but_used(world, "address")
    assert await asked(world, email="second@example.org") == "OK"
    assert await asked(world, email="third@example.org") == "RATE_LIMITED"
    assert await asked(world, email="no address") == "INVALID_INPUT"
    assert await count_attempts(world, "address", "192.0.2.1") == LIMITS["address"] + 1
    assert await asked(world, email="third@example.org", address="192.0.2.2") == "OK"


async def test_calls_within_the_process_are_not_counted_by_address(world: World) -> None:
    for _ in range(2):
        assert await asked(world, email="ada@example.org", address="") == "OK"
    assert await count_attempts(world, "account", "ada@example.org") == 2
    assert await world.scalar("SELECT count(*) FROM throttle") == 1
