"""Text in the cells of CSV files: spreadsheets must show it, and never run it."""

import unicodedata

_STARTS = frozenset("=+-@")
_SKIPPED = " \t\r\n\v\f;,|\"'\u00a0\ufeff"
"""What may stand before a formula: separators of other locales, quotes and blanks."""


def as_text(cell: str) -> str:
    """Return a cell with a mark before it if a spreadsheet could take it for a formula.

    Full-width signs count as the signs that they are read as.
    """
    if not cell:
        return cell
    visible = "".join(c for c in cell[:100] if unicodedata.category(c) != "Cf").lstrip(_SKIPPED)
    is_formula = bool(visible) and unicodedata.normalize("NFKC", visible[0])[:1] in _STARTS
    return f"'{cell}" if is_formula or cell[0] in "\t\r\n" else cell
