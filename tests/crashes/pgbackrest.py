"""Debian's pgBackRest with the configuration of deploy/, for a server and a repository of a test's own."""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.browser import skip_or_fail
from tests.crashes.standbys import LONGEST_WAIT, Node
from tests.debian_server import BINARIES

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "deploy" / "pgbackrest" / "pgbackrest.conf"
GUIDE = ROOT / "docs" / "operations.md"
PROGRAM = "pgbackrest"


@dataclass(frozen=True)
class PgBackRest:
    """The program, and the folder of its repository."""

    folder: Path
    user: str | None

    @property
    def repository(self) -> Path:
        """Folder of backups and archived logs."""
        return self.folder / "repository"

    @property
    def server_configuration(self) -> str:
        """What the server's postgresql.conf needs: archiving as the guide has it, and a socket."""
        archiving = re.findall(r"^\s*(archive_(?:mode|command) = .*)$", GUIDE.read_text(), re.MULTILINE)
        assert len(archiving) == 2
        return "\n".join([*archiving, f"unix_socket_directories = '{self.folder}'", ""])

    def adapt(self, node: Node) -> None:
        """Write the configuration with this repository and this server."""
        text, places = CONFIGURATION.read_text(), {"repo1-path": self.repository, "pg1-path": node.folder}
        for name, place in places.items():
            text, count = re.subn(rf"^{name}=.*$", f"{name}={place}", text, flags=re.MULTILINE)
            assert count == 1, name
        socket = f"pg1-port={node.port}\npg1-socket-path={self.folder}\npg1-user=postgres\n"
        (self.folder / CONFIGURATION.name).write_text(
            f"{text}{socket}[global]\nlock-path={self.folder}/lock\n"
        )

    def try_to(self, *command: str) -> tuple[int, str]:
        """Run a command of the program; return its exit code and all that it says."""
        done = subprocess.run(
            [PROGRAM, "--stanza=commonweal", *command],
            check=False,
            user=self.user,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_WAIT,
        )
        return done.returncode, done.stdout

    def run(self, *command: str) -> str:
        """Run a command that succeeds; return what it says."""
        code, said = self.try_to(*command)
        assert code == 0, said
        return said


@contextmanager
def provide_pgbackrest(monkeypatch: pytest.MonkeyPatch) -> Iterator[PgBackRest]:
    """Provide the program with an empty repository, which the server's calls find too; skip without it."""
    if shutil.which(PROGRAM) is None or not (BINARIES / "initdb").exists():
        skip_or_fail("Debian's packages pgbackrest and postgresql-15 are not installed")
    # Neither runs as root: Debian's packages bring a user for both.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="cwbr"))
    try:
        (folder / "conf.d").mkdir()
        (folder / "conf.d" / "secret.conf").write_text("[global]\nrepo1-cipher-pass=kept elsewhere\n")
        if user:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, pwd.getpwnam(user).pw_uid, -1)
        monkeypatch.setenv("PGBACKREST_CONFIG", str(folder / CONFIGURATION.name))
        monkeypatch.setenv("PGBACKREST_CONFIG_INCLUDE_PATH", str(folder / "conf.d"))
        yield PgBackRest(folder, user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
