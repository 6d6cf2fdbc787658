"""Imports of Open Collective ledgers: a real one if present, in parts, repeated and concurrent."""

import asyncio
import csv
import io
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from services.core.errors import Problem
from services.open_collective.importer import ImportReport
from tests.open_collective_files import (
    Sessions,
    add_funds,
    cover,
    digest_tables,
    donation,
    expect_import_problem,
    host_fee,
    import_csv,
    load_balances,
    load_orders,
    load_transactions,
    running_balances,
    write_csv,
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
    report = await import_csv(hosted, real)

    rows = cells(real)
    expected = [int(Decimal(row["balance"]) * 100) for row in rows]
    assert len(expected) == 476
    running = await running_balances(hosted, "webpack")
    ends = [i for i, row in enumerate(rows) if i == 475 or rows[i + 1]["shortGroup"] != row["shortGroup"]]
    assert [running[i] for i in ends] == [expected[i] for i in ends]
    assert report.notes == []
    assert expected[-1] == 468_988
    assert report.balance.value == Decimal("4689.88")
    assert (report.rows, report.orders, report.transactions, report.skipped) == (476, 352, 476, 0)
    assert report.counterparts == len({row["oppositeAccountSlug"] for row in rows}) - 1
    held = await load_balances(hosted)
    assert held["opensource", "CASH"] == -held["webpack", "BALANCE"] - held["opensource", "BALANCE"]
    times = {f"Open Collective {row['shortId']}": datetime.fromisoformat(row["datetime"]) for row in rows}
    shifts = [t.at.replace(tzinfo=None) - times[t.description or ""] for t in await load_transactions(hosted)]
    # Only a fee that stands a second before its contribution has the contribution's time.
    assert {shift.total_seconds() for shift in shifts} == {0, 1}
    assert sum(shift.total_seconds() for shift in shifts) < 20


async def test_importing_a_real_ledger_twice_changes_nothing(hosted: Sessions, real: Path) -> None:
    await import_csv(hosted, real)
    before = await digest_tables(hosted)
    report = await import_csv(hosted, real)
    assert await digest_tables(hosted) == before
    assert (report.orders, report.transactions, report.counterparts, report.skipped) == (
        0,
        0,
        0,
        476,
    )


@pytest.mark.parametrize("cut", [2, 261, 369, 476])
async def test_importing_a_real_ledger_in_two_parts_gives_the_same_result(
    hosted: Sessions, real: Path, tmp_path: Path, cut: int
) -> None:
    """Two cuts fall between the rows of a group: after its contribution, and after its fee."""
    first = await import_csv(hosted, beginning(real, tmp_path, lines=cut))
    second = await import_csv(hosted, real)
    assert first.rows == second.skipped
    assert first.transactions + second.transactions == 476
    assert (await running_balances(hosted, "webpack"))[-1] == 468_988
    await load_balances(hosted)


async def test_a_later_fee_joins_its_order(hosted: Sessions, tmp_path: Path) -> None:
    rows = [
        donation(shortGroup="one"),
        host_fee(shortGroup="one"),
        donation(),
        cover("0.1", shortGroup="one"),
    ]
    for length in (1, 2, 3, 4):
        report = await import_csv(hosted, write_csv(tmp_path, rows[:length]))
        assert (report.transactions, report.skipped) == (1, length - 1)
    assert len(await load_orders(hosted)) == 2
    await load_balances(hosted)


async def test_a_contribution_after_its_fee_does_not_move_the_fee(hosted: Sessions, tmp_path: Path) -> None:
    rows = [donation(), host_fee(shortGroup="one"), donation("20", shortGroup="one")]
    await import_csv(hosted, write_csv(tmp_path, rows[:2]))
    path = write_csv(tmp_path, rows)
    await import_csv(hosted, path)
    before = await digest_tables(hosted)
    await import_csv(hosted, path)
    assert await digest_tables(hosted) == before
    assert [o.type for o in await load_orders(hosted)] == ["DONATION", "TRANSFER", "DONATION"]
    await load_balances(hosted)


async def test_a_later_file_may_start_where_the_first_ended(hosted: Sessions, tmp_path: Path) -> None:
    await import_csv(hosted, write_csv(tmp_path, [donation()]))
    later = donation(balance="20", datetime="2020-06-01T00:00:00", shortGroup="new", shortId="new")
    await import_csv(hosted, write_csv(tmp_path, [later]))
    assert await running_balances(hosted, "webpack") == [1000, 2000]


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
    await import_csv(hosted, write_csv(tmp_path, [donation(), donation(), donation()]))
    message = await expect_import_problem(
        hosted, write_csv(tmp_path, [donation(), donation() | change, donation()])
    )
    assert message.startswith(f"Line 3, {column}: ")
    await expect_import_problem(
        hosted, write_csv(tmp_path, [donation(), donation() | change, donation(), donation()])
    )


async def test_a_file_that_does_not_continue_the_balance_is_reported(
    hosted: Sessions, tmp_path: Path
) -> None:
    await import_csv(hosted, write_csv(tmp_path, [donation(), donation()]))
    shifted = [donation(balance="15"), donation(balance="25"), donation(balance="35")]
    path = write_csv(tmp_path, shifted)
    note = "Line 4, balance: the account has 20.00 before this row, but the file implies 25.00"
    assert await expect_import_problem(hosted, path, is_strict=True) == note
    report = await import_csv(hosted, path)
    assert (report.notes, report.transactions) == ([note], 1)
    assert await running_balances(hosted, "webpack") == [1000, 2000, 3000]


async def test_an_additional_row_in_the_last_group_is_refused(hosted: Sessions, tmp_path: Path) -> None:
    await import_csv(hosted, write_csv(tmp_path, [donation(), donation(shortGroup="one")]))
    again = donation(shortGroup="one", shortId="other", balance="30", datetime="2020-03-01T00:00:00")
    message = await expect_import_problem(hosted, write_csv(tmp_path, [again]))
    assert message.startswith("Line 2, shortGroup: ")


async def test_history_before_existing_transactions_is_refused(hosted: Sessions, tmp_path: Path) -> None:
    path = write_csv(tmp_path, [donation(), donation()])
    await import_csv(hosted, path)
    await add_funds(hosted, "webpack", 500)
    before = await digest_tables(hosted)
    report = await import_csv(hosted, path)
    assert (report.transactions, await digest_tables(hosted)) == (0, before)
    message = await expect_import_problem(hosted, write_csv(tmp_path, [donation(), donation(), donation()]))
    assert message.startswith("Line 4, datetime: rows must not be earlier than")


async def test_history_that_starts_at_zero_again_is_reported(hosted: Sessions, tmp_path: Path) -> None:
    await import_csv(hosted, write_csv(tmp_path, [donation()]))
    rows = [donation(shortGroup="new", shortId="new", datetime="2020-06-01T00:00:00")]
    report = await import_csv(hosted, write_csv(tmp_path, rows))
    assert report.notes == [
        "Line 2, balance: the account has 10.00 before this row, but the file implies 0.00"
    ]
    assert await running_balances(hosted, "webpack") == [1000, 2000]


async def test_concurrent_imports_of_a_file_import_it_once(hosted: Sessions, tmp_path: Path) -> None:
    path = write_csv(tmp_path, [donation(), host_fee(), donation()])
    outcomes = await asyncio.gather(*(import_csv(hosted, path) for _ in range(4)), return_exceptions=True)
    assert all(isinstance(outcome, ImportReport | Problem) for outcome in outcomes)
    results = [outcome for outcome in outcomes if isinstance(outcome, ImportReport)]
    assert sum(report.transactions for report in results) == 3
    assert await running_balances(hosted, "webpack") == [1000, 900, 1900]
    again = await asyncio.gather(*(import_csv(hosted, path) for _ in range(4)))
    assert [report.skipped for report in again] == [3] * 4


async def test_progress_is_reported(hosted: Sessions, tmp_path: Path) -> None:
    results: list[tuple[int, int]] = []
    await import_csv(
        hosted,
        write_csv(tmp_path, [donation(), donation()]),
        progress=lambda done, of: results.append((done, of)),
    )
    assert results == [(2, 2)]
