"""Node for tests that drive the API with somebody else's client: the packages of tests/clients, locked."""

import os
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from schema.graphiql.build import NPM_CI, BuildError, find_node

CLIENTS = Path(__file__).with_name("clients")
LONGEST_SECONDS = 300
_STAMP = CLIENTS / "node_modules" / ".package-lock.json"


def ready() -> str:
    """Return a Node beside which the locked packages are installed; skip the test where that cannot be."""
    try:
        node, npm = find_node()
    except BuildError as problem:
        _missing(str(problem))
    if not _is_current():
        try:
            _run(node, [*npm, *NPM_CI])
        except (OSError, subprocess.SubprocessError) as problem:
            said = getattr(problem, "stdout", None) or problem
            _missing(f"npm could not install the packages of tests/clients: {said}")
    return node


def script(node: str, name: str, *arguments: str) -> str:
    """Run a script of tests/clients, and return what it prints."""
    return _run(node, [node, name, *arguments])


def _missing(what: str) -> NoReturn:
    """Skip where a tool is missing, but never in CI."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(f"SKIPPED LOUDLY: {what}")


def _is_current() -> bool:
    return _STAMP.is_file() and _STAMP.stat().st_mtime >= (CLIENTS / "package-lock.json").stat().st_mtime


def _run(node: str, command: list[str]) -> str:
    # npm starts `node` by name: let that be the same one.
    path = os.pathsep.join((str(Path(node).parent), os.environ.get("PATH", os.defpath)))
    done = subprocess.run(  # noqa: S603 - fixed words of our own
        command, cwd=CLIENTS, env=os.environ | {"PATH": path}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LONGEST_SECONDS, check=True,
    )  # fmt: skip
    return done.stdout
