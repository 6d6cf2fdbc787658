"""Of several hosts, one that keeps mutations waiting, or leaves a commit unconfirmed, is asked last."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.core.settings import Settings
from services.database import engine as database_engine
from services.database import leadership, write_connections
from services.database.write_connections import HeldConnection, LendingPool
from tests.conftest import Database
from tests.factories import World

CREATE = (
    'mutation { createCollective(input: {type: COMMUNITY, name: "a", slug: "brand-new", currency: "USD"}) '
    "{ errors { code } } }"
)


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Iterator[Settings]:
    """Return settings that name the server twice, as two hosts."""
    parts = conninfo_to_dict(database.settings.database_url)
    other = tmp_path / "other"
    other.symlink_to(str(parts["host"]))
    url = f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']},{other}"
    yield replace(database.settings, database_url=url, pool_size=4)
    leadership._failed_at.clear()
    leadership._doubted_at.clear()


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = database_engine.create_pool(settings)
    yield engine
    await engine.dispose()


async def acquire(engine: AsyncEngine) -> tuple[AsyncSession, HeldConnection]:
    """Return a mutation's session and its connection."""
    session = database_engine.session_factory(engine)()
    return session, await write_connections.acquire(session)


def host_of(held: HeldConnection) -> str:
    """Return the host that a connection leads to."""
    assert held.origin is not None
    assert held.origin.place is not None
    return held.origin.place[0]


async def test_who_waited_too_long_is_followed_by_another_host(engine: AsyncEngine) -> None:
    hosts = []
    for _ in range(6):
        session, held = await acquire(engine)
        hosts.append(host_of(held))
        held.ask_others_first()
        await write_connections.release(session, held)
        assert held.driver.closed
    assert hosts[:2] * 3 == hosts
    assert hosts[0] != hosts[1]


async def test_a_doubt_replaces_every_connection_to_the_host(engine: AsyncEngine) -> None:
    pairs = [await acquire(engine) for _ in range(4)]
    held = [each for _, each in pairs]
    doubted = held[0].origin
    for session, each in pairs:
        await write_connections.release(session, each)
    leadership.doubt(doubted)
    replaced = [await acquire(engine) for _ in range(4)]
    assert doubted is not None
    assert doubted.place is not None
    assert doubted.place[0] not in {host_of(each) for _, each in replaced}
    for before in held:
        assert before.driver.closed is (before.origin is not None and before.origin.place == doubted.place)
    for session, each in replaced:
        await write_connections.release(session, each)


async def test_a_single_host_is_never_doubted(database: Database) -> None:
    engine = database_engine.create_pool(database.settings)
    session, held = await acquire(engine)
    held.ask_others_first()
    leadership.doubt(held.origin)
    await write_connections.release(session, held)
    session, again = await acquire(engine)
    assert again is held
    await write_connections.release(session, held)
    await engine.dispose()


@pytest.mark.parametrize("limit", ["execution_timeout_ms", "statement_timeout_ms", "lock_timeout_ms"])
async def test_a_mutation_that_timed_out_leaves_its_connection(
    settings: Settings, database: Database, limit: str
) -> None:
    changed: dict[str, Any] = {limit: 300}
    settings = replace(settings, **changed)
    engine = database_engine.create_pool(settings)
    world = await World.create(settings, database_engine.session_factory(engine))
    giver = await world.person("giver")
    with psycopg.connect(database.owner_url) as owner:
        owner.execute("LOCK TABLE collective IN ACCESS EXCLUSIVE MODE")
        answer = await world.execute(CREATE, by=giver.token)
    assert "errors" in answer
    assert cast("LendingPool", engine.pool).kept == []
    assert (await world.execute(CREATE, by=giver.token))["data"]["createCollective"] == {"errors": []}
    await engine.dispose()
