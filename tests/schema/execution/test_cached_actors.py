"""A mutation of a viewer who was seen lately: what changed them since is met before anything is written."""

from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from models.enums import MemberRole
from resolvers.context import Context
from schema.execution import unit_of_work
from schema.observability import sql_trace
from services.access import viewer_cache
from services.core.settings import Settings
from services.database.engine import create_pool, session_factory
from tests.donation_world import DonationScene
from tests.factories import Person, World, money, ref
from tests.statement_counts import record_statements

DONATE = "mutation($i: DonateInput!) { donate(input: $i) { order { id } errors { code } } }"
RENAME = "mutation($i: UpdateCollectiveInput!) { updateCollective(input: $i) { errors { code } } }"


@pytest.fixture
async def scene(world: World) -> DonationScene:
    return await DonationScene.create(world)


async def send(world: World, by: Person, query: str = DONATE, **arguments: Any) -> dict[str, Any]:
    request = unit_of_work.OperationRequest(
        query=query, token=by.token, address="test", variables={"i": arguments}
    )
    answer = await unit_of_work.execute(request, sessions=world.sessions, settings=world.settings)
    return answer.plain_body()


async def donate(scene: DonationScene, **more: Any) -> dict[str, Any]:
    sides: dict[str, Any] = {"from": ref(scene.webpack), "to": ref(scene.babel)}
    return await send(scene.world, scene.giver, amount=money("1.00"), **sides, **more)


async def expect_known(scene: DonationScene, person: Person) -> None:
    """Let the process know a person."""
    viewer_cache.forget(person.token)
    await send(scene.world, person, "{ me { slug } }")
    assert viewer_cache.find_viewer(person.token) is not None


def change(world: World, statement: str, *parameters: object) -> None:
    """Change the database from elsewhere."""
    with psycopg.connect(world.settings.owner_database_url or "", autocommit=True) as owner:
        owner.execute(statement.encode(), parameters)


TOKEN = "UPDATE token SET {} WHERE user_id = %s"
END_ROLE = "UPDATE member SET until = now() WHERE member_id = %s AND role = 'ADMIN'"


@pytest.mark.parametrize("key", [{}, {"idempotencyKey": "k"}], ids=["plain", "keyed"])
@pytest.mark.parametrize(
    ("statement", "code"),
    [
        (TOKEN.format("revoked_at = now()"), "UNAUTHENTICATED"),
        (TOKEN.format("expires_at = now()"), "UNAUTHENTICATED"),
        (TOKEN.format("last_used_at = now() - interval '15 days'"), "UNAUTHENTICATED"),
        (TOKEN.format("kind = 'ACCESS', scopes = '{READ}'"), "FORBIDDEN"),
        (END_ROLE, "FORBIDDEN"),
    ],
)
async def test_what_a_viewer_has_lost_stops_a_mutation(
    scene: DonationScene, statement: str, code: str, key: dict[str, str]
) -> None:
    await expect_known(scene, scene.giver)
    change(scene.world, statement, scene.giver.user.id)
    before = await scene.world.fingerprint()
    for body in (await donate(scene, **key), await donate(scene, **key)):
        assert [error["extensions"]["code"] for error in body["errors"]] == [code]
    assert await scene.world.fingerprint() == before


async def test_a_revoked_token_is_told_of_nothing_else(scene: DonationScene) -> None:
    await expect_known(scene, scene.giver)
    change(scene.world, TOKEN.format("revoked_at = now()"), scene.giver.user.id)
    sides: dict[str, Any] = {"from": ref(scene.webpack), "to": {"slug": "nobody"}}
    body = await send(scene.world, scene.giver, amount=money("0.00"), **sides)
    assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_new_role_allows_at_once_what_was_denied(scene: DonationScene) -> None:
    await expect_known(scene, scene.friend)
    sides: dict[str, Any] = {"from": ref(scene.webpack), "to": ref(scene.babel)}
    body = await send(scene.world, scene.friend, amount=money("1.00"), **sides)
    assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    await scene.world.member(scene.webpack, scene.friend, MemberRole.ADMIN)
    body = await send(scene.world, scene.friend, amount=money("1.00"), **sides)
    assert body["data"]["donate"]["errors"] == []


async def test_a_role_that_a_mutation_gives_is_not_in_the_cache_before_it_is_stored(
    scene: DonationScene,
) -> None:
    create = "mutation($i: CreateCollectiveInput!) { createCollective(input: $i) { collective { id } } }"
    await expect_known(scene, scene.friend)
    known = viewer_cache.find_viewer(scene.friend.token)
    assert known is not None
    roles = dict(known.roles)
    club: dict[str, Any] = {"type": "COMMUNITY", "currency": "USD", "name": "Club", "slug": "club"}
    body = await send(scene.world, scene.friend, create, **club)
    assert body["data"]["createCollective"]["collective"]
    assert known.roles == roles


async def test_the_audit_log_names_a_known_viewer(scene: DonationScene, engine: AsyncEngine) -> None:
    await expect_known(scene, scene.giver)
    with record_statements(engine) as statements:
        await send(scene.world, scene.giver, RENAME, collective=ref(scene.webpack), name="Webpacker")
    assert not any("FROM collective JOIN token" in text and "legal_name" in text for text in statements)
    with psycopg.connect(scene.world.settings.owner_database_url or "") as owner:
        row = owner.execute("SELECT actor_id, mutation FROM act ORDER BY at DESC LIMIT 1").fetchone()
    assert row == (scene.giver.user.id, "updateCollective")


SIGN_IN = "mutation($i: SignInInput!) { signIn(input: $i) { session { token } errors { code } } }"


async def test_a_known_viewer_who_signs_in_needs_one_connection_at_a_time(scene: DonationScene) -> None:
    engine = create_pool(replace(scene.world.settings, pool_size=1))
    request = unit_of_work.OperationRequest(
        query=SIGN_IN,
        token=scene.giver.token,
        address="test",
        variables={"i": {"email": scene.giver.email, "password": "a wrong one"}},
    )
    await expect_known(scene, scene.giver)
    answer = await unit_of_work.execute(
        request, sessions=session_factory(engine), settings=scene.world.settings
    )
    await engine.dispose()
    (error,) = answer.body["data"]["signIn"]["errors"]
    assert error["code"] == "INVALID_INPUT"


async def test_the_statements_are_shown_to_nobody_whose_token_was_revoked(scene: DonationScene) -> None:
    admin = scene.world.admin
    await expect_known(scene, admin)
    change(scene.world, TOKEN.format("revoked_at = now()"), admin.user.id)
    sql_trace.begin({sql_trace.REQUEST_HEADER: "1"})
    body = await send(scene.world, admin, RENAME, collective=ref(scene.webpack), name="Webpacker")
    assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert sql_trace.with_trace({}) == {}
    sql_trace.begin({})


def test_who_signed_out_is_shown_the_offered_providers() -> None:
    context = Context(sessions=async_sessionmaker(), settings=replace(Settings(), fake_provider=True))
    offered = context.actor.providers
    context.actor = replace(context.actor, token_hash=b"x")
    context.forget_viewer()
    assert context.actor.id is None
    assert context.actor.token_hash == b""
    assert context.actor.providers == offered != ()
