"""A viewer who was seen lately costs no statement, and whatever changes them is seen by the next query."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from models.enums import MemberRole
from schema.execution import unit_of_work
from services.access import viewer_cache
from tests.factories import Person, World, ref
from tests.statement_counts import record_statements

# Hidden from all but admins and accountants of the event and of what runs it.
HIDDEN = '{ collective(slug: "secret") { name } me { slug name } }'
VISIBLE = {"name": "Secret"}
Change = Callable[[World, Person, Person], Awaitable[Any]]


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer_cache, "_VIEWERS", type(viewer_cache._VIEWERS)())


async def ask(world: World, by: Person, query: str = HIDDEN) -> dict[str, Any]:
    request = unit_of_work.OperationRequest(query=query, token=by.token, address="test")
    answer = await unit_of_work.execute(request, sessions=world.sessions, settings=world.settings)
    body: dict[str, Any] = answer.plain_body()
    return body


async def ask_twice(world: World, by: Person) -> dict[str, Any]:
    """Ask until the query is compiled and the viewer is known; return the answer."""
    await ask(world, by)
    await ask(world, by)
    return await ask(world, by)


async def prepare(world: World) -> tuple[Person, Person]:
    """Create an admin and a second one of the club that runs a private event."""
    ada, bob = await world.person("ada"), await world.person("bob")
    club = await world.community("club", None, ada)
    await world.member(club, bob, MemberRole.ADMIN)
    payload = await world.mutate(
        "createEvent",
        "event { id }",
        by=ada,
        parent=ref(club),
        name="Secret",
        isPublic=False,
        startsAt="2030-01-01T10:00Z",
        endsAt="2030-01-01T11:00Z",
    )
    event = {"id": payload["event"]["id"]}
    await world.mutate("updateCollective", by=ada, collective=event, slug="secret")
    return ada, bob


def change(world: World, statement: str, *parameters: object) -> None:
    """Change the database from elsewhere."""
    with psycopg.connect(world.settings.owner_database_url or "", autocommit=True) as owner:
        owner.execute(statement.encode(), parameters)


async def test_a_known_viewer_costs_no_statement(world: World, engine: AsyncEngine) -> None:
    _, bob = await prepare(world)
    assert (await ask_twice(world, bob))["data"]["collective"] == VISIBLE
    with record_statements(engine) as statements:
        body = await ask(world, bob)
    assert body["data"] == {"collective": VISIBLE, "me": {"slug": "bob", "name": bob.user.name}}
    assert len(statements) == 1


TOKEN = "UPDATE token SET {} WHERE user_id = %s"
ROLE = "UPDATE member SET until = now() WHERE member_id = %s AND role = 'ADMIN'"
INSERT_ROLE = """INSERT INTO member (id, collective_id, member_id, role)
    SELECT gen_random_uuid(), id, %s, 'ADMIN' FROM collective WHERE {}"""


@pytest.mark.parametrize(
    ("statement", "collective"),
    [
        (TOKEN.format("revoked_at = now()"), None),
        (TOKEN.format("expires_at = now()"), None),
        (TOKEN.format("last_used_at = now() - interval '15 days'"), None),
        (TOKEN.format("kind = 'ACCESS', scopes = '{ORDERS}'"), None),
        (ROLE, None),
        ("UPDATE collective SET name = 'Robert' WHERE id = %s", VISIBLE),
    ],
)
async def test_what_changes_a_viewer_is_seen_at_once(
    world: World, statement: str, collective: dict[str, str] | None
) -> None:
    _, bob = await prepare(world)
    assert (await ask_twice(world, bob))["data"]["collective"] == VISIBLE
    change(world, statement, bob.user.id)
    for body in (await ask(world, bob), await ask(world, bob)):
        if "UPDATE token" in statement:
            (error,) = body["errors"]
            assert error["extensions"]["code"] in {"UNAUTHENTICATED", "FORBIDDEN"}
            assert "data" not in body
        else:
            name = "Robert" if "Robert" in statement else bob.user.name
            assert body["data"] == {"collective": collective, "me": {"slug": "bob", "name": name}}


@pytest.mark.parametrize("where", ["slug = 'club'", "is_platform"])
async def test_a_new_role_is_seen_at_once(world: World, where: str) -> None:
    await prepare(world)
    eve = await world.person("eve")
    assert (await ask_twice(world, eve))["data"]["collective"] is None
    change(world, INSERT_ROLE.format(where), eve.user.id)
    assert (await ask(world, eve))["data"]["collective"] == VISIBLE


async def test_a_role_that_ends_while_somebody_signs_in_is_seen_at_once(world: World) -> None:
    _, bob = await prepare(world)
    with psycopg.connect(world.settings.owner_database_url or "") as owner:
        owner.execute(ROLE.encode(), [bob.user.id])
        new = replace(bob, token=await world.access_token(bob, "READ"))
        assert (await ask_twice(world, new))["data"]["collective"] == VISIBLE
        owner.commit()
    assert (await ask(world, new))["data"]["collective"] is None


async def test_an_event_that_becomes_hidden_stays_visible_to_its_members(world: World) -> None:
    _, bob = await prepare(world)
    eve = await world.person("eve")
    change(world, "UPDATE collective SET is_public = true WHERE slug = %s", "secret")
    change(world, INSERT_ROLE.format("slug = 'secret'").replace("'ADMIN'", "'ATTENDEE'"), eve.user.id)
    assert (await ask_twice(world, eve))["data"]["collective"] == VISIBLE
    viewer = viewer_cache.find_viewer(eve.token)
    assert viewer is not None
    assert viewer.public_ids == set(viewer.roles)
    change(world, "UPDATE collective SET is_public = false WHERE slug = %s", "secret")
    for _ in range(3):
        assert (await ask(world, eve))["data"]["collective"] == VISIBLE
    assert (await ask_twice(world, bob))["data"]["collective"] == VISIBLE
    change(world, "UPDATE member SET until = now() WHERE member_id = %s", eve.user.id)
    assert (await ask(world, eve))["data"]["collective"] is None


async def test_a_query_that_only_the_mapper_answers_loads_its_viewer(world: World) -> None:
    _, bob = await prepare(world)
    await ask_twice(world, bob)
    change(world, TOKEN.format("revoked_at = now()"), bob.user.id)
    body = await ask(world, bob, "{ me { slug } __schema { queryType { name } } }")
    assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_viewers_are_limited_in_number_and_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob = await prepare(world)
    monkeypatch.setattr(viewer_cache, "MAX_VIEWERS", 1)
    await ask_twice(world, ada)
    await ask_twice(world, bob)
    assert viewer_cache.find_viewer(ada.token) is None
    assert viewer_cache.find_viewer(bob.token) is not None
    monkeypatch.setattr(viewer_cache, "KEEP_SECONDS", -1)
    await ask(world, ada)
    assert viewer_cache.find_viewer(ada.token) is None
