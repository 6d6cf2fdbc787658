"""Where a text has the words of a search."""

from typing import Any

import psycopg
import pytest
from sqlalchemy import Text, literal_column

from services.round_trips.dialect import DIALECT
from services.search import highlights
from services.search.highlights import EXCERPT_LENGTH
from tests.conftest import Database


def highlight(database: Database, query: str, text: str) -> Any:
    """Return the parts of a text, with brackets around those that match."""
    words = f"({highlights.select_words(literal_column('$2', Text)).compile(dialect=DIALECT)})"
    parts = highlights.select_parts(literal_column("$1", Text), literal_column(words, Text))
    statement = f"SELECT * FROM ({parts.compile(dialect=DIALECT)}) AS part ORDER BY n"
    with psycopg.connect(database.app_url) as connection:
        rows = psycopg.RawCursor(connection).execute(statement.encode(), [text, query]).fetchall()
    return "".join(f"[{part}]" if is_match else part for _, part, is_match in rows)


@pytest.mark.parametrize(
    ("query", "text", "shown"),
    [
        ("zur", "Zürich, zu ZÜRICH", "[Zürich], zu [ZÜRICH]"),
        ("strasse", "Die Straße (Straßen)", "Die [Straße] ([Straßen])"),
        ("cafe b", "Café-Bar_b", "[Café]-[Bar]_[b]"),
        ("x2", "x\N{SUPERSCRIPT TWO} and y", "[x\N{SUPERSCRIPT TWO}] and y"),
        ("garden", "Gar\N{SOFT HYPHEN}den", "[Gar\N{SOFT HYPHEN}den]"),
        ("b", "a\x1fb\n'c\\ %", "a\x1f[b]\n'c\\ %"),
        ("東京", "東京、大阪", "[東京]、大阪"),
        ("none", "Other words", "Other words"),
    ],
)
def test_words_are_found_however_they_are_spelled(
    shared_database: Database, query: str, text: str, shown: str
) -> None:
    assert highlight(shared_database, query, text) == shown


@pytest.mark.parametrize("words", range(28, 60))
def test_of_a_long_text_an_excerpt_begins_shortly_before_the_first_match(
    shared_database: Database, words: int
) -> None:
    text = "before " * words + "here " + "after " * 40
    shown = highlight(shared_database, "here", text)
    start = len("before " * words) - 40
    assert shown.replace("[", "").replace("]", "") == text[start : start + EXCERPT_LENGTH]
    assert "[here]" in shown


@pytest.mark.parametrize("length", range(190, 215))
def test_a_text_is_shown_whole_up_to_the_length_of_an_excerpt(shared_database: Database, length: int) -> None:
    text = f"word {'x' * (length - 10)} word"
    shown = highlight(shared_database, "word", text)
    if length <= EXCERPT_LENGTH:
        assert shown == f"[word] {'x' * (length - 10)} [word]"
    else:
        assert shown == "[word]" + text[4:EXCERPT_LENGTH]
