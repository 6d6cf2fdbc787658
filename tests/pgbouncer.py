"""A PgBouncer in transaction mode in front of a server of the tests."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.free_ports import free_port

PROGRAM = Path("/usr/sbin/pgbouncer")
START_SECONDS = 20


@contextmanager
def run_pgbouncer(database_url: str, *, pool_size: int = 4) -> Iterator[str]:
    """Run a PgBouncer for a database; yield the URL of that database through it, without a user.

    Skips, and fails in CI, where it is not installed.
    """
    if not PROGRAM.exists():
        assert not os.environ.get("CI"), "PgBouncer is not installed"
        pytest.skip("SKIPPED LOUDLY: PgBouncer is not installed")
    target = conninfo_to_dict(database_url)
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="cwpgb"))
    folder.chmod(0o755)
    (folder / "users").write_text('"postgres" ""\n"commonweal_app" ""\n"web" ""\n')
    (folder / "ini").write_text(
        f"""[databases]
pooled = host={target["host"]} port={target.get("port") or 5432} dbname={target["dbname"]}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {pool_size}
ignore_startup_parameters = options, extra_float_digits
"""
    )
    # It does not run as root, and must reach the socket of the server.
    user = Path(str(target["host"])).stat().st_uid if os.geteuid() == 0 else None
    if user is not None:
        os.chown(folder, user, -1)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([PROGRAM, folder / "ini"], user=user, stdout=log, stderr=log)
        try:
            _wait(f"postgresql://postgres@127.0.0.1:{port}/pooled", folder / "log")
            yield f"postgresql://127.0.0.1:{port}/pooled"
        finally:
            process.terminate()
            process.wait(START_SECONDS)
            shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, log: Path) -> None:
    ends_at = time.monotonic() + START_SECONDS
    while True:
        try:
            with psycopg.connect(url, connect_timeout=2) as connection:
                connection.execute("SELECT 1")
                return
        except psycopg.OperationalError:
            if time.monotonic() > ends_at:
                raise AssertionError(log.read_text()) from None
            time.sleep(0.05)
