"""A full disk: changes answer UNAVAILABLE and leave nothing behind; with space the service goes on."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.crashes.own_cluster import assert_clean, scene_on, start_cluster
from tests.donation_world import DonationScene
from tests.factories import money, ref
from tests.history.calls import ApiClient, Call
from tests.subscription_client import run_process

SIZE = "64m"
MOST_CALLS = 600
"""Calls after which the last free pages of the tables are used."""
ADDED = "SELECT count(*) FROM \"order\" WHERE description = 'disk'"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Mount a small file system in memory; skip where that is not allowed."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or umount is None:
        pytest.skip("NOT TESTED: a full disk. Only root can mount a small file system.")
    with tempfile.TemporaryDirectory(prefix="cwfull") as folder:
        mounted = subprocess.run(
            [mount, "-t", "tmpfs", "-o", f"size={SIZE}", "none", folder], capture_output=True, check=False
        )
        if mounted.returncode != 0:
            pytest.skip(f"NOT TESTED: a full disk. The mount was refused: {mounted.stderr.decode()}")
        try:
            Path(folder).chmod(0o755)  # PostgreSQL runs as another user
            (Path(folder) / "tablespace").mkdir()
            yield Path(folder)
        finally:
            subprocess.run([umount, "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Use up the space that is left; return the file that does."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as out:
        try:
            while out.write(bytes(4096)):
                pass
        except OSError:
            pass
    return ballast


def added(scene: DonationScene, number: int) -> Call:
    """Return a call that adds 1.00, under its own key."""
    return Call(
        "addFunds",
        scene.holder.token,
        {
            "to": ref(scene.babel),
            "amount": money("1.00"),
            "description": "disk",
            "idempotencyKey": f"d{number}",
        },
    )


async def test_a_full_disk_refuses_changes_and_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="cwdisk", ignore_cleanup_errors=True) as folder,
        start_cluster(Path(folder), tablespace=small_disk / "tablespace") as cluster,
    ):
        async with (
            scene_on(cluster) as scene,
            run_process(cluster.settings, tmp_path / "log") as process,
            httpx.AsyncClient(base_url=f"http://{process.address}", timeout=60, trust_env=False) as http,
        ):
            api = ApiClient(http)
            ballast = fill(small_disk)
            calls = [added(scene, number) for number in range(MOST_CALLS)]
            sent, stored = await _send_until_full(api, calls)
            assert cluster.scalar(ADDED) == stored
            assert await scene.world.balance(scene.babel) == (stored * 100, 0)

            ballast.unlink()
            for call in sent:
                assert await api.settle(call) is not None, call
            assert cluster.scalar(ADDED) == len(sent)
            assert await scene.world.balance(scene.babel) == (len(sent) * 100, 0)
        await assert_clean(cluster.settings)


async def _send_until_full(api: ApiClient, calls: list[Call]) -> tuple[list[Call], int]:
    """Send calls until five were refused; return those sent, and how many were acknowledged."""
    refused = stored = 0
    for number, call in enumerate(calls, start=1):
        payload, code = await api.send(call)
        stored += payload is not None
        refused += payload is None
        assert code in {"", "UNAVAILABLE"}, code
        if refused == 5:
            return calls[:number], stored
    pytest.fail("the disk was never full")
