"""Imports an Open Collective ledger: each row becomes a transaction at its original time.

The file is planned as a whole and written in chunks, each a database transaction of its own, so that the
host's other money moves on meanwhile. An import that was interrupted continues when it is run again.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from models import Collective, Transaction
from services.core.errors import Invalid
from services.core.money import Money, require_currency
from services.ledger.exchange_rates import load_quotes
from services.open_collective import openings, parties
from services.open_collective.amounts import Rate, entry_amounts
from services.open_collective.chunks import Job, Sessions, Written, load_imported, write_chunk
from services.open_collective.csv_reader import Row, read_rows
from services.open_collective.file_text import line_error
from services.open_collective.keys import fingerprint, transaction_ids
from services.open_collective.openings import Account
from services.open_collective.plan import Entry, Source, find_host_account, plan_entries
from services.open_collective.row_order import sort_rows, split_taxes

CHUNK_ROWS = 200
_CLOSE = timedelta(minutes=10)
_NOTES_IN_A_MESSAGE = 5
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """The result of an import."""

    rows: int
    """Rows of the file."""
    orders: int
    transactions: int
    counterparts: int
    """Number of users created for the other sides."""
    skipped: int
    """Transactions imported before."""
    balances: Mapping[str, Money]
    """Balance in the ledger of each collective, by slug."""
    notes: Sequence[str]
    """What of the file does not agree, with its lines."""

    @property
    def balance(self) -> Money:
        """Balance of the first collective."""
        return next(iter(self.balances.values()))


@dataclass(frozen=True, kw_only=True)
class _Plan:
    job: Job
    entries: Sequence[Entry]
    notes: Sequence[str]


async def import_ledger(
    sessions: Sessions,
    *,
    path: Path,
    host_slug: str,
    collective_slug: str | None = None,
    amounts_in: str | None = None,
    is_strict: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Import a "separate transactions" export into collectives of a host.

    A second run changes nothing; a longer file adds its new rows. `collective_slug` names the collective of a
    file of one account; without it, accounts keep their slugs. `amounts_in` is the currency of the file, if
    it is not the collective's, or for a new collective not the host's. With `is_strict`, nothing is written
    if anything does not agree. `progress` gets the number of transactions done and their total.
    Locks: in each chunk the collectives, then ledger accounts.

    Raises:
        Invalid: the file, with line and column, or a host or collective that cannot receive it.
        NotFound: there is no such host.
        FxRateUnavailable: the file is in another currency than the host's, and there is no rate of its days.
        InsufficientFunds: a row would take a balance below zero. The chunks before it stay.
    """
    host_slug = host_slug.lower()
    named = collective_slug.lower() if collective_slug is not None else None
    async with sessions() as session:
        host, currency = await _find_currency(session, host_slug, named, amounts_in)
    in_file = await asyncio.to_thread(read_rows, path, currency=currency)
    rows = sort_rows(split_taxes(in_file))
    async with sessions() as session:
        plan = await _plan(session, rows, host=host, currency=currency, named=named)
    if is_strict and plan.notes:
        raise Invalid(_summarize(plan.notes), field="file")
    written = await _write(sessions, plan, progress or (lambda _done, _total: None))
    async with sessions.begin() as session:
        await parties.complete(session, slugs_here=plan.job.slugs.values(), host=host)
        balances = await _load_balances(session, plan.job)
    return ImportReport(
        rows=len(in_file),
        orders=written.orders,
        transactions=written.transactions,
        counterparts=written.counterparts,
        skipped=len(plan.entries) - written.transactions,
        balances=balances,
        notes=plan.notes,
    )


async def _find_currency(
    session: AsyncSession, host_slug: str, named: str | None, amounts_in: str | None
) -> tuple[Collective, str]:
    """Return the host, and the currency that the file must have."""
    host = await parties.find_host(session, slug=host_slug)
    if named is not None and named == host.slug:
        raise Invalid("Choose a community or organization that the host holds money for.", field="collective")
    own = await parties.find_collective(session, slug=named, host=host) if named is not None else None
    if amounts_in is not None:
        return host, require_currency(amounts_in.upper(), field="amounts_in")
    return host, own.currency if own is not None else host.currency


async def _plan(
    session: AsyncSession, rows: Sequence[Row], *, host: Collective, currency: str, named: str | None
) -> _Plan:
    """Plan the whole file and check it against the ledger; nothing is written."""
    firsts = {account: own[0] for account, own in openings.by_account(rows).items()}
    host_account = find_host_account(rows, host_slug=host.slug)
    slugs = _slugs_here(firsts, named, host, host_account)
    own = {
        account: await parties.find_collective(session, slug=slug, host=host)
        for account, slug in slugs.items()
    }
    prefixes = {account: parties.import_prefix(own[account], slug=slug) for account, slug in slugs.items()}
    accounts = {
        account: await openings.load_account(session, host=host, collective=collective, currency=currency)
        for account, collective in own.items()
    }
    possible = [openings.opening_row(first, 1) for first in firsts.values()]
    orders, stored = await load_imported(session, prefixes, [*rows, *possible])
    opened, notes = openings.find_openings(
        rows,
        prefixes=prefixes,
        accounts=accounts,
        imported_before=await openings.find_imported(session, prefixes.values()),
        stored=stored,
        currency=currency,
    )
    rows = [
        each for row in rows for each in ([opened.pop(row.account)] if row.account in opened else []) + [row]
    ]
    keys = {order.id: key for key, order in orders.items()}
    stored_keys = {mark: keys[t.order_id] for mark, t in stored.items() if t.order_id}
    entries = plan_entries(rows, Source(prefixes=prefixes, host_account=host_account, stored=stored_keys))
    marks = {row: fingerprint(prefixes[row.account], row) for row in rows}
    _require_new_last(entries, marks, stored)
    new = [entry.row for entry in entries if marks[entry.row] not in stored]
    openings.require_later(new, accounts, marks)
    rates = await _load_rates(session, entries, currency=currency, host=host)
    for entry in entries:
        entry_amounts(entry, rates[entry.row])
    job = Job(
        host=host,
        currency=currency,
        slugs=slugs,
        prefixes=prefixes,
        ids=transaction_ids(prefixes, rows) | {row: stored[m].id for row, m in marks.items() if m in stored},
        marks=marks,
        rates=rates,
    )
    return _Plan(job=job, entries=entries, notes=[*notes, *_stray_refunds(entries)])


def _slugs_here(
    firsts: Mapping[str, Row], named: str | None, host: Collective, host_account: str
) -> dict[str, str]:
    """Return the slug here of each account of the file."""
    if named is None:
        return {
            account: host.slug if account == host_account else account.replace("_", "-").strip("-")
            for account in firsts
        }
    if len(firsts) > 1:
        second = sorted(firsts.values(), key=lambda row: row.line)[1]
        raise line_error(
            second.line,
            "accountSlug",
            f"the rows before are of another account; to import {len(firsts)} of them, name no collective",
        )
    return dict.fromkeys(firsts, named)


def _require_new_last(
    entries: Sequence[Entry], marks: Mapping[Row, int], stored: Mapping[int, Transaction]
) -> None:
    """Require that what is new comes after what was imported, but for rows of the same minutes."""
    last: dict[str, Row] = {}
    for entry in entries:
        if marks[entry.row] in stored:
            last[entry.row.account] = entry.row
    for entry in entries:
        row, imported = entry.row, last.get(entry.row.account)
        if imported is not None and marks[row] not in stored and row.at < imported.at - _CLOSE:
            raise line_error(
                row.line,
                "shortId",
                f"not imported before, but the later line {imported.line} was: only later rows can be added",
            )


async def _load_rates(
    session: AsyncSession, entries: Sequence[Entry], *, currency: str, host: Collective
) -> dict[Row, Rate]:
    """Return each row's rate to the host's currency: that of its day, or of the day of what it refunds."""
    pair = (currency, host.currency)
    by_day: dict[object, Rate] = {}
    rates: dict[Row, Rate] = {}
    for entry in entries:
        at = (entry.original or entry.row).at
        day = at.date() if currency != host.currency else None
        if day not in by_day:
            quote = (await load_quotes(session, [pair], at=at))[pair]
            by_day[day] = Rate(currency, host.currency, quote.rate, quote.rate_id)
        rates[entry.row] = by_day[day]
    return rates


def _stray_refunds(entries: Sequence[Entry]) -> list[str]:
    return [
        str(line_error(entry.row.line, "shortRefundId", "the file does not have what this row refunds"))
        for entry in entries
        if entry.is_stray_refund
    ]


def _summarize(notes: Sequence[str]) -> str:
    shown = list(notes[:_NOTES_IN_A_MESSAGE])
    if len(notes) > len(shown):
        shown.append(f"{len(notes) - len(shown)} more rows do not agree.")
    return "\n".join(shown)


async def _write(sessions: Sessions, plan: _Plan, progress: Progress) -> Written:
    written, total = Written(), len(plan.entries)
    for start in range(0, total, CHUNK_ROWS):
        chunk = plan.entries[start : start + CHUNK_ROWS]
        written += await write_chunk(sessions, plan.job, chunk)
        progress(start + len(chunk), total)
    return written


async def _load_balances(session: AsyncSession, job: Job) -> dict[str, Money]:
    balances: dict[str, Money] = {}
    for slug in job.slugs.values():
        own = await parties.find_collective(session, slug=slug, host=job.host)
        account: Account = await openings.load_account(
            session, host=job.host, collective=own, currency=job.currency
        )
        balances[slug] = Money(account.posted_minor, job.currency)
    return balances
