"""A populated world, those who look at it, and answers compared."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import text

from schema.execution import unit_of_work
from schema.execution.operation import encoded
from services.core import public_ids as id_codec
from services.core.settings import Settings
from services.database import engine as database_engine
from tests.conftest import Server
from tests.factories import Person, World
from tests.resolvers.matrix_world import populated

VIEWERS = ("anonymous", "member", "admin", "payee", "platform_admin")
CLOCK_SECONDS = 60
"""Moments that are read from the clock differ from one run to the next by less."""
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
POSITION = re.compile(r"pos_[a-z2-7]{26,}")
"""Each transaction moves it, another database's as well."""
KINDS = {
    "Collective": "collective",
    "Member": "member",
    "Order": '"order"',
    "Transaction": "transaction",
    "Offer": "offer",
    "PaymentMethod": "payment_method",
    "Invitation": "invitation",
}


@dataclass(frozen=True)
class Shown:
    """A world with objects in every state, and those who look at it."""

    runner: asyncio.Runner
    world: World
    viewers: dict[str, Person | None]
    public_ids: list[str]
    slugs: list[str]

    def answer(
        self, query: str, viewer: str, *, compiled: bool, written: bool = False, **variables: Any
    ) -> unit_of_work.Answer:
        """Ask as a viewer; let PostgreSQL write the answer if it can."""
        person = self.viewers[viewer]
        request = unit_of_work.Request(
            query=query,
            variables=variables,
            token=person.token if person else None,
            address="test",
            takes_written=written,
            tells_cost=True,
        )
        wanted = replace(self.world.settings, compiled_queries=compiled)
        answer = self.runner.run(unit_of_work.execute(request, sessions=self.world.sessions, settings=wanted))
        answer.body = orjson.loads(encoded(answer.body))
        return answer


@contextmanager
def shown_on(server: Server, template: str) -> Iterator[Shown]:
    """Yield a populated world, which is only read."""
    name = f"{template}_alike"
    database_engine.create_database(server.url, name, template=template)
    settings_ = replace(
        Settings(),
        max_cost=10**9,
        rate_capacity=10**9,
        database_url=server.database_url(name, role=database_engine.APP_ROLE),
        owner_database_url=server.database_url(name),
    )
    with asyncio.Runner() as runner:
        engine = database_engine.connect(settings_)
        sessions = database_engine.sessions(engine)

        async def made() -> Shown:
            world = await World.create(settings_, sessions)
            people, _ = await populated(world)
            found: list[str] = []
            for kind, table in KINDS.items():
                async with sessions() as session:
                    rows = await session.execute(text(f"SELECT id FROM {table} ORDER BY id LIMIT 12"))
                    found += [id_codec.encode(kind, row.id) for row in rows]
            async with sessions() as session:
                slugs = [
                    r.slug for r in await session.execute(text("SELECT slug FROM collective ORDER BY slug"))
                ]
            viewers = {"anonymous": None} | {v: people[v] for v in VIEWERS[1:]}
            return Shown(runner, world, viewers, found, slugs)

        yield runner.run(made())
        runner.run(engine.dispose())


def alike(one: Any, other: Any) -> bool:
    """Whether two answers are the same, in the order of their keys too, but for clock and live position."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, str) and isinstance(other, str) and MOMENT.fullmatch(one) and MOMENT.fullmatch(other):
        apart = datetime.fromisoformat(one) - datetime.fromisoformat(other)
        return abs(apart.total_seconds()) < CLOCK_SECONDS
    if isinstance(one, str) and isinstance(other, str) and POSITION.fullmatch(one):
        return POSITION.fullmatch(other) is not None
    return type(one) is type(other) and bool(one == other)


def unnumbered(body: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without the numbers under which faults are logged, and its errors sorted."""
    errors = [
        {**error, "extensions": {k: v for k, v in error["extensions"].items() if k != "errorId"}}
        for error in body.get("errors", [])
    ]
    return body | {"errors": sorted(errors, key=repr)}
