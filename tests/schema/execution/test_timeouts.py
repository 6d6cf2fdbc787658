"""Nobody is waited for without end: operations, statements, bodies, and clients that are gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import orjson
import psycopg
import pytest
import uvicorn
from psycopg import sql
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.applications import Starlette

from schema.server.app import create_application
from services.core.settings import Settings
from services.database import read_connections
from tests.conftest import Database
from tests.donation_world import DonationScene, expect_order
from tests.factories import World
from tests.schema.http.test_endpoint_requests import post, serving, signed, the_code

SOON_SECONDS = 10
NEVER_MS = 3_600_000
LOADED = "{ transactions { nodes { id order { id } } } }"
WRITES = (
    'mutation { createCollective(input: {type: COMMUNITY, name: "a", slug: "brand-new", currency: "USD"}) '
    "{ errors { code } } }"
)


@asynccontextmanager
async def locked(database: Database, table: str) -> AsyncIterator[None]:
    """Keep everybody else from a table."""
    async with await psycopg.AsyncConnection.connect(database.owner_url) as owner:
        await owner.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(table)))
        yield


async def stored(world: World) -> dict[str, Any]:
    """Return a fingerprint of everything but the mails, which the server sends meanwhile."""
    return {table: rows for table, rows in (await world.fingerprint()).items() if table != "outbox"}


async def waiting(database: Database) -> int:
    """Count the statements that wait for a lock, or run."""
    async with await psycopg.AsyncConnection.connect(database.owner_url) as owner:
        count = await owner.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND state = 'active' AND backend_type = 'client backend'"
        )
        row = await count.fetchone()
        assert row is not None
        return int(row[0])


async def idle(database: Database) -> bool:
    """Return True if no statement runs or waits."""
    return await waiting(database) == 0


async def until(condition: Any) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(SOON_SECONDS):
        while not await condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(settings: Settings) -> AsyncIterator[tuple[Starlette, int]]:
    """Serve on a port of this machine alone."""
    app = create_application(settings)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield app, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running


def request_of(body: bytes, *more: str, length: int | None = None) -> bytes:
    """Return a POST as it is sent."""
    head = (
        "POST /graphql HTTP/1.1",
        "Host: here",
        "Content-Type: application/json",
        f"Content-Length: {len(body) if length is None else length}",
        *more,
    )
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + body


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    """Read an answer until its body."""
    async with asyncio.timeout(SOON_SECONDS):
        return await reader.readuntil(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("table", "query"),
    [("collective", "{ collectives { nodes { id } } }"), ("order", LOADED), ("collective", WRITES)],
)
async def test_a_slow_operation_is_stopped(database: Database, world: World, table: str, query: str) -> None:
    scene = await DonationScene.create(world)
    expect_order(await scene.donate("1.00"))
    before = await stored(world)
    settings = replace(world.settings, execution_timeout_ms=2_000, outbox_interval_ms=NEVER_MS)
    async with serving(settings) as client:
        assert "errors" not in (await post(client, {"query": "{ me { id } }"}, **signed(world.admin))).json()
        await until(lambda: idle(database))  # the server's own jobs have run once, too
        async with locked(database, table):
            answer = await post(client, {"query": query}, **signed(world.admin))
            assert (answer.status_code, the_code(answer), answer.json()["data"]) == (200, "TIMEOUT", None)
            assert await idle(database)
        transport: Any = client._transport
        engine = transport.app.state.engine
        assert engine.pool.checkedout() == read_connections.idle_count(engine)
        assert await stored(world) == before
        # The connections that are left are good ones.
        answers = await asyncio.gather(*(post(client, {"query": LOADED}) for _ in range(10)))
        assert [a.json()["errors"] for a in answers if "errors" in a.json()] == []


async def test_a_slow_statement_is_a_timeout(database: Database, world: World) -> None:
    settings = replace(world.settings, statement_timeout_ms=200)
    async with serving(settings) as client, locked(database, "collective"):
        answer = await post(client, {"query": "{ collectives { nodes { id } } }"})
        assert the_code(answer) == "TIMEOUT"


@pytest.mark.parametrize(("table", "query"), [("order", LOADED), ("collective", WRITES)])
async def test_an_operation_is_cancelled_when_the_client_disconnects(
    database: Database, world: World, table: str, query: str
) -> None:
    scene = await DonationScene.create(world)
    expect_order(await scene.donate("1.00"))
    before = await stored(world)
    async with listening(replace(world.settings, pool_size=2, outbox_interval_ms=NEVER_MS)) as (app, port):
        await until(lambda: idle(database))
        header = f"Authorization: Bearer {world.admin.token}"
        async with locked(database, table):
            for _ in range(4):  # more than the pool has
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(request_of(orjson.dumps({"query": query}), header))
                await writer.drain()

                async def runs() -> bool:
                    return not await idle(database)

                async def is_free() -> bool:
                    return await idle(database) and app.state.engine.pool.checkedout() == 0

                await until(runs)
                writer.close()
                await until(is_free)
                assert await reader.read() == b""
        assert await stored(world) == before
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answers = await asyncio.gather(*(post(client, {"query": LOADED}) for _ in range(6)))
        assert all("errors" not in a.json() for a in answers)


async def test_a_started_commit_completes_after_the_client_disconnects(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, commit = asyncio.Event(), AsyncSession.commit

    async def slowly(session: AsyncSession) -> None:
        begun.set()
        await asyncio.sleep(0.2)
        await commit(session)

    async with listening(world.settings) as (app, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        monkeypatch.setattr(AsyncSession, "commit", slowly)
        writer.write(
            request_of(orjson.dumps({"query": WRITES}), f"Authorization: Bearer {world.admin.token}")
        )
        await writer.drain()
        await begun.wait()
        writer.close()

        async def is_free() -> bool:
            return bool(app.state.engine.pool.checkedout() == 0)

        await until(is_free)
    assert await world.scalar("SELECT count(*) FROM collective WHERE slug = 'brand-new'") == 1


async def test_slow_and_missing_bodies_time_out(world: World) -> None:
    body = orjson.dumps({"query": "{ me { id } }"})
    async with listening(replace(world.settings, body_timeout_ms=300)) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for i in range(len(request_of(body))):
            writer.write(request_of(body)[i : i + 1])
            await asyncio.sleep(0)
        assert b" 200 " in await answer_of(reader)
        writer.close()
        # One that stops is told so, and its connection is not kept.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_of(body[:10], length=len(body)))
        assert b" 408 " in await answer_of(reader)
        writer.close()
        # One that is cut off gets nothing, and harms nobody.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_of(body[:10], length=len(body)))
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_of(body))
        assert b" 200 " in await answer_of(reader)
        writer.close()


async def test_headers_that_are_not_text(world: World) -> None:
    body = orjson.dumps({"query": "{ me { id } }"})
    async with listening(world.settings) as (_, port):
        for header, status in (
            ("Authorization: Bearer \xff\xfe", b" 401 "),
            ("Accept: \xff\xfe", b" 406 "),
            ("X-Request-Id: \xff\xfe", b" 200 "),
            ("Accept-Encoding: \xff", b" 200 "),
            ("User-Agent: \xc3\x28", b" 200 "),
            ("If-None-Match: \xff", b" 200 "),
            ("Accept: text/csv", b" 406 "),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request_of(body, header))
            assert status in await answer_of(reader), header
            writer.close()
