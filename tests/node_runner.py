"""Node.js for tests that run npm tools and clients from locked packages."""

import fcntl
import os
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from schema.graphiql.build import MIN_NODE_VERSION, NPM_CI, BuildError, find_node

CLIENTS = Path(__file__).with_name("clients")
TIMEOUT_SECONDS = 300


def require_node(folder: Path = CLIENTS, *, oldest: int = MIN_NODE_VERSION) -> str:
    """Return a Node with the locked packages installed, or skip the test if that is not possible."""
    try:
        node, npm = find_node(oldest)
    except BuildError as problem:
        _skip_or_fail(str(problem))
    # Of several test processes one installs, and the others wait for it.
    with (folder / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_current(folder):
            try:
                _run(node, [*npm, *NPM_CI], folder)
            except (OSError, subprocess.SubprocessError) as problem:
                said = getattr(problem, "stdout", None) or problem
                _skip_or_fail(f"npm could not install the packages of tests/{folder.name}: {said}")
    return node


def run_script(node: str, name: str, *arguments: str, folder: Path = CLIENTS) -> str:
    """Run a script in a folder of packages and return its output.

    Raises:
        CalledProcessError: it failed; its `stdout` says why.
    """
    return _run(node, [node, name, *arguments], folder)


def compile_for_relay(*options: str) -> str:
    """Compile the Relay client's documents and return the compiler's output."""
    node = require_node()
    (CLIENTS / "node_modules" / ".relay").mkdir(exist_ok=True)
    return run_script(node, "node_modules/relay-compiler/cli.js", *options, "relay.config.json")


def _skip_or_fail(what: str) -> NoReturn:
    """Skip the test because a tool is missing; fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(f"SKIPPED LOUDLY: {what}")


def _is_current(folder: Path) -> bool:
    stamp = folder / "node_modules" / ".package-lock.json"
    return stamp.is_file() and stamp.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime


def _run(node: str, command: list[str], folder: Path) -> str:
    # npm starts `node` by name: let that be the same one.
    path = os.pathsep.join((str(Path(node).parent), os.environ.get("PATH", os.defpath)))
    completed = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    try:
        completed.check_returncode()
    except subprocess.CalledProcessError as failed:
        failed.add_note(completed.stdout)
        raise
    return completed.stdout
