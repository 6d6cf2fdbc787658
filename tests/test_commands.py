"""The command line: effects, output and errors."""

import io
import json
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest

from schema.__main__ import main
from services.database import catalogue
from services.ledger import ecb_rates
from services.open_collective.csv_reader import REQUIRED_COLUMNS
from tests.conftest import Database, MakeDatabase, Server, create_database, drop_database
from tests.open_collective_files import donation, host_fee, write_csv

Run = Callable[..., int]
HEADER = "Date,USD,JPY,XXX,\n"


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[Database]:
    """Return a database without tables that all tests of this file share."""
    database = create_database(server)
    yield database
    drop_database(server, database.name)


@pytest.fixture
def run(database: Database, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a runner of the command line on the database; settings are keyword arguments."""
    monkeypatch.setattr(ecb_rates, "read_packaged_history", lambda: archive("2026-01-02,1.1,150,N/A,\n"))

    def run(*arguments: str, **settings: str) -> int:
        urls = {"database_url": database.app_url, "owner_database_url": database.owner_url}
        for name, value in (urls | settings).items():
            monkeypatch.setenv(f"COMMONWEAL_{name.upper()}", value)
        return main([*arguments])

    return run


def archive(rows: str, *, header: str = HEADER, name: str = "eurofxref-hist.csv") -> bytes:
    """Return a zip like that of the European Central Bank."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr(name, header + rows)
    return content.getvalue()


@contextmanager
def published(content: bytes, *, status: int = 200) -> Iterator[str]:
    """Serve one file on the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/eurofxref-hist.zip"
        finally:
            http.shutdown()
            thread.join()


def rates(owner: psycopg.Connection[Any]) -> int:
    """Return how many rates of the bank are stored."""
    count = owner.execute("SELECT count(*) FROM fx_rate WHERE source = 'ECB'").fetchone()
    assert count is not None
    return int(count[0])


def test_migrate_prepares_an_empty_database_and_is_idempotent(
    run: Run, owner: psycopg.Connection[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [run("migrate"), run("migrate")] == [0, 0]
    assert capsys.readouterr().out == "The database is at the latest version\n" * 2
    assert rates(owner) == 2
    assert owner.execute("SELECT slug FROM collective").fetchall() == [("commonweal",)]


def test_migrate_check_names_what_differs(
    run: Run, make_database: MakeDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    database = make_database()
    urls = {"database_url": database.app_url, "owner_database_url": database.owner_url}
    assert run("migrate", "--check", **urls) == 0
    assert capsys.readouterr().out == "The database is as this version expects it\n"
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("ALTER TABLE posting DISABLE TRIGGER posting_guard")
    assert run("migrate", "--check", **urls) == 1
    assert "table posting: trigger posting_guard is disabled" in capsys.readouterr().out
    assert run("serve", **urls) == 1
    assert "table posting: trigger posting_guard is disabled" in capsys.readouterr().err


def test_the_catalogue_is_written_from_a_new_database(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = catalogue.CATALOGUE_FILE.read_text()
    monkeypatch.setattr(catalogue, "CATALOGUE_FILE", tmp_path / "catalogue.txt")
    assert run("migrate", "--write-catalogue") == 0
    assert catalogue.CATALOGUE_FILE.read_text() == committed


def test_the_admin_command_makes_an_address_a_platform_admin_once(
    run: Run, owner: psycopg.Connection[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [run("migrate"), run("admin", "Ada@Commonweal.test"), run("admin", "ada@commonweal.test")] == [
        0
    ] * 3
    assert "ada@commonweal.test" in capsys.readouterr().out
    roles = owner.execute(
        "SELECT role, verified_at FROM member JOIN credential ON user_id = member_id"
        " WHERE email = 'ada@commonweal.test'"
    ).fetchall()
    assert roles == [("ADMIN", None)]
    assert run("admin", "nobody") == 1
    assert "Enter an email address." in capsys.readouterr().err


def test_the_demo_is_refused_beside_data_and_in_production(
    run: Run, owner: psycopg.Connection[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("admin", "ada@commonweal.test") == 0
    before = owner.execute("SELECT count(*) FROM collective").fetchone()
    capsys.readouterr()
    assert run("demo") == 1
    assert "The database has data" in capsys.readouterr().err
    assert run("demo", production="1") == 1
    assert "cannot be loaded in production" in capsys.readouterr().err
    assert owner.execute("SELECT count(*) FROM collective").fetchone() == before


def test_fx_refresh_adds_only_new_rates(
    run: Run, owner: psycopg.Connection[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("migrate") == 0
    before = rates(owner)
    capsys.readouterr()
    with published(archive("2026-01-06,1.2345,N/A,7,\n2026-01-05,1.2,,7,\n2026-01-02,9,9,9,\n")) as url:
        assert [run("fx", "refresh", fx_url=url), run("fx", "refresh", fx_url=url)] == [0, 0]
    assert capsys.readouterr().out == "2 rates added\n0 rates added\n"
    assert rates(owner) == before + 2
    newest = (
        "SELECT base, quote, rate::text FROM fx_rate WHERE source = 'ECB' ORDER BY valid_from DESC LIMIT 1"
    )
    assert owner.execute(newest).fetchall() == [("EUR", "USD", "1.2345")]


GOOD = archive("DAY,1.1,150,N/A,\n" * 50)
BROKEN = {
    "empty": b"",
    "no zip": b"<html>maintenance</html>",
    "cut off": GOOD[: len(GOOD) // 2],
    "damaged": GOOD[:60] + bytes(8) + GOOD[68:],
    "no rows": archive("", header=""),
    "another table": archive("1,2\n", header="a,b\n"),
    "not a day": archive("02.02.2026,1,1,,\n"),
}
ROWS = {
    "not a number": "DAY,many,1,,\n",
    "NaN": "DAY,NaN,1,,\n",
    "Infinity": "DAY,Infinity,1,,\n",
    "zero": "DAY,0,1,,\n",
    "negative": "DAY,-1.1,1,,\n",
    "later broken": "DAY,1,1,,\n2026-02-01,x,,,\n",
}
# Each row is of a day of its own, so that one that should not have been stored hides no other.
BROKEN |= {
    kind: archive(row.replace("DAY", f"2026-02-{day}")) for day, (kind, row) in enumerate(ROWS.items(), 10)
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_rate_history_is_refused_and_nothing_is_stored(
    run: Run, owner: psycopg.Connection[Any], capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    assert run("migrate") == 0
    before = rates(owner)
    capsys.readouterr()
    with published(BROKEN[kind]) as url:
        assert run("fx", "refresh", fx_url=url) == 1
    said = capsys.readouterr().err
    assert said.startswith("commonweal: ")
    assert said.count("\n") == 1
    assert rates(owner) == before


def test_an_unreadable_rate_history_is_reported(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with published(b"gone", status=404) as missing:
        for url in (missing, "http://127.0.0.1:1/x.zip", "nonsense", (tmp_path / "none.zip").as_uri()):
            assert run("fx", "refresh", fx_url=url) == 1
            said = capsys.readouterr().err
            assert said.startswith("commonweal: ")
            assert said.count("\n") == 1


def test_the_exit_code_of_audit_tells_if_there_are_violations(
    run: Run, owner: psycopg.Connection[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("migrate") == 0
    capsys.readouterr()
    assert run("audit") == 0
    clean = capsys.readouterr().out
    assert "0 transactions, 0 postings read: everything" in clean
    assert all(line.split()[0] == "0" for line in clean.splitlines())
    owner.execute("SET session_replication_role = replica")
    owner.execute("UPDATE ledger_account SET posted = 5, floor = NULL")
    assert run("audit") == 1
    assert any(int(line.split()[0]) > 0 for line in capsys.readouterr().out.splitlines()[:-1])
    owner.execute("UPDATE ledger_account SET posted = 0, floor = 0")
    assert run("audit") == 0
    assert "read: what was added since the last audit" in capsys.readouterr().out


def test_audit_prints_json_with_a_sentence_for_each_check(
    run: Run, owner: psycopg.Connection[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("migrate") == 0
    capsys.readouterr()
    assert run("audit", "--full", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["isClean"], result["isFull"], result["violations"]) == (True, True, 0)
    assert result["lastFullAt"] == result["at"]
    assert all(check["description"].endswith(".") for check in result["checks"])
    owner.execute("BEGIN")
    owner.execute("SELECT pg_advisory_xact_lock(7269)")
    assert run("audit", "--json") == 3
    assert "Another audit" in json.loads(capsys.readouterr().out)["error"]
    assert run("audit") == 3
    owner.execute("ROLLBACK")
    assert run("audit") == 0


def test_importing_a_broken_file_names_the_line(
    run: Run, owner: psycopg.Connection[Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run("migrate") == 0
    broken = tmp_path / "broken.csv"
    broken.write_text(",".join(REQUIRED_COLUMNS) + "\nyesterday" + "," * (len(REQUIRED_COLUMNS) - 1) + "\n")
    before = owner.execute("SELECT count(*) FROM collective").fetchone()
    request = ("--host", "commonweal", "--collective", "webpack")
    assert run("import", "open-collective", str(broken), *request) == 1
    assert "Line 2, " in capsys.readouterr().err
    assert run("import", "open-collective", str(tmp_path / "none.csv"), *request) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert owner.execute("SELECT count(*) FROM collective").fetchone() == before


def test_an_import_into_a_host_made_from_the_command_line(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    create = ("host", "create", "opensource", "--name", "Open Source", "--currency", "usd")
    assert run(*create, "--admin", "treasurer@example.org") == 0
    assert "opensource holds money in USD" in capsys.readouterr().out
    assert run(*create) == 1
    assert "This slug is taken." in capsys.readouterr().err
    assert run("host", "create", "cur", "--name", "Hours", "--currency", "CUR") == 1
    rows = [donation(), host_fee(balance="8"), donation()]
    path = write_csv(tmp_path, rows)
    request = ("import", "open-collective", str(path), "--host", "opensource")
    capsys.readouterr()
    assert run(*request, "--strict") == 1
    error = capsys.readouterr().err.splitlines()
    assert "commonweal: Line 3, balance: not the sum of the rows up to this one" in error
    assert run(*request) == 0
    assert capsys.readouterr().out.splitlines() == [
        "3 rows read; 0 transactions were imported before; created 3 orders, 3 transactions and 1 users",
        "webpack: balance 19.00 USD",
        "1 rows do not agree with the rest of the file or with the ledger:",
        "  Line 3, balance: not the sum of the rows up to this one",
    ]
    assert run("audit") == 0


def test_a_wrong_setting_or_command_is_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("migrate", pool_size="many") == 1
    assert "COMMONWEAL_POOL_SIZE" in capsys.readouterr().err
    for arguments in (["nothing"], ["import"], ["fx"]):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 2


@pytest.mark.parametrize("command", ["migrate", "demo", "audit"])
def test_a_missing_database_is_reported(run: Run, capsys: pytest.CaptureFixture[str], command: str) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nowhere"
    assert run(command, database_url=nowhere, owner_database_url=nowhere) == 1
    said = capsys.readouterr().err
    assert said.startswith("commonweal: ")
    assert "Traceback" not in said


def test_the_schema_is_printed_and_compared_by_a_process_of_its_own() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "schema", "schema"], capture_output=True, text=True, timeout=60, check=True
    )
    assert printed.stdout.startswith(("directive", '"""'))
    assert "type Mutation" in printed.stdout


def test_the_command_alone_prints_help_with_examples_and_exit_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("usage: commonweal", "examples:", "exit codes:", "serve"))


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"commonweal {version('commonweal')}\n"


def test_a_wrong_day_is_told_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", "hours", "--nonprofit", "x", "--from", "2026-13-01", "--until", "2026-12-31"])
    assert ended.value.code == 2
    assert "'2026-13-01' is no day, such as 2026-01-31" in capsys.readouterr().err


def test_a_port_in_use_is_told_in_one_line_before_anything_starts(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run("serve", port=str(port)) == 1
    error = capsys.readouterr().err
    assert f"COMMONWEAL_PORT {port} cannot be listened on" in error
    assert error.count("\n") == 1


def test_a_file_in_place_of_the_data_folder_is_told(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "data").write_text("")
    assert run("audit", database_url="", owner_database_url="", data_dir=str(tmp_path / "data")) == 1
    assert "COMMONWEAL_DATA_DIR must be a folder" in capsys.readouterr().err


def test_a_reader_who_has_seen_enough_gets_no_error() -> None:
    program = f"{sys.executable} -m schema schema | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["/bin/bash", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode in {0, 141}, done.stderr) == (True, "")
