"""Writes a chunk of an import in a database transaction of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Text, any_, func, literal, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Collective, Order, Transaction
from services.core.errors import InsufficientFunds
from services.database import constraint_errors
from services.ledger import posting
from services.ledger.legs import Leg, posting_legs
from services.open_collective import parties as party_rows
from services.open_collective.amounts import Rate, entry_amounts
from services.open_collective.csv_reader import Row
from services.open_collective.file_text import line_error
from services.open_collective.keys import (
    fingerprint,
    fingerprint_of,
    group_id,
    group_key,
    millisecond,
    millisecond_of,
    own_key,
)
from services.open_collective.openings import load_account, require_later
from services.open_collective.orders import sides, write_orders
from services.open_collective.parties import Parties
from services.open_collective.plan import Entry

Sessions = async_sessionmaker[AsyncSession]
_ATTEMPTS = 5
_COMPARED_COLUMNS = {
    "kind": "kind",
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
class Job:
    """What all chunks of an import share."""

    host: Collective
    currency: str
    slugs: Mapping[str, str]
    """Slug here, by account of the file."""
    prefixes: Mapping[str, str]
    ids: Mapping[Row, UUID]
    marks: Mapping[Row, int]
    """Fingerprints."""
    rates: Mapping[Row, Rate]


@dataclass(frozen=True)
class Written:
    """How much a chunk has added."""

    orders: int = 0
    transactions: int = 0
    counterparts: int = 0
    collectives: int = 0

    def __add__(self, other: "Written") -> "Written":
        return Written(
            self.orders + other.orders,
            self.transactions + other.transactions,
            self.counterparts + other.counterparts,
            self.collectives + other.collectives,
        )


async def load_imported(
    session: AsyncSession, prefixes: Mapping[str, str], rows: Sequence[Row], keys: Sequence[str] = ()
) -> tuple[dict[str, Order], dict[int, Transaction]]:
    """Load the orders of these rows and keys, by key, and the rows' transactions by fingerprint."""
    named = {make(prefixes[row.account], row) for row in rows for make in (group_key, own_key)}
    is_of_rows = col(Order.import_key) == any_(literal(sorted(named.union(keys)), ARRAY(Text)))
    # The session may hold some from before, so they are refreshed.
    imported = select(Order).where(is_of_rows).execution_options(populate_existing=True)
    orders = (await session.execute(imported)).scalars().all()
    emitted = select(Transaction).join(Order, col(Transaction.order_id) == Order.id).where(is_of_rows)
    transactions = (await session.execute(emitted)).scalars().all()
    marks = {fingerprint(prefixes[row.account], row) for row in rows}
    return (
        {order.import_key: order for order in orders if order.import_key is not None},
        {mark: row for row in transactions if (mark := fingerprint_of(row.id)) in marks},
    )


async def write_chunk(sessions: Sessions, job: Job, entries: Sequence[Entry]) -> Written:
    """Write a chunk; what another import has written meanwhile is only compared.

    Tried again after a deadlock. Locks: the accounts' names, the collectives, then ledger accounts.

    Raises:
        Invalid, InsufficientFunds: a row, with its line.
    """
    is_single = False
    for attempt in range(_ATTEMPTS):
        try:
            async with sessions.begin() as session:
                return await _write(session, job, entries, is_single=is_single)
        except DBAPIError as error:
            is_retried = constraint_errors.sqlstate(error) in constraint_errors.RETRYABLE
            if is_retried and attempt < _ATTEMPTS - 1:
                continue
            problem = constraint_errors.problem_for(error)
            if problem is None or is_single:
                raise (problem or error) from error
            is_single = True  # once more, row by row, to name the line
    raise AssertionError  # each attempt returns or raises


async def _write(session: AsyncSession, job: Job, entries: Sequence[Entry], *, is_single: bool) -> Written:
    for prefix in sorted({job.prefixes[entry.row.account] for entry in entries}):
        await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(prefix, 0))))
    parties, written = await _load_parties(session, job, entries)
    rows = [entry.row for entry in entries]
    keys = [entry.order_key for entry in entries]
    orders, stored = await load_imported(session, job.prefixes, rows, keys)
    new = [entry for entry in entries if job.marks[entry.row] not in stored]
    await _require_later(session, job, parties, new)
    created = await write_orders(session, parties, new, orders)
    postings = []
    for entry in entries:
        row, legs = _plan_posting(job, parties, entry, orders[entry.order_key])
        imported = stored.get(job.marks[entry.row])
        if imported is not None:
            _require_same(entry.row, imported, row)
        else:
            postings.append((entry.row, row, legs))
    if is_single:
        for source, row, legs in postings:
            await _post_one(session, source, row, legs)
    elif postings:
        await posting.post_history(session, postings=[(row, legs) for _, row, legs in postings])
    return written + Written(orders=created, transactions=len(postings))


async def _load_parties(session: AsyncSession, job: Job, entries: Sequence[Entry]) -> tuple[Parties, Written]:
    """Find or create the collectives and counterparts of a chunk."""
    host = await party_rows.find_host(session, slug=job.host.slug)
    accounts = {entry.row.account for entry in entries} | {e.partner for e in entries if e.partner}
    collectives: dict[str, Collective] = {}
    created = 0
    for account in sorted(accounts):
        slug = job.slugs[account]
        found = await party_rows.find_collective(session, slug=slug, host=host)
        if found is None:
            created += 1
            found = await party_rows.create_collective(
                session, slug=slug, host=host, currency=job.currency, prefix=job.prefixes[account]
            )
        await party_rows.keep_prefix(session, found, prefix=job.prefixes[account])
        collectives[account] = found
    named = {
        (entry.row.account, entry.opposite): (job.prefixes[entry.row.account], entry.opposite)
        for entry in entries
        if entry.opposite is not None
    }
    users, counterparts = await party_rows.find_or_create_counterparts(
        session, named=named.values(), currency=job.currency
    )
    others = {place: users[name] for place, name in named.items()}
    written = Written(counterparts=counterparts, collectives=created)
    return Parties(host, job.currency, collectives, others), written


async def _require_later(session: AsyncSession, job: Job, parties: Parties, new: Sequence[Entry]) -> None:
    accounts = {
        entry.row.account: await load_account(
            session,
            host=parties.host,
            collective=parties.collectives[entry.row.account],
            currency=job.currency,
        )
        for entry in {entry.row.account: entry for entry in new}.values()
    }
    require_later([entry.row for entry in new], accounts, job.marks)


def _plan_posting(job: Job, parties: Parties, entry: Entry, order: Order) -> tuple[dict[str, Any], list[Leg]]:
    """Return the row and legs that `posting` takes for an entry."""
    payer, payee = sides(entry, parties)
    amounts = entry_amounts(entry, job.rates[entry.row])
    if amounts.currency != job.currency and payee.host is not None:
        payee = replace(payee, balance_currency=amounts.currency)
    prefix = job.prefixes[entry.row.account]
    row = posting.transaction_row(
        amounts,
        payer,
        payee,
        kind=entry.kind,
        order=order,
        transaction_id=job.ids[entry.row],
        at=entry.row.at,
        group_id=group_id(prefix, entry.row),
        description=f"Open Collective {entry.row.short_id}",
    )
    row["refund_of_id"] = job.ids[entry.original] if entry.original else None
    # The platform gets no fee: the file does not distinguish its fee from the host's.
    return row, posting_legs(amounts, payer, payee, platform_id=parties.host.id)


def _require_same(row: Row, imported: Transaction, planned: Mapping[str, Any]) -> None:
    if millisecond_of(imported.id) != millisecond(row):
        raise line_error(row.line, "datetime", "this differs from the earlier import")
    for name, column in _COMPARED_COLUMNS.items():
        if getattr(imported, name) != planned[name]:
            raise line_error(row.line, column, "this differs from the earlier import")


async def _post_one(session: AsyncSession, source: Row, row: dict[str, Any], legs: Sequence[Leg]) -> None:
    try:
        await posting.post(session, row=row, legs=legs)
    except DBAPIError as error:
        problem = constraint_errors.problem_for(error)
        if problem is None:
            raise
        if isinstance(problem, InsufficientFunds):
            problem.message = "this would take the collective's or the host's balance below zero"
        raise type(problem)(
            f"Line {source.line}, amount: {problem.message}", field=f"file.{source.line}"
        ) from error
