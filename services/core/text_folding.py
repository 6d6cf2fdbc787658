"""Folding of text for search and tags, as the database's function `fold_text` does it."""

import re
import unicodedata
from functools import cache

_IGNORED = re.compile(r"[\u00ad\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0670\u200b-\u200f]")
_LATIN = dict(zip("ØøĐđŁłĦħıÐðŦŧŊŋĸƏəƁɓƊɗƘƙƳƴς", "ooddllhhiddttnnkaabbddkkyy\u03c3", strict=True)) | {
    "ß": "ss",
    "ẞ": "ss",
    "æ": "ae",
    "Æ": "ae",
    "œ": "oe",
    "Œ": "oe",
    "þ": "th",
    "Þ": "th",
}
_CASED_SCRIPTS = (range(0x41, 0x5B), range(0x370, 0x590), range(0x1C90, 0x1CC0))


@cache
def _translation() -> dict[int, str]:
    """Map what Latin letters without a decomposition look like, and capitals of other scripts."""
    capitals = (chr(code) for codes in _CASED_SCRIPTS for code in codes)
    return str.maketrans({letter: letter.lower() for letter in capitals} | _LATIN)


def fold_text(text: str) -> str:
    """Return the text without case, marks and differences of composition: 'Café' is 'cafe'."""
    return _IGNORED.sub("", unicodedata.normalize("NFKD", text)).translate(_translation())
