"""Replaying an Open Collective ledger: each row is a transaction at its own time."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import ARRAY, Text, Uuid, any_, literal, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import LedgerAccount, Order, Posting, Transaction
from models.enums import LedgerAccountKind
from services.core.errors import InsufficientFunds
from services.core.money import Money
from services.database import constraint_errors
from services.ledger import posting, transaction_amounts
from services.ledger.transaction_amounts import Leg
from services.open_collective.csv_reader import Row, broken, read
from services.open_collective.orders import Job, place_orders
from services.open_collective.parties import (
    Parties,
    counterparts,
    create_collective,
    find_collective,
    find_host,
)
from services.open_collective.plan import (
    Entry,
    entries,
    figures,
    fingerprint,
    fingerprint_of,
    group_key,
    own_key,
    transaction_ids,
)

_COMPARED = {
    "kind": "kind",
    "at": "datetime",
    "amount": "amount",
    "payment_processor_fee": "paymentProcessorFee",
    "host_fee": "netAmount",
    "to_collective_amount": "netAmount",
    "gross": "netAmount",
    "from_collective_id": "oppositeAccountSlug",
    "to_collective_id": "oppositeAccountSlug",
    "from_host_id": "oppositeAccountSlug",
    "to_host_id": "oppositeAccountSlug",
    "refund_of_id": "shortRefundId",
    "currency": "currency",
    "group_id": "shortGroup",
}
"""What must be as it was imported before, and the column that says so."""


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import did."""

    rows: int
    orders: int
    transactions: int
    counterparts: int
    """How many collectives were made for the other sides."""
    skipped: int
    """Rows that had been imported before."""
    balance: Money
    """The collective's balance after the last row."""


async def replay(
    session: AsyncSession,
    *,
    path: Path,
    host_slug: str,
    collective_slug: str,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Import a "separate transactions" export of one account into a collective of a host.

    A second run changes nothing; a longer file adds its new rows. All or nothing: what fails is
    undone even where the caller then commits. `progress` gets the rows done and their number.
    Locks: the collective, then ledger accounts.

    Raises:
        Invalid: the file, naming its line and column; a host or collective that cannot take it.
        NotFound: there is no such host.
        InsufficientFunds: a row would take a balance below zero.
    """
    host, own = host_slug.lower(), collective_slug.lower()
    try:
        async with session.begin_nested():
            return await _replay(session, path, host, own, progress or (lambda _done, _of: None))
    except DBAPIError as error:
        if (problem := constraint_errors.problem_of(error)) is None:
            raise
        raise problem from error


async def _replay(
    session: AsyncSession,
    path: Path,
    host_slug: str,
    own_slug: str,
    progress: Callable[[int, int], None],
) -> ImportReport:
    host = await find_host(session, slug=host_slug)
    known = await find_collective(session, slug=own_slug, host=host)
    rows = await asyncio.to_thread(read, path, currency=host.currency)
    prefix = f"open-collective:{own_slug}"
    orders, stored = await _imported(session, prefix, rows)
    keys = {order.id: key for key, order in orders.items()}
    plan = entries(
        rows,
        prefix=prefix,
        host_slug=host_slug,
        stored={mark: keys[row.order_id] for mark, row in stored.items() if row.order_id},
    )
    new = _new(plan, prefix, stored)
    own = known or await create_collective(session, slug=own_slug, host=host)
    parties = Parties(host, own)
    if new:
        await _require_continues(session, parties, new[0].row, stored)
    named = sorted({entry.opposite for entry in plan if entry.opposite is not None})
    others, made = await counterparts(session, prefix=prefix, slugs_in_file=named, currency=parties.currency)
    job = Job(
        prefix=prefix,
        parties=parties,
        others=others,
        plan=plan,
        new=new,
        orders=orders,
        stored=stored,
        ids=_ids(prefix, rows, stored),
    )
    opened = await place_orders(session, job)
    await _write(session, job, progress)
    await _require_balances(session, job)
    return ImportReport(
        rows=len(rows),
        orders=opened,
        transactions=len(new),
        counterparts=made,
        skipped=len(rows) - len(new),
        balance=Money(rows[-1].balance, parties.currency),
    )


async def _imported(
    session: AsyncSession, prefix: str, rows: Sequence[Row]
) -> tuple[dict[str, Order], dict[int, Transaction]]:
    """Return the orders that rows of this file may have made, by key, and theirs by fingerprint."""
    keys = sorted({make(prefix, row) for row in rows for make in (group_key, own_key)})
    wanted = col(Order.import_key) == any_(literal(keys, ARRAY(Text)))
    # The session may know some from before: they are read again.
    found = select(Order).where(wanted).execution_options(populate_existing=True)
    orders = (await session.execute(found)).scalars().all()
    emitted = select(Transaction).join(Order, col(Transaction.order_id) == Order.id).where(wanted)
    transactions = (await session.execute(emitted)).scalars().all()
    of_file = {fingerprint(prefix, row) for row in rows}
    return (
        {order.import_key: order for order in orders if order.import_key is not None},
        {mark: row for row in transactions if (mark := fingerprint_of(row.id)) in of_file},
    )


def _ids(prefix: str, rows: Sequence[Row], stored: Mapping[int, Transaction]) -> dict[Row, UUID]:
    """Return each row's transaction: the stored one keeps its id, though the row's time may differ."""
    made = zip(rows, transaction_ids(prefix, rows), strict=True)
    return {
        row: stored[mark].id if (mark := fingerprint(prefix, row)) in stored else new_id
        for row, new_id in made
    }


def _new(plan: Sequence[Entry], prefix: str, stored: Mapping[int, Transaction]) -> list[Entry]:
    """Return the entries that are not stored: all stand at the end of the file."""
    new: list[Entry] = []
    for entry in plan:
        if fingerprint(prefix, entry.row) not in stored:
            new.append(entry)
        elif new:
            raise broken(
                new[0].row.line,
                "shortId",
                f"not imported before, while line {entry.row.line} was: rows are added at the end",
            )
    return new


async def _require_continues(
    session: AsyncSession, parties: Parties, row: Row, stored: Mapping[int, Transaction]
) -> None:
    """Let through a first new row that comes after all that the collective's account has."""
    account = await _account(session, parties)
    posted = account.posted if account else 0
    if account is not None and account.last_at is not None:
        last = select(col(Posting.transaction_id)).where(
            col(Posting.book_id) == parties.host.id,
            col(Posting.account_id) == account.id,
            col(Posting.seq) == account.seq,
        )
        ours = {transaction.id for transaction in stored.values()}
        # After a row of this file its own order holds, in which a row may be seconds earlier.
        if row.at < account.last_at and (await session.execute(last)).scalar_one() not in ours:
            raise broken(
                row.line,
                "datetime",
                f"history cannot be put before what is there: the last is of {account.last_at}",
            )
    if row.balance - row.net != posted:
        here, there = (Money(minor, parties.currency).value for minor in (posted, row.balance - row.net))
        raise broken(
            row.line,
            "balance",
            f"before this row it is {here} here, {there} by this balance and netAmount",
        )


@dataclass(frozen=True)
class _Account:
    id: int
    posted: int
    seq: int
    last_at: datetime | None


async def _account(session: AsyncSession, parties: Parties) -> _Account | None:
    """Return the collective's account as it is now; None where it has none yet."""
    # Columns, not the row: one that the session knows already would keep its old figures.
    account = LedgerAccount
    statement = select(col(account.id), col(account.posted), col(account.seq), col(account.last_at)).where(
        col(account.book_id) == parties.host.id,
        col(account.owner_id) == parties.collective.id,
        col(account.currency) == parties.currency,
        col(account.kind) == LedgerAccountKind.BALANCE,
    )
    row = (await session.execute(statement)).one_or_none()
    return _Account(*row) if row else None


def _posting(job: Job, entry: Entry) -> tuple[dict[str, Any], list[Leg]]:
    """Return what `ledger.post` takes for an entry."""
    payer, payee = job.sides(entry)
    found = figures(entry, currency=job.parties.currency)
    row = posting.transaction_row(
        found,
        payer,
        payee,
        kind=entry.kind,
        order=job.orders[entry.order_key],
        transaction_id=job.ids[entry.row],
        at=entry.row.at,
        group_id=uuid5(NAMESPACE_URL, group_key(job.prefix, entry.row)),
        description=f"Open Collective {entry.row.short_id}",
    )
    row["refund_of_id"] = job.ids[entry.original] if entry.original else None
    # Nothing goes to the platform: the file does not tell its fee from the host's.
    return row, transaction_amounts.legs(found, payer, payee, platform_id=job.parties.host.id)


async def _write(session: AsyncSession, job: Job, progress: Callable[[int, int], None]) -> None:
    """Post the new rows in the file's order; the others must be as they are stored."""
    for done, entry in enumerate(job.plan, start=1):
        row, legs = _posting(job, entry)
        before = job.stored.get(fingerprint(job.prefix, entry.row))
        if before is not None:
            _require_same(entry.row, before, row)
        else:
            try:
                await posting.post(session, row=row, legs=legs)
            except DBAPIError as error:
                raise _of_line(entry.row, error) from error
        progress(done, len(job.plan))


def _require_same(row: Row, before: Transaction, planned: Mapping[str, Any]) -> None:
    expected = {**planned, "at": row.at}
    for name, column in _COMPARED.items():
        if getattr(before, name) != expected[name]:
            raise broken(row.line, column, "this differs from what was imported before")


def _of_line(row: Row, error: DBAPIError) -> Exception:
    """Return what the database refused, in words and with the line, or the fault as it is."""
    problem = constraint_errors.problem_of(error)
    if problem is None:
        return error
    if isinstance(problem, InsufficientFunds):
        problem.message = "this would take the collective's or the host's balance below zero"
    return type(problem)(f"Line {row.line}, amount: {problem.message}", path=["file", str(row.line)])


async def _require_balances(session: AsyncSession, job: Job) -> None:
    """Let through an import after each row of which the account has the file's balance."""
    account = await _account(session, job.parties)
    statement = select(col(Posting.transaction_id), col(Posting.balance_after)).where(
        col(Posting.transaction_id) == any_(literal(list(job.ids.values()), ARRAY(Uuid))),
        col(Posting.book_id) == job.parties.host.id,
        col(Posting.account_id) == (account.id if account else None),
    )
    balances = {row[0]: row[1] for row in (await session.execute(statement)).all()}
    for entry in job.plan:
        row = entry.row
        if row.net and balances.get(job.ids[row]) != row.balance:
            raise broken(row.line, "balance", "the ledger has another balance after this row")
