"""Importing Open Collective ledgers: a real one where it is at hand, files in parts, again and at once."""

import asyncio
import csv
import io
from decimal import Decimal
from pathlib import Path

import pytest

from models import (
    Collective,
)
from services.core.errors import Problem
from services.open_collective.importer import ImportReport, replay
from tests.open_collective_files import (
    Sessions,
    add_money,
    after_each_row,
    balances,
    contents,
    cover,
    every,
    file,
    gift,
    host_fee,
    orders,
    organization,
    refused,
    run,
    transactions,
)

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "opencollective-ledger-2017-2021.csv"


@pytest.fixture
def real() -> Path:
    if not REAL.exists():
        pytest.skip(f"SKIPPED LOUDLY: no real ledger at {REAL}")
    return REAL


def cells(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file by column."""
    return list(csv.DictReader(io.StringIO(path.read_text())))


def beginning(path: Path, folder: Path, *, lines: int) -> Path:
    """Write the first lines of a file to another."""
    part = folder / "beginning.csv"
    part.write_text("".join(path.read_text().splitlines(keepends=True)[:lines]))
    return part


async def test_a_real_ledger_has_its_balance_after_each_row(hosted: Sessions, real: Path) -> None:
    report = await run(hosted, real)

    rows = cells(real)
    expected = [int(Decimal(row["balance"]) * 100) for row in rows]
    assert len(expected) == 476
    assert await after_each_row(hosted, "webpack") == expected
    assert expected[-1] == 468_988
    assert report.balance.value == Decimal("4689.88")
    assert (report.rows, report.orders, report.transactions, report.skipped) == (476, 352, 476, 0)
    assert report.counterparts == len({row["oppositeAccountSlug"] for row in rows}) - 1
    held = await balances(hosted)
    assert held["opensource", "CASH"] == -held["webpack", "BALANCE"] - held["opensource", "BALANCE"]
    assert {str(t.at)[:19].replace(" ", "T") for t in await transactions(hosted)} == {
        row["datetime"] for row in rows
    }


async def test_a_real_ledger_twice_changes_nothing(hosted: Sessions, real: Path) -> None:
    await run(hosted, real)
    before = await contents(hosted)
    report = await run(hosted, real)
    assert await contents(hosted) == before
    assert (report.orders, report.transactions, report.counterparts, report.skipped) == (
        0,
        0,
        0,
        476,
    )


@pytest.mark.parametrize("cut", [2, 261, 369, 476])
async def test_a_real_ledger_in_two_parts_is_the_same_as_at_once(
    hosted: Sessions, real: Path, tmp_path: Path, cut: int
) -> None:
    """Two cuts fall between the rows of a group: after its contribution, and after its fee."""
    first = await run(hosted, beginning(real, tmp_path, lines=cut))
    second = await run(hosted, real)
    assert first.rows == second.skipped
    assert first.transactions + second.transactions == 476
    assert (await after_each_row(hosted, "webpack"))[-1] == 468_988
    await balances(hosted)


async def test_a_fee_that_comes_later_joins_its_order(hosted: Sessions, tmp_path: Path) -> None:
    rows = [
        gift(shortGroup="one"),
        host_fee(shortGroup="one"),
        gift(),
        cover("0.1", shortGroup="one"),
    ]
    for length in (1, 2, 3, 4):
        report = await run(hosted, file(tmp_path, rows[:length]))
        assert (report.transactions, report.skipped) == (1, length - 1)
    assert len(await orders(hosted)) == 2
    await balances(hosted)


async def test_a_contribution_that_comes_after_its_fee_leaves_the_fee_where_it_is(
    hosted: Sessions, tmp_path: Path
) -> None:
    rows = [gift(), host_fee(shortGroup="one"), gift("20", shortGroup="one")]
    await run(hosted, file(tmp_path, rows[:2]))
    path = file(tmp_path, rows)
    await run(hosted, path)
    before = await contents(hosted)
    await run(hosted, path)
    assert await contents(hosted) == before
    assert [o.type for o in await orders(hosted)] == ["DONATION", "TRANSFER", "DONATION"]
    await balances(hosted)


async def test_a_later_file_may_begin_where_the_first_ended(hosted: Sessions, tmp_path: Path) -> None:
    await run(hosted, file(tmp_path, [gift()]))
    later = gift(balance="20", datetime="2020-06-01T00:00:00", shortGroup="new", shortId="new")
    await run(hosted, file(tmp_path, [later]))
    assert await after_each_row(hosted, "webpack") == [1000, 2000]


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"datetime": "2020-01-04T12:00:01"}, "datetime"),
        ({"amount": "11"}, "amount"),
        ({"amount": "11", "netAmount": "11"}, "amount"),
        ({"paymentProcessorFee": "-0.5", "netAmount": "9.5"}, "paymentProcessorFee"),
        ({"netAmount": "9"}, "netAmount"),
        ({"oppositeAccountSlug": "another"}, "oppositeAccountSlug"),
        ({"kind": "ADDED_FUNDS"}, "kind"),
        ({"shortId": "another"}, "shortId"),
        ({"shortGroup": "another"}, "shortId"),
    ],
)
async def test_a_file_that_differs_from_what_was_imported_is_refused(
    hosted: Sessions, tmp_path: Path, change: dict[str, str], column: str
) -> None:
    """With and without new rows; the changed row is the second, line 3."""
    await run(hosted, file(tmp_path, [gift(), gift(), gift()]))
    message = await refused(hosted, file(tmp_path, [gift(), gift() | change, gift()]))
    assert message.startswith(f"Line 3, {column}: ")
    await refused(hosted, file(tmp_path, [gift(), gift() | change, gift(), gift()]))


async def test_a_shifted_balance_is_refused(hosted: Sessions, tmp_path: Path) -> None:
    await run(hosted, file(tmp_path, [gift(), gift()]))
    path = file(tmp_path, [gift(balance="15"), gift(balance="25")])
    assert await refused(hosted, path) == ("Line 2, balance: the ledger has another balance after this row")


async def test_the_last_group_with_another_row_is_refused(hosted: Sessions, tmp_path: Path) -> None:
    await run(hosted, file(tmp_path, [gift(), gift(shortGroup="one")]))
    again = gift(shortGroup="one", shortId="other", balance="30", datetime="2020-03-01T00:00:00")
    message = await refused(hosted, file(tmp_path, [again]))
    assert message.startswith("Line 2, shortGroup: ")


async def test_history_is_not_put_before_what_is_there(hosted: Sessions, tmp_path: Path) -> None:
    path = file(tmp_path, [gift(), gift()])
    await run(hosted, path)
    await add_money(hosted, "webpack", 500)
    before = await contents(hosted)
    report = await run(hosted, path)
    assert (report.transactions, await contents(hosted)) == (0, before)
    message = await refused(hosted, file(tmp_path, [gift(), gift(), gift()]))
    assert message.startswith("Line 4, datetime: history cannot be put before what is there")


async def test_a_collective_that_has_money_takes_no_history_that_starts_with_none(
    hosted: Sessions, tmp_path: Path
) -> None:
    await run(hosted, file(tmp_path, [gift()]))
    rows = [gift(shortGroup="new", datetime="2020-06-01T00:00:00")]
    message = await refused(hosted, file(tmp_path, rows))
    assert message == (
        "Line 2, balance: before this row it is 10.00 here, 0.00 by this balance and netAmount"
    )


async def test_two_imports_at_once_do_it_once(hosted: Sessions, tmp_path: Path) -> None:
    path = file(tmp_path, [gift(), host_fee(), gift()])
    outcomes = await asyncio.gather(*(run(hosted, path) for _ in range(4)), return_exceptions=True)
    assert all(isinstance(outcome, ImportReport | Problem) for outcome in outcomes)
    done = [outcome for outcome in outcomes if isinstance(outcome, ImportReport)]
    assert sum(report.transactions for report in done) == 3
    assert await after_each_row(hosted, "webpack") == [1000, 900, 1900]
    again = await asyncio.gather(*(run(hosted, path) for _ in range(4)))
    assert [report.skipped for report in again] == [3] * 4


async def test_progress_is_told_row_by_row(hosted: Sessions, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    await run(hosted, file(tmp_path, [gift(), gift()]), progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]


async def test_the_callers_own_work_survives_a_refusal(hosted: Sessions, tmp_path: Path) -> None:
    async with hosted() as session:
        await organization(session, "kept")
        with pytest.raises(Problem):
            await replay(
                session,
                path=file(tmp_path, [gift(), cover("1")]),
                host_slug="opensource",
                collective_slug="webpack",
            )
        await session.commit()
    assert {row.slug for row in await every(hosted, Collective)} == {
        "platform",
        "opensource",
        "kept",
    }
