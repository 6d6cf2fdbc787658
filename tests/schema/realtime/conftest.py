"""One world and one server for all tests of a file, since live events need no empty database."""

from collections.abc import AsyncIterator

import pytest

from tests.donation_world import DonationScene
from tests.factories import World
from tests.subscription_client import ApiServer, serve_in_process


@pytest.fixture(scope="module")
def world(shared: World) -> World:
    """Return the world that the tests of a file share."""
    return shared


@pytest.fixture(scope="module")
async def scene(world: World) -> DonationScene:
    """Return people and collectives in that world."""
    return await DonationScene.create(world)


@pytest.fixture(scope="module")
async def api(world: World) -> AsyncIterator[ApiServer]:
    """Return a server of that world."""
    async with serve_in_process(world.settings) as api:
        yield api
