"""Plans the orders and transactions of an Open Collective export; pure computation.

A group of rows becomes one order. A refund belongs to the order of what it refunds, and a host's cover of a
fee that was kept belongs to the order of its group's refund. An order has one transaction of each kind, so a
row that does not fit its group's order gets its own, whose key ends in the row's short id. Two rows that show
one movement from both sides become one transaction.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.enums import OrderStatus, OrderType, TransactionKind
from services.open_collective.csv_reader import Kind, Row
from services.open_collective.file_text import line_error
from services.open_collective.keys import Keys

_ORDERS = {
    Kind.CONTRIBUTION: OrderType.DONATION,
    Kind.ADDED_FUNDS: OrderType.ADDED_FUNDS,
    Kind.BALANCE_TRANSFER: OrderType.TRANSFER,
    Kind.EXPENSE: OrderType.EXPENSE,
    Kind.PREPAID_PAYMENT_METHOD: OrderType.ADDED_FUNDS,
    Kind.OPENING_BALANCE: OrderType.ADDED_FUNDS,
    # Bills: paid outside, and orders of their own.
    Kind.PAYMENT_PROCESSOR_FEE: OrderType.EXPENSE,
    Kind.PAYMENT_PROCESSOR_DISPUTE_FEE: OrderType.EXPENSE,
    Kind.PLATFORM_FEE: OrderType.EXPENSE,
}
_TRANSACTIONS = {
    Kind.CONTRIBUTION: TransactionKind.DONATION,
    Kind.BALANCE_TRANSFER: TransactionKind.TRANSFER,
    Kind.PAYMENT_PROCESSOR_DISPUTE_FEE: TransactionKind.PAYMENT_PROCESSOR_FEE,
    Kind.PLATFORM_FEE: TransactionKind.EXPENSE,
    Kind.PLATFORM_TIP_DEBT: TransactionKind.PLATFORM_TIP,
}
"""Kinds of transactions that do not have the name of their row's kind."""
_WITH_HOST = {Kind.HOST_FEE, Kind.PAYMENT_PROCESSOR_COVER}
"""Kinds between a collective and its host."""
_IN_BOOK = _WITH_HOST | {Kind.BALANCE_TRANSFER, Kind.TAX}
"""Kinds that move money to or from the host's balance if the counterpart is the host."""
_ONE_WAY = {
    Kind.HOST_FEE: False,
    Kind.PAYMENT_PROCESSOR_FEE: False,
    Kind.PAYMENT_PROCESSOR_COVER: True,
}
"""Kinds that are always credits (True) or always debits (False) of a collective."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row and the order that its transaction belongs to."""

    row: Row
    order_key: str
    original: Row | None
    """The row that a refund refunds."""
    opposite: str | None
    """The counterpart's slug in the file; None means the host."""
    partner: str | None
    """The account of this file on the other side, if the movement stays in the host's book."""
    is_inside_book: bool
    """True between two balances of the host's book; otherwise the counterpart's money is outside."""
    makes_order: bool
    """True if the order has this row's amount, sides and time."""
    leads_to: OrderStatus | None
    """Status of the order after a refund of what made it."""

    @property
    def order_type(self) -> OrderType:
        """Type of the order that the row makes."""
        return _ORDERS.get(self.row.kind, OrderType.TRANSFER)

    @property
    def kind(self) -> TransactionKind:
        """Kind of the transaction."""
        if self.original:
            return TransactionKind.REFUND
        return _TRANSACTIONS.get(self.row.kind) or TransactionKind(self.row.kind)

    @property
    def is_incoming(self) -> bool:
        """True if the row's account is the payee; a refund has the sides of its original."""
        return self.row.is_credit == (self.original is None)

    @property
    def is_stray_refund(self) -> bool:
        """True if the file does not have what the row refunds: it then moves its net amount."""
        is_cover = self.row.kind == Kind.PAYMENT_PROCESSOR_COVER and not self.row.refund_link
        return self.row.is_refund and self.original is None and not is_cover

    @property
    def is_origin_unknown(self) -> bool:
        """True if no payer is named; the file shows such added funds as from the collective itself."""
        return self.row.opposite == self.row.account


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the plan of a file depends on beside its rows."""

    prefixes: Mapping[str, str]
    """Prefix of the import keys, by account of the file."""
    host_account: str | None
    """The host's slug in the file, if the file tells or it is that of here."""
    stored: Mapping[int, str]
    """Order keys of rows that were imported before, by fingerprint."""


def find_host_account(rows: Sequence[Row], *, host_slug: str) -> str:
    """Return the host's slug in the file, which may differ from its slug here.

    Raises:
        Invalid: the file is of several hosts.
    """
    found: Row | None = None
    for row in rows:
        is_forward = row.is_credit != row.is_refund
        if row.kind not in _WITH_HOST or not row.opposite or row.account == host_slug:
            continue
        if row.kind == Kind.HOST_FEE and is_forward:
            continue  # the host's own side
        if found is not None and row.opposite != found.opposite:
            raise line_error(
                row.line, "oppositeAccountSlug", f"earlier rows have the host {found.opposite!r}"
            )
        found = found or row
    return found.opposite if found else host_slug


def plan_entries(rows: Sequence[Row], source: Source) -> list[Entry]:
    """Plan an entry for each row but the second sides of movements, in order.

    Raises:
        Invalid: a row whose kind, direction, refund link or counterpart is inconsistent.
    """
    originals = _find_originals(rows)
    partners, second_sides = _pair_sides(rows, originals)
    shown = [row for row in rows if row not in second_sides]
    originals = {row: second_sides.get(original, original) for row, original in originals.items()}
    keys = Keys(source.prefixes, shown, originals, source.stored)
    statuses = _find_statuses(shown, originals, keys)
    return [_plan_entry(row, originals, partners, keys, source, statuses.get(row)) for row in shown]


def _plan_entry(
    row: Row,
    originals: Mapping[Row, Row],
    partners: Mapping[Row, str],
    keys: Keys,
    source: Source,
    status: OrderStatus | None,
) -> Entry:
    original, partner = originals.get(row), partners.get(row)
    one_way = _ONE_WAY.get(row.kind)
    is_of_host = row.account == source.host_account
    is_free = is_of_host or (row.is_refund and original is None)
    if one_way is not None and not is_free and one_way != (row.is_credit == (original is None)):
        raise line_error(row.line, "type", f"a {row.kind} must go in the other direction")
    with_host = not is_of_host and (row.kind in _WITH_HOST or row.opposite in {"", source.host_account})
    entry = Entry(
        row=row,
        order_key=keys.of(row),
        original=original,
        opposite=None if with_host or partner or row.opposite == row.account else row.opposite,
        partner=partner,
        is_inside_book=partner is not None or (with_host and row.kind in _IN_BOOK),
        makes_order=original is None and keys.makes_order(row),
        leads_to=status,
    )
    if entry.is_origin_unknown and (
        row.kind not in {Kind.ADDED_FUNDS, Kind.OPENING_BALANCE} or not entry.is_incoming
    ):
        raise line_error(row.line, "oppositeAccountSlug", "payer and payee are both the collective")
    return entry


def _find_originals(rows: Sequence[Row]) -> dict[Row, Row]:
    """Return the original of each refund; a cover of a kept fee only looks like a refund."""
    originals: dict[Row, Row] = {}
    earlier = defaultdict[tuple[str, str, Kind], list[Row]](list)
    left_minor: dict[Row, int] = {}
    for row in rows:
        if not row.is_refund or (row.kind == Kind.PAYMENT_PROCESSOR_COVER and not row.refund_link):
            earlier[row.account, row.short_id, row.kind].append(row)
            left_minor[row] = abs(row.amount_minor)
            continue
        candidates = earlier[row.account, row.refund_link, row.kind]
        if not candidates:
            continue  # the file begins after what it refunds
        if len(candidates) > 1:
            raise line_error(
                row.line, "shortRefundId", f"several earlier rows have the id {row.refund_link!r}"
            )
        original = originals[row] = candidates[0]
        if row.is_credit == original.is_credit or row.opposite != original.opposite:
            raise line_error(row.line, "shortRefundId", f"this does not mirror line {original.line}")
        left_minor[original] -= abs(row.amount_minor)
        if left_minor[original] < 0:
            raise line_error(row.line, "amount", f"more than is left of line {original.line}")
    return originals


def _pair_sides(rows: Sequence[Row], originals: Mapping[Row, Row]) -> tuple[dict[Row, str], dict[Row, Row]]:
    """Return the account on the other side of each first row of a pair, and the first row of each second one.

    The first row is the payer's. A row with a fee stays alone: its money went over a processor.
    """
    waiting = defaultdict[tuple[str, Kind, str, str, int], list[Row]](list)
    partners: dict[Row, str] = {}
    second_sides: dict[Row, Row] = {}
    accounts = {row.account for row in rows}
    for row in rows:
        if row.opposite not in accounts or row.opposite == row.account or row.net_minor != row.amount_minor:
            continue
        others = waiting[row.group, row.kind, row.opposite, row.account, -row.amount_minor]
        if not others:
            waiting[row.group, row.kind, row.account, row.opposite, row.amount_minor].append(row)
            continue
        pair = (row, others.pop(0))
        is_refund = row in originals
        first, second = pair if pair[0].is_credit == is_refund else (pair[1], pair[0])
        if is_refund and second_sides.get(originals[second]) != originals.get(first):
            continue
        partners[first], second_sides[second] = second.account, first
    return partners, second_sides


def _find_statuses(rows: Sequence[Row], originals: Mapping[Row, Row], keys: Keys) -> dict[Row, OrderStatus]:
    """Return the status that each refund of what made an order leads to."""
    refunded_minor: dict[Row, int] = defaultdict(int)
    statuses: dict[Row, OrderStatus] = {}
    for row in rows:
        original = originals.get(row)
        if original is not None and keys.makes_order(original):
            refunded_minor[original] += abs(row.amount_minor)
            is_whole = refunded_minor[original] == abs(original.amount_minor)
            statuses[row] = OrderStatus.REFUNDED if is_whole else OrderStatus.PAID
    return statuses
