"""Reads an Open Collective ledger: the "separate transactions" export of one account.

Every error names the column and the line of the file, where the header is line 1.
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

# Open Collective sorts an account's rows by spans of 10 seconds, then by group and kind: within a span
# a row may be earlier than the row before it.
SLACK = timedelta(seconds=10)

REQUIRED_COLUMNS = (
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
    """Kinds of rows in the export."""

    CONTRIBUTION = "CONTRIBUTION"
    ADDED_FUNDS = "ADDED_FUNDS"
    BALANCE_TRANSFER = "BALANCE_TRANSFER"
    EXPENSE = "EXPENSE"
    HOST_FEE = "HOST_FEE"
    PAYMENT_PROCESSOR_FEE = "PAYMENT_PROCESSOR_FEE"
    PAYMENT_PROCESSOR_COVER = "PAYMENT_PROCESSOR_COVER"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row; amounts are in minor units of the collective's currency, with the file's signs."""

    line: int
    at: datetime
    short_id: str
    group: str
    kind: Kind
    is_credit: bool
    is_refund: bool
    refund_link: str
    """Short id of the row on the other side of a refund, or empty."""
    amount_minor: int
    fee_minor: int
    net_minor: int
    balance_minor: int
    account: str
    opposite: str
    payout_method: str


def line_error(line: int, column: str, message: str) -> Invalid:
    """Return the error about a cell or, with an empty column, about a line."""
    position = f"Line {line}, {column}" if column else f"Line {line}"
    return Invalid(f"{position}: {message}", field=f"file.{line}.{column}")


def read_rows(path: Path, *, currency: str) -> list[Row]:
    """Read the rows of a file, in its order; amounts must be in `currency`.

    Raises:
        Invalid: a malformed cell or line, or a row that does not continue the rows before it.
    """
    records = _parse_records(_read_text(path))
    _, header = next(records, (1, []))
    header = [name.strip() for name in header]
    if not header:
        raise line_error(1, "", "the file is empty")
    for name in REQUIRED_COLUMNS:
        if header.count(name) != 1:
            reason = "in the header twice" if name in header else "missing from the header"
            raise line_error(1, name, f"the column is {reason}")
    rows: list[Row] = []
    for line, record in records:
        if len(record) != len(header):
            column = header[len(record)] if len(record) < len(header) else ""
            raise line_error(line, column, f"{len(record)} cells for {len(header)} columns")
        rows.append(_Cells(line, dict(zip(header, record, strict=True)), currency).row())
    if not rows:
        raise line_error(2, "", "there are no rows")
    _require_sequence(rows)
    return rows


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", field="file") from error
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise line_error(data.count(b"\n", 0, error.start) + 1, "", "the file is not UTF-8") from error
    if "\x00" in text:
        raise line_error(text.count("\n", 0, text.index("\x00")) + 1, "", "the file contains a NUL character")
    return text


def _parse_records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the line that it starts on, skipping blank lines."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise line_error(line, "", f"the file is not CSV: {error}") from error
        if record:
            yield line, record


@dataclass(frozen=True)
class _Cells:
    """The texts of one row, by column."""

    line: int
    texts: dict[str, str]
    currency: str

    def row(self) -> Row:
        if self._cell("currency") != self.currency:
            raise self._error("currency", f"the collective's currency is {self.currency}")
        if self._minor("taxAmount", blank=True):
            raise self._error("taxAmount", "taxes cannot be imported")
        self._flag("isRefunded", "REFUNDED")  # the refund itself tells what it refunds
        link = self._cell("shortRefundId")
        return Row(
            line=self.line,
            at=self._time(),
            short_id=self._matching("shortId", _ID),
            group=self._matching("shortGroup", _ID),
            kind=self._kind(),
            is_credit=self._is_credit(),
            is_refund=self._flag("isRefund", "REFUND"),
            refund_link=self._matching("shortRefundId", _ID) if link else "",
            amount_minor=self._minor("amount"),
            fee_minor=self._minor("paymentProcessorFee", blank=True),
            net_minor=self._minor("netAmount"),
            balance_minor=self._minor("balance"),
            account=self._matching("accountSlug", _SLUG),
            opposite=self._matching("oppositeAccountSlug", _SLUG),
            payout_method=self._cell("payoutMethodType"),
        )

    def _cell(self, column: str) -> str:
        return self.texts.get(column, "").strip()

    def _error(self, column: str, message: str) -> Invalid:
        return line_error(self.line, column, f"{self._cell(column)[:80]!r}: {message}")

    def _matching(self, column: str, form: re.Pattern[str]) -> str:
        if not form.fullmatch(self._cell(column)):
            raise self._error(column, "this is not an account" if form is _SLUG else "this is not an id")
        return self._cell(column)

    def _kind(self) -> Kind:
        try:
            return Kind(self._cell("kind"))
        except ValueError:
            supported = ", ".join(Kind)
            raise self._error("kind", f"only these kinds can be imported: {supported}") from None

    def _is_credit(self) -> bool:
        if self._cell("type") not in {"CREDIT", "DEBIT"}:
            raise self._error("type", "this is neither CREDIT nor DEBIT")
        is_credit = self._cell("type") == "CREDIT"
        amount = self._minor("amount")
        if amount == 0 or (amount > 0) != is_credit:
            raise self._error("amount", "a CREDIT must be positive, a DEBIT negative")
        return is_credit

    def _flag(self, column: str, word: str) -> bool:
        text = self._cell(column).upper()
        if text != word and text not in _FLAGS:
            raise self._error(column, f"this is neither {word} nor empty")
        return text == word or _FLAGS[text]

    def _time(self) -> datetime:
        text = self._cell("datetime")
        try:
            at = datetime.fromisoformat(text if _TIME.fullmatch(text) else "")
            at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            raise self._error("datetime", "this is not a time like YYYY-MM-DDThh:mm:ss") from None
        if at > now():
            raise self._error("datetime", "this is in the future")
        return at

    def _minor(self, column: str, *, blank: bool = False) -> int:
        """Return a cell in minor units; with `blank`, an empty cell is zero."""
        text = self._cell(column)
        if blank and not text:
            return 0
        if not _NUMBER.fullmatch(text):
            raise self._error(column, "this is not a number")
        amount_minor = Decimal(text).scaleb(exponent(self.currency), _EXACT)
        if amount_minor != amount_minor.to_integral_value():
            places = exponent(self.currency)
            raise self._error(column, f"{self.currency} has {places} decimal places")
        if abs(amount_minor) > MAX_MINOR:
            raise self._error(column, "this is too large")
        return int(amount_minor)


def _require_sequence(rows: list[Row]) -> None:
    """Require rows of one account, each once, oldest first, with a continuous balance."""
    latest, seen = rows[0].at, {(rows[0].group, rows[0].short_id)}
    for previous, row in pairwise(rows):
        if row.account != previous.account:
            raise line_error(row.line, "accountSlug", f"the rows before are of {previous.account!r}")
        if (row.group, row.short_id) in seen:
            raise line_error(row.line, "shortId", f"{row.short_id!r} occurs in an earlier row")
        if row.at <= latest - SLACK:
            raise line_error(row.line, "datetime", "earlier than the row before: sort the oldest row first")
        if previous.balance_minor + row.net_minor != row.balance_minor:
            raise line_error(row.line, "balance", "not the previous balance plus this netAmount")
        latest = max(latest, row.at)
        seen.add((row.group, row.short_id))
