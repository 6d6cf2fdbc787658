"""The commands of the command line; each runs in a database transaction of its own."""

import asyncio
import io
import logging
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import date
from pathlib import Path
from typing import TextIO

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from schema.build import sdl
from services.access.actor import ANONYMOUS
from services.access.collective_refs import CollectiveKey, require_collective, resolve_one
from services.collectives import platform_policy
from services.core.settings import Settings
from services.database import catalogue, embedded_postgres, login_settings, migrations
from services.database import engine as database_engine
from services.identity import lost_factors, operator_links
from services.ledger import ecb_rates
from services.volunteering import hours_csv

SDL_FILE = Path(__file__).parents[1] / "schema.graphql"
log = logging.getLogger("commonweal")


async def prepare_database(settings: Settings, *, defers_old_rates: bool = False) -> None:
    """Migrate, create the platform, and load the bundled exchange rates, or leave the old ones to a job."""
    await asyncio.to_thread(migrations.upgrade, settings.owner_database_url)
    await asyncio.to_thread(login_settings.apply_settings, settings)
    async with open_session(settings) as session:
        await database_engine.lock_preparation(session)
        await platform_policy.ensure_platform(session)
        load_rates = ecb_rates.import_recent_rates if defers_old_rates else ecb_rates.import_rates
        await load_rates(session, ecb_rates.read_packaged_history())


@asynccontextmanager
async def open_session(settings: Settings) -> AsyncIterator[AsyncSession]:
    """Open a session whose changes are committed at the end."""
    async with open_sessions(settings) as sessions, sessions() as session, session.begin():
        yield session


@asynccontextmanager
async def open_sessions(settings: Settings) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    """Open a pool of connections of the application's role."""
    engine = database_engine.create_pool(settings)
    try:
        yield database_engine.session_factory(engine)
    finally:
        await engine.dispose()


def check_database(settings: Settings) -> int:
    """Print how the database differs from the one that this version expects; return 1 if it does."""
    with database_engine.provide_database(settings) as located:
        differences = catalogue.find_differences(located.database_url)
    for difference in differences:
        print(difference.description)
    if not differences:
        print("The database is as this version expects it")
    return 1 if differences else 0


def write_catalogue() -> int:
    """Write the committed catalogue from a new database on a temporary server."""
    with (
        tempfile.TemporaryDirectory(prefix="cw", ignore_cleanup_errors=True) as folder,
        embedded_postgres.run_embedded_postgres(Path(folder)) as socket_dir,
    ):
        url = f"postgresql://postgres@/postgres?host={socket_dir}"
        migrations.upgrade(url)
        catalogue.CATALOGUE_FILE.write_text(catalogue.render_catalogue(catalogue.load_catalogue(url)))
    print(f"Written: {catalogue.CATALOGUE_FILE.name}")
    return 0


async def migrate(settings: Settings) -> int:
    """Migrate the database to the latest version."""
    with database_engine.provide_database(settings) as located:
        await prepare_database(located)
    print("The database is at the latest version")
    return 0


async def add_admin(settings: Settings, email: str, *, renews_password: bool) -> int:
    """Make a user an ADMIN of the platform; print a link for who cannot sign in yet."""
    with database_engine.provide_database(settings) as located:
        await prepare_database(located)
        async with open_session(located) as session:
            user_id = await platform_policy.add_admin(session, email=email)
            link = await operator_links.create_link(
                session,
                user_id=user_id,
                public_url=settings.public_url or f"http://{settings.host}:{settings.port}",
                renews_password=renews_password,
            )
    print(f"{email} is an ADMIN of the platform")
    if link is not None:
        print(
            f"This link works once, within {operator_links.LINK_HOURS} hours, while the server runs;"
            f" it asks for a password:\n{link}"
        )
    return 0


async def remove_factors(settings: Settings, email: str) -> int:
    """Remove the second factors of a user who has lost them all."""
    with database_engine.provide_database(settings) as located:
        async with open_session(located) as session:
            user = await lost_factors.remove_factors(session, email=email)
    print(f"{user.slug} signs in with the password alone; every session has ended")
    return 0


async def export_hours(
    settings: Settings, *, nonprofit: str, days: tuple[date, date], file: Path | None
) -> int:
    """Write a nonprofit's approved hours as CSV to a file or to standard output."""
    with database_engine.provide_database(settings) as located:
        async with open_session(located) as session:
            row = require_collective(
                await resolve_one(session, ANONYMOUS, CollectiveKey(slug=nonprofit), name="nonprofit")
            )
            lines = hours_csv.stream_lines(session, nonprofit=row, first_day=days[0], last_day=days[1])
            head = await anext(lines)  # a refusal leaves a file as it is
            with _open_output(file) as out:
                out.write(head)
                async for line in lines:
                    out.write(line)
    return 0


@contextmanager
def _open_output(file: Path | None) -> Iterator[TextIO]:
    """Open a file, or standard output, for text as it is: UTF-8, and ends of lines as written."""
    if file is not None:
        with file.open("w", encoding="utf-8", newline="") as out:
            yield out
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="")
    yield sys.stdout


async def refresh_rates(settings: Settings) -> int:
    """Download and add the latest exchange rates."""
    archive = await asyncio.to_thread(ecb_rates.download_history, settings.fx_url)
    with database_engine.provide_database(settings) as located:
        await prepare_database(located)
        async with open_session(located) as session:
            added = await ecb_rates.import_rates(session, archive, force=True)
    print(f"{added} rates added")
    return 0


def schema(*, check: bool, write: bool) -> int:
    """Print the schema, write it to the committed file, or compare it with that file."""
    text = sdl()
    if write:
        SDL_FILE.write_text(text)
    elif check:
        if SDL_FILE.read_text() != text:
            print("schema/schema.graphql is out of date; run `commonweal schema --write`")
            return 1
    else:
        print(text, end="")
    return 0
