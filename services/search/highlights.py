"""Highlights: where a found text has the words of a search, as SQL."""

from typing import Any

from sqlalchemy import (
    ARRAY,
    Boolean,
    Integer,
    Select,
    Text,
    and_,
    case,
    cast,
    column,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from services.core.pagination import Sort

EXCERPT_LENGTH = 200
_LEAD = 40
"""Characters of an excerpt before its first match."""
_BETWEEN_WORDS = (
    r"\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00ac\u00ae-\u00b1\u00b4-\u00b8\u00bb\u00bf"
    r"\u00d7\u00f7\u2000-\u200a\u2010-\u206f\u20a0-\u20ff\u2190-\u245f\u2500-\u2bff\u3000-\u303f"
)
"""What separates words, as in the function `fold_words`; less what disappears or becomes letters there."""
_STRETCHES = f"([^{_BETWEEN_WORDS}]+)|([{_BETWEEN_WORDS}]+)"
_SEPARATOR: Any = literal_column(r"E'\x1f'", Text)
"""Between words that are folded together, which takes far less time than one by one."""
PARTS_IN_ORDER = Sort("part", column("n", Integer), column("n", Integer), descending=False)


def select_words(query: Any) -> Select[Any]:
    """Select a regular expression for texts with a word that begins with one of the query's; NULL if none.

    Folded words have no character that means something in an expression.
    """
    words = func.string_to_array(func.btrim(func.fold_words(query)), " ")
    beginnings = func.nullif(func.array_to_string(words, "|"), "")
    return select(func.concat(f"(^|[{_BETWEEN_WORDS}])(", beginnings, ")").label("words")).where(
        beginnings.is_not(None)
    )


def has_words(text: Any, words: Any) -> Any:
    """True if a text has a word of the expression from `select_words`."""
    return func.fold_text(text).op("~")(words)


def select_parts(text: Any, words: Any) -> Select[Any]:
    """Select the stretches of a text, those that match being words with the beginning of a search word.

    Of a long text, the excerpt around its first match.
    """
    stretch = _select_stretches(text, words).subquery("stretch").c
    is_long = func.max(stretch.end).over() > EXCERPT_LENGTH  # the text's own length is counted for each row
    first_match = func.min(stretch.at).filter(stretch.is_match).over()
    start = case((is_long, func.greatest(first_match - _LEAD, 0)), else_=0)
    placed = select(*stretch, start.label("start")).subquery("placed").c
    end = placed.start + EXCERPT_LENGTH
    is_match = and_(placed.is_match, placed.end <= end)
    run = func.count().filter(is_match).over(order_by=placed.n)
    shown = func.substr(
        placed.text,
        func.greatest(placed.start - placed.at, 0) + 1,
        func.least(end, placed.end) - func.greatest(placed.start, placed.at),
    )
    parts = (
        select(placed.n, shown.label("text"), is_match.label("is_match"), run.label("run"))
        .where(placed.at < end, placed.end > placed.start)
        .subquery("part")
        .c
    )
    joined = func.string_agg(parts.text, aggregate_order_by(literal_column("''"), parts.n))
    runs = select(func.min(parts.n).label("n"), joined.label("text"), parts.is_match)
    return select(runs.group_by(parts.run, parts.is_match).subquery("run"))


def _select_stretches(text: Any, words: Any) -> Select[Any]:
    """Select the words of a text and what is between them, with their number and place."""
    found = (
        func.regexp_matches(text, literal_column(f"'{_STRETCHES}'"), "g")
        .table_valued(column("groups", ARRAY(Text)), with_ordinality="n")
        .render_derived(name="found")
    )
    word, between = found.c.groups[1], found.c.groups[2]
    texts = func.array_agg(aggregate_order_by(func.coalesce(word, between), found.c.n))
    joined = func.string_agg(func.coalesce(word, ""), aggregate_order_by(_SEPARATOR, found.c.n))
    lists = select(texts.label("texts"), joined.label("words")).subquery("lists")
    folded = func.string_to_array(func.fold_text(lists.c.words), _SEPARATOR)
    stretch = (
        func.unnest(lists.c.texts, folded)
        .table_valued(column("text", Text), column("folded", Text), with_ordinality="n")
        .render_derived(name="each")
    )
    end = cast(func.sum(func.length(stretch.c.text)).over(order_by=stretch.c.n), Integer)
    return select(
        stretch.c.n,
        stretch.c.text,
        (end - func.length(stretch.c.text)).label("at"),
        end.label("end"),
        stretch.c.folded.op("~", return_type=Boolean())(words).label("is_match"),
    ).select_from(lists.join(stretch, true()))
