"""What the commands do: each a call into the services, in a database transaction of its own."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import date
from pathlib import Path

import uvicorn
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from tqdm import tqdm

from schema import build
from schema.build import sdl
from schema.demo import world
from schema.observability import logs
from schema.server import uvicorn_server
from schema.server.app import application
from services.access.actor import ANONYMOUS
from services.access.collective_refs import Ref, named, resolve_one
from services.collectives import platform_policy
from services.core.settings import Settings
from services.database import engine as database_engine
from services.database import migrations
from services.ledger import audit as ledger_audit
from services.ledger import ecb_rates
from services.open_collective import importer
from services.volunteering import hours_csv

SDL_FILE = Path(__file__).parents[1] / "schema.graphql"
log = logging.getLogger("commonweal")


def serve(settings: Settings, *, demo: bool) -> int:
    """Start the database if it is ours, migrate, load the demo world if asked, and serve until stopped."""
    logs.configure(settings.log_level)
    with database_engine.located(settings) as located:
        asyncio.run(prepare(located))
        if demo:
            asyncio.run(_demo_if_empty(located))
        _run(located)
    return 0


def _run(settings: Settings) -> None:
    # uvicorn raises the signal again once it has shut down; the embedded database is yet to stop then.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server = uvicorn_server.make(application(settings), settings)
    announced = _Announced(server)
    _settle_memory()
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(announced.serve())


def _settle_memory() -> None:
    """Let the collector of garbage pass over what lives as long as the process, and come less often.

    A look at the schema and the modules takes a tenth of a second, in which every request waits.
    """
    build.schema()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 20)


class _Announced:
    """A server that says where it is once it listens."""

    def __init__(self, server: uvicorn.Server) -> None:
        self._server = server

    async def serve(self) -> None:
        running = asyncio.create_task(self._server.serve())
        while not self._server.started and not running.done():  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.02)
        if self._server.started:
            host, port = self._server.servers[0].sockets[0].getsockname()[:2]
            print(f"Commonweal: GraphiQL and the API at http://{host}:{port}/graphql", flush=True)
        await running


async def prepare(settings: Settings) -> None:
    """Migrate, make the platform, and load the exchange rates that the package ships."""
    await asyncio.to_thread(migrations.upgrade, settings.owner_database_url)
    async with _session(settings) as session:
        await database_engine.alone(session)
        await platform_policy.ensure(session)
        await ecb_rates.load(session, ecb_rates.packaged())


@asynccontextmanager
async def _session(settings: Settings) -> AsyncIterator[AsyncSession]:
    async with _sessions(settings) as sessions, sessions() as session, session.begin():
        yield session


@asynccontextmanager
async def _sessions(settings: Settings) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    engine = database_engine.connect(settings)
    try:
        yield database_engine.sessions(engine)
    finally:
        await engine.dispose()


async def migrate(settings: Settings) -> int:
    """Bring the database to the newest version."""
    with database_engine.located(settings) as located:
        await prepare(located)
    print("The database is at the newest version")
    return 0


async def demo(settings: Settings) -> int:
    """Load the demo world."""
    with database_engine.located(settings) as located:
        await prepare(located)
        async with _sessions(located) as sessions:
            await world.load(sessions, located)
    print("The demo world is loaded; every password is `oc`")
    return 0


async def _demo_if_empty(settings: Settings) -> None:
    async with _sessions(settings) as sessions:
        if await world.is_empty(sessions):
            print("Loading the demo world …", flush=True)
            await world.load(sessions, settings)


async def add_admin(settings: Settings, email: str) -> int:
    """Make a platform admin."""
    with database_engine.located(settings) as located:
        await prepare(located)
        async with _session(located) as session:
            await platform_policy.add_admin(session, email=email)
    print(f"{email} is an ADMIN of the platform; signing up with this address claims the account")
    return 0


async def import_open_collective(settings: Settings, file: Path, *, host: str, collective: str) -> int:
    """Replay an Open Collective export, with a progress bar."""
    with database_engine.located(settings) as located:
        await prepare(located)
        bar = tqdm(unit=" rows", file=sys.stderr, desc=file.name, mininterval=0.2)

        def progress(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        async with _session(located) as session:
            report = await importer.replay(
                session, path=file, host_slug=host, collective_slug=collective, progress=progress
            )
        bar.close()
    print(
        f"{report.rows} rows read, {report.skipped} of them there already; {report.orders} orders, "
        f"{report.transactions} transactions and {report.counterparts} collectives made; "
        f"balance {report.balance.value} {report.balance.currency}"
    )
    return 0


async def export_hours(
    settings: Settings, *, nonprofit: str, days: tuple[date, date], file: Path | None
) -> int:
    """Write a nonprofit's approved hours as CSV to a file, or to the standard output."""
    with database_engine.located(settings) as located:
        async with _session(located) as session:
            row = named(await resolve_one(session, ANONYMOUS, Ref(slug=nonprofit), name="nonprofit"))
            with file.open("w", newline="") if file else nullcontext(sys.stdout) as out:
                async for line in hours_csv.lines(
                    session, nonprofit=row, first_day=days[0], last_day=days[1]
                ):
                    out.write(line)
    return 0


async def refresh_rates(settings: Settings) -> int:
    """Add the newest exchange rates."""
    archive = await asyncio.to_thread(ecb_rates.downloaded, settings.fx_url)
    with database_engine.located(settings) as located:
        await prepare(located)
        async with _session(located) as session:
            added = await ecb_rates.load(session, archive, force=True)
    print(f"{added} rates added")
    return 0


async def audit(settings: Settings) -> int:
    """Count violations of the ledger's promises."""
    with database_engine.located(settings) as located:
        async with _session(located) as session:
            found = await ledger_audit.run(session)
    for check in found.checks:
        print(f"{check.violations:>8}  {check.name}")
    print(f"{found.transactions} transactions, {found.postings} postings read")
    return 0 if found.is_clean else 1


def schema(*, check: bool, write: bool) -> int:
    """Print the schema, write the committed file, or compare with it."""
    text = sdl()
    if write:
        SDL_FILE.write_text(text)
    elif check:
        if SDL_FILE.read_text() != text:
            print("schema/schema.graphql is not the schema; run `commonweal schema --write`")
            return 1
    else:
        print(text, end="")
    return 0
