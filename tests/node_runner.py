"""Node for tests that use others' tools and clients, from the locked packages of a folder of tests."""

import fcntl
import os
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from schema.graphiql.build import NPM_CI, OLDEST_NODE, BuildError, find_node

CLIENTS = Path(__file__).with_name("clients")
LONGEST_SECONDS = 300


def ready(folder: Path = CLIENTS, *, oldest: int = OLDEST_NODE) -> str:
    """Return a Node beside which the locked packages are installed; skip the test where that cannot be."""
    try:
        node, npm = find_node(oldest)
    except BuildError as problem:
        _missing(str(problem))
    # Of several test processes one installs, and the others wait for it.
    with (folder / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_current(folder):
            try:
                _run(node, [*npm, *NPM_CI], folder)
            except (OSError, subprocess.SubprocessError) as problem:
                said = getattr(problem, "stdout", None) or problem
                _missing(f"npm could not install the packages of tests/{folder.name}: {said}")
    return node


def script(node: str, name: str, *arguments: str, folder: Path = CLIENTS) -> str:
    """Run a script of a folder of packages, and return what it prints.

    Raises:
        CalledProcessError: it failed; its `stdout` says why.
    """
    return _run(node, [node, name, *arguments], folder)


def compiled_for_relay(*options: str) -> str:
    """Compile the Relay client's documents, and return what the compiler prints."""
    node = ready()
    (CLIENTS / "node_modules" / ".relay").mkdir(exist_ok=True)
    return script(node, "node_modules/relay-compiler/cli.js", *options, "relay.config.json")


def _missing(what: str) -> NoReturn:
    """Skip where a tool is missing, but never in CI."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(f"SKIPPED LOUDLY: {what}")


def _is_current(folder: Path) -> bool:
    stamp = folder / "node_modules" / ".package-lock.json"
    return stamp.is_file() and stamp.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime


def _run(node: str, command: list[str], folder: Path) -> str:
    # npm starts `node` by name: let that be the same one.
    path = os.pathsep.join((str(Path(node).parent), os.environ.get("PATH", os.defpath)))
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    try:
        done.check_returncode()
    except subprocess.CalledProcessError as failed:
        failed.add_note(done.stdout)
        raise
    return done.stdout
