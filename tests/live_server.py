"""A server process of its own, for tests that come to it as clients do."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Database

MARK = "Commonweal: GraphiQL and the API at "
SECONDS = 90
"""To start in, the demo world included."""


@dataclass(frozen=True)
class LiveServer:
    """A server that runs."""

    url: str
    log: Path


@contextmanager
def serving(database: Database, folder: Path, *, demo: bool = False, **settings: str) -> Iterator[LiveServer]:
    """Serve a database, with the demo world if asked; settings are given by name."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("COMMONWEAL_")}
    given = {
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
            env=kept | {f"COMMONWEAL_{name.upper()}": value for name, value in given.items()},
        ) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        try:
            reading = pool.submit(lambda: next((line for line in server.stdout or () if MARK in line), ""))
            url = reading.result(SECONDS).strip().removeprefix(MARK)
            assert url, place.read_text()
            yield LiveServer(url, place)
        finally:
            server.terminate()
