"""A populated world with viewers, and a comparison of results."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from schema.execution import unit_of_work
from services.core import public_ids as id_codec
from services.core.settings import Settings
from services.database import engine as database_engine
from tests.conftest import Server
from tests.factories import Person, World, money
from tests.job_world import add_failed_job, add_job, change_status
from tests.resolvers.matrix_world import populate
from tests.schema.plan.rare_rows import add_rare_rows

VIEWERS = ("anonymous", "member", "admin", "payee", "platform_admin")
CLOCK_SECONDS = 60
"""Clock times of two runs differ by less than this."""
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
POSITION = re.compile(r"pos_[a-z2-7]{26,}")
"""Every transaction on the server changes it."""
OIDC_PROVIDERS = orjson.dumps(
    [{"name": "example", "label": "Example", "issuer": "https://id.example.org", "client_id": "c"}]
).decode()
KINDS = {
    "Collective": "collective",
    "Member": "member",
    "Order": '"order"',
    "Transaction": "transaction",
    "Offer": "offer",
    "Tier": "tier",
    "RecurringGift": "subscription",
    "PaymentMethod": "payment_method",
    "PayoutMethod": "payout_method",
    "Invitation": "invitation",
    "HostApplication": "host_application",
    "AccessToken": "token",
}


@dataclass(frozen=True)
class PopulatedWorld:
    """A world with objects in every status, and its viewers."""

    runner: asyncio.Runner
    world: World
    viewers: dict[str, Person | None]
    public_ids: list[str]
    slugs: list[str]

    def answer(
        self, query: str, viewer: str, *, compiled: bool, **variables: Any
    ) -> unit_of_work.OperationResult:
        """Run a query as a viewer, as it is planned if `compiled`, else on graphql-core."""
        person = self.viewers[viewer]
        request = unit_of_work.OperationRequest(
            query=query,
            variables=variables,
            token=person.token if person else None,
            address="test",
            reports_cost=True,
        )
        expected = replace(self.world.settings, compiled_queries=compiled)
        answer = self.runner.run(
            unit_of_work.execute(request, sessions=self.world.sessions, settings=expected)
        )
        answer.body = answer.plain_body()
        return answer


async def _add_goals_and_bills(world: World, people: dict[str, Person]) -> None:
    """Add goals of a collective and a bill of two lines."""
    giver = {"slug": "giver"}
    for kind in ("RAISED", "BALANCE"):
        await world.mutate("setGoal", by=people["admin"], collective=giver, kind=kind, amount=money("9.00"))
    items = [{"description": text, "amount": money("1.50")} for text in ("Bus", "Tram")]
    bill: dict[str, Any] = {"from": giver, "to": {"slug": "payee"}, "items": items}
    await world.mutate("submitExpense", by=people["payee"], privateMessage="psst", **bill)


async def _add_incognito_gifts(world: World, people: dict[str, Person]) -> None:
    """Add gifts of a person to the collective of the admins, one of them recurring."""
    await world.fund(people["payee"].user, "20.00", by=world.admin)
    for more in ({}, {"interval": "MONTH", "platformTip": money("1.00")}):
        gift: dict[str, Any] = {"from": {"slug": "payee"}, "to": {"slug": "giver"}, "amount": money("2.00")}
        gift |= more
        payload = await world.mutate("donate", by=people["payee"], isIncognito=True, **gift)
        assert payload["errors"] == [], payload


async def _add_programs(world: World, people: dict[str, Person]) -> dict[str, Person | None]:
    """Add access tokens of ADMINs, which change something each."""
    programs: dict[str, Person | None] = {}
    for name, slug in (("admin", "giver"), ("platform_admin", "payer-host")):
        token = await world.access_token(people[name], "READ", "COLLECTIVES")
        changed: dict[str, Any] = {"collective": {"slug": slug}, "website": "https://example.org/x"}
        payload = await world.mutate("updateCollective", by=token, **changed)
        assert payload["errors"] == [], payload
        programs[f"program_of_{name}"] = replace(people[name], token=token)
    return programs


async def _other_ids(session: AsyncSession) -> list[str]:
    """Return ids of ledger accounts, which are numbers, and of what is no node."""
    accounts = await session.execute(text("SELECT id FROM ledger_account ORDER BY id LIMIT 6"))
    acts = await session.execute(text("SELECT id FROM act ORDER BY id LIMIT 2"))
    numbers = [UUID(int=row.id) for row in accounts]
    ids = [id_codec.encode("LedgerAccount", each) for each in (*numbers, UUID(int=2**64 + 1))]
    return ids + [id_codec.encode("Act", row.id) for row in acts]


@contextmanager
def create_populated_world(server: Server, template: str) -> Iterator[PopulatedWorld]:
    """Create a populated world that tests only read."""
    name = f"{template}_alike"
    database_engine.create_database(server.url, name, template=template)
    settings_ = replace(
        Settings(),
        max_cost=10**9,
        rate_capacity=10**9,
        oidc_providers=OIDC_PROVIDERS,
        database_url=server.database_url(name, role=database_engine.APP_ROLE),
        owner_database_url=server.database_url(name),
    )
    with asyncio.Runner() as runner:
        engine = database_engine.create_pool(settings_)
        sessions = database_engine.session_factory(engine)

        async def create() -> PopulatedWorld:
            world = await World.create(settings_, sessions)
            people, _ = await populate(world)
            await _add_goals_and_bills(world, people)
            await _add_incognito_gifts(world, people)
            await add_rare_rows(world, people)
            await add_job(sessions)
            await change_status(sessions, await add_job(sessions, "audit_ledger"), "doing", "succeeded")
            await change_status(sessions, await add_job(sessions, "send_mail"), "doing")
            await add_failed_job(sessions)
            programs = await _add_programs(world, people)
            results: list[str] = []
            for kind, table in KINDS.items():
                async with sessions() as session:
                    rows = await session.execute(text(f"SELECT id FROM {table} ORDER BY id LIMIT 12"))
                    results += [id_codec.encode(kind, row.id) for row in rows]
            async with sessions() as session:
                results += await _other_ids(session)
                slugs = [
                    r.slug for r in await session.execute(text("SELECT slug FROM collective ORDER BY slug"))
                ]
            viewers = {"anonymous": None} | programs
            viewers |= {v: people[v] for v in (*VIEWERS[1:], "stranger", "payer_host_admin", "invitee")}
            return PopulatedWorld(runner, world, viewers, results, slugs)

        yield runner.run(create())
        runner.run(engine.dispose())


def answers_match(one: Any, other: Any) -> bool:
    """True if two results are equal, including key order, except for clock times and live positions."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(answers_match(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(answers_match, one, other))
    if isinstance(one, str) and isinstance(other, str) and MOMENT.fullmatch(one) and MOMENT.fullmatch(other):
        apart = datetime.fromisoformat(one) - datetime.fromisoformat(other)
        return abs(apart.total_seconds()) < CLOCK_SECONDS
    if isinstance(one, str) and isinstance(other, str) and POSITION.fullmatch(one):
        return POSITION.fullmatch(other) is not None
    return type(one) is type(other) and bool(one == other)


def normalize_errors(body: dict[str, Any]) -> dict[str, Any]:
    """Return a result without error ids, and with its errors sorted."""
    errors = [
        {**error, "extensions": {k: v for k, v in error["extensions"].items() if k != "errorId"}}
        for error in body.get("errors", [])
    ]
    return body | {"errors": sorted(errors, key=repr)}
