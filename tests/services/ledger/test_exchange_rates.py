"""Choice of exchange rates, and the European Central Bank's history."""

import io
import zipfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from models import FxRate, now
from models.iso4217 import CURRENCIES
from services.core.errors import FxRateUnavailable, Invalid
from services.core.money import convert
from services.database import engine as database_engine
from services.ledger import ecb_rates, exchange_rates
from tests.conftest import Database
from tests.factories import World
from tests.statement_counts import record_statements, without_control

Sessions = async_sessionmaker[AsyncSession]


@pytest.fixture
async def session(world: World) -> AsyncIterator[AsyncSession]:
    async with world.sessions() as session:
        yield session


async def add(world: World, base: str, quote: str, rate: str, *, days_ago: float = 0) -> FxRate:
    """Store a rate and return its row."""
    row = FxRate(
        base=base, quote=quote, rate=Decimal(rate), source="ECB", valid_from=now() - timedelta(days=days_ago)
    )
    await world.add(row)
    return row


async def rate(session: AsyncSession, base: str, target: str, *, at: datetime | None = None) -> Decimal:
    """Return the rate for moving money."""
    return (await exchange_rates.load_quotes(session, [(base, target)], at=at))[base, target].rate


async def test_a_direct_rate_is_used_unchanged_with_its_row(world: World, session: AsyncSession) -> None:
    row = await add(world, "USD", "JPY", "149.25")
    (result,) = (await exchange_rates.load_quotes(session, [("USD", "JPY")])).values()
    assert (result.rate, result.rate_id, result.source) == (Decimal("149.25"), row.id, "ECB")


async def test_the_inverse_is_used_if_there_is_no_direct_rate(world: World, session: AsyncSession) -> None:
    row = await add(world, "EUR", "USD", "1.25")
    (result,) = (await exchange_rates.load_quotes(session, [("USD", "EUR")])).values()
    assert (result.rate, result.rate_id) == (Decimal("0.8"), row.id)


async def test_a_cross_over_the_euro_is_the_last_resort(world: World, session: AsyncSession) -> None:
    await add(world, "EUR", "USD", "1.25", days_ago=2)
    row = await add(world, "EUR", "JPY", "160")
    (result,) = (await exchange_rates.load_quotes(session, [("USD", "JPY")])).values()
    assert (result.rate, result.rate_id) == (Decimal(128), row.id)
    assert result.valid_from is not None
    assert now() - result.valid_from > timedelta(days=1)


async def test_direct_comes_before_inverse_and_inverse_before_cross(
    world: World, session: AsyncSession
) -> None:
    await add(world, "EUR", "USD", "1")
    await add(world, "EUR", "JPY", "100")
    assert await rate(session, "USD", "JPY") == 100
    await add(world, "JPY", "USD", "0.005", days_ago=1)
    assert await rate(session, "USD", "JPY") == 200
    await add(world, "USD", "JPY", "300", days_ago=2)
    assert await rate(session, "USD", "JPY") == 300


async def test_a_fresh_inverse_replaces_a_stale_direct_rate(world: World, session: AsyncSession) -> None:
    await add(world, "USD", "JPY", "300", days_ago=8)
    await add(world, "JPY", "USD", "0.005")
    assert await rate(session, "USD", "JPY") == 200


@pytest.mark.parametrize(("days", "is_fresh"), [(6.99, True), (7.01, False), (8, False), (-1, False)])
async def test_a_rate_moves_money_for_seven_days(
    world: World, session: AsyncSession, days: float, *, is_fresh: bool
) -> None:
    await add(world, "USD", "JPY", "150", days_ago=days)
    if is_fresh:
        assert await rate(session, "USD", "JPY") == 150
        return
    with pytest.raises(FxRateUnavailable):
        await rate(session, "USD", "JPY")


async def test_a_stale_leg_makes_a_cross_stale(world: World, session: AsyncSession) -> None:
    await add(world, "EUR", "USD", "1.25", days_ago=8)
    await add(world, "EUR", "JPY", "160")
    with pytest.raises(
        FxRateUnavailable, match=r"from USD to JPY of the last 7 days \(the last is of \d{4}-"
    ):
        await rate(session, "USD", "JPY")


async def test_a_past_rate_is_the_last_one_before_its_time(world: World, session: AsyncSession) -> None:
    first = await add(world, "USD", "JPY", "100", days_ago=20)
    second = await add(world, "USD", "JPY", "200", days_ago=10)
    assert await rate(session, "USD", "JPY", at=first.valid_from) == 100
    assert (
        await rate(
            session, "USD", "JPY", at=second.valid_from - timedelta(microseconds=1) - timedelta(days=4)
        )
        == 100
    )
    assert await rate(session, "USD", "JPY", at=second.valid_from) == 200
    with pytest.raises(FxRateUnavailable):
        await rate(session, "USD", "JPY", at=first.valid_from - timedelta(microseconds=1))
    old = await exchange_rates.find_quote(session, base="USD", target="JPY")
    assert old is not None
    assert old.rate == 200
    assert await exchange_rates.find_quote(session, base="USD", target="KWD") is None


async def test_a_currency_is_worth_itself_and_needs_no_rate(session: AsyncSession) -> None:
    result = await exchange_rates.load_quotes(session, [("KWD", "KWD"), ("CUR", "CUR")])
    assert {quote.rate for quote in result.values()} == {Decimal(1)}
    with pytest.raises(Invalid):
        await exchange_rates.find_quote(session, base="XXX", target="XXX")


async def test_many_pairs_are_quoted_together(world: World, session: AsyncSession) -> None:
    await add(world, "EUR", "USD", "1.25")
    await add(world, "EUR", "JPY", "160")
    pairs = [("EUR", "USD"), ("USD", "EUR"), ("JPY", "USD"), ("USD", "USD"), ("EUR", "USD")]
    result = await exchange_rates.load_quotes(session, pairs)
    assert {pair: str(quote.rate) for pair, quote in result.items()} == {
        ("EUR", "USD"): "1.25",
        ("USD", "EUR"): "0.8",
        ("JPY", "USD"): "0.0078125",
        ("USD", "USD"): "1",
    }


@pytest.fixture(scope="module")
async def history(make_database: Callable[[], Database]) -> AsyncIterator[World]:
    """Return a world with the packaged history, loaded twice."""
    database = make_database()
    engine = database_engine.create_pool(database.settings)
    world = World(database.settings, database_engine.session_factory(engine))
    archive = ecb_rates.read_packaged_history()
    added = []
    for _ in range(2):
        async with world.sessions() as session, session.begin():
            added.append(await ecb_rates.import_rates(session, archive))
    assert added[0] > 190_000
    assert added[1] == 0
    yield world
    await engine.dispose()


async def test_the_packaged_history_is_that_of_the_ecb(history: World) -> None:
    assert await history.scalar("SELECT count(*) FROM fx_rate") > 190_000
    assert await history.scalar("SELECT count(*) FROM fx_rate WHERE base <> 'EUR' OR source <> 'ECB'") == 0
    assert await history.scalar("SELECT count(DISTINCT quote) FROM fx_rate") >= 30
    first = await history.scalar("SELECT min(valid_from) FROM fx_rate")
    assert first == datetime(1999, 1, 4, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "code", "published"),
    [
        ("1999-01-04", "USD", "1.1789"),
        ("1999-01-04", "JPY", "133.73"),
        ("2000-10-26", "USD", "0.8252"),
        ("2008-07-15", "USD", "1.5990"),
        ("2015-01-15", "CHF", "1.0280"),
    ],
)
async def test_published_rates_are_stored_exactly(
    history: World, day: str, code: str, published: str
) -> None:
    at = datetime.fromisoformat(day).replace(tzinfo=UTC)
    async with history.sessions() as session:
        evening = await exchange_rates.find_quote(
            session, base="EUR", target=code, at=at + timedelta(hours=18)
        )
        morning = await exchange_rates.find_quote(
            session, base="EUR", target=code, at=at + timedelta(hours=9)
        )
    assert evening is not None
    assert (evening.rate, evening.valid_from) == (Decimal(published), at + timedelta(hours=15))
    assert morning is None or morning.valid_from != evening.valid_from


async def test_a_weekend_uses_fridays_rates_for_both_legs_of_a_cross(history: World) -> None:
    sunday = datetime(2015, 1, 18, 12, tzinfo=UTC)
    async with history.sessions() as session:
        result = (await exchange_rates.load_quotes(session, [("USD", "CHF")], at=sunday))["USD", "CHF"]
    assert result.valid_from == datetime(2015, 1, 16, 15, tzinfo=UTC)
    assert Decimal("0.85") < result.rate < Decimal("0.88")


async def test_converting_there_and_back_at_published_rates_gains_nothing(history: World) -> None:
    at = datetime(2015, 1, 16, 18, tzinfo=UTC)
    codes = ["USD", "JPY", "GBP", "CHF", "HUF", "EUR"]
    pairs = [(a, b) for a in codes for b in codes]
    async with history.sessions() as session:
        result = await exchange_rates.load_quotes(session, pairs, at=at)
    for a, b in pairs:
        product = result[a, b].rate * result[b, a].rate
        assert abs(product - 1) < Decimal("1e-15"), (a, b)
        for amount in (10**6, 10**9, 123_456_789):
            there = convert(amount, result[a, b].rate, source=a, target=b)
            unit = result[a, b].rate.scaleb(CURRENCIES[b][0] - CURRENCIES[a][0])
            back = convert(there, result[b, a].rate, source=b, target=a)
            assert abs(back - amount) <= Decimal("0.5") / unit + 1, (a, b)


def archive(*days: str, header: str = "Date,XXX,USD,JPY,\n") -> bytes:
    """Return days as the bank publishes them."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as zipped:
        zipped.writestr("eurofxref-hist.csv", header + "".join(f"{day}\n" for day in days))
    return content.getvalue()


async def loaded(sessions: Sessions, history: bytes, *, force: bool = False) -> int:
    async with sessions() as session, session.begin():
        return await ecb_rates.import_rates(session, history, force=force)


async def test_a_new_server_loads_the_last_years_rates_and_a_job_the_rest(sessions: Sessions) -> None:
    days = (
        "2026-01-02,7,1.1,150,",
        "2025-01-02,7,1.2,151,",
        "2024-11-01,7,1.3,152,",
        "1999-01-04,7,1.4,153,",
        "1999-01-05,7,1.5,154,",
    )
    history = archive(*days)

    async def older(session: AsyncSession, archive: bytes) -> int:
        return await ecb_rates.import_older_rates(session, ecb_rates.open_history(archive), max_days=2)

    async def count(statement: str) -> int:
        async with sessions() as session:
            return int((await session.execute(text(statement))).scalar_one())

    recent = ecb_rates.import_recent_rates
    for step, added, stored in (
        (recent, 4, 4),
        (older, 4, 8),
        (older, 2, 10),
        (recent, 0, 10),
        (older, 0, 10),
    ):
        async with sessions() as session, session.begin():
            assert await step(session, history) == added
        assert await count("SELECT count(*) FROM fx_rate") == stored
    name = ecb_rates.OLDER_RATES_JOB
    assert await count(f"SELECT count(*) FROM jobs.procrastinate_jobs WHERE task_name = '{name}'") == 1


async def test_a_stored_history_is_skipped_after_one_query(sessions: Sessions, engine: AsyncEngine) -> None:
    """Earlier days contain errors, so that reading them would fail."""
    first, second = "2026-01-02,7,1.1,150,", "2026-01-05,N/A,N/A,151,"
    assert await loaded(sessions, archive(first)) == 2
    assert await loaded(sessions, archive(second, first)) == 1
    for days in ((second, "2026-01-02,7,broken,-1,"), (second,), (first, second)):
        with record_statements(engine) as statements:
            assert await loaded(sessions, archive(*days)) == 0
        assert len(without_control(statements)) == 1
    broken = archive(second, "2026-01-02,7,broken,150,")
    with pytest.raises(Invalid):
        await loaded(sessions, broken, force=True)
    assert await loaded(sessions, archive(second, first), force=True) == 0
    newer = archive("2026-01-06,7,1.2,N/A,", second, first)
    assert await loaded(sessions, newer) == 1


@pytest.mark.parametrize("days", [(), ("2026-01-02,7,N/A,,",)])
async def test_a_history_without_rates_adds_none(sessions: Sessions, days: tuple[str, ...]) -> None:
    assert await loaded(sessions, archive(*days)) == 0
    with pytest.raises(Invalid):
        await loaded(sessions, archive(*days, header="Day,USD\n"))
