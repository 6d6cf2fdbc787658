"""Reads the rows of an Open Collective ledger: the "separate transactions" export of an account or a host.

Every error names the column and the line of the file, where the header is line 1.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Context, Decimal
from enum import StrEnum
from pathlib import Path

from models import now
from services.core.errors import Invalid
from services.core.money import MAX_MINOR, exponent
from services.open_collective.file_text import line_error, read_table

REQUIRED_COLUMNS = (
    "datetime",
    "shortId",
    "shortGroup",
    "kind",
    "amount",
    "accountSlug",
    "oppositeAccountSlug",
)
OPTIONAL_COLUMNS = (
    "type",
    "isRefund",
    "isRefunded",
    "shortRefundId",
    "paymentProcessorFee",
    "netAmount",
    "balance",
    "currency",
    "payoutMethodType",
    "taxAmount",
)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?")
# A third decimal place after a comma could as well be a thousand.
_COMMA_NUMBER = re.compile(r"[+-]?[0-9]{1,30},[0-9]{1,2}")
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
    PREPAID_PAYMENT_METHOD = "PREPAID_PAYMENT_METHOD"
    HOST_FEE = "HOST_FEE"
    HOST_FEE_SHARE = "HOST_FEE_SHARE"
    HOST_FEE_SHARE_DEBT = "HOST_FEE_SHARE_DEBT"
    PLATFORM_FEE = "PLATFORM_FEE"
    PLATFORM_TIP = "PLATFORM_TIP"
    PLATFORM_TIP_DEBT = "PLATFORM_TIP_DEBT"
    TAX = "TAX"
    PAYMENT_PROCESSOR_FEE = "PAYMENT_PROCESSOR_FEE"
    PAYMENT_PROCESSOR_DISPUTE_FEE = "PAYMENT_PROCESSOR_DISPUTE_FEE"
    PAYMENT_PROCESSOR_COVER = "PAYMENT_PROCESSOR_COVER"
    OPENING_BALANCE = "OPENING_BALANCE"
    """Never in a file: the balance with which it begins."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row; amounts are in minor units of the file's currency, with the file's signs."""

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
    balance_minor: int | None
    """The account's balance after the row; None if the file does not tell."""
    tax_minor: int
    account: str
    opposite: str
    payout_method: str


def read_rows(path: Path, *, currency: str) -> list[Row]:
    """Read the rows of a file, in its order; amounts must be in `currency`.

    Raises:
        Invalid: a malformed cell or line, or a row that occurs twice.
    """
    table = read_table(path)
    for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS):
        if table.header.count(name) > 1:
            raise line_error(1, name, "the column is in the header twice")
        if name in REQUIRED_COLUMNS and name not in table.header:
            raise line_error(1, name, "the column is missing from the header")
    rows: list[Row] = []
    for line, record in table.records:
        if len(record) != len(table.header):
            column = table.header[len(record)] if len(record) < len(table.header) else ""
            raise line_error(line, column, f"{len(record)} cells for {len(table.header)} columns")
        texts = dict(zip(table.header, record, strict=True))
        rows.append(_Cells(line, texts, currency, table.separator).row())
    if not rows:
        raise line_error(2, "", "there are no rows")
    _require_distinct(rows)
    return rows if "isRefund" in table.header else _infer_refunds(rows)


def _infer_refunds(rows: list[Row]) -> list[Row]:
    """Return the rows, of which those that mirror an earlier row are refunds."""
    by_id = {(row.account, row.short_id, row.kind): row for row in rows}
    return [
        replace(row, is_refund=True)
        if (other := by_id.get((row.account, row.refund_link, row.kind)))
        and other.at < row.at
        and other.is_credit != row.is_credit
        else row
        for row in rows
    ]


def _require_distinct(rows: list[Row]) -> None:
    seen: dict[tuple[str, str, str], int] = {}
    for row in rows:
        first = seen.setdefault((row.account, row.group, row.short_id), row.line)
        if first != row.line:
            raise line_error(row.line, "shortId", f"{row.short_id!r} occurs in line {first}, too")


@dataclass(frozen=True)
class _Cells:
    """The texts of one row, by column."""

    line: int
    texts: dict[str, str]
    currency: str
    separator: str

    def row(self) -> Row:
        if self._cell("currency") != self.currency and "currency" in self.texts:
            raise self._error(
                "currency",
                f"the collective's currency is {self.currency}; for another one, use the option --amounts-in",
            )
        self._flag("isRefunded", "REFUNDED")  # the refund itself tells what it refunds
        link = self._cell("shortRefundId")
        amount_minor, fee_minor = self._minor("amount"), self._minor("paymentProcessorFee", blank=True)
        is_told = bool(self._cell("netAmount"))
        return Row(
            line=self.line,
            at=self._time(),
            short_id=self._matching("shortId", _ID),
            group=self._matching("shortGroup", _ID),
            kind=self._kind(),
            is_credit=self._is_credit(),
            is_refund=self._flag("isRefund", "REFUND"),
            refund_link=self._matching("shortRefundId", _ID) if link else "",
            amount_minor=amount_minor,
            fee_minor=fee_minor,
            net_minor=self._minor("netAmount") if is_told else amount_minor + fee_minor,
            balance_minor=self._minor("balance") if self._cell("balance") else None,
            tax_minor=self._minor("taxAmount", blank=True),
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
        supported = [kind for kind in Kind if kind != Kind.OPENING_BALANCE]
        if self._cell("kind") not in supported:
            raise self._error("kind", f"only these kinds can be imported: {', '.join(supported)}")
        return Kind(self._cell("kind"))

    def _is_credit(self) -> bool:
        amount = self._minor("amount")
        told = self._cell("type") if "type" in self.texts else "CREDIT" if amount > 0 else "DEBIT"
        if told not in {"CREDIT", "DEBIT"}:
            raise self._error("type", "this is neither CREDIT nor DEBIT")
        if amount == 0 or (amount > 0) != (told == "CREDIT"):
            raise self._error("amount", "a CREDIT must be positive, a DEBIT negative")
        return amount > 0

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
        if self.separator != "," and _COMMA_NUMBER.fullmatch(text):
            text = text.replace(",", ".")
        if not _NUMBER.fullmatch(text) or len(text) > _EXACT.prec:  # more digits would be rounded
            raise self._error(column, "this is not a number")
        amount_minor = Decimal(text).scaleb(exponent(self.currency), _EXACT)
        if amount_minor != amount_minor.to_integral_value():
            places = exponent(self.currency)
            raise self._error(column, f"{self.currency} has {places} decimal places")
        if abs(amount_minor) > MAX_MINOR:
            raise self._error(column, "this is too large")
        return int(amount_minor)
