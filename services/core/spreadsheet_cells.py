"""CSV files that spreadsheets open right: their lines, and cells that are shown and never run."""

import csv
import io
import unicodedata
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

BYTE_ORDER_MARK = "\ufeff"
"""The first character of a file: without it, Excel reads UTF-8 as the code page of its country."""
_STARTS = frozenset("=+-@\u2212")
"""What begins a formula; with the minus sign that spreadsheets read as a hyphen."""
_SEPARATORS = frozenset(";,|\"'")
"""What ends a cell in other locales, so that the rest would be a cell of its own."""
_INVISIBLE = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})

Cell = str | int | Decimal | date | None


def format_line(cells: Iterable[Cell]) -> str:
    """Return a line of a CSV file with its end; texts are marked as such, numbers stay numbers."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow([as_text(cell) if isinstance(cell, str) else cell for cell in cells])
    return buffer.getvalue()


def as_text(cell: str) -> str:
    """Return a cell with a mark before it if a spreadsheet could take it for a formula.

    Full-width, small and raised signs count as the signs that they are read as.
    """
    first = next((c for c in cell if not _is_skipped(c)), "")
    is_formula = unicodedata.normalize("NFKC", first)[:1] in _STARTS if first else False
    return f"'{cell}" if is_formula or cell[:1] in {"\t", "\r", "\n"} else cell


def _is_skipped(char: str) -> bool:
    return char in _SEPARATORS or unicodedata.category(char) in _INVISIBLE
