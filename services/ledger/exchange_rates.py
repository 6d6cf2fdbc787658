"""Exchange rates: which one holds at a moment."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal
from uuid import UUID

from sqlalchemy import ARRAY, Text, column, func, literal, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import FxRate, now
from services.access.actor import Actor
from services.access.permissions import Action, require
from services.core.errors import Conflict, FxRateUnavailable, Invalid
from services.core.money import known_currency

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
    assert actor.user is not None
    return await add_rate(
        session, base=base, target=target, rate=rate, valid_from=valid_from or now(), source=actor.user.slug
    )


async def add_rate(
    session: AsyncSession, *, base: str, target: str, rate: Decimal, valid_from: datetime, source: str
) -> FxRate:
    """Add a checked rate as a row.

    Raises:
        Conflict: there is a rate of this pair and moment.
    """
    row = FxRate(base=base, quote=target, rate=rate, valid_from=valid_from, source=source)
    inserted = await session.execute(
        insert(FxRate).values(row.model_dump()).on_conflict_do_nothing().returning(col(FxRate.id))
    )
    if inserted.scalar_one_or_none() is None:
        raise Conflict("There is a rate of this pair and moment", path=["input", "validFrom"])
    return row
