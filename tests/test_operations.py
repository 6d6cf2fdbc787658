"""The server as a process: failures it survives, and its shutdown."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from models import new_id
from schema.cli import commands
from services.database import engine as database_engine
from tests import live_server
from tests.conftest import Database, Server, create_database, drop_database
from tests.factories import Person, World

SECONDS = 90
MARK = "Commonweal: GraphiQL and the API at "
ADD_FUNDS = """mutation($i: AddFundsInput!) {
    addFunds(input: $i) { order { id status } errors { code message path } } }"""
CURRENCIES = "{ currencies { code } }"
SLEEPING = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND wait_event = 'PgSleep' AND query LIKE '%currency%'"""
TRIED = """SELECT delivered_at, payload ? 'token' FROM outbox
    WHERE attempts > 0 AND last_error IS NOT NULL"""


def until(holds: Callable[[], object], *, seconds: float = SECONDS) -> Any:
    """Return what holds as soon as it does."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if result := holds():
            return result
        time.sleep(0.01)
    raise AssertionError("it did not come to hold")


@dataclass
class Api:
    """A server process."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def post(self, query: str, *, by: Person | None = None, **variables: Any) -> dict[str, Any]:
        """Send an operation and return the response body."""
        headers = {"Authorization": f"Bearer {by.token}"} if by else {}
        body = {"query": query, "variables": variables}
        answer: dict[str, Any] = httpx.post(self.url, json=body, headers=headers, timeout=SECONDS).json()
        return answer

    def query(self, query: str, *, by: Person | None = None, **variables: Any) -> dict[str, Any]:
        """Send an operation without top-level errors and return its data."""
        body = self.post(query, by=by, **variables)
        assert "errors" not in body, (body, self.log.read_text()[-3000:])
        data: dict[str, Any] = body["data"]
        return data

    def status(self, path: str) -> int:
        """Return the HTTP status of a page."""
        return httpx.get(self.url.replace("/graphql", path), timeout=SECONDS).status_code

    def end(self) -> int:
        """Terminate the process and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


Start = Callable[..., Api]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a starter of `commonweal serve`; what still runs at the end is killed by its own id."""
    processes: list[subprocess.Popen[str]] = []

    def launch(**settings: object) -> subprocess.Popen[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("COMMONWEAL_")}
        arguments = {f"COMMONWEAL_{name.upper()}": str(value) for name, value in settings.items()}
        log = tmp_path / f"{len(processes)}.log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "schema", "serve"],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=kept | {"COMMONWEAL_PORT": "0"} | arguments,
            )
        processes.append(process)
        return process

    yield launch
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait(SECONDS)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def start(launch: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> Start:
    """Return a starter that waits until the server listens."""

    def start(database: Database | None = None, **settings: object) -> Api:
        if database is not None:
            settings |= {"database_url": database.app_url, "owner_database_url": database.owner_url}
        return listening(launch(**settings), max(tmp_path.glob("*.log"), key=lambda p: p.stat().st_ctime_ns))

    return start


def listening(process: subprocess.Popen[str], log: Path) -> Api:
    """Wait for the line that says where the server is."""
    with ThreadPoolExecutor(1) as pool:
        assert process.stdout is not None
        reading = pool.submit(lambda: next((line for line in process.stdout or () if MARK in line), ""))
        try:
            line = reading.result(live_server.START_SECONDS)
        except TimeoutError:
            process.kill()
            raise
    assert line, (process.wait(SECONDS), log.read_text()[-3000:])
    return Api(process, line.strip().removeprefix(MARK), log)


@pytest.fixture(scope="module")
async def prepared(server: Server, template: str) -> str:
    """Return the name of a database with the packaged exchange rates."""
    database = create_database(server, template=template)
    await commands.prepare_database(database.settings)
    return database.name


@pytest.fixture
def database(server: Server, prepared: str) -> Iterator[Database]:
    """Return a database for this test alone, ready for a server."""
    database = create_database(server, template=prepared)
    yield database
    drop_database(server, database.name)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """Return the world in that database; it keeps no connection open."""
    engine = database_engine.create_pool(database.settings)
    world = await World.create(database.settings, database_engine.session_factory(engine))
    await engine.dispose()
    yield world
    await engine.dispose()


def funds(value: str, **more: Any) -> dict[str, Any]:
    """Return an input that adds funds to the platform."""
    return {"to": {"slug": "commonweal"}, "amount": {"value": value, "currency": "USD"}} | more


def orders(owner: psycopg.Connection[Any]) -> list[str]:
    """Return the status of each order."""
    return [row[0] for row in owner.execute('SELECT status FROM "order" ORDER BY id')]


def cut(server: Server, database: Database) -> int:
    """End every connection to the database; return how many there were."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        count = connection.execute(
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = %s",
            [database.name],
        ).fetchone()
    assert count is not None
    return int(count[0])


def test_operations_continue_after_the_database_drops_connections(
    server: Server, database: Database, world: World, start: Start
) -> None:
    api = start(database, pool_size=4, outbox_interval_ms=60_000)
    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda _: api.query(CURRENCIES), range(16)))
        assert cut(server, database) >= 1
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda _: api.query(CURRENCIES), range(16)))
        cut(server, database)
        added = api.query(ADD_FUNDS, by=world.admin, i=funds("1.00"))["addFunds"]
        assert (added["errors"], added["order"]["status"]) == ([], "PAID")


def test_an_unavailable_database_is_a_masked_error_until_it_returns(
    server: Server, database: Database, start: Start
) -> None:
    api = start(database)
    assert api.status("/readyz") == 200
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS false')
        cut(server, database)
        body = api.post(CURRENCIES)
        away = (api.status("/readyz"), api.status("/healthz"))
        connection.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS true')
    assert [error["extensions"]["code"] for error in body["errors"]] == ["UNAVAILABLE"]
    assert database.name not in str(body)
    assert away == (503, 200)
    assert api.query(CURRENCIES)
    assert api.status("/readyz") == 200


def slowed(owner: psycopg.Connection[Any], seconds: float) -> None:
    """Make reads of the currencies slow."""
    owner.execute("ALTER TABLE currency RENAME TO currency_rows")
    owner.execute(
        f"CREATE VIEW currency AS SELECT rows.* FROM currency_rows rows, (SELECT pg_sleep({seconds})) AS nap"
    )
    owner.execute("GRANT SELECT ON currency TO commonweal_app")


def test_slow_statements_and_lock_waits_are_cancelled(
    database: Database, world: World, owner: psycopg.Connection[Any], start: Start
) -> None:
    api = start(database, statement_timeout_ms=400, lock_timeout_ms=200)
    slowed(owner, 60)
    started = time.monotonic()
    body = api.post(CURRENCIES)
    assert time.monotonic() - started < 30  # a statement would take 60
    (error,) = body["errors"]
    assert error["extensions"]["code"] == "TIMEOUT"
    assert error["extensions"]["errorId"] in api.log.read_text()
    assert "timeout" not in str(body)
    with owner.transaction():
        owner.execute("SELECT FROM collective WHERE is_platform FOR UPDATE")
        query = "mutation($i: ArchiveCollectiveInput!) { archiveCollective(input: $i) { errors { code } } }"
        kept = api.query(query, by=world.admin, i={"collective": {"slug": "commonweal"}})
    assert kept == {"archiveCollective": {"errors": [{"code": "CONFLICT"}]}}
    assert api.query("{ me { slug } }", by=world.admin) == {"me": {"slug": "platform-admin"}}


def test_a_running_request_is_answered_before_the_process_stops(
    database: Database, owner: psycopg.Connection[Any], start: Start
) -> None:
    api = start(database)
    slowed(owner, 1)
    with ThreadPoolExecutor(1) as pool:
        request = pool.submit(api.query, CURRENCIES)
        until(lambda: owner.execute(SLEEPING).fetchone() == (1,))
        assert api.end() == 0
        assert request.result(SECONDS)["currencies"]
    with pytest.raises(httpx.ConnectError):
        api.post(CURRENCIES)


def test_sigterm_stops_the_server_and_its_embedded_database(tmp_path: Path, start: Start) -> None:
    api = start(data_dir=tmp_path / "data")
    assert api.query('{ collective(slug: "commonweal") { type } }') == {"collective": {"type": "NONPROFIT"}}
    postmaster = tmp_path / "data" / "postgresql" / "postmaster.pid"
    assert postmaster.exists()
    assert api.end() == 0
    assert not postmaster.exists()


def test_two_servers_start_at_once_on_an_empty_database_and_share_it(
    server: Server, launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    name = f"empty_{new_id().hex[-12:]}"
    database_engine.create_database(server.url, name)
    owner, app = server.database_url(name), server.database_url(name, role=database_engine.APP_ROLE)
    processes = [launch(database_url=app, owner_database_url=owner) for _ in range(2)]
    apis = [listening(process, tmp_path / f"{i}.log") for i, process in enumerate(processes)]
    sign_up = "mutation($i: SignUpInput!) { signUp(input: $i) { errors { code } } }"
    verify = "mutation($i: VerifyEmailInput!) { verifyEmail(input: $i) { user { id } errors { code } } }"
    mailed = "SELECT payload->>'token' FROM outbox WHERE recipient = %s"
    for writer, reader in (apis, apis[::-1]):
        email = f"{new_id()}@commonweal.test"
        arguments = {"email": email, "name": "A"}
        assert writer.query(sign_up, i=arguments) == {"signUp": {"errors": []}}
        with psycopg.connect(owner) as connection:
            (token,) = connection.execute(mailed, [email]).fetchone() or ()
        verify_email = reader.query(verify, i={"token": token, "password": "long enough"})["verifyEmail"]
        read = writer.query("query($id: ID!) { node(id: $id) { id } }", id=verify_email["user"]["id"])
        assert (verify_email["errors"], read["node"]) == ([], {"id": verify_email["user"]["id"]})
    with psycopg.connect(owner) as connection:
        counts = "SELECT (SELECT count(*) FROM collective WHERE is_platform), (SELECT count(*) FROM fx_rate)"
        row = connection.execute(counts).fetchone()
    assert row is not None
    assert row[0] == 1
    assert row[1] > 8_000  # of 400 days; a job loads the rest
    assert [api.end() for api in apis] == [0, 0]


def test_a_killed_server_leaves_a_complete_order_or_none(
    database: Database, world: World, owner: psycopg.Connection[Any], start: Start
) -> None:
    second = start(database)
    for number, waits in ((1, True), (2, False)):
        first = start(database)
        arguments = funds("5.00", idempotencyKey=f"once-{number}")
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(first.post, ADD_FUNDS, by=world.admin, i=arguments)
            if waits:
                until(lambda: orders(owner))
            first.process.kill()
            first.process.wait(SECONDS)
            assert isinstance(sent.exception(SECONDS), httpx.HTTPError | None)
        again = [second.query(ADD_FUNDS, by=world.admin, i=arguments)["addFunds"] for _ in range(2)]
        assert again[0] == again[1]
        assert (again[0]["errors"], again[0]["order"]["status"]) == ([], "PAID")
        assert orders(owner) == ["PAID"] * number
        balances = "SELECT posted FROM ledger_account WHERE kind = 'BALANCE' AND posted <> 0"
        assert owner.execute(balances).fetchall() == [(500 * number,)]
    live_server.run_audit(database)
    assert second.query("{ ledgerAudit { isClean } }") == {"ledgerAudit": {"isClean": True}}


def test_an_unreachable_mail_server_delays_only_mails(
    database: Database, owner: psycopg.Connection[Any], start: Start
) -> None:
    api = start(database, smtp_url="smtp://127.0.0.1:1", outbox_interval_ms=50)
    sign_up = "mutation($i: SignUpInput!) { signUp(input: $i) { errors { code } } }"
    arguments = {"email": "new@commonweal.test", "name": "New"}
    assert api.query(sign_up, i=arguments) == {"signUp": {"errors": []}}
    assert until(lambda: owner.execute(TRIED).fetchall()) == [(None, True)]
    assert api.query(CURRENCIES)
    assert api.end() == 0


def test_a_wrong_mail_setting_or_port_stops_the_start_with_its_name(
    launch: Callable[..., subprocess.Popen[str]], database: Database, tmp_path: Path
) -> None:
    urls = {"database_url": database.app_url, "owner_database_url": database.owner_url}
    wrong = [
        ({"port": "many"}, "COMMONWEAL_PORT"),
        (urls | {"smtp_url": "http://127.0.0.1"}, "COMMONWEAL_SMTP_URL"),
    ]
    processes = [launch(**settings) for settings, _ in wrong]
    for number, (process, (_, name)) in enumerate(zip(processes, wrong, strict=True)):
        assert process.wait(live_server.START_SECONDS) != 0
        assert name in (tmp_path / f"{number}.log").read_text()
