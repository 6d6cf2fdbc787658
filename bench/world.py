"""The world that the benches ask about: hosts, collectives, people, and money that moved."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.postgres_cluster import Place
from models import Collective
from services.database import engine as database_engine
from tests.factories import Person, World, money, of

HOSTS = 4
COLLECTIVES = 50


@dataclass(frozen=True)
class Scene:
    """Hosts, and collectives with funds, all of one admin; and people who give."""

    world: World
    holder: Person
    hosts: list[Collective]
    collectives: list[Collective]
    givers: list[Person]

    async def donate(self, number: int) -> None:
        """Let one collective give to another, mostly of another host."""
        rows = self.collectives
        done = await self.world.do(
            "donate",
            "order { id }",
            by=self.holder,
            to=of(rows[(number * 7 + 1) % COLLECTIVES]),
            amount=money(f"{number % 50 + 1}.00"),
            description=f"Gift {number}",
            **{"from": of(rows[number % COLLECTIVES])},
        )
        if done["errors"]:
            raise SystemExit(f"No gift: {done}")


async def _filled(world: World) -> Scene:
    holder = await world.person("bench-holder")
    hosts = [await world.host(f"bench-host-{i}", holder, fee_bps=500) for i in range(HOSTS)]
    rows = [
        await world.community(f"bench-community-{i}", hosts[i % HOSTS], holder) for i in range(COLLECTIVES)
    ]
    givers = [await world.person(f"bench-giver-{i}") for i in range(COLLECTIVES)]
    for row in rows:
        await world.fund(row, "10000.00", by=holder)
    return Scene(world, holder, hosts, rows, givers)


def in_scene(place: Place, name: str, work: Callable[[Scene], Awaitable[None]]) -> None:
    """Fill a scene in a database that has its platform, and work in it."""

    async def run() -> None:
        settings = place.settings(name)
        engine = database_engine.connect(settings)
        try:
            await work(await _filled(await World.create(settings, database_engine.sessions(engine))))
        finally:
            await engine.dispose()

    asyncio.run(run())
