"""Files as people have them: any order, any year, other separators, missing columns, several accounts."""

import csv
import io
import random
from decimal import Decimal
from itertools import accumulate
from pathlib import Path

import pytest

from services.open_collective.balance_column import compare
from services.open_collective.csv_reader import read_rows
from services.open_collective.row_order import sort_rows, split_taxes
from tests.open_collective_files import (
    COLUMNS,
    Sessions,
    csv_row,
    digest_tables,
    donation,
    expect_import_problem,
    host_fee,
    import_csv,
    load_balances,
    load_orders,
    load_transactions,
    returned,
    running_balances,
    write_csv,
)


def rewrite(
    path: Path, *, columns: list[str] | None = None, separator: str = ",", newest_first: bool = False
) -> Path:
    """Write a file again with some of its columns, another separator or the newest row first."""
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns or COLUMNS, extrasaction="ignore", delimiter=separator)
    writer.writeheader()
    writer.writerows(reversed(rows) if newest_first else rows)
    path.write_text(out.getvalue())
    return path


def history(seed: int) -> list[dict[str, str]]:
    """Return a made-up history of gifts with fees, expenses and refunds; never below zero."""
    chosen = random.Random(seed)
    rows = [donation("500", shortGroup="first")]
    for number in range(1, 30):
        group = {"shortGroup": f"g{number}"}
        amount = chosen.randint(10, 90)
        match chosen.randrange(3):
            case 0:
                rows += [donation(str(amount), fee="-0.50", **group), host_fee("-1", **group)]
            case 1:
                rows.append(csv_row("EXPENSE", f"-{chosen.randint(1, 9)}", **group))
            case _:
                rows.append(donation(str(amount), **group, shortId=f"gift{number}"))
                rows.append(returned("CONTRIBUTION", f"-{amount}", f"gift{number}"))
    return rows


async def test_a_file_as_downloaded_has_the_newest_row_first(hosted: Sessions, tmp_path: Path) -> None:
    rows = [donation("10"), csv_row("EXPENSE", "-4"), donation("3")]
    path = rewrite(write_csv(tmp_path, rows), newest_first=True)
    report = await import_csv(hosted, path, is_strict=True)
    assert await running_balances(hosted, "webpack") == [1000, 600, 900]
    assert report.balance.minor_units == 900


@pytest.mark.parametrize("seed", range(3))
async def test_any_permutation_of_the_rows_is_the_same_history(
    hosted: Sessions, tmp_path: Path, seed: int
) -> None:
    path = write_csv(tmp_path, history(seed))
    header, *lines = path.read_text().splitlines(keepends=True)
    report = await import_csv(hosted, path, is_strict=True)
    before, balances = await digest_tables(hosted), await load_balances(hosted)
    assert report.balance.minor_units == balances["webpack", "BALANCE"]
    chosen = random.Random(seed)
    expected = sort_rows(split_taxes(read_rows(path, currency="USD")))
    for _ in range(20):
        chosen.shuffle(lines)
        path.write_text(header + "".join(lines))
        rows = sort_rows(split_taxes(read_rows(path, currency="USD")))
        assert [(row.at, row.short_id) for row in rows] == [(row.at, row.short_id) for row in expected]
        assert compare(rows).differing == []
    # The shuffled file is the same file: nothing is new in it.
    again = await import_csv(hosted, path)
    assert (again.transactions, again.notes, await digest_tables(hosted)) == (0, [], before)


async def test_since_2024_a_balance_is_from_before_the_processors_fee(
    hosted: Sessions, tmp_path: Path
) -> None:
    """The last row of a group has the balance after all of it; a row alone has it before its own fee."""
    rows = [
        donation("10", fee="-0.59", balance="10", shortGroup="one"),
        host_fee("-1", balance="8.41", shortGroup="one"),
        donation("20", fee="-0.88", balance="28.41"),
        donation("5", balance="32.53"),
    ]
    await import_csv(hosted, write_csv(tmp_path, rows), is_strict=True)
    assert (await running_balances(hosted, "webpack"))[-1] == 3253


async def test_a_balance_that_does_not_agree_is_listed_with_its_line(
    hosted: Sessions, tmp_path: Path
) -> None:
    rows = [donation(), donation(balance="21"), donation(), donation(balance="99"), donation(balance="109")]
    path = write_csv(tmp_path, rows)
    message = await expect_import_problem(hosted, path, is_strict=True)
    notes = [f"Line {line}, balance: not the sum of the rows up to this one" for line in (3, 5)]
    assert message == "\n".join(notes)
    report = await import_csv(hosted, path)
    assert (report.notes, report.balance.minor_units) == (notes, 5000)


async def test_without_balances_nothing_is_compared(hosted: Sessions, tmp_path: Path) -> None:
    rows = [donation(balance=""), donation(balance="20"), donation(balance="")]
    await import_csv(hosted, write_csv(tmp_path, rows), is_strict=True)
    assert (await running_balances(hosted, "webpack")) == [1000, 2000, 3000]


async def test_only_seven_columns_are_needed(hosted: Sessions, tmp_path: Path) -> None:
    rows = [donation(), host_fee(shortGroup="group2"), csv_row("EXPENSE", "-5")]
    needed = ["datetime", "shortId", "shortGroup", "kind", "amount", "accountSlug", "oppositeAccountSlug"]
    await import_csv(hosted, rewrite(write_csv(tmp_path, rows), columns=needed), is_strict=True)
    assert (await running_balances(hosted, "webpack")) == [1000, 900, 400]


async def test_a_refund_is_recognized_without_its_column(hosted: Sessions, tmp_path: Path) -> None:
    rows = [donation(shortRefundId="id3"), returned("CONTRIBUTION", "-10", "id2"), donation()]
    columns = [name for name in COLUMNS if name not in {"isRefund", "isRefunded"}]
    await import_csv(hosted, rewrite(write_csv(tmp_path, rows), columns=columns), is_strict=True)
    assert [t.kind for t in await load_transactions(hosted)] == ["DONATION", "REFUND", "DONATION"]
    assert [o.status for o in await load_orders(hosted)] == ["REFUNDED", "PAID"]


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "utf-16-be-bom"])
def test_separators_and_encodings(tmp_path: Path, separator: str, encoding: str) -> None:
    path = write_csv(tmp_path, [donation("10.5"), donation("3")])
    text = rewrite(path, separator=separator).read_text().replace(".", ",")
    marks = {"utf-16-le-bom": b"\xff\xfe", "utf-16-be-bom": b"\xfe\xff"}
    path.write_bytes(marks.get(encoding, b"") + text.encode(encoding.removesuffix("-bom")))
    rows = read_rows(path, currency="USD")
    assert [row.amount_minor for row in rows] == [1050, 300]


async def test_a_third_place_after_a_comma_is_refused(hosted: Sessions, tmp_path: Path) -> None:
    path = write_csv(tmp_path, [donation("10")])
    path.write_text(rewrite(path, separator=";").read_text().replace("10;0;10", "1,000;0;1,000"))
    assert (await expect_import_problem(hosted, path)).startswith("Line 2, amount: '1,000'")


async def test_a_file_that_begins_mid_history_opens_with_its_balance(
    hosted: Sessions, tmp_path: Path
) -> None:
    rows = [
        donation(balance="110"),
        csv_row("EXPENSE", "-50", balance="60"),
        returned("CONTRIBUTION", "-5", "unknown", balance="55"),
    ]
    path = write_csv(tmp_path, rows)
    report = await import_csv(hosted, path)
    assert report.notes == ["Line 4, shortRefundId: the file does not have what this row refunds"]
    opening, *_ = transactions = await load_transactions(hosted)
    assert (opening.kind, opening.amount, opening.at) == ("OPENING_BALANCE", 10_000, transactions[1].at)
    assert await running_balances(hosted, "webpack") == [10_000, 11_000, 6000, 5500]
    assert (await load_balances(hosted))["opensource", "CASH"] == -5500
    before = await digest_tables(hosted)
    assert (await import_csv(hosted, path)).skipped == 4
    assert await digest_tables(hosted) == before


async def test_an_opening_balance_before_fees_is_found(hosted: Sessions, tmp_path: Path) -> None:
    rows = [
        donation("10", fee="-0.59", balance="110"),
        donation("20", balance="129.41"),
        donation("1", balance="130.41"),
    ]
    await import_csv(hosted, write_csv(tmp_path, rows), is_strict=True)
    assert (await running_balances(hosted, "webpack"))[0] == 10_000


async def test_taxes_and_tips_are_transactions_of_their_own(hosted: Sessions, tmp_path: Path) -> None:
    group = {"shortGroup": "one"}
    rows = [
        donation("12.10", **group),
        csv_row("TAX", "-2.10", oppositeAccountSlug="opensource", **group),
        donation("12.10", net="10", taxAmount="-2.10", shortId="taxed"),
        csv_row("PLATFORM_TIP", "1"),
        csv_row("PLATFORM_TIP", "-1", oppositeAccountSlug="opencollective"),
        returned("CONTRIBUTION", "-12.10", "taxed", net="-10", taxAmount="2.10"),
    ]
    await import_csv(hosted, write_csv(tmp_path, rows), is_strict=True)
    kinds = [t.kind for t in await load_transactions(hosted)]
    assert kinds == [
        *("DONATION", "TAX", "DONATION", "TAX", "PLATFORM_TIP", "PLATFORM_TIP", "REFUND", "REFUND"),
    ]
    assert sorted((await load_balances(hosted)).items()) == [
        (("opensource", "BALANCE"), 210),
        (("opensource", "CASH"), -1210),
        (("webpack", "BALANCE"), 1000),
    ]


async def test_every_other_kind_is_imported(hosted: Sessions, tmp_path: Path) -> None:
    one = {"shortGroup": "one"}
    rows = [
        donation("100", **one),
        csv_row("PREPAID_PAYMENT_METHOD", "50"),
        csv_row("PAYMENT_PROCESSOR_FEE", "-1", oppositeAccountSlug="stripe", **one),
        csv_row("PAYMENT_PROCESSOR_DISPUTE_FEE", "-15", oppositeAccountSlug="stripe"),
        csv_row("HOST_FEE_SHARE", "-2", oppositeAccountSlug="opencollective"),
        csv_row("HOST_FEE_SHARE_DEBT", "2", oppositeAccountSlug="opencollective"),
        csv_row("PLATFORM_FEE", "-3", oppositeAccountSlug="opencollective"),
        csv_row("PLATFORM_TIP_DEBT", "4", oppositeAccountSlug="opencollective"),
    ]
    await import_csv(hosted, write_csv(tmp_path, rows), is_strict=True)
    assert [t.kind for t in await load_transactions(hosted)] == [
        "DONATION",
        "PREPAID_PAYMENT_METHOD",
        "PAYMENT_PROCESSOR_FEE",
        "PAYMENT_PROCESSOR_FEE",
        "HOST_FEE_SHARE",
        "HOST_FEE_SHARE_DEBT",
        "EXPENSE",
        "PLATFORM_TIP",
    ]
    expected = list(accumulate(100 * Decimal(row["amount"]) for row in rows))
    assert await running_balances(hosted, "webpack") == expected
    assert (await load_balances(hosted))["opensource", "CASH"] == -expected[-1]


async def test_several_accounts_of_a_host_are_imported_together(hosted: Sessions, tmp_path: Path) -> None:
    """A movement between two of them, shown from both sides, is one transaction without cash."""
    moved, fee = {"shortGroup": "moved"}, {"shortGroup": "gave"}
    babel = {"accountSlug": "babel", "balance": ""}
    rows = [
        donation("100", **fee),
        host_fee("-10", **fee),
        csv_row("HOST_FEE", "10", accountSlug="opensource", oppositeAccountSlug="webpack", balance="", **fee),
        csv_row("BALANCE_TRANSFER", "-30", oppositeAccountSlug="babel", **moved),
        csv_row("BALANCE_TRANSFER", "30", oppositeAccountSlug="webpack", **babel, **moved),
        csv_row("EXPENSE", "-5", **babel),
    ]
    path = rewrite(write_csv(tmp_path, rows), newest_first=True)
    message = await expect_import_problem(hosted, path)
    assert "accountSlug: the rows before are of another account" in message
    report = await import_csv(hosted, path, collective_slug=None)
    assert (report.rows, report.transactions) == (6, 4)
    assert await load_balances(hosted) == {
        ("webpack", "BALANCE"): 6000,
        ("babel", "BALANCE"): 2500,
        ("opensource", "BALANCE"): 1000,
        ("opensource", "CASH"): -9500,
    }
    before = await digest_tables(hosted)
    assert (await import_csv(hosted, path, collective_slug=None)).transactions == 0
    assert await digest_tables(hosted) == before
