"""GraphQL over HTTP as the audits of the npm package `graphql-http` see it, against a live server."""

import json
from pathlib import Path

from tests import live_server, node_runner
from tests.conftest import Database

AUDITS = 61


def test_every_audit_is_ok(database: Database, tmp_path: Path) -> None:
    runner = node_runner.require_node()
    with live_server.run_server(database, tmp_path) as server:
        printed = node_runner.run_script(runner, "audit.mjs", server.url)
    audits = [json.loads(line) for line in printed.splitlines()]
    assert [audit for audit in audits if audit["status"] != "ok"] == []
    assert len(audits) == AUDITS
