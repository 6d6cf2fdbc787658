"""The first start with the demo world: interrupted, twice at once, and beside another database."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from models import DemoLoad
from schema.__main__ import main
from schema.demo import world
from schema.demo.world import LoadState
from services.core.errors import Conflict
from tests.conftest import MakeDatabase
from tests.factories import World

SECONDS = 400
REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cwdemo", ignore_cleanup_errors=True) as name:
        yield Path(name)


PROGRAM = """import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("schema", {}, "__main__", alter_sys=True)"""
"""`python -m schema`, which Ctrl-C ends also where the tests run in the background of a shell."""


def start_demo(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "demo"],
        cwd=REPOSITORY,
        env={**os.environ, "COMMONWEAL_DATA_DIR": str(folder), "COMMONWEAL_LOG_LEVEL": "WARNING"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def has_begun(folder: Path) -> bool:
    try:
        lines = (folder / "postgresql" / "postmaster.pid").read_text().splitlines()
        with psycopg.connect(f"postgresql://postgres@/commonweal?host={lines[4]}") as connection:
            return connection.execute("SELECT 1 FROM demo_load").fetchone() is not None
    except (FileNotFoundError, IndexError, psycopg.Error):
        return False


def test_an_interrupted_load_begins_anew_and_another_start_waits_for_it(folder: Path) -> None:
    interrupted = start_demo(folder)
    ends = time.monotonic() + SECONDS
    while not has_begun(folder):
        assert interrupted.poll() is None, interrupted.communicate()
        assert time.monotonic() < ends
        time.sleep(0.1)
    interrupted.send_signal(signal.SIGINT)
    interrupted.communicate(timeout=SECONDS)
    assert interrupted.returncode == 130
    both = [start_demo(folder), start_demo(folder)]
    answers = [process.communicate(timeout=SECONDS) for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes == [0, 1], answers
    told = "".join(err for _, err in answers)
    assert "was interrupted; it begins anew" in told
    assert "The database has data" in told


async def test_half_a_world_is_told_and_not_loaded_over(world_of_test: World) -> None:
    await world_of_test.add(DemoLoad())
    assert await world.find_state(world_of_test.sessions) is LoadState.INTERRUPTED
    with pytest.raises(Conflict):
        await world.load(world_of_test.sessions, world_of_test.settings)


@pytest.fixture
def world_of_test(world: World) -> World:
    return world


@pytest.mark.parametrize("command", [["demo"], ["serve", "--demo"], ["serve"]])
def test_no_command_drops_a_database_that_is_not_the_embedded_one(
    make_database: MakeDatabase,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    database = make_database()
    monkeypatch.setenv("COMMONWEAL_DATABASE_URL", database.app_url)
    monkeypatch.setenv("COMMONWEAL_OWNER_DATABASE_URL", database.owner_url)
    monkeypatch.setenv("COMMONWEAL_PORT", "0")
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("INSERT INTO demo_load DEFAULT VALUES")
    assert main(command) == 1
    assert "Loading the demo world was interrupted" in capsys.readouterr().err
    with psycopg.connect(database.owner_url) as connection:
        assert connection.execute("SELECT finished_at FROM demo_load").fetchone() == (None,)
