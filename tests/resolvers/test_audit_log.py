"""The audit log: who reads it, paging, sign-ins, and what never is in it."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from models import Collective, Credential
from models.enums import MemberRole
from services.identity import passwords
from tests.factories import Person, World, ref
from tests.statement_counts import record_statements, without_control

ACT = """kind change mutation actor { slug } collective { slug } other { slug } network sessionId databaseRole
    values { field old new isHidden }"""
LOG = f"""query($s: String!, $first: Int, $after: String) {{ collective(slug: $s) {{
    auditLog(first: $first, after: $after) {{ nodes {{ {ACT} }} edges {{ cursor }} totalCount
    pageInfo {{ hasNextPage endCursor }} }} }} }}"""
SECURITY = f"""query {{ me {{ securityLog {{ nodes {{ {ACT} }} }} }} }}"""
ALL = f"query {{ auditLog(first: 5) {{ nodes {{ {ACT} }} }} }}"
PASSWORD = "correct horse battery"


async def log(world: World, row: Collective | Person, by: Person | None, **page: Any) -> Any:
    return (await world.query(LOG, by=by, s=row.slug, **page))["collective"]["auditLog"]


@pytest.fixture
async def club(world: World) -> tuple[Collective, Person, Person]:
    """Return a hosted community whose slug was changed, its ADMIN, and the ADMIN of its host."""
    holder, chair = await world.person("holder"), await world.person("chair")
    row = await world.community("club", await world.host("hub", holder), chair)
    payload = await world.mutate("updateCollective", by=chair, collective=ref(row), slug="new-club")
    assert payload["errors"] == []
    row.slug = "new-club"
    return row, chair, holder


async def test_an_act_says_who_did_what(world: World, club: tuple[Collective, Person, Person]) -> None:
    row, chair, _ = club
    act = (await log(world, row, chair))["nodes"][0]
    assert act["sessionId"].startswith("ses_")
    assert {k: act[k] for k in ("kind", "change", "mutation", "network", "databaseRole")} == {
        "kind": "COLLECTIVE",
        "change": "CHANGED",
        "mutation": "updateCollective",
        "network": "test",
        "databaseRole": None,
    }
    assert (act["actor"], act["collective"]) == ({"slug": "chair"}, {"slug": "new-club"})
    assert act["values"] == [{"field": "slug", "old": "club", "new": "new-club", "isHidden": False}]


async def test_admins_of_the_collective_its_host_and_the_platform_read_it(
    world: World, club: tuple[Collective, Person, Person]
) -> None:
    row, chair, holder = club
    others = [await world.person("stranger"), await world.person("bookkeeper"), None]
    assert others[1] is not None
    await world.member(row, others[1], MemberRole.ACCOUNTANT)
    for reader in (chair, holder, world.admin):
        acts = (await log(world, row, reader))["nodes"]
        assert "updateCollective" in {act["mutation"] for act in acts}
        # From where an ADMIN acts, only they and the platform know.
        assert acts[-1]["network"] is None or reader in (chair, world.admin)
    for other in others:
        assert await log(world, row, other) is None
        assert (await world.query(ALL, by=other))["auditLog"] is None
    assert (await world.query(ALL, by=holder))["auditLog"] is None
    nodes = (await world.query(ALL, by=world.admin))["auditLog"]["nodes"]
    assert len(nodes) == 5
    assert {node["databaseRole"] for node in nodes} == {"commonweal_app"}
    assert {n["network"] for n in (await log(world, row, holder))["nodes"]} == {None}


async def test_a_page_continues_after_the_last(world: World, club: tuple[Collective, Person, Person]) -> None:
    row, chair, _ = club
    for n in range(5):
        await world.mutate("updateCollective", by=chair, collective=ref(row), description=f"no {n}")
    whole = await log(world, row, chair)
    assert whole["totalCount"] == len(whole["nodes"])
    seen, after = [], None
    while True:
        page = await log(world, row, chair, first=2, after=after)
        seen += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert seen == whole["nodes"]
    backward = LOG.replace("$first: Int, $after", "$last: Int, $before").replace(
        "first: $first, after: $after", "last: $last, before: $before"
    )
    cursor = whole["edges"][-1]["cursor"]
    data = await world.query(backward, by=chair, s=row.slug, last=2, before=cursor)
    assert data["collective"]["auditLog"]["nodes"] == whole["nodes"][-3:-1]


async def test_pages_of_many_collectives_take_as_many_statements_as_of_one(
    world: World, engine: AsyncEngine, club: tuple[Collective, Person, Person]
) -> None:
    _, _, holder = club
    query = "query($n: Int!) { collectives(first: $n) { nodes { auditLog(first: 2) { nodes { kind } } } } }"
    counts = []
    for n in (1, 4):
        await world.query(query, by=holder, n=n)
        with record_statements(engine) as statements:
            await world.query(query, by=holder, n=n)
        counts.append(len(without_control(statements)))
    assert counts[0] == counts[1]


async def test_a_page_is_read_by_its_index(world: World, club: tuple[Collective, Person, Person]) -> None:
    row, *_ = club
    plans = {
        "pk_act_subject": f"SELECT * FROM act_subject WHERE collective_id = '{row.id}'"
        " ORDER BY at DESC, act_id DESC LIMIT 21",
        "ix_act_subject_security": f"SELECT * FROM act_subject WHERE collective_id = '{row.id}'"
        " AND is_security ORDER BY at DESC, act_id DESC LIMIT 21",
        "ix_act_at": "SELECT * FROM act WHERE (at, id) < (now(), gen_random_uuid())"
        " ORDER BY at DESC, id DESC LIMIT 21",
    }
    async with world.sessions() as session:
        for way in ("seqscan", "bitmapscan"):  # cheaper while the log has a few rows
            await session.execute(text(f"SET LOCAL enable_{way} = off"))
        for index, statement in plans.items():
            plan = "\n".join((await session.execute(text(f"EXPLAIN {statement}"))).scalars())
            assert index in plan
            assert "Sort" not in plan


# A person's own log


@pytest.fixture
async def ada(world: World) -> Person:
    person = await world.person("ada")
    async with world.sessions() as session, session.begin():
        credential = await session.get_one(Credential, person.user.id)
        credential.password_hash = await passwords.hash_password(PASSWORD)
    return person


async def test_a_sign_in_is_in_the_security_log(world: World, ada: Person, engine: AsyncEngine) -> None:
    with record_statements(engine) as statements:
        payload = await world.mutate("signIn", "session { token }", email=ada.email, password=PASSWORD)
    assert payload["errors"] == []
    assert sum("commonweal.actor" in s or "set_config" in s for s in statements) == 1
    act = (await world.query(SECURITY, by=ada))["me"]["securityLog"]["nodes"][0]
    assert (act["kind"], act["change"], act["mutation"]) == ("SESSION", "ADDED", "signIn")
    assert (act["actor"], act["network"], act["sessionId"]) == ({"slug": "ada"}, "test", None)


async def test_a_new_password_is_logged_without_it(world: World, ada: Person) -> None:
    payload = await world.mutate(
        "changePassword", by=ada, currentPassword=PASSWORD, newPassword="another long one"
    )
    assert payload["errors"] == []
    acts = (await world.query(SECURITY, by=ada))["me"]["securityLog"]["nodes"]
    act = next(a for a in acts if a["mutation"] == "changePassword" and a["kind"] == "CREDENTIAL")
    assert act["values"] == [{"field": "passwordHash", "old": None, "new": None, "isHidden": True}]
    assert (act["actor"], act["sessionId"] is not None) == ({"slug": "ada"}, True)


async def test_no_secret_is_in_the_log(world: World, ada: Person) -> None:
    async with world.sessions() as session:
        token = await session.scalar(text("SELECT encode(token_hash, 'hex') FROM token LIMIT 1"))
        hash_ = (await session.get_one(Credential, ada.user.id)).password_hash
        whole = await session.scalar(text("SELECT string_agg(a::text, ' ') FROM act a"))
    assert whole
    for secret in (token, hash_, ada.email, "argon2"):
        assert secret not in whole


async def test_only_the_person_in_a_session_reads_the_security_log(world: World, ada: Person) -> None:
    assert (await world.query(SECURITY, by=ada))["me"]["securityLog"] is not None
    token = await world.access_token(ada, "READ")
    assert (await world.query(SECURITY, by=token))["me"]["securityLog"] is None
    query = 'query { collective(slug: "ada") { ... on User { securityLog { nodes { kind } } } } }'
    for other in (world.admin, None):
        assert (await world.query(query, by=other))["collective"]["securityLog"] is None


async def test_what_is_undone_is_not_logged(world: World, club: tuple[Collective, Person, Person]) -> None:
    row, chair, _ = club
    await world.expect_problem(
        "updateCollective", "CONFLICT", ["input", "slug"], by=chair, collective=ref(row), slug="hub"
    )


async def test_the_end_of_a_session_is_logged(world: World, ada: Person) -> None:
    payload = await world.query("mutation { signOut { errors { code } } }", by=ada)
    assert payload["signOut"]["errors"] == []
    act = await world.scalar(
        "SELECT concat_ws(' ', kind, change, mutation) FROM act ORDER BY at DESC, id DESC LIMIT 1"
    )
    assert act == "SESSION CHANGED signOut"
