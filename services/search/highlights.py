"""Highlights: where a found text has the words of a search."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.core.text_folding import fold_text

_WORD = re.compile(r"[^\W_][\w\u0300-\u036f]*")
_FOLDED_WORD = re.compile(r"[^\W_]+")
EXCERPT_LENGTH = 200
_LEAD = 40
"""Characters of an excerpt before its first match."""


@dataclass(frozen=True)
class Part:
    """A stretch of a text, which matches the search or does not."""

    text: str
    is_match: bool


def split_words(query: str) -> list[str]:
    """Split the text of a search into folded words."""
    return _FOLDED_WORD.findall(fold_text(query))


def highlight(text: str, words: Sequence[str]) -> list[Part]:
    """Split a text into parts, those that match being words with the beginning of a search word.

    Of a long text, the excerpt around its first match. No part at all if nothing matches.
    """
    spans = [
        match.span()
        for match in _WORD.finditer(text)
        if any(part.startswith(word) for part in split_words(match.group()) for word in words)
    ]
    if not spans:
        return []
    start = max(0, spans[0][0] - _LEAD) if len(text) > EXCERPT_LENGTH else 0
    end = start + EXCERPT_LENGTH
    parts = []
    position = start
    for first, last in spans:
        if last > end:
            break
        parts += [Part(text[position:first], is_match=False), Part(text[first:last], is_match=True)]
        position = last
    parts.append(Part(text[position:end], is_match=False))
    return [part for part in parts if part.text]
