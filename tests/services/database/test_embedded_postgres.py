"""The embedded PostgreSQL: it outlives no clean stop, comes back after a crash, and starts once for many."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from services.core.errors import ConfigurationError
from services.database.embedded_postgres import run_embedded_postgres

SECONDS = 90
PROCESS = """
import sys
from pathlib import Path
from services.database.embedded_postgres import run_embedded_postgres
with run_embedded_postgres(Path(sys.argv[1])) as socket_dir:
    print(socket_dir, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cwpg", ignore_cleanup_errors=True) as name:
        yield Path(name)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < ends, what
        time.sleep(0.05)


def answers(socket_dir: Path | str) -> bool:
    try:
        psycopg.connect(f"postgresql://postgres@/postgres?host={socket_dir}").close()
    except psycopg.OperationalError:
        return False
    return True


def postmaster(folder: Path) -> int:
    return int((folder / "postgresql" / "postmaster.pid").read_text().split()[0])


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def stop(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0


def test_it_comes_back_after_a_crash(folder: Path) -> None:
    with run_embedded_postgres(folder) as socket_dir:
        first = postmaster(folder)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: not answers(socket_dir) or postmaster(folder) != first, "it has not crashed")
        wait_for(lambda: answers(socket_dir), "it has not come back")
        assert postmaster(folder) != first
    assert not answers(socket_dir)


def test_the_last_process_stops_it_whatever_became_of_the_others(folder: Path) -> None:
    killed, last = start(folder), start(folder)
    assert killed.stdout is not None
    assert last.stdout is not None
    socket_dir = killed.stdout.readline().strip()
    assert last.stdout.readline().strip() == socket_dir
    killed.kill()
    killed.communicate()
    assert answers(socket_dir)
    stop(last)
    assert not answers(socket_dir)


def test_it_outlives_no_clean_stop_after_a_killed_server(folder: Path) -> None:
    killed = start(folder)
    assert killed.stdout is not None
    socket_dir = killed.stdout.readline().strip()
    killed.kill()
    killed.communicate()
    assert answers(socket_dir)
    with run_embedded_postgres(folder):
        assert answers(socket_dir)
    assert not answers(socket_dir)


def test_a_number_that_another_process_has_now_is_no_running_server(folder: Path) -> None:
    with run_embedded_postgres(folder):
        lines = (folder / "postgresql" / "postmaster.pid").read_text().splitlines()
    pid_file = folder / "postgresql" / "postmaster.pid"
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    with run_embedded_postgres(folder) as socket_dir:
        assert answers(socket_dir)
        assert postmaster(folder) != os.getpid()


def test_a_file_in_place_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "file").write_text("")
    with (
        pytest.raises(ConfigurationError, match="must be a folder"),
        run_embedded_postgres(folder / "file"),
    ):
        pass
