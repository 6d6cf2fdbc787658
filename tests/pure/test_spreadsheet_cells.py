"""Cells of CSV files: what a spreadsheet could run is marked as text, and what is read back is the same."""

import csv
import io
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.spreadsheet_cells import BYTE_ORDER_MARK, as_text, format_line

FORMULAS = [
    *("=1", "+1", "-1", "@A1", "\u22121", "\tA", "\rA", "\nA"),
    *("\uff1d1", "\uff0b1", "\uff0d1", "\uff20A", "\ufe661", "\ufe62A", "\u207c1", "\ufe6bA"),
    *(" =1", "\u3000=1", "\u200b=1", "\u202e=1", '"=1', ";=1", "'=1", "\u00a0" * 200 + "=1", "\x00=1"),
]
PLAIN = ["", "a=1", "1-1", "3 + 4", "mail@example.org", "\u6771\u4eac", "\u2014 dash", "#1", " a"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_marked_as_text(text: str) -> None:
    assert as_text(text) == f"'{text}"


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert as_text(text) == text


def test_numbers_stay_numbers() -> None:
    assert format_line([-1, Decimal("-1.50"), None, "-1"]) == "-1,-1.50,,'-1\r\n"


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=2)))
def test_every_text_is_read_back(rows: list[list[str]]) -> None:
    text = "".join(map(format_line, rows))
    assert list(csv.reader(io.StringIO(text, newline=""))) == [[as_text(c) for c in row] for row in rows]


def test_polars_reads_every_text_back() -> None:
    rows = [[text, text] for text in [*FORMULAS, *PLAIN[1:], 'say "hi", and\r\ngo']]
    text = BYTE_ORDER_MARK + "".join(map(format_line, [["a", "b"], *rows]))
    frame = pl.read_csv(text.encode())
    assert frame["b"].to_list() == [as_text(text) for text, _ in rows]
