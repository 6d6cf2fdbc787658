"""How the rows of a file continue the balances in the ledger, and what of them does not agree."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, LedgerAccount, Order, Posting, Transaction
from models.enums import LedgerAccountKind
from services.core.money import Money
from services.open_collective import balance_column
from services.open_collective.csv_reader import Kind, Row
from services.open_collective.file_text import line_error
from services.open_collective.keys import fingerprint, fingerprint_of, millisecond, millisecond_of

_OPENING = "opening"


@dataclass(frozen=True)
class Account:
    """A collective's account as it is now."""

    posted_minor: int = 0
    last_at: datetime | None = None
    last_transaction: int = 0
    """Fingerprint of its last transaction."""


async def load_account(
    session: AsyncSession, *, host: Collective, collective: Collective | None, currency: str
) -> Account:
    """Load a collective's account; an empty one if it has none yet."""
    if collective is None:
        return Account()
    # Columns instead of the row, because a row that the session holds would keep its old values.
    last = select(col(Posting.transaction_id)).where(
        col(Posting.book_id) == LedgerAccount.book_id,
        col(Posting.account_id) == LedgerAccount.id,
        col(Posting.seq) == LedgerAccount.seq,
    )
    statement = select(col(LedgerAccount.posted), col(LedgerAccount.last_at), last.scalar_subquery()).where(
        col(LedgerAccount.book_id) == host.id,
        col(LedgerAccount.owner_id) == collective.id,
        col(LedgerAccount.currency) == literal(currency),
        col(LedgerAccount.kind) == LedgerAccountKind.BALANCE,
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        return Account()
    return Account(row[0], row[1], fingerprint_of(row[2]) if row[1] is not None else 0)


async def find_imported(session: AsyncSession, prefixes: Iterable[str]) -> set[str]:
    """Return the prefixes under which anything was imported before."""
    found: set[str] = set()
    for prefix in prefixes:
        key = col(Order.import_key)
        is_of_prefix = key.is_not(None) & key.startswith(f"{prefix}:", autoescape=True)
        if (await session.execute(select(exists().where(is_of_prefix)))).scalar_one():
            found.add(prefix)
    return found


def by_account(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows of each account, in their order."""
    results = defaultdict[str, list[Row]](list)
    for row in rows:
        results[row.account].append(row)
    return dict(results)


def opening_row(first: Row, opening_minor: int) -> Row:
    """Return a row for the balance with which an account of the file begins."""
    return Row(
        line=first.line,
        at=first.at,
        short_id=_OPENING,
        group=_OPENING,
        kind=Kind.OPENING_BALANCE,
        is_credit=True,
        is_refund=False,
        refund_link="",
        amount_minor=opening_minor,
        fee_minor=0,
        net_minor=opening_minor,
        balance_minor=None,
        tax_minor=0,
        account=first.account,
        opposite=first.account,
        payout_method="",
    )


def find_openings(
    rows: Sequence[Row],
    *,
    prefixes: Mapping[str, str],
    accounts: Mapping[str, Account],
    imported_before: Collection[str],
    stored: Mapping[int, Transaction],
    currency: str,
) -> tuple[dict[str, Row], list[str]]:
    """Return the opening balances to post, and what does not agree, by line.

    An account that was imported before continues as it is: it gets no second opening balance.
    """
    openings: dict[str, Row] = {}
    notes: list[str] = []
    for name, own in by_account(rows).items():
        account, prefix, result = accounts[name], prefixes[name], balance_column.compare(own)
        notes += [
            str(line_error(row.line, "balance", "not the sum of the rows up to this one"))
            for row in result.differing
        ]
        opening = opening_row(own[0], result.opening_minor)
        imported = stored.get(fingerprint(prefix, opening))
        if imported is not None and _is_same(imported, opening):
            openings[name] = opening
        elif prefix not in imported_before and account.posted_minor < result.opening_minor:
            openings[name] = opening_row(own[0], result.opening_minor - account.posted_minor)
        else:
            notes += _check_continues(own, prefix, account, result.opening_minor, stored, currency)
    return openings, sorted(notes, key=_line_of)


def _is_same(imported: Transaction, opening: Row) -> bool:
    is_same_time = millisecond_of(imported.id) == millisecond(opening)
    return is_same_time and imported.amount == opening.amount_minor


def _check_continues(
    rows: Sequence[Row],
    prefix: str,
    account: Account,
    opening_minor: int,
    stored: Mapping[int, Transaction],
    currency: str,
) -> list[str]:
    """Return what is wrong with the balance before the first new row, if the file tells one."""
    new = [row for row in rows if fingerprint(prefix, row) not in stored]
    if not new or all(row.balance_minor is None for row in rows):
        return []
    known = set(new)
    expected_minor = opening_minor + sum(row.net_minor for row in rows if row not in known)
    if expected_minor == account.posted_minor:
        return []
    here, there = (Money(amount, currency).text for amount in (account.posted_minor, expected_minor))
    message = f"the account has {here} before this row, but the file implies {there}"
    return [str(line_error(new[0].line, "balance", message))]


def _line_of(note: str) -> int:
    return int(note.removeprefix("Line ").split(",")[0])


def require_later(rows: Sequence[Row], accounts: Mapping[str, Account], marks: Mapping[Row, int]) -> None:
    """Require that new rows are not earlier than the last posting of their account.

    After a row of this file, the file's order counts, in which a row may be earlier.

    Raises:
        Invalid: the first row that is.
    """
    known = set(marks.values())
    for own in by_account(rows).values():
        account = accounts[own[0].account]
        if account.last_at is None or account.last_transaction in known or own[0].at >= account.last_at:
            continue
        raise line_error(
            own[0].line,
            "datetime",
            f"rows must not be earlier than the account's last posting of {account.last_at}",
        )
