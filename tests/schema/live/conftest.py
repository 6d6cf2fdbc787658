"""One world and one server for all tests of a file: what is told live hangs on no empty database."""

from collections.abc import AsyncIterator

import pytest

from services import database as databases
from tests.conftest import MakeDatabase
from tests.following import Place, serving
from tests.make import World
from tests.scene import Scene


@pytest.fixture(scope="module")
async def world(make_database: MakeDatabase) -> AsyncIterator[World]:
    """Return a platform and its admin."""
    settings = make_database().settings
    engine = databases.connect(settings)
    yield await World.create(settings, databases.sessions(engine))
    await engine.dispose()


@pytest.fixture(scope="module")
async def scene(world: World) -> Scene:
    """Return people and collectives in that world."""
    return await Scene.create(world)


@pytest.fixture(scope="module")
async def place(world: World) -> AsyncIterator[Place]:
    """Return a server of that world."""
    async with serving(world.settings) as place:
        yield place
