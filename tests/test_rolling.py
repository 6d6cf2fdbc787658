"""Servers are replaced one by one, and the database is upgraded beneath them: no request fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.conftest import Database
from tests.donation_world import DonationScene
from tests.factories import World, money, ref
from tests.history.calls import Call
from tests.live_server import run_audit
from tests.subscription_client import Process, run_process
from tests.test_live_processes import no_rates_to_load

CLIENTS = 2
ENOUGH = 20
"""Answers after which a phase of the replacement is over."""
LIST = "{ transactions(first: 5) { nodes { id kind amount { value } } } }"
UPGRADE = (
    "SET lock_timeout = '3s'",
    'ALTER TABLE "order" ADD COLUMN of_the_next_version text',
    "ALTER TABLE transaction ADD COLUMN of_the_next_version text",
    "ALTER TABLE collective ADD COLUMN of_the_next_version integer DEFAULT 7",
    "ALTER TABLE posting ADD COLUMN of_the_next_version text",
    "CREATE TABLE of_the_next_version (id uuid PRIMARY KEY)",
    'CREATE INDEX ix_order_of_the_next_version ON "order" (of_the_next_version)',
)
"""What a later version may do while this one serves: it adds, and takes nothing away."""


@dataclass
class Balancer:
    """Sends requests to servers that say they are ready, as load balancers do, and none a second time."""

    http: httpx.AsyncClient
    ready: list[Process] = field(default_factory=list)
    answers: int = 0
    turn: int = 0

    async def watch(self, servers: list[Process]) -> None:
        """Ask each server whether it is ready, until cancelled."""
        while True:
            self.ready = [server for server in servers if await self._is_ready(server)]
            await asyncio.sleep(0.05)

    async def _is_ready(self, server: Process) -> bool:
        try:
            answer = await self.http.get(f"http://{server.address}/readyz")
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK

    async def send(self, body: object, token: str | None = None) -> None:
        """Send an operation to the next server; a failure fails the test."""
        self.turn += 1
        server = self.ready[self.turn % len(self.ready)]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = await self.http.post(f"http://{server.address}/graphql", json=body, headers=headers)
        assert answer.status_code == httpx.codes.OK, answer.text
        assert "errors" not in answer.json(), answer.text
        self.answers += 1

    async def wait_for_more(self) -> None:
        """Wait until some more requests are answered."""
        until = self.answers + ENOUGH
        while self.answers < until:
            await asyncio.sleep(0.02)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """Return a client that keeps no connections: a balancer's health checks decide, not its pool."""
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=60, trust_env=False, limits=limits) as http:
        yield http


async def test_nothing_fails_while_servers_and_schema_are_replaced(
    world: World, database: Database, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    scene = await DonationScene.create(world, funds="1000.00")
    await no_rates_to_load(world)
    balancer, servers = Balancer(http), list[Process]()

    async def work(client: int) -> None:
        number = 0
        while True:
            sides = {"from": ref(scene.webpack), "to": ref(scene.babel), "amount": money("0.10")}
            call = Call("donate", scene.giver.token, {**sides, "idempotencyKey": f"{client}-{number}"})
            await balancer.send(call.body, scene.giver.token)
            await balancer.send({"query": LIST})
            number += 1

    async with AsyncExitStack() as stack, asyncio.timeout(500):

        async def start(name: str) -> Process:
            process = run_process(database.settings, tmp_path / name, drain_seconds=2, worker="none")
            server = await stack.enter_async_context(process)
            servers.append(server)
            return server

        old = await asyncio.gather(start("one"), start("two"))
        tasks = [asyncio.create_task(balancer.watch(servers))]
        while len(balancer.ready) < len(old):
            await asyncio.sleep(0.02)
        tasks += [asyncio.create_task(work(client)) for client in range(CLIENTS)]
        try:
            await balancer.wait_for_more()
            await asyncio.to_thread(upgrade, database)
            await balancer.wait_for_more()
            await wait_until_ready(balancer, await start("three"))
            for server in old:
                await end_server(balancer, server)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [error for error in ended if not isinstance(error, asyncio.CancelledError)] == []
    assert "ERROR" not in read_logs(tmp_path)
    assert balancer.answers > 4 * ENOUGH
    run_audit(database)


def read_logs(folder: Path) -> str:
    """Return what all servers logged."""
    return "".join(path.read_text() for path in folder.iterdir())


def upgrade(database: Database) -> None:
    """Upgrade the database to a version that adds to every important table."""
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        for statement in UPGRADE:
            owner.execute(statement.encode())


async def wait_until_ready(balancer: Balancer, server: Process) -> None:
    """Wait until a server gets requests."""
    while server not in balancer.ready:
        await asyncio.sleep(0.02)
    await balancer.wait_for_more()


async def end_server(balancer: Balancer, server: Process) -> None:
    """End a server, which says so before it takes no more requests."""
    stopping = asyncio.create_task(server.stop())
    while server in balancer.ready:
        await asyncio.sleep(0.02)
    await balancer.wait_for_more()
    assert await stopping == 0
    await balancer.wait_for_more()
