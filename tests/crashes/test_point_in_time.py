"""A restore to a point in time, from a base backup and archived logs: what was before, and nothing after."""

import asyncio
import os
import pwd
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from services.core.errors import InvalidState
from services.database import engine as database_engine
from services.live.broadcaster import Broadcaster
from services.live.event_log import ORDER, Topic
from services.operation import verification
from tests.crashes.standbys import LONGEST_WAIT, Node, restore_until, run_group
from tests.crashes.test_failover import create_scene
from tests.donation_world import DonationScene, expect_order
from tests.factories import World
from tests.live_events import current_position

BEFORE, AFTER = 3, 4
DONATIONS = "SELECT count(*) FROM \"order\" WHERE type = 'DONATION'"


def back_up(node: Node) -> Path:
    """Make a base backup beside the server."""
    folder = node.folder.with_name("backup")
    folder.mkdir(mode=0o700)
    if node.user:
        os.chown(folder, pwd.getpwnam(node.user).pw_uid, -1)
    source = f"host=127.0.0.1 port={node.port} user=postgres"
    node.run("pg_basebackup", "-D", folder, "-d", source, "-X", "stream", "-c", "fast", "--no-sync")
    return folder


def finish_archive(node: Node) -> None:
    """Begin a new part of the log, and wait until the one before is archived."""
    ((name,),) = node.execute("SELECT pg_walfile_name(pg_switch_wal())")
    ends_at = time.monotonic() + LONGEST_WAIT
    while not (node.archive / name).exists():
        assert time.monotonic() < ends_at, "the log is not archived"
        time.sleep(0.1)


async def test_a_restore_to_a_time_has_what_was_before_it_and_nothing_after(tmp_path: Path) -> None:
    with run_group(standbys=0, archives=True) as group:
        scene = await create_scene(group)
        backup = await asyncio.to_thread(back_up, group.primary)
        engine = database_engine.create_pool(group.settings)
        world = World(group.settings, database_engine.session_factory(engine))
        scene = replace(scene, world=world)
        await donate(scene, BEFORE)
        ((moment,),) = group.primary.execute("SELECT clock_timestamp()::text")
        await donate(scene, AFTER)
        position = await current_position(world.sessions)
        await engine.dispose()
        assert group.primary.execute(DONATIONS) == [(BEFORE + AFTER,)]
        await asyncio.to_thread(finish_archive, group.primary)
        await asyncio.to_thread(group.primary.kill)

        restored = await asyncio.to_thread(restore_until, group.primary, backup, time_text=moment)
        try:
            assert restored.execute(DONATIONS) == [(BEFORE,)]
            settings = replace(group.settings_of(restored), data_dir=tmp_path)
            assert (await asyncio.to_thread(verification.verify_stored, settings, full=True)).is_clean
            engine = database_engine.create_pool(settings)
            world = World(settings, database_engine.session_factory(engine))
            # Enough that the lost numbers of transactions have come up again.
            await donate(replace(scene, world=world), 2 * AFTER)
            broadcaster = Broadcaster(world.sessions, pause_ms=20)
            with pytest.raises(InvalidState, match="a restore"):
                await broadcaster.subscribe(Topic(ORDER, scene.babel.id), after=position, token=None)
            await engine.dispose()
        finally:
            with suppress(psutil.NoSuchProcess):
                restored.kill()


async def donate(scene: DonationScene, count: int) -> None:
    """Make some donations, each of them acknowledged."""
    for _ in range(count):
        expect_order(await scene.donate("1.00"))
