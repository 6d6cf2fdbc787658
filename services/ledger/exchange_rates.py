"""Exchange rates: the one that applies at a given time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal
from uuid import UUID

from sqlalchemy import ARRAY, Text, and_, column, func, literal, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import FxRate, now
from services.access.actor import Actor
from services.access.permissions import Action, require
from services.core.errors import Conflict, FxRateUnavailable, Invalid
from services.core.gradual_change import WINDOW, is_small_change, require_future
from services.core.money import exponent, require_currency

MAX_RATE_AGE = timedelta(days=7)
HUB = "EUR"
_MAX_DIGITS = 20
_RATE = Context(prec=_MAX_DIGITS)
_MAX_EXPONENT = 12
"""Rates lie between 1e-12 and 1e13."""


@dataclass(frozen=True)
class Quote:
    """The price of one major unit of `base` in `quote`, and its row (of a cross rate: its second leg)."""

    base: str
    quote: str
    rate: Decimal
    valid_from: datetime | None
    rate_id: UUID | None
    source: str


def identity_quote(currency: str) -> Quote:
    """Return the rate of a currency to itself, which is 1."""
    return Quote(currency, currency, Decimal(1), None, None, "")


def quote_of_amounts(pair: tuple[str, str], amount_minor: int, converted_minor: int) -> Quote:
    """Return the rate at which somebody else exchanged an amount; it leads to their figure exactly."""
    base, quote = pair
    if base == quote:
        return identity_quote(base)
    shift = exponent(base) - exponent(quote)
    rate = _RATE.divide(Decimal(converted_minor).scaleb(shift), Decimal(amount_minor))
    return Quote(base, quote, rate, None, None, "provider")


def quote_of_rate(pair: tuple[str, str], rate: Decimal, rate_id: UUID | None) -> Quote:
    """Return a rate that applied before, again."""
    return identity_quote(pair[0]) if pair[0] == pair[1] else Quote(*pair, rate, None, rate_id, "")


def quote_of_inverse(pair: tuple[str, str], rate: Decimal, rate_id: UUID | None) -> Quote:
    """Return a rate that applied before from the second currency to the first."""
    return quote_of_rate(pair, _RATE.divide(Decimal(1), rate), rate_id)


async def load_quotes(
    session: AsyncSession, pairs: Iterable[tuple[str, str]], *, at: datetime | None = None
) -> dict[tuple[str, str], Quote]:
    """Load the rates for moving money now or at `at`; one statement at most.

    Raises:
        FxRateUnavailable: a pair has no rate, or none of the last 7 days.
    """
    at = at or now()
    unique = set(pairs)
    quotes = {pair: identity_quote(pair[0]) for pair in unique if pair[0] == pair[1]}
    missing = sorted(unique - quotes.keys())
    if not missing:
        return quotes
    rows = await _load_latest(session, missing, at)
    for pair in missing:
        candidates = list(_candidates(pair, rows))
        fresh = [q for q in candidates if q.valid_from and at - q.valid_from <= MAX_RATE_AGE]
        if not fresh:
            age = f" (the last is of {candidates[0].valid_from:%Y-%m-%d})" if candidates else ""
            raise FxRateUnavailable(
                f"There is no rate from {pair[0]} to {pair[1]} of the last 7 days{age}.", field="amount"
            )
        quotes[pair] = fresh[0]
    return quotes


async def find_quote(
    session: AsyncSession, *, base: str, target: str, at: datetime | None = None
) -> Quote | None:
    """Find the rate at `at` or now, however old, or None. For display only."""
    require_currency(base, field="from")
    require_currency(target, field="to")
    if base == target:
        return identity_quote(base)
    rows = await _load_latest(session, [(base, target)], at or now())
    return next(_candidates((base, target), rows), None)


async def _load_latest(
    session: AsyncSession, pairs: Sequence[tuple[str, str]], at: datetime
) -> dict[tuple[str, str], FxRate]:
    keys = {
        key
        for base, quoted in pairs
        for key in ((base, quoted), (quoted, base), (HUB, base), (HUB, quoted))
        if key[0] != key[1]
    }
    keys_table = func.unnest(
        literal([k[0] for k in keys], ARRAY(Text)), literal([k[1] for k in keys], ARRAY(Text))
    ).table_valued(column("base", Text), column("quote", Text))
    keys_table = keys_table.render_derived(name="keys")
    newest = (
        select(FxRate)
        .where(
            col(FxRate.base) == keys_table.c.base,
            col(FxRate.quote) == keys_table.c.quote,
            col(FxRate.valid_from) <= at,
        )
        .order_by(col(FxRate.valid_from).desc())
        .limit(1)
        .lateral("newest")
    )
    rate = aliased(FxRate, newest)
    rows = await session.execute(select(rate).select_from(keys_table).join(newest, text("true")))
    return {(row.base, row.quote): row for row in rows.scalars()}


def _candidates(pair: tuple[str, str], rows: dict[tuple[str, str], FxRate]) -> Iterator[Quote]:
    """Yield the direct rate, the inverse and the cross rate over the hub, as far as they exist."""
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
    """Add a rate of the platform's own, valid from `valid_from` or now.

    Raises:
        Invalid: the rate is not above zero or no small change, the start is in the past, or the currencies
            are unknown or the same.
        Conflict: there is a rate for this pair at this time.
    """
    require(actor, Action.SET_FX_RATE)
    require_currency(base, field="from")
    require_currency(target, field="to")
    if base == target:
        raise Invalid("Choose two different currencies.", field="to")
    if not rate.is_finite() or rate <= 0 or abs(rate.adjusted()) > _MAX_EXPONENT:
        raise Invalid("Enter a rate greater than zero.", field="rate")
    if len(rate.as_tuple().digits) > _MAX_DIGITS:
        raise Invalid(f"A rate has at most {_MAX_DIGITS} digits.", field="rate")
    require_future(valid_from)
    assert actor.user is not None
    valid_from = valid_from or now()
    await _require_small_change(session, base, target, rate, valid_from)
    return await add_rate(
        session, base=base, target=target, rate=rate, valid_from=valid_from, source=actor.user.slug
    )


async def _require_small_change(
    session: AsyncSession, base: str, target: str, rate: Decimal, valid_from: datetime
) -> None:
    """Require that a rate is near every one in force within a day of its start, and near the next one."""
    times = [
        valid_from - WINDOW,
        *await _change_times(session, base, target, valid_from),
        valid_from,
    ]
    for at in times:
        quote = await find_quote(session, base=base, target=target, at=at)
        if quote is not None and not is_small_change(quote.rate, rate):
            message = f"A rate at most doubles or halves within a day. It is {quote.rate:f} on {at:%Y-%m-%d}."
            raise Invalid(message, field="rate")


async def _change_times(
    session: AsyncSession, base: str, target: str, valid_from: datetime
) -> list[datetime]:
    """Load when the pair's rate changes within a day of a time, and when it changes next after it."""
    changes_at = col(FxRate.valid_from)
    either_way = or_(
        and_(col(FxRate.base) == base, col(FxRate.quote) == target),
        and_(col(FxRate.base) == target, col(FxRate.quote) == base),
    )
    following = select(func.min(changes_at)).where(either_way, changes_at > valid_from).scalar_subquery()
    is_near = and_(changes_at > valid_from - WINDOW, changes_at < valid_from + WINDOW)
    statement = select(changes_at).where(either_way, or_(is_near, changes_at == following)).distinct()
    return sorted((await session.execute(statement)).scalars())


async def add_rate(
    session: AsyncSession, *, base: str, target: str, rate: Decimal, valid_from: datetime, source: str
) -> FxRate:
    """Insert a checked rate.

    Raises:
        Conflict: there is a rate for this pair at this time.
    """
    row = FxRate(base=base, quote=target, rate=rate, valid_from=valid_from, source=source)
    inserted = await session.execute(
        insert(FxRate).values(row.model_dump()).on_conflict_do_nothing().returning(col(FxRate.id))
    )
    if inserted.scalar_one_or_none() is None:
        raise Conflict("There is already a rate for this pair at this time.", field="validFrom")
    return row
