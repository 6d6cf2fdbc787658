"""How an attempt against a guard is made, in three ways that no guard may depend on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg

import models
from tests.ledger_sql import expect_refusal
from tests.models.guard_world import GuardWorld, fill

Attempt = Callable[[GuardWorld], object]
MODES = ("plain", "replica", "shadowed")
"""How a refusal is tested: plainly, in a replication session, and with temporary tables in front of ours."""

_IDS: dict[str, dict[str, UUID]] = {}
"""The ids of the world in each database, by URL."""
_CONNECTIONS: dict[tuple[str, bool], psycopg.Connection[Any]] = {}
"""Open connections by URL, and whether temporary tables hide ours: making those takes most of a second."""


def _connect(url: str, *, shadowed: bool) -> psycopg.Connection[Any]:
    key = (url, shadowed)
    if key not in _CONNECTIONS:
        _CONNECTIONS[key] = connection = psycopg.connect(url)
        if shadowed:
            for table in models.metadata.tables:
                connection.execute(f'CREATE TEMP TABLE "{table}" (LIKE public."{table}")'.encode())
            connection.commit()
    return _CONNECTIONS[key]


def close_connections() -> None:
    """Close the connections that tests shared."""
    while _CONNECTIONS:
        _CONNECTIONS.popitem()[1].close()


@contextmanager
def guard_world(url: str, *, shadowed: bool = False) -> Iterator[GuardWorld]:
    """Yield the world in a transaction that is rolled back; the first call writes it to the database."""
    if url not in _IDS:
        world = GuardWorld(_connect(url, shadowed=False))
        fill(world)
        world.connection.commit()
        _IDS[url] = world.ids
    connection = _connect(url, shadowed=shadowed)
    try:
        yield GuardWorld(connection, dict(_IDS[url]))
    finally:
        connection.rollback()


def assert_refused(url: str, mode: str, by: str, attempt: Attempt, *, given: Attempt | None = None) -> None:
    """Assert that a constraint refuses an attempt, at the statement or at the end of the transaction."""
    with guard_world(url, shadowed=mode == "shadowed") as world:
        if given:
            given(world)
        world.run("SET CONSTRAINTS ALL IMMEDIATE")
        world.run("SET CONSTRAINTS ALL DEFERRED")
        if mode == "replica":
            world.run("SET LOCAL session_replication_role = replica")
        with expect_refusal(by):
            attempt(world)
            world.run("SET CONSTRAINTS ALL IMMEDIATE")


def assert_accepted(url: str, attempt: Attempt) -> None:
    """Assert that no guard refuses an attempt."""
    with guard_world(url) as world:
        attempt(world)
        world.run("SET CONSTRAINTS ALL IMMEDIATE")
