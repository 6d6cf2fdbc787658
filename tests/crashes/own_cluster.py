"""A PostgreSQL of a test's own, which it may kill and start again, and a world on it."""

import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from services.core.settings import Settings
from services.database import embedded_postgres, migrations
from services.database import engine as database_engine
from tests.donation_world import DonationScene
from tests.factories import World
from tests.test_live_processes import no_rates_to_load

DATABASE = "crashes"
_END_SECONDS = 30
_START_SECONDS = 90


@dataclass(frozen=True)
class OwnCluster:
    """A running server with a migrated database."""

    folder: Path
    url: str
    """The owner's URL."""

    @property
    def settings(self) -> Settings:
        """Settings of an application on the database."""
        app = make_url(self.url).set(username=database_engine.APP_ROLE).render_as_string(hide_password=False)
        return replace(Settings(), database_url=app, owner_database_url=self.url, pool_size=8)

    def kill(self) -> None:
        """End the postmaster, which this test started, as a crash would; wait for its backends to end."""
        with psycopg.connect(self.url) as connection:
            pids = [pid for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity")]
        pids.append(self._postmaster_pid())
        os.kill(pids[-1], signal.SIGKILL)
        ends = time.monotonic() + _END_SECONDS
        while not all(_has_ended(pid) for pid in pids):
            assert time.monotonic() < ends, "backends have outlived their postmaster"
            time.sleep(0.05)

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Stop every process of the server, as a lost host looks; they go on after the block."""
        with psycopg.connect(self.url) as connection:
            pids = [pid for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity")]
            pids.remove(connection.info.backend_pid)
        pids.insert(0, self._postmaster_pid())
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def wait_until_up(self) -> None:
        """Wait until the watch has started it once more, from what is on the disk."""
        ends = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                assert time.monotonic() < ends, "the server has not come back"
                time.sleep(0.1)
            else:
                return

    def _postmaster_pid(self) -> int:
        return int((self.folder / "postgresql" / "postmaster.pid").read_text().split()[0])

    def scalar(self, sql: str) -> Any:
        """Run a statement as the owner; return its first value."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute(sql.encode()).fetchone()
        return row[0] if row else None


def _has_ended(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


@contextmanager
def start_cluster(folder: Path, *, tablespace: Path | None = None) -> Iterator[OwnCluster]:
    """Start a server under `folder`; its database is in a tablespace, if one is given."""
    with embedded_postgres.run_embedded_postgres(folder) as socket_dir:
        server_url = f"postgresql://postgres@/postgres?host={socket_dir}"
        with psycopg.connect(server_url, autocommit=True) as connection:
            place = ""
            if tablespace is not None:
                owner = (folder / "postgresql").stat()
                os.chown(tablespace, owner.st_uid, owner.st_gid)
                connection.execute(f"CREATE TABLESPACE small LOCATION '{tablespace}'".encode())
                place = " TABLESPACE small"
            connection.execute(f"CREATE DATABASE {DATABASE}{place}".encode())
        url = make_url(server_url).set(database=DATABASE).render_as_string(hide_password=False)
        migrations.upgrade(url)
        yield OwnCluster(folder, url)


@asynccontextmanager
async def scene_on(cluster: OwnCluster) -> AsyncIterator[DonationScene]:
    """Create a scene in which webpack has 1,000.00; its connections end with the block."""
    engine = database_engine.create_pool(cluster.settings)
    try:
        world = await World.create(cluster.settings, database_engine.session_factory(engine))
        scene = await DonationScene.create(world, funds="1000.00")
        await no_rates_to_load(world)
        yield scene
    finally:
        await engine.dispose()


async def assert_clean(settings: Settings) -> None:
    """Audit the ledger through new connections, as those from before may be dead."""
    engine = database_engine.create_pool(settings)
    try:
        world = World(settings, database_engine.session_factory(engine))
        await world.assert_clean_ledger()
    finally:
        await engine.dispose()
