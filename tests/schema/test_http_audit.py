"""GraphQL over HTTP as the audits of the npm package `graphql-http` see it, against a live server."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import node
from tests.conftest import Database

AUDITS = 61
MARK = "Commonweal: GraphiQL and the API at "
SECONDS = 60


def test_every_audit_is_ok(database: Database, tmp_path: Path) -> None:
    runner = node.ready()
    kept = {k: v for k, v in os.environ.items() if not k.startswith("COMMONWEAL_")}
    settings = {
        "COMMONWEAL_PORT": "0", "COMMONWEAL_DATABASE_URL": database.app_url,
        "COMMONWEAL_OWNER_DATABASE_URL": database.owner_url,
    }  # fmt: skip
    with (
        (tmp_path / "log").open("w+") as log,
        subprocess.Popen(
            [sys.executable, "-m", "schema", "serve"], stdout=subprocess.PIPE, stderr=log, text=True,
            env=kept | settings,
        ) as server,
        ThreadPoolExecutor(1) as pool,
    ):  # fmt: skip
        try:
            reading = pool.submit(lambda: next((line for line in server.stdout or () if MARK in line), ""))
            url = reading.result(SECONDS).strip().removeprefix(MARK)
            printed = node.script(runner, "audit.mjs", url)
        finally:
            server.terminate()
    audits = [json.loads(line) for line in printed.splitlines()]
    assert [audit for audit in audits if audit["status"] != "ok"] == []
    assert len(audits) == AUDITS
