"""Imports an Open Collective ledger: each row becomes a transaction at its original time."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import ARRAY, Text, any_, literal, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Order, Transaction
from services.core.errors import InsufficientFunds
from services.core.money import Money
from services.database import constraint_errors
from services.ledger import posting
from services.ledger.legs import Leg, posting_legs
from services.open_collective.account_checks import require_balances, require_continues
from services.open_collective.csv_reader import Row, line_error, read_rows
from services.open_collective.orders import Job, write_orders
from services.open_collective.parties import (
    Parties,
    create_collective,
    find_collective,
    find_host,
    find_or_create_counterparts,
)
from services.open_collective.plan import (
    Entry,
    entry_amounts,
    fingerprint,
    fingerprint_of,
    group_key,
    own_key,
    plan_entries,
    transaction_ids,
)

_COMPARED_COLUMNS = {
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
"""Transaction columns that must equal those imported before, and the file's column of each."""


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """The result of an import."""

    rows: int
    orders: int
    transactions: int
    counterparts: int
    """Number of users created for the other sides."""
    skipped: int
    """Rows imported before."""
    balance: Money
    """The collective's balance after the last row."""


async def import_ledger(
    session: AsyncSession,
    *,
    path: Path,
    host_slug: str,
    collective_slug: str,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Import a "separate transactions" export of one account into a collective of a host.

    A second run changes nothing; a longer file adds its new rows. All or nothing: a failed import is undone
    even if the caller then commits. `progress` gets the number of rows done and their total. Locks: the
    collective, then ledger accounts.

    Raises:
        Invalid: the file, with line and column, or a host or collective that cannot receive it.
        NotFound: there is no such host.
        InsufficientFunds: a row would take a balance below zero.
    """
    host, own = host_slug.lower(), collective_slug.lower()
    try:
        async with session.begin_nested():
            return await _import_rows(session, path, host, own, progress or (lambda _done, _total: None))
    except DBAPIError as error:
        if (problem := constraint_errors.problem_for(error)) is None:
            raise
        raise problem from error


async def _import_rows(
    session: AsyncSession,
    path: Path,
    host_slug: str,
    own_slug: str,
    progress: Callable[[int, int], None],
) -> ImportReport:
    host = await find_host(session, slug=host_slug)
    existing = await find_collective(session, slug=own_slug, host=host)
    rows = await asyncio.to_thread(read_rows, path, currency=host.currency)
    prefix = f"open-collective:{own_slug}"
    orders, stored = await _load_imported(session, prefix, rows)
    keys = {order.id: key for key, order in orders.items()}
    plan = plan_entries(
        rows,
        prefix=prefix,
        host_slug=host_slug,
        stored={mark: keys[row.order_id] for mark, row in stored.items() if row.order_id},
    )
    new = _find_new_entries(plan, prefix, stored)
    own = existing or await create_collective(session, slug=own_slug, host=host)
    parties = Parties(host, own)
    if new:
        await require_continues(session, parties, new[0].row, stored)
    slugs = sorted({entry.opposite for entry in plan if entry.opposite is not None})
    others, created = await find_or_create_counterparts(
        session, prefix=prefix, slugs_in_file=slugs, currency=parties.currency
    )
    job = Job(
        prefix=prefix,
        parties=parties,
        others=others,
        plan=plan,
        new=new,
        orders=orders,
        stored=stored,
        ids=_transaction_ids(prefix, rows, stored),
    )
    created_orders = await write_orders(session, job)
    await _post_entries(session, job, progress)
    await require_balances(session, job)
    return ImportReport(
        rows=len(rows),
        orders=created_orders,
        transactions=len(new),
        counterparts=created,
        skipped=len(rows) - len(new),
        balance=Money(rows[-1].balance_minor, parties.currency),
    )


async def _load_imported(
    session: AsyncSession, prefix: str, rows: Sequence[Row]
) -> tuple[dict[str, Order], dict[int, Transaction]]:
    """Load the orders made by rows of this file, by key, and their transactions by fingerprint."""
    keys = sorted({make(prefix, row) for row in rows for make in (group_key, own_key)})
    is_of_file = col(Order.import_key) == any_(literal(keys, ARRAY(Text)))
    # The session may hold some from before, so they are refreshed.
    imported = select(Order).where(is_of_file).execution_options(populate_existing=True)
    orders = (await session.execute(imported)).scalars().all()
    emitted = select(Transaction).join(Order, col(Transaction.order_id) == Order.id).where(is_of_file)
    transactions = (await session.execute(emitted)).scalars().all()
    fingerprints = {fingerprint(prefix, row) for row in rows}
    return (
        {order.import_key: order for order in orders if order.import_key is not None},
        {mark: row for row in transactions if (mark := fingerprint_of(row.id)) in fingerprints},
    )


def _transaction_ids(prefix: str, rows: Sequence[Row], stored: Mapping[int, Transaction]) -> dict[Row, UUID]:
    """Return each row's transaction id; stored ones keep theirs even if the time differs."""
    planned = zip(rows, transaction_ids(prefix, rows), strict=True)
    return {
        row: stored[mark].id if (mark := fingerprint(prefix, row)) in stored else new_id
        for row, new_id in planned
    }


def _find_new_entries(plan: Sequence[Entry], prefix: str, stored: Mapping[int, Transaction]) -> list[Entry]:
    """Return the entries that are not stored; all must be at the end of the file."""
    new: list[Entry] = []
    for entry in plan:
        if fingerprint(prefix, entry.row) not in stored:
            new.append(entry)
        elif new:
            raise line_error(
                new[0].row.line,
                "shortId",
                f"not imported before, but line {entry.row.line} was: add new rows at the end",
            )
    return new


def _plan_posting(job: Job, entry: Entry) -> tuple[dict[str, Any], list[Leg]]:
    """Return the row and legs that `posting.post` takes for an entry."""
    payer, payee = job.sides(entry)
    amounts = entry_amounts(entry, currency=job.parties.currency)
    row = posting.transaction_row(
        amounts,
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
    # The platform gets no fee: the file does not distinguish its fee from the host's.
    return row, posting_legs(amounts, payer, payee, platform_id=job.parties.host.id)


async def _post_entries(session: AsyncSession, job: Job, progress: Callable[[int, int], None]) -> None:
    """Post the new rows in the file's order; rows imported before must be unchanged."""
    for done, entry in enumerate(job.plan, start=1):
        row, legs = _plan_posting(job, entry)
        imported = job.stored.get(fingerprint(job.prefix, entry.row))
        if imported is not None:
            _require_same(entry.row, imported, row)
        else:
            try:
                await posting.post(session, row=row, legs=legs)
            except DBAPIError as error:
                raise _with_line(entry.row, error) from error
        progress(done, len(job.plan))


def _require_same(row: Row, imported: Transaction, planned: Mapping[str, Any]) -> None:
    expected = {**planned, "at": row.at}
    for name, column in _COMPARED_COLUMNS.items():
        if getattr(imported, name) != expected[name]:
            raise line_error(row.line, column, "this differs from the earlier import")


def _with_line(row: Row, error: DBAPIError) -> Exception:
    """Return the problem that the database reported, with the line, or else the error itself."""
    problem = constraint_errors.problem_for(error)
    if problem is None:
        return error
    if isinstance(problem, InsufficientFunds):
        problem.message = "this would take the collective's or the host's balance below zero"
    return type(problem)(f"Line {row.line}, amount: {problem.message}", field=f"file.{row.line}")
