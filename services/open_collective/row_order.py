"""Brings the rows of an export into the order in which they are posted; pure computation.

The order of the file does not count: Open Collective gives the newest row first.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.open_collective.csv_reader import Kind, Row

PRIMARY = {
    Kind.CONTRIBUTION,
    Kind.ADDED_FUNDS,
    Kind.BALANCE_TRANSFER,
    Kind.EXPENSE,
    Kind.PREPAID_PAYMENT_METHOD,
    Kind.OPENING_BALANCE,
}
"""Kinds that make an order; the other rows of a group belong to it."""
_TOGETHER = timedelta(minutes=10)
"""A fee is recorded at most this long before what it is a fee of."""


def sort_rows(rows: Sequence[Row]) -> list[Row]:
    """Sort the rows, oldest first; any permutation of the rows has the same result.

    A fee that stands shortly before what it is a fee of comes after it. Of rows of one moment, those that add
    to the balance come first.
    """
    since = _primary_times(rows)

    def key(row: Row) -> tuple[datetime, bool, int, str, datetime, str, str]:
        at = row.at
        if row.kind not in PRIMARY:
            later = [time for time in since[row.account, row.group] if at < time <= at + _TOGETHER]
            at = min(later, default=at)
        rank = (0 if row.is_credit else 2) + (row.kind not in PRIMARY)
        return (at, row.is_refund, rank, row.group, row.at, row.short_id, row.account)

    return sorted(rows, key=key)


def _primary_times(rows: Sequence[Row]) -> dict[tuple[str, str], list[datetime]]:
    times = defaultdict[tuple[str, str], list[datetime]](list)
    for row in rows:
        if row.kind in PRIMARY:
            times[row.account, row.group].append(row.at)
    return times


def split_taxes(rows: Sequence[Row]) -> list[Row]:
    """Make a row of its own of each tax that a row has taken off its net amount.

    Later exports have rows of the kind TAX instead, and the tax of the main row is a remark.
    """
    taxed = {(row.account, row.group) for row in rows if row.kind == Kind.TAX}
    results: list[Row] = []
    for row in rows:
        sign = 1 if row.is_credit else -1
        missing_minor = sign * (row.amount_minor + row.fee_minor - row.net_minor)
        tax_minor = -sign * row.tax_minor
        if tax_minor <= 0 or missing_minor < tax_minor or (row.account, row.group) in taxed:
            results.append(row)
            continue
        results += [replace(row, net_minor=row.net_minor - row.tax_minor, tax_minor=0), _tax_of(row)]
    return results


def _tax_of(row: Row) -> Row:
    """Return the row of the tax that a row contains; the host keeps it."""
    return replace(
        row,
        short_id=f"{row.short_id}-tax",
        kind=Kind.TAX,
        is_credit=not row.is_credit,
        refund_link=f"{row.refund_link}-tax" if row.refund_link else "",
        amount_minor=row.tax_minor,
        fee_minor=0,
        net_minor=row.tax_minor,
        balance_minor=None,
        tax_minor=0,
        opposite="",
        payout_method="",
    )
