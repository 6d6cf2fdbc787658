"""What the rows of an Open Collective export become: orders by key, transactions by kind. Pure.

One group of rows is one order. A refund belongs to the order of what it returns, a host's cover of
a kept fee to the order of its group's refund. What has no place in an order of its group, for an
order emits one transaction of a kind, gets one of its own, whose key ends in the row's short id.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from models.enums import OrderType, TransactionKind
from services.ledger.transaction_amounts import Figures
from services.open_collective.csv_reader import Kind, Row, broken

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
    # A bill of the processor's: paid outside, and in an order of its own.
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
"""Kinds that always credit, or never."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row with its place: one transaction of an order."""

    row: Row
    order_key: str
    original: Row | None
    """What a refund returns."""
    opposite: str | None
    """The counterpart's slug in the file; None is the host."""
    inside: bool
    """Between two balances of the host's book; else the counterpart's money is outside."""
    makes_order: bool
    """Whether the order is this row's: its amount, sides and time."""

    @property
    def order_type(self) -> OrderType:
        """Type of the order that the row makes."""
        return _ORDERS[self.row.kind]

    @property
    def kind(self) -> TransactionKind:
        """Kind of the transaction."""
        return TransactionKind.REFUND if self.original else _TRANSACTIONS[self.row.kind]

    @property
    def incoming(self) -> bool:
        """Whether the collective is the payee; a refund has the sides of what it returns."""
        return self.row.is_credit == (self.original is None)

    @property
    def origin_unknown(self) -> bool:
        """Whether nobody is named: the file has added funds come from the collective itself."""
        return self.row.opposite == self.row.account


def group_key(prefix: str, row: Row) -> str:
    """Return the key of the order of a row's group."""
    return f"{prefix}:{row.group}"


def own_key(prefix: str, row: Row) -> str:
    """Return the key of an order that only this row makes."""
    return f"{prefix}:{row.group}:{row.short_id}"


def fingerprint(prefix: str, row: Row) -> int:
    """Return the 62 bits by which a row is found again in its transaction's id."""
    return _hash(own_key(prefix, row)) >> 66


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def fingerprint_of(transaction_id: UUID) -> int:
    """Return the fingerprint that an imported transaction's id ends in."""
    return transaction_id.int & ((1 << 62) - 1)


def transaction_ids(prefix: str, rows: Sequence[Row]) -> list[UUID]:
    """Return each row's id: a UUIDv7 of its own time; rows of one moment keep the file's order."""
    ids, counts = [], defaultdict[int, int](int)
    for row in rows:
        millisecond = max(0, int(row.at.timestamp()) * 1000 + row.at.microsecond // 1000)
        place = min(counts[millisecond], 0xFFF)
        counts[millisecond] += 1
        head = (millisecond << 16 | 7 << 12 | place) << 64
        ids.append(UUID(int=head | 0b10 << 62 | fingerprint(prefix, row)))
    return ids


def entries(rows: Sequence[Row], *, prefix: str, host_slug: str, stored: Mapping[int, str]) -> list[Entry]:
    """Return an entry for each row, in order. `stored` has the order keys of rows imported before.

    Raises:
        Invalid: a row whose kind, direction, refund link or counterpart makes no sense.
    """
    hosts = {host_slug, *_named_host(rows)}
    originals = _originals(rows)
    keys = _Keys(prefix, rows, originals, stored)
    return [_entry(row, originals, keys, hosts) for row in rows]


def _entry(row: Row, originals: Mapping[Row, Row], keys: "_Keys", hosts: set[str]) -> Entry:
    original, key = originals.get(row), keys.of(row)
    one_way = _ONE_WAY.get(row.kind)
    if one_way is not None and one_way != (row.is_credit == (original is None)):
        raise broken(row.line, "type", f"a {row.kind} goes the other way")
    with_host = row.kind in _WITH_HOST or row.opposite in hosts
    entry = Entry(
        row=row,
        order_key=key,
        original=original,
        opposite=None if with_host or row.opposite == row.account else row.opposite,
        inside=with_host and row.kind in _WITH_HOST | {Kind.BALANCE_TRANSFER},
        makes_order=original is None and (row.kind in _PRIMARY or key == own_key(keys.prefix, row)),
    )
    if entry.origin_unknown and (row.kind != Kind.ADDED_FUNDS or not entry.incoming):
        raise broken(row.line, "oppositeAccountSlug", "both sides are the collective")
    return entry


def _named_host(rows: Sequence[Row]) -> set[str]:
    """Return the host's slug in the file, which may have another one here."""
    named = [row for row in rows if row.kind in _WITH_HOST]
    for row in named:
        if row.opposite != named[0].opposite:
            raise broken(row.line, "oppositeAccountSlug", f"the host was {named[0].opposite!r}")
    return {row.opposite for row in named[:1]}


def _originals(rows: Sequence[Row]) -> dict[Row, Row]:
    """Return what each refund returns; a cover of a kept fee is marked as one, but is none."""
    found: dict[Row, Row] = {}
    earlier = defaultdict[tuple[str, Kind], list[Row]](list)
    left: dict[Row, int] = {}
    for row in rows:
        if not row.is_refund or (row.kind == Kind.PAYMENT_PROCESSOR_COVER and not row.refund_link):
            earlier[row.short_id, row.kind].append(row)
            left[row] = abs(row.amount)
            continue
        candidates = earlier[row.refund_link, row.kind]
        if len(candidates) != 1:
            what = "several rows above have" if candidates else "no row above of this kind has"
            raise broken(row.line, "shortRefundId", f"{what} the id {row.refund_link!r}")
        original = found[row] = candidates[0]
        if row.is_credit == original.is_credit or row.opposite != original.opposite:
            raise broken(row.line, "shortRefundId", f"this does not mirror line {original.line}")
        left[original] -= abs(row.amount)
        if left[original] < 0:
            raise broken(row.line, "amount", f"more than was left of line {original.line}")
    return found


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
        """Return the key; what is stored stays, though a longer file shows more of its group."""
        if row in self._originals:
            return self.of(self._originals[row])
        if (known := self._stored.get(fingerprint(self.prefix, row))) is not None:
            return known
        primaries, own = self._primaries[row.group], own_key(self.prefix, row)
        if row.kind in _PRIMARY:
            return group_key(self.prefix, row) if primaries[0] is row else own
        if row.kind == Kind.HOST_FEE:
            place = self._fees[row.group].index(row)
            return self.of(primaries[place]) if place < len(primaries) else own
        if row.kind == Kind.PAYMENT_PROCESSOR_COVER:
            beside = self._refunds[row.group] or primaries
            return self.of(beside[0]) if beside else own
        return own


def figures(entry: Entry, *, currency: str) -> Figures:
    """Return the figures of an entry, all negative for a refund; both sides have one currency.

    Raises:
        Invalid: amount, fee and netAmount do not fit together.
    """
    row, sign = entry.row, -1 if entry.original else 1
    amount, processor = abs(row.amount), -row.fee * sign
    net = row.net if row.is_credit else -row.net
    if processor < 0:
        raise broken(row.line, "paymentProcessorFee", "a fee is below zero, a refund's is above")
    if entry.inside and processor:
        raise broken(row.line, "paymentProcessorFee", "no processor is between host and collective")
    outgoing = not entry.incoming
    gross = amount + processor if outgoing else amount
    host_fee = 0 if outgoing else amount - processor - net
    if net < 0 or host_fee < 0 or (outgoing and net != gross) or (entry.inside and net != amount):
        raise broken(row.line, "netAmount", "not what amount and paymentProcessorFee leave")
    if gross == processor:
        raise broken(row.line, "paymentProcessorFee", "the fee leaves nothing that moves")
    paid = -sign * gross if outgoing or entry.inside else None
    return Figures(
        currency=currency,
        amount=sign * amount,
        host_currency=currency,
        fx_rate=Decimal(1),
        fx_rate_id=None,
        gross=sign * gross,
        payment_processor_fee=sign * processor,
        platform_fee=0,
        host_fee=sign * host_fee,
        to_host_amount=sign * (gross - processor),
        to_collective_amount=sign * (gross - processor - host_fee),
        from_host_currency=None if paid is None else currency,
        from_host_fx_rate=None if paid is None else Decimal(1),
        from_host_amount=paid,
        from_collective_currency=None if paid is None else currency,
        from_collective_fx_rate=None if paid is None else Decimal(1),
        from_collective_amount=paid,
    )
