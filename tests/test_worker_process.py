"""The worker as a process: a child of the server, or started apart."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from schema.cli import commands
from tests.conftest import Database, Server, create_database, drop_database

SECONDS = 90
ALIVE = "SELECT id FROM jobs.procrastinate_workers WHERE last_heartbeat > now() - interval '12 seconds'"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are read from /proc")


def until(holds: Callable[[], object]) -> Any:
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        if result := holds():
            return result
        time.sleep(0.02)
    raise AssertionError("it did not come to hold")


@pytest.fixture
async def database(server: Server, template: str) -> Any:
    """Return a database for this test alone, ready for a server."""
    database = create_database(server, template=template)
    await commands.prepare_database(database.settings)
    yield database
    drop_database(server, database.name)


@pytest.fixture
def launch(database: Database, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a starter of commands; what still runs at the end is killed by its own id."""
    processes: list[subprocess.Popen[bytes]] = []

    def launch(command: str, **settings: str) -> subprocess.Popen[bytes]:
        known = {
            "port": "0",
            "data_dir": str(tmp_path),
            "database_url": database.app_url,
            "owner_database_url": database.owner_url,
        }
        kept = {k: v for k, v in os.environ.items() if not k.startswith("COMMONWEAL_")}
        with (tmp_path / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "schema", command],
                stdout=log,
                stderr=log,
                env=kept | {f"COMMONWEAL_{k.upper()}": v for k, v in (known | settings).items()},
            )
        processes.append(process)
        return process

    yield launch
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait(SECONDS)


def children(pid: int) -> list[int]:
    """Return the workers that a process has started."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    pids = [int(each) for each in path.read_text().split()]
    return [each for each in pids if b"schema.cli.worker" in _command(each)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # it may end while it is read
        return b""


def is_gone(pid: int) -> bool:
    return b"schema.cli.worker" not in _command(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_child_is_started_again_and_ends_with_its_server(
    launch: Callable[..., subprocess.Popen[bytes]],
    owner: psycopg.Connection[Any],
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    server = launch("serve")
    (first,) = until(lambda: children(server.pid))
    (seen,) = until(lambda: owner.execute(ALIVE).fetchall())
    os.kill(first, signal.SIGKILL)
    (second,) = until(lambda: [pid for pid in children(server.pid) if pid != first])
    until(lambda: [row for row in owner.execute(ALIVE).fetchall() if row != seen])
    assert "the worker ended with code -9" in (tmp_path / "log").read_text()
    server.send_signal(number)
    assert server.wait(SECONDS) == (0 if number == signal.SIGTERM else -number)
    until(lambda: is_gone(second))


@pytest.mark.parametrize("where", ["inline", "none"])
def test_the_setting_says_who_works(
    launch: Callable[..., subprocess.Popen[bytes]],
    owner: psycopg.Connection[Any],
    tmp_path: Path,
    where: str,
) -> None:
    server = launch("serve", worker=where)
    until(lambda: "GraphiQL and the API at" in (tmp_path / "log").read_text())
    if where == "none":
        assert owner.execute(ALIVE).fetchall() == []
        apart = launch("worker")
        until(lambda: owner.execute(ALIVE).fetchall())
        apart.send_signal(signal.SIGTERM)
        assert apart.wait(SECONDS) == 0
        assert "a worker sends mails and runs jobs" in (tmp_path / "log").read_text()
    until(lambda: where == "none" or owner.execute(ALIVE).fetchall())
    assert children(server.pid) == []
    server.send_signal(signal.SIGTERM)
    assert server.wait(SECONDS) == 0
    assert owner.execute("SELECT count(*) FROM jobs.procrastinate_workers").fetchall() == [(0,)]


def test_a_worker_waits_for_no_migration(
    launch: Callable[..., subprocess.Popen[bytes]], owner: psycopg.Connection[Any], tmp_path: Path
) -> None:
    owner.execute("DROP TABLE jobs.failure")
    assert launch("worker").wait(SECONDS) == 1
    assert "run `commonweal migrate`" in (tmp_path / "log").read_text()
    assert launch("worker", smtp_url="http://x").wait(SECONDS) == 1
    assert "COMMONWEAL_SMTP_URL" in (tmp_path / "log").read_text()
