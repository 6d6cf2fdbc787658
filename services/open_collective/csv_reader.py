"""Reading an Open Collective ledger: its "separate transactions" export of one account.

Every refusal names the line of the file, the header being line 1, and the column.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from models import now
from services.core.errors import Invalid
from services.core.money import MAX_MINOR, exponent

# Open Collective orders an account's rows by 10 seconds, then by group and kind: inside such a span
# a row's own time may lie before that of the row above it.
SLACK = timedelta(seconds=10)

REQUIRED = (
    "datetime",
    "shortId",
    "shortGroup",
    "type",
    "kind",
    "isRefund",
    "isRefunded",
    "shortRefundId",
    "amount",
    "paymentProcessorFee",
    "netAmount",
    "balance",
    "currency",
    "accountSlug",
    "oppositeAccountSlug",
)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?")
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_SLUG = re.compile(r"(?=.*[a-z0-9])[a-z0-9_-]{1,255}")
_FLAGS = {"": False, "FALSE": False, "0": False, "TRUE": True, "1": True}
_EXACT = Context(prec=80)


class Kind(StrEnum):
    """What a row of the export records."""

    CONTRIBUTION = "CONTRIBUTION"
    ADDED_FUNDS = "ADDED_FUNDS"
    BALANCE_TRANSFER = "BALANCE_TRANSFER"
    EXPENSE = "EXPENSE"
    HOST_FEE = "HOST_FEE"
    PAYMENT_PROCESSOR_FEE = "PAYMENT_PROCESSOR_FEE"
    PAYMENT_PROCESSOR_COVER = "PAYMENT_PROCESSOR_COVER"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row; amounts in minor units of the collective's currency, signed as in the file."""

    line: int
    at: datetime
    short_id: str
    group: str
    kind: Kind
    is_credit: bool
    is_refund: bool
    refund_link: str
    """Short id of the row on the other side of a refund, or nothing."""
    amount: int
    fee: int
    net: int
    balance: int
    account: str
    opposite: str
    payout_method: str


def broken(line: int, column: str, message: str) -> Invalid:
    """Return the refusal of a cell, or with an empty column, of a line."""
    place = f"Line {line}, {column}" if column else f"Line {line}"
    return Invalid(f"{place}: {message}", path=["file", str(line), column])


def read(path: Path, *, currency: str) -> list[Row]:
    """Return the rows of a file whose amounts must be in `currency`, in the order of the file.

    Raises:
        Invalid: a cell or a line that is not understood, or a row that does not follow the others.
    """
    records = _records(_text(path))
    _, header = next(records, (1, []))
    header = [name.strip() for name in header]
    if not header:
        raise broken(1, "", "the file is empty")
    for name in REQUIRED:
        if header.count(name) != 1:
            reason = "twice in the header" if name in header else "missing in the header"
            raise broken(1, name, f"the column is {reason}")
    rows: list[Row] = []
    for line, record in records:
        if len(record) != len(header):
            column = header[len(record)] if len(record) < len(header) else ""
            raise broken(line, column, f"{len(record)} cells under {len(header)} columns")
        rows.append(_Cells(line, dict(zip(header, record, strict=True)), currency).row())
    if not rows:
        raise broken(2, "", "there are no rows")
    _check_sequence(rows)
    return rows


def _text(path: Path) -> str:
    try:
        data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", path=["file"]) from error
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise broken(data.count(b"\n", 0, error.start) + 1, "", "this is not UTF-8") from error
    if "\x00" in text:
        raise broken(text.count("\n", 0, text.index("\x00")) + 1, "", "this holds a NUL")
    return text


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the line that it starts on; blank lines are none."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise broken(line, "", f"this is not CSV: {error}") from error
        if record:
            yield line, record


@dataclass(frozen=True)
class _Cells:
    """The texts of one row by column."""

    line: int
    texts: dict[str, str]
    currency: str

    def row(self) -> Row:
        if self._of("currency") != self.currency:
            raise self._broken("currency", f"the collective's currency is {self.currency}")
        if self._minor("taxAmount", blank=True):
            raise self._broken("taxAmount", "taxes cannot be imported")
        self._flag("isRefunded", "REFUNDED")  # what was refunded is read from the refund itself
        link = self._of("shortRefundId")
        return Row(
            line=self.line,
            at=self._time(),
            short_id=self._matching("shortId", _ID),
            group=self._matching("shortGroup", _ID),
            kind=self._kind(),
            is_credit=self._is_credit(),
            is_refund=self._flag("isRefund", "REFUND"),
            refund_link=self._matching("shortRefundId", _ID) if link else "",
            amount=self._minor("amount"),
            fee=self._minor("paymentProcessorFee", blank=True),
            net=self._minor("netAmount"),
            balance=self._minor("balance"),
            account=self._matching("accountSlug", _SLUG),
            opposite=self._matching("oppositeAccountSlug", _SLUG),
            payout_method=self._of("payoutMethodType"),
        )

    def _of(self, column: str) -> str:
        return self.texts.get(column, "").strip()

    def _broken(self, column: str, message: str) -> Invalid:
        return broken(self.line, column, f"{self._of(column)[:80]!r}: {message}")

    def _matching(self, column: str, form: re.Pattern[str]) -> str:
        if not form.fullmatch(self._of(column)):
            raise self._broken(column, "this is no account" if form is _SLUG else "this is no id")
        return self._of(column)

    def _kind(self) -> Kind:
        try:
            return Kind(self._of("kind"))
        except ValueError:
            known = ", ".join(Kind)
            raise self._broken("kind", f"only these can be imported: {known}") from None

    def _is_credit(self) -> bool:
        if self._of("type") not in {"CREDIT", "DEBIT"}:
            raise self._broken("type", "this is neither CREDIT nor DEBIT")
        is_credit = self._of("type") == "CREDIT"
        amount = self._minor("amount")
        if amount == 0 or (amount > 0) != is_credit:
            raise self._broken("amount", "a CREDIT is above zero, a DEBIT is below")
        return is_credit

    def _flag(self, column: str, word: str) -> bool:
        text = self._of(column).upper()
        if text != word and text not in _FLAGS:
            raise self._broken(column, f"this is neither {word} nor empty")
        return text == word or _FLAGS[text]

    def _time(self) -> datetime:
        text = self._of("datetime")
        try:
            at = datetime.fromisoformat(text if _TIME.fullmatch(text) else "")
            at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            raise self._broken("datetime", "this is no YYYY-MM-DDThh:mm:ss") from None
        if at > now():
            raise self._broken("datetime", "this lies in the future")
        return at

    def _minor(self, column: str, *, blank: bool = False) -> int:
        """Return a cell in minor units; with `blank`, an empty one is zero."""
        text = self._of(column)
        if blank and not text:
            return 0
        if not _NUMBER.fullmatch(text):
            raise self._broken(column, "this is not a number")
        minor = Decimal(text).scaleb(exponent(self.currency), _EXACT)
        if minor != minor.to_integral_value():
            places = exponent(self.currency)
            raise self._broken(column, f"{self.currency} has {places} decimal places")
        if abs(minor) > MAX_MINOR:
            raise self._broken(column, "this is too large")
        return int(minor)


def _check_sequence(rows: list[Row]) -> None:
    """Let through rows of one account, each once, oldest first, with a balance that follows."""
    latest, seen = rows[0].at, {(rows[0].group, rows[0].short_id)}
    for before, row in pairwise(rows):
        if row.account != before.account:
            raise broken(row.line, "accountSlug", f"the rows above are of {before.account!r}")
        if (row.group, row.short_id) in seen:
            raise broken(row.line, "shortId", f"{row.short_id!r} stands above already")
        if row.at <= latest - SLACK:
            raise broken(row.line, "datetime", "before the row above: sort the oldest row first")
        if before.balance + row.net != row.balance:
            raise broken(row.line, "balance", "not the balance above with this netAmount")
        latest = max(latest, row.at)
        seen.add((row.group, row.short_id))
