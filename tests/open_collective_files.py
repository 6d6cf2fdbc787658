"""CSV files like Open Collective's exports, and readers for the imported rows."""

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
    Order,
    Posting,
    Transaction,
    metadata,
    now,
)
from models.enums import (
    CollectiveType,
    LedgerAccountKind,
    TransactionKind,
)
from services.collectives import host_setup
from services.core.errors import Invalid, Problem
from services.core.party import OUTSIDE, Party
from services.ledger import audit, posting
from services.ledger.legs import posting_legs
from services.ledger.transaction_amounts import TransactionAmounts
from services.open_collective.importer import ImportReport, import_ledger

Sessions = async_sessionmaker[AsyncSession]
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


def csv_row(
    kind: str, amount: str, *, fee: str = "0", net: str | None = None, **cells: str
) -> dict[str, str]:
    """Return the cells of a row; `write_csv` fills in the missing ones."""
    total = Decimal(amount) + Decimal(fee)
    return {
        "type": "DEBIT" if amount.startswith("-") else "CREDIT",
        "kind": kind,
        "amount": amount,
        "paymentProcessorFee": fee,
        "netAmount": str(total) if net is None else net,
        "oppositeAccountSlug": "giver",
        "taxAmount": "0",
        **cells,
    }


def donation(amount: str = "10", **cells: str) -> dict[str, str]:
    return csv_row("CONTRIBUTION", amount, **cells)


def host_fee(amount: str = "-1", **cells: str) -> dict[str, str]:
    return csv_row("HOST_FEE", amount, **{"oppositeAccountSlug": "opensource"} | cells)


def cover(amount: str, **cells: str) -> dict[str, str]:
    place = {"oppositeAccountSlug": "opensource", "isRefund": "REFUND"}
    return csv_row("PAYMENT_PROCESSOR_COVER", amount, **place | cells)


def returned(kind: str, amount: str, of: str, **cells: str) -> dict[str, str]:
    return csv_row(kind, amount, isRefund="REFUND", shortRefundId=of, **cells)


def write_csv(folder: Path, rows: Iterable[dict[str, str]], *, currency: str = "USD") -> Path:
    """Write an export: rows a day apart, each in its own group, with a running balance."""
    out, balance = io.StringIO(), Decimal(0)
    writer = csv.DictWriter(out, COLUMNS, restval="")
    writer.writeheader()
    for number, row in enumerate(rows, start=2):
        with suppress(ArithmeticError):  # a cell that is broken on purpose
            balance += Decimal(row["netAmount"])
        at = START + timedelta(days=number)
        writer.writerow(
            {
                "datetime": at.strftime("%Y-%m-%dT%H:%M:%S"),
                "shortId": f"id{number}",
                "shortGroup": f"group{number}",
                "balance": str(balance),
                "currency": currency,
                "accountSlug": "webpack",
            }
            | row
        )
    path = folder / "ledger.csv"
    path.write_text(out.getvalue())
    return path


async def create_organization(
    session: AsyncSession, slug: str, currency: str = "USD", **columns: Any
) -> Collective:
    """Store a nonprofit that hosts itself."""
    archived_at = columns.pop("archived_at", None)
    row = Collective(slug=slug, type=CollectiveType.NONPROFIT, name=slug, currency=currency, **columns)
    session.add(row)
    await session.flush()
    if row.is_platform:
        row.host_id, row.host_approved_at = row.id, now()
        await session.flush()
    else:
        await host_setup.make_host(session, row)
    row.archived_at = archived_at
    await session.flush()
    return row


async def import_csv(sessions: Sessions, path: Path, **names: Any) -> ImportReport:
    """Import a file."""
    chosen: dict[str, Any] = {"host_slug": "opensource", "collective_slug": "webpack"} | names
    return await import_ledger(sessions, path=path, **chosen)


async def expect_import_problem(
    sessions: Sessions, path: Path, problem: type[Problem] = Invalid, **names: Any
) -> str:
    """Return the message of a failing import; nothing may be stored."""
    chosen: dict[str, Any] = {"host_slug": "opensource", "collective_slug": "webpack"} | names
    before = await digest_tables(sessions)
    with pytest.raises(problem) as caught:
        await import_ledger(sessions, path=path, **chosen)
    assert await digest_tables(sessions) == before
    return caught.value.message


async def digest_tables(sessions: Sessions) -> dict[str, str]:
    """Return the row count and a digest of each table."""
    results = {}
    async with sessions() as session:
        for name in metadata.tables:
            whole = "coalesce(string_agg(t::text, '|' ORDER BY t::text), '')"
            digest = text(f'SELECT count(*) || md5({whole}) FROM "{name}" t')
            results[name] = (await session.execute(digest)).scalar_one()
    return results


async def load_balances(sessions: Sessions) -> dict[tuple[str, str], int]:
    """Return each account's balance by owner and kind; the audit must be clean."""
    async with sessions() as session:
        outcome = await audit.run_audit(session)
        assert [check for check in outcome.checks if check.violations] == []
        statement = select(col(Collective.slug), col(LedgerAccount.kind), col(LedgerAccount.posted)).join(
            LedgerAccount, col(LedgerAccount.owner_id) == Collective.id
        )
        return {(slug, kind): posted for slug, kind, posted in await session.execute(statement)}


async def load_all(sessions: Sessions, table: Any, *order: Any) -> list[Any]:
    async with sessions() as session:
        return list((await session.execute(select(table).order_by(*order))).scalars())


async def load_transactions(sessions: Sessions) -> list[Transaction]:
    return await load_all(sessions, Transaction, col(Transaction.at), col(Transaction.id))


async def load_orders(sessions: Sessions) -> list[Order]:
    return await load_all(sessions, Order, col(Order.created_at), col(Order.id))


async def running_balances(sessions: Sessions, slug: str) -> list[int]:
    """Return the balance of a collective's account after each posting."""
    async with sessions() as session:
        statement = (
            select(col(Posting.balance_after))
            .join(LedgerAccount, col(LedgerAccount.id) == Posting.account_id)
            .join(Collective, col(Collective.id) == LedgerAccount.owner_id)
            .where(col(Collective.slug) == slug, col(LedgerAccount.kind) == LedgerAccountKind.BALANCE)
            .order_by(col(Posting.seq))
        )
        return list((await session.execute(statement)).scalars())


async def add_funds(sessions: Sessions, slug: str, amount: int) -> None:
    """Post money from outside at the current time, without an order."""
    async with sessions() as session:
        row = (await session.execute(select(Collective).where(col(Collective.slug) == slug))).scalar_one()
        host = await session.get_one(Collective, row.host_id)
        result = TransactionAmounts(
            currency=row.currency,
            amount_minor=amount,
            host_currency=row.currency,
            fx_rate=Decimal(1),
            fx_rate_id=None,
            gross_minor=amount,
            payment_processor_fee_minor=0,
            platform_fee_minor=0,
            host_fee_minor=0,
            to_host_amount_minor=amount,
            to_collective_amount_minor=amount,
        )
        payee = Party(row, host)
        await posting.post(
            session,
            row=posting.transaction_row(
                result, OUTSIDE, payee, kind=TransactionKind.OPENING_BALANCE, order=None
            ),
            legs=posting_legs(result, OUTSIDE, payee, platform_id=host.id),
        )
        await session.commit()
