"""The commands that bring an organization's history: a host, and imports of other systems."""

import sys
from pathlib import Path

from tqdm import tqdm

from models.enums import CollectiveType
from schema.cli import commands
from services.collectives import host_setup
from services.core.settings import Settings
from services.database import engine as database_engine
from services.open_collective import importer

_SHOWN_NOTES = 50


async def create_host(
    settings: Settings, *, slug: str, name: str, currency: str, collective_type: str, admin_email: str | None
) -> int:
    """Create a host that is approved at once."""
    with database_engine.provide_database(settings) as located:
        await commands.prepare_database(located)
        async with commands.open_session(located) as session:
            host = await host_setup.create_host(
                session,
                slug=slug,
                name=name,
                currency=currency.upper(),
                collective_type=CollectiveType(collective_type),
                admin_email=admin_email,
            )
    print(f"{host.slug} holds money in {host.currency}")
    return 0


async def import_open_collective(
    settings: Settings,
    file: Path,
    *,
    host: str,
    collective: str | None,
    amounts_in: str | None,
    is_strict: bool,
) -> int:
    """Import an Open Collective export, with a progress bar."""
    with database_engine.provide_database(settings) as located:
        await commands.prepare_database(located)
        # Left before an error is printed, so that the error has a line of its own.
        with tqdm(unit=" rows", file=sys.stderr, desc=file.name, mininterval=0.2) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            async with commands.open_sessions(located) as sessions:
                report = await importer.import_ledger(
                    sessions,
                    path=file,
                    host_slug=host,
                    collective_slug=collective,
                    amounts_in=amounts_in,
                    is_strict=is_strict,
                    progress=progress,
                )
    _print_report(report)
    return 0


def _print_report(report: importer.ImportReport) -> None:
    print(
        f"{report.rows} rows read; {report.skipped} transactions were imported before; created "
        f"{report.orders} orders, {report.transactions} transactions and {report.counterparts} users"
    )
    for slug, balance in report.balances.items():
        print(f"{slug}: balance {balance.text} {balance.currency}")
    if report.notes:
        print(f"{len(report.notes)} rows do not agree with the rest of the file or with the ledger:")
        for note in report.notes[:_SHOWN_NOTES]:
            print(f"  {note}")
        if len(report.notes) > _SHOWN_NOTES:
            print(f"  and {len(report.notes) - _SHOWN_NOTES} more")
