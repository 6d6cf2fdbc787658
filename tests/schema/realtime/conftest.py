"""One world and one server for all tests of a file: what is told live hangs on no empty database."""

from collections.abc import AsyncIterator

import pytest

from tests.donation_world import Scene
from tests.factories import World
from tests.subscription_client import Place, serving


@pytest.fixture(scope="module")
def world(shared: World) -> World:
    """Return the world that the tests of a file share."""
    return shared


@pytest.fixture(scope="module")
async def scene(world: World) -> Scene:
    """Return people and collectives in that world."""
    return await Scene.create(world)


@pytest.fixture(scope="module")
async def place(world: World) -> AsyncIterator[Place]:
    """Return a server of that world."""
    async with serving(world.settings) as place:
        yield place
