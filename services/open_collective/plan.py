"""Plans the orders and transactions of an Open Collective export; pure computation.

A group of rows becomes one order. A refund belongs to the order of what it refunds, and a host's cover of a
fee that was kept belongs to the order of its group's refund. An order has one transaction of each kind, so a
row that does not fit its group's order gets its own, whose key ends in the row's short id.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from models.enums import OrderType, TransactionKind
from services.ledger.transaction_amounts import TransactionAmounts
from services.open_collective.csv_reader import Kind, Row, line_error

_ORDERS = {
    Kind.CONTRIBUTION: OrderType.DONATION,
    Kind.ADDED_FUNDS: OrderType.ADDED_FUNDS,
    Kind.BALANCE_TRANSFER: OrderType.TRANSFER,
    Kind.EXPENSE: OrderType.EXPENSE,
    Kind.HOST_FEE: OrderType.TRANSFER,
    Kind.PAYMENT_PROCESSOR_FEE: OrderType.EXPENSE,
    Kind.PAYMENT_PROCESSOR_COVER: OrderType.TRANSFER,
}
_TRANSACTIONS = {
    Kind.CONTRIBUTION: TransactionKind.DONATION,
    Kind.ADDED_FUNDS: TransactionKind.ADDED_FUNDS,
    Kind.BALANCE_TRANSFER: TransactionKind.TRANSFER,
    Kind.EXPENSE: TransactionKind.EXPENSE,
    Kind.HOST_FEE: TransactionKind.HOST_FEE,
    # A bill of the payment processor: paid outside, and an order of its own.
    Kind.PAYMENT_PROCESSOR_FEE: TransactionKind.EXPENSE,
    Kind.PAYMENT_PROCESSOR_COVER: TransactionKind.PAYMENT_PROCESSOR_COVER,
}
_PRIMARY = {Kind.CONTRIBUTION, Kind.ADDED_FUNDS, Kind.BALANCE_TRANSFER, Kind.EXPENSE}
_WITH_HOST = {Kind.HOST_FEE, Kind.PAYMENT_PROCESSOR_COVER}
_ONE_WAY = {
    Kind.HOST_FEE: False,
    Kind.PAYMENT_PROCESSOR_FEE: False,
    Kind.PAYMENT_PROCESSOR_COVER: True,
}
"""Kinds that are always credits (True) or always debits (False)."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row and the order that its transaction belongs to."""

    row: Row
    order_key: str
    original: Row | None
    """The row that a refund refunds."""
    opposite: str | None
    """The counterpart's slug in the file; None means the host."""
    is_inside_book: bool
    """True between two balances of the host's book; otherwise the counterpart's money is outside."""
    makes_order: bool
    """True if the order has this row's amount, sides and time."""

    @property
    def order_type(self) -> OrderType:
        """Type of the order that the row makes."""
        return _ORDERS[self.row.kind]

    @property
    def kind(self) -> TransactionKind:
        """Kind of the transaction."""
        return TransactionKind.REFUND if self.original else _TRANSACTIONS[self.row.kind]

    @property
    def is_incoming(self) -> bool:
        """True if the collective is the payee; a refund has the sides of its original."""
        return self.row.is_credit == (self.original is None)

    @property
    def is_origin_unknown(self) -> bool:
        """True if no payer is named; the file shows such added funds as from the collective itself."""
        return self.row.opposite == self.row.account


def group_key(prefix: str, row: Row) -> str:
    """Return the key of the order of a row's group."""
    return f"{prefix}:{row.group}"


def own_key(prefix: str, row: Row) -> str:
    """Return the key of an order that only this row belongs to."""
    return f"{prefix}:{row.group}:{row.short_id}"


def fingerprint(prefix: str, row: Row) -> int:
    """Return the 62 bits that identify a row in its transaction's id."""
    return _hash(own_key(prefix, row)) >> 66


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def fingerprint_of(transaction_id: UUID) -> int:
    """Return the fingerprint at the end of an imported transaction's id."""
    return transaction_id.int & ((1 << 62) - 1)


def transaction_ids(prefix: str, rows: Sequence[Row]) -> list[UUID]:
    """Return each row's id, a UUIDv7 of its time; rows of one millisecond keep their order."""
    ids, counts = [], defaultdict[int, int](int)
    for row in rows:
        millisecond = max(0, int(row.at.timestamp()) * 1000 + row.at.microsecond // 1000)
        position = min(counts[millisecond], 0xFFF)
        counts[millisecond] += 1
        head = (millisecond << 16 | 7 << 12 | position) << 64
        ids.append(UUID(int=head | 0b10 << 62 | fingerprint(prefix, row)))
    return ids


def plan_entries(
    rows: Sequence[Row], *, prefix: str, host_slug: str, stored: Mapping[int, str]
) -> list[Entry]:
    """Plan an entry for each row, in order; `stored` has order keys of earlier imports.

    Raises:
        Invalid: a row whose kind, direction, refund link or counterpart is inconsistent.
    """
    hosts = {host_slug, *_host_slugs(rows)}
    originals = _find_originals(rows)
    keys = _Keys(prefix, rows, originals, stored)
    return [_plan_entry(row, originals, keys, hosts) for row in rows]


def _plan_entry(row: Row, originals: Mapping[Row, Row], keys: "_Keys", hosts: set[str]) -> Entry:
    original, key = originals.get(row), keys.of(row)
    one_way = _ONE_WAY.get(row.kind)
    if one_way is not None and one_way != (row.is_credit == (original is None)):
        raise line_error(row.line, "type", f"a {row.kind} must go in the other direction")
    with_host = row.kind in _WITH_HOST or row.opposite in hosts
    entry = Entry(
        row=row,
        order_key=key,
        original=original,
        opposite=None if with_host or row.opposite == row.account else row.opposite,
        is_inside_book=with_host and row.kind in _WITH_HOST | {Kind.BALANCE_TRANSFER},
        makes_order=original is None and (row.kind in _PRIMARY or key == own_key(keys.prefix, row)),
    )
    if entry.is_origin_unknown and (row.kind != Kind.ADDED_FUNDS or not entry.is_incoming):
        raise line_error(row.line, "oppositeAccountSlug", "payer and payee are both the collective")
    return entry


def _host_slugs(rows: Sequence[Row]) -> set[str]:
    """Return the host's slug in the file, which may differ from its slug here."""
    fee_rows = [row for row in rows if row.kind in _WITH_HOST]
    for row in fee_rows:
        if row.opposite != fee_rows[0].opposite:
            raise line_error(
                row.line, "oppositeAccountSlug", f"earlier rows have the host {fee_rows[0].opposite!r}"
            )
    return {row.opposite for row in fee_rows[:1]}


def _find_originals(rows: Sequence[Row]) -> dict[Row, Row]:
    """Return the original of each refund; a cover of a kept fee only looks like a refund."""
    originals: dict[Row, Row] = {}
    earlier = defaultdict[tuple[str, Kind], list[Row]](list)
    left_minor: dict[Row, int] = {}
    for row in rows:
        if not row.is_refund or (row.kind == Kind.PAYMENT_PROCESSOR_COVER and not row.refund_link):
            earlier[row.short_id, row.kind].append(row)
            left_minor[row] = abs(row.amount_minor)
            continue
        candidates = earlier[row.refund_link, row.kind]
        if len(candidates) != 1:
            subject = "several earlier rows have" if candidates else "no earlier row of this kind has"
            raise line_error(row.line, "shortRefundId", f"{subject} the id {row.refund_link!r}")
        original = originals[row] = candidates[0]
        if row.is_credit == original.is_credit or row.opposite != original.opposite:
            raise line_error(row.line, "shortRefundId", f"this does not mirror line {original.line}")
        left_minor[original] -= abs(row.amount_minor)
        if left_minor[original] < 0:
            raise line_error(row.line, "amount", f"more than is left of line {original.line}")
    return originals


class _Keys:
    """Finds the order of each row."""

    def __init__(
        self,
        prefix: str,
        rows: Sequence[Row],
        originals: Mapping[Row, Row],
        stored: Mapping[int, str],
    ) -> None:
        self.prefix = prefix
        self._originals, self._stored = originals, stored
        self._primaries = defaultdict[str, list[Row]](list)
        self._fees = defaultdict[str, list[Row]](list)
        self._refunds = defaultdict[str, list[Row]](list)
        for row in rows:
            if row in originals:
                if row.kind in _PRIMARY:
                    self._refunds[row.group].append(row)
            elif row.kind in _PRIMARY:
                self._primaries[row.group].append(row)
            elif row.kind == Kind.HOST_FEE:
                self._fees[row.group].append(row)

    def of(self, row: Row) -> str:
        """Return the order's key; a stored key stays even if a longer file shows more of its group."""
        if row in self._originals:
            return self.of(self._originals[row])
        if (stored_key := self._stored.get(fingerprint(self.prefix, row))) is not None:
            return stored_key
        primaries, own = self._primaries[row.group], own_key(self.prefix, row)
        if row.kind in _PRIMARY:
            return group_key(self.prefix, row) if primaries[0] is row else own
        if row.kind == Kind.HOST_FEE:
            index = self._fees[row.group].index(row)
            return self.of(primaries[index]) if index < len(primaries) else own
        if row.kind == Kind.PAYMENT_PROCESSOR_COVER:
            related = self._refunds[row.group] or primaries
            return self.of(related[0]) if related else own
        return own


def entry_amounts(entry: Entry, *, currency: str) -> TransactionAmounts:
    """Return the amounts of an entry, all negative for a refund; both sides have one currency.

    Raises:
        Invalid: amount, fee and netAmount are inconsistent.
    """
    row, sign = entry.row, -1 if entry.original else 1
    amount_minor, processor_minor = abs(row.amount_minor), -row.fee_minor * sign
    net_minor = row.net_minor if row.is_credit else -row.net_minor
    if processor_minor < 0:
        raise line_error(
            row.line, "paymentProcessorFee", "a fee must be negative, and a refund's fee positive"
        )
    if entry.is_inside_book and processor_minor:
        raise line_error(
            row.line, "paymentProcessorFee", "no processor fee is possible between host and collective"
        )
    is_outgoing = not entry.is_incoming
    gross_minor = amount_minor + processor_minor if is_outgoing else amount_minor
    host_fee_minor = 0 if is_outgoing else amount_minor - processor_minor - net_minor
    if (
        net_minor < 0
        or host_fee_minor < 0
        or (is_outgoing and net_minor != gross_minor)
        or (entry.is_inside_book and net_minor != amount_minor)
    ):
        raise line_error(row.line, "netAmount", "this does not follow from amount and paymentProcessorFee")
    if gross_minor == processor_minor:
        raise line_error(row.line, "paymentProcessorFee", "the fee leaves nothing to transfer")
    paid_minor = -sign * gross_minor if is_outgoing or entry.is_inside_book else None
    return TransactionAmounts(
        currency=currency,
        amount_minor=sign * amount_minor,
        host_currency=currency,
        fx_rate=Decimal(1),
        fx_rate_id=None,
        gross_minor=sign * gross_minor,
        payment_processor_fee_minor=sign * processor_minor,
        platform_fee_minor=0,
        host_fee_minor=sign * host_fee_minor,
        to_host_amount_minor=sign * (gross_minor - processor_minor),
        to_collective_amount_minor=sign * (gross_minor - processor_minor - host_fee_minor),
        from_host_currency=None if paid_minor is None else currency,
        from_host_fx_rate=None if paid_minor is None else Decimal(1),
        from_host_amount_minor=paid_minor,
        from_collective_currency=None if paid_minor is None else currency,
        from_collective_fx_rate=None if paid_minor is None else Decimal(1),
        from_collective_amount_minor=paid_minor,
    )
