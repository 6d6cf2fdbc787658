"""The data that the benchmarks query: hosts, collectives, people and donations."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.postgres_cluster import BenchCluster, recreate_database, require_clean
from bench.server_process import RunningServer, run_server
from models import Collective
from services.database import engine as database_engine
from tests.factories import Person, World, money, ref

HOSTS = 4
COLLECTIVES = 50


@dataclass(frozen=True)
class BenchScene:
    """Hosts and funded collectives with one admin for all, and donors."""

    world: World
    holder: Person
    hosts: list[Collective]
    collectives: list[Collective]
    givers: list[Person]

    async def donate(self, number: int) -> None:
        """Donate from one collective to another, usually at another host."""
        rows = self.collectives
        payload = await self.world.mutate(
            "donate",
            "order { id }",
            by=self.holder,
            to=ref(rows[(number * 7 + 1) % COLLECTIVES]),
            amount=money(f"{number % 50 + 1}.00"),
            description=f"Donation {number}",
            **{"from": ref(rows[number % COLLECTIVES])},
        )
        if payload["errors"]:
            raise SystemExit(f"No donation: {payload}")


async def _create_scene(world: World) -> BenchScene:
    holder = await world.person("bench-holder")
    hosts = [await world.host(f"bench-host-{i}", holder, fee_bps=500) for i in range(HOSTS)]
    rows = [
        await world.community(f"bench-community-{i}", hosts[i % HOSTS], holder) for i in range(COLLECTIVES)
    ]
    givers = [await world.person(f"bench-giver-{i}") for i in range(COLLECTIVES)]
    for row in rows:
        await world.fund(row, "10000.00", by=holder)
    return BenchScene(world, holder, hosts, rows, givers)


def measure_server(
    cluster: BenchCluster,
    name: str,
    prepare: Callable[[BenchScene], Awaitable[None]],
    measure: Callable[[BenchScene, RunningServer], Awaitable[list[list[str]]]],
) -> tuple[list[list[str]], str]:
    """Measure a server on a prepared scene in a new database.

    Returns the rows of the table, and a note on the server's memory and the ledger's audit.
    """
    rows: list[list[str]] = []
    memory_mib: list[float] = []

    async def run(scene: BenchScene) -> None:
        await prepare(scene)
        with run_server(cluster, name) as server:
            memory_mib.append(server.resident_mib)
            rows.extend(await measure(scene, server))
            memory_mib.append(server.resident_mib)

    recreate_database(cluster, name)
    run_in_scene(cluster, name, run)
    before, after = memory_mib
    return rows, (
        f"The server's resident memory: {before:.0f} MiB at its start, {after:.0f} MiB after."
        f" Audit: {require_clean(cluster, name)}."
    )


def run_in_scene(cluster: BenchCluster, name: str, work: Callable[[BenchScene], Awaitable[None]]) -> None:
    """Create a scene in a database that has its platform, and run a function on it."""

    async def run() -> None:
        settings = cluster.settings(name)
        engine = database_engine.create_pool(settings)
        try:
            await work(
                await _create_scene(await World.create(settings, database_engine.session_factory(engine)))
            )
        finally:
            await engine.dispose()

    asyncio.run(run())
