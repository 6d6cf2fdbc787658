"""Importing Open Collective ledgers: a real one where it is at hand, and files made here for every kind."""

import asyncio
import csv
import io
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import (
    Collective,
    LedgerAccount,
    Member,
    Order,
    OrderAction,
    Posting,
    SlugRedirect,
    Transaction,
    metadata,
    now,
)
from models.enums import (
    CollectiveType,
    LedgerAccountKind,
    MemberRole,
    OrderStatus,
    OrderType,
    TransactionKind,
)
from services import audit, ledger, settlement
from services.errors import InsufficientFunds, Invalid, InvalidState, NotFound, Problem
from services.open_collective_import import ImportReport, replay
from services.settlement import OUTSIDE, Figures, Party

Sessions = async_sessionmaker[AsyncSession]
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "opencollective-ledger-2017-2021.csv"
COLUMNS = [
    "datetime",
    "shortId",
    "shortGroup",
    "type",
    "kind",
    "isRefund",
    "isRefunded",
    "shortRefundId",
    "amount",
    "paymentProcessorFee",
    "netAmount",
    "balance",
    "currency",
    "accountSlug",
    "oppositeAccountSlug",
    "paymentMethodService",
    "paymentMethodType",
    "expenseType",
    "payoutMethodType",
    "taxAmount",
]
START = datetime(2020, 1, 1, 12, tzinfo=UTC)


def line(kind: str, amount: str, *, fee: str = "0", net: str | None = None, **cells: str) -> dict[str, str]:
    """Return the cells of a row; what is not given, `file` fills in."""
    total = Decimal(amount) + Decimal(fee)
    return {
        "type": "DEBIT" if amount.startswith("-") else "CREDIT",
        "kind": kind, "amount": amount, "paymentProcessorFee": fee,
        "netAmount": str(total) if net is None else net, "oppositeAccountSlug": "giver",
        "taxAmount": "0", **cells,
    }  # fmt: skip


def gift(amount: str = "10", **cells: str) -> dict[str, str]:
    return line("CONTRIBUTION", amount, **cells)


def host_fee(amount: str = "-1", **cells: str) -> dict[str, str]:
    return line("HOST_FEE", amount, **{"oppositeAccountSlug": "opensource"} | cells)


def cover(amount: str, **cells: str) -> dict[str, str]:
    place = {"oppositeAccountSlug": "opensource", "isRefund": "REFUND"}
    return line("PAYMENT_PROCESSOR_COVER", amount, **place | cells)


def file(folder: Path, rows: Iterable[dict[str, str]], *, currency: str = "USD") -> Path:
    """Write rows as an export, a day apart, each in a group of its own, with their running balance."""
    out, balance = io.StringIO(), Decimal(0)
    writer = csv.DictWriter(out, COLUMNS, restval="")
    writer.writeheader()
    for number, row in enumerate(rows, start=2):
        with suppress(ArithmeticError):  # a cell that is broken on purpose
            balance += Decimal(row["netAmount"])
        at = START + timedelta(days=number)
        writer.writerow(
            {
                "datetime": at.strftime("%Y-%m-%dT%H:%M:%S"), "shortId": f"id{number}",
                "shortGroup": f"group{number}", "balance": str(balance), "currency": currency,
                "accountSlug": "webpack",
            }
            | row
        )  # fmt: skip
    path = folder / "ledger.csv"
    path.write_text(out.getvalue())
    return path


async def organization(session: AsyncSession, slug: str, currency: str = "USD", **columns: Any) -> Collective:
    """Store a nonprofit that holds its own money."""
    row = Collective(slug=slug, type=CollectiveType.NONPROFIT, name=slug, currency=currency, **columns)
    session.add(row)
    await session.flush()
    row.host_id, row.host_approved_at = row.id, now()
    await session.flush()
    return row


@pytest.fixture
async def hosted(sessions: Sessions) -> Sessions:
    """Store a platform and a host, both in dollars."""
    async with sessions() as session:
        await organization(session, "platform", is_platform=True)
        await organization(session, "opensource")
        await session.commit()
    return sessions


async def run(sessions: Sessions, path: Path, **names: Any) -> ImportReport:
    """Import and commit."""
    chosen: dict[str, Any] = {"host_slug": "opensource", "collective_slug": "webpack"} | names
    async with sessions() as session:
        report = await replay(session, path=path, **chosen)
        await session.commit()
    return report


async def refused(sessions: Sessions, path: Path, problem: type[Problem] = Invalid, **names: Any) -> str:
    """Return the message of an import that fails; it stores nothing, though its caller commits."""
    chosen: dict[str, Any] = {"host_slug": "opensource", "collective_slug": "webpack"} | names
    before = await contents(sessions)
    async with sessions() as session:
        with pytest.raises(problem) as caught:
            await replay(session, path=path, **chosen)
        await session.commit()
    assert await contents(sessions) == before
    return caught.value.message


async def contents(sessions: Sessions) -> dict[str, str]:
    """Return how many rows each table has, with a digest of all of them."""
    found = {}
    async with sessions() as session:
        for name in metadata.tables:
            whole = "coalesce(string_agg(t::text, '|' ORDER BY t::text), '')"
            digest = text(f'SELECT count(*) || md5({whole}) FROM "{name}" t')
            found[name] = (await session.execute(digest)).scalar_one()
    return found


async def balances(sessions: Sessions) -> dict[tuple[str, str], int]:
    """Return what each account has, by owner and kind; every promise of the ledger holds."""
    async with sessions() as session:
        outcome = await audit.run(session)
        assert [check for check in outcome.checks if check.violations] == []
        statement = select(col(Collective.slug), col(LedgerAccount.kind), col(LedgerAccount.posted)).join(
            LedgerAccount, col(LedgerAccount.owner_id) == Collective.id
        )
        return {(slug, kind): posted for slug, kind, posted in await session.execute(statement)}


async def every(sessions: Sessions, table: Any, *order: Any) -> list[Any]:
    async with sessions() as session:
        return list((await session.execute(select(table).order_by(*order))).scalars())


async def transactions(sessions: Sessions) -> list[Transaction]:
    return await every(sessions, Transaction, col(Transaction.at), col(Transaction.id))


async def orders(sessions: Sessions) -> list[Order]:
    return await every(sessions, Order, col(Order.created_at), col(Order.id))


async def after_each_row(sessions: Sessions, slug: str) -> list[int]:
    """Return the running balance of a collective's account."""
    async with sessions() as session:
        statement = (
            select(col(Posting.balance_after))
            .join(LedgerAccount, col(LedgerAccount.id) == Posting.account_id)
            .join(Collective, col(Collective.id) == LedgerAccount.owner_id)
            .where(col(Collective.slug) == slug, col(LedgerAccount.kind) == LedgerAccountKind.BALANCE)
            .order_by(col(Posting.seq))
        )
        return list((await session.execute(statement)).scalars())


async def add_money(sessions: Sessions, slug: str, amount: int) -> None:
    """Post added funds now, as the running server would."""
    async with sessions() as session:
        row = (await session.execute(select(Collective).where(col(Collective.slug) == slug))).scalar_one()
        host = await session.get_one(Collective, row.host_id)
        found = Figures(
            currency=row.currency, amount=amount, host_currency=row.currency, fx_rate=Decimal(1),
            fx_rate_id=None, gross=amount, payment_processor_fee=0, platform_fee=0, host_fee=0,
            to_host_amount=amount, to_collective_amount=amount,
        )  # fmt: skip
        payee = Party(row, host)
        await ledger.post(
            session,
            row=ledger.transaction_row(found, OUTSIDE, payee, kind=TransactionKind.ADDED_FUNDS, order=None),
            legs=settlement.legs(found, OUTSIDE, payee, platform_id=host.id),
        )
        await session.commit()


# A real ledger ------------------------------------------------------------------------------------------


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


# What the rows become -----------------------------------------------------------------------------------


async def test_a_contribution_before_2021_has_its_fees_in_the_row(hosted: Sessions, tmp_path: Path) -> None:
    report = await run(hosted, file(tmp_path, [gift(fee="-0.59", net="8.41")]))

    (order,), (transaction,) = await orders(hosted), await transactions(hosted)
    assert (order.type, order.status, order.amount) == (OrderType.DONATION, OrderStatus.PAID, 1000)
    assert order.import_key == "open-collective:webpack:group2"
    assert order.created_by_id is None
    assert order.created_at == order.updated_at == transaction.at == START + timedelta(days=2)
    assert transaction.created_at > transaction.at
    figures = (
        transaction.gross, transaction.payment_processor_fee, transaction.host_fee,
        transaction.platform_fee, transaction.to_host_amount, transaction.to_collective_amount,
    )  # fmt: skip
    assert figures == (1000, 59, 100, 0, 941, 841)
    assert await balances(hosted) == {
        ("opensource", "CASH"): -941, ("opensource", "BALANCE"): 100, ("webpack", "BALANCE"): 841,
    }  # fmt: skip
    actions = await every(hosted, OrderAction, col(OrderAction.id))
    assert [(a.type, a.to_status, a.at) for a in actions] == [
        ("CREATE", "PENDING", transaction.at), ("PAY", "PAID", transaction.at),
    ]  # fmt: skip
    assert (report.orders, report.transactions, report.counterparts) == (1, 1, 1)


async def test_the_collective_and_its_counterparts_are_made(hosted: Sessions, tmp_path: Path) -> None:
    await run(hosted, file(tmp_path, [gift(), gift(), line("EXPENSE", "-5", oppositeAccountSlug="payee")]))

    found = {row.slug: row for row in await every(hosted, Collective)}
    host, own, giver = found["opensource"], found["webpack"], found["giver"]
    assert (own.type, own.host_id, own.currency, own.name) == (
        "COMMUNITY",
        host.id,
        "USD",
        "Webpack",
    )
    assert own.host_approved_at is not None
    assert (giver.type, giver.host_id, giver.claimed_at) == ("USER", None, None)
    assert giver.settings == {"importedFrom": "open-collective:webpack:giver"}
    members = {(m.collective_id, m.member_id, m.role): m.since for m in await every(hosted, Member)}
    assert set(members) == {
        (own.id, host.id, MemberRole.HOST), (own.id, giver.id, MemberRole.BACKER),
    }  # fmt: skip
    assert members[own.id, giver.id, MemberRole.BACKER] == START + timedelta(days=2)


async def test_a_host_fee_is_a_transaction_of_the_same_order(hosted: Sessions, tmp_path: Path) -> None:
    together = {"shortGroup": "one"}
    await run(hosted, file(tmp_path, [gift(fee="-0.5", **together), host_fee(**together)]))

    gave, fee = await transactions(hosted)
    assert len(await orders(hosted)) == 1
    assert (gave.order_id, gave.group_id) == (fee.order_id, fee.group_id)
    assert (fee.kind, fee.amount, fee.host_fee, fee.from_collective_amount) == (
        "HOST_FEE",
        100,
        0,
        -100,
    )
    assert fee.from_host_id == fee.to_host_id == fee.to_collective_id
    assert await after_each_row(hosted, "webpack") == [950, 850]
    assert (await balances(hosted))["opensource", "BALANCE"] == 100


async def test_a_host_fee_may_stand_before_its_contribution_and_be_a_second_older(
    hosted: Sessions, tmp_path: Path
) -> None:
    rows = [
        gift(),
        host_fee(shortGroup="one", datetime="2020-02-01T10:00:00"),
        gift(shortGroup="one", datetime="2020-02-01T10:00:01"),
        gift(shortGroup="two", datetime="2020-02-01T10:00:09"),
        host_fee(shortGroup="two", datetime="2020-02-01T10:00:08"),
    ]
    path = file(tmp_path, rows)
    await run(hosted, path)
    assert await after_each_row(hosted, "webpack") == [1000, 900, 1900, 2900, 2800]
    assert [order.type for order in await orders(hosted)] == ["DONATION"] * 3
    at = [transaction.at.second for transaction in await transactions(hosted)]
    assert at == [0, 0, 1, 8, 9]
    await balances(hosted)


async def test_rows_of_one_moment_keep_the_order_of_the_file(hosted: Sessions, tmp_path: Path) -> None:
    rows = [gift(str(n), datetime="2020-02-01T10:00:00") for n in range(1, 30)]
    await run(hosted, file(tmp_path, rows))
    assert [t.amount for t in await transactions(hosted)] == [100 * n for n in range(1, 30)]


async def test_the_payer_bears_the_fee_of_an_expense(hosted: Sessions, tmp_path: Path) -> None:
    payee = {"oppositeAccountSlug": "payee", "payoutMethodType": "PAYPAL"}
    await run(hosted, file(tmp_path, [gift("100"), line("EXPENSE", "-50", fee="-0.25", **payee)]))

    order, transaction = (await orders(hosted))[1], (await transactions(hosted))[1]
    assert (order.type, order.payout_method_kind, order.fees_payer) == (
        "EXPENSE",
        "PAYPAL",
        "PAYER",
    )
    figures = (
        transaction.amount, transaction.gross, transaction.payment_processor_fee,
        transaction.to_collective_amount, transaction.from_collective_amount,
    )  # fmt: skip
    assert figures == (5000, 5025, 25, 5000, -5025)
    assert transaction.to_host_id is None
    assert await after_each_row(hosted, "webpack") == [10_000, 4975]
    assert (await balances(hosted))["opensource", "CASH"] == -4975


async def test_money_goes_both_ways_for_each_kind_that_has_two(hosted: Sessions, tmp_path: Path) -> None:
    rows = [
        line("ADDED_FUNDS", "100"),
        line("ADDED_FUNDS", "7", oppositeAccountSlug="webpack"),
        line("EXPENSE", "5", fee="-1"),
        line("BALANCE_TRANSFER", "20", oppositeAccountSlug="sister"),
        line("BALANCE_TRANSFER", "-30", oppositeAccountSlug="opensource"),
        line("BALANCE_TRANSFER", "10", oppositeAccountSlug="opensource"),
        line("BALANCE_TRANSFER", "-1", oppositeAccountSlug="sister"),
        line("CONTRIBUTION", "-2", oppositeAccountSlug="other"),
        line("CONTRIBUTION", "3", oppositeAccountSlug="opensource"),
        line("ADDED_FUNDS", "-4", oppositeAccountSlug="project"),
        line("EXPENSE", "-6", oppositeAccountSlug="opensource"),
    ]
    await run(hosted, file(tmp_path, rows))

    assert [order.type for order in await orders(hosted)] == [
        "ADDED_FUNDS", "ADDED_FUNDS", "EXPENSE", "TRANSFER", "TRANSFER", "TRANSFER", "TRANSFER",
        "DONATION", "DONATION", "ADDED_FUNDS", "EXPENSE",
    ]  # fmt: skip
    assert [order.origin_unknown for order in await orders(hosted)].index(True) == 1
    assert await after_each_row(hosted, "webpack") == [
        10_000, 10_700, 11_100, 13_100, 10_100, 11_100, 11_000, 10_800, 11_100, 10_700, 10_100,
    ]  # fmt: skip
    # Only a transfer with the host moves money between two balances.
    assert await balances(hosted) == {
        ("webpack", "BALANCE"): 10_100, ("opensource", "BALANCE"): 2000, ("opensource", "CASH"): -12_100,
    }  # fmt: skip


async def test_a_processor_fee_of_its_own_is_a_bill_of_the_processor(
    hosted: Sessions, tmp_path: Path
) -> None:
    fee = line("PAYMENT_PROCESSOR_FEE", "-0.59", oppositeAccountSlug="stripe", shortGroup="one")
    await run(hosted, file(tmp_path, [gift(shortGroup="one"), fee, host_fee(shortGroup="one")]))

    gave, billed, kept = await transactions(hosted)
    assert [t.kind for t in (gave, billed, kept)] == ["DONATION", "EXPENSE", "HOST_FEE"]
    assert gave.group_id == billed.group_id == kept.group_id
    assert gave.order_id == kept.order_id != billed.order_id
    assert {order.import_key for order in await orders(hosted)} == {
        "open-collective:webpack:one", "open-collective:webpack:one:id3",
    }  # fmt: skip
    assert await after_each_row(hosted, "webpack") == [1000, 941, 841]
    assert (await balances(hosted))["opensource", "CASH"] == -941


async def test_two_contributions_of_one_group_have_an_order_each(hosted: Sessions, tmp_path: Path) -> None:
    group = {"shortGroup": "one"}
    rows = [gift(**group), host_fee(**group), gift("20", **group), host_fee("-2", **group)]
    path = file(tmp_path, [*rows, host_fee("-3", **group)])
    await run(hosted, path)
    before = await contents(hosted)
    await run(hosted, path)
    assert await contents(hosted) == before

    made = {order.import_key: order for order in await orders(hosted)}
    key = "open-collective:webpack:one"
    assert set(made) == {key, f"{key}:id4", f"{key}:id6"}
    assert made[f"{key}:id6"].type == "TRANSFER"
    of = {order.id: order.import_key for order in made.values()}
    assert [t.order_id and of[t.order_id] for t in await transactions(hosted)] == [
        key, key, f"{key}:id4", f"{key}:id4", f"{key}:id6",
    ]  # fmt: skip


async def test_yen_have_no_decimal_places(sessions: Sessions, tmp_path: Path) -> None:
    async with sessions() as session:
        await organization(session, "platform", is_platform=True)
        await organization(session, "opensource", "JPY")
        await session.commit()
    report = await run(sessions, file(tmp_path, [gift("1500", fee="-54", net="1296")], currency="JPY"))
    assert (report.balance.minor_units, report.balance.currency) == (1296, "JPY")
    (transaction,) = await transactions(sessions)
    assert (transaction.amount, transaction.host_fee) == (1500, 150)
    message = await refused(sessions, file(tmp_path, [gift("15.5")], currency="JPY"), collective_slug="other")
    assert message == "Line 2, amount: '15.5': JPY has 0 decimal places"


async def test_fees_may_leave_nothing(hosted: Sessions, tmp_path: Path) -> None:
    await run(hosted, file(tmp_path, [gift(fee="-0.59", net="0"), gift()]))
    assert await after_each_row(hosted, "webpack") == [1000]
    assert (await balances(hosted))["opensource", "BALANCE"] == 941


# Refunds ------------------------------------------------------------------------------------------------


def returned(kind: str, amount: str, of: str, **cells: str) -> dict[str, str]:
    return line(kind, amount, isRefund="REFUND", shortRefundId=of, **cells)


async def test_a_whole_refund_with_the_kept_fee_covered_by_the_host(hosted: Sessions, tmp_path: Path) -> None:
    once, back = {"shortGroup": "one"}, {"shortGroup": "back"}
    rows = [
        gift("50", net="45"),
        gift(fee="-0.59", isRefunded="REFUNDED", shortRefundId="id6", **once),
        host_fee(isRefunded="REFUNDED", shortRefundId="id7", **once),
        cover("0.59", **back),
        returned("CONTRIBUTION", "-10", "id3", **back),
        returned("HOST_FEE", "1", "id4", oppositeAccountSlug="opensource", **back),
    ]
    await run(hosted, file(tmp_path, rows))

    first, gave, fee, covered, refund, unfee = await transactions(hosted)
    assert [covered.kind, refund.kind, unfee.kind] == [
        "PAYMENT_PROCESSOR_COVER",
        "REFUND",
        "REFUND",
    ]
    assert (refund.refund_of_id, unfee.refund_of_id, covered.refund_of_id) == (
        gave.id,
        fee.id,
        None,
    )
    assert {t.order_id for t in (gave, fee, covered, refund, unfee)} == {gave.order_id}
    assert first.order_id != gave.order_id
    assert gave.group_id != refund.group_id == covered.group_id == unfee.group_id
    assert (refund.amount, refund.gross, refund.payment_processor_fee) == (-1000, -1000, 0)
    assert refund.from_collective_id == gave.from_collective_id
    assert await after_each_row(hosted, "webpack") == [4500, 5441, 5341, 5400, 4400, 4500]
    assert (await balances(hosted))["opensource", "BALANCE"] == 500 - 59
    order = (await orders(hosted))[1]
    assert (order.status, order.updated_at) == ("REFUNDED", refund.at)
    actions = [a for a in await every(hosted, OrderAction, col(OrderAction.id)) if a.order_id == order.id]
    assert [(a.type, a.from_status, a.to_status, a.amount) for a in actions] == [
        ("CREATE", None, "PENDING", 1000), ("PAY", "PENDING", "PAID", 1000),
        ("REFUND", "PAID", "REFUNDED", 1000),
    ]  # fmt: skip


async def test_a_refund_with_its_fees_in_the_row_mirrors_them(hosted: Sessions, tmp_path: Path) -> None:
    rows = [
        gift(fee="-0.59", net="8.41"),
        returned("CONTRIBUTION", "-10", "id2", fee="0.59", net="-8.41"),
    ]
    await run(hosted, file(tmp_path, rows))
    gave, refund = await transactions(hosted)
    for name in ("amount", "gross", "payment_processor_fee", "host_fee", "to_collective_amount"):
        assert getattr(refund, name) == -getattr(gave, name)
    assert set((await balances(hosted)).values()) == {0}


async def test_partial_refunds_end_in_a_refunded_order(hosted: Sessions, tmp_path: Path) -> None:
    rows = [
        gift(), returned("CONTRIBUTION", "-4", "id2"), returned("CONTRIBUTION", "-6", "id2"),
    ]  # fmt: skip
    await run(hosted, file(tmp_path, rows[:2]))
    assert [order.status for order in await orders(hosted)] == ["PAID"]
    await run(hosted, file(tmp_path, rows))
    (order,) = await orders(hosted)
    assert (order.status, order.updated_at) == ("REFUNDED", START + timedelta(days=4))
    steps = [(a.type, a.to_status) for a in await every(hosted, OrderAction, col(OrderAction.id))]
    assert steps[2:] == [("REFUND", "PAID"), ("REFUND", "REFUNDED")]
    assert await after_each_row(hosted, "webpack") == [1000, 600, 0]
    await balances(hosted)


async def test_an_expense_and_a_processor_fee_come_back(hosted: Sessions, tmp_path: Path) -> None:
    payee, stripe = {"oppositeAccountSlug": "payee"}, {"oppositeAccountSlug": "stripe"}
    rows = [
        gift("100"),
        line("EXPENSE", "-50", fee="-0.25", **payee),
        returned("EXPENSE", "50", "id3", fee="0.25", **payee),
        line("EXPENSE", "-20", fee="-0.25", **payee),
        returned("EXPENSE", "20", "id5", **payee),
        line("PAYMENT_PROCESSOR_FEE", "-3", **stripe),
        returned("PAYMENT_PROCESSOR_FEE", "3", "id7", **stripe),
    ]
    await run(hosted, file(tmp_path, rows))
    assert await after_each_row(hosted, "webpack") == [10_000, 4975, 10_000, 7975, 9975, 9675, 9975]
    assert [order.status for order in await orders(hosted)] == ["PAID", *["REFUNDED"] * 3]
    await balances(hosted)


async def test_a_cover_without_a_refund_has_an_order_of_its_own(hosted: Sessions, tmp_path: Path) -> None:
    await run(hosted, file(tmp_path, [gift(net="9"), cover("0.4", isRefund="")]))
    assert [order.type for order in await orders(hosted)] == ["DONATION", "TRANSFER"]
    assert (await balances(hosted))["opensource", "BALANCE"] == 60


async def test_a_host_without_the_money_covers_nothing(hosted: Sessions, tmp_path: Path) -> None:
    message = await refused(hosted, file(tmp_path, [gift(), cover("0.4")]), InsufficientFunds)
    assert message.startswith("Line 3, amount: ")


# Later files --------------------------------------------------------------------------------------------


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


# Whose names ---------------------------------------------------------------------------------------------


async def test_no_slug_is_stolen(hosted: Sessions, tmp_path: Path) -> None:
    async with hosted() as session:
        taken = await organization(session, "taken")
        await organization(session, "twice")
        await organization(session, "twice-oc")
        session.add(SlugRedirect(slug="earlier", collective_id=taken.id))
        await session.commit()
    names = [
        "taken",
        "twice",
        "earlier",
        "admin",
        "under_score",
        "under-score",
        "x",
        "l" * 80,
        "free",
    ]
    path = file(tmp_path, [gift(oppositeAccountSlug=name) for name in names])
    report = await run(hosted, path)
    assert report.counterparts == len(names)

    made = {row.name: row for row in await every(hosted, Collective) if row.type == "USER"}
    slugs = {name: made[name].slug for name in names}
    assert slugs["taken"] == "taken-oc"
    assert slugs["twice"].startswith("twice-oc-")
    assert slugs["earlier"] == "earlier-oc"
    assert slugs["admin"] == "admin-oc"
    assert {slugs["under_score"], slugs["under-score"]} == {"under-score", "under-score-oc"}
    assert slugs["x"] == "x-oc"
    assert slugs["l" * 80].startswith("l" * 20)
    assert slugs["free"] == "free"
    before = await contents(hosted)
    await run(hosted, path)
    assert await contents(hosted) == before


async def test_the_host_may_have_another_slug_in_the_file(hosted: Sessions, tmp_path: Path) -> None:
    fee = host_fee(oppositeAccountSlug="osc")
    await run(hosted, file(tmp_path, [gift(), fee]))
    assert (await balances(hosted))["opensource", "BALANCE"] == 100
    both = file(tmp_path, [gift(), fee, host_fee(oppositeAccountSlug="third")])
    message = await refused(hosted, both, collective_slug="other")
    assert message == "Line 4, oppositeAccountSlug: the host was 'osc'"


async def test_a_renamed_collective_is_found_by_its_old_slug(hosted: Sessions, tmp_path: Path) -> None:
    path = file(tmp_path, [gift()])
    await run(hosted, path)
    async with hosted() as session:
        row = (
            await session.execute(select(Collective).where(col(Collective.slug) == "webpack"))
        ).scalar_one()
        row.slug = "rspack"
        session.add_all([row, SlugRedirect(slug="webpack", collective_id=row.id)])
        await session.commit()
    assert (await run(hosted, path)).skipped == 1
    await refused(hosted, path, collective_slug="rspack")


async def test_a_host_or_collective_that_cannot_take_it_is_refused(hosted: Sessions, tmp_path: Path) -> None:
    path = file(tmp_path, [gift()])
    async with hosted() as session:
        host = await organization(session, "elsewhere")
        await organization(session, "closed", archived_at=now())
        common: dict[str, Any] = {"name": "x", "currency": "USD", "host_approved_at": now()}
        session.add_all(
            [
                Collective(slug="homeless", type=CollectiveType.COMMUNITY, name="x", currency="USD"),
                Collective(slug="person", type=CollectiveType.USER, host_id=host.id, **common),
                Collective(slug="hosted", type=CollectiveType.COMMUNITY, host_id=host.id, **common),
                Collective(
                    slug="euros", type=CollectiveType.COMMUNITY, host_id=host.id,
                    **common | {"currency": "EUR"},
                ),
                Collective(
                    slug="gone", type=CollectiveType.COMMUNITY, host_id=host.id, archived_at=now(),
                    **common,
                ),
            ]
        )  # fmt: skip
        await session.commit()
    await refused(hosted, path, NotFound, host_slug="nobody")
    await refused(hosted, path, NotFound, host_slug="no\x00body")
    await refused(hosted, path, InvalidState, host_slug="closed")
    for slug in ("homeless", "person", "hosted"):
        await refused(hosted, path, host_slug=slug)
        await refused(hosted, path, collective_slug=slug)
    await refused(hosted, path, host_slug="elsewhere", collective_slug="elsewhere")
    await refused(hosted, path, host_slug="elsewhere", collective_slug="person")
    await refused(hosted, path, host_slug="elsewhere", collective_slug="euros")
    await refused(hosted, path, InvalidState, host_slug="elsewhere", collective_slug="gone")
    for slug in ("", "admin", "No spaces", "a\x00b"):
        await refused(hosted, path, collective_slug=slug)
    report = await run(hosted, path, host_slug="Elsewhere", collective_slug="Hosted")
    assert report.orders == 1


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
                session, path=file(tmp_path, [gift(), cover("1")]), host_slug="opensource",
                collective_slug="webpack",
            )  # fmt: skip
        await session.commit()
    assert {row.slug for row in await every(hosted, Collective)} == {
        "platform",
        "opensource",
        "kept",
    }


# Broken files -------------------------------------------------------------------------------------------

BROKEN_CELLS = [
    ({"kind": "PLATFORM_TIP"}, "kind"),
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
    ({"amount": "١٠"}, "amount"),  # noqa: RUF001 - digits of another script are the point
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
    ({"balance": "20.01"}, "balance"),
    ({"balance": "1.234"}, "balance"),
    ({"currency": "EUR"}, "currency"),
    ({"currency": ""}, "currency"),
    ({"taxAmount": "-1"}, "taxAmount"),
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
    ({"datetime": "2020-01-03T11:59:50"}, "datetime"),
    ({"shortId": ""}, "shortId"),
    ({"shortId": "id2", "shortGroup": "group2"}, "shortId"),
    ({"shortGroup": "a b"}, "shortGroup"),
    ({"isRefund": "perhaps"}, "isRefund"),
    ({"isRefunded": "perhaps"}, "isRefunded"),
    ({"isRefund": "REFUND"}, "shortRefundId"),
    ({"isRefund": "REFUND", "shortRefundId": "nothing"}, "shortRefundId"),
    ({"isRefund": "REFUND", "shortRefundId": "id3"}, "shortRefundId"),
    ({"isRefund": "REFUND", "shortRefundId": "id2"}, "shortRefundId"),
    ({"shortRefundId": "no id"}, "shortRefundId"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "column"), BROKEN_CELLS)
async def test_a_broken_cell_is_named_and_nothing_is_stored(
    hosted: Sessions, tmp_path: Path, change: dict[str, str], column: str
) -> None:
    rows = [gift(), gift() | change, gift()]
    message = await refused(hosted, file(tmp_path, rows))
    assert message.split(": ")[0] == f"Line 3, {column}"


BROKEN_ROWS = [
    (line("HOST_FEE", "1", oppositeAccountSlug="opensource"), "type"),
    (line("PAYMENT_PROCESSOR_FEE", "1"), "type"),
    (line("PAYMENT_PROCESSOR_COVER", "-1", oppositeAccountSlug="opensource"), "type"),
    (host_fee(paymentProcessorFee="-0.5", netAmount="-1.5"), "paymentProcessorFee"),
    (host_fee(netAmount="-2"), "netAmount"),
    (line("EXPENSE", "-5", net="-6"), "netAmount"),
    (line("EXPENSE", "-5", fee="0.25"), "paymentProcessorFee"),
    (line("EXPENSE", "-5", oppositeAccountSlug="webpack"), "oppositeAccountSlug"),
    (returned("CONTRIBUTION", "-10.01", "id2"), "amount"),
    (returned("CONTRIBUTION", "-10", "id2", oppositeAccountSlug="x"), "shortRefundId"),
    (returned("EXPENSE", "-10", "id2"), "shortRefundId"),
    (returned("CONTRIBUTION", "-10", "id2", fee="-0.3"), "paymentProcessorFee"),
    (line("EXPENSE", "-10.01"), "amount"),
]


@pytest.mark.parametrize(("row", "column"), BROKEN_ROWS)
async def test_a_row_without_sense_is_named_and_nothing_is_stored(
    hosted: Sessions, tmp_path: Path, row: dict[str, str], column: str
) -> None:
    message = await refused(hosted, file(tmp_path, [gift(), row]), Problem)
    assert message.split(": ")[0] == f"Line 3, {column}"


async def test_the_first_balance_must_follow_too(hosted: Sessions, tmp_path: Path) -> None:
    message = await refused(hosted, file(tmp_path, [gift(balance="11")]))
    assert message.startswith("Line 2, balance: ")


async def test_a_refund_must_not_be_refunded(hosted: Sessions, tmp_path: Path) -> None:
    rows = [gift(), returned("CONTRIBUTION", "-10", "id2"), returned("CONTRIBUTION", "10", "id3")]
    message = await refused(hosted, file(tmp_path, rows))
    assert message.startswith("Line 4, shortRefundId: ")


@pytest.mark.parametrize("column", COLUMNS[:15])
async def test_a_missing_or_doubled_column_is_named(hosted: Sessions, tmp_path: Path, column: str) -> None:
    path = file(tmp_path, [gift()])
    good = path.read_text()
    path.write_text(good.replace(f"{column},", "other,", 1))
    assert await refused(hosted, path) == f"Line 1, {column}: the column is missing in the header"
    path.write_text(good.replace("taxAmount", column, 1))
    assert await refused(hosted, path) == f"Line 1, {column}: the column is twice in the header"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: b"", "Line 1: the file is empty"),
        (lambda _: b"\xef\xbb\xbf", "Line 1: the file is empty"),
        (lambda data: data.splitlines()[0], "Line 2: there are no rows"),
        (lambda data: data.replace(b"giver", b"\xff", 1), "Line 2: this is not UTF-8"),
        (lambda data: data.replace(b"id3", b"\x00", 1), "Line 3: this holds a NUL"),
        (lambda data: data.replace(b"id3", b'"id3', 1), "Line 3: this is not CSV: "),
        (lambda data: data.replace(b"id3", b'"i"d3', 1), "Line 3: this is not CSV: "),
        (lambda data: data.replace(b"id3", b"i" * 200_000, 1), "Line 3: this is not CSV: "),
        (lambda data: data + b"2020-01-01", "Line 4, shortId: 1 cells under 20 columns"),
        (lambda data: data.rstrip() + b",more", "Line 3: 21 cells under 20 columns"),
        (lambda data: data.replace(b"id3", b'"id\n3"', 1), "Line 3, shortId: "),
        (lambda data: data.replace(b"id2", b'"id\n2"', 1), "Line 2, shortId: "),
    ],
)
async def test_a_broken_file_is_refused(hosted: Sessions, tmp_path: Path, change: Any, message: str) -> None:
    path = file(tmp_path, [gift(), gift()])
    path.write_bytes(change(path.read_bytes()))
    assert (await refused(hosted, path)).startswith(message)


async def test_a_file_that_cannot_be_read_is_refused(hosted: Sessions, tmp_path: Path) -> None:
    assert "cannot be read" in await refused(hosted, tmp_path / "nothing.csv")
    assert "cannot be read" in await refused(hosted, tmp_path)


async def test_forms_that_spreadsheets_write_are_read(hosted: Sessions, tmp_path: Path) -> None:
    path = file(
        tmp_path,
        [
            gift("10.00", datetime="2020-01-03T13:00:00.5+01:00"),
            gift(paymentProcessorFee="", taxAmount=""),
        ],
    )
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n\r\n")
    report = await run(hosted, path)
    assert report.balance.minor_units == 2000
    assert (await transactions(hosted))[0].at == datetime(2020, 1, 3, 12, 0, 0, 500_000, tzinfo=UTC)
