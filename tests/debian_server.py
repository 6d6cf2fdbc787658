"""Run a command with COMMONWEAL_TEST_SERVER_URLS set to servers of Debian's PostgreSQL 15.

Each worker has its own server: live events wait for every transaction of the server, and tests of another
worker have long ones.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

BINARIES = Path("/usr/lib/postgresql/15/bin")
WORKERS = 2


def main(command: list[str]) -> int:
    """Start the servers under temporary folders, run the command, stop the servers."""
    if not (BINARIES / "initdb").exists():
        if os.environ.get("CI"):
            sys.stdout.write("Debian's PostgreSQL 15 is not installed\n")
            return 1
        sys.stdout.write("SKIPPED LOUDLY: Debian's PostgreSQL 15 is not installed\n")
        return 0
    with ExitStack() as stack:
        urls = [stack.enter_context(run_server()) for _ in range(WORKERS)]
        settings = {"COMMONWEAL_TEST_SERVER_URLS": " ".join(urls)}
        return subprocess.run(command, check=False, env={**os.environ, **settings}).returncode


@contextmanager
def run_server() -> Iterator[str]:
    """Run a server under a temporary folder; yield the owner's URL."""
    folder = Path(tempfile.mkdtemp(prefix="cw15"))
    # PostgreSQL does not run as root: Debian's package brings a user for it.
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        owner = pwd.getpwnam(user)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data = folder / "data"

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [BINARIES / program, "-D", data, *arguments],
            check=True,
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )

    try:
        run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync")
        options = f"-h '' -k {folder} -c fsync=off -c max_connections=200"
        run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")  # nothing of it is kept
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
