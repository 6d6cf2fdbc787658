"""Loading the demo world: one process at a time, and never half of it in silence."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from schema.cli import commands
from schema.cli.progress import Steps
from schema.demo import world
from schema.demo.world import LoadState
from services.core.errors import ConfigurationError
from services.core.settings import Settings
from services.database import engine as database_engine

_LOCK = 7274
"""Key of the advisory lock that lets one process prepare the database, which may replace it."""
_INTERRUPTED = (
    "Loading the demo world was interrupted, and half of it is in the database. "
    "Run `commonweal serve --demo` to load it anew"
)


def load(settings: Settings) -> int:
    """Load the demo world into an empty database."""
    with database_engine.provide_database(settings) as located, alone(settings, located):
        asyncio.run(commands.prepare_database(located, defers_old_rates=True))
        _remove_half_a_world(settings, located)
        asyncio.run(_load(located, Steps(1)))
    print("The demo world is loaded; every password is `oc`")
    return 0


def load_if_empty(settings: Settings, located: Settings, steps: Steps) -> None:
    """Load the demo world unless the database has data; half a world is made anew.

    Callers are `alone`.

    Raises:
        ConfigurationError: half a world is in a database that is not the embedded one.
    """
    _remove_half_a_world(settings, located)
    if asyncio.run(_find_state(located)) is LoadState.NOT_BEGUN:
        asyncio.run(_load(located, steps))


def require_whole(located: Settings) -> None:
    """Require that the database has no half of a demo world; callers are `alone`.

    Raises:
        ConfigurationError: it has.
    """
    if asyncio.run(_find_state(located)) is LoadState.INTERRUPTED:
        raise ConfigurationError(f"{_INTERRUPTED}, or use an empty database.")


def _remove_half_a_world(settings: Settings, located: Settings) -> None:
    """Replace the embedded database if it has half a world, which is all that it has: no server starts on it.

    Raises:
        ConfigurationError: the database is not the embedded one, and not ours to drop.
    """
    if asyncio.run(_find_state(located)) is not LoadState.INTERRUPTED:
        return
    if settings.database_url:
        raise ConfigurationError(f"{_INTERRUPTED}, after you have dropped and created the database again.")
    print("Loading the demo world was interrupted; it begins anew", file=sys.stderr)
    database_engine.recreate_embedded_database(located)
    asyncio.run(commands.prepare_database(located, defers_old_rates=True))


async def _load(located: Settings, steps: Steps) -> None:
    async with commands.open_sessions(located) as sessions:
        with steps.step("Loading the demo world", ticks=world.OPERATIONS) as tick:
            await world.load(sessions, located, on_operation=tick)


async def _find_state(located: Settings) -> LoadState:
    async with commands.open_sessions(located) as sessions:
        return await world.find_state(sessions)


@contextmanager
def alone(settings: Settings, located: Settings) -> Iterator[None]:
    """Wait until no other process prepares the database, and keep others waiting until the block ends."""
    # Not in the database itself, if that is the embedded one: it may be dropped meanwhile.
    url = located.owner_database_url
    if not settings.database_url:
        url = database_engine.maintenance_url(located)
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK]).fetchone()
        if row is not None and not row[0]:
            print("Another process is preparing the database; waiting for it", file=sys.stderr, flush=True)
            connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        yield
