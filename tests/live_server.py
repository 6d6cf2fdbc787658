"""A separate server process for tests that act as its clients."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Database

READY_LINE = "Commonweal: GraphiQL and the API at "
START_SECONDS = 180
"""Time limit of a start, including the demo."""


@dataclass(frozen=True)
class LiveServer:
    """A running server."""

    url: str
    log: Path


def run_audit(database: Database) -> None:
    """Audit a database's ledger by the command, which fails if it finds anything."""
    audit = subprocess.run(
        [sys.executable, "-m", "schema", "audit"],
        check=False,
        env=os.environ
        | {"COMMONWEAL_DATABASE_URL": database.app_url, "COMMONWEAL_OWNER_DATABASE_URL": database.owner_url},
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
    )
    assert audit.returncode == 0, audit.stdout + audit.stderr


@contextmanager
def run_server(
    database: Database, folder: Path, *, demo: bool = False, **settings: str
) -> Iterator[LiveServer]:
    """Run a server on a database, with the demo if `demo`; settings are keyword arguments."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("COMMONWEAL_")}
    arguments = {
        "port": "0",
        "database_url": database.app_url,
        "owner_database_url": database.owner_url,
    } | settings
    command = [sys.executable, "-m", "schema", "serve", *(["--demo"] if demo else [])]
    place = folder / "log"
    with (
        place.open("w") as log,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=kept | {f"COMMONWEAL_{name.upper()}": value for name, value in arguments.items()},
        ) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        try:
            reading = pool.submit(
                lambda: next((line for line in server.stdout or () if READY_LINE in line), "")
            )
            url = reading.result(START_SECONDS).strip().removeprefix(READY_LINE)
            assert url, place.read_text()
            yield LiveServer(url, place)
        finally:
            server.terminate()
