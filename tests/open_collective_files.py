"""Files like Open Collective's exports, made here, and what an import of them left."""

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
from services.core.errors import Invalid, Problem
from services.core.party import OUTSIDE, Party
from services.ledger import audit, posting, transaction_amounts
from services.ledger.transaction_amounts import Figures
from services.open_collective.importer import ImportReport, replay

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


def line(kind: str, amount: str, *, fee: str = "0", net: str | None = None, **cells: str) -> dict[str, str]:
    """Return the cells of a row; what is not given, `file` fills in."""
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


def gift(amount: str = "10", **cells: str) -> dict[str, str]:
    return line("CONTRIBUTION", amount, **cells)


def host_fee(amount: str = "-1", **cells: str) -> dict[str, str]:
    return line("HOST_FEE", amount, **{"oppositeAccountSlug": "opensource"} | cells)


def cover(amount: str, **cells: str) -> dict[str, str]:
    place = {"oppositeAccountSlug": "opensource", "isRefund": "REFUND"}
    return line("PAYMENT_PROCESSOR_COVER", amount, **place | cells)


def returned(kind: str, amount: str, of: str, **cells: str) -> dict[str, str]:
    return line(kind, amount, isRefund="REFUND", shortRefundId=of, **cells)


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


async def organization(session: AsyncSession, slug: str, currency: str = "USD", **columns: Any) -> Collective:
    """Store a nonprofit that holds its own money."""
    row = Collective(slug=slug, type=CollectiveType.NONPROFIT, name=slug, currency=currency, **columns)
    session.add(row)
    await session.flush()
    row.host_id, row.host_approved_at = row.id, now()
    await session.flush()
    return row


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
            currency=row.currency,
            amount=amount,
            host_currency=row.currency,
            fx_rate=Decimal(1),
            fx_rate_id=None,
            gross=amount,
            payment_processor_fee=0,
            platform_fee=0,
            host_fee=0,
            to_host_amount=amount,
            to_collective_amount=amount,
        )
        payee = Party(row, host)
        await posting.post(
            session,
            row=posting.transaction_row(found, OUTSIDE, payee, kind=TransactionKind.ADDED_FUNDS, order=None),
            legs=transaction_amounts.legs(found, OUTSIDE, payee, platform_id=host.id),
        )
        await session.commit()
