"""Imports in chunks: interrupted anywhere and run again, and beside the host's other postings."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from models import Collective, Member, Order, OrderAction
from services.core.errors import InsufficientFunds
from services.database.engine import create_pool, session_factory
from services.open_collective import chunks, importer
from services.open_collective.importer import import_ledger
from tests.conftest import MakeDatabase
from tests.open_collective_files import (
    Sessions,
    add_funds,
    create_organization,
    donation,
    host_fee,
    import_csv,
    load_all,
    load_balances,
    load_transactions,
    returned,
    running_balances,
    write_csv,
)


class Interrupted(Exception):
    """The import was stopped."""


def long_history(folder: Path) -> Path:
    """Write 26 rows: gifts with fees, and refunds of some that come many rows later."""
    rows = []
    for number in range(12):
        group = {"shortGroup": f"g{number:02}"}
        rows += [donation("10", fee="-0.5", shortId=f"gift{number}", **group), host_fee("-1", **group)]
    rows += [returned("CONTRIBUTION", "-10", f"gift{number}", fee="0.5", net="-9.5") for number in (0, 7)]
    return write_csv(folder, rows)


async def contents(sessions: Sessions) -> list[Any]:
    """Return what an import has made, without the times of recording and random ids."""
    transactions = await load_transactions(sessions)
    orders = {order.id: order for order in await load_all(sessions, Order)}
    actions = await load_all(sessions, OrderAction)
    return [
        sorted(
            (t.id, t.at, t.kind, t.amount, orders[t.order_id].import_key) for t in transactions if t.order_id
        ),
        sorted((o.import_key or "", o.status, o.amount, o.updated_at) for o in orders.values()),
        sorted((orders[a.order_id].import_key or "", a.type, a.at) for a in actions),
        sorted((row.slug, row.type) for row in await load_all(sessions, Collective)),
        len(await load_all(sessions, Member)),
        await running_balances(sessions, "webpack"),
        sorted((await load_balances(sessions)).items()),
    ]


async def test_an_import_interrupted_after_any_chunk_continues(
    hosted: Sessions, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "CHUNK_ROWS", 5)
    path = long_history(tmp_path)
    await import_csv(hosted, path)
    whole = await contents(hosted)
    write_chunk, left = chunks.write_chunk, 0

    async def stop_after(*arguments: Any) -> chunks.Written:
        nonlocal left
        if left == 0:
            raise Interrupted
        left -= 1
        return await write_chunk(*arguments)

    monkeypatch.setattr(importer, "write_chunk", stop_after)
    for done in range(6):
        engine = create_pool(make_database().settings)
        sessions = session_factory(engine)
        await create_hosts(sessions)
        left = done
        with pytest.raises(Interrupted):
            await import_csv(sessions, path)
        assert len(await load_transactions(sessions)) == 5 * done
        left = 100
        report = await import_csv(sessions, path)
        assert (report.skipped, report.transactions) == (5 * done, 26 - 5 * done)
        assert await contents(sessions) == whole
        await engine.dispose()


async def create_hosts(sessions: Sessions) -> None:
    """Store a platform and a host, as `hosted` does."""
    async with sessions.begin() as session:
        await create_organization(session, "platform", is_platform=True)
        await create_organization(session, "opensource")


async def test_a_new_collective_is_open_to_others_once_its_history_is_complete(
    hosted: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "CHUNK_ROWS", 10)
    seen: list[datetime | None] = []
    write_chunk = chunks.write_chunk

    async def watched(*arguments: Any) -> chunks.Written:
        written = await write_chunk(*arguments)
        rows = {row.slug: row for row in await load_all(hosted, Collective)}
        seen.append(rows["webpack"].host_approved_at)
        return written

    monkeypatch.setattr(importer, "write_chunk", watched)
    await import_csv(hosted, long_history(tmp_path))
    assert seen == [None, None, None]
    rows = {row.slug: row for row in await load_all(hosted, Collective)}
    assert rows["webpack"].host_approved_at is not None


async def test_the_hosts_other_money_moves_on_during_an_import(
    hosted: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are never refused, and the imported history keeps its times."""
    monkeypatch.setattr(importer, "CHUNK_ROWS", 20)
    await import_csv(hosted, write_csv(tmp_path, [donation(accountSlug="other")]), collective_slug="other")
    at = datetime(2021, 1, 1, tzinfo=UTC)
    rows = [
        donation(datetime=(at + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%S"))
        for minute in range(400)
    ]
    path = write_csv(tmp_path, rows)
    running = asyncio.create_task(
        import_ledger(hosted, path=path, host_slug="opensource", collective_slug="webpack")
    )
    added = 0
    while not running.done():
        await add_funds(hosted, "other", 1)
        added += 1
        await asyncio.sleep(0)
    assert (await running).transactions == 400
    assert added > 20
    balances = await load_balances(hosted)
    assert (balances["webpack", "BALANCE"], balances["other", "BALANCE"]) == (400_000, 1000 + added)
    years = [t.at.year for t in await load_transactions(hosted) if t.kind == "DONATION"]
    assert years == [2020] + [2021] * 400


async def test_a_row_that_is_refused_is_named_and_earlier_chunks_stay(
    hosted: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "CHUNK_ROWS", 2)
    rows = [donation(), donation(), donation(), donation("-50", balance="")]
    with pytest.raises(InsufficientFunds, match=r"Line 5, amount: "):
        await import_csv(hosted, write_csv(tmp_path, rows))
    assert await running_balances(hosted, "webpack") == [1000, 2000]
