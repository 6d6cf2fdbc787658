"""Files that are no Open Collective ledger are refused with the place of what is wrong."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.core.errors import Problem
from services.open_collective.csv_reader import REQUIRED_COLUMNS
from tests.open_collective_files import (
    Sessions,
    csv_row,
    donation,
    expect_import_problem,
    host_fee,
    import_csv,
    load_transactions,
    returned,
    write_csv,
)

BROKEN_CELLS = [
    ({"kind": "OPENING_BALANCE"}, "kind"),
    ({"kind": "contribution"}, "kind"),
    ({"kind": ""}, "kind"),
    ({"type": "BOTH"}, "type"),
    ({"type": "DEBIT"}, "amount"),
    ({"amount": "0"}, "amount"),
    ({"amount": ""}, "amount"),
    ({"amount": "ten"}, "amount"),
    ({"amount": "NaN"}, "amount"),
    ({"amount": "inf"}, "amount"),
    ({"amount": "1e1"}, "amount"),
    ({"amount": "1_0"}, "amount"),
    ({"amount": "1,000"}, "amount"),
    ({"amount": "\u0661\u0660"}, "amount"),  # Arabic digits
    ({"amount": "10.001"}, "amount"),
    ({"amount": "9" * 20}, "amount"),
    ({"amount": "9" * 500}, "amount"),
    ({"paymentProcessorFee": "x"}, "paymentProcessorFee"),
    ({"paymentProcessorFee": "-0.001"}, "paymentProcessorFee"),
    ({"paymentProcessorFee": "0.5"}, "paymentProcessorFee"),
    ({"paymentProcessorFee": "-10", "netAmount": "0", "balance": "10"}, "paymentProcessorFee"),
    ({"netAmount": "-inf"}, "netAmount"),
    ({"netAmount": "9.999"}, "netAmount"),
    ({"netAmount": "11"}, "netAmount"),
    ({"netAmount": "-1"}, "netAmount"),
    ({"balance": "sNaN"}, "balance"),
    ({"balance": "1.234"}, "balance"),
    ({"currency": "EUR"}, "currency"),
    ({"currency": ""}, "currency"),
    ({"accountSlug": "another"}, "accountSlug"),
    ({"accountSlug": ""}, "accountSlug"),
    ({"oppositeAccountSlug": ""}, "oppositeAccountSlug"),
    ({"oppositeAccountSlug": "Who is this?"}, "oppositeAccountSlug"),
    ({"oppositeAccountSlug": "--"}, "oppositeAccountSlug"),
    ({"oppositeAccountSlug": "a" * 256}, "oppositeAccountSlug"),
    ({"oppositeAccountSlug": "webpack"}, "oppositeAccountSlug"),
    ({"datetime": ""}, "datetime"),
    ({"datetime": "yesterday"}, "datetime"),
    ({"datetime": "2020-01-04"}, "datetime"),
    ({"datetime": "2020-02-30T00:00:00"}, "datetime"),
    ({"datetime": "0001-01-01T00:00:00+14:00"}, "datetime"),
    ({"datetime": "2999-01-01T00:00:00"}, "datetime"),
    ({"shortId": ""}, "shortId"),
    ({"shortId": "id2", "shortGroup": "group2"}, "shortId"),
    ({"shortGroup": "a b"}, "shortGroup"),
    ({"isRefund": "perhaps"}, "isRefund"),
    ({"isRefunded": "perhaps"}, "isRefunded"),
    ({"isRefund": "REFUND", "shortRefundId": "id2"}, "shortRefundId"),
    ({"shortRefundId": "no id"}, "shortRefundId"),
]


@pytest.mark.parametrize(("change", "column"), BROKEN_CELLS)
async def test_a_broken_cell_is_named_and_nothing_is_stored(
    hosted: Sessions, tmp_path: Path, change: dict[str, str], column: str
) -> None:
    rows = [donation(), donation() | change, donation()]
    message = await expect_import_problem(hosted, write_csv(tmp_path, rows))
    assert message.split(": ")[0] == f"Line 3, {column}"


BROKEN_ROWS = [
    (csv_row("HOST_FEE", "1", oppositeAccountSlug="opensource"), "type"),
    (csv_row("PAYMENT_PROCESSOR_FEE", "1"), "type"),
    (csv_row("PAYMENT_PROCESSOR_COVER", "-1", oppositeAccountSlug="opensource"), "type"),
    (host_fee(paymentProcessorFee="-0.5", netAmount="-1.5"), "paymentProcessorFee"),
    (host_fee(netAmount="-2"), "netAmount"),
    (csv_row("EXPENSE", "-5", net="-6"), "netAmount"),
    (csv_row("EXPENSE", "-5", fee="0.25"), "paymentProcessorFee"),
    (csv_row("EXPENSE", "-5", oppositeAccountSlug="webpack"), "oppositeAccountSlug"),
    (returned("CONTRIBUTION", "-10.01", "id2"), "amount"),
    (returned("CONTRIBUTION", "-10", "id2", oppositeAccountSlug="x"), "shortRefundId"),
    (returned("CONTRIBUTION", "-10", "id2", fee="-0.3"), "paymentProcessorFee"),
    (csv_row("EXPENSE", "-10.01"), "amount"),
]


@pytest.mark.parametrize(("row", "column"), BROKEN_ROWS)
async def test_an_implausible_row_is_named_and_nothing_is_stored(
    hosted: Sessions, tmp_path: Path, row: dict[str, str], column: str
) -> None:
    message = await expect_import_problem(hosted, write_csv(tmp_path, [donation(), row]), Problem)
    assert message.split(": ")[0] == f"Line 3, {column}"


async def test_a_refund_of_a_refund_is_not_taken_for_one(hosted: Sessions, tmp_path: Path) -> None:
    rows = [donation(), returned("CONTRIBUTION", "-10", "id2"), returned("CONTRIBUTION", "10", "id3")]
    message = await expect_import_problem(hosted, write_csv(tmp_path, rows), is_strict=True)
    assert message == "Line 4, shortRefundId: the file does not have what this row refunds"


@pytest.mark.parametrize("column", [*REQUIRED_COLUMNS, "balance", "isRefund"])
async def test_a_missing_or_duplicate_column_is_named(hosted: Sessions, tmp_path: Path, column: str) -> None:
    path = write_csv(tmp_path, [donation()])
    good = path.read_text()
    path.write_text(good.replace(f"{column},", "other,", 1))
    if column in REQUIRED_COLUMNS:
        message = await expect_import_problem(hosted, path)
        assert message == f"Line 1, {column}: the column is missing from the header"
    path.write_text(good.replace("taxAmount", column, 1))
    assert await expect_import_problem(hosted, path) == f"Line 1, {column}: the column is in the header twice"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: b"", "Line 1: the file is empty"),
        (lambda _: b"\xef\xbb\xbf", "Line 1: the file is empty"),
        (lambda data: data.splitlines()[0], "Line 2: there are no rows"),
        (lambda data: data.replace(b"giver", b"\xff", 1), "Line 2: the file is not UTF-8"),
        (lambda data: data.replace(b"id3", b"\x00", 1), "Line 3: the file contains a NUL character"),
        (lambda data: data.replace(b"id3", b'"id3', 1), "Line 3: the file is not CSV: "),
        (lambda data: data.replace(b"id3", b'"i"d3', 1), "Line 3: the file is not CSV: "),
        (lambda data: data.replace(b"id3", b"i" * 200_000, 1), "Line 3: the file is not CSV: "),
        (lambda data: data + b"2020-01-01", "Line 4, shortId: 1 cells for 20 columns"),
        (lambda data: data.rstrip() + b",more", "Line 3: 21 cells for 20 columns"),
        (lambda data: data.replace(b"id3", b'"id\n3"', 1), "Line 3, shortId: "),
        (lambda data: data.replace(b"id2", b'"id\n2"', 1), "Line 2, shortId: "),
    ],
)
async def test_a_broken_file_is_refused(hosted: Sessions, tmp_path: Path, change: Any, message: str) -> None:
    path = write_csv(tmp_path, [donation(), donation()])
    path.write_bytes(change(path.read_bytes()))
    assert (await expect_import_problem(hosted, path)).startswith(message)


async def test_a_file_that_cannot_be_read_is_refused(hosted: Sessions, tmp_path: Path) -> None:
    assert "cannot be read" in await expect_import_problem(hosted, tmp_path / "nothing.csv")
    assert "cannot be read" in await expect_import_problem(hosted, tmp_path)


async def test_formats_written_by_spreadsheets_are_read(hosted: Sessions, tmp_path: Path) -> None:
    path = write_csv(
        tmp_path,
        [
            donation("10.00", datetime="2020-01-03T13:00:00.5+01:00"),
            donation(paymentProcessorFee="", taxAmount=""),
        ],
    )
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n\r\n")
    report = await import_csv(hosted, path)
    assert report.balance.minor_units == 2000
    assert (await load_transactions(hosted))[0].at == datetime(2020, 1, 3, 12, 0, 0, 500_000, tzinfo=UTC)
