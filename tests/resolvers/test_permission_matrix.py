"""The permission matrix over GraphQL: every mutation by every kind of viewer.

The table is written from the design, not computed from the rules. Denials must change nothing.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text

from models import new_id
from models.enums import Scope
from schema.build import schema
from services.database import engine as database_engine
from tests.conftest import Database, MakeDatabase, Server
from tests.factories import Person, World
from tests.resolvers.matrix_cases import (
    CASES,
    KEYED_MUTATIONS,
    NO_TOKEN,
    ONE_TIME_MUTATIONS,
    OPEN_TO_ALL,
    SCOPES,
    VIEWERS,
)
from tests.resolvers.matrix_world import populate


@dataclass
class Prepared:
    """A database with every object in every state, which is cloned but never written."""

    database: Database
    clone: Callable[[], Database]
    platform: Any
    people: dict[str, Person]
    ids: dict[str, str]

    @asynccontextmanager
    async def world(self, database: Database) -> AsyncIterator[World]:
        """Open a database."""
        engine = database_engine.create_pool(database.settings)
        world = World(database.settings, database_engine.session_factory(engine))
        world.platform = self.platform
        try:
            yield world
        finally:
            await engine.dispose()

    async def answer(self, world: World, case: str, by: Person | str | None, *, dry: bool) -> str:
        """Return the code of what the mutation answers, or OK; denials of access only at the top level."""
        mutation = mutation_of(case)
        arguments = self.filled(CASES[case].input)
        name = mutation[0].upper() + mutation[1:]
        each = "results { errors { code } }" if mutation == "approveOrders" else ""
        if arguments is None:
            body = await world.execute(f"mutation {{ {mutation} {{ errors {{ code }} }} }}", by=by)
        else:
            if dry:
                arguments = {**arguments, "dryRun": True}
            body = await world.execute(
                f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ {each} errors {{ code }} }} }}",
                by=by,
                i=arguments,
            )
        if "errors" in body:
            assert len(body["errors"]) == 1, body
            return str(body["errors"][0]["extensions"]["code"])
        payload = body["data"][mutation]
        result = payload["errors"] + [e for r in payload.get("results", ()) for e in r["errors"]]
        if not result:
            return "OK"
        code = str(result[0]["code"])
        assert mutation == "approveOrders" or code not in {"FORBIDDEN", "UNAUTHENTICATED"}, body
        return code

    def filled(self, given: Any) -> Any:
        """Put ids in the place of <names>; a new slug in that of <slug>."""
        if isinstance(given, dict):
            return {key: self.filled(value) for key, value in given.items()}
        if isinstance(given, list):
            return [self.filled(value) for value in given]
        if given == "<slug>":
            return f"made-{new_id().hex[-12:]}"
        if given == "<email>":
            return f"made-{new_id().hex[-12:]}@commonweal.test"
        return self.ids[given[1:-1]] if isinstance(given, str) and given.startswith("<") else given


def mutation_of(case: str) -> str:
    return case.split(maxsplit=1)[0].removesuffix("'s")


def scope_of(case: str) -> Scope:
    return Scope(next((s for m, s in SCOPES.items() if mutation_of(case) in m.split()), "COLLECTIVES"))


@pytest.fixture(scope="module")
async def prepared(server: Server, make_database: MakeDatabase) -> AsyncIterator[Prepared]:
    database = make_database()
    engine = database_engine.create_pool(database.settings)
    world = await World.create(database.settings, database_engine.session_factory(engine))
    people, ids = await populate(world)
    await engine.dispose()
    with clones(server, database) as clone:
        yield Prepared(database, clone, world.platform, people, ids)


@contextmanager
def clones(server: Server, database: Database) -> Iterator[Callable[[], Database]]:
    """Yield a maker of copies of a database, which are dropped at the end."""
    results: list[str] = []

    def clone() -> Database:
        name = f"clone_{new_id().hex[-12:]}"
        database_engine.create_database(server.url, name, template=database.name)
        results.append(name)
        url = server.database_url
        return Database(name, url(name), url(name, role=database_engine.APP_ROLE))

    yield clone
    with psycopg.connect(server.url, autocommit=True) as connection:
        for name in results:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            connection.execute(drop)


@pytest.fixture(scope="module")
async def still(prepared: Prepared) -> AsyncIterator[World]:
    """Return the world in which nothing ever happens."""
    async with prepared.world(prepared.clone()) as world:
        yield world


def test_the_matrix_has_every_mutation() -> None:
    root = schema()._schema.mutation_type
    assert root is not None
    assert set(root.fields) - OPEN_TO_ALL == {mutation_of(case) for case in CASES}


@pytest.mark.parametrize("case", CASES)
async def test_each_viewer_gets_the_expected_code_and_a_denial_stores_nothing(
    prepared: Prepared, still: World, case: str
) -> None:
    dry = mutation_of(case) in KEYED_MUTATIONS
    results = [v for v in VIEWERS if dry or CASES[case].expected(v) != "OK"]
    before = await still.fingerprint()
    answers = {v: await prepared.answer(still, case, prepared.people.get(v), dry=dry) for v in results}
    assert answers == {v: CASES[case].expected(v) for v in results}
    assert await still.fingerprint() == before


OWN_KEYS = {"eraseMe", "changePassword", "endSession", "endOtherSessions"}
"""They end the credentials of those who call them; tested with the accounts."""


ALLOWED = [c for c in CASES if CASES[c].allowed and mutation_of(c) not in KEYED_MUTATIONS | OWN_KEYS]


@pytest.mark.parametrize("case", ALLOWED)
async def test_allowed_viewers_and_tokens_with_the_scope_succeed(prepared: Prepared, case: str) -> None:
    viewers = CASES[case].allowed.split()
    pairs = [(viewers[0], True), *((viewer, False) for viewer in viewers)]
    groups = [[pair] for pair in pairs] if mutation_of(case) in ONE_TIME_MUTATIONS else [pairs]
    for group in groups:
        async with prepared.world(prepared.clone()) as world:
            for viewer, by_token in group:
                person = prepared.people[viewer]
                by = await world.access_token(person, scope_of(case)) if by_token else person
                expected = token_gets(case) if by_token else "OK"
                assert await prepared.answer(world, case, by, dry=False) == expected, viewer


WALKED = [c for c in CASES if CASES[c].allowed or mutation_of(c) in NO_TOKEN]


def token_gets(case: str) -> str:
    return "FORBIDDEN" if mutation_of(case) in NO_TOKEN else CASES[case].by_token


def test_the_walk_over_the_scopes_has_every_mutation() -> None:
    assert {mutation_of(c) for c in WALKED} == {mutation_of(c) for c in CASES}


@pytest.mark.parametrize("case", WALKED)
async def test_an_access_token_without_the_scope_is_denied(
    prepared: Prepared, still: World, case: str
) -> None:
    viewer, dry = (CASES[case].allowed or "stranger").split()[0], mutation_of(case) in KEYED_MUTATIONS
    person, scope = prepared.people[viewer], scope_of(case)
    others, every = set(Scope) - {scope}, set(Scope)
    tokens = [await still.access_token(person, *names) for names in (others, set(), {scope}, every)]
    before = await still.fingerprint()
    for token in tokens[:2]:
        assert await prepared.answer(still, case, token, dry=dry) == "FORBIDDEN"
    if dry or token_gets(case) != "OK":
        for token in tokens[2:]:
            assert await prepared.answer(still, case, token, dry=dry) == token_gets(case)
    assert await still.fingerprint() == before


ORDERS = (
    "donate addFunds submitExpense updateExpense confirmContribution denyContribution transferFunds "
    "approveOrder approveOrders rejectOrder payOrder cancelOrder refundOrder settleHosts redeemOffer "
    "logHours cashOut checkIn checkOut"
)
"""Mutations of orders, whose history is that of the order."""
NO_ACT = {
    "sendEventMessage": "it sends mails and changes nothing",
    "inviteToEvent": "it sends mails; who registers is a member",
    "retryJob": "it queues a job again; what that does is logged like before",
    "beginPasskeyConfirmation": "it stores a challenge, and changes nothing",
    "beginPasskeyRegistration": "it stores a challenge; the passkey is logged when it is added",
}
LAST_ACTS = """SELECT actor_id, token_id, mutation, network FROM act
    WHERE mutation = :mutation AND NOT id = ANY(:before)"""
NOT_YET = {"decideIssuer": "UPDATE collective SET issuer_approved_at = NULL WHERE slug = 'payer-host'"}
"""What takes back what a case would find done."""


def _acts() -> list[str]:
    by_someone = (c for c in CASES if CASES[c].allowed and mutation_of(c) not in {*ORDERS.split(), *NO_ACT})
    return [case for case in by_someone if mutation_of(case) not in OWN_KEYS]


@pytest.mark.parametrize("case", _acts())
async def test_an_act_is_logged_with_its_actor(prepared: Prepared, case: str) -> None:
    """Every mutation that is no order leaves a row, in its transaction, that names who did it and how."""
    mutation, actors = mutation_of(case), {"unfollowCollective": "follower"}
    person = prepared.people[actors.get(mutation, CASES[case].allowed.split()[0])]
    async with prepared.world(prepared.clone()) as world:
        async with world.sessions() as session, session.begin():
            await session.execute(text(NOT_YET.get(mutation, "SELECT 1")))
            before = list((await session.execute(text("SELECT id FROM act"))).scalars())
        assert await prepared.answer(world, case, person, dry=False) == "OK"
        async with world.sessions() as session:
            values = {"mutation": mutation, "before": before}
            acts = (await session.execute(text(LAST_ACTS), values)).all()
            token = await session.scalar(
                text("SELECT id FROM token WHERE user_id = :id AND kind = 'SESSION'"), {"id": person.user.id}
            )
    assert {tuple(act) for act in acts} == {(person.user.id, token, mutation, "test")}
