"""A restore to a time by pgBackRest: exactly what was acknowledged until then, and damage is told."""

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.core import public_ids
from services.core.settings import Settings
from services.database import engine as database_engine
from services.operation import verification
from tests.crashes.pgbackrest import PgBackRest, provide_pgbackrest
from tests.crashes.standbys import LONGEST_WAIT, Group, Node, run_group, wait_until_promoted
from tests.crashes.test_failover import create_scene
from tests.debian_server import BINARIES
from tests.donation_world import DonationScene, expect_order
from tests.factories import World
from tests.free_ports import free_port

STORED = """SELECT (SELECT array_agg(o.id::text ORDER BY o.id) FROM "order" o WHERE type = 'DONATION'),
    (SELECT md5(string_agg(p::text, '|' ORDER BY p.book_id, p.account_id, p.seq)) FROM posting p)"""


async def test_a_restore_by_pgbackrest_has_what_was_before_a_time_and_damage_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        provide_pgbackrest(monkeypatch) as backups,
        run_group(
            standbys=0, programs=(BINARIES, backups.user), configuration=backups.server_configuration
        ) as group,
    ):
        backups.adapt(group.primary)
        scene = await create_scene(group)
        moment, expected = await asyncio.to_thread(make_history, backups, group, scene)
        await asyncio.to_thread(group.primary.kill)
        restored = await asyncio.to_thread(restore, backups, group.primary, moment)
        try:
            assert restored.execute(STORED) == expected
            settings = replace(group.settings_of(restored), data_dir=tmp_path)
            assert (await asyncio.to_thread(verification.verify_stored, settings, full=True)).is_clean
            await donate(settings, scene, 1)
        finally:
            with suppress(psutil.NoSuchProcess):
                restored.kill()
        await asyncio.to_thread(expect_damage_to_be_told, backups, group.primary, moment)


def make_history(backups: PgBackRest, group: Group, scene: DonationScene) -> tuple[str, list[Any]]:
    """Make a backup, and donations around it and a moment; return that, and what was stored then."""
    acknowledged = asyncio.run(donate(group.settings, scene, 2))
    backups.run("stanza-create")
    backups.run("check")
    backups.run("--type=full", "backup")
    wait_until_older(backups)
    acknowledged += asyncio.run(donate(group.settings, scene, 3))
    expected = group.primary.execute(STORED)
    assert expected[0][0] == sorted(acknowledged)
    ((moment,),) = group.primary.execute("SELECT clock_timestamp()::text")
    asyncio.run(donate(group.settings, scene, 4))
    backups.run("check")  # begins a new part of the log, and waits until the one before is archived
    return moment, expected


def wait_until_older(backups: PgBackRest) -> None:
    """Wait until the backup has ended in an earlier second: it knows no parts of one."""
    (stanza,) = json.loads(backups.run("--output=json", "--log-level-console=off", "info"))
    ends_at = time.monotonic() + LONGEST_WAIT
    while int(time.time()) <= stanza["backup"][-1]["timestamp"]["stop"]:
        assert time.monotonic() < ends_at, "the clock stands still"
        time.sleep(0.1)


async def donate(settings: Settings, scene: DonationScene, count: int) -> list[str]:
    """Make some donations, each of them acknowledged; return their ids."""
    engine = database_engine.create_pool(settings)
    try:
        world = World(settings, database_engine.session_factory(engine))
        scene = replace(scene, world=world)
        orders = [expect_order(await scene.donate("1.00")) for _ in range(count)]
        return [str(public_ids.decode("Order", order, field="id")) for order in orders]
    finally:
        await engine.dispose()


def restore(backups: PgBackRest, node: Node, moment: str) -> Node:
    """Restore a server as it was at a moment, beside the one that was lost."""
    restored = replace(node, name="restored", folder=node.folder.with_name("restored"), port=free_port())
    backups.run(*restoring(restored.folder, moment))
    restored.start()
    wait_until_promoted(restored)
    return restored


def restoring(folder: Path, moment: str) -> list[str]:
    """Return the guide's command; the tests' server shall not archive, too."""
    place = [f"--pg1-path={folder}", "--archive-mode=off"]
    return ["--type=time", f"--target={moment}", "--target-action=promote", *place, "restore"]


def expect_damage_to_be_told(backups: PgBackRest, node: Node, moment: str) -> None:
    """Change a byte of a stored file: the check of the repository and a restore tell it."""
    assert "status: ok" in backups.run("--output=text", "--verbose", "verify")
    stored = [path for path in backups.repository.glob("backup/*/*/pg_data/**/*") if path.is_file()]
    path = max(stored, key=lambda each: each.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    _, said = backups.try_to("--output=text", "verify")
    assert ("status: error" in said, path.name in said) == (True, True), said
    code, said = backups.try_to(*restoring(node.folder.with_name("again"), moment))
    assert (code != 0, "ERROR" in said) == (True, True), said
