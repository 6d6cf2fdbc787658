"""Names of what an import makes: keys of its orders, and ids of its transactions. Pure computation."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import NAMESPACE_URL, UUID, uuid5

from services.open_collective.csv_reader import Kind, Row
from services.open_collective.row_order import PRIMARY

_OWN_ORDER = {
    Kind.PAYMENT_PROCESSOR_FEE,
    Kind.PAYMENT_PROCESSOR_DISPUTE_FEE,
    Kind.PLATFORM_FEE,
}
"""Bills that are orders of their own."""


def group_key(prefix: str, row: Row) -> str:
    """Return the key of the order of a row's group."""
    return f"{prefix}:{row.group}"


def own_key(prefix: str, row: Row) -> str:
    """Return the key of an order that only this row belongs to."""
    return f"{prefix}:{row.group}:{row.short_id}"


def group_id(prefix: str, row: Row) -> UUID:
    """Return the id that ties the transactions of a group."""
    return uuid5(NAMESPACE_URL, group_key(prefix, row))


def fingerprint(prefix: str, row: Row) -> int:
    """Return the 62 bits that identify a row in its transaction's id."""
    return _hash(own_key(prefix, row)) >> 66


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def fingerprint_of(transaction_id: UUID) -> int:
    """Return the fingerprint at the end of an imported transaction's id."""
    return transaction_id.int & ((1 << 62) - 1)


def millisecond_of(transaction_id: UUID) -> int:
    """Return the time in a transaction's id, in milliseconds since 1970."""
    return transaction_id.int >> 80


def millisecond(row: Row) -> int:
    """Return a row's time as it stands in its transaction's id."""
    return max(0, int(row.at.timestamp()) * 1000 + row.at.microsecond // 1000)


def transaction_ids(prefixes: Mapping[str, str], rows: Sequence[Row]) -> dict[Row, UUID]:
    """Return each row's id, a UUIDv7 of its time; rows of one millisecond keep their order."""
    ids, counts = dict[Row, UUID](), defaultdict[int, int](int)
    for row in rows:
        at = millisecond(row)
        position = min(counts[at], 0xFFF)
        counts[at] += 1
        head = (at << 16 | 7 << 12 | position) << 64
        ids[row] = UUID(int=head | 0b10 << 62 | fingerprint(prefixes[row.account], row))
    return ids


class Keys:
    """Finds the order of each row."""

    def __init__(
        self,
        prefixes: Mapping[str, str],
        rows: Sequence[Row],
        originals: Mapping[Row, Row],
        stored: Mapping[int, str],
    ) -> None:
        self._prefixes = prefixes
        self._originals, self._stored = originals, stored
        self._position = {row: position for position, row in enumerate(rows)}
        self._primaries = defaultdict[tuple[str, str], list[Row]](list)
        self._refunds = defaultdict[tuple[str, str], list[Row]](list)
        self._index: dict[Row, int] = {}
        counts = defaultdict[tuple[str, str, Kind], int](int)
        for row in rows:
            place = (row.account, row.group)
            if row in originals:
                if row.kind in PRIMARY:
                    self._refunds[place].append(row)
            elif row.kind in PRIMARY:
                self._primaries[place].append(row)
            else:
                self._index[row] = counts[*place, row.kind]
                counts[*place, row.kind] += 1

    def of(self, row: Row) -> str:
        """Return the order's key; a stored key stays even if a longer file shows more of its group."""
        if row in self._originals:
            return self.of(self._originals[row])
        prefix = self._prefixes[row.account]
        if (stored_key := self._stored.get(fingerprint(prefix, row))) is not None:
            return stored_key
        primaries, own = self._primaries[row.account, row.group], own_key(prefix, row)
        if row.kind in PRIMARY:
            return group_key(prefix, row) if primaries[0] is row else own
        if row.kind in _OWN_ORDER:
            return own
        if row.kind == Kind.PAYMENT_PROCESSOR_COVER:
            related = (self._refunds[row.account, row.group] or primaries)[:1]
        else:
            related = primaries[self._index[row] :][:1]
        maker = self._originals.get(related[0], related[0]) if related else row
        # The order must be written before what belongs to it.
        return self.of(maker) if self._position[maker] < self._position[row] else own

    def makes_order(self, row: Row) -> bool:
        """True if the order has the row's amount, sides and time. The row is no refund."""
        return row.kind in PRIMARY or self.of(row) == own_key(self._prefixes[row.account], row)
