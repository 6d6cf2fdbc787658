"""A copy by logical replication: it takes what the guards judged already, and guards itself once finished."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from services.core.errors import ConfigurationError
from services.core.settings import Settings
from services.database import catalogue, migrations
from services.database import engine as database_engine
from services.operation import copying
from tests.crashes.own_cluster import assert_clean
from tests.crashes.standbys import Group, run_group
from tests.crashes.test_failover import create_scene
from tests.donation_world import DonationScene, expect_order
from tests.factories import World
from tests.tier_world import create_tier, order

LONGEST_WAIT = 90
COPY = "copied"


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    """Return a server without standbys, with an empty migrated database beside the original."""
    with run_group(standbys=0) as group:
        group.primary.execute(f"CREATE DATABASE {COPY}")
        migrations.upgrade(copy_settings(group).owner_database_url)
        yield group


def copy_settings(group: Group) -> Settings:
    """Return the settings of the copy."""
    node = group.primary
    app, owner = node.url(role="commonweal_app", database=COPY), node.url(database=COPY)
    return replace(group.settings, database_url=app, owner_database_url=owner)


async def work(scene: DonationScene, *, number: int) -> None:
    """Do something that each important guard judges: gifts, tiers, refunds, expenses with holds."""
    engine = database_engine.create_pool(scene.world.settings)
    world = World(scene.world.settings, database_engine.session_factory(engine))
    scene = replace(scene, world=world)
    try:
        gift = expect_order(await scene.donate("10.00"))
        assert (await scene.refund(gift, "4.00"))["errors"] == []
        tier = await create_tier(scene, name=f"Tier {number}")
        assert (await order(scene, tier))["errors"] == []
        expense = await scene.expense("3.00")
        assert (await scene.approve(expense))["errors"] == []
        assert (await scene.pay(await scene.expense("2.00")))["errors"] != []
    finally:
        await engine.dispose()


def fingerprint(url: str) -> dict[str, tuple[int, str | None]]:
    """Return number and hash of the rows of each table that is copied."""
    with psycopg.connect(url) as connection:
        found = {}
        for table in copying._tables(connection):
            query = f'SELECT count(*), md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM "{table}" t'
            row = connection.execute(query.encode()).fetchone()
            assert row is not None
            found[table] = row
    return found


def wait_until_equal(group: Group) -> None:
    """Wait until the copy has every row of the original."""
    ends_at = time.monotonic() + LONGEST_WAIT
    copy = copy_settings(group).owner_database_url
    while (original := fingerprint(group.primary.url())) != (copied := fingerprint(copy)):
        differing = {table for table in original if original[table] != copied[table]}
        assert time.monotonic() < ends_at, differing
        time.sleep(0.2)


def test_each_table_that_is_copied_has_a_key(group: Group) -> None:
    keyless = """SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
        AND c.relkind = 'r'
        AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)"""
    assert {name for (name,) in group.primary.execute(keyless)} <= set(copying.LEFT_OUT)


async def test_a_copy_receives_everything_and_guards_itself_at_the_end(group: Group) -> None:
    scene = await create_scene(group)
    await work(scene, number=1)
    settings = copy_settings(group)
    published = await asyncio.to_thread(copying.publish, group.settings)
    assert await asyncio.to_thread(copying.publish, group.settings) == published
    rights = "SELECT count(*) FROM information_schema.role_table_grants WHERE grantee = 'commonweal_replica'"
    assert group.primary.execute(f"{rights} AND privilege_type <> 'SELECT'") == [(0,)]
    await asyncio.to_thread(copying.prepare, settings)
    with pytest.raises(ConfigurationError, match="fires except on replicas"):
        catalogue.require_current(settings.database_url)

    await asyncio.to_thread(subscribe, group)
    await work(scene, number=2)
    await asyncio.to_thread(wait_until_equal, group)
    with pytest.raises(ConfigurationError, match="still receives changes"):
        copying.finish(settings)
    await asyncio.to_thread(unsubscribe, settings)

    result = await asyncio.to_thread(copying.finish, settings)
    assert result.is_clean, result
    copied = replace(scene, world=World(settings, scene.world.sessions))
    copied.world.platform = scene.world.platform
    await work(copied, number=3)
    await assert_clean(settings)
    with pytest.raises(ConfigurationError, match="this one was used"):
        copying.prepare(settings)


def subscribe(group: Group) -> None:
    """Subscribe the copy; both are on one server, where the slot must be there before."""
    group.primary.execute("SELECT pg_create_logical_replication_slot('copy', 'pgoutput')")
    source = f"host=127.0.0.1 port={group.primary.port} dbname=failover user=commonweal_replica"
    with psycopg.connect(copy_settings(group).owner_database_url, autocommit=True) as connection:
        connection.execute(
            f"CREATE SUBSCRIPTION commonweal CONNECTION '{source}' PUBLICATION commonweal_replica"
            " WITH (create_slot = false, slot_name = 'copy')".encode()
        )


def unsubscribe(settings: Settings) -> None:
    """End the subscription."""
    with psycopg.connect(settings.owner_database_url, autocommit=True) as connection:
        connection.execute("DROP SUBSCRIPTION commonweal")
